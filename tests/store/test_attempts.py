"""Attempts are kept whatever came of them; a fix is a row of its own beside the base's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flywheel.candidates import PythonLanguage
from flywheel.core.records import Judged
from flywheel.store import (
    FAILED,
    FIXED,
    Attempt,
    Fix,
    Store,
    attempts_on,
    example,
    examples,
    failure_of,
    ingest,
    mendable,
    proven_candidates,
    rare_families,
    record_attempts,
    replayable,
    sql,
)

Make = Callable[..., Judged]


def attempt(bug_id: str, baseline_id: str, turn: int, verdict: str = FAILED) -> Attempt:
    return Attempt(
        attempt_id=f"{bug_id}-{turn}",
        example_id=bug_id,
        baseline_id=baseline_id,
        run_id="run",
        model="m",
        prompt="attempt@1",
        call_id="c",
        seed=0,
        show_tests=False,
        sample=0,
        turn=turn,
        question="q",
        answer="a",
        code=None,
        verdict=verdict,
        reason="",
        candidate_id=None,
        error="",
        held_back=2,
        held_back_failing=1,
    )


def fixed(bug: Judged, fix: Judged, bug_example: str, baseline_id: str) -> Fix:
    return Fix(
        example_id=bug_example,
        bug_id=bug.candidate.candidate_id,
        candidate_id=fix.candidate.candidate_id,
        baseline_id=baseline_id,
        origin="m attempt@1 turn 2",
        code="def fixed(): pass",
        patch="+fixed",
    )


def test_a_fix_is_a_row_with_its_own_code_and_its_own_run(
    store: Store, make: Make, baseline_id: str
) -> None:
    bug, fix = make(1), make(2, verdict="survived")
    fix = replace(fix, trial=replace(fix.trial, passing=7))
    ingest(store, [bug, fix], baseline_id=baseline_id)
    (row,) = mendable(store)
    assert row.candidate == replace(bug.candidate, origin=None)
    assert row.error.startswith("FAILED tests/test_words.py::test_1 - AssertionError")
    assert "test_2" not in row.error
    made = [attempt(row.example_id, baseline_id, 1), attempt(row.example_id, baseline_id, 2, FIXED)]
    assert record_attempts(store, made, [fixed(bug, fix, row.example_id, baseline_id)]) == 1
    both = examples(store)
    assert both["example_id"].n_unique() == 2
    own = both.filter(both["fix_candidate_id"].is_not_null()).row(0, named=True)
    assert (own["good"], own["patch"], own["fix_origin"]) == (
        "def fixed(): pass", "+fixed", "m attempt@1 turn 2",
    )  # fmt: skip
    assert own["passing_tests"] == 7
    assert own["bad"] == bug.candidate.bad
    assert example(store, own["example_id"]).good == "def fixed(): pass"
    # It is replayed with its own code, and is no bug of its own to mend or to combine.
    fixes = {one.example_id: one.fix for one in replayable(store)}
    assert fixes[row.example_id] is None
    assert fixes[own["example_id"]] == replace(fix.candidate, origin=None)
    assert [one.example_id for one in mendable(store)] == [row.example_id]
    assert len(proven_candidates(store, baseline_id)) == 1


def test_what_is_stored_twice_is_there_once(store: Store, make: Make, baseline_id: str) -> None:
    bug, fix = make(1), make(2, verdict="survived")
    ingest(store, [bug, fix], baseline_id=baseline_id)
    (row,) = mendable(store)
    one = attempt(row.example_id, baseline_id, 1, FIXED)
    mended = fixed(bug, fix, row.example_id, baseline_id)
    assert record_attempts(store, [one], [mended, mended]) == 1
    assert record_attempts(store, [one], [mended]) == 0
    assert attempts_on(store, row.example_id) == (one,)
    assert sql(store, "SELECT count(*) AS n FROM fixes WHERE code IS NOT NULL")["n"][0] == 1


def test_a_fix_falls_with_its_bug(store: Store, make: Make, baseline_id: str) -> None:
    bug, fix = make(1), make(2, verdict="survived")
    ingest(store, [bug, fix], baseline_id=baseline_id)
    (row,) = mendable(store)
    record_attempts(store, [], [fixed(bug, fix, row.example_id, baseline_id)])
    assert examples(store).height == 2
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO carried VALUES (?, ?, 'later', 'retired', 'gone', NULL, now())",
            [bug.candidate.candidate_id, baseline_id],
        )
    assert examples(store).height == 0


def test_how_a_candidate_failed_is_told_again(store: Store, make: Make, baseline_id: str) -> None:
    bug, fix = make(1), make(2, verdict="survived")
    ingest(store, [bug, fix], baseline_id=baseline_id)
    told = failure_of(store, bug.candidate.candidate_id, baseline_id)
    assert told is not None
    text, test, every = told
    assert text.startswith(f"FAILED {test} - AssertionError")
    assert len(every) == 5
    assert failure_of(store, fix.candidate.candidate_id, baseline_id) is None


def test_families_are_rare_when_there_is_enough_to_compare(
    store: Store, make: Make, baseline_id: str
) -> None:
    operators = [one for one in PythonLanguage().operators if one.family in ("loop", "string")]
    assert rare_families(store, operators, 1) == ()
    strings = next(one.name for one in operators if one.family == "string")
    many = [
        replace(made := make(number), candidate=replace(made.candidate, operator=strings))
        for number in range(6)
    ]
    ingest(store, many, baseline_id=baseline_id)
    assert rare_families(store, operators, 1) == ("loop",)
