"""Normal forms: what stays of code when layout, comments and docstrings are gone.

Python is parsed and written anew; of other languages, and of Python that does not parse, comments
and white space are taken away. Two texts with one normal form are the same code; names are kept.

`shingles` gives the runs of tokens by which near duplicates and copies of benchmarks are found.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from textwrap import dedent

import numpy as np
from numpy.typing import NDArray

from flywheel.core.syntax import parse

_LITERAL = r"\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
_HASHED = re.compile(rf"({_LITERAL})|#[^\n]*")
_SLASHED = re.compile(rf"({_LITERAL}|`(?:\\.|[^`\\])*`)|//[^\n]*|/\*[\s\S]*?\*/")
_HASH_LANGUAGES = frozenset({"python", "elixir", "ruby", "shell"})
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|[^\w\s]", re.ASCII)

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that a run's hash depends on every token and on their order."""

AT_ONCE = 512
"""Texts whose runs are hashed together: what is held in memory beside the runs themselves."""


def normal(code: str, language: str) -> str:
    """The normal form of a definition."""
    if language == "python":
        text = _rewritten(code)
        if text is not None:
            return text
    return " ".join(bare(code, language).split())


def bare(code: str, language: str) -> str:
    """Code without its comments; of a part of a definition too, as far as literals end in it."""
    pattern = _HASHED if language in _HASH_LANGUAGES else _SLASHED
    return pattern.sub(lambda found: found[1] or " ", code)


def _rewritten(code: str) -> str | None:
    """Python without comments and docstrings, None for what does not parse by itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's escape sequences
            tree = parse(dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    try:
        _undocument(tree.body)
        return ast.unparse(tree)
    except (RecursionError, ValueError):  # a number of more digits than Python writes
        return None


def _undocument(body: list[ast.stmt]) -> None:
    """Take the docstrings out of statements; expressions have none, and are most of a tree."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                    node.body = rest or [ast.Pass()]
        for name in ("body", "orelse", "finalbody"):
            _undocument(getattr(node, name, []))
        for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
            _undocument(part.body)


def tokens(text: str) -> list[str]:
    """The words, numbers and signs of a text, in order."""
    return _TOKEN.findall(text)


@dataclass(frozen=True, slots=True)
class Shingles:
    """The different runs of tokens of several texts, as hashes, one text after the other."""

    values: NDArray[np.uint64]
    """Hashes, sorted and different within a text."""
    starts: NDArray[np.int64]
    """Where each text's hashes begin; one more than there are texts, the last is their end."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, text: int) -> NDArray[np.uint64]:
        """The hashes of one text."""
        return self.values[self.starts[text] : self.starts[text + 1]]

    def similarity(self, one: int, other: int) -> float:
        """Share of the runs of two texts that both have: Jaccard's. 1 for two without any."""
        a, b = self.of(one), self.of(other)
        if not len(a) and not len(b):
            return 1.0
        both = len(np.intersect1d(a, b, assume_unique=True))
        return both / (len(a) + len(b) - both)


def shingles(texts: Sequence[str], size: int) -> Shingles:
    """Runs of `size` tokens of each text; a shorter text is one run."""
    known = _Hashes()
    values: list[NDArray[np.uint64]] = []
    counts = np.zeros(len(texts) + 1, dtype=np.int64)
    for begin in range(0, len(texts), AT_ONCE):
        some = texts[begin : begin + AT_ONCE]
        found, counts[begin + 1 : begin + 1 + len(some)] = _runs(some, size, known)
        values.append(found)
    return Shingles(
        np.concatenate(values) if values else np.zeros(0, dtype=np.uint64), np.cumsum(counts)
    )


class _Hashes(dict[str, int]):
    """The hash of each token that was met."""

    def __missing__(self, token: str) -> int:
        found = int.from_bytes(
            blake2b(token.encode(errors="surrogatepass"), digest_size=8).digest()
        )
        self[token] = found
        return found


def _runs(
    texts: Sequence[str], size: int, known: _Hashes
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The different runs of some texts, sorted within each, and how many each text has."""
    flat: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for number, text in enumerate(texts):
        found = tokens(text)
        lengths[number] = len(found)
        flat.extend(map(known.__getitem__, found))
    stream = np.array(flat, dtype=np.uint64)
    ends = np.cumsum(lengths)
    runs = np.where(lengths == 0, 0, np.maximum(lengths - size + 1, 1))
    owner = np.repeat(np.arange(len(texts)), runs)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(runs) - runs, runs)
    first = (ends - lengths)[owner] + offset
    left = lengths[owner] - offset
    values = np.zeros(len(owner), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for step in range(size):
            # Past the end of a short text nothing is added: it is a run by itself.
            taken = stream[np.minimum(first + step, len(stream) - 1)] if len(stream) else values
            values = values * _FACTOR + np.where(step < left, taken, np.uint64(0))
    starts = np.cumsum(runs) - runs
    for start, count in zip(starts.tolist(), runs.tolist(), strict=True):
        values[start : start + count].sort()
    fresh = np.ones(len(values), dtype=bool)
    fresh[1:] = (values[1:] != values[:-1]) | (owner[1:] != owner[:-1])
    return values[fresh], np.bincount(owner[fresh], minlength=len(texts))
