"""Nothing that hangs together is ever on both sides of a split; a hold-out stays what it is."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from flywheel.curate.recipe import Split
from flywheel.curate.split import (
    HOLDOUT,
    LINKED,
    LINKS,
    TOUCHES_HOLDOUT,
    TRAIN,
    VALIDATION,
    Parted,
    part,
)


def rows(count: int, seed: int = 0, **given: list[Any]) -> pl.DataFrame:
    """Rows of several repositories, some of which hang together."""
    draw = random.Random(seed)
    repos = [f"repo{draw.randrange(12)}" for _ in range(count)]
    files = [f"{repo}/file{draw.randrange(20)}" for repo in repos]
    definitions = [f"{file}:f{draw.randrange(3)}" for file in files]
    made = {
        "example_id": [f"{n:016x}" for n in range(count)],
        "repo": repos,
        "at": [f"2026-01-{1 + n % 28:02}" for n in range(count)],
        "definition": definitions,
        "files": files,
        "family": [f"family{draw.randrange(count)}" for _ in range(count)],
        "lineage": [f"line{n}" for n in range(count)],
    }
    return pl.DataFrame({**made, **given})


def leaks(frame: pl.DataFrame, parted: Parted) -> int:
    """Values of a link that are in more than one split."""
    placed = frame.with_columns(split=pl.Series(parted.split, dtype=pl.String))
    placed = placed.filter(pl.col("split").is_not_null())
    return sum(
        placed.group_by(name).agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height
        for name in LINKS
    )


@pytest.mark.parametrize("by", ["component", "repository", "time"])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_leaks(by: Any, seed: int) -> None:
    frame = rows(600, seed)
    parted = part(frame, Split(by=by, validation=0.15, holdout=0.2), None)
    assert leaks(frame, parted) == 0
    assert {TRAIN, HOLDOUT} <= set(parted.split)
    for place, reason in zip(parted.split, parted.reason, strict=True):
        assert (place is None) == (reason is not None)
    if by == "component":
        assert None not in parted.split


def test_more_rows_of_the_same_files_stay_in_their_split() -> None:
    frame = rows(2000).with_columns(family=pl.col("definition"))
    rules = Split(validation=0.1, holdout=0.2)
    # As identities are drawn, what is harvested later is anywhere in the order.
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)
    few = mixed.head(1000).sort("example_id")
    before = dict(zip(few["example_id"], part(few, rules, None).split, strict=True))
    after = dict(zip(frame["example_id"], part(frame, rules, None).split, strict=True))
    moved = sum(after[key] != place for key, place in before.items())
    assert moved < 0.05 * few.height


def test_shares_are_kept_as_far_as_components_allow() -> None:
    frame = rows(2000).with_columns(family=pl.col("definition"))
    parted = part(frame, Split(validation=0.1, holdout=0.2), None)
    assert abs(parted.split.count(HOLDOUT) / 2000 - 0.2) < 0.02
    assert abs(parted.split.count(VALIDATION) / 2000 - 0.1) < 0.02


def test_a_component_larger_than_the_share_is_not_held_out() -> None:
    frame = rows(
        100, family=["one"] * 80 + [f"f{n}" for n in range(20)], files=list(map(str, range(100)))
    )
    frame = frame.with_columns(definition=pl.col("files"))
    parted = part(frame, Split(validation=0, holdout=0.1), None)
    assert set(parted.split[:80]) == {TRAIN}
    assert parted.split.count(HOLDOUT) == 10


def test_by_time_the_newest_are_held_out() -> None:
    frame = rows(280).with_columns(pl.col("example_id").alias(name) for name in LINKS)
    parted = part(frame, Split(by="time", validation=0.1, holdout=0.2), None)
    at: dict[str | None, list[str]] = {"train": [], "validation": [], "holdout": []}
    for place, when in zip(parted.split, frame["at"], strict=True):
        at[place].append(when)
    assert max(at["train"]) < min(at["validation"])
    assert max(at["validation"]) < min(at["holdout"])


def test_what_another_repository_shares_with_the_hold_out_is_dropped_and_said() -> None:
    frame = rows(300)
    first = part(frame, Split(by="repository", validation=0, holdout=0.2), None)
    held, other = first.split.index(HOLDOUT), first.split.index(TRAIN)
    family = frame["family"].to_list()
    family[other] = family[held]
    parted = part(
        frame.with_columns(family=pl.Series(family)),
        Split(by="repository", validation=0, holdout=0.2),
        None,
    )
    assert parted.split[other] is None
    assert parted.reason[other] == LINKED


def test_a_hold_out_gains_nothing_and_loses_nothing_and_is_not_touched() -> None:
    rules = Split(validation=0.1, holdout=0.2)
    frame = rows(400)
    first = part(frame, rules, None)
    kept = [place == HOLDOUT for place in first.split]
    frozen = frame.filter(pl.Series(kept))
    more = rows(500, seed=9).with_columns(pl.format("{}f", "example_id").alias("example_id"))
    # A newcomer that hangs together with what is held out, by way of another newcomer.
    held = frozen.row(0, named=True)
    family = more["family"].to_list()
    family[0] = held["family"]
    family[1] = "bridge"
    lineage = more["lineage"].to_list()
    lineage[0] = lineage[1] = "bridge"
    more = more.with_columns(family=pl.Series(family), lineage=pl.Series(lineage))
    both = pl.concat([frame.sample(fraction=1, shuffle=True, seed=3), more])
    second = part(both, rules, frozen)
    ids = both["example_id"].to_list()
    place = dict(zip(ids, second.split, strict=True))
    assert {one for one, where in place.items() if where == HOLDOUT} == set(frozen["example_id"])
    why = dict(zip(ids, second.reason, strict=True))
    assert why[more["example_id"][0]] == why[more["example_id"][1]] == TOUCHES_HOLDOUT
    assert leaks(both, second) == 0


@pytest.mark.parametrize("seed", range(8))
def test_repositories_larger_than_every_share_are_still_parted(seed: int) -> None:
    sizes = {"a": 500, "b": 300, "c": 400, "d": 450}
    repos = [name for name, size in sizes.items() for _ in range(size)]
    own = [f"{repo}/{n}" for n, repo in enumerate(repos)]
    frame = rows(len(repos), repo=repos, files=own, definition=own, family=own)
    rules = Split(by="repository", seed=seed, validation=0.1, holdout=0.1)
    where = dict(zip(repos, part(frame, rules, None).split, strict=True))
    # A tenth of them is 165 rows: the smallest is nearest to it, then the next.
    assert where == {"b": HOLDOUT, "c": VALIDATION, "a": TRAIN, "d": TRAIN}
    one = part(frame.head(500), rules, None).split
    assert set(one) == {TRAIN}


def test_the_order_of_the_rows_does_not_choose_the_hold_out_of_a_split_by_repository() -> None:
    frame = rows(500)
    other = frame.sample(fraction=1, shuffle=True, seed=5)
    rules = Split(by="repository", validation=0.1, holdout=0.2)
    found = []
    for one in (frame, other):
        split = part(one, rules, None).split
        found.append(dict(zip(one["example_id"].to_list(), split, strict=True)))
    assert found[0] == found[1]
