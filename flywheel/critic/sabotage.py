"""Planted errors: changes that must fail, by which the critic proves that it can see."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Span


def sabotages(path: str, source: bytes) -> Iterator[Candidate]:
    """For each function with a simple first statement, a change that raises in its place."""
    tree = ast.parse(source)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if not body or not isinstance(body[0], ast.Return | ast.Assign | ast.Expr):
            continue
        first = body[0]
        if any(
            isinstance(inner, ast.Yield | ast.YieldFrom | ast.Await) for inner in ast.walk(node)
        ):
            continue
        assert first.end_lineno is not None
        assert first.end_col_offset is not None
        span = Span(
            starts[first.lineno - 1] + first.col_offset,
            starts[first.end_lineno - 1] + first.end_col_offset,
        )
        yield Candidate(
            path=path,
            symbol=node.name,
            span=span,
            before=source[span.start : span.end].decode(),
            after="raise RuntimeError('planted')",
            line=first.lineno,
            end_line=first.end_lineno,
            source="sabotage",
            operator="sabotage",
            good="",
            bad="",
            base_hash=bytes_hash(source),
        )
