"""Calls: arguments swapped, dropped, or unpacked no more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from flywheel.candidates.module import called_name, is_super_call
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span


class ArgumentsSwapped(Operator[ast.Call]):
    """Two neighbouring arguments in the wrong order."""

    name = "arguments-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("f(a, b)\n", "f(b, a)\n"),
        Example("f(a, (b), c.d, k=1)\n", "f(a, c.d, (b), k=1)\n"),
        Example("f(a,  # first\n  b)\n", "f(b,  # first\n  a)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Swap each pair of neighbours; `min` and `max` do not mind, so they are left alone."""
        if called_name(node) in ("min", "max", "zip"):
            return
        for first, second in pairwise(node.args):
            if isinstance(first, ast.Starred) or isinstance(second, ast.Starred):
                continue
            if module.text(first) != module.text(second):
                yield module.exchange(module.grouped(first), module.grouped(second))


class ArgumentDropped(Operator[ast.Call]):
    """The last positional argument forgotten."""

    name = "argument-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = d.get(k, 0)\n", "x = d.get(k)\n"),
        Example("f(a, b, k=1)\n", "f(a, k=1)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Drop the last of at least two positional arguments."""
        if len(node.args) < 2 or isinstance(node.args[-1], ast.Starred):
            return
        if called_name(node) in ("isinstance", "issubclass", "setattr", "hasattr", "range"):
            return
        last = module.grouped(node.args[-1])
        spans = module.arguments(node)
        yield module.without(spans, spans.index(last))


class KeywordDropped(Operator[ast.Call]):
    """A keyword argument forgotten, so that its default is used."""

    name = "keyword-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("f(a, key=b)\n", "f(a)\n"),
        Example("x = sorted(a, key=f, reverse=True)\n", "x = sorted(a, reverse=True)\n"),
        Example("f(\n    a=1,\n    b=(2),\n)\n", "f(\n    a=1,\n)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Drop each keyword, `**` included."""
        spans = module.arguments(node)
        for keyword in node.keywords:
            span = module.keyword_span(keyword)
            if len(spans) == 1:
                yield Edit(span, "")
            else:
                yield module.without(spans, spans.index(span))


class KeywordValuesSwapped(Operator[ast.Call]):
    """The values of two keyword arguments mixed up."""

    name = "keyword-values-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("f(width=a, height=b)\n", "f(width=b, height=a)\n"),
        Example("f(x, a=g(1),\n  b=(2))\n", "f(x, a=(2),\n  b=g(1))\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Swap the values of neighbouring keywords."""
        named = [keyword for keyword in node.keywords if keyword.arg is not None]
        for first, second in pairwise(named):
            if module.text(first.value) != module.text(second.value):
                yield module.exchange(module.grouped(first.value), module.grouped(second.value))


class UnpackingDropped(Operator[ast.Call]):
    """`f(args)` for `f(*args)`."""

    name = "unpacking-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("f(*args)\n", "f(args)\n"),
        Example("f(a, *g(b), **c)\n", "f(a, g(b), **c)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Drop the star of each unpacked argument."""
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                start = module.span(argument).start
                yield Edit(Span(start, start + 1), "")


class CallDropped(Operator[ast.Call]):
    """The method itself where its result was meant: `x.strip` for `x.strip()`."""

    name = "call-parentheses-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = a.strip()\n", "x = a.strip\n"),
        Example("if self.ready( ):\n    pass\n", "if self.ready:\n    pass\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Drop empty parentheses where the value is used."""
        if node.args or node.keywords or isinstance(module.parents.get(node), ast.Expr):
            return
        if called_name(node) == "super" or is_super_call(node):
            return
        yield Edit(Span(module.grouped(node.func).end, module.span(node).end), "")
