"""Decorators: forgotten, or the wrong one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span

_Decorated = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_TWIN = {"staticmethod": "classmethod", "classmethod": "staticmethod"}
_INERT = frozenset({"override", "final", "overload", "no_type_check", "deprecated"})


class DecoratorDropped(Operator[_Decorated]):
    """A forgotten decorator."""

    name = "decorator-dropped"
    nodes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    examples = (
        Example(
            "class A:\n    @property\n    def f(self):\n        return 1\n",
            "class A:\n    def f(self):\n        return 1\n",
        ),
        Example(
            "@a.b(\n    1,\n)  # why\n@c\ndef f(): pass\n",
            "@c\ndef f(): pass\n",
        ),
    )

    def edits(self, node: _Decorated, module: Module) -> Iterator[Edit]:
        """Remove each decorator that does something at run time."""
        for decorator in node.decorator_list:
            if module.text(decorator).rpartition(".")[2] in _INERT:
                continue
            span = module.grouped(decorator)
            start = module.line_start(span.start)
            if module.source[start : span.start].strip() == b"@":
                yield Edit(Span(start, module.next_line(span.end)), "")


class MethodKindSwapped(Operator[_Decorated]):
    """`classmethod` for `staticmethod`."""

    name = "method-kind-swapped"
    nodes = (ast.FunctionDef, ast.AsyncFunctionDef)
    examples = (
        Example(
            "class A:\n    @staticmethod\n    def f(a): pass\n",
            "class A:\n    @classmethod\n    def f(a): pass\n",
        ),
        Example(
            "class A:\n    @classmethod\n    @b\n    def f(cls): pass\n",
            "class A:\n    @staticmethod\n    @b\n    def f(cls): pass\n",
        ),
    )

    def edits(self, node: _Decorated, module: Module) -> Iterator[Edit]:
        """Exchange the two."""
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Name) and decorator.id in _TWIN:
                yield module.replace(decorator, _TWIN[decorator.id])


class DecoratorsSwapped(Operator[_Decorated]):
    """Two decorators in the wrong order."""

    name = "decorators-swapped"
    nodes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    examples = (
        Example("@a\n@b(1)\ndef f(): pass\n", "@b(1)\n@a\ndef f(): pass\n"),
        Example(
            "class A:\n    @classmethod\n    @b\n    def f(cls): pass\n",
            "class A:\n    @b\n    @classmethod\n    def f(cls): pass\n",
        ),
    )

    def edits(self, node: _Decorated, module: Module) -> Iterator[Edit]:
        """Swap the first two."""
        if len(node.decorator_list) > 1:
            first, second = (module.grouped(decorator) for decorator in node.decorator_list[:2])
            yield module.exchange(first, second)
