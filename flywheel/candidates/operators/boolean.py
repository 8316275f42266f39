"""Conditions: `and` for `or`, a `not` lost or gained, half of a condition forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from flywheel.candidates.module import AND, NOT, OR, TEST
from flywheel.candidates.operator import Edit, Example, Module, Operator


class AndOr(Operator[ast.BoolOp]):
    """`and` where `or` was meant, or the other way."""

    name = "and-or"
    nodes = (ast.BoolOp,)
    examples = (
        Example("ok = a and b\n", "ok = a or b\n"),
        Example("ok = a or b and c\n", "ok = a or (b or c)\n"),
        Example("ok = (a or  # and\n      b)\n", "ok = (a and  # and\n      b)\n"),
    )

    def edits(self, node: ast.BoolOp, module: Module) -> Iterator[Edit]:
        """Exchange the operator: the token alone where the tree allows it, else the whole."""
        is_or = isinstance(node.op, ast.Or)
        old, new = (b"or", b"and") if is_or else (b"and", b"or")
        binds, needs = (AND, NOT) if is_or else (OR, AND)
        bare = any(
            module.binds(value) < needs and module.grouped(value) == module.span(value)
            for value in node.values
        )
        if bare or binds < module.needs(node):
            text = f" {new.decode()} ".join(module.code(value, needs) for value in node.values)
            if "\n" not in text:
                yield module.replace(node, text, binds=binds)
            return
        for left, right in pairwise(node.values):
            token = module.find(
                rb"\b" + old + rb"\b", module.span(left).end, module.span(right).start
            )
            if token is not None and len(node.values) == 2:
                yield Edit(token, new.decode())
        if len(node.values) > 2:
            text = f" {new.decode()} ".join(module.code(value, needs) for value in node.values)
            if "\n" not in module.text(node):
                yield module.replace(node, text, binds=binds)


class NotDropped(Operator[ast.UnaryOp]):
    """A forgotten `not`."""

    name = "not-dropped"
    nodes = (ast.UnaryOp,)
    examples = (
        Example("if not a:\n    pass\n", "if a:\n    pass\n"),
        Example("ok = b and not(a or c)\n", "ok = b and (a or c)\n"),
    )

    def edits(self, node: ast.UnaryOp, module: Module) -> Iterator[Edit]:
        """Leave only what `not` stands before."""
        if isinstance(node.op, ast.Not):
            yield module.take(node, node.operand)


class ConditionNegated(Operator[ast.AST]):
    """The opposite condition: `if not x` for `if x`."""

    name = "condition-negated"
    nodes = (ast.If, ast.While, ast.IfExp)
    examples = (
        Example("if a:\n    pass\n", "if not a:\n    pass\n"),
        Example("x = b if f(a) else c\n", "x = b if not f(a) else c\n"),
        Example("while a or b:\n    pass\n", "while not (a or b):\n    pass\n"),
    )

    def edits(self, node: ast.AST, module: Module) -> Iterator[Edit]:
        """Put `not` before a condition that is no comparison and not negated already."""
        assert isinstance(node, (ast.If, ast.While, ast.IfExp))
        test = node.test
        if isinstance(test, (ast.Compare, ast.Constant)) or (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        ):
            return
        yield module.replace(test, f"not {module.code(test, NOT)}", binds=NOT)


class BooleanOperandDropped(Operator[ast.BoolOp]):
    """A part of a condition forgotten: `a` for `a and b`."""

    name = "boolean-operand-dropped"
    nodes = (ast.BoolOp,)
    examples = (
        Example("ok = a and b\n", "ok = a\n"),
        Example("ok = a or (b and c)\n", "ok = (b and c)\n"),
        Example("ok = a or b or c\n", "ok = a or c\n"),
    )

    def edits(self, node: ast.BoolOp, module: Module) -> Iterator[Edit]:
        """Remove one operand with the operator beside it."""
        spans = [module.grouped(value) for value in node.values]
        for index in range(len(spans)):
            edit = module.without(spans, index)
            left = spans[1].start if index == 0 else spans[0].start
            right = spans[-2].end if index == len(spans) - 1 else spans[-1].end
            kept = module.slice(left, right)
            if len(spans) == 2:
                value = node.values[1 - index]
                loose = module.binds(value) < module.needs(node)
                if loose and module.grouped(value) == module.span(value):
                    yield module.replace(node, f"({kept})")
                    continue
            if "\n" not in module.slice(edit.span.start, edit.span.end) or index:
                yield edit


class AnyAll(Operator[ast.Call]):
    """`any` for `all`, or the other way."""

    name = "any-all"
    nodes = (ast.Call,)
    examples = (
        Example("ok = any(x for x in y)\n", "ok = all(x for x in y)\n"),
        Example("ok = not all(f(x) for x in y)\n", "ok = not any(f(x) for x in y)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Exchange the builtins."""
        if isinstance(node.func, ast.Name) and node.func.id in ("any", "all"):
            yield module.replace(node.func, "all" if node.func.id == "any" else "any")


class OrDefaultToNoneCheck(Operator[ast.BoolOp]):
    """A fallback only for None where every empty value was meant to take it."""

    name = "or-default-to-none-check"
    nodes = (ast.BoolOp,)
    examples = (
        Example("x = a or b\n", "x = a if a is not None else b\n"),
        Example("f(self.a or 1)\n", "f(self.a if self.a is not None else 1)\n"),
    )

    def edits(self, node: ast.BoolOp, module: Module) -> Iterator[Edit]:
        """Make `a or b` fall back only for None, where the value is used and not just tested."""
        if not isinstance(node.op, ast.Or) or len(node.values) != 2:
            return
        if not isinstance(
            module.parents.get(node), (ast.Assign, ast.Return, ast.Call, ast.keyword)
        ):
            return
        first, second = node.values
        if isinstance(first, (ast.Name, ast.Attribute)) and "\n" not in module.text(first):
            text = module.text(first)
            yield module.replace(
                node,
                f"{text} if {text} is not None else {module.code(second)}",
                binds=TEST,
            )
