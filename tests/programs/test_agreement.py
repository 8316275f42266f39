"""A judge beside the tests: kappa as others compute it, and when it may drive."""

from __future__ import annotations

import pytest

from flywheel.programs import Agreement, Judgement, agreement


def judged(both: int, judge: int, tests: int, neither: int, *, each: int = 1) -> Agreement:
    kinds = [(True, True)] * both + [(True, False)] * judge
    kinds += [(False, True)] * tests + [(False, False)] * neither
    return agreement(
        [
            Judgement(str(n // each), accepted, resolved)
            for n, (accepted, resolved) in enumerate(kinds)
        ]
    )


def test_kappa_is_cohens() -> None:
    # The worked example of the literature: 20, 5, 10, 15 gives 0.4.
    found = judged(20, 5, 10, 15)
    assert found.kappa == pytest.approx(0.4)
    assert (found.n, found.agree) == (50, 35)
    # The asymptotic interval is 0.4 ± 0.25.
    assert found.low == pytest.approx(0.15, abs=0.06)
    assert found.high == pytest.approx(0.65, abs=0.06)
    assert judged(20, 5, 10, 15) == found


def test_agreement_by_chance_is_none() -> None:
    assert judged(25, 25, 25, 25).kappa == 0.0


def test_a_judge_that_always_says_the_same_has_no_kappa_or_none_worth_it() -> None:
    assert judged(40, 0, 0, 0).kappa is None
    flat = judged(30, 30, 0, 0)
    assert flat.kappa == 0.0
    assert not flat.may_drive


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ((10, 0, 0, 10), "only 20 answers"),
        ((38, 0, 0, 2), "2 of 40 answers mend|38 of 40 answers mend"),
        ((20, 5, 10, 15), "may be as low as"),
    ],
)
def test_a_judge_may_drive_nothing_on_too_little(counts: tuple[int, ...], why: str) -> None:
    found = judged(*counts)
    assert not found.may_drive
    assert any(part in found.why_not for part in why.split("|"))
    assert "may drive nothing" in found.sentence


def test_a_judge_that_says_what_the_tests_say_may_drive() -> None:
    found = judged(40, 1, 1, 38)
    assert found.may_drive
    assert found.why_not == ""
    assert "at least 0.8" in found.sentence


def test_many_answers_to_few_cases_show_less() -> None:
    assert judged(30, 6, 6, 38, each=10).low < judged(30, 6, 6, 38).low
