"""Context managers: forgotten, or one of several forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span


def _item(item: ast.withitem, module: Module) -> Span:
    start = module.grouped(item.context_expr)
    last = start if item.optional_vars is None else module.grouped(item.optional_vars)
    return Span(start.start, last.end)


class WithUnwrapped(Operator[ast.With]):
    """A resource neither entered nor released."""

    name = "with-unwrapped"
    nodes = (ast.With,)
    examples = (
        Example("with lock:\n    a()\n    b()\n", "a()\nb()\n"),
        Example(
            "def f(p):\n    with open(p) as g:\n        return g.read()\n",
            "def f(p):\n    g = open(p)\n    return g.read()\n",
        ),
    )

    def edits(self, node: ast.With, module: Module) -> Iterator[Edit]:
        """Leave only the body; a name the body needs is assigned the manager itself."""
        if len(node.items) != 1:
            return
        item = node.items[0]
        head = ""
        if item.optional_vars is not None:
            if "\n" in module.text(item.context_expr):
                return
            head = f"{module.text(item.optional_vars)} = {module.code(item.context_expr)}"
        yield from module.unwrapped(node, node.body, head)


class WithItemDropped(Operator[ast.With | ast.AsyncWith]):
    """One of several context managers forgotten."""

    name = "with-item-dropped"
    nodes = (ast.With, ast.AsyncWith)
    examples = (
        Example("with a, b:\n    c()\n", "with a:\n    c()\n"),
        Example(
            "with (\n    a() as x,\n    b() as y,\n):\n    c()\n",
            "with (\n    b() as y,\n):\n    c()\n",
        ),
    )

    def edits(self, node: ast.With | ast.AsyncWith, module: Module) -> Iterator[Edit]:
        """Drop each of at least two."""
        spans = [_item(item, module) for item in node.items]
        for index in range(len(spans)) if len(spans) > 1 else ():
            yield module.without(spans, index)
