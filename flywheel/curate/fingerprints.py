"""Fingerprints of benchmarks: hashes by which their functions are known again, and no text.

A function has a fingerprint of what it says, one of what is left when its own names are erased, and
one of each run of its tokens. Type annotations, decorators, docstrings and the first parameter of a
method count nowhere: a copy has them or has them not.

The packaged ones are of HumanEval (MIT), MBPP (CC-BY-4.0) and QuixBugs (MIT).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path

import polars as pl

from flywheel.core.syntax import parse
from flywheel.curate.benchmarks import Problem
from flywheel.curate.normal import normal, shingles, tokens

PACKAGED = Path(__file__).with_suffix(".parquet")
"""The fingerprints of the benchmarks that flywheel knows."""
RUN = 13
"""Tokens of a run of which those are made."""

SCHEMA: dict[str, pl.DataType] = {
    "benchmark": pl.String(),
    "function": pl.String(),
    "tokens": pl.UInt32(),  # how long it is
    "outline": pl.UInt64(),  # of its keywords, signs and numbers; null for what is no function
    "same": pl.UInt64(),  # of what it says
    "renamed": pl.UInt64(),  # of what is left without its own names
    "named": pl.UInt64(),  # of what it is called
    "runs": pl.List(pl.UInt64()),  # of its runs of tokens, sorted and different
}
"""A row is a function, or a text that holds none."""

_DEFINED = re.compile(r"^( *)(?:async )?def (\w+)", re.MULTILINE)
_OUTLINE = re.compile(
    r"\b(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from"
    r"|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|\d+)\b"
    r"|[+*/%<=!&^~(\n]+",
    re.ASCII,
)
"""What neither other names nor annotations change, lines and calls among it: a minus may be part of
an arrow, a bar of a union, and neither counts."""


def functions(form: str, *, nested: bool) -> Iterator[tuple[str, str]]:
    """Name and text of each function that a normal form of Python holds, without its decorators.

    `nested` ones are within another function, and stand in its text too.
    """
    end = 0
    for found in _DEFINED.finditer(form):
        if found.start() < end and not nested:
            continue
        indent = found[1]
        after = re.compile(rf"\n(?! {{{len(indent) + 1}}})(?=[^\n])").search(form, found.end())
        text = form[found.start() : after.start() if after else len(form)]
        end = max(end, found.start() + len(text))
        yield found[2], text[len(indent) :].replace("\n" + indent, "\n") if indent else text


def outline(text: str) -> int:
    """Hash of what a function keeps whatever its names are: few others have the same."""
    return _hash(" ".join(_OUTLINE.findall(text)))


@cache
def called(name: str) -> int:
    """Hash of a function's name."""
    return _hash(name)


def shapes(text: str) -> tuple[int, int] | None:
    """Hashes of what a function says and of what it says without its own names.

    None for a text that is no function, or one that does nothing.
    """
    try:
        tree = parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match tree.body:
        case [ast.FunctionDef() | ast.AsyncFunctionDef() as function] if not _is_empty(function):
            _Bare().visit(tree)
            first = function.args.posonlyargs or function.args.args
            if first and first[0].arg in ("self", "cls"):
                del first[0]
            try:
                same = _hash(ast.unparse(tree))
                return same, _hash(ast.unparse(_Renamed(tree).visit(tree)))
            except (RecursionError, ValueError):  # a number of more digits than Python writes
                return None
        case _:
            return None


def fingerprints(benchmark: str, problems: Iterable[Problem], run: int) -> pl.DataFrame:
    """The fingerprints of a benchmark's texts, by runs of so many tokens.

    A text that holds no function is known by its runs alone, and not at all if it is no longer than
    one of them.
    """
    rows: list[dict[str, object]] = []
    texts: list[str] = []
    for problem in problems:
        form = normal(problem.text.replace("\r\n", "\n"), "python")
        inside = list(functions(form, nested=False))
        row: dict[str, object] = {"benchmark": benchmark, "function": problem.function}
        if not inside and (size := len(tokens(form))) > run:
            rows.append({**row, "tokens": size})
            texts.append(form)
        for name, text in inside:
            shape = shapes(text)
            if shape is not None:
                row["tokens"], row["outline"] = len(tokens(text)), outline(text)
                rows.append({**row, "same": shape[0], "renamed": shape[1], "named": called(name)})
                texts.append(text)
    runs = shingles(texts, run)
    for number, row in enumerate(rows):
        row["runs"] = runs.of(number).tolist()
    return pl.DataFrame(rows, schema=SCHEMA)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _is_empty(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    match function.body:
        case [ast.Pass() | ast.Raise() | ast.Expr(value=ast.Constant())]:
            return True
        case _:
            return False


class _Bare(ast.NodeTransformer):
    """Takes away annotations and decorators."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = []
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = []
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        plain = ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno)
        return self.generic_visit(plain)


class _Renamed(ast.NodeTransformer):
    """Gives the names that a function makes the numbers in which they come."""

    def __init__(self, tree: ast.AST) -> None:
        self._numbers: dict[str, str] = {}
        self._own: set[str] = set()
        foreign: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    self._own.add(name)
                case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                    self._own.add(name)
                case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                    self._own.add(name)
                case ast.Global(names=names) | ast.Nonlocal(names=names):
                    foreign.update(names)
        self._own -= foreign

    def _number(self, name: str) -> str:
        if name not in self._own:
            return name
        return self._numbers.setdefault(name, f"v{len(self._numbers)}")

    def visit(self, node: ast.AST) -> ast.AST:
        match node:
            case ast.Name():
                node.id = self._number(node.id)
            case ast.arg():
                node.arg = self._number(node.arg)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.name = self._number(node.name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                node.name = self._number(name)
        return self.generic_visit(node)
