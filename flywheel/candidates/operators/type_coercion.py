"""Conversions: forgotten, or to the wrong type; type tests too narrow."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import COMPARE, TEST
from flywheel.candidates.operator import Edit, Example, Module, Operator

_CONVERTERS = frozenset(
    {"int", "str", "float", "bool", "list", "tuple", "set", "frozenset", "dict", "bytes", "repr"}
)
_OTHER = {
    "int": "float",
    "float": "int",
    "str": "repr",
    "repr": "str",
    "list": "set",
    "tuple": "list",
    "set": "list",
    "frozenset": "tuple",
}


def _is_conversion(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Name)
        and node.func.id in _CONVERTERS
        and len(node.args) == 1
        and not node.keywords
        and not isinstance(node.args[0], ast.Starred)
    )


class CoercionDropped(Operator[ast.Call]):
    """A forgotten `int()`, `str()` or `list()`."""

    name = "coercion-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = int(a)\n", "x = a\n"),
        Example("x = 2 * int(a or 0)\n", "x = 2 * (a or 0)\n"),
        Example("x = list(b for b in a)\n", "x = (b for b in a)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Leave what was to be converted; copies of a name are another operator's."""
        if not _is_conversion(node) or isinstance(module.parents.get(node), ast.Expr):
            return
        named = isinstance(node.args[0], (ast.Name, ast.Attribute))
        if named and isinstance(node.func, ast.Name) and node.func.id in ("list", "dict", "set"):
            return
        yield module.take(node, node.args[0])


class CoercionChanged(Operator[ast.Call]):
    """The wrong type: `float` for `int`, `set` for `list`."""

    name = "coercion-changed"
    nodes = (ast.Call,)
    examples = (
        Example("x = int(a)\n", "x = float(a)\n"),
        Example("x = f(list(a))\n", "x = f(set(a))\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Convert to a neighbouring type."""
        if _is_conversion(node) and isinstance(node.func, ast.Name) and node.func.id in _OTHER:
            yield module.replace(node.func, _OTHER[node.func.id])


class IsinstanceNarrowed(Operator[ast.Call]):
    """One of the accepted types forgotten."""

    name = "isinstance-narrowed"
    nodes = (ast.Call,)
    examples = (
        Example("ok = isinstance(a, (b, c))\n", "ok = isinstance(a, (b))\n"),
        Example("ok = isinstance(a, (b, c, d))\n", "ok = isinstance(a, (b, d))\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Drop each of the types."""
        if not isinstance(node.func, ast.Name) or node.func.id not in ("isinstance", "issubclass"):
            return
        if len(node.args) == 2 and isinstance(node.args[1], ast.Tuple):
            spans = [module.grouped(element) for element in node.args[1].elts]
            for index in range(len(spans)) if len(spans) > 1 else ():
                yield module.without(spans, index)


class IsinstanceExact(Operator[ast.Call]):
    """The type itself where subclasses were meant too."""

    name = "isinstance-exact"
    nodes = (ast.Call,)
    examples = (
        Example("ok = isinstance(a, b)\n", "ok = type(a) is b\n"),
        Example("ok = not isinstance(a.c, d.E)\n", "ok = not type(a.c) is d.E\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Compare the type with `is`."""
        if not isinstance(node.func, ast.Name) or node.func.id != "isinstance":
            return
        if len(node.args) == 2 and isinstance(node.args[1], (ast.Name, ast.Attribute)):
            first, second = node.args
            text = f"type({module.code(first, TEST)}) is {module.text(second)}"
            yield module.replace(node, text, binds=COMPARE)
