"""A verdict on several bugs holds where each of them shows in both runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flywheel.core.records import Candidate, Judged, Lane, Outcome, Part, Span, Status, Trial
from flywheel.critic import MASKED, told_apart

CANDIDATE = Candidate(
    "a.py", "f", Span(0, 1), "a", "b", 1, 1, "combined", "combined-2", "a", "b", "0" * 16,
    parts=(Part("1", ("t1", "t2")), Part("2", ("t3",))),
)  # fmt: skip


def _trial(*failing: str) -> Trial:
    return Trial(
        Status.RAN, Outcome.FAILS, "", Lane.FRESH, 9, 9 - len(failing), failing, (), (), 0.1
    )


def _judged(first: str, again: str, candidate: Candidate = CANDIDATE) -> Judged:
    trials = _trial(*first.split()), _trial(*again.split())
    return Judged(candidate, *trials, _trial(), "valid", "")


@pytest.mark.parametrize(
    ("first", "again"), [("t1 t2", "t1 t2"), ("t1 t3", "t1"), ("t1 t3", "t2 t3"), ("x", "x")]
)
def test_a_bug_that_does_not_show_in_both_runs_makes_the_verdict_unknown(
    first: str, again: str
) -> None:
    found = told_apart(_judged(first, again))
    assert (found.verdict, found.reason) == ("unknown", MASKED)


def test_of_the_tests_that_tell_parts_those_are_kept_that_did() -> None:
    found = told_apart(_judged("t1 t3 x", "t1 t2 t3 x"))
    assert (found.verdict, found.reason) == ("valid", "")
    assert found.candidate.parts == (Part("1", ("t1",)), Part("2", ("t3",)))
    assert found.candidate.candidate_id == CANDIDATE.candidate_id


def test_one_bug_alone_and_other_verdicts_are_left_as_they_are() -> None:
    alone = _judged("t1", "t1", replace(CANDIDATE, parts=()))
    assert told_apart(alone) is alone
    survived = replace(_judged("t1", "t1"), verdict="survived")
    assert told_apart(survived) is survived
