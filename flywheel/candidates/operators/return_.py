"""Returns: the value lost, shortened, emptied or in the wrong order."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator

_EMPTY: dict[type[ast.expr], str] = {
    ast.List: "[]",
    ast.ListComp: "[]",
    ast.Dict: "{}",
    ast.DictComp: "{}",
    ast.SetComp: "set()",
    ast.JoinedStr: '""',
}


class ReturnValueLost(Operator[ast.Return]):
    """`return` without the value."""

    name = "return-value-lost"
    nodes = (ast.Return,)
    examples = (
        Example("def f(a):\n    return a.b\n", "def f(a):\n    return\n"),
        Example("def f(a):\n    return (a +\n            1)\n", "def f(a):\n    return\n"),
    )

    def edits(self, node: ast.Return, module: Module) -> Iterator[Edit]:
        """Return None."""
        if node.value is not None and not _is_none(node.value):
            yield module.replace(node, "return")


class ReturnForgotten(Operator[ast.Return]):
    """The call is made, its result is not returned."""

    name = "return-forgotten"
    nodes = (ast.Return,)
    examples = (
        Example("def f(a):\n    return g(a)\n", "def f(a):\n    g(a)\n"),
        Example(
            "async def f(a):\n    if a: return await g(a)\n",
            "async def f(a):\n    if a: await g(a)\n",
        ),
    )

    def edits(self, node: ast.Return, module: Module) -> Iterator[Edit]:
        """Drop the word `return` before a call."""
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if node.value is not None and isinstance(value, ast.Call):
            start = module.span(node).start
            yield Edit(type(module.span(node))(start, module.grouped(node.value).start), "")


class ReturnNegated(Operator[ast.Return]):
    """The opposite answer: `return not x`."""

    name = "return-negated"
    nodes = (ast.Return,)
    examples = (
        Example("def is_a(x):\n    return a(x)\n", "def is_a(x):\n    return not a(x)\n"),
        Example(
            "class A:\n    def has(self, x):\n        return x in y or z\n",
            "class A:\n    def has(self, x):\n        return not (x in y or z)\n",
        ),
    )

    def edits(self, node: ast.Return, module: Module) -> Iterator[Edit]:
        """Negate what a function returns whose name says that it answers yes or no."""
        function = module.function(node)
        if node.value is None or function is None or isinstance(node.value, ast.Constant):
            return
        name = function.name.lstrip("_")
        if name.startswith(("is_", "has_", "can_", "should_", "contains")) or name in (
            "is",
            "has",
            "eq__",
            "contains__",
            "bool__",
        ):
            from_not = isinstance(node.value, ast.UnaryOp) and isinstance(node.value.op, ast.Not)
            if not from_not:
                yield module.replace(node.value, f"not {module.code(node.value, 5)}", binds=5)


class ReturnTupleSwapped(Operator[ast.Return]):
    """Two returned values in the wrong order."""

    name = "return-tuple-swapped"
    nodes = (ast.Return,)
    examples = (
        Example("def f():\n    return a, b\n", "def f():\n    return b, a\n"),
        Example("def f():\n    return (a, g(b), c)\n", "def f():\n    return (g(b), a, c)\n"),
    )

    def edits(self, node: ast.Return, module: Module) -> Iterator[Edit]:
        """Swap the first two values of a returned tuple."""
        if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
            first, second = node.value.elts[:2]
            if module.text(first) != module.text(second):
                yield module.exchange(module.grouped(first), module.grouped(second))


class ReturnShortened(Operator[ast.Return]):
    """One of several returned values forgotten."""

    name = "return-shortened"
    nodes = (ast.Return,)
    examples = (
        Example("def f():\n    return a, b\n", "def f():\n    return a\n"),
        Example("def f():\n    return (a, b, c)\n", "def f():\n    return (a, b)\n"),
    )

    def edits(self, node: ast.Return, module: Module) -> Iterator[Edit]:
        """Drop the last value of a returned tuple."""
        if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
            if isinstance(node.value.elts[0], ast.Starred) and len(node.value.elts) == 2:
                return
            yield module.without(
                [module.grouped(e) for e in node.value.elts], len(node.value.elts) - 1
            )


class ReturnEmpty(Operator[ast.Return]):
    """An empty collection or text returned."""

    name = "return-empty"
    nodes = (ast.Return,)
    examples = (
        Example("def f(a):\n    return [b for b in a]\n", "def f(a):\n    return []\n"),
        Example("def f(a):\n    return {'a': a,\n            }\n", "def f(a):\n    return {}\n"),
    )

    def edits(self, node: ast.Return, module: Module) -> Iterator[Edit]:
        """Return the empty value of the same kind as the literal that is returned."""
        value = node.value
        empty = _EMPTY.get(type(value)) if value is not None else None
        if value is not None and empty is not None and module.text(value) != empty:
            yield module.replace(value, empty)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
