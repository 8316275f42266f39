"""Assignments: lost, in the wrong order, or with the wrong augmented operator."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator

_OPPOSITE: dict[type[ast.operator], tuple[bytes, str]] = {
    ast.Add: (rb"\+=", "-="),
    ast.Sub: (rb"-=", "+="),
    ast.Mult: (rb"\*=", "/="),
    ast.Div: (rb"/=", "*="),
    ast.FloorDiv: (rb"//=", "/="),
    ast.BitAnd: (rb"&=", "|="),
    ast.BitOr: (rb"\|=", "&="),
    ast.LShift: (rb"<<=", ">>="),
    ast.RShift: (rb">>=", "<<="),
}


class AugmentedToPlain(Operator[ast.AugAssign]):
    """`=` for `+=`."""

    name = "augmented-to-plain"
    nodes = (ast.AugAssign,)
    examples = (
        Example("a += b\n", "a = b\n"),
        Example("a.b[0] **= (c)\n", "a.b[0] = (c)\n"),
    )

    def edits(self, node: ast.AugAssign, module: Module) -> Iterator[Edit]:
        """Assign instead of adding up."""
        start, end = module.span(node.target).end, module.span(node.value).start
        token = module.find(rb"[^\s()=]+=", start, end)
        if token is not None:
            yield Edit(token, "=")


class AugmentedOpposite(Operator[ast.AugAssign]):
    """`-=` for `+=`."""

    name = "augmented-opposite"
    nodes = (ast.AugAssign,)
    examples = (
        Example("a += b\n", "a -= b\n"),
        Example("a //= 2\n", "a /= 2\n"),
    )

    def edits(self, node: ast.AugAssign, module: Module) -> Iterator[Edit]:
        """Exchange the operator."""
        if type(node.op) not in _OPPOSITE or isinstance(node.value, ast.JoinedStr):
            return
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, (str, bytes)):
            return
        pattern, text = _OPPOSITE[type(node.op)]
        token = module.find(pattern, module.span(node.target).end, module.span(node.value).start)
        if token is not None:
            yield Edit(token, text)


class AssignmentDropped(Operator[ast.Assign | ast.AugAssign]):
    """A forgotten assignment."""

    name = "assignment-dropped"
    nodes = (ast.Assign, ast.AugAssign)
    examples = (
        Example("def f(a):\n    a.b = 1\n    return a\n", "def f(a):\n    return a\n"),
        Example("def f(n):\n    if n: n += 1  # up\n", "def f(n):\n    if n: pass  # up\n"),
    )

    def edits(self, node: ast.Assign | ast.AugAssign, module: Module) -> Iterator[Edit]:
        """Remove an assignment inside a function, unless it binds a name the first time."""
        function = module.function(node)
        if function is None:
            return
        if isinstance(node, ast.Assign):
            bound = module.variables(function)
            for target in node.targets:
                if isinstance(target, ast.Name) and bound.get(target.id, 0) >= node.lineno:
                    return
        yield from module.removal(node)


class TargetsSwapped(Operator[ast.Assign | ast.For | ast.AsyncFor | ast.comprehension]):
    """Two unpacked values in the wrong names."""

    name = "targets-swapped"
    nodes = (ast.Assign, ast.For, ast.AsyncFor, ast.comprehension)
    examples = (
        Example("a, b = c\n", "b, a = c\n"),
        Example("for k, v in d.items():\n    pass\n", "for v, k in d.items():\n    pass\n"),
        Example("x = {k: v for (k, v) in y}\n", "x = {k: v for (v, k) in y}\n"),
    )

    def edits(
        self, node: ast.Assign | ast.For | ast.AsyncFor | ast.comprehension, module: Module
    ) -> Iterator[Edit]:
        """Swap the first two targets of an unpacking."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) > 1:
                first, second = target.elts[:2]
                if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
                    yield module.exchange(module.grouped(first), module.grouped(second))


class AttributeToLocal(Operator[ast.Assign]):
    """The result kept in a local variable instead of in `self`."""

    name = "attribute-to-local"
    nodes = (ast.Assign,)
    examples = (
        Example(
            "class A:\n    def f(self):\n        self.x = 1\n",
            "class A:\n    def f(self):\n        x = 1\n",
        ),
        Example(
            "class A:\n    def f(self):\n        self.a = self.b = 1\n",
            "class A:\n    def f(self):\n        self.a = b = 1\n",
        ),
    )

    def edits(self, node: ast.Assign, module: Module) -> Iterator[Edit]:
        """Drop `self.` of a target."""
        for target in node.targets:
            match target:
                case ast.Attribute(value=ast.Name(id="self"), attr=name):
                    yield module.replace(target, name)
