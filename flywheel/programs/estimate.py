"""Estimates: a mean of a sample, and the interval in which that of all would lie.

Shares get Wilson's interval. Other means, and shares of which several answers belong to one case,
are drawn again with replacement, case by case: answers to one case are no independent evidence.
Where all cases are alike such draws say nothing of the spread; then each case counts as one answer
of yes or no, which is the widest that a mean from 0 to 1 can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flywheel.store import wilson

DRAWS = 2000
"""How often a sample is drawn again: the ends of the interval then move by less than a hundredth
of its width from seed to seed."""
_AT_ONCE = 2_000_000
"""Numbers drawn at once, so that a large sample needs no large memory."""
TAIL = 2.5
"""Percent of the draws outside of each end of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its sample and its interval."""

    value: float | None
    """The mean, None of nothing."""
    n: int
    """Values in the sample."""
    low: float | None
    """Lower end of the 95 % interval, None where there is none."""
    high: float | None
    """Upper end."""


def share_of(part: int, whole: int) -> Estimate:
    """A share of so many, with Wilson's interval."""
    if not whole:
        return Estimate(None, 0, None, None)
    interval = wilson(part, whole)
    return Estimate(part / whole, whole, interval.low, interval.high)


def mean_of(groups: Mapping[str, Sequence[float]], *, seed: int = 0) -> Estimate:
    """The mean of all values; those of one group belong together.

    The same groups and the same seed have the same ends, in whatever order they came.
    """
    ordered = [groups[key] for key in sorted(groups) if groups[key]]
    values = [value for group in ordered for value in group]
    if not values:
        return Estimate(None, 0, None, None)
    alone = len(values) == len(ordered)
    if alone and set(values) <= {0.0, 1.0}:
        return share_of(int(sum(values)), len(values))
    sums = np.array([sum(group) for group in ordered])
    sizes = np.array([len(group) for group in ordered])
    mean = float(np.mean(values))
    if len(sums) < 2:
        return Estimate(mean, len(values), None, None)
    drawn = np.concatenate(
        [sums[pick].sum(axis=1) / sizes[pick].sum(axis=1) for pick in draws(len(sums), seed=seed)]
    )
    low, high = map(float, np.percentile(drawn, [TAIL, 100 - TAIL]))
    if low == high:
        if not 0 <= mean <= 1:
            return Estimate(mean, len(values), None, None)
        widest = wilson(round(mean * len(sums)), len(sums))
        low, high = min(mean, widest.low), max(mean, widest.high)
    return Estimate(mean, len(values), low, high)


def draws(groups: int, *, seed: int, count: int = DRAWS) -> Iterator[NDArray[np.int64]]:
    """Which groups are drawn, one row a draw, in blocks that fit the memory."""
    random = np.random.default_rng(seed)
    block = max(1, min(count, _AT_ONCE // groups))
    for done in range(0, count, block):
        yield random.integers(0, groups, size=(min(block, count - done), groups))
