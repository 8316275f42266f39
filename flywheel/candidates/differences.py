"""What kind of mistake a fix mended: two versions of a piece of Python, compared as trees.

Each difference is named by the family of mutation operators that would make it, going back from
the later version to the earlier one: where a guard was added, dropping one is what `control-flow`
does. A difference that no family makes (a rewritten expression, a new function) has no name.

It looks at syntax alone and guesses nothing of what code means.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flywheel.core.syntax import parse

_COERCIONS = frozenset({"int", "float", "str", "bool", "bytes", "list", "tuple", "set", "dict"})
_ARITHMETIC = frozenset({"abs", "min", "max", "round", "sum"})
_COLLECTION = frozenset({"sorted", "reversed", "copy", "deepcopy"})
_STRING_METHODS = frozenset(name for name in dir(str) if not name.startswith("_"))

_ADDED: dict[type[ast.stmt], str] = {
    ast.If: "control-flow",
    ast.Match: "control-flow",
    ast.Try: "exception",
    ast.Raise: "exception",
    ast.Assign: "assignment",
    ast.AugAssign: "assignment",
    ast.AnnAssign: "assignment",
    ast.Return: "return",
    ast.With: "context-manager",
    ast.AsyncWith: "context-manager",
    ast.For: "loop",
    ast.AsyncFor: "loop",
    ast.While: "loop",
    ast.Break: "loop",
    ast.Continue: "loop",
    ast.Assert: "statement",
    ast.Delete: "statement",
    ast.Global: "statement",
    ast.Nonlocal: "statement",
    ast.Expr: "statement",
}
"""Family that drops a statement, for each kind that one drops."""

_TURNED: dict[tuple[type[ast.stmt], type[ast.stmt]], str] = {
    (ast.Assign, ast.AugAssign): "assignment",
    (ast.AugAssign, ast.Assign): "assignment",
    (ast.Expr, ast.Return): "return",
    (ast.Return, ast.Raise): "exception",
    (ast.Expr, ast.Raise): "exception",
    (ast.If, ast.While): "loop",
    (ast.Continue, ast.Break): "loop",
    (ast.Break, ast.Continue): "loop",
}
"""Family that turns the later kind of statement into the earlier, by (earlier, later)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two versions differ."""

    family: str | None
    """Family of operators that makes the earlier of the later version; None where none does."""
    old_line: int
    """1-based line in the earlier version, 0 for what was not there."""
    new_line: int
    """1-based line in the later version, 0 for what is not there any more."""


def differences(before: bytes, after: bytes) -> Iterator[Difference]:
    """Every difference between two versions of a source, in no particular order.

    Raises `SyntaxError`, `ValueError` or `RecursionError` where one of them cannot be parsed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trees = [parse(before), parse(after)]
    yield from _Versions(before, after).block(trees[0].body, trees[1].body)


def _at(family: str | None, old: ast.AST | None, new: ast.AST | None) -> Difference:
    return Difference(family, getattr(old, "lineno", 0), getattr(new, "lineno", 0))


# --- statements -------------------------------------------------------------------------


class _Versions:
    """Two versions, their statements compared by text: that costs no walk through what is equal."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self._lines = [[line.strip() for line in source.splitlines()] for source in (before, after)]

    def block(self, old: Sequence[ast.stmt], new: Sequence[ast.stmt]) -> Iterator[Difference]:
        """Differences between two blocks."""
        keys = self._texts(0, old), self._texts(1, new)
        if keys[0] == keys[1]:
            return
        matcher = difflib.SequenceMatcher(None, *keys, autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            if tag != "equal":
                yield from self._statements(old[i1:i2], new[j1:j2])

    def _texts(self, version: int, block: Sequence[ast.stmt]) -> list[tuple[bytes, ...]]:
        lines = self._lines[version]
        return [tuple(lines[_first_line(one) - 1 : one.end_lineno]) for one in block]

    def _statements(self, old: Sequence[ast.stmt], new: Sequence[ast.stmt]) -> Iterator[Difference]:
        """Differences between two runs of statements that have none in common."""
        if len(new) == 1 and old and self._wraps(new[0], old):
            yield _at(_ADDED[type(new[0])], old[0], new[0])
            return
        left = list(old)
        alone = []
        for one in new:
            other = next((each for each in left if _alike(each, one)), None)
            if other is None:
                alone.append(one)
            else:
                left.remove(other)
                yield from self._statement(other, one)
        for one in alone:
            # One for one, they may be two forms of the same.
            single = len(left) == len(alone) == 1
            turned = _TURNED.get((type(left[0]), type(one))) if single else None
            yield _at(turned or _dropping(one), left[0] if left else None, one)
        if not alone:
            for other in left:
                yield _at(None, other, None)

    def _wraps(self, new: ast.stmt, old: Sequence[ast.stmt]) -> bool:
        if not isinstance(new, ast.If | ast.Try | ast.With | ast.AsyncWith | ast.For | ast.While):
            return False
        return self._texts(1, new.body) == self._texts(0, old)

    def _statement(self, old: ast.stmt, new: ast.stmt) -> Iterator[Difference]:
        """Differences between two statements of one kind."""
        match old, new:
            case ast.Expr(value=ast.Constant(value=str())), ast.Expr():
                return  # a docstring
            case (ast.Return(value=None), ast.Return()) | (ast.Return(), ast.Return(value=None)):
                yield _at("return", old, new)
                return
            case ast.FunctionDef(), ast.FunctionDef():
                yield from _signature(old, new)
            case ast.AsyncFunctionDef(), ast.AsyncFunctionDef():
                yield from _signature(old, new)
            case ast.ClassDef(), ast.ClassDef():
                yield from _decorators(old, new)
                if _dumps(old.bases) != _dumps(new.bases):
                    yield _at("inheritance", old, new)
            case ast.Try(), ast.Try():
                yield from self._handlers(old, new)
            case ast.With(), ast.With():
                yield from _items(old, new)
            case ast.AsyncWith(), ast.AsyncWith():
                yield from _items(old, new)
            case ast.Match(), ast.Match():
                if ast.dump(old) != ast.dump(new):
                    yield _at("control-flow", old, new)
                return
            case ast.If(orelse=[]), ast.If(orelse=[first, *_]):
                yield _at("control-flow", old, first)
                yield from _fields(old, new)
                yield from self.block(old.body, new.body)
                return
            case _:
                yield from _fields(old, new)
        for name in ("body", "orelse", "finalbody"):
            yield from self.block(getattr(old, name, ()), getattr(new, name, ()))

    def _handlers(self, old: ast.Try, new: ast.Try) -> Iterator[Difference]:
        if len(old.handlers) != len(new.handlers):
            added = len(new.handlers) > len(old.handlers)
            yield _at("exception" if added else None, old, new)
            return
        for one, other in zip(old.handlers, new.handlers, strict=True):
            if (one.type and ast.dump(one.type)) != (other.type and ast.dump(other.type)):
                yield _at("exception", one, other)
            yield from self.block(one.body, other.body)


def _first_line(node: ast.stmt) -> int:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return node.lineno


def _alike(one: ast.stmt, other: ast.stmt) -> bool:
    same = type(one) is type(other)
    return same and getattr(one, "name", "") == getattr(other, "name", "")


def _dropping(node: ast.stmt) -> str | None:
    """The family that drops a statement."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return None  # a docstring
        case ast.Expr(value=ast.Await()):
            return "async"
    return _ADDED.get(type(node))


def _decorators(
    old: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    new: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> Iterator[Difference]:
    if _dumps(old.decorator_list) != _dumps(new.decorator_list):
        more = len(new.decorator_list) >= len(old.decorator_list)
        yield _at("decorator" if more else None, old, new)


def _signature(
    old: ast.FunctionDef | ast.AsyncFunctionDef, new: ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[Difference]:
    yield from _decorators(old, new)
    names = [
        [one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
        for args in (old.args, new.args)
    ]
    defaults = [
        [one and ast.dump(one) for one in (*args.defaults, *args.kw_defaults)]
        for args in (old.args, new.args)
    ]
    if names[0] != names[1]:
        yield _at(None, old, new)
    elif defaults[0] != defaults[1]:
        yield _at("default-argument", old, new)


def _items(old: ast.With | ast.AsyncWith, new: ast.With | ast.AsyncWith) -> Iterator[Difference]:
    if len(old.items) != len(new.items):
        yield _at("context-manager", old, new)
        return
    for one, other in zip(old.items, new.items, strict=True):
        yield from _expression(one.context_expr, other.context_expr)


# --- expressions ------------------------------------------------------------------------


def _fields(old: ast.AST, new: ast.AST) -> Iterator[Difference]:
    """Differences of the expressions directly in two nodes of one kind."""
    for name in old._fields:
        one, other = getattr(old, name), getattr(new, name)
        pairs = [(one, other)]
        if isinstance(one, list):
            if any(isinstance(first, ast.stmt) for first in (*one[:1], *other[:1])):
                continue  # a block: compared as such
            if len(one) != len(other):
                yield _at(_of_length(old), old, new)
                continue
            pairs = list(zip(one, other, strict=False))
        for left, right in pairs:
            if isinstance(left, ast.expr) and isinstance(right, ast.expr):
                yield from _expression(left, right)
            elif isinstance(left, ast.expr) or isinstance(right, ast.expr):
                yield _at("return" if isinstance(old, ast.Return) else None, old, new)
            elif isinstance(left, ast.keyword | ast.comprehension | ast.arguments):
                yield from _fields(left, right)


def _of_length(node: ast.AST) -> str | None:
    """The family that drops one of the things listed in a node."""
    match node:
        case ast.Call():
            return "call-arguments"
        case ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
            return "collection"
        case ast.BoolOp():
            return "boolean"
        case ast.Compare():
            return "comparison"
        case ast.comprehension():
            return "loop"
        case ast.Assign():
            return "assignment"
        case ast.JoinedStr():
            return "string"
    return None


def _expression(old: ast.expr, new: ast.expr) -> Iterator[Difference]:
    if ast.dump(old) == ast.dump(new):
        return
    if type(old) is not type(new):
        yield _at(_between(old, new), old, new)
        return
    match old, new:
        case ast.Constant(), ast.Constant():
            yield _at(_of_constants(old.value, new.value), old, new)
        case ast.Name(), ast.Name():
            yield _at("variable-misuse", old, new)
        case ast.Attribute(), ast.Attribute() if old.attr != new.attr:
            strings = {old.attr, new.attr} <= _STRING_METHODS
            yield _at("string" if strings else "variable-misuse", old, new)
            yield from _expression(old.value, new.value)
        case ast.JoinedStr(), ast.JoinedStr():
            yield _at("string", old, new)
        case ast.Slice(), ast.Slice():
            yield _at("slice-index", old, new)
        case ast.Subscript(), ast.Subscript() if _is_index(old.slice) and _is_index(new.slice):
            yield from _expression(old.value, new.value)
            if ast.dump(old.slice) != ast.dump(new.slice):
                yield _at("slice-index", old, new)
        case ast.Compare(), ast.Compare() if _kinds(old.ops) != _kinds(new.ops):
            yield _at("comparison", old, new)
        case ast.BoolOp(), ast.BoolOp() if type(old.op) is not type(new.op):
            yield _at("boolean", old, new)
        case ast.BinOp(), ast.BinOp() if type(old.op) is not type(new.op):
            yield _at("arithmetic", old, new)
        case ast.UnaryOp(), ast.UnaryOp() if type(old.op) is not type(new.op):
            yield _at("arithmetic", old, new)
        case ast.Call(func=ast.Name(id="isinstance")), ast.Call(func=ast.Name(id="isinstance")):
            yield _at("type-coercion", old, new)
        case ast.Call(), ast.Call() if [one.arg for one in old.keywords] != [
            one.arg for one in new.keywords
        ]:
            yield from _expression(old.func, new.func)
            yield _at("call-arguments", old, new)
        case _:
            yield from _fields(old, new)


def _between(old: ast.expr, new: ast.expr) -> str | None:
    """The family that turns an expression into one of another kind."""
    was = ast.dump(old)
    match new:
        case ast.BoolOp() if was in _dumps(new.values):
            return "boolean"
        case ast.UnaryOp(op=ast.Not()) if ast.dump(new.operand) == was:
            return "boolean"
        case ast.UnaryOp() if ast.dump(new.operand) == was:
            return "arithmetic"
        case ast.BinOp() if was in _dumps([new.left, new.right]):
            return "arithmetic"
        case ast.IfExp() if was in _dumps([new.body, new.orelse]):
            return "control-flow"
        case ast.Compare() if ast.dump(new.left) == was:
            return "comparison"
        case ast.Subscript() if ast.dump(new.value) == was:
            return "slice-index"
        case ast.Await() if ast.dump(new.value) == was:
            return "async"
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if ast.dump(first) == was:
            return _of_call(name)
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if ast.dump(value) == was:
            return "string" if name in _STRING_METHODS - _COLLECTION else _of_call(name)
    match old, new:
        case ast.UnaryOp(op=ast.Not()), _ if ast.dump(old.operand) == ast.dump(new):
            return "boolean"
        case (ast.Name(), ast.Attribute()) | (ast.Attribute(), ast.Name()):
            return "variable-misuse"
        case ast.Call(func=ast.Attribute(attr="get")), ast.Subscript():
            return "collection"
        case ast.Subscript(), ast.Call(func=ast.Attribute(attr="get")):
            return "collection"
        case (ast.Constant(), ast.JoinedStr()) | (ast.JoinedStr(), ast.Constant()):
            return "string"
    return None


def _of_call(name: str) -> str | None:
    for names, family in (
        (_COERCIONS, "type-coercion"),
        (_ARITHMETIC, "arithmetic"),
        (_COLLECTION, "collection"),
    ):
        if name in names:
            return family
    return None


def _of_constants(old: object, new: object) -> str | None:
    if isinstance(old, str | bytes) and isinstance(new, str | bytes):
        return "string"
    numbers = isinstance(old, int | float | complex) and isinstance(new, int | float | complex)
    return "constant" if numbers else None


def _is_index(node: ast.expr) -> bool:
    match node:
        case ast.Slice() | ast.Constant(value=int()) | ast.UnaryOp(operand=ast.Constant()):
            return True
    return False


def _kinds(nodes: Sequence[ast.AST]) -> list[type[ast.AST]]:
    return [type(node) for node in nodes]


def _dumps(nodes: Sequence[ast.expr]) -> list[str]:
    return [ast.dump(node) for node in nodes]
