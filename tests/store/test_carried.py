"""Verdicts at later commits: where they stand, and what no longer shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flywheel.core.records import Baseline, Judged, Revision
from flywheel.store import (
    JUDGED_AGAIN,
    KEPT,
    RETIRED,
    Carried,
    Run,
    Store,
    carried_at,
    carried_counts,
    count_examples,
    examples,
    held,
    ingest,
    known_verdicts,
    record_baseline,
    record_carried,
    record_revision,
    record_run,
    restore,
    sql,
    standing,
    survivors,
)

Make = Callable[..., Judged]
REPO = "https://example.org/words.git"


@pytest.fixture
def later(store: Store, baseline_record: Baseline) -> str:
    """The baseline of a later commit of the same repository."""
    revision = Revision(REPO, "f" * 40, "0" * 40, "MIT")
    record_revision(store, revision)
    found = replace(baseline_record, revision_id=revision.revision_id)
    record_baseline(store, found)
    return found.baseline_id


@pytest.fixture
def rows(store: Store, make: Make, baseline_id: str) -> list[Judged]:
    found = [make(number) for number in range(3)]
    found += [make(number, verdict="survived") for number in range(10, 12)]
    found += [make(20, verdict="unknown")]
    ingest(store, found, baseline_id=baseline_id)
    return found


def carried(one: Judged, baseline_id: str, later: str, state: str, reason: str = "") -> Carried:
    here = "abc" if state == KEPT else None
    return Carried(one.candidate.candidate_id, baseline_id, later, state, reason, here)


def test_a_verdict_stands_at_home_until_it_is_carried(
    store: Store, rows: list[Judged], baseline_id: str, later: str
) -> None:
    assert {row.at_commit for row in standing(store, REPO)} == {"c" * 40}
    assert len(standing(store, REPO)) == 5
    record_carried(store, [carried(rows[0], baseline_id, later, KEPT)])
    moved = [row for row in standing(store, REPO) if row.at_baseline == later]
    assert [row.candidate.candidate_id for row in moved] == [rows[0].candidate.candidate_id]
    assert moved[0].commit == "c" * 40
    assert moved[0].failing


def test_what_is_kept_is_known_at_the_later_commit(
    store: Store, rows: list[Judged], baseline_id: str, later: str
) -> None:
    record_carried(store, [carried(rows[0], baseline_id, later, KEPT)])
    assert {key: one.verdict for key, one in known_verdicts(store, later).items()} == {
        "abc": "valid"
    }


def test_what_is_retired_shows_in_its_own_view_alone(
    store: Store, rows: list[Judged], baseline_id: str, later: str
) -> None:
    record_carried(
        store,
        [
            carried(rows[0], baseline_id, later, RETIRED, "code-gone"),
            carried(rows[1], baseline_id, later, JUDGED_AGAIN, "test-changed"),
            carried(rows[3], baseline_id, later, RETIRED, "new-tests"),
        ],
    )
    assert examples(store)["candidate_id"].to_list() == [rows[2].candidate.candidate_id]
    assert sum(group.count for group in survivors(store)) == 1
    assert len(standing(store, REPO)) == 2
    shown = sql(store, "SELECT state, reason, verdict, retired_at FROM retired ORDER BY reason")
    assert shown.rows() == [
        ("retired", "code-gone", "valid", "f" * 40),
        ("retired", "new-tests", "survived", "f" * 40),
        ("judged-again", "test-changed", "valid", "f" * 40),
    ]
    counts = carried_counts(store, later)
    assert (counts.states[KEPT], counts.states[JUDGED_AGAIN], counts.states[RETIRED]) == (0, 1, 2)
    assert counts.reasons["code-gone"] == 1


def test_a_later_word_takes_the_place_of_an_earlier_one(
    store: Store, rows: list[Judged], baseline_id: str, later: str
) -> None:
    record_carried(store, [carried(rows[0], baseline_id, later, KEPT)])
    record_carried(store, [carried(rows[0], baseline_id, later, RETIRED, "not-made")])
    found = carried_at(store, later)
    assert [(one.carried.state, one.source) for one in found] == [(RETIRED, "mutated")]


def test_verdicts_of_a_commit_that_is_harvested_again_stand_again(
    store: Store, rows: list[Judged], baseline_id: str, later: str
) -> None:
    record_carried(store, [carried(one, baseline_id, later, RETIRED, "x") for one in rows[:3]])
    assert examples(store).height == 0
    restore(store, baseline_id)
    assert examples(store).height == 3


def test_nothing_else_of_a_repository_than_its_own_stands(store: Store, rows: list[Judged]) -> None:
    assert rows
    assert standing(store, "elsewhere") == ()


def test_what_is_held_is_told_by_repository_and_source(
    store: Store, rows: list[Judged], baseline_id: str, later: str
) -> None:
    assert held(store) == ()
    now = datetime.now(UTC)
    summary = {"commit": "f" * 40, "ended": "exhausted", "since": None}
    record_run(store, Run("r", REPO, now, now, summary))
    record_carried(store, [carried(rows[0], baseline_id, later, RETIRED, "code-gone")])
    (found,) = held(store)
    assert (found.commit, found.ended, found.since) == ("f" * 40, "exhausted", None)
    assert (dict(found.live), dict(found.retired), found.survivors) == (
        {"mutated": 2}, {"mutated": 1}, 2,
    )  # fmt: skip
    assert found.toolchain == "pytest@0123"


def test_a_store_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert held(Store(tmp_path / "none.duckdb")) == ()


def test_what_is_proven_at_two_commits_is_one_example(
    store: Store, make: Make, baseline_id: str, later: str
) -> None:
    first = ingest(store, [make(1), make(2)], baseline_id=baseline_id)
    second = ingest(store, [make(1), make(3)], baseline_id=later)
    assert (len(first.examples), len(second.examples)) == (2, 1)
    both = [baseline_id, later]
    assert [count_examples(store, one) for one in (both[:1], both[1:], both)] == [2, 2, 3]
    assert len(examples(store)) == 3
    one = make(2).candidate.candidate_id
    record_carried(store, [Carried(one, baseline_id, later, "kept", "", one)])
    assert [count_examples(store, one) for one in (both[:1], both[1:])] == [1, 3]
    record_carried(store, [Carried(one, baseline_id, later, "retired", "code-gone", None)])
    assert count_examples(store, both) == 2
