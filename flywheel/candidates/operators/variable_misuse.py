"""The wrong name: another variable of the same scope, another attribute, `self.` forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from flywheel.candidates.module import Module
from flywheel.candidates.operator import Edit, Example, Operator
from flywheel.core.records import Span


def _neighbours(name: str, names: Sequence[str], count: int) -> list[str]:
    """The names that come right before and after, the likeliest to be mixed up."""
    index = names.index(name)
    around = [index + step for distance in range(1, len(names)) for step in (-distance, distance)]
    return [names[i] for i in around if 0 <= i < len(names)][:count]


def _shape(node: ast.AST, module: Module) -> str:
    """How a name is used; a misuse that keeps it is not found by a glance."""
    parent = module.parents.get(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        return "called"
    return "value"


class VariableMisuse(Operator[ast.Name]):
    """Another variable of the same function."""

    name = "variable-misuse"
    nodes = (ast.Name,)
    examples = (
        Example("def f(a, b):\n    return a\n", "def f(a, b):\n    return b\n"),
        Example(
            "def f(self, low, high):\n    n = low + 1\n    return n\n",
            "def f(self, low, high):\n    n = low + 1\n    return high\n",
        ),
    )

    def edits(self, node: ast.Name, module: Module) -> Iterator[Edit]:
        """Put the two nearest other variables that are bound by then in its place."""
        if not isinstance(node.ctx, ast.Load) or node.id in ("self", "cls"):
            return
        function = module.function(node)
        if function is None or _shape(node, module) == "called":
            return
        bound = module.variables(function)
        if node.id not in bound:
            return
        names = [
            name
            for name, line in bound.items()
            if name == node.id or (line < node.lineno and name not in ("self", "cls", "_"))
        ]
        for other in _neighbours(node.id, names, 2):
            yield module.replace(node, other)


class AttributeMisuse(Operator[ast.Attribute]):
    """Another attribute of `self`."""

    name = "attribute-misuse"
    nodes = (ast.Attribute,)
    examples = (
        Example(
            "class A:\n    def f(self):\n        self.a = self.b\n",
            "class A:\n    def f(self):\n        self.a = self.a\n",
        ),
        Example(
            "class A:\n    def f(self, x):\n        self.a = x\n        return [self.a, self.b]\n",
            "class A:\n    def f(self, x):\n        self.a = x\n        return [self.a, self.a]\n",
        ),
    )

    def edits(self, node: ast.Attribute, module: Module) -> Iterator[Edit]:
        """Read the nearest other data attribute that the class itself uses."""
        yield from _attribute_edits(node, module, called=False)


class MethodMisuse(Operator[ast.Attribute]):
    """Another method of `self`."""

    name = "method-misuse"
    nodes = (ast.Attribute,)
    examples = (
        Example(
            "class A:\n    def f(self): self.g()\n    def g(self): pass\n",
            "class A:\n    def f(self): self.f()\n    def g(self): pass\n",
        ),
        Example(
            "class A:\n    def f(self):\n        return self.g(1) + self.h(2)\n",
            "class A:\n    def f(self):\n        return self.g(1) + self.g(2)\n",
        ),
    )

    def edits(self, node: ast.Attribute, module: Module) -> Iterator[Edit]:
        """Call the nearest other method that the class has or calls."""
        yield from _attribute_edits(node, module, called=True)


def _attribute_edits(node: ast.Attribute, module: Module, *, called: bool) -> Iterator[Edit]:
    if not isinstance(node.value, ast.Name) or node.value.id != "self":
        return
    if not isinstance(node.ctx, ast.Load) or (_shape(node, module) == "called") != called:
        return
    owner = module.enclosing_class(node)
    if owner is None:
        return
    names = module.self_attributes(owner)[1 if called else 0]
    if node.attr not in names:
        return
    end = module.span(node).end
    for other in _neighbours(node.attr, names, 1):
        yield Edit(Span(end - len(node.attr.encode()), end), other)


class SelfForgotten(Operator[ast.Attribute]):
    """`x` for `self.x` where both exist."""

    name = "self-forgotten"
    nodes = (ast.Attribute,)
    examples = (
        Example(
            "class A:\n    def f(self, x):\n        return self.x + x\n",
            "class A:\n    def f(self, x):\n        return x + x\n",
        ),
        Example(
            "class A:\n    def f(self, x):\n        self.x = x\n",
            "class A:\n    def f(self, x):\n        x = x\n",
        ),
    )

    def edits(self, node: ast.Attribute, module: Module) -> Iterator[Edit]:
        """Drop `self.` where the function has a variable of that name."""
        if not isinstance(node.value, ast.Name) or node.value.id != "self":
            return
        function = module.function(node)
        if function is not None and node.attr in module.variables(function):
            yield module.replace(node, node.attr)


class SelfAdded(Operator[ast.Name]):
    """`self.x` for the variable `x`."""

    name = "self-added"
    nodes = (ast.Name,)
    examples = (
        Example(
            "class A:\n    def f(self, x):\n        self.x = g(x)\n        return self.x\n",
            "class A:\n    def f(self, x):\n        self.x = g(self.x)\n        return self.x\n",
        ),
        Example(
            "class A:\n    def f(self, n):\n        return self.n if n else 1\n",
            "class A:\n    def f(self, n):\n        return self.n if self.n else 1\n",
        ),
    )

    def edits(self, node: ast.Name, module: Module) -> Iterator[Edit]:
        """Read the attribute of the same name instead of the variable."""
        if not isinstance(node.ctx, ast.Load) or _shape(node, module) == "called":
            return
        function, owner = module.function(node), module.enclosing_class(node)
        if function is None or owner is None:
            return
        bound = module.variables(function)
        if "self" in bound and node.id in bound and node.id in module.self_attributes(owner)[0]:
            yield module.replace(node, f"self.{node.id}")
