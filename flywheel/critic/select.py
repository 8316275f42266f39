"""Which tests can tell whether a change matters.

Tests are positions in the baseline's order, and sets of tests are Python integers used as bit
sets: a union over the lines of a function is one machine operation for each 30 tests or so.
"""

from __future__ import annotations
import __future__

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from flywheel.core.records import Candidate, Change
from flywheel.core.syntax import parse

Bits = int
"""A set of tests: bit i stands for the i-th test of the baseline."""


def bits(positions: Iterable[int]) -> Bits:
    """The set of these positions."""
    total = 0
    for position in positions:
        total |= 1 << position
    return total


def positions(selection: Bits) -> Iterator[int]:
    """Members of a set, ascending."""
    while selection:
        low = selection & -selection
        yield low.bit_length() - 1
        selection ^= low


@dataclass(slots=True)
class FileLines:
    """What the suite executes of one file."""

    tests: dict[int, Bits] = field(default_factory=dict)
    """Line -> the tests that execute it while running."""
    imported: set[int] = field(default_factory=set)
    """Lines executed while importing and collecting."""
    unsteady: set[int] = field(default_factory=set)
    """Lines that other tests execute when their order is another: something that is made once and
    kept, or imported late. Any test of the file may depend on them."""

    @property
    def executed(self) -> set[int]:
        """Every line executed at all."""
        return self.imported | self.tests.keys()


class LineIndex:
    """Lines of the tree's sources against the tests that execute them."""

    def __init__(self, files: Mapping[str, FileLines]) -> None:
        self.files = dict(files)
        """Repository-relative path -> its lines."""

    def covering(self, path: str, lines: Iterable[int]) -> Bits:
        """Tests that execute any of these lines, or depend on their having been executed."""
        file = self.files.get(path)
        total = 0
        if file is not None:
            for line in lines:
                total |= file.tests.get(line, 0)
                if line in file.unsteady:
                    return self.whole_file(path)
        return total

    def whole_file(self, path: str) -> Bits:
        """Tests that execute anything of a file."""
        file = self.files.get(path)
        total = 0
        if file is not None:
            for found in file.tests.values():
                total |= found
        return total

    def ran_at_import(self, path: str, lines: Iterable[int]) -> bool:
        """True when any of these lines was executed while importing or collecting."""
        file = self.files.get(path)
        return file is not None and not file.imported.isdisjoint(lines)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change stands, as far as judging it is concerned."""

    statement: range
    """Lines of the smallest statement (or compound statement's header) that holds it."""
    function: range | None
    """Lines of the body of the outermost function that holds it, None outside functions."""
    inside_body: bool
    """True when it lies in a function's body, not its decorators, defaults or annotations."""
    segment: tuple[int, int]
    """Byte offsets of the top-level statement that holds it, decorators included."""
    segment_line: int
    """1-based line at which that statement begins."""


class Layout:
    """The statements of one source file, for placing changes in it."""

    def __init__(self, source: bytes) -> None:
        self.tree = parse(source)
        """The file's syntax."""
        self._starts = line_starts(source)
        self.future_flags = _future_flags(self.tree)
        """Compiler flags of the file's `from __future__` imports."""
        self.imported = _imported(self.tree)
        """Names that imports bind at module level: calls on them compile otherwise."""

    def place(self, change: Change) -> Place | None:
        """Place a change; None when no top-level statement holds all of it."""
        first, last = change.line, change.end_line
        top = next(
            (s for s in self.tree.body if first_line(s) <= first and last <= last_line(s)), None
        )
        if top is None or self._starts[first_line(top) - 1] > change.span.start:
            return None
        statement: range = range(first, last + 1)
        function: ast.stmt | None = None
        inside = False
        node: ast.stmt | None = top
        while node is not None:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if function is None:
                    function = node
                    inside = self._offset(node.body[0]) <= change.span.start
            statement = (
                range(min(first, header(node).start), max(last + 1, header(node).stop))
                if _overlaps(header(node), first, last)
                else statement
            )
            node = next(
                (
                    child
                    for child in inner_statements(node)
                    if first_line(child) <= first and last <= last_line(child)
                ),
                None,
            )
        body: range | None = None
        if function is not None:
            body = range(function.lineno, last_line(function) + 1)
        return Place(
            statement=statement,
            function=body,
            inside_body=inside,
            segment=(self._starts[first_line(top) - 1], self._end(top)),
            segment_line=first_line(top),
        )

    def _offset(self, node: ast.stmt) -> int:
        line, column = node.lineno, node.col_offset
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            line = first_line(node)
            column = 0
        return self._starts[line - 1] + column

    def _end(self, node: ast.stmt) -> int:
        # Up to the end of the line: a comment there, or a `;`, does no harm to compiling.
        return self._starts[min(last_line(node), len(self._starts) - 1)]


def edit_of(
    candidate: Candidate, place: Place | None = None, layout: Layout | None = None
) -> dict[str, Any]:
    """A candidate's change as the runner takes it; place and layout let the warm lane swap code."""
    edit, *others = [
        {"path": one.path, "start": one.span.start, "end": one.span.end, "after": one.after}
        for one in candidate.changes
    ]
    if others:
        edit["others"] = others
    elif place is not None and layout is not None:
        edit["segment"] = list(place.segment)
        edit["line"] = place.segment_line
        edit["flags"] = layout.future_flags
        edit["imported"] = list(layout.imported)
    return edit


def line_starts(source: bytes) -> list[int]:
    """Offset of each line, and of the end."""
    return list(accumulate(map(len, source.splitlines(keepends=True)), initial=0))


def first_line(node: ast.stmt) -> int:
    """First line of a statement, its decorators included."""
    decorators = getattr(node, "decorator_list", None)
    return min([node.lineno, *(d.lineno for d in decorators)]) if decorators else node.lineno


def last_line(node: ast.stmt) -> int:
    """Last line of a statement."""
    return node.end_lineno or node.lineno


def header(node: ast.stmt) -> range:
    """Lines of a simple statement, or of a compound one before its body."""
    body = getattr(node, "body", None)
    if not body:
        return range(node.lineno, last_line(node) + 1)
    return range(first_line(node), max(node.lineno, first_line(body[0]) - 1) + 1)


def _overlaps(lines: range, first: int, last: int) -> bool:
    return lines.start <= last and first < lines.stop


def inner_statements(node: ast.stmt) -> list[ast.stmt]:
    """The statements directly inside a compound one, of all its blocks; none inside others."""
    found: list[ast.stmt] = []
    for name in ("body", "orelse", "finalbody"):
        found += getattr(node, name, ())
    for handler in getattr(node, "handlers", ()):
        found += handler.body
    for case in getattr(node, "cases", ()):
        found += case.body
    return found


def _imported(tree: ast.Module) -> tuple[str, ...]:
    found: set[str] = set()
    blocks: list[ast.stmt] = list(tree.body)
    while blocks:
        node = blocks.pop()
        if isinstance(node, ast.Import):
            found.update((a.asname or a.name).partition(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            found.update(a.asname or a.name for a in node.names if a.name != "*")
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            blocks.extend(inner_statements(node))
    return tuple(sorted(found))


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                feature = getattr(__future__, alias.name, None)
                flags |= feature.compiler_flag if feature is not None else 0
    return flags
