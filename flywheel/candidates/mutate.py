"""Mutation sites of one file, and the candidate that a site makes.

One walk over the tree hands each node to the operators that asked for its type. A site is
light (no tree, no file text), holds all that a candidate needs beside the file's bytes, and the
same bytes and operators give the same sites in the same order everywhere.

It does not know whether a site is worth judging: `prune` and `sample` do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from flywheel.candidates.module import Definition, Edit, Module
from flywheel.candidates.operator import AnyOperator
from flywheel.core.identity import bytes_hash
from flywheel.core.patch import unified_patch
from flywheel.core.records import Candidate, Span

Table = Mapping[type[ast.AST], Sequence[AnyOperator]]
"""Operators by the node types they want to see."""
MODULE_SYMBOL = "<module>"
"""The symbol of what stands outside every definition."""


@dataclass(frozen=True, slots=True)
class Site:
    """One change an operator can make to one file."""

    operator: str
    """Name of the operator."""
    edit: Edit
    """The change, in byte offsets of the file."""
    line: int
    """First changed line, 1-based."""
    end_line: int
    """Last changed line, 1-based, inclusive."""
    symbol: str
    """Qualified name of the smallest definition the change lies in, `<module>` for none."""
    extent: Span
    """Whole lines of that definition, or of the top-level statements touched."""
    first_line: int
    """First line whose execution runs into the change: its statement's, `line` at the latest."""
    last_line: int
    """Last such line, `end_line` at the earliest."""

    def covered_by(self, lines: Set[int]) -> bool:
        """True when one of these executed lines runs into the change."""
        return any(line in lines for line in range(self.first_line, self.last_line + 1))


def sites(
    source: bytes, operators: Iterable[AnyOperator], lines: Set[int] | None = None
) -> Iterator[Site]:
    """Every site of a file in source order, lazily.

    `lines`, where given, keeps only sites that those executed lines run into. Raises
    `SyntaxError`, `ValueError` or `RecursionError` when the file cannot be parsed.
    """
    module = Module(source)
    table = by_node(operators)
    for node in module.mutable:
        for operator, edit in edits(node, module, table):
            if edit.text.encode() == source[edit.span.start : edit.span.end]:
                continue
            site = _site(operator.name, edit, node, module)
            if lines is None or site.covered_by(lines):
                yield site


def by_node(operators: Iterable[AnyOperator]) -> Table:
    """The table of some operators, in their order."""
    table: dict[type[ast.AST], list[AnyOperator]] = {}
    for operator in operators:
        for kind in operator.nodes:
            table.setdefault(kind, []).append(operator)
    return table


def edits(node: ast.AST, module: Module, table: Table) -> Iterator[tuple[AnyOperator, Edit]]:
    """What each operator of a table makes of one node."""
    for operator in table.get(type(node), ()):
        for made in operator.edits(node, module):
            yield operator, module.apart(made)


def site_of(edit: Edit, operator: str, module: Module) -> Site:
    """The site of an edit that no operator made, in the smallest statement that holds it."""
    node: ast.AST = module.tree
    while True:
        blocks = [
            child
            for child in ast.iter_child_nodes(node)
            if child in module.parents and isinstance(child, ast.stmt | _Block)
        ]
        inner = next((one for one in blocks if _holds(one, edit.span, module)), None)
        if inner is None:
            break
        node = inner
    if isinstance(node, ast.Module):
        # It spans several statements of the module: begin with the first.
        after = (one for one in node.body if module.extent(one).end > edit.span.start)
        node = next(after, node)
    return _site(operator, edit, node, module)


def candidate(path: str, source: bytes, site: Site, *, made_by: str = "mutated") -> Candidate:
    """The record of one site's change to the file at `path` (repository-relative, POSIX)."""
    start, end = site.edit.span.start, site.edit.span.end
    head = source[site.extent.start : start]
    tail = source[end : site.extent.end]
    good = source[site.extent.start : site.extent.end].decode()
    bad = head.decode() + site.edit.text + tail.decode()
    good, bad = dedented(good, bad)
    return Candidate(
        path=path,
        symbol=site.symbol,
        span=site.edit.span,
        before=source[start:end].decode(),
        after=site.edit.text,
        line=site.line,
        end_line=site.end_line,
        source=made_by,
        operator=site.operator,
        good=good,
        bad=bad,
        base_hash=bytes_hash(source),
        patch=unified_patch(path, site.edit.apply(source), source),
    )


def joined(parts: Sequence[Candidate], patch: str) -> Candidate:
    """One candidate that makes the changes of several, in their order; `patch` is that of all.

    Its definitions stand below each other, each under its title.
    """
    first, *rest = parts
    if not rest:
        return first
    return replace(
        first,
        others=tuple(change for one in rest for change in one.changes),
        good=PARTED.join(titled(one.path, one.symbol, one.good) for one in parts),
        bad=PARTED.join(titled(one.path, one.symbol, one.bad) for one in parts),
        patch=patch,
    )


def titled(path: str, symbol: str, text: str) -> str:
    """A definition under a comment that says where it stands, to be told from others beside it."""
    return f"{_COMMENTS.get(PurePosixPath(path).suffix, '//')} {path}: {symbol}\n{text}"


PARTED = "\n\n\n"
"""Stands between definitions that are shown together."""
_COMMENTS = {".py": "#", ".pyi": "#", ".ex": "#", ".exs": "#", ".rb": "#"}


_Block = ast.excepthandler | ast.match_case
"""What holds statements and is none."""


def _holds(node: ast.AST, span: Span, module: Module) -> bool:
    if not isinstance(node, ast.stmt):
        return any(_holds(child, span, module) for child in node.body)  # type: ignore[attr-defined]
    extent = module.extent(node)
    return extent.start <= span.start and span.end <= extent.end


def _site(operator: str, edit: Edit, node: ast.AST, module: Module) -> Site:
    span = edit.span
    symbol, extent = _definition(span, node, module)
    line = module.line(span.start)
    # An edit that ends with a newline does not touch the line after it; an insertion at the
    # end of a line touches that line.
    end_line = module.line(max(span.start, span.end - 1))
    first, last = line, end_line
    statement = node
    while not isinstance(statement, (ast.stmt, ast.ExceptHandler, ast.match_case, ast.Module)):
        statement = module.parents[statement]
    if isinstance(statement, (ast.stmt, ast.ExceptHandler)):
        header = _header(statement, module)
        if header.start <= span.start and span.end <= header.end:
            first = min(first, module.line(header.start))
            last = max(last, module.line(max(header.start, header.end - 1)))
    return Site(operator, edit, line, end_line, symbol, extent, first, last)


def _header(node: ast.stmt | ast.excepthandler, module: Module) -> Span:
    """A statement up to its block; the whole of a simple one."""
    span = module.span(node) if isinstance(node, ast.excepthandler) else module.statement_span(node)
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(body, list) and isinstance(body[0], ast.stmt):
        return Span(span.start, module.statement_span(body[0]).start)
    if isinstance(node, ast.Match):
        return Span(span.start, module.span(node.subject).end + 1)
    return span


def _definition(span: Span, node: ast.AST, module: Module) -> tuple[str, Span]:
    """The smallest definition that holds a span and outlives its change."""
    top: ast.AST = node
    for around in (node, *module.ancestors(node)):
        if isinstance(around, Definition):
            own = module.statement_span(around)
            extent = module.extent(around)
            gone = span.start <= own.start and own.end <= span.end
            if not gone and extent.start <= span.start and span.end <= extent.end:
                return module.qualname(around), extent
        if not isinstance(around, ast.Module):
            top = around
    touched = [module.extent(top)] if isinstance(top, ast.stmt) else []
    body = module.tree.body
    if isinstance(top, ast.stmt) and top in body:
        index = body.index(top) + 1
        while index < len(body) and module.statement_span(body[index]).start < span.end:
            touched.append(module.extent(body[index]))
            index += 1
    start = min([span.start, *(extent.start for extent in touched)])
    end = max([span.end, *(extent.end for extent in touched)])
    return MODULE_SYMBOL, Span(start, end)


def dedented(good: str, bad: str) -> tuple[str, str]:
    """Both texts without the indentation of the first line, when it can be put back exactly."""
    first = good.partition("\n")[0]
    margin = first[: len(first) - len(first.lstrip(" \t"))]
    good, bad = good.rstrip("\r\n"), bad.rstrip("\r\n")
    lines = [line for text in (good, bad) for line in text.splitlines() if line.strip()]
    if not margin or not all(line.startswith(margin) for line in lines):
        return good, bad
    return _without_margin(good, margin), _without_margin(bad, margin)


def _without_margin(text: str, margin: str) -> str:
    return "".join(line.removeprefix(margin) for line in text.splitlines(keepends=True))
