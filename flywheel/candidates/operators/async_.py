"""Async code: an await forgotten, async blocks entered as plain ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.core.records import Span


class AwaitDropped(Operator[ast.Await]):
    """A forgotten `await`: the coroutine is made and never run."""

    name = "await-dropped"
    nodes = (ast.Await,)
    examples = (
        Example("async def f():\n    return await g()\n", "async def f():\n    return g()\n"),
        Example("async def f():\n    x = (await g()).b\n", "async def f():\n    x = (g()).b\n"),
    )

    def edits(self, node: ast.Await, module: Module) -> Iterator[Edit]:
        """Leave only what is awaited."""
        yield Edit(Span(module.span(node).start, module.grouped(node.value).start), "")


class AwaitStatementDropped(Operator[ast.Expr]):
    """An awaited call forgotten."""

    name = "await-statement-dropped"
    nodes = (ast.Expr,)
    examples = (
        Example("async def f():\n    await g()\n    h()\n", "async def f():\n    h()\n"),
        Example("async def f():\n    await g(\n        1)\n", "async def f():\n    pass\n"),
    )

    def edits(self, node: ast.Expr, module: Module) -> Iterator[Edit]:
        """Remove a statement that only awaits."""
        if isinstance(node.value, ast.Await):
            yield from module.removal(node)


class AsyncKeywordDropped(Operator[ast.AsyncFor | ast.AsyncWith]):
    """`for` and `with` where their async kinds are needed."""

    name = "async-keyword-dropped"
    nodes = (ast.AsyncFor, ast.AsyncWith)
    examples = (
        Example(
            "async def f():\n    async with a:\n        b()\n",
            "async def f():\n    with a:\n        b()\n",
        ),
        Example(
            "async def f():\n    async  for a in b: c(a)\n",
            "async def f():\n    for a in b: c(a)\n",
        ),
    )

    def edits(self, node: ast.AsyncFor | ast.AsyncWith, module: Module) -> Iterator[Edit]:
        """Drop the word `async`."""
        span = module.span(node)
        word = module.find(rb"async[\s\\]+(?=for|with)", span.start, span.end)
        if word is not None:
            yield Edit(word, "")


class AwaitedGatherCutShort(Operator[ast.Call]):
    """One of several awaited tasks forgotten."""

    name = "gather-argument-dropped"
    nodes = (ast.Call,)
    examples = (
        Example(
            "async def f():\n    await asyncio.gather(a(), b())\n",
            "async def f():\n    await asyncio.gather(b())\n",
        ),
        Example(
            "async def f():\n    return await gather(a, b, return_exceptions=True)\n",
            "async def f():\n    return await gather(b, return_exceptions=True)\n",
        ),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Drop the first argument of a `gather`."""
        match node.func:
            case ast.Name(id="gather") | ast.Attribute(attr="gather"):
                if len(node.args) > 1:
                    yield module.without(module.arguments(node), 0)
