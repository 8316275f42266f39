"""A source file parsed by a tree-sitter grammar: definitions, statements, and what is untouched.

The counterpart of `module` for every language but Python. What its nodes mean is read from the
language's `operators.toml`. tree-sitter is an optional extra and imported when a grammar is first
loaded. All offsets are UTF-8 bytes.

It knows nothing of types or of other files: a name is only a name.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import MODULE_SYMBOL, Site
from flywheel.candidates.queries import GrammarTable, LanguageRules
from flywheel.core.errors import ToolchainError
from flywheel.core.records import Span

if TYPE_CHECKING:
    from tree_sitter import Node, Query

Captures = Mapping[str, Sequence["Node"]]
"""What one match of a query captured, by name."""

T = TypeVar("T")

LARGEST = 500_000
"""Bytes of the largest file that is looked at; what is larger is generated, or a bundle."""

_SPACE = b" \t\f\v\r\n"
_LAST_WORD = re.compile(r"(\w+)\W*\Z")


class Grammar:
    """One tree-sitter grammar, and what its language's rules say of its trees."""

    def __init__(self, table: GrammarTable, rules: LanguageRules) -> None:
        """Raises `ToolchainError` when tree-sitter or the grammar is not installed."""
        try:
            import tree_sitter  # noqa: PLC0415  optional: only for other languages than Python

            pointer: object = getattr(importlib.import_module(table.package), table.function)()
        except (ImportError, AttributeError) as error:
            raise ToolchainError(
                f"the grammar {table.package} for {', '.join(table.suffixes)} cannot be loaded",
                cause=str(error),
                hint=f"pip install tree-sitter {table.package.replace('_', '-')}",
            ) from error
        self.table, self.rules = table, rules
        self._library = tree_sitter
        self._language = tree_sitter.Language(pointer)
        self._parser = tree_sitter.Parser(self._language)
        self._queries: dict[tuple[str, ...], Query | None] = {}
        self._known: dict[str, bool] = {}

    def root(self, source: bytes) -> Node:
        """The tree of a file; what cannot be parsed is in it as `ERROR` and missing nodes."""
        return self._parser.parse(source).root_node

    def known(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """The patterns that are well formed and name only node types of this grammar."""
        if any(pattern not in self._known for pattern in patterns):
            # Together they compile faster than one by one, and mostly all are known.
            if self._query(patterns) is not None:
                self._known.update(dict.fromkeys(patterns, True))
            for pattern in patterns:
                if pattern not in self._known:
                    self._known[pattern] = self._query((pattern,)) is not None
        return tuple(pattern for pattern in patterns if self._known[pattern])

    def _query(self, patterns: tuple[str, ...]) -> Query | None:
        """The patterns compiled as one query; None when the grammar does not know one of them."""
        if patterns not in self._queries:
            try:
                query = self._library.Query(self._language, "\n".join(patterns))
            except self._library.QueryError:
                query = None
            self._queries[patterns] = query
        return self._queries[patterns]

    def matches(self, patterns: tuple[str, ...], node: Node) -> list[tuple[int, Captures]]:
        """Every match below a node, with the index of the pattern that made it.

        The patterns must be `known`, and each holds one top-level pattern or more: the index is
        into `patterns`.
        """
        query = self._query(patterns)
        if query is None:
            raise ValueError("matches takes only patterns that are known")
        ends, end = [], 0
        for pattern in patterns:
            end += len(pattern.encode()) + 1
            ends.append(end)
        return [
            (bisect_right(ends, query.start_byte_for_pattern(index)), captures)
            for index, captures in self._library.QueryCursor(query).matches(node)
        ]

    @cached_property
    def structure(self) -> tuple[str, ...]:
        """The patterns that say what the nodes of a tree mean, as far as the grammar has them."""
        return self.known(self.rules.structure.patterns)

    def tests(self, root: Node) -> list[Span]:
        """Where tests stand in a file, in source order."""
        patterns = self.known(self.rules.structure.tests)
        if not patterns:
            return []
        leading = self.rules.structure.leading
        found: list[Span] = []
        for _, captures in self.matches(patterns, root):
            last: Node | None = captures["tests"][0]
            start = span_of(captures["tests"]).start
            end = start
            # An attribute makes a test of the definition below it.
            while last is not None:
                end = last.end_byte
                last = last.next_sibling if last.type in leading else None
            found.append(Span(start, end))
        return merged(found)


class Nested(Generic[T]):
    """Spans that lie in or beside each other and never overlap, found by what they hold."""

    def __init__(self, items: Iterable[tuple[Span, T]]) -> None:
        self._items = sorted(items, key=lambda item: (item[0].start, -item[0].end))
        self._starts = [span.start for span, _ in self._items]
        self._parents: list[int] = []
        open_: list[int] = []
        for index, (span, _) in enumerate(self._items):
            while open_ and self._items[open_[-1]][0].end <= span.start:
                open_.pop()
            self._parents.append(open_[-1] if open_ else -1)
            open_.append(index)

    def around(self, span: Span) -> Iterator[tuple[Span, T]]:
        """What holds a span, innermost first."""
        index = bisect_right(self._starts, span.start) - 1
        while index >= 0:
            found = self._items[index]
            if found[0].start <= span.start and span.end <= found[0].end:
                yield found
            index = self._parents[index]

    def first_from(self, offset: int) -> tuple[Span, T] | None:
        """The first one that begins at an offset or behind it."""
        index = bisect_left(self._starts, offset)
        return self._items[index] if index < len(self._items) else None

    def first_in(self, span: Span) -> Span | None:
        """The first one within a span that is not the span itself."""
        for index in range(bisect_left(self._starts, span.start), len(self._items)):
            found = self._items[index][0]
            if found.start >= span.end:
                return None
            if found.end <= span.end and found != span:
                return found
        return None

    def __iter__(self) -> Iterator[tuple[Span, T]]:
        return iter(self._items)


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, type or module, or a function without a name."""

    node: Node
    """Its node."""
    name: str
    """Name with owner and arity as a reader says it: `Server.Handle`, `f/2`; empty without one."""
    plain_name: str
    """The name alone."""
    result: str | None
    """Text of the declared result type, None when none is declared."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A name where it is bound."""

    name: str
    """The name."""
    kind: str | None
    """Its type as far as the text tells, None when it does not."""
    start: int
    """Offset of the binding."""


def span_of(nodes: Node | Sequence[Node]) -> Span:
    """The bytes of a node, or from the first of several to the last."""
    if isinstance(nodes, Sequence):
        return Span(min(n.start_byte for n in nodes), max(n.end_byte for n in nodes))
    return Span(nodes.start_byte, nodes.end_byte)


class GrammarFile:
    """One file, parsed once; its tree is never changed."""

    def __init__(self, source: bytes, grammar: Grammar) -> None:
        """Raises `ValueError` when the file is not UTF-8, or larger than `LARGEST`."""
        if len(source) > LARGEST:
            raise ValueError(f"{len(source)} bytes, more than the {LARGEST} that are looked at")
        try:
            source.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from error
        self.source, self.grammar = source, grammar
        self.root = grammar.root(source)
        self.errors = errors(self.root)
        self._line_starts = [0]
        for found in re.finditer(rb"\n", source):
            self._line_starts.append(found.end())
        self._parents: dict[int, Node] = {}
        self._extents: dict[int, Span] = {}
        self._statements: dict[int, list[Span]] = {}
        self._comments: dict[int, int] = {}
        definitions: list[Definition] = []
        self.variables: list[tuple[Span, Variable]] = []
        self.parameters: set[int] = set()
        """Ids of nodes that hold the parameters of a definition."""
        blocks: list[tuple[Span, Node]] = []
        untouched: list[Span] = []
        for _, captures in grammar.matches(grammar.structure, self.root):
            if "block" in captures:
                blocks += [(span_of(node), node) for node in captures["block"]]
            elif "definition" in captures or "closure" in captures:
                definitions.append(self._definition(captures))
            elif "comment" in captures:
                self._comments |= {one.start_byte: one.end_byte for one in captures["comment"]}
            elif "name" in captures:
                self.variables += self._bound(captures)
            else:
                untouched += [span_of(node) for node in captures.get("untouched", ())]
        self.blocks = Nested(blocks)
        self.definitions = Nested((span_of(one.node), one) for one in _named_once(definitions))
        self.tests = grammar.tests(self.root)
        """Where tests stand, in source order."""
        self._untouched = merged(untouched + self.tests)
        self._untouched_starts = [span.start for span in self._untouched]

    # --- text ---------------------------------------------------------------------------

    def text(self, span: Span) -> str:
        """The text of a span."""
        return self.source[span.start : span.end].decode()

    def line(self, offset: int) -> int:
        """1-based line of an offset."""
        return bisect_right(self._line_starts, offset)

    def line_start(self, offset: int) -> int:
        """Offset where the line of `offset` begins."""
        return self._line_starts[self.line(offset) - 1]

    def next_line(self, offset: int) -> int:
        """Offset where the line after that of `offset` begins; the file's end after the last."""
        line = self.line(offset)
        return self._line_starts[line] if line < len(self._line_starts) else len(self.source)

    def lines(self, span: Span) -> Span:
        """The whole lines of a span, last newline included."""
        end = max(span.start, span.end - 1)
        return Span(self.line_start(span.start), self.next_line(end))

    # --- tree ---------------------------------------------------------------------------

    def is_untouched(self, span: Span) -> bool:
        """True when a span lies in what is never mutated, or reaches into a test."""
        index = bisect_right(self._untouched_starts, span.start) - 1
        if index >= 0 and span.end <= self._untouched[index].end:
            # An insertion right behind a comment is not in it.
            return span.start < self._untouched[index].end
        return any(one.start < span.end and span.start < one.end for one in self.tests)

    def parent(self, node: Node) -> Node | None:
        """The node around a node."""
        known = self._parents.get(node.id)
        if known is None:
            # tree-sitter looks for a parent from the root on: ask once.
            known = node.parent
            if known is not None:
                self._parents[node.id] = known
        return known

    def function(self, span: Span) -> Definition | None:
        """The innermost definition or closure around a span."""
        return next((one for _, one in self.definitions.around(span)), None)

    def variables_at(self, span: Span) -> list[Variable]:
        """Variables that the function around a span has bound before it and that reach it."""
        first: dict[str, Variable] = {}
        for around, one in self.definitions.around(span):
            for variable, scope in self._variables.get(around, ()):
                if variable.start < span.start and scope.start <= span.start < scope.end:
                    first.setdefault(variable.name, variable)
            if one.name:
                break
        return sorted(first.values(), key=lambda variable: variable.start)

    @cached_property
    def _variables(self) -> dict[Span, list[tuple[Variable, Span]]]:
        """Variables by the function they are bound in, each with the block it is known in."""
        found: dict[Span, list[tuple[Variable, Span]]] = {}
        whole = Span(0, len(self.source) + 1)
        for span, variable in sorted(self.variables, key=lambda item: item[0].start):
            function = next((around for around, _ in self.definitions.around(span)), None)
            if function is not None:
                scope = next((around for around, _ in self.blocks.around(span)), whole)
                found.setdefault(function, []).append((variable, scope))
        return found

    def site(self, edit: Edit, operator: str) -> Site:
        """The site of an edit, wherever it comes from."""
        span = edit.span
        symbol, extent = self._around(span)
        line, end_line = self.line(span.start), self.line(max(span.start, span.end - 1))
        first, last = line, end_line
        block = next((node for _, node in self.blocks.around(span)), self.root)
        whole = self._statement(block, span.start)
        if whole is not None:
            inner = self.blocks.first_in(whole)
            end = whole.end if inner is None else inner.start
            if whole.start <= span.start and span.end <= end:
                head = self.source[whole.start : end].rstrip(_SPACE)
                first = min(first, self.line(whole.start))
                last = max(last, self.line(max(whole.start, whole.start + len(head) - 1)))
        return Site(operator, edit, line, end_line, symbol, extent, first, last)

    def extent(self, node: Node) -> Span:
        """The whole lines of a definition, with the comments and attributes right above it."""
        known = self._extents.get(node.id)
        if known is None:
            known = self._extents[node.id] = self._extent(node)
        return known

    def _extent(self, node: Node) -> Span:
        structure = self.grammar.rules.structure
        while (parent := self.parent(node)) is not None:
            if parent.type in structure.blocks or parent.start_point.row != node.start_point.row:
                break
            if self.parent(parent) is None:
                break
            node = parent
        first = node
        while (above := first.prev_sibling) is not None:
            below = first.start_point.row
            # Some grammars let a comment end where the next line begins.
            last = above.end_point.row - (above.end_point.column == 0)
            begins = self.source[self.line_start(above.start_byte) : above.start_byte]
            if above.type not in structure.leading or below - last > 1 or begins.strip():
                break
            first = above
        return self.lines(Span(first.start_byte, node.end_byte))

    def _statement(self, block: Node, offset: int) -> Span | None:
        """The child of a block that ends behind an offset."""
        known = self._statements.get(block.id)
        if known is None:
            # Not `first_child_for_byte`: behind the last child it gives a node that crashes.
            known = self._statements[block.id] = [span_of(child) for child in block.children]
        index = bisect_right(known, offset, key=lambda span: span.end)
        return known[index] if index < len(known) else None

    def comment_end(self, offset: int) -> int:
        """Where the comment that begins at an offset ends; the offset when none does."""
        return self._comments.get(offset, offset)

    def _around(self, span: Span) -> tuple[str, Span]:
        """Name and lines of the smallest definition that holds a span and outlives its change."""
        names: list[str] = []
        extent: Span | None = None
        for own, one in self._holders(span):
            if not one.name:
                continue
            gone = span.start <= own.start and own.end <= span.end
            if extent is None:
                if gone:
                    continue
                extent = self.extent(one.node)
            names.append(one.name)
        if extent is not None:
            return self.grammar.rules.structure.joiner.join(reversed(names)), extent
        touched = [
            self.extent(child)
            for child in self.root.children
            if child.start_byte < max(span.end, span.start + 1) and span.start < child.end_byte
        ]
        start = min([self.line_start(span.start), *(one.start for one in touched)])
        end = max([self.lines(span).end, *(one.end for one in touched)])
        return MODULE_SYMBOL, Span(start, end)

    def _holders(self, span: Span) -> Iterator[tuple[Span, Definition]]:
        """Definitions around a span, innermost first."""
        below = self.definitions.first_from(span.start)
        # Whole lines may begin in the comments, or the white space, before a definition.
        if below is not None and span.start == self.line_start(span.start):
            own, one = below
            extent = self.extent(one.node)
            if own.start > span.start >= extent.start and span.end <= extent.end:
                yield below
        yield from self.definitions.around(span)

    def _definition(self, captures: Captures) -> Definition:
        node = (captures.get("definition") or captures["closure"])[0]
        plain = name = "".join(self.text(span_of(one)) for one in captures.get("name", ())[:1])
        if name and "parameters" in captures:
            parameters = captures["parameters"][0]
            self.parameters.add(parameters.id)
            name += f"/{parameters.named_child_count}"
        if "owner" in captures:
            owner = self.text(span_of(captures["owner"][0]))
            name = f"{owner}{self.grammar.rules.structure.joiner}{name}"
        result = captures.get("result")
        return Definition(node, name, plain, self.text(span_of(result)) if result else None)

    def _bound(self, captures: Captures) -> Iterator[tuple[Span, Variable]]:
        kind: str | None = None
        if "type" in captures:
            kind = self.text(span_of(captures["type"][0]))
        elif "value" in captures:
            value = captures["value"][0]
            called = value.child_by_field_name("function")
            text = self.text(span_of(called)) if called is not None else value.type
            word = _LAST_WORD.search(text)
            kind = self.grammar.rules.structure.kinds.get(word[1] if word else text)
        for node in captures["name"]:
            span = span_of(node)
            yield span, Variable(self.text(span), kind, span.start)


def errors(root: Node) -> int:
    """Nodes of a tree that stand for what could not be parsed."""
    if not root.has_error:
        return 0
    count, stack = 0, [root]
    while stack:
        node = stack.pop()
        count += node.is_error or node.is_missing
        stack.extend(child for child in node.children if child.has_error or child.is_missing)
    return count


def same_tree(before: GrammarFile, after: Node, source: bytes, edit: Edit) -> bool:
    """True when a change leaves the tree as it was, comments and white space aside.

    `after` is the root of the changed file, `source` its bytes. Children whose bytes the change
    does not touch are taken as equal, so the cost does not grow with the file.
    """
    comments = before.grammar.rules.structure.comments
    shift = len(edit.text.encode()) - (edit.span.end - edit.span.start)
    old_node, new_node = before.root, after
    while True:
        old, new = _children(old_node, comments), _children(new_node, comments)
        if len(old) != len(new) or not old:
            break
        touched = [
            index
            for index, (one, other) in enumerate(zip(old, new, strict=True))
            if not _aside(one, other, edit.span, shift)
        ]
        if len(touched) != 1 or old[touched[0]].type != new[touched[0]].type:
            break
        old_node, new_node = old[touched[0]], new[touched[0]]
    return _shape(old_node, before.source, comments) == _shape(new_node, source, comments)


def _aside(one: Node, other: Node, edited: Span, shift: int) -> bool:
    """True when two nodes are the same bytes before the change, or after it."""
    if one.type != other.type:
        return False
    if one.end_byte <= edited.start:
        return one.byte_range == other.byte_range
    return (
        one.start_byte >= edited.end
        and one.start_byte + shift == other.start_byte
        and one.end_byte + shift == other.end_byte
    )


def _children(node: Node, comments: Sequence[str]) -> list[Node]:
    return [child for child in node.children if child.type not in comments]


def _shape(node: Node, source: bytes, comments: Sequence[str]) -> list[object]:
    """Types of a node and all below it, in order, with every text that is no white space."""
    shape: list[object] = []
    stack = [node]
    while stack:
        node = stack.pop()
        children = node.children
        shape += (node.type, len(_children(node, comments)))
        if not children:
            text = source[node.start_byte : node.end_byte]
            # Some grammars have a token for the end of a line.
            shape.append(text if node.is_named else text.strip())
            continue
        # Some texts are no nodes and stand between the children.
        at = node.start_byte
        for child in children:
            if at < child.start_byte:
                shape.append(source[at : child.start_byte].strip())
            at = child.end_byte
        shape.append(source[at : node.end_byte].strip())
        stack.extend(child for child in reversed(children) if child.type not in comments)
    return [part for part in shape if part != b""]


def _named_once(definitions: list[Definition]) -> list[Definition]:
    """One definition a node: the first pattern that names it wins."""
    by_node: dict[int, Definition] = {}
    for one in definitions:
        if not by_node.get(one.node.id) or not by_node[one.node.id].name:
            by_node[one.node.id] = one
    return list(by_node.values())


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that overlap as one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if found and span.start < found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found
