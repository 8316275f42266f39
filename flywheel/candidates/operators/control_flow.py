"""Branches: swapped, forgotten, always taken, never taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.module import OR, TEST
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def _is_guard(node: ast.If) -> bool:
    return not node.orelse and isinstance(node.body[-1], _LEAVES)


class GuardDropped(Operator[ast.If]):
    """A forgotten guard clause."""

    name = "guard-dropped"
    nodes = (ast.If,)
    examples = (
        Example(
            "def f(a):\n    if not a:\n        return 0\n    return a\n",
            "def f(a):\n    return a\n",
        ),
        Example("for a in b:\n    if a: continue\n    c(a)\n", "for a in b:\n    c(a)\n"),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Remove an `if` without `else` that leaves the block."""
        if _is_guard(node):
            yield from module.removal(node)


class BranchDropped(Operator[ast.If]):
    """A case that was not thought of: the whole `if` is missing."""

    name = "branch-dropped"
    nodes = (ast.If,)
    examples = (
        Example("if a:\n    b = 1\nc = 2\n", "c = 2\n"),
        Example(
            "def f(a):\n    if a:\n        g(a)\n        # done\n",
            "def f(a):\n    pass\n        # done\n",
        ),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Remove an `if` without `else` that does not leave the block."""
        if not node.orelse and not _is_guard(node):
            yield from module.removal(node)


class ConditionDropped(Operator[ast.If]):
    """A forgotten condition: what it guards always happens."""

    name = "condition-dropped"
    nodes = (ast.If,)
    examples = (
        Example(
            "def f(a):\n    if a:\n        g(a)\n        h()\n", "def f(a):\n    g(a)\n    h()\n"
        ),
        Example("def f(a):\n    if a: g(a)\n", "def f(a):\n    g(a)\n"),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Leave the body of an `if` that has no `else`, moved out one level."""
        if not node.orelse and not _is_guard(node):
            yield from module.unwrapped(node, node.body)


class IfElseSwapped(Operator[ast.If]):
    """The two branches of an `if` the wrong way round."""

    name = "if-else-swapped"
    nodes = (ast.If,)
    examples = (
        Example("if a:\n    b()\nelse:\n    c()\n", "if a:\n    c()\nelse:\n    b()\n"),
        Example("if a: b()\nelse: c()\n", "if a: c()\nelse: b()\n"),
        Example(
            "if a:\n    # why\n    b(\n        1)\nelse:\n    c()\n    d()\n",
            "if a:\n    # why\n    c()\n    d()\nelse:\n    b(\n        1)\n",
        ),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Swap the bodies of `if` and `else`; chains of `elif` are left alone."""
        if not node.orelse or module.is_elif(node.orelse[0]):
            return
        first, second = module.lines(node.body), module.lines(node.orelse)
        if first is None and second is None:
            yield module.exchange(module.region(node.body), module.region(node.orelse))
        elif first is not None and second is not None:
            yield module.exchange(first, second)


class ElseDropped(Operator[ast.If]):
    """A forgotten `else`."""

    name = "else-dropped"
    nodes = (ast.If,)
    examples = (
        Example("if a:\n    b()\nelse:\n    c()\nd()\n", "if a:\n    b()\nd()\n"),
        Example(
            "if a:\n    b()\nelif c:\n    d()\nelse: e()\n", "if a:\n    b()\nelif c:\n    d()\n"
        ),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Remove the `else` branch."""
        if node.orelse and not module.is_elif(node.orelse[0]):
            yield from module.removed_clause(b"else", node.body[-1], node.orelse)


class ElifDropped(Operator[ast.If]):
    """A forgotten `elif`."""

    name = "elif-dropped"
    nodes = (ast.If,)
    examples = (
        Example("if a:\n    b()\nelif c:\n    d()\n", "if a:\n    b()\n"),
        Example(
            "if a:\n    b()\nelif c:\n    d()\nelse:\n    e()\n",
            "if a:\n    b()\nelse:\n    e()\n",
        ),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Remove one `elif` branch, up to the next clause."""
        body = module.lines(node.body)
        if not module.is_elif(node) or body is None:
            return
        start = module.line_start(module.span(node).start)
        yield Edit(Span(start, module.next_line(body.end)), "")


class ElifToIf(Operator[ast.If]):
    """`if` for `elif`: two branches run where one was meant."""

    name = "elif-to-if"
    nodes = (ast.If,)
    examples = (
        Example("if a:\n    b()\nelif c:\n    d()\n", "if a:\n    b()\nif c:\n    d()\n"),
        Example(
            "if a:\n    b()\nelif c:\n    d()\nelse:\n    e()\n",
            "if a:\n    b()\nif c:\n    d()\nelse:\n    e()\n",
        ),
    )

    def edits(self, node: ast.If, module: Module) -> Iterator[Edit]:
        """Start a new `if` where an `elif` continued one."""
        if module.is_elif(node):
            start = module.span(node).start
            yield Edit(Span(start, start + 4), "if")


class ConditionConstant(Operator[ast.If | ast.IfExp]):
    """A condition that was switched off while debugging."""

    name = "condition-constant"
    nodes = (ast.If, ast.IfExp)
    examples = (
        Example("if a:\n    b()\nelse:\n    c()\n", "if False:\n    b()\nelse:\n    c()\n"),
        Example("x = a if b else c\n", "x = a if True else c\n"),
    )

    def edits(self, node: ast.If | ast.IfExp, module: Module) -> Iterator[Edit]:
        """Fix a condition that chooses between two branches."""
        if isinstance(node, ast.If) and not node.orelse:
            return
        if not isinstance(node.test, ast.Constant):
            yield module.replace(node.test, "True")
            yield module.replace(node.test, "False")


class TernarySwapped(Operator[ast.IfExp]):
    """The two values of a conditional expression the wrong way round."""

    name = "ternary-swapped"
    nodes = (ast.IfExp,)
    examples = (
        Example("x = a if b else c\n", "x = c if b else a\n"),
        Example("x = a if b else c if d else e\n", "x = (c if d else e) if b else a\n"),
    )

    def edits(self, node: ast.IfExp, module: Module) -> Iterator[Edit]:
        """Swap the two values."""
        if module.text(node.body) == module.text(node.orelse):
            return
        first, second = module.grouped(node.body), module.grouped(node.orelse)
        edit = module.exchange(first, second)
        if module.binds(node.orelse) < OR and second == module.span(node.orelse):
            gap = module.slice(first.end, second.start)
            tail = module.slice(first.start, first.end)
            yield Edit(edit.span, f"{module.code(node.orelse, OR)}{gap}{tail}")
        else:
            yield edit


class TernaryDropped(Operator[ast.IfExp]):
    """Only one value of a conditional expression."""

    name = "ternary-dropped"
    nodes = (ast.IfExp,)
    examples = (
        Example("x = a if b else c\n", "x = a\n"),
        Example("x = 1 + (a if b else c)\n", "x = 1 + (c)\n"),
    )

    def edits(self, node: ast.IfExp, module: Module) -> Iterator[Edit]:
        """Leave the first or the second value."""
        needs = max(module.needs(node), TEST)
        yield module.replace(node, module.code(node.body, needs))
        yield module.replace(node, module.code(node.orelse, needs))


class CaseDropped(Operator[ast.Match]):
    """A forgotten `case`."""

    name = "case-dropped"
    nodes = (ast.Match,)
    examples = (
        Example(
            "match a:\n    case 1:\n        b()\n    case _:\n        c()\n",
            "match a:\n    case _:\n        c()\n",
        ),
        Example("match a:\n    case 1: b()\n    case 2: c()\n", "match a:\n    case 1: b()\n"),
    )

    def edits(self, node: ast.Match, module: Module) -> Iterator[Edit]:
        """Remove one of at least two cases."""
        if len(node.cases) < 2:
            return
        for case in node.cases:
            start = module.line_start(module.offset(case.pattern.lineno, case.pattern.col_offset))
            first = module.source[start:].lstrip(b" \t\f")
            if first.startswith(b"case"):
                yield Edit(Span(start, module.next_line(module.span(case.body[-1]).end)), "")
