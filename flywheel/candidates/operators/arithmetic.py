"""Arithmetic: the wrong operator, operands the wrong way round, a term forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import SUM, called_name
from flywheel.candidates.operator import Edit, Example, Module, Operator

_TOKEN: dict[type[ast.operator], bytes] = {
    ast.Add: rb"\+",
    ast.Sub: rb"-",
    ast.Mult: rb"\*",
    ast.Div: rb"/",
    ast.FloorDiv: rb"//",
    ast.Mod: rb"%",
    ast.Pow: rb"\*\*",
    ast.LShift: rb"<<",
    ast.RShift: rb">>",
    ast.BitAnd: rb"&",
    ast.BitOr: rb"\|",
}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    )


def _token_swapped(
    node: ast.BinOp, module: Module, table: dict[type[ast.operator], str]
) -> Iterator[Edit]:
    text = table.get(type(node.op))
    if text is None:
        return
    token = module.find(
        _TOKEN[type(node.op)], module.span(node.left).end, module.span(node.right).start
    )
    if token is not None:
        yield Edit(token, text)


class SumDifference(Operator[ast.BinOp]):
    """`+` for `-`, or the other way."""

    name = "sum-difference"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = a + b\n", "x = a - b\n"),
        Example("x = a - (b + c)\n", "x = a + (b + c)\n"),
        Example("x = a * (b + 1)\n", "x = a * (b - 1)\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Exchange addition and subtraction; text is never subtracted."""
        if not _is_text(node.left) and not _is_text(node.right):
            yield from _token_swapped(node, module, {ast.Add: "-", ast.Sub: "+"})


class ProductQuotient(Operator[ast.BinOp]):
    """`*` for `/`, or the other way; `%` where a quotient was meant."""

    name = "product-quotient"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = a * b\n", "x = a / b\n"),
        Example("x = a % b\n", "x = a // b\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Exchange operators of the same precedence; `%` on text is formatting, left alone."""
        if not _is_text(node.left) and not _is_text(node.right):
            table: dict[type[ast.operator], str] = {
                ast.Mult: "/",
                ast.Div: "*",
                ast.Mod: "//",
                ast.FloorDiv: "%",
            }
            yield from _token_swapped(node, module, table)


class FloorTrueDivision(Operator[ast.BinOp]):
    """`/` where whole numbers were meant, or `//` where not."""

    name = "floor-true-division"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = a // b\n", "x = a / b\n"),
        Example("x = (a) / (b)\n", "x = (a) // (b)\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Exchange the two divisions."""
        yield from _token_swapped(node, module, {ast.FloorDiv: "/", ast.Div: "//"})


class PowerProduct(Operator[ast.BinOp]):
    """`*` for `**`."""

    name = "power-product"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = a ** b\n", "x = a * b\n"),
        Example("x = c * 2 ** -n\n", "x = c * (2 * -n)\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Weaken a power to a product."""
        for edit in _token_swapped(node, module, {ast.Pow: "*"}):
            if module.needs(node) <= SUM + 1:
                yield edit
            else:
                span = module.span(node)
                left = module.slice(span.start, edit.span.start)
                yield module.replace(node, f"({left}*{module.slice(edit.span.end, span.end)})")


class OperandsSwapped(Operator[ast.BinOp]):
    """Operands the wrong way round where the order matters."""

    name = "operands-swapped"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = a - b\n", "x = b - a\n"),
        Example("x = a.b // (c + 1)\n", "x = (c + 1) // a.b\n"),
        Example("x = a - b - c\n", "x = c - (a - b)\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Swap the operands of an operator that does not commute."""
        if not isinstance(node.op, (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift)):
            return
        if _is_text(node.left) or "\n" in module.text(node):
            return
        gap = module.slice(module.grouped(node.left).end, module.grouped(node.right).start)
        left, right = module.code(node.left, SUM + 5), module.code(node.right, SUM + 5)
        if module.grouped(node.right) != module.span(node.right) and not right.startswith("("):
            right = f"({right})"
        yield module.replace(node, f"{right}{gap}{left}")


class Bitwise(Operator[ast.BinOp]):
    """`&` for `|`, or a shift the wrong way."""

    name = "bitwise"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = a | b\n", "x = (a & b)\n"),
        Example("x = a << 1\n", "x = a >> 1\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Exchange bit operators."""
        yield from _token_swapped(node, module, {ast.LShift: ">>", ast.RShift: "<<"})
        table: dict[type[ast.operator], str] = {ast.BitAnd: "|", ast.BitOr: "&"}
        for edit in _token_swapped(node, module, table):
            span = module.span(node)
            left = module.slice(span.start, edit.span.start)
            right = module.slice(edit.span.end, span.end)
            yield module.replace(node, f"({left}{edit.text}{right})")


class SignDropped(Operator[ast.UnaryOp]):
    """A lost minus or `~`."""

    name = "sign-dropped"
    nodes = (ast.UnaryOp,)
    examples = (
        Example("x = -a\n", "x = a\n"),
        Example("x = b & ~(a | c)\n", "x = b & (a | c)\n"),
    )

    def edits(self, node: ast.UnaryOp, module: Module) -> Iterator[Edit]:
        """Leave only the operand; indices are another operator's business."""
        parent = module.parents.get(node)
        if isinstance(parent, (ast.Subscript, ast.Slice)):
            return
        if isinstance(node.op, (ast.USub, ast.Invert)):
            yield module.take(node, node.operand)


class TermDropped(Operator[ast.BinOp]):
    """A forgotten term: `n` for `n + 1`."""

    name = "term-dropped"
    nodes = (ast.BinOp,)
    examples = (
        Example("x = n + 1\n", "x = n\n"),
        Example("x = len(a) * (b - c)\n", "x = len(a)\n"),
        Example("x = 2 * (b - c)\n", "x = 2 * (b)\n"),
    )

    def edits(self, node: ast.BinOp, module: Module) -> Iterator[Edit]:
        """Keep only the left operand of a sum or product; formatting is left alone."""
        if isinstance(node.op, (ast.Mod, ast.Pow)) or _is_text(node.left):
            return
        yield module.take(node, node.left)


class MinMax(Operator[ast.Call]):
    """`min` for `max`, or the other way."""

    name = "min-max"
    nodes = (ast.Call,)
    examples = (
        Example("x = min(a, b)\n", "x = max(a, b)\n"),
        Example("x = c + max(\n    a, key=f)\n", "x = c + min(\n    a, key=f)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Exchange the builtins."""
        if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
            yield module.replace(node.func, "max" if node.func.id == "min" else "min")


class RoundingDropped(Operator[ast.Call]):
    """A forgotten `abs`, `round`, `floor` or `ceil`."""

    name = "rounding-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = abs(a - b)\n", "x = a - b\n"),
        Example("x = 2 * math.floor(a + b)\n", "x = 2 * (a + b)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Leave only what is rounded."""
        if called_name(node) not in ("abs", "round", "floor", "ceil", "trunc") or not node.args:
            return
        if isinstance(node.args[0], ast.Starred):
            return
        if isinstance(node.func, ast.Name) or (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "math"
        ):
            yield module.take(node, node.args[0])
