"""Collections: the wrong method, an element lost, the order or a copy forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from flywheel.candidates.module import called_name
from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span

_VIEWS = {"keys": "values", "values": "keys", "items": "values"}
_SETS = {
    "union": "intersection",
    "intersection": "union",
    "difference": "intersection",
    "issubset": "issuperset",
    "issuperset": "issubset",
    "update": "difference_update",
}
_COPIES = frozenset({"list", "dict", "set", "copy", "deepcopy"})


def method_swapped(node: ast.Call, module: Module, table: Mapping[str, str]) -> Iterator[Edit]:
    """Call another method of the same object."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in table:
        end = module.span(node.func).end
        yield Edit(Span(end - len(node.func.attr), end), table[node.func.attr])


class AppendExtend(Operator[ast.Call]):
    """`extend` for `append`, or the other way."""

    name = "append-extend"
    nodes = (ast.Call,)
    examples = (
        Example("a.append(b)\n", "a.extend(b)\n"),
        Example("a.b[0].extend([\n    c])\n", "a.b[0].append([\n    c])\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Exchange the methods."""
        if len(node.args) == 1:
            yield from method_swapped(node, module, {"append": "extend", "extend": "append"})


class PopOtherEnd(Operator[ast.Call]):
    """Taken from the wrong end."""

    name = "pop-other-end"
    nodes = (ast.Call,)
    examples = (
        Example("x = a.pop()\n", "x = a.pop(0)\n"),
        Example("x = a.pop(0)\n", "x = a.pop()\n"),
        Example("a.appendleft(x)\n", "a.append(x)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Exchange the ends of a list or deque."""
        yield from method_swapped(
            node, module, {"popleft": "pop", "appendleft": "append", "extendleft": "extend"}
        )
        if not isinstance(node.func, ast.Attribute) or node.func.attr != "pop" or node.keywords:
            return
        if not node.args:
            end = module.span(node).end - 1
            yield Edit(Span(end, end), "0")
        elif len(node.args) == 1 and module.text(node.args[0]) == "0":
            yield Edit(module.grouped(node.args[0]), "")


class ViewSwapped(Operator[ast.Call]):
    """`values` for `keys`."""

    name = "dict-view-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("for a in b.keys():\n    pass\n", "for a in b.values():\n    pass\n"),
        Example("x = list(a.b.items())\n", "x = list(a.b.values())\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Look at another view of the dict."""
        if not node.args and not node.keywords:
            yield from method_swapped(node, module, _VIEWS)


class SetMethodSwapped(Operator[ast.Call]):
    """`union` for `intersection`."""

    name = "set-method-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("x = a.union(b)\n", "x = a.intersection(b)\n"),
        Example("ok = a.issubset(b)\n", "ok = a.issuperset(b)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Call a method that means something else; `update` is a dict's more often, left alone."""
        if called_name(node) != "update" and len(node.args) == 1:
            yield from method_swapped(node, module, _SETS)


class GetToIndex(Operator[ast.Call]):
    """`d[k]` where the key may be missing."""

    name = "get-to-index"
    nodes = (ast.Call,)
    examples = (
        Example("x = d.get(k)\n", "x = d[k]\n"),
        Example("x = self.d.get((a, b), 0)\n", "x = self.d[(a, b)]\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Index where the default was asked for."""
        if not isinstance(node.func, ast.Attribute) or node.func.attr != "get" or node.keywords:
            return
        if 1 <= len(node.args) <= 2 and not isinstance(node.args[0], ast.Starred):
            start = module.grouped(node.func.value).end
            key = module.code(node.args[0])
            yield Edit(Span(start, module.span(node).end), f"[{key}]")


class IndexToGet(Operator[ast.Subscript]):
    """`d.get(k)` where a missing key must be an error."""

    name = "index-to-get"
    nodes = (ast.Subscript,)
    examples = (
        Example("x = d['a']\n", "x = d.get('a')\n"),
        Example('x = f(d)["a"].b\n', 'x = f(d).get("a").b\n'),
    )

    def edits(self, node: ast.Subscript, module: Module) -> Iterator[Edit]:
        """Ask for None where a literal text key is missing."""
        if not isinstance(node.ctx, ast.Load) or not isinstance(node.slice, ast.Constant):
            return
        parent = module.parents.get(node)
        if isinstance(node.slice.value, str) and not isinstance(parent, ast.Delete):
            start = module.grouped(node.value).end
            text = module.text(node.slice)
            yield Edit(Span(start, module.span(node).end), f".get({text})")


class PairSwapped(Operator[ast.Dict | ast.DictComp]):
    """Key and value the wrong way round."""

    name = "dict-pair-swapped"
    nodes = (ast.Dict, ast.DictComp)
    examples = (
        Example("x = {a: b}\n", "x = {b: a}\n"),
        Example("x = {k: f(v) for k, v in y}\n", "x = {f(v): k for k, v in y}\n"),
    )

    def edits(self, node: ast.Dict | ast.DictComp, module: Module) -> Iterator[Edit]:
        """Swap the key and the value of a comprehension or of each pair of names."""
        if isinstance(node, ast.DictComp):
            yield module.exchange(module.grouped(node.key), module.grouped(node.value))
            return
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and isinstance(value, (ast.Name, ast.Constant, ast.Attribute)):
                yield module.exchange(module.grouped(key), module.grouped(value))


class ElementDropped(Operator[ast.List | ast.Tuple | ast.Set | ast.Dict]):
    """An element of a literal forgotten."""

    name = "element-dropped"
    nodes = (ast.List, ast.Tuple, ast.Set, ast.Dict)
    examples = (
        Example("x = [a, (b), c]\n", "x = [a, c]\n"),
        Example("x = {'a': 1, **b}\n", "x = {**b}\n"),
        Example("x = (\n    a,\n    b,\n)\n", "x = (\n    b,\n)\n"),
    )

    def edits(
        self, node: ast.List | ast.Tuple | ast.Set | ast.Dict, module: Module
    ) -> Iterator[Edit]:
        """Drop each of the first eight elements; a tuple keeps at least two."""
        spans: list[Span] = []
        if isinstance(node, ast.Dict):
            if None in node.keys:
                keys = [
                    module.source.rfind(b"**", 0, module.grouped(value).start)
                    if key is None
                    else module.grouped(key).start
                    for key, value in zip(node.keys, node.values, strict=True)
                ]
            else:
                keys = [module.grouped(key).start for key in node.keys if key is not None]
            spans = [
                Span(start, module.grouped(value).end)
                for start, value in zip(keys, node.values, strict=True)
            ]
        elif isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load):
            parent = module.parents.get(node)
            if isinstance(parent, (ast.Return, ast.ExceptHandler, ast.Subscript, ast.BinOp)):
                return
            spans = [module.grouped(element) for element in node.elts]
        least = 3 if isinstance(node, ast.Tuple) and module.binds(node) == 1 else 2
        if isinstance(node, ast.Tuple) and len(spans) == 2:
            following = module.source[spans[1].end : module.span(node).end].lstrip()
            least = 2 if following.startswith(b",") else 3
        if len(spans) >= least:
            for index in range(min(len(spans), 8)):
                yield module.without(spans, index)


class SortDropped(Operator[ast.Call]):
    """Taken as it comes where order was promised."""

    name = "sort-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = sorted(a)\n", "x = list(a)\n"),
        Example("for b in reversed(a[1:]):\n    pass\n", "for b in list(a[1:]):\n    pass\n"),
        Example("x = sorted(a, key=f)\n", "x = list(a)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Make a list of what was to be sorted or reversed."""
        if not isinstance(node.func, ast.Name) or node.func.id not in ("sorted", "reversed"):
            return
        if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
            if isinstance(node.args[0], ast.GeneratorExp):
                yield (
                    module.replace(node.func, "list")
                    if not node.keywords
                    else module.replace(node, f"list{module.text(node.args[0])}")
                )
            else:
                yield module.replace(node, f"list({module.code(node.args[0])})")


class SortReversed(Operator[ast.Call]):
    """Sorted the wrong way."""

    name = "sort-reversed"
    nodes = (ast.Call,)
    examples = (
        Example("x = sorted(a)\n", "x = sorted(a, reverse=True)\n"),
        Example("a.sort(key=f)\n", "a.sort(key=f, reverse=True)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Add `reverse=True`."""
        if called_name(node) not in ("sorted", "sort"):
            return
        if any(keyword.arg in ("reverse", None) for keyword in node.keywords):
            return
        if len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp) and not node.keywords:
            return
        spans = module.arguments(node)
        if spans:
            yield Edit(Span(spans[-1].end, spans[-1].end), ", reverse=True")
        elif isinstance(node.func, ast.Attribute):
            end = module.span(node).end - 1
            yield Edit(Span(end, end), "reverse=True")


class CopyDropped(Operator[ast.Call]):
    """The thing itself where a copy was meant."""

    name = "copy-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = a.copy()\n", "x = a\n"),
        Example("x = list(self.a)\n", "x = self.a\n"),
        Example("x = copy.deepcopy(a)\n", "x = a\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Leave what is copied, where it has a name."""
        if node.keywords or isinstance(module.parents.get(node), ast.Expr):
            return
        if isinstance(node.func, ast.Attribute) and node.func.attr == "copy" and not node.args:
            yield Edit(Span(module.grouped(node.func.value).end, module.span(node).end), "")
        elif called_name(node) in _COPIES and len(node.args) == 1:
            if isinstance(node.args[0], (ast.Name, ast.Attribute)):
                yield module.take(node, node.args[0])
