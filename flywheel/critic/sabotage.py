"""Planted errors: changes that must fail, by which the critic proves that it can see."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Span
from flywheel.core.syntax import parse
from flywheel.critic.select import line_starts

_STATEMENT = "raise RuntimeError('planted')"


def sabotages(path: str, source: bytes) -> Iterator[Candidate]:
    """For each function, a change that raises before its first statement.

    What follows stays, so the function keeps its names and its kind. Plain functions come first:
    of a generator or a coroutine the body may never run.
    """
    tree = parse(source)
    starts = line_starts(source)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for node in sorted(functions, key=_runs_later):
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if not body:
            continue
        first = body[0]
        decorators = getattr(first, "decorator_list", None)
        number = decorators[0].lineno if decorators else first.lineno
        if isinstance(first, _COMPOUND):
            # A line of its own, indented as the statement is.
            text = source[starts[number - 1] : starts[number]]
            margin = text[: len(text) - len(text.lstrip(b" \t\f"))]
            position = starts[number - 1] + len(margin)
            planted = f"{_STATEMENT}\n{margin.decode()}"
        else:
            position = starts[number - 1] + first.col_offset
            planted = f"{_STATEMENT}; "
        yield Candidate(
            path=path,
            symbol=node.name,
            span=Span(position, position),
            before="",
            after=planted,
            line=number,
            end_line=number,
            source="sabotage",
            operator="sabotage-later" if _runs_later(node) else "sabotage",
            good="",
            bad="",
            base_hash=bytes_hash(source),
        )


_COMPOUND = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar),
    *(ast.Match, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
)


def _runs_later(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return isinstance(node, ast.AsyncFunctionDef) or any(
        isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node)
    )
