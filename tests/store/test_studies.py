"""Studies and their trials: one row each, which a later run goes on with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flywheel.store import (
    Store,
    Study,
    StudyTrial,
    forget_trials,
    record_study,
    record_trials,
    studies,
    trials_of,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STUDY = Study(
    "s1", "repair", "m" * 16, "miprov2", "repair-sft@abc", "1@def", {"trials": 4, "auto": "light"},
    7, started_at=NOON,
)  # fmt: skip
TRIAL = StudyTrial(
    "s1", 0, "full", "a" * 16, 0.25, 4, 0.05, 0.7, 1, {"mend": "Mend the code."}, 2,
    {"3 tests fail": 2, "unreadable": 1}, 0.125, 900, 12.5, NOON,
)  # fmt: skip


def test_a_study_is_begun_once_and_ends_as_it_ended_last(store: Store) -> None:
    record_study(store, STUDY)
    assert studies(store) == (STUDY,)
    later = NOON + timedelta(hours=1)
    done = replace(
        STUDY, status="done", reasons={"bootstraps": {"kept": 3}}, version_id="repair@v",
        started_at=later, ended_at=later,
    )  # fmt: skip
    record_study(store, done)
    assert studies(store) == (replace(done, started_at=NOON),)
    assert studies(store, module="locate") == ()


def test_a_trial_that_is_scored_again_keeps_what_it_cost_first(store: Store) -> None:
    record_trials(store, [TRIAL, replace(TRIAL, number=1)])
    record_trials(store, [replace(TRIAL, usd=0.0, tokens=0, seconds=0.1)])
    assert trials_of(store, "s1") == (TRIAL, replace(TRIAL, number=1))
    assert trials_of(store, "s2") == ()


def test_a_trial_of_fewer_rows_has_its_new_score_and_its_first_cost(store: Store) -> None:
    record_trials(store, [TRIAL, replace(TRIAL, number=1)])
    fewer = {"value": 0.5, "n": 3, "low": 0.1, "high": 0.9, "unknown": 1, "reasons": {"slow": 1}}
    record_trials(store, [replace(TRIAL, usd=0.0, tokens=0, seconds=0.1, **fewer)])
    assert trials_of(store, "s1") == (replace(TRIAL, **fewer), replace(TRIAL, number=1))


def test_trials_of_a_run_that_went_further_can_be_dropped(store: Store) -> None:
    record_trials(store, [replace(TRIAL, number=number) for number in range(3)])
    record_trials(store, [replace(TRIAL, study_id="s2", number=2)])
    forget_trials(store, "s1", first=1)
    assert trials_of(store, "s1") == (TRIAL,)
    assert len(trials_of(store, "s2")) == 1


def test_another_state_under_a_number_takes_its_place(store: Store) -> None:
    record_trials(store, [TRIAL])
    other = replace(TRIAL, state_hash="b" * 16, value=None, n=0, low=None, high=None, usd=None)
    record_trials(store, [other])
    assert trials_of(store, "s1") == (other,)


def test_the_newest_study_comes_first(store: Store) -> None:
    newer = replace(STUDY, study_id="s0", started_at=NOON + timedelta(days=1))
    record_study(store, STUDY)
    record_study(store, newer)
    assert [one.study_id for one in studies(store)] == ["s0", "s1"]
