"""Loops: bounds, starts, filters, and ways out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import SUM, called_name
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span


def _calls(node: ast.Call, name: str) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == name and not node.keywords


class BreakContinue(Operator[ast.Break | ast.Continue]):
    """`continue` for `break`, or the other way."""

    name = "break-continue"
    nodes = (ast.Break, ast.Continue)
    examples = (
        Example(
            "for a in b:\n    if a:\n        break\n", "for a in b:\n    if a:\n        continue\n"
        ),
        Example("while a:\n    if b: continue\n", "while a:\n    if b: break\n"),
    )

    def edits(self, node: ast.Break | ast.Continue, module: Module) -> Iterator[Edit]:
        """Exchange the two."""
        yield module.replace(node, "continue" if isinstance(node, ast.Break) else "break")


class BreakDropped(Operator[ast.Break | ast.Continue]):
    """A forgotten `break` or `continue`."""

    name = "break-dropped"
    nodes = (ast.Break, ast.Continue)
    examples = (
        Example(
            "for a in b:\n    if a:\n        break\n", "for a in b:\n    if a:\n        pass\n"
        ),
        Example(
            "for a in b:\n    if a:\n        c = a\n        break\n",
            "for a in b:\n    if a:\n        c = a\n",
        ),
    )

    def edits(self, node: ast.Break | ast.Continue, module: Module) -> Iterator[Edit]:
        """Remove it."""
        yield from module.removal(node)


class RangeBounds(Operator[ast.Call]):
    """A range that starts or ends one off."""

    name = "range-bounds"
    nodes = (ast.Call,)
    examples = (
        Example("for i in range(n):\n    pass\n", "for i in range(n - 1):\n    pass\n"),
        Example("for i in range(1, len(a)):\n    pass\n", "for i in range(0, len(a)):\n    pass\n"),
        Example("x = range(a, b + 1)\n", "x = range(a, b)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Move the end by one each way, and a literal start by one."""
        if not _calls(node, "range") or not 1 <= len(node.args) <= 3:
            return
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            return
        if len(node.args) == 1:
            yield module.replace(node.args[0], f"1, {module.code(node.args[0])}")
        elif isinstance(node.args[0], ast.Constant) and type(node.args[0].value) is int:
            for step in (-1, 1):
                yield module.replace(node.args[0], str(node.args[0].value + step))
        end = node.args[0] if len(node.args) == 1 else node.args[1]
        match end:
            case ast.Constant(value=int(value)):
                yield module.replace(end, str(value + 1))
                yield module.replace(end, str(value - 1))
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=ast.Constant(value=1)):
                yield module.replace(end, module.code(left))
            case _:
                yield module.replace(end, f"{module.code(end, SUM)} - 1")
                yield module.replace(end, f"{module.code(end, SUM)} + 1")


class EnumerateStart(Operator[ast.Call]):
    """Counting from 0 where 1 was meant, or the other way."""

    name = "enumerate-start"
    nodes = (ast.Call,)
    examples = (
        Example(
            "for i, a in enumerate(b):\n    pass\n", "for i, a in enumerate(b, 1):\n    pass\n"
        ),
        Example("x = list(enumerate(b, start=1))\n", "x = list(enumerate(b))\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Add a start of one, or drop the start there is."""
        if not isinstance(node.func, ast.Name) or node.func.id != "enumerate" or not node.args:
            return
        first = module.grouped(node.args[0])
        spans = module.arguments(node)
        if isinstance(node.args[0], ast.Starred):
            return
        if len(spans) == 2:
            yield Edit(Span(first.end, spans[1].end), "")
        elif len(spans) == 1:
            yield Edit(Span(first.end, first.end), ", 1")


class ZipSwapped(Operator[ast.Call]):
    """Two zipped sequences in the wrong order."""

    name = "zip-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("x = dict(zip(a, b))\n", "x = dict(zip(b, a))\n"),
        Example(
            "for i, j in zip(f(a), (b), c):\n    pass\n",
            "for i, j in zip((b), f(a), c):\n    pass\n",
        ),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Swap the first two."""
        if called_name(node) == "zip" and len(node.args) > 1:
            first, second = node.args[:2]
            if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
                yield module.exchange(module.grouped(first), module.grouped(second))


class FilterDropped(Operator[ast.comprehension]):
    """A comprehension without its condition."""

    name = "comprehension-filter-dropped"
    nodes = (ast.comprehension,)
    examples = (
        Example("x = [a for a in b if a]\n", "x = [a for a in b]\n"),
        Example("x = {a: 1 for a in (b) if a if (c)}\n", "x = {a: 1 for a in (b) if a}\n"),
    )

    def edits(self, node: ast.comprehension, module: Module) -> Iterator[Edit]:
        """Drop each condition."""
        before = module.grouped(node.iter).end
        for condition in node.ifs:
            end = module.grouped(condition).end
            yield Edit(Span(before, end), "")
            before = end


class WhileToIf(Operator[ast.While]):
    """Done once where it was to be repeated."""

    name = "while-to-if"
    nodes = (ast.While,)
    examples = (
        Example("while a:\n    a = f(a)\n", "if a:\n    a = f(a)\n"),
        Example("def f(a):\n    while (a): g(a)\n", "def f(a):\n    if (a): g(a)\n"),
    )

    def edits(self, node: ast.While, module: Module) -> Iterator[Edit]:
        """Write `if` for `while` where nothing breaks or continues."""
        if node.orelse or isinstance(node.test, ast.Constant):
            return
        if any(isinstance(child, (ast.Break, ast.Continue)) for child in ast.walk(node)):
            return
        start = module.span(node).start
        yield Edit(Span(start, start + len("while")), "if")


class LoopCutShort(Operator[ast.For | ast.AsyncFor]):
    """A loop that ends after its first round."""

    name = "loop-cut-short"
    nodes = (ast.For, ast.AsyncFor)
    examples = (
        Example("for a in b:\n    c(a)\n", "for a in b:\n    c(a)\n    break\n"),
        Example("for a in b:\n\tc(a)  # all\n", "for a in b:\n\tc(a)  # all\n\tbreak\n"),
    )

    def edits(self, node: ast.For | ast.AsyncFor, module: Module) -> Iterator[Edit]:
        """End the body with `break`."""
        lines = module.lines(node.body)
        indent = module.indent(node.body[-1])
        last = node.body[-1]
        if lines is None or indent is None or node.orelse:
            return
        if isinstance(last, (ast.Return, ast.Raise, ast.Break, ast.Continue)):
            return
        newline = "\r\n" if b"\r\n" in module.source else "\n"
        yield Edit(Span(lines.end, lines.end), f"{newline}{indent}break")
