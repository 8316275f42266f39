"""Default arguments: the wrong value, a shared mutable one, none at all."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import FACTOR
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span


def _defaults(node: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr]]:
    positional = [*node.posonlyargs, *node.args]
    if node.defaults:
        yield from zip(positional[-len(node.defaults) :], node.defaults, strict=True)
    for argument, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        if default is not None:
            yield argument, default


class DefaultChanged(Operator[ast.arguments]):
    """The wrong default."""

    name = "default-changed"
    nodes = (ast.arguments,)
    examples = (
        Example("def f(a, deep=True):\n    pass\n", "def f(a, deep=False):\n    pass\n"),
        Example("def f(a, *, n=0):\n    pass\n", "def f(a, *, n=1):\n    pass\n"),
        Example("def f(sep: str = ', '):\n    pass\n", "def f(sep: str = ''):\n    pass\n"),
    )

    def edits(self, node: ast.arguments, module: Module) -> Iterator[Edit]:
        """Flip a truth value, add one to a number, empty a text."""
        for _, default in _defaults(node):
            if not isinstance(default, ast.Constant):
                continue
            value = default.value
            if type(value) is bool:
                yield module.replace(default, str(not value))
            elif type(value) is int and abs(value) < 10**12:
                yield module.replace(default, str(value + 1))
                yield module.replace(default, str(value - 1), binds=FACTOR)
            elif isinstance(value, str) and value:
                yield module.replace(default, "''" if module.text(default)[-1] == "'" else '""')


class DefaultToNone(Operator[ast.arguments]):
    """None as the default of what must have a value."""

    name = "default-to-none"
    nodes = (ast.arguments,)
    examples = (
        Example("def f(a, b=()):\n    pass\n", "def f(a, b=None):\n    pass\n"),
        Example("x = lambda a=g(1): a\n", "x = lambda a=None: a\n"),
    )

    def edits(self, node: ast.arguments, module: Module) -> Iterator[Edit]:
        """Put None in place of each other default."""
        for _, default in _defaults(node):
            if not isinstance(default, ast.Constant) or isinstance(default.value, (int, str)):
                if isinstance(default, ast.Constant) and type(default.value) is bool:
                    continue
                yield module.replace(default, "None")


class MutableDefault(Operator[ast.arguments]):
    """A list or dict as default, shared by all calls."""

    name = "mutable-default"
    nodes = (ast.arguments,)
    examples = (
        Example(
            "def f(a=None):\n    if a is None:\n        a = []\n    return a\n",
            "def f(a=[]):\n    if a is None:\n        a = []\n    return a\n",
        ),
        Example("def f(*, a=None):\n    a = a or {}\n", "def f(*, a={}):\n    a = a or {}\n"),
    )

    def edits(self, node: ast.arguments, module: Module) -> Iterator[Edit]:
        """Give None's place to the empty value that the body makes of it."""
        function = module.parents.get(node)
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        for argument, default in _defaults(node):
            if not isinstance(default, ast.Constant) or default.value is not None:
                continue
            for statement in ast.walk(function):
                if not isinstance(statement, ast.Assign):
                    continue
                target, value = statement.targets[0], statement.value
                if isinstance(value, ast.BoolOp):
                    value = value.values[-1]
                named = isinstance(target, ast.Name) and target.id == argument.arg
                empty = (isinstance(value, ast.List) and not value.elts) or (
                    isinstance(value, ast.Dict) and not value.keys
                )
                if named and empty:
                    yield module.replace(default, "[]" if isinstance(value, ast.List) else "{}")
                    break


class DefaultDropped(Operator[ast.arguments]):
    """An argument that must now be given."""

    name = "default-dropped"
    nodes = (ast.arguments,)
    examples = (
        Example("def f(a, b=1, c=2):\n    pass\n", "def f(a, b, c=2):\n    pass\n"),
        Example(
            "def f(a, *, b: int = 1, c=(2)):\n    pass\n",
            "def f(a, *, b: int = 1, c):\n    pass\n",
        ),
    )

    def edits(self, node: ast.arguments, module: Module) -> Iterator[Edit]:
        """Drop the first positional default and each keyword-only one."""
        for index, (argument, default) in enumerate(_defaults(node)):
            if 0 < index < len(node.defaults):
                continue
            end = module.span(argument).end
            yield Edit(Span(end, module.grouped(default).end), "")
