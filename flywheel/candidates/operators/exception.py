"""Exceptions: caught too widely, too narrowly, swallowed, not raised, not cleaned up after."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span

_SIBLING = {
    "ValueError": "TypeError",
    "TypeError": "ValueError",
    "KeyError": "IndexError",
    "IndexError": "KeyError",
    "AttributeError": "KeyError",
    "LookupError": "ValueError",
    "RuntimeError": "ValueError",
    "NotImplementedError": "RuntimeError",
    "OSError": "ValueError",
    "IOError": "ValueError",
    "FileNotFoundError": "PermissionError",
    "StopIteration": "ValueError",
    "ImportError": "AttributeError",
    "UnicodeDecodeError": "UnicodeEncodeError",
    "UnicodeEncodeError": "UnicodeDecodeError",
    "TimeoutError": "ConnectionError",
    "ZeroDivisionError": "OverflowError",
    "AssertionError": "ValueError",
    "Exception": "ValueError",
}
"""The exception a programmer mixes up with another."""

_WIDE = frozenset({"Exception", "BaseException"})


def _handlers(node: ast.Try | ast.AST) -> list[ast.ExceptHandler]:
    return [h for h in getattr(node, "handlers", []) if isinstance(h, ast.ExceptHandler)]


class ExceptWidened(Operator[ast.ExceptHandler]):
    """Every exception caught where one kind was meant."""

    name = "except-widened"
    nodes = (ast.ExceptHandler,)
    examples = (
        Example(
            "try:\n    a()\nexcept ValueError:\n    b()\n",
            "try:\n    a()\nexcept Exception:\n    b()\n",
        ),
        Example(
            "try:\n    a()\nexcept (KeyError, c.D) as e:\n    b(e)\n",
            "try:\n    a()\nexcept Exception as e:\n    b(e)\n",
        ),
    )

    def edits(self, node: ast.ExceptHandler, module: Module) -> Iterator[Edit]:
        """Catch `Exception`."""
        if node.type is None or module.text(node.type) in _WIDE:
            return
        yield Edit(module.grouped(node.type), "Exception")


class ExceptNarrowed(Operator[ast.ExceptHandler]):
    """One of the caught exceptions forgotten."""

    name = "except-narrowed"
    nodes = (ast.ExceptHandler,)
    examples = (
        Example(
            "try:\n    a()\nexcept (KeyError, ValueError):\n    b()\n",
            "try:\n    a()\nexcept (KeyError,):\n    b()\n",
        ),
        Example(
            "try:\n    a()\nexcept (A, B, C):\n    b()\n",
            "try:\n    a()\nexcept (A, C):\n    b()\n",
        ),
    )

    def edits(self, node: ast.ExceptHandler, module: Module) -> Iterator[Edit]:
        """Drop each kind of a tuple of kinds."""
        if not isinstance(node.type, ast.Tuple) or len(node.type.elts) < 2:
            return
        spans = [module.grouped(element) for element in node.type.elts]
        for index in range(len(spans)):
            edit = module.without(spans, index)
            if len(spans) == 2:
                left = module.slice(spans[1 - index].start, spans[1 - index].end)
                edit = Edit(Span(spans[0].start, spans[1].end), f"{left},")
                after = module.source[spans[1].end : spans[1].end + 1]
                if after == b",":
                    edit = Edit(edit.span, left)
            yield edit


class ExceptTypeChanged(Operator[ast.ExceptHandler]):
    """The wrong exception caught: `IndexError` for `KeyError`."""

    name = "except-type-changed"
    nodes = (ast.ExceptHandler,)
    examples = (
        Example(
            "try:\n    a()\nexcept KeyError:\n    b()\n",
            "try:\n    a()\nexcept IndexError:\n    b()\n",
        ),
        Example(
            "try:\n    a()\nexcept (KeyError, TypeError):\n    b()\n",
            "try:\n    a()\nexcept (KeyError, ValueError):\n    b()\n",
        ),
    )

    def edits(self, node: ast.ExceptHandler, module: Module) -> Iterator[Edit]:
        """Put a likely mix-up in place of each builtin exception."""
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in kinds:
            if isinstance(kind, ast.Name) and kind.id in _SIBLING:
                yield module.replace(kind, _SIBLING[kind.id])


class HandlerSwallows(Operator[ast.ExceptHandler]):
    """An exception swallowed without a word."""

    name = "handler-swallows"
    nodes = (ast.ExceptHandler,)
    examples = (
        Example(
            "try:\n    a()\nexcept E:\n    b()\n    raise\n",
            "try:\n    a()\nexcept E:\n    pass\n",
        ),
        Example("try: a()\nexcept E: return_(1)\n", "try: a()\nexcept E: pass\n"),
    )

    def edits(self, node: ast.ExceptHandler, module: Module) -> Iterator[Edit]:
        """Put `pass` in place of the handler's body."""
        if not (len(node.body) == 1 and isinstance(node.body[0], ast.Pass)):
            yield Edit(module.region(node.body), "pass")


class HandlerDropped(Operator[ast.Try]):
    """One of several handlers forgotten."""

    name = "handler-dropped"
    nodes = (ast.Try,)
    examples = (
        Example(
            "try:\n    a()\nexcept A:\n    b()\nexcept B:\n    c()\n",
            "try:\n    a()\nexcept B:\n    c()\n",
        ),
        Example(
            "try:\n    a()\nexcept A: b()\nfinally:\n    c()\n",
            "try:\n    a()\nfinally:\n    c()\n",
        ),
    )

    def edits(self, node: ast.Try, module: Module) -> Iterator[Edit]:
        """Remove a handler where another, or a `finally`, still makes a whole `try`."""
        handlers = _handlers(node)
        if len(handlers) < 2 and (not node.finalbody or node.orelse):
            return
        for handler in handlers:
            if module.indent(handler) is not None:
                span = module.span(handler)
                yield Edit(Span(module.line_start(span.start), module.next_line(span.end)), "")


class TryUnwrapped(Operator[ast.Try]):
    """No handler at all."""

    name = "try-unwrapped"
    nodes = (ast.Try,)
    examples = (
        Example("try:\n    a()\nexcept A:\n    b()\nc()\n", "a()\nc()\n"),
        Example(
            "def f():\n    try:\n        a(\n            1)\n    except A:\n        return b\n",
            "def f():\n    a(\n        1)\n",
        ),
    )

    def edits(self, node: ast.Try, module: Module) -> Iterator[Edit]:
        """Leave only the body of a `try` that has handlers and nothing else."""
        if node.handlers and not node.orelse and not node.finalbody:
            yield from module.unwrapped(node, node.body)


class FinallyDropped(Operator[ast.Try]):
    """A forgotten clean-up."""

    name = "finally-dropped"
    nodes = (ast.Try,)
    examples = (
        Example(
            "try:\n    a()\nexcept A:\n    b()\nfinally:\n    c()\n",
            "try:\n    a()\nexcept A:\n    b()\n",
        ),
        Example(
            "def f():\n    try:\n        a()\n    finally:\n        c()\n", "def f():\n    a()\n"
        ),
    )

    def edits(self, node: ast.Try, module: Module) -> Iterator[Edit]:
        """Remove `finally`, and the `try` with it where nothing else needs it."""
        if not node.finalbody:
            return
        if node.handlers:
            last = node.orelse[-1] if node.orelse else _handlers(node)[-1].body[-1]
            yield from module.removed_clause(b"finally", last, node.finalbody)
        elif not node.orelse:
            yield from module.unwrapped(node, node.body)


class RaiseDropped(Operator[ast.Raise]):
    """An error found and not raised."""

    name = "raise-dropped"
    nodes = (ast.Raise,)
    examples = (
        Example("if a:\n    raise ValueError(a)\n", "if a:\n    pass\n"),
        Example("def f(a):\n    g()\n    raise A(\n        a)\n", "def f(a):\n    g()\n"),
    )

    def edits(self, node: ast.Raise, module: Module) -> Iterator[Edit]:
        """Remove a `raise`."""
        yield from module.removal(node)


class RaiseTypeChanged(Operator[ast.Raise]):
    """The wrong exception raised."""

    name = "raise-type-changed"
    nodes = (ast.Raise,)
    examples = (
        Example("raise ValueError('a')\n", "raise TypeError('a')\n"),
        Example("raise KeyError from e\n", "raise IndexError from e\n"),
    )

    def edits(self, node: ast.Raise, module: Module) -> Iterator[Edit]:
        """Put a likely mix-up in place of a builtin exception."""
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if isinstance(kind, ast.Name) and kind.id in _SIBLING:
            yield module.replace(kind, _SIBLING[kind.id])


class RaiseCauseDropped(Operator[ast.Raise]):
    """A forgotten `from`."""

    name = "raise-cause-dropped"
    nodes = (ast.Raise,)
    examples = (
        Example("raise A(b) from e\n", "raise A(b)\n"),
        Example("raise (A) from (None)\n", "raise (A)\n"),
    )

    def edits(self, node: ast.Raise, module: Module) -> Iterator[Edit]:
        """Drop the cause."""
        if node.exc is not None and node.cause is not None:
            start, end = module.grouped(node.exc).end, module.grouped(node.cause).end
            yield Edit(Span(start, end), "")


class RaiseReturned(Operator[ast.Raise]):
    """An error returned instead of raised."""

    name = "raise-returned"
    nodes = (ast.Raise,)
    examples = (
        Example("def f(a):\n    raise A(a)\n", "def f(a):\n    return A(a)\n"),
        Example("def f(a):\n    if a: raise A\n", "def f(a):\n    if a: return A\n"),
    )

    def edits(self, node: ast.Raise, module: Module) -> Iterator[Edit]:
        """Write `return` for `raise`; async generators may not return a value."""
        function = module.function(node)
        if node.exc is None or node.cause is not None or function is None:
            return
        if isinstance(function, ast.AsyncFunctionDef) and any(
            isinstance(child, ast.Yield) for child in ast.walk(function)
        ):
            return
        start = module.span(node).start
        yield Edit(Span(start, start + len("raise")), "return")
