"""Oracles: scores belong to definitions, and a wrong fix is never an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest

from flywheel.core.records import Candidate, Change, Judged
from flywheel.store import (
    Oracle,
    Store,
    Tried,
    example,
    examples,
    ingest,
    record_oracles,
    record_tried,
    scores,
    sql,
    tried_before,
    wilson,
    written,
)
from flywheel.store.migrate import migrations
from tests.store.conftest import furnish

Make = Callable[..., Judged]


def oracle(
    of: Candidate,
    baseline_id: str,
    *,
    rejected: tuple[str, ...] = (),
    through: tuple[str, ...] = (),
    several: bool = False,
    least: int = 4,
) -> Oracle:
    return Oracle(
        baseline_id,
        of.path,
        of.symbol,
        of.base_hash,
        of.candidate_id if several else None,
        {"mutant": Counter(rejected=len(rejected), through=len(through))},
        rejected,
        through,
        least=least,
        weak_below=0.8,
        seconds=1.0,
    )


def tried(key: str, verdict: str = "survived", *, seconds: float = 0.5) -> Tried:
    return Tried(key, "a.py", "f", 7, "empty-body", "empty-body", "patch", verdict, "", seconds)


def ids(number: int, prefix: str = "m") -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in range(number))


def test_a_store_with_rows_gets_the_new_columns_at_the_end(
    tmp_path: Path, make: Make, baseline_id: str
) -> None:
    steps = migrations()
    older = tuple(takewhile(lambda step: step.name != "oracles", steps))
    store = Store(tmp_path / "old.duckdb", steps=older)
    furnish(store)
    ingest(store, [make(number) for number in range(5)], baseline_id=baseline_id)
    before = examples(store)
    after = examples(Store(store.path))
    assert after.columns == [*before.columns, "oracle_strength", "oracle_tried", "weak"]
    assert after.select(before.columns).equals(before)
    assert after.height == 5
    assert after["oracle_strength"].null_count() == after["weak"].null_count() == 5


def test_examples_of_one_definition_share_a_score_and_others_have_none(
    store: Store, make: Make, baseline_id: str
) -> None:
    one, other = make(1), make(2)
    twin = replace(one, candidate=replace(one.candidate, after="return None", bad="other"))
    ingest(store, [one, twin, other], baseline_id=baseline_id)
    record_oracles(
        store, [oracle(one.candidate, baseline_id, rejected=ids(9), through=ids(3, "s"))]
    )
    rows = examples(store, where="oracle_strength IS NOT NULL")
    assert set(rows["candidate_id"]) == {one.candidate.candidate_id, twin.candidate.candidate_id}
    assert rows["oracle_strength"].to_list() == [0.75, 0.75]
    assert rows["oracle_tried"].to_list() == [12, 12]
    assert examples(store, where="weak").height == 2
    assert examples(store, where="NOT weak").is_empty()


def test_the_examples_own_change_does_not_count_for_it(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(1)
    key = one.candidate.candidate_id
    ingest(store, [one], baseline_id=baseline_id)
    found = oracle(one.candidate, baseline_id, rejected=(key, *ids(3)), through=("s",))
    record_oracles(store, [found])
    row = examples(store).row(0, named=True)
    assert (row["oracle_strength"], row["oracle_tried"], row["weak"]) == (0.75, 4, True)


def test_with_too_few_wrong_fixes_there_is_no_score_and_it_is_not_weak(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(1)
    ingest(store, [one], baseline_id=baseline_id)
    record_oracles(store, [oracle(one.candidate, baseline_id, through=ids(3))])
    (score,) = scores(store, [examples(store)["example_id"][0]])
    assert (score.strength, score.tried, score.weak) == (None, 3, None)
    record_oracles(store, [oracle(one.candidate, baseline_id, least=1)])
    (score,) = scores(store, [score.example_id])
    assert (score.strength, score.tried, score.weak) == (None, 0, None)


def test_an_oracle_takes_the_place_of_the_earlier_one(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(1)
    ingest(store, [one], baseline_id=baseline_id)
    record_oracles(store, [oracle(one.candidate, baseline_id, through=ids(4))])
    record_oracles(store, [oracle(one.candidate, baseline_id, rejected=ids(4))])
    assert examples(store)["oracle_strength"].to_list() == [1.0]


def test_a_row_of_several_changes_has_an_oracle_of_its_own(
    store: Store, make: Make, baseline_id: str
) -> None:
    alone = make(1)
    first = alone.candidate
    more = Change("src/more.py", first.span, "a", "b", 1, 1, "hash")
    several = replace(alone, candidate=replace(first, others=(more,)))
    ingest(store, [alone, several], baseline_id=baseline_id)
    record_oracles(
        store,
        [
            oracle(first, baseline_id, rejected=ids(4)),
            oracle(several.candidate, baseline_id, through=ids(4), several=True),
        ],
    )
    rows = examples(store)
    found = dict(zip(rows["candidate_id"], rows["oracle_strength"], strict=True))
    assert found == {first.candidate_id: 1.0, several.candidate.candidate_id: 0.0}


def test_a_wrong_fix_is_kept_once_and_only_an_unknown_one_gives_way(
    store: Store, baseline_id: str
) -> None:
    record_tried(store, [tried("a"), tried("b", "unknown")], baseline_id=baseline_id)
    record_tried(store, [tried("a", "valid"), tried("b", "valid")], baseline_id=baseline_id)
    assert tried_before(store, baseline_id) == {"a": ("survived", 0.5), "b": ("valid", 0.5)}
    assert tried_before(store, "another") == {}
    assert examples(store).is_empty()
    assert sql(store, "SELECT * FROM survivors").is_empty()
    assert sql(store, "SELECT * FROM candidates").is_empty()


def test_what_was_let_through_is_named_whoever_judged_it(
    store: Store, make: Make, baseline_id: str
) -> None:
    one, survivor = make(1), make(50, verdict="survived")
    harvested = survivor.candidate.candidate_id
    ingest(store, [one, survivor], baseline_id=baseline_id)
    record_tried(store, [tried("trivial")], baseline_id=baseline_id)
    found = oracle(one.candidate, baseline_id, rejected=ids(2), through=("trivial", harvested))
    record_oracles(store, [found])
    shown = example(store, examples(store)["example_id"][0])
    assert {(it.candidate_id, it.operator) for it in shown.let_through} == {
        ("trivial", "empty-body"),
        (harvested, survivor.candidate.operator),
    }
    assert (shown.oracle_strength, shown.oracle_tried, shown.weak) == (0.5, 4, True)


def test_what_models_wrote_is_found_with_its_verdict(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(3)
    one = replace(one, candidate=replace(one.candidate, source="written", operator="insert:m@1"))
    ingest(store, [make(1), one], baseline_id=baseline_id)
    (found,) = written(store, baseline_id)
    assert (found.candidate_id, found.verdict) == (one.candidate.candidate_id, "valid")
    assert (found.symbol, found.operator) == (one.candidate.symbol, "insert:m@1")


@pytest.mark.parametrize(
    ("rejected", "tried", "low", "high"),
    # Newcombe 1998, table I, score method without continuity correction.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (29, 29, 0.8830, 1),
    ],
)
def test_the_interval_is_wilsons(rejected: int, tried: int, low: float, high: float) -> None:
    found = wilson(rejected, tried)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_nothing_tried_says_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)
