"""Comparisons: the boundary, the direction, the sense, and identity taken for equality."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from flywheel.candidates.module import COMPARE, NOT
from flywheel.candidates.operator import Edit, Example, Module, Operator

_TOKEN: dict[type[ast.cmpop], bytes] = {
    ast.Eq: rb"==",
    ast.NotEq: rb"!=",
    ast.Lt: rb"<",
    ast.LtE: rb"<=",
    ast.Gt: rb">",
    ast.GtE: rb">=",
    ast.Is: rb"\bis\b",
    ast.IsNot: rb"\bis[\s\\]+not\b",
    ast.In: rb"\bin\b",
    ast.NotIn: rb"\bnot[\s\\]+in\b",
}


def _links(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        yield left, operator, right
        left = right


def _swapped(
    node: ast.Compare, module: Module, table: Mapping[type[ast.cmpop], str]
) -> Iterator[Edit]:
    for left, operator, right in _links(node):
        text = table.get(type(operator))
        if text is None:
            continue
        start, end = module.span(left).end, module.span(right).start
        token = module.find(_TOKEN[type(operator)], start, end)
        if token is not None:
            yield Edit(token, text)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class ComparisonBoundary(Operator[ast.Compare]):
    """Off by one at the edge: `<` for `<=`, `>=` for `>`."""

    name = "comparison-boundary"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = a < b\n", "ok = a <= b\n"),
        Example("ok = (a) >= (b)\n", "ok = (a) > (b)\n"),
        Example("ok = (a  # < here\n      < b)\n", "ok = (a  # < here\n      <= b)\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Move each ordering's edge."""
        table: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
        yield from _swapped(node, module, table)


class ComparisonDirection(Operator[ast.Compare]):
    """The wrong way round: `<` for `>`."""

    name = "comparison-direction"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = a < b\n", "ok = a > b\n"),
        Example("ok = 0 <= n <= top\n", "ok = 0 <= n >= top\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Turn each ordering round."""
        table: dict[type[ast.cmpop], str] = {ast.Lt: ">", ast.Gt: "<", ast.LtE: ">=", ast.GtE: "<="}
        yield from _swapped(node, module, table)


class EqualityNegate(Operator[ast.Compare]):
    """The opposite test: `==` for `!=`."""

    name = "equality-negate"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = a == b\n", "ok = a != b\n"),
        Example("if a.b != 'x':\n    pass\n", "if a.b == 'x':\n    pass\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Negate each equality."""
        yield from _swapped(node, module, {ast.Eq: "!=", ast.NotEq: "=="})


class IdentityNegate(Operator[ast.Compare]):
    """The opposite identity test, most often of None: `is` for `is not`."""

    name = "identity-negate"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = a is None\n", "ok = a is not None\n"),
        Example("ok = a is  not b\n", "ok = a is b\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Negate each identity test."""
        yield from _swapped(node, module, {ast.Is: "is not", ast.IsNot: "is"})


class MembershipNegate(Operator[ast.Compare]):
    """The opposite membership test: `in` for `not in`."""

    name = "membership-negate"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = a in b\n", "ok = a not in b\n"),
        Example("ok = a not \\\n    in b\n", "ok = a in b\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Negate each membership test."""
        yield from _swapped(node, module, {ast.In: "not in", ast.NotIn: "in"})


class EqualityIdentity(Operator[ast.Compare]):
    """Identity taken for equality or the other way: `is` for `==`."""

    name = "equality-identity"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = a == b\n", "ok = a is b\n"),
        Example("ok = kind is not int\n", "ok = kind != int\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Exchange identity and equality, unless a literal would make Python warn of it."""
        sides = (node.left, *node.comparators)
        if any(isinstance(side, (ast.Constant, ast.JoinedStr, ast.Tuple)) for side in sides):
            return
        table: dict[type[ast.cmpop], str] = {
            ast.Is: "==",
            ast.IsNot: "!=",
            ast.Eq: "is",
            ast.NotEq: "is not",
        }
        yield from _swapped(node, module, table)


class ChainBreak(Operator[ast.Compare]):
    """Half of a chained comparison forgotten: `a < b` for `a < b < c`."""

    name = "chain-break"
    nodes = (ast.Compare,)
    examples = (
        Example("ok = 0 <= n < top\n", "ok = 0 <= n\n"),
        Example("ok = 0 <= n < top\n", "ok = n < top\n"),
        Example("ok = not (a) < b(1) < c\n", "ok = not b(1) < c\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Drop the first or the last link of a chain."""
        if len(node.comparators) < 2:
            return
        span = module.span(node)
        kept = module.grouped(node.comparators[-2]).end
        text = module.slice(span.start, kept)
        if "\n" not in text:
            yield module.replace(node, text, binds=COMPARE)
        text = module.slice(module.grouped(node.comparators[0]).start, span.end)
        if "\n" not in text:
            yield module.replace(node, text, binds=COMPARE)


class NoneCheckToTruth(Operator[ast.Compare]):
    """A truth test where only None was meant, so that 0 and empty go the wrong way."""

    name = "none-check-to-truth"
    nodes = (ast.Compare,)
    examples = (
        Example("if a is not None:\n    pass\n", "if a:\n    pass\n"),
        Example("ok = b and a.x is None\n", "ok = b and not a.x\n"),
    )

    def edits(self, node: ast.Compare, module: Module) -> Iterator[Edit]:
        """Turn a comparison with None into a truth test."""
        if len(node.ops) != 1 or not _is_none(node.comparators[0]):
            return
        if isinstance(node.ops[0], ast.IsNot):
            yield module.take(node, node.left)
        elif isinstance(node.ops[0], ast.Is):
            yield module.replace(node, f"not {module.code(node.left, NOT)}", binds=NOT)
