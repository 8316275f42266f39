"""Statements: forgotten or in the wrong order."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import is_super_call
from flywheel.candidates.operator import Edit, Example, Module, Operator

_SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Delete, ast.Assert)


class CallStatementDropped(Operator[ast.Expr]):
    """A call that was to be made for its effect, forgotten."""

    name = "call-statement-dropped"
    nodes = (ast.Expr,)
    examples = (
        Example("def f(a):\n    a.sort()\n    return a\n", "def f(a):\n    return a\n"),
        Example("def f(a):\n    a.sort(); return a\n", "def f(a):\n    pass; return a\n"),
        Example(
            "if a:\n    g(a,\n      b)  # why\nelse:\n    h()\n",
            "if a:\n    pass  # why\nelse:\n    h()\n",
        ),
    )

    def edits(self, node: ast.Expr, module: Module) -> Iterator[Edit]:
        """Remove a call statement that is no `super()` call."""
        if isinstance(node.value, ast.Call) and not is_super_call(node.value):
            yield from module.removal(node)


class StatementsSwapped(Operator[ast.stmt]):
    """Two neighbouring statements in the wrong order."""

    name = "statements-swapped"
    nodes = _SIMPLE
    examples = (
        Example(
            "def f(a):\n    b = a\n    a += 1\n    return b\n",
            "def f(a):\n    a += 1\n    b = a\n    return b\n",
        ),
        Example(
            "def f(a):\n    b = a  # keep\n    # then\n    g(b)\n",
            "def f(a):\n    g(b)  # keep\n    # then\n    b = a\n",
        ),
    )

    def edits(self, node: ast.stmt, module: Module) -> Iterator[Edit]:
        """Swap a simple statement with the next of its block when the two share a name."""
        block = module.block(node)
        index = block.index(node) + 1
        if module.function(node) is None or index >= len(block):
            return
        other = block[index]
        if other not in module.parents or not isinstance(other, _SIMPLE):
            return
        if isinstance(other, ast.Expr) and isinstance(other.value, ast.Constant):
            return
        written = _names(node, ast.Store) | _names(other, ast.Store)
        if written & _names(node, None) & _names(other, None):
            yield module.exchange(module.span(node), module.span(other))


def _names(node: ast.stmt, context: type[ast.expr_context] | None) -> set[str]:
    """Names a statement writes or, with no context, uses at all; a method call may write."""
    found = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and (context is None or isinstance(child.ctx, context)):
            found.add(child.id)
        elif isinstance(child, (ast.Attribute, ast.Subscript)) and not isinstance(
            child.ctx, ast.Load
        ):
            base = child.value
            if isinstance(base, ast.Name):
                found.add(base.id)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            found.add(function.value.id)
    return found


class AssertionDropped(Operator[ast.Assert]):
    """A check of the code itself, forgotten."""

    name = "assertion-dropped"
    nodes = (ast.Assert,)
    examples = (
        Example("def f(a):\n    assert a\n    return a\n", "def f(a):\n    return a\n"),
        Example("def f(a):\n    assert a, (\n        'no')\n", "def f(a):\n    pass\n"),
    )

    def edits(self, node: ast.Assert, module: Module) -> Iterator[Edit]:
        """Remove an `assert`."""
        yield from module.removal(node)


class DeletionDropped(Operator[ast.Delete]):
    """A forgotten `del`."""

    name = "deletion-dropped"
    nodes = (ast.Delete,)
    examples = (
        Example("def f(a):\n    del a[0]\n    return a\n", "def f(a):\n    return a\n"),
        Example("def f(a):\n    for k in a: del b[k]\n", "def f(a):\n    for k in a: pass\n"),
    )

    def edits(self, node: ast.Delete, module: Module) -> Iterator[Edit]:
        """Remove a `del`."""
        yield from module.removal(node)


class ScopeDeclarationDropped(Operator[ast.Global | ast.Nonlocal]):
    """A forgotten `global` or `nonlocal`."""

    name = "scope-declaration-dropped"
    nodes = (ast.Global, ast.Nonlocal)
    examples = (
        Example("def f():\n    global a\n    a = 1\n", "def f():\n    a = 1\n"),
        Example(
            "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n",
            "def f():\n    n = 0\n    def g():\n        n += 1\n",
        ),
    )

    def edits(self, node: ast.Global | ast.Nonlocal, module: Module) -> Iterator[Edit]:
        """Remove the declaration."""
        yield from module.removal(node)


class YieldDropped(Operator[ast.Expr]):
    """A value computed and not yielded."""

    name = "yield-dropped"
    nodes = (ast.Expr,)
    examples = (
        Example("def f(a):\n    yield a\n    yield b\n", "def f(a):\n    yield b\n"),
        Example(
            "def f(a):\n    for b in a:\n        yield b\n",
            "def f(a):\n    for b in a:\n        pass\n",
        ),
    )

    def edits(self, node: ast.Expr, module: Module) -> Iterator[Edit]:
        """Remove a `yield` or `yield from` statement."""
        if isinstance(node.value, (ast.Yield, ast.YieldFrom)):
            yield from module.removal(node)


class YieldFromFlattened(Operator[ast.YieldFrom]):
    """`yield` for `yield from`."""

    name = "yield-from-to-yield"
    nodes = (ast.YieldFrom,)
    examples = (
        Example("def f(a):\n    yield from a\n", "def f(a):\n    yield a\n"),
        Example("def f(a):\n    x = yield from(a)\n", "def f(a):\n    x = yield (a)\n"),
    )

    def edits(self, node: ast.YieldFrom, module: Module) -> Iterator[Edit]:
        """Yield the iterable itself."""
        function = module.function(node)
        if function is not None and not isinstance(function, ast.AsyncFunctionDef):
            start, end = module.span(node).start, module.grouped(node.value).start
            word = module.find(rb"yield[\s\\]+from[\s\\]*", start, end)
            if word is not None:
                yield Edit(word, "yield ")
