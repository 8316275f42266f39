"""Slices and indices: a bound or an index one off, at the wrong end, or left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import FACTOR, SUM
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span


def _whole_number(node: ast.expr | None) -> int | None:
    """The value of a literal whole number, sign included."""
    match node:
        case ast.Constant(value=value) if type(value) is int:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if type(value) is int:
            return -value
    return None


class SliceBoundShifted(Operator[ast.Slice]):
    """A slice that begins or ends one off."""

    name = "slice-bound-shifted"
    nodes = (ast.Slice,)
    examples = (
        Example("x = a[1:]\n", "x = a[2:]\n"),
        Example("x = a[:i]\n", "x = a[:i - 1]\n"),
        Example("x = a[b:-1]\n", "x = a[b:-2]\n"),
    )

    def edits(self, node: ast.Slice, module: Module) -> Iterator[Edit]:
        """Move each bound by one each way; never across zero, where the meaning changes."""
        for bound in (node.lower, node.upper):
            value = _whole_number(bound)
            if bound is None:
                continue
            if value is not None:
                for new in (value + 1, value - 1):
                    if (new < 0) == (value < 0):
                        yield module.replace(bound, str(new), binds=FACTOR)
            elif not isinstance(bound, ast.Constant):
                for sign in ("+", "-"):
                    yield module.replace(bound, f"{module.code(bound, SUM)} {sign} 1", binds=SUM)


class SliceBoundDropped(Operator[ast.Slice]):
    """A forgotten bound."""

    name = "slice-bound-dropped"
    nodes = (ast.Slice,)
    examples = (
        Example("x = a[b:c]\n", "x = a[:c]\n"),
        Example("x = a[(b):f(c)]\n", "x = a[(b):]\n"),
    )

    def edits(self, node: ast.Slice, module: Module) -> Iterator[Edit]:
        """Leave out each bound."""
        for bound in (node.lower, node.upper):
            if bound is not None:
                yield Edit(module.grouped(bound), "")


class SliceStepDropped(Operator[ast.Slice]):
    """A forgotten step: not reversed, not every second."""

    name = "slice-step-dropped"
    nodes = (ast.Slice,)
    examples = (
        Example("x = a[::-1]\n", "x = a[::]\n"),
        Example("x = a[b:c:2]\n", "x = a[b:c:]\n"),
    )

    def edits(self, node: ast.Slice, module: Module) -> Iterator[Edit]:
        """Leave out the step."""
        if node.step is not None:
            yield Edit(module.grouped(node.step), "")


class IndexShifted(Operator[ast.Subscript]):
    """An index one off."""

    name = "index-shifted"
    nodes = (ast.Subscript,)
    examples = (
        Example("x = a[0]\n", "x = a[1]\n"),
        Example("x = a[i + 1]\n", "x = a[i]\n"),
        Example("x = a.b[-1]\n", "x = a.b[-2]\n"),
    )

    def edits(self, node: ast.Subscript, module: Module) -> Iterator[Edit]:
        """Move a literal index by one, or drop the `± 1` of a computed one."""
        value = _whole_number(node.slice)
        if value is not None:
            for new in (value + 1, value - 1):
                if (new < 0) == (value < 0):
                    yield module.replace(node.slice, str(new))
        elif isinstance(node.slice, ast.BinOp) and isinstance(node.slice.op, (ast.Add, ast.Sub)):
            if _whole_number(node.slice.right) is not None:
                kept = module.grouped(node.slice.left).end
                yield Edit(Span(kept, module.grouped(node.slice.right).end), "")


class IndexOtherEnd(Operator[ast.Subscript]):
    """The first for the last, or the other way."""

    name = "index-other-end"
    nodes = (ast.Subscript,)
    examples = (
        Example("x = a[0]\n", "x = a[-1]\n"),
        Example("x = f(a)[-1].b\n", "x = f(a)[0].b\n"),
    )

    def edits(self, node: ast.Subscript, module: Module) -> Iterator[Edit]:
        """Exchange 0 and -1."""
        value = _whole_number(node.slice)
        if value in (0, -1):
            yield module.replace(node.slice, "-1" if value == 0 else "0")
