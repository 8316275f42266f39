"""Splits through which nothing leaks: what hangs together stays together.

Rows hang together when they are of one definition or one file of a repository, when their
definitions are near duplicates, or when one descends from the other: a candidate that was made of
others, a fix of the same bug. A split by repository or by time keeps those together instead, and
drops from the lesser split what hangs together with a row of a greater one: the hold-out is greater
than the rows that choose, and those are greater than the rows that train.

A hold-out that was made before is kept to the row: nothing joins it, and what hangs together with
it is in no split; nor is, by repository, what is of a repository of it, and by time what is newer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel.core.identity import content_hash
from flywheel.curate.forest import Forest
from flywheel.curate.recipe import Split

TRAIN, VALIDATION, HOLDOUT = "train", "validation", "holdout"
"""The splits, the least first."""
TOUCHES_HOLDOUT, LINKED = "touches-holdout", "linked-across-splits"
"""Why a row is in no split."""

NEAR, SHINGLE = 0.85, 5
"""Share of equal runs of tokens, and tokens of a run, from which definitions of two splits are near
duplicates. A recipe may be stricter and not laxer: what leaks is no matter of its taste."""
LINKS = ("definition", "files", "family", "lineage")
"""Columns by which rows hang together: rows with the same value in one of them do. Of a list, one
item that both have is enough."""


@dataclass(frozen=True, slots=True)
class Parted:
    """Where each row went, in the order of the rows."""

    split: list[str | None]
    """`train`, `validation` or `holdout`; None for a row that is in no split."""
    reason: list[str | None]
    """Why it is in none."""
    component: NDArray[np.int64]
    """Number of the first row that it hangs together with."""


def part(rows: pl.DataFrame, rules: Split, frozen: pl.DataFrame | None) -> Parted:
    """Put every row into a split, or into none.

    `rows` has `example_id`, `repo`, `at` (a time, or null) and the columns of `LINKS` as text;
    `frozen`, None where the hold-out is made now, has the same columns of the rows that it holds.
    """
    kept = set() if frozen is None else set(frozen["example_id"].to_list())
    known = rows.select("example_id", "repo", "at", *LINKS)
    if frozen is not None:
        known = pl.concat([known, frozen.select(known.columns)], how="vertical_relaxed")
    component = _components(known)
    here = component[: rows.height]
    held = np.zeros(known.height, dtype=bool)
    if frozen is not None:
        held[np.isin(component, component[rows.height :])] = True
    beyond = _beyond(rows, rules, frozen)
    ids = rows["example_id"].to_list()
    split: list[str | None] = [None] * rows.height
    reason: list[str | None] = [None] * rows.height
    free: list[int] = []
    for row, example in enumerate(ids):
        if example in kept:
            split[row] = HOLDOUT
        elif held[row] or beyond[row]:
            reason[row] = TOUCHES_HOLDOUT
        else:
            free.append(row)
    # Shares are of all rows that are placed, so that the build after the one that made the hold-out
    # splits the others as that one did.
    placed = len(free) + split.count(HOLDOUT)
    shares = [(HOLDOUT, rules.holdout * placed)] if frozen is None else []
    shares.append((VALIDATION, rules.validation * placed))
    group = _groups(rows, here, rules)
    for row, place in zip(free, _drawn(free, group, shares, rules), strict=True):
        split[row] = place
    if rules.by != "component":
        _unlink(split, reason, here)
    return Parted(split, reason, here)


def _beyond(rows: pl.DataFrame, rules: Split, frozen: pl.DataFrame | None) -> NDArray[np.bool_]:
    """Rows of a repository that is held out, or no older than what is, where that is the split."""
    if frozen is not None and frozen.height:
        if rules.by == "repository":
            return rows["repo"].is_in(frozen["repo"].unique().implode()).to_numpy()
        if rules.by == "time":
            return (rows["at"] >= frozen["at"].min()).fill_null(value=False).to_numpy()
    return np.zeros(rows.height, dtype=bool)


def _components(rows: pl.DataFrame) -> NDArray[np.int64]:
    forest = Forest(rows.height)
    for name in LINKS:
        column = rows.select(pl.int_range(pl.len()).alias("row"), pl.col(name).alias("key"))
        if isinstance(column.schema["key"], pl.List):
            column = column.explode("key").drop_nulls()
        keys = column["key"].rank("dense").to_numpy()
        forest.link_equal(keys, of=column["row"].to_numpy())
    return forest.roots


def _groups(rows: pl.DataFrame, component: NDArray[np.int64], rules: Split) -> list[str]:
    """The name of what must stay together with each row."""
    match rules.by:
        case "repository":
            return rows["repo"].to_list()
        case "time":
            return [str(one) for one in rows["at"].to_list()]
        case "component":
            # Files stay when a repository is harvested further, and with them the order: a program
            # that goes on with more rows must not be scored on what it has learned from.
            named = rows.select(pl.Series("component", component), "definition", "files")
            if isinstance(named.schema["files"], pl.List):
                named = named.explode("files")
            file = pl.coalesce("files", "definition").min().over("component")
            least = dict(named.select("component", file.alias("least")).iter_rows())
            return [least[int(one)] for one in component]


def _drawn(
    free: list[int], group: list[str], shares: list[tuple[str, float]], rules: Split
) -> list[str]:
    """The split of each free row.

    Whole groups are taken until a share is full, in the order of their hash or, by time, the newest
    first. A group that would overfill a share by more than it fills it is passed over. Where all
    repositories are too large for a share, the one nearest to it is taken, as long as one is left:
    without it there would be nothing to measure on.
    """
    sizes: dict[str, int] = {}
    for row in free:
        sizes[group[row]] = sizes.get(group[row], 0) + 1
    if rules.by == "time":
        order = sorted(sizes, reverse=True)
    else:
        order = sorted(sizes, key=lambda name: content_hash(rules.seed, name))
    place: dict[str, str] = {}
    for split, wanted in shares:
        filled = 0.0
        for name in order:
            if name in place:
                continue
            if filled >= wanted:
                break
            over = filled + sizes[name] - wanted
            if over > wanted - filled and rules.by != "time":
                continue
            place[name] = split
            filled += sizes[name]
        left = [name for name in order if name not in place]
        if wanted and not filled and rules.by == "repository" and len(left) > 1:
            place[min(left, key=lambda name: abs(sizes[name] - wanted))] = split
    return [place.get(group[row], TRAIN) for row in free]


def _unlink(
    split: list[str | None], reason: list[str | None], component: NDArray[np.int64]
) -> None:
    """Take out of each split what hangs together with a greater one."""
    rank = {TRAIN: 0, VALIDATION: 1, HOLDOUT: 2}
    greatest: dict[int, int] = {}
    for row, place in enumerate(split):
        if place is not None:
            one = int(component[row])
            greatest[one] = max(greatest.get(one, 0), rank[place])
    for row, place in enumerate(split):
        if place is not None and rank[place] < greatest[int(component[row])]:
            split[row], reason[row] = None, LINKED
