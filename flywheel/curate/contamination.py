"""Contamination: which definitions hold a function of a benchmark, by which others are measured.

A definition holds a function when one of its own says the same, or says the same under other names,
or when it has so great a share of the function's runs of tokens. What is short is said alike by
people who never saw each other. So a function that is shorter than a run must be the same to the
name of every variable; one that is shorter than two must have the same name at least; and neither
is known by runs.

It does not know a function that was written anew in another way, nor one in another language.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel.core.errors import UsageError
from flywheel.curate.benchmarks import read_benchmark
from flywheel.curate.fingerprints import (
    PACKAGED,
    RUN,
    called,
    fingerprints,
    functions,
    outline,
    shapes,
)
from flywheel.curate.normal import Shingles, shingles
from flywheel.curate.recipe import Contamination

AT_ONCE = 20_000
"""Definitions that are compared together: what is held in memory beside them."""

How = Literal["same-function", "renamed-function", "run"]
"""By what a definition is known to hold a function, the surest first."""


@dataclass(frozen=True, slots=True)
class Match:
    """A function of a benchmark in a definition."""

    text: int
    """Number of the definition among those that were asked about."""
    benchmark: str
    """Name of the benchmark; of a file, its name."""
    function: str
    """What the benchmark calls it."""
    how: How
    """By what it is known."""
    share: float
    """Share of the function's runs that the definition has; 1 for a whole function."""


class Matcher:
    """Finds the functions of benchmarks in definitions."""

    def __init__(self, known: pl.DataFrame, *, run: int, share: float) -> None:
        """`known` is made by `fingerprints`, of runs of so many tokens.

        `share` is the share of a function's runs from which a definition holds it.
        """
        self._run = run
        self._share = share
        self._benchmarks = known["benchmark"].to_list()
        self._functions = known["function"].to_list()
        self._outlined: dict[int, list[_Whole]] = {}
        whole = known.select("outline", "same", "renamed", "named", "tokens")
        for number, (drawn, *hashes) in enumerate(whole.iter_rows()):
            if drawn is not None:
                self._outlined.setdefault(drawn, []).append(_Whole(number, *hashes))
        long = known["tokens"].to_numpy() >= 2 * run
        long |= known["outline"].is_null().to_numpy()
        sizes = np.where(long, known["runs"].list.len().to_numpy(), 0).astype(np.int64)
        values = known.filter(pl.Series(long))["runs"].explode().to_numpy().astype(np.uint64)
        order = np.argsort(values, kind="stable")
        self._sizes: NDArray[np.int64] = sizes
        self._values: NDArray[np.uint64] = values[order]
        self._owners: NDArray[np.int64] = np.repeat(np.arange(known.height), sizes)[order]

    def match(self, forms: Sequence[str]) -> list[Match]:
        """What definitions hold, each function of a benchmark once, by what is surest.

        `forms` are the definitions as `normal` gives them.
        """
        best: dict[tuple[int, str, str], Match] = {}
        for begin in range(0, len(forms), AT_ONCE):
            some = forms[begin : begin + AT_ONCE]
            for found in (*self._whole(some, begin), *self._runs(some, begin)):
                key = (found.text, found.benchmark, found.function)
                known = best.get(key)
                if known is None or _rank(found) < _rank(known):
                    best[key] = found
        return sorted(best.values(), key=lambda one: (one.text, *_rank(one), one.function))

    def _whole(self, forms: Sequence[str], begin: int) -> Iterator[Match]:
        for number, form in enumerate(forms, begin):
            for name, text in functions(form, nested=True):
                near = self._outlined.get(outline(text))
                shape = shapes(text) if near else None
                if near is None or shape is None:
                    continue
                for one in near:
                    how = one.told(shape, name, self._run)
                    if how is not None:
                        yield self._made(number, one.function, how, 1.0)

    def _runs(self, forms: Sequence[str], begin: int) -> Iterator[Match]:
        if not len(self._values):
            return
        pairs, common = _shared(shingles(forms, self._run), self._values, self._owners)
        shares = common / self._sizes[pairs[:, 1]]
        for place in np.flatnonzero(shares >= self._share).tolist():
            text, function = pairs[place].tolist()
            yield self._made(begin + text, function, "run", float(shares[place]))

    def _made(self, text: int, function: int, how: How, share: float) -> Match:
        return Match(text, self._benchmarks[function], self._functions[function], how, share)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a whole function is compared by."""

    function: int
    same: int
    renamed: int
    named: int
    tokens: int

    def told(self, shape: tuple[int, int], name: str, run: int) -> How | None:
        """Whether a function of this shape and name is it, and by what."""
        same, renamed = shape
        if same == self.same:
            return "same-function"
        if renamed != self.renamed or self.tokens < run:
            return None
        return "renamed-function" if self.tokens >= 2 * run or called(name) == self.named else None


def _rank(match: Match) -> tuple[int, float]:
    order: tuple[How, ...] = ("same-function", "renamed-function", "run")
    return order.index(match.how), -match.share


def _shared(
    runs: Shingles, values: NDArray[np.uint64], owners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a text and a function that have runs in common, and how many.

    `values` are the runs of all functions, sorted, and `owners` whose each of them is.
    """
    first = np.searchsorted(values, runs.values, side="left")
    # Most runs are nobody's: the second search is for those that are somebody's.
    inside = first < len(values)
    inside[inside] = values[first[inside]] == runs.values[inside]
    first = first[inside]
    counts = np.searchsorted(values, runs.values[inside], side="right") - first
    texts = np.repeat(np.arange(len(runs)), np.diff(runs.starts))[inside]
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = owners[np.repeat(first, counts) + offset]
    both = np.column_stack((np.repeat(texts, counts), owner))
    pairs, common = np.unique(both, axis=0, return_counts=True)
    return pairs.astype(np.int64).reshape(-1, 2), common.astype(np.int64)


def load_matcher(rules: Contamination, folder: Path) -> Matcher:
    """The matcher of a recipe that lies in this folder.

    Raises `UsageError` for a file that cannot be read, and for runs of another length than those of
    which the packaged fingerprints are made.
    """
    if rules.benchmarks and rules.run != RUN:
        raise UsageError(
            f"contamination.run is {rules.run}, and the benchmarks that flywheel knows are kept"
            f" as runs of {RUN} tokens",
            hint=f"leave run at {RUN}, or set benchmarks = [] and name files of your own",
        )
    known = pl.read_parquet(PACKAGED)
    frames = [known.filter(pl.col("benchmark").is_in(rules.benchmarks))]
    for file in rules.files:
        made = fingerprints(file, read_benchmark(folder / file), rules.run)
        if made.is_empty():
            raise UsageError(
                f"{folder / file} holds nothing that can be known again",
                cause=f"no function that does anything, no text of more than {rules.run} tokens",
                hint="take it out of contamination.files of the recipe, or name another",
            )
        frames.append(made)
    return Matcher(pl.concat(frames), run=rules.run, share=rules.share)
