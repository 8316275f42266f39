"""Literals: off by one, the wrong magnitude, the wrong truth value."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from flywheel.candidates.module import FACTOR, called_name
from flywheel.candidates.operator import Edit, Example, Module, Operator

_COUNTERS = frozenset({"range", "enumerate"})


def _elsewhere(node: ast.Constant, module: Module) -> bool:
    """True where an operator of slices, loops or defaults has its say."""
    parent = module.parents.get(node)
    if isinstance(parent, ast.UnaryOp):
        parent = module.parents.get(parent)
    return isinstance(parent, (ast.Slice, ast.Subscript, ast.arguments)) or (
        parent is not None and called_name(parent) in _COUNTERS
    )


class NumberOffByOne(Operator[ast.Constant]):
    """A whole number one too big or one too small."""

    name = "number-off-by-one"
    nodes = (ast.Constant,)
    examples = (
        Example("x = n + 2\n", "x = n + 3\n"),
        Example("x = f(0)\n", "x = f(-1)\n"),
        Example("x = 0xff\n", "x = 0x100\n"),
    )

    def edits(self, node: ast.Constant, module: Module) -> Iterator[Edit]:
        """Add and subtract one."""
        value = node.value
        if type(value) is not int or abs(value) > 10**12 or _elsewhere(node, module):
            return
        negated = isinstance(module.parents.get(node), ast.UnaryOp)
        text = module.text(node).lower()
        for new in (value + 1, value - 1):
            if negated and new <= 0:
                continue
            shown = hex(new) if text.startswith("0x") else str(new)
            yield module.replace(node, shown, binds=FACTOR if new < 0 else None)


class NumberScaled(Operator[ast.Constant]):
    """A number ten times too big or too small."""

    name = "number-scaled"
    nodes = (ast.Constant,)
    examples = (
        Example("limit = 100\n", "limit = 1000\n"),
        Example("rate = 2 * 0.5\n", "rate = 2 * 5.0\n"),
    )

    def edits(self, node: ast.Constant, module: Module) -> Iterator[Edit]:
        """Multiply by ten; divide by ten where that leaves a whole number."""
        value = node.value
        if _elsewhere(node, module):
            return
        if type(value) is int and 10 <= abs(value) <= 10**12:
            yield module.replace(node, str(value * 10))
            if value % 10 == 0:
                yield module.replace(node, str(value // 10))
        if type(value) is float and value and math.isfinite(value * 10):
            yield module.replace(node, repr(value * 10))


class BooleanFlipped(Operator[ast.Constant]):
    """`True` for `False`."""

    name = "boolean-flipped"
    nodes = (ast.Constant,)
    examples = (
        Example("found = False\n", "found = True\n"),
        Example("f(a, deep=True)\n", "f(a, deep=False)\n"),
    )

    def edits(self, node: ast.Constant, module: Module) -> Iterator[Edit]:
        """Flip a truth value that is no default argument."""
        if type(node.value) is bool and not _elsewhere(node, module):
            yield module.replace(node, str(not node.value))
