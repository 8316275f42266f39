"""The test of live traffic: how often it errs under eyes that never leave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from flywheel.optimize.sequential import ALPHA, Evidence, Stream, evidence, interval


def looks(
    champion: float, challenger: float, *, share: float, n: int, seed: int, drift: float = 0.0
) -> Iterator[tuple[Stream, Stream]]:
    """The streams after each outcome; rates may swing together by `drift` over the time."""
    random = np.random.default_rng(seed)
    second = random.random(n) < share
    swing = drift * np.sin(np.linspace(0, 2 * math.pi, n))
    good = random.random(n) < np.where(second, challenger, champion) + swing
    counts = [[0, 0], [0, 0]]
    for arm, success in zip(second, good, strict=True):
        counts[int(arm)][0] += int(success)
        counts[int(arm)][1] += 1
        yield Stream(*counts[0]), Stream(*counts[1])


def shown(which: Callable[[Evidence], bool], **arranged: float | int) -> list[int]:
    """For each of some runs after how many outcomes it was shown, 0 for never."""
    times = []
    runs = int(arranged.pop("runs"))
    for seed in range(runs):
        streams = looks(seed=seed, **arranged)  # type: ignore[arg-type]
        found = (number for number, two in enumerate(streams, 1) if which(evidence(*two)))
        times.append(next(found, 0))
    return times


@pytest.mark.parametrize(
    ("rate", "share", "drift"), [(0.5, 0.5, 0.0), (0.3, 0.1, 0.0), (0.5, 0.2, 0.3)]
)
def test_who_always_looks_is_wrong_no_oftener_than_said(
    rate: float, share: float, drift: float
) -> None:
    for which in (lambda one: one.shown_worse, lambda one: one.shown_better):
        times = shown(
            which, champion=rate, challenger=rate, share=share, n=300, drift=drift, runs=50
        )
        # At 5 % more than 6 of 50 come in 1 of 80 tries.
        assert sum(map(bool, times)) <= 6


def test_a_fixed_test_that_is_looked_at_errs_far_oftener() -> None:
    """What the sequential test is for: the same looks with a p-value of one look."""

    def fixed(champion: Stream, challenger: Stream) -> bool:
        if min(champion.n, challenger.n) < 10:
            return False
        both = (champion.successes + challenger.successes) / (champion.n + challenger.n)
        error = math.sqrt(both * (1 - both) * (1 / champion.n + 1 / challenger.n))
        return error > 0 and abs((champion.rate or 0) - (challenger.rate or 0)) > 1.96 * error

    wrong = sum(
        any(fixed(*two) for two in looks(0.5, 0.5, share=0.5, n=300, seed=seed))
        for seed in range(60)
    )
    assert wrong > 12


def test_a_challenger_that_is_worse_is_found_and_one_that_is_better_is_told() -> None:
    worse = shown(
        lambda one: one.shown_worse, champion=0.6, challenger=0.2, share=0.5, n=400, runs=20
    )
    assert all(worse)
    assert np.median(worse) < 120
    better = shown(
        lambda one: one.shown_better, champion=0.2, challenger=0.6, share=0.1, n=1500, runs=10
    )
    assert all(better)


def test_a_better_challenger_is_not_called_worse() -> None:
    times = shown(
        lambda one: one.shown_worse, champion=0.4, challenger=0.5, share=0.3, n=300, runs=40
    )
    assert sum(map(bool, times)) <= 1


def test_evidence_needs_both_and_grows_with_what_is_seen() -> None:
    nothing = evidence(Stream(0, 0), Stream(0, 0))
    assert (nothing.worse, nothing.better) == pytest.approx((1, 1))
    assert evidence(Stream(50, 50), Stream(0, 0)).p_worse == 1
    few, many = (evidence(Stream(n, n), Stream(0, n)) for n in (2, 30))
    assert not few.shown_worse
    assert many.shown_worse
    assert many.p_worse < ALPHA / 1000
    assert evidence(Stream(0, 30), Stream(30, 30)).better == pytest.approx(many.worse)
    huge = evidence(Stream(100_000, 100_000), Stream(0, 100_000))
    assert huge.worse == math.inf
    assert huge.p_worse == 0


def test_the_interval_holds_the_rate_at_every_look() -> None:
    assert interval(Stream(0, 0)) == (0, 1)
    missed = 0
    for seed in range(40):
        for _, two in looks(0.5, 0.3, share=1.0, n=150, seed=seed):
            low, high = interval(two)
            if not low <= 0.3 <= high:
                missed += 1
                break
    assert missed <= 5  # more come in 1 of 70 tries at 5 %
    low, high = interval(Stream(300, 1000))
    assert 0.24 < low < 0.3 < high < 0.36
    assert interval(Stream(10, 10))[1] == 1
    assert interval(Stream(0, 10))[0] == 0
