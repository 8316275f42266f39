"""Intervals: Wilson's for shares, draws for the rest, and none where there is none."""

from __future__ import annotations

import random

import pytest

from flywheel.programs import mean_of, share_of
from flywheel.store import wilson


def test_a_share_of_single_answers_gets_wilsons_interval() -> None:
    found = mean_of({str(n): [float(n < 7)] for n in range(10)})
    interval = wilson(7, 10)
    assert (found.value, found.n) == (0.7, 10)
    assert (found.low, found.high) == (interval.low, interval.high)
    assert found == share_of(7, 10)


def test_nothing_has_no_value_and_one_case_no_interval() -> None:
    assert mean_of({}).value is None
    assert share_of(0, 0).value is None
    one = mean_of({"a": [0.25, 0.75]})
    assert (one.value, one.n, one.low, one.high) == (0.5, 2, None, None)


def test_the_same_seed_gives_the_same_interval() -> None:
    drawn = random.Random(1)
    groups = {str(n): [drawn.random()] for n in range(40)}
    assert mean_of(groups, seed=3) == mean_of(groups, seed=3)
    assert mean_of(groups, seed=3) != mean_of(groups, seed=4)
    assert mean_of(dict(reversed(groups.items())), seed=3) == mean_of(groups, seed=3)


def test_answers_to_one_case_are_not_counted_as_so_many_cases() -> None:
    drawn = random.Random(2)
    values = [drawn.random() for _ in range(20)]
    single = mean_of({str(n): [value] for n, value in enumerate(values)})
    tenfold = mean_of({str(n): [value] * 10 for n, value in enumerate(values)})
    assert tenfold.n == 10 * single.n
    assert tenfold.high - tenfold.low == pytest.approx(single.high - single.low, rel=0.05)


def test_cases_that_are_all_alike_are_not_taken_for_certain() -> None:
    alike = mean_of({str(n): [1.0, 0.0] for n in range(6)})
    assert alike.value == 0.5
    assert alike.low < 0.2
    assert alike.high > 0.8
    # Of what is no share nothing can be said.
    assert mean_of({str(n): [7.0] for n in range(6)}).low is None


def test_the_interval_holds_the_mean_of_all_about_as_often_as_it_says() -> None:
    drawn = random.Random(0)
    held = 0
    for seed in range(60):
        found = mean_of({str(n): [drawn.betavariate(2, 3)] for n in range(30)}, seed=seed)
        held += found.low <= 0.4 <= found.high
    assert 50 <= held <= 60
