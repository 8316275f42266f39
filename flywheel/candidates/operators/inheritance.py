"""Classes: a base, a `super()` call, a method or an attribute forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import is_super_call
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span

_TYPING = frozenset({"Generic", "Protocol", "NamedTuple", "TypedDict", "object"})


def _base_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


class BaseDropped(Operator[ast.ClassDef]):
    """A forgotten base class."""

    name = "base-dropped"
    nodes = (ast.ClassDef,)
    examples = (
        Example("class A(B):\n    pass\n", "class A:\n    pass\n"),
        Example(
            "class A(B, c.D, metaclass=M):\n    pass\n", "class A(B, metaclass=M):\n    pass\n"
        ),
    )

    def edits(self, node: ast.ClassDef, module: Module) -> Iterator[Edit]:
        """Drop each base that is not there for types only."""
        spans = module.arguments(node)
        for base in node.bases:
            if isinstance(base, ast.Starred) or _base_name(base) in _TYPING:
                continue
            if len(spans) > 1:
                yield module.without(spans, spans.index(module.grouped(base)))
                continue
            colon = module.find(rb"\)\s*:", spans[0].end, module.region(node.body).start)
            opened = module.source.rfind(b"(", 0, spans[0].start)
            if colon is not None and opened > module.span(node).start:
                closed = module.source.index(b")", colon.start) + 1
                yield Edit(Span(opened, closed), "")


class BasesSwapped(Operator[ast.ClassDef]):
    """Bases in the wrong order, so that the other's method wins."""

    name = "bases-swapped"
    nodes = (ast.ClassDef,)
    examples = (
        Example("class A(B, C):\n    pass\n", "class A(C, B):\n    pass\n"),
        Example("class A(b.B, C, D):\n    pass\n", "class A(C, b.B, D):\n    pass\n"),
    )

    def edits(self, node: ast.ClassDef, module: Module) -> Iterator[Edit]:
        """Swap the first two bases."""
        if len(node.bases) > 1 and not any(
            isinstance(base, ast.Starred) or _base_name(base) in _TYPING for base in node.bases[:2]
        ):
            first, second = (module.grouped(base) for base in node.bases[:2])
            yield module.exchange(first, second)


class SuperCallDropped(Operator[ast.Expr]):
    """A forgotten `super().__init__()`."""

    name = "super-call-dropped"
    nodes = (ast.Expr,)
    examples = (
        Example(
            "class A(B):\n    def __init__(self):\n        super().__init__()\n        a = 1\n",
            "class A(B):\n    def __init__(self):\n        a = 1\n",
        ),
        Example(
            "class A(B):\n    async def f(self):\n        await super().f()\n",
            "class A(B):\n    async def f(self):\n        pass\n",
        ),
    )

    def edits(self, node: ast.Expr, module: Module) -> Iterator[Edit]:
        """Remove a statement that calls the parent's method."""
        if is_super_call(node.value):
            yield from module.removal(node)


class MethodDropped(Operator[ast.FunctionDef | ast.AsyncFunctionDef]):
    """A forgotten method: the parent's is used, or none."""

    name = "method-dropped"
    nodes = (ast.FunctionDef, ast.AsyncFunctionDef)
    examples = (
        Example(
            "class A:\n    x = 1\n\n    @p\n    def f(self):\n        return 1\n",
            "class A:\n    x = 1\n\n",
        ),
        Example("class A:\n    def f(self): return 1\n", "class A:\n    pass\n"),
    )

    def edits(self, node: ast.FunctionDef | ast.AsyncFunctionDef, module: Module) -> Iterator[Edit]:
        """Remove a method."""
        if isinstance(module.parents.get(node), ast.ClassDef):
            yield from module.removal(node)


class ClassAttributeDropped(Operator[ast.Assign]):
    """A forgotten class attribute."""

    name = "class-attribute-dropped"
    nodes = (ast.Assign,)
    examples = (
        Example("class A(B):\n    x = 1\n    y = 2\n", "class A(B):\n    y = 2\n"),
        Example("class A(B):\n    x = 1\n", "class A(B):\n    pass\n"),
    )

    def edits(self, node: ast.Assign, module: Module) -> Iterator[Edit]:
        """Remove an assignment of a class body."""
        if isinstance(module.parents.get(node), ast.ClassDef):
            yield from module.removal(node)
