"""What a mutation operator is.

An operator is a class with a name, a family, examples, and one method that looks at one AST
node and yields replacements of source spans. It never prints, never formats: it returns the
text of the smallest span that changes, so the diff touches nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from flywheel.core.records import Span


@dataclass(frozen=True, slots=True)
class Example:
    """One before/after pair an operator carries with it; a parametrised test runs them all."""

    before: str
    """A whole small module."""
    after: str
    """One of the modules the operator makes of it (it may make others too)."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace one span of the file by a text."""

    span: Span
    """UTF-8 byte offsets in the file."""
    text: str
    """What takes its place."""


class Module:
    """A parsed source file with what operators ask of it: text of a node, parents, scopes.

    Raises `SyntaxError` or `ValueError` (null bytes) from `ast.parse` when it cannot be parsed.
    """

    def __init__(self, source: bytes) -> None:
        self.source = source
        """The file's bytes as UTF-8 (a BOM or other encoding is the caller's business)."""
        self.tree = ast.parse(source)
        self.parents: dict[ast.AST, ast.AST] = {}
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        for parent in ast.walk(self.tree):
            for child in ast.iter_child_nodes(parent):
                self.parents[child] = parent

    def offset(self, line: int, column: int) -> int:
        """Byte offset of a 1-based line and 0-based UTF-8 column, as `ast` counts them."""
        return self._line_starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler | ast.arg | ast.keyword) -> Span:
        """The span of a node, decorators of a definition not included."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return Span(
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno, node.end_col_offset),
        )

    def text(self, node: ast.expr | ast.stmt | ast.excepthandler | ast.arg | ast.keyword) -> str:
        """The source text of a node, exactly as written."""
        span = self.span(node)
        return self.source[span.start : span.end].decode()

    def replace(
        self, node: ast.expr | ast.stmt | ast.excepthandler | ast.arg | ast.keyword, text: str
    ) -> Edit:
        """An edit that puts `text` in place of `node`."""
        return Edit(self.span(node), text)

    def apply(self, edit: Edit) -> bytes:
        """The file's bytes with the edit made."""
        return (
            self.source[: edit.span.start] + edit.text.encode() + self.source[edit.span.end :]
        )


class Operator:
    """Base of all operators. Subclass it, fill in the three class attributes, write `edits`."""

    name: ClassVar[str]
    """Unique, kebab-case, as shown to users and stored: `comparison-swap`."""
    family: ClassVar[str]
    """The family it belongs to: `comparison`."""
    description: ClassVar[str]
    """One line: what mistake of a programmer it imitates."""
    examples: ClassVar[tuple[Example, ...]]
    """At least two; the last may show a case with nested or multi-line source."""
    nodes: ClassVar[tuple[type[ast.AST], ...]]
    """Node types `edits` wants to see; it is called for no other."""

    def edits(self, node: ast.AST, module: Module) -> Iterator[Edit]:
        """Yield every way this operator changes `node`; nothing when it does not apply."""
        raise NotImplementedError
