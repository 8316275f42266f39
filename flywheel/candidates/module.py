"""A parsed source file, as operators see it: text, parents, scopes, and safe ways to edit.

The tree is walked once; what must never be mutated (docstrings, annotations, `__all__`,
`if TYPE_CHECKING`, `if __name__ == "__main__"`, overloads, match patterns) is left out of
`mutable`, so no operator has to think of it. The inside of f-strings is left out too: before
Python 3.12 `ast` gives wrong positions there, and the same file must give the same sites
whatever Python runs flywheel. All offsets are UTF-8 bytes.

It knows nothing of types or of other files: a name is only a name.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flywheel.core.records import Span
from flywheel.core.syntax import parse

Located = ast.expr | ast.stmt | ast.excepthandler | ast.arg | ast.keyword
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

# How tightly an expression binds, loosest first; a slot asks for a minimum.
YIELD, TUPLE, TEST, OR, AND, NOT, COMPARE, BIT_OR, BIT_XOR, BIT_AND = range(10)
SHIFT, SUM, TERM, FACTOR, POWER, AWAIT, ATOM = range(10, 17)

_OPERATOR_BINDS: dict[type[ast.operator], int] = {
    ast.BitOr: BIT_OR,
    ast.BitXor: BIT_XOR,
    ast.BitAnd: BIT_AND,
    ast.LShift: SHIFT,
    ast.RShift: SHIFT,
    ast.Add: SUM,
    ast.Sub: SUM,
    ast.Mult: TERM,
    ast.Div: TERM,
    ast.FloorDiv: TERM,
    ast.Mod: TERM,
    ast.MatMult: TERM,
    ast.Pow: POWER,
}

_UNSEEN: dict[type[ast.AST], frozenset[str]] = {
    ast.FunctionDef: frozenset({"returns", "type_params"}),
    ast.AsyncFunctionDef: frozenset({"returns", "type_params"}),
    ast.ClassDef: frozenset({"type_params"}),
    ast.arg: frozenset({"annotation"}),
    ast.AnnAssign: frozenset({"annotation"}),
    ast.JoinedStr: frozenset({"values"}),
    ast.match_case: frozenset({"pattern"}),
}
"""Fields whose nodes are never mutated."""

_LEAF_FIELDS = frozenset({"ctx", "op", "ops", "type_comment", "type_ignores", "kind"})
_NOTHING: frozenset[str] = frozenset()
_TYPE_CALLS = frozenset(
    {"TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType", "cast", "assert_type"}
)

_COMMENT = re.compile(rb"#[^\r\n]*")
_REST_OF_LINE = re.compile(rb"[ \t\f]*(#[^\r\n]*)?(\r\n|\r|\n|\Z)")
_WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]")
_SPACE = b" \t\f\r\n\\"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace one span of the file by a text."""

    span: Span
    """UTF-8 byte offsets in the file."""
    text: str
    """What takes its place."""

    def apply(self, source: bytes) -> bytes:
        """The file's bytes with the edit made."""
        return source[: self.span.start] + self.text.encode() + source[self.span.end :]


def called_name(node: ast.AST) -> str:
    """Last name of what a call calls: `strip` of `x.strip()`, `int` of `int(x)`, else empty."""
    if isinstance(node, ast.Call):
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name
    return ""


def is_super_call(node: ast.expr) -> bool:
    """True for `super().anything(...)`, awaited or not."""
    if isinstance(node, ast.Await):
        node = node.value
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and called_name(node.func.value) == "super"
    )


def is_docstring(node: ast.stmt, parent: ast.AST | None) -> bool:
    """True when `node` is a bare string: a docstring, or one written under an attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and parent is not None
    )


class Module:
    """A parsed source file with what operators ask of it: text of a node, parents, scopes.

    Raises `SyntaxError` when it cannot be parsed, `ValueError` when it holds null bytes or is
    not UTF-8 (positions of `ast` are in UTF-8, so such a file could not be edited in place).
    """

    def __init__(self, source: bytes) -> None:
        self.source = source
        """The file's bytes."""
        if not source.isascii():
            encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
            if encoding not in ("utf-8", "utf-8-sig"):
                raise ValueError(f"not UTF-8 but {encoding}")
            source.decode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = parse(source)
        self.parents: dict[ast.AST, ast.AST] = {}
        """Parent of each mutable node."""
        self.mutable: list[ast.AST] = []
        """Every node that may be mutated, in source order."""
        self._line_starts = [3 if source.startswith(b"\xef\xbb\xbf") else 0]
        position = 0
        for line in source.splitlines(keepends=True):
            position += len(line)
            self._line_starts.append(position)
        self._variables: dict[ast.AST, dict[str, int]] = {}
        self._attributes: dict[ast.AST, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._qualnames: dict[ast.AST, str] = {}
        self._walk()

    # --- the walk -----------------------------------------------------------------------

    def _walk(self) -> None:
        """Fill `mutable` and `parents`, leaving out what is never mutated."""
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            fields: Sequence[str] = node._fields
            if _is_type_checking(node):
                fields = ("orelse",)
            elif not isinstance(node, ast.Module):
                self.mutable.append(node)
            children: list[ast.AST] = []
            unseen = _UNSEEN.get(type(node), _NOTHING)
            for name in fields:
                if name in _LEAF_FIELDS or name in unseen:
                    continue
                value = getattr(node, name, None)
                if isinstance(value, ast.AST):
                    children.append(value)
                elif isinstance(value, list):
                    children.extend(child for child in value if isinstance(child, ast.AST))
            for child in children:
                self.parents[child] = node
            children = [child for child in children if not self._hidden(child, node)]
            stack.extend(reversed(children))

    def _hidden(self, node: ast.AST, parent: ast.AST) -> bool:
        match node:
            case ast.Expr():
                return is_docstring(node, parent)
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                return True
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                return True
            case ast.AugAssign(target=ast.Name(id="__all__")):
                return True
            case ast.AnnAssign(target=ast.Name(id="__all__")):
                return True
            case ast.Call() if called_name(node) in _TYPE_CALLS:
                return True
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return any(_last_name(d) == "overload" for d in node.decorator_list)
        return type(node).__name__ == "TypeAlias"

    # --- text and positions -------------------------------------------------------------

    def offset(self, line: int, column: int) -> int:
        """Byte offset of a 1-based line and 0-based UTF-8 column, as `ast` counts them."""
        return self._line_starts[line - 1] + column

    def line(self, offset: int) -> int:
        """1-based line of a byte offset."""
        low, high = 0, len(self._line_starts)
        while low < high:
            middle = (low + high) // 2
            if self._line_starts[middle] <= offset:
                low = middle + 1
            else:
                high = middle
        return max(low, 1)

    def line_start(self, offset: int) -> int:
        """Offset where the line of `offset` begins."""
        return self._line_starts[self.line(offset) - 1]

    def line_end(self, offset: int) -> int:
        """Offset where the line of `offset` ends, its newline not included."""
        line = self.line(offset)
        end = self._line_starts[line] if line < len(self._line_starts) else len(self.source)
        while end > offset and self.source[end - 1] in b"\r\n":
            end -= 1
        return end

    def next_line(self, offset: int) -> int:
        """Offset where the line after that of `offset` begins, or the file's end."""
        line = self.line(offset)
        return self._line_starts[line] if line < len(self._line_starts) else len(self.source)

    def span(self, node: Located) -> Span:
        """The span of a node, decorators of a definition not included."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return Span(
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno, node.end_col_offset),
        )

    def slice(self, start: int, end: int) -> str:
        """Source text between two offsets."""
        return self.source[start:end].decode()

    def text(self, node: Located) -> str:
        """The source text of a node, exactly as written."""
        span = self.span(node)
        return self.slice(span.start, span.end)

    def statement_span(self, node: ast.stmt) -> Span:
        """The span of a statement, decorators included."""
        span = self.span(node)
        if isinstance(node, Definition) and node.decorator_list:
            start = self.offset(node.decorator_list[0].lineno, 0)
            while self.source[start] in b" \t\f":
                start += 1
            return Span(start, span.end)
        return span

    def grouped(self, node: Located) -> Span:
        """The span of a node with the parentheses that only group it."""
        start, end = self.span(node).start, self.span(node).end
        pairs = [(start, end)]
        while True:
            left, right = start - 1, end
            while left >= 0 and self.source[left] in _SPACE:
                left -= 1
            while right < len(self.source) and self.source[right] in _SPACE:
                right += 1
            if left < 0 or right >= len(self.source):
                break
            if self.source[left] != 0x28 or self.source[right] != 0x29:
                break
            start, end = left, right + 1
            pairs.append((start, end))
        parent = self.parents.get(node)
        if len(pairs) > 1 and isinstance(parent, ast.Call) and node is not parent.func:
            if end == self.span(parent).end:
                pairs.pop()  # the outermost pair is the call's own
        elif len(pairs) > 1 and isinstance(parent, ast.ClassDef) and node in parent.bases:
            if self.source[end:].lstrip(_SPACE).startswith(b":"):
                pairs.pop()
        return Span(*pairs[-1])

    def find(self, pattern: bytes, start: int, end: int) -> Span | None:
        """First match of a pattern in a gap between nodes, comments not searched."""
        gap = _COMMENT.sub(lambda match: b" " * len(match[0]), self.source[start:end])
        found = re.search(pattern, gap)
        return Span(start + found.start(), start + found.end()) if found else None

    # --- expressions --------------------------------------------------------------------

    def binds(self, node: ast.expr) -> int:
        """How tightly an expression binds, as it is written."""
        match node:
            case ast.NamedExpr() | ast.Yield() | ast.YieldFrom():
                return YIELD
            case ast.Tuple():
                bare = node.elts and self.grouped(node.elts[0]).start <= self.span(node).start
                return TUPLE if bare else ATOM
            case ast.Lambda() | ast.IfExp():
                return TEST
            case ast.BoolOp():
                return OR if isinstance(node.op, ast.Or) else AND
            case ast.UnaryOp():
                return NOT if isinstance(node.op, ast.Not) else FACTOR
            case ast.Compare():
                return COMPARE
            case ast.BinOp():
                return _OPERATOR_BINDS[type(node.op)]
            case ast.Await():
                return AWAIT
            case ast.Constant(value=str() | bytes()) | ast.JoinedStr():
                # Two literals side by side are one node; a dot would take only the last.
                return ATOM if node.lineno == node.end_lineno else POWER
        return ATOM

    def needs(self, node: ast.expr) -> int:
        """How tightly an expression must bind to stand bare where `node` stands."""
        if self.grouped(node) != self.span(node):
            return YIELD
        parent = self.parents.get(node)
        match parent:
            case ast.BoolOp():
                return AND if isinstance(parent.op, ast.Or) else NOT
            case ast.UnaryOp():
                return NOT if isinstance(parent.op, ast.Not) else FACTOR
            case ast.Compare() | ast.Starred():
                return BIT_OR
            case ast.BinOp(op=ast.Pow()):
                return AWAIT if node is parent.left else FACTOR
            case ast.BinOp():
                return _OPERATOR_BINDS[type(parent.op)] + (node is parent.right)
            case ast.Attribute() | ast.Await():
                return ATOM
            case ast.Call() if node is parent.func:
                return ATOM
            case ast.Subscript() if node is parent.value:
                return ATOM
            case ast.IfExp():
                return TEST if node is parent.orelse else OR
            case ast.comprehension():
                return OR
        return TEST

    def code(self, node: ast.expr, needs: int = TEST) -> str:
        """Text of an expression that can stand where `needs` is asked, parenthesised if must."""
        text = self.text(node)
        bound = self.binds(node)
        broken = "\n" in text and bound < ATOM
        return f"({text})" if bound < needs or broken or self._splits(node, text) else text

    def _splits(self, node: ast.expr, text: str) -> bool:
        """True when a line break may lie outside an atom's brackets, as in a chain of calls."""
        if "\n" not in text or isinstance(node, (ast.Constant, ast.JoinedStr)):
            return False
        return isinstance(node, (ast.Attribute, ast.Call, ast.Subscript))

    def replace(self, node: Located, text: str, *, binds: int | None = None) -> Edit:
        """An edit that puts `text` in place of `node`.

        Give `binds`, how tightly the new expression binds, to have it parenthesised when its
        new neighbours bind tighter.
        """
        if binds is not None and isinstance(node, ast.expr) and binds < self.needs(node):
            text = f"({text})"
        return Edit(self.span(node), text)

    def take(self, node: ast.expr, part: ast.expr) -> Edit:
        """An edit that leaves only `part` of the expression `node`."""
        return self.replace(node, self.code(part, self.needs(node)))

    # --- lists of things between commas -------------------------------------------------

    def exchange(self, first: Span, second: Span) -> Edit:
        """An edit that swaps two regions, the first before the second."""
        gap = self.source[first.end : second.start]
        head = self.source[second.start : second.end]
        tail = self.source[first.start : first.end]
        left = b" " if _glued(head, gap) else b""
        right = b" " if _glued(gap, tail) else b""
        text = b"".join((head, left, gap, right, tail)).decode()
        return Edit(Span(first.start, second.end), text)

    def without(self, items: Sequence[Span], index: int) -> Edit:
        """An edit that removes one of at least two things separated by commas."""
        if index + 1 < len(items):
            return Edit(Span(items[index].start, items[index + 1].start), "")
        return Edit(Span(items[index - 1].end, items[index].end), "")

    def arguments(self, call: ast.Call | ast.ClassDef) -> list[Span]:
        """Spans of all arguments of a call or a class header, in source order."""
        positional = call.args if isinstance(call, ast.Call) else call.bases
        nodes: list[ast.expr | ast.keyword] = [*positional, *call.keywords]
        return sorted(
            (self.grouped(n) if isinstance(n, ast.expr) else self.keyword_span(n) for n in nodes),
            key=lambda span: span.start,
        )

    def keyword_span(self, node: ast.keyword) -> Span:
        """The span of `name=value`, parentheses around the value included."""
        return Span(self.span(node).start, self.grouped(node.value).end)

    # --- statements ---------------------------------------------------------------------

    def block(self, node: ast.stmt) -> list[ast.stmt]:
        """The block a statement stands in, itself included."""
        parent = self.parents[node]
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and node in block:
                return block
        return [node]

    def is_elif(self, node: ast.AST) -> bool:
        """True when an `if` is written `elif`."""
        return isinstance(node, ast.If) and self.source.startswith(
            b"elif", self.offset(node.lineno, node.col_offset)
        )

    def indent(self, node: ast.stmt | ast.excepthandler) -> str | None:
        """The white space before a statement, None when something else stands there."""
        start = self.offset(node.lineno, node.col_offset)
        if isinstance(node, ast.stmt):
            start = self.statement_span(node).start
        begin = self.line_start(start)
        before = self.source[begin:start]
        continued = self.source[:begin].rstrip(b"\r\n").endswith(b"\\")
        return None if before.strip() or continued else before.decode()

    def lines(self, block: Sequence[ast.stmt]) -> Span | None:
        """The whole lines of a block, last newline not included; None when it shares a line."""
        last = self.span(block[-1]).end
        rest = _REST_OF_LINE.match(self.source, last)
        if self.indent(block[0]) is None or rest is None:
            return None
        start = self.line_start(self.statement_span(block[0]).start)
        return Span(start, self.line_end(last))

    def region(self, block: Sequence[ast.stmt]) -> Span:
        """The exact span of a block, from its first statement to its last."""
        return Span(self.statement_span(block[0]).start, self.span(block[-1]).end)

    def removal(self, node: ast.stmt) -> Iterator[Edit]:
        """An edit that removes a statement: its whole lines, or `pass` in its place.

        Gives nothing for `elif`, which is a clause and not a statement.
        """
        if self.is_elif(node):
            return
        lines = self.lines([node])
        if lines is None or len(self.block(node)) == 1:
            yield Edit(self.statement_span(node), "pass")
        else:
            yield Edit(Span(lines.start, self.next_line(lines.end)), "")

    def removed_clause(
        self, keyword: bytes, before: ast.stmt, block: list[ast.stmt]
    ) -> Iterator[Edit]:
        """An edit that removes `else:` or `finally:` with its block."""
        found = self.find(
            rb"\b" + keyword + rb"\b", self.span(before).end, self.region(block).start
        )
        if found is None or self.source[self.line_start(found.start) : found.start].strip():
            return
        rest = _REST_OF_LINE.match(self.source, self.span(block[-1]).end)
        if rest is not None:
            start = self.line_start(found.start)
            yield Edit(Span(start, self.next_line(self.span(block[-1]).end)), "")

    def unwrapped(self, node: ast.stmt, body: list[ast.stmt], head: str = "") -> Iterator[Edit]:
        """An edit that leaves of a compound statement only a block, moved out one level.

        `head` is a statement put before it. Gives nothing when a string over several lines
        would have to change, or when the layout is too unusual to move safely.
        """
        indent = self.indent(node)
        if indent is None or self.is_elif(node):
            return
        if self.indent(body[0]) is None:
            if not head and self.span(body[-1]).end == self.span(node).end:
                region = self.region(body)
                yield Edit(self.span(node), self.slice(region.start, region.end))
            return
        lines, whole = self.lines(body), self.lines([node])
        inner = self.indent(body[0])
        if lines is None or whole is None or inner is None or not inner.startswith(indent):
            return
        for child in (child for statement in body for child in ast.walk(statement)):
            if (
                isinstance(child, (ast.Constant, ast.JoinedStr))
                and child.lineno != child.end_lineno
            ):
                return
        extra = inner[len(indent) :]
        moved = [
            indent + line[len(inner) :] if line.startswith(inner) and extra else line
            for line in self.slice(lines.start, lines.end).splitlines(keepends=True)
        ]
        if head:
            newline = "\r\n" if b"\r\n" in self.source else "\n"
            moved.insert(0, f"{indent}{head}{newline}")
        yield Edit(whole, "".join(moved))

    # --- scopes -------------------------------------------------------------------------

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, innermost first."""
        current = self.parents.get(node)
        while current is not None:
            yield current
            current = self.parents.get(current)

    def function(self, node: ast.AST) -> FunctionNode | None:
        """The innermost function whose body holds a node; None in a class body or a module."""
        child = node
        for around in self.ancestors(node):
            if isinstance(around, FunctionNode):
                return around if child in around.body else None
            if isinstance(around, (ast.ClassDef, ast.Lambda)):
                return None
            child = around
        return None

    def enclosing_class(self, node: ast.AST) -> ast.ClassDef | None:
        """The innermost class around a node."""
        return next((a for a in self.ancestors(node) if isinstance(a, ast.ClassDef)), None)

    def variables(self, function: FunctionNode) -> dict[str, int]:
        """Names a function binds itself, parameters first, with the line of the first binding."""
        known = self._variables.get(function)
        if known is None:
            arguments = function.args
            known = {
                argument.arg: 0
                for argument in (
                    *arguments.posonlyargs,
                    *arguments.args,
                    *arguments.kwonlyargs,
                    *filter(None, (arguments.vararg, arguments.kwarg)),
                )
            }
            for node in _own_nodes(function):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    known.setdefault(node.id, node.lineno)
            self._variables[function] = known
        return known

    def self_attributes(self, owner: ast.ClassDef) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Attributes of `self` a class reads or writes: data, and those it calls."""
        known = self._attributes.get(owner)
        if known is None:
            data: dict[str, None] = {}
            called: dict[str, None] = {}
            for node in ast.walk(owner):
                if isinstance(node, FunctionNode) and node in owner.body:
                    (data if node.decorator_list else called).setdefault(node.name)
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "self"
                ):
                    parent = self.parents.get(node)
                    by_call = isinstance(parent, ast.Call) and parent.func is node
                    (called if by_call else data).setdefault(node.attr)
            known = (
                tuple(name for name in data if name not in called),
                tuple(name for name in called if not name.startswith("__")),
            )
            self._attributes[owner] = known
        return known

    def qualname(self, node: ast.AST) -> str:
        """Dotted name of a definition: `Outer.method`, without `<locals>`."""
        known = self._qualnames.get(node)
        if known is None:
            names = [a.name for a in (node, *self.ancestors(node)) if isinstance(a, Definition)]
            known = self._qualnames[node] = ".".join(reversed(names))
        return known

    def extent(self, node: ast.stmt) -> Span:
        """The whole lines of a statement, its decorators and last newline included."""
        span = self.statement_span(node)
        return Span(self.line_start(span.start), self.next_line(span.end))

    def apart(self, edit: Edit) -> Edit:
        """The edit with a blank where it would join two words (`a==b` must not become `aisb`)."""
        return apart(edit, self.source)


def apart(edit: Edit, source: bytes) -> Edit:
    """The edit with a blank where it would join two words (`a==b` must not become `aisb`)."""
    before = source[max(edit.span.start - 1, 0) : edit.span.start]
    after = source[edit.span.end : edit.span.end + 1]
    text = edit.text.encode()
    if not text:
        return Edit(edit.span, " ") if _glued(before, after) else edit
    left = " " if _glued(before, text) else ""
    right = " " if _glued(text, after) else ""
    return Edit(edit.span, f"{left}{edit.text}{right}") if left or right else edit


def _glued(left: bytes, right: bytes) -> bool:
    return bool(_WORD.match(left[-1:]) and _WORD.match(right[:1]))


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING"


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """Nodes of a function's body, those of inner definitions and comprehensions left out."""
    inner = (*_SCOPES, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    stack: list[ast.AST] = list(reversed(function.body))
    while stack:
        node = stack.pop()
        if isinstance(node, inner):
            continue
        yield node
        stack.extend(reversed(list(ast.iter_child_nodes(node))))
