"""The gate: two versions of a program on the same rows, and whether one is better.

Values that are all 0 or 1 are compared by the exact test of McNemar (1947): of the rows on which
the two differ, a fair coin would decide. The interval of the difference is Tango's score interval
(Statistics in Medicine 17:891-908, 1998). Other values are drawn again in pairs, each draw measured
in its own standard errors and centred (Hall and Wilson, Biometrics 47:757-762, 1991); test and
interval then are two readings of the same draws. A row that is not known of both is counted, and is
in no figure. Pure: it runs nothing, and knows no store.

Bugs of one definition are no independent evidence: who mends one of them mends its like. So a coin
decides each definition as a whole, draws are of definitions, and the score interval is that of as
many rows as these are worth (Eliasziw and Donner, Statistics in Medicine 10:1981-1991, 1991). Where
each row is of a definition of its own, all are what they are named after.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from flywheel.core.errors import DatasetError, UsageError
from flywheel.core.wording import number
from flywheel.programs import Estimate, draws, mean_of

ALPHA = 0.05
"""Share of comparisons of equals that may be called a difference."""
POWER = 0.8
"""Share of real differences that a gate of the size `needed` finds."""
EFFECT = 0.1
"""The difference that a gate should see where no other is named: ten points of a hundred."""
DISCORDANT = 0.2
"""Share of rows on which two versions differ, where it is not known yet."""
LEAST = math.ceil(1 - math.log2(ALPHA))
"""Rows on which the two must differ before the exact test can say anything: 6."""

MCNEMAR, BOOTSTRAP = "mcnemar-exact", "paired-bootstrap"
"""Names of the tests."""

_ROUNDING = 1e-12
"""Of equal numbers: their deviation over their mean, as it is computed, stays below that."""
_DRAWS = 20_000
"""Draws of a paired bootstrap: the least p-value, 5e-5, is below what the thirtieth look asks."""
_EXACT_UP_TO = 20_000
"""Rows up to which the power is summed exactly; beyond it the formula is off by less than 1 %."""
_AT_ALPHA, _AT_POWER = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)
"""Quantiles of the normal distribution, two-sided and one-sided."""
_PRECISION = 1e-10
"""Width at which the search for the end of an interval stops."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the same rows under two versions."""

    n: int
    """Rows with a value of both."""
    champion: Estimate
    """Mean of the version that is to be beaten, on these rows."""
    challenger: Estimate
    """Mean of the version that is to beat it."""
    difference: float
    """Challenger less champion."""
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    """Upper end."""
    p_value: float
    """How often equals would differ at least so much, two-sided."""
    p_at_worst: float
    """The same of a gain, whatever the rows are worth that are known of one of the two alone: at
    the worst all for the champion, and nothing for the challenger. 1 where nothing is left."""
    test: str
    """`mcnemar-exact` or `paired-bootstrap`."""
    regressions: tuple[str, ...]
    """Rows that the challenger does worse, the worst first."""
    gains: tuple[str, ...]
    """Rows that it does better, the best first."""
    unknown: int
    """Rows without a value of one or both; they are in no figure."""
    definitions: int
    """Definitions that the rows are of."""
    differing: int
    """Those that the two differ on, gains and regressions of each taken together."""
    effect: float
    """How many of these rows are worth one of a definition of its own (Kish's design effect)."""

    @property
    def better(self) -> bool:
        """Whether the challenger is significantly better."""
        return self.difference > 0 and self.p_at_worst < ALPHA

    @property
    def deciding_p(self) -> float:
        """What is held against a level: a gain counts at its worst."""
        return self.p_at_worst if self.better else self.p_value

    @property
    def worse(self) -> bool:
        """Whether the challenger is significantly worse."""
        return self.p_value < ALPHA and self.difference < 0

    @property
    def sentence(self) -> str:
        """The finding, for a person."""
        found = (
            f"{100 * self.difference:+.1f} points (95 % {100 * self.low:+.1f} to"
            f" {100 * self.high:+.1f}), p = {self.p_value:.2g}, on {self.n:,} rows"
        )
        alike = self.definitions < self.n
        if alike:
            found += f" of {number(self.definitions, 'definition')}"
        if self.difference > 0 and self.p_at_worst > self.p_value:
            found += f" (p = {self.p_at_worst:.2g} where what is not known of both is at its worst)"
        if self.better:
            return f"Better: {found}."
        if self.worse:
            return f"Worse: {found}."
        if self.p_value < ALPHA:
            return (
                f"Not shown to be better: {found}; {self.unknown:,} more are not known of both, and"
                " at their worst nothing is left of it."
            )
        if self.test == MCNEMAR and self.differing < LEAST:
            of = f"{self.differing} of them"
            if alike:
                of = number(self.differing, "definition")
                of += ", gains and losses of each taken together"
            return (
                f"Not shown to be better: {found}; the two differ on {of},"
                f" and {LEAST} are the least that can show anything."
            )
        if self.test == MCNEMAR and self.difference > 0:
            share = (len(self.gains) + len(self.regressions)) / self.n
            more = math.ceil(needed(self.difference, share) * self.effect)
            return f"Not shown to be better: {found}; a gain of this size takes {more:,} rows."
        return f"Not shown to be better: {found}."


def level(look: int) -> float:
    """What the p-value of the `look`-th look at the same rows must stay below; the first is 1.

    Whoever looks often calls equals a difference at some time. The levels of all looks, however
    many, add up to `ALPHA`, so that by the union bound they do so together in no larger a share.
    """
    return ALPHA / (look * (look + 1))


def compare(
    champion: Mapping[str, float | None],
    challenger: Mapping[str, float | None],
    *,
    of: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare values by example id; only rows that are known of both count.

    `of` is the definition that an example is of, by its id; without it each has one of its own.
    Raises `DatasetError` for fewer than `LEAST` definitions: nothing could ever be shown on them.
    """
    every = champion.keys() | challenger.keys()
    pairs = {
        key: (before, after)
        for key in sorted(every)
        if (before := champion.get(key)) is not None and (after := challenger.get(key)) is not None
    }
    unknown = len(every) - len(pairs)
    place = of or {}
    named = [place.get(key, key) for key in pairs]
    require(len(pairs), definitions=len(set(named)), unknown=unknown)
    changes = {key: after - before for key, (before, after) in pairs.items()}
    ranked = sorted(changes, key=lambda key: (changes[key], key))
    regressions = tuple(key for key in ranked if changes[key] < 0)
    gains = tuple(key for key in sorted(ranked, key=lambda key: -changes[key]) if changes[key] > 0)
    values = np.array(list(changes.values()))
    binary = all(value in (0, 1) for pair in pairs.values() for value in pair)
    rows = _Rows.of(values, named)
    p_value, low, high = _tested(rows, binary=binary, seed=seed)
    worst = {
        key: (0.0 if after is None else after) - (1.0 if before is None else before)
        for key in sorted(every)
        if ((before := champion.get(key)) is None) != ((after := challenger.get(key)) is None)
    }
    p_at_worst = p_value
    if worst and values.mean() > 0:
        with_worst = _Rows.of(
            np.concatenate([values, list(worst.values())]),
            [*named, *(place.get(key, key) for key in worst)],
        )
        whole = binary and set(worst.values()) <= {-1.0, 0.0}
        p_at_worst = 1.0
        if with_worst.mean > 0:
            p_at_worst = max(p_value, _tested(with_worst, binary=whole, seed=seed)[0])
    return Comparison(
        n=len(pairs),
        champion=mean_of({key: (before,) for key, (before, _) in pairs.items()}, seed=seed),
        challenger=mean_of({key: (after,) for key, (_, after) in pairs.items()}, seed=seed),
        difference=float(values.mean()),
        low=low,
        high=high,
        p_value=p_value,
        test=MCNEMAR if binary else BOOTSTRAP,
        regressions=regressions,
        gains=gains,
        unknown=unknown,
        p_at_worst=p_at_worst,
        definitions=len(rows.sums),
        differing=int((np.abs(rows.sums) > _ROUNDING).sum()),
        effect=rows.effect,
    )


def require(rows: int, *, definitions: int | None = None, unknown: int = 0) -> None:
    """Refuse a split on which no difference could ever be significant.

    `definitions` are those that the rows are of; none: each of its own. Raises `DatasetError` that
    names how many rows the gate needs.
    """
    if min(rows, rows if definitions is None else definitions) >= LEAST:
        return
    more = f"; {unknown:,} more are not known of both" if unknown else ""
    few, noun = f"{rows} rows", "rows"
    if definitions is not None and definitions < rows:
        few, noun = f"{rows} rows of {number(definitions, 'definition')}", "definitions"
    raise DatasetError(
        f"{few} are too few for a gate: {LEAST} {noun} are the least that can show anything.",
        cause=f"fewer than {LEAST} {noun} that differ are never significant at {ALPHA:g}{more}",
        hint=f"to see {100 * EFFECT:.0f} points where {100 * DISCORDANT:.0f} % of the rows differ,"
        f" {needed():,} rows are needed: build a dataset with a larger split",
    )


def needed(difference: float = EFFECT, discordant: float = DISCORDANT) -> int:
    """Rows that a gate needs to find a difference of shares in four of five tries.

    `discordant` is the share of rows on which the two differ, at the least the difference itself.
    The power of the exact test is summed over what may be drawn; of very many rows it is that of
    the normal approximation (Connor, Biometrics 43:207-211, 1987). Raises `UsageError` for what no
    two versions can have.
    """
    if not 0 < abs(difference) <= discordant <= 1:
        raise UsageError(
            f"A difference of {difference:g} where a share of {discordant:g} differs cannot be.",
            hint="the share lies between the difference and 1, and the difference is not 0",
        )
    size = abs(difference)
    spread = math.sqrt(discordant - size**2)
    formula = ((_AT_ALPHA * math.sqrt(discordant) + _AT_POWER * spread) / size) ** 2
    rows = max(LEAST, math.ceil(formula))
    if rows > _EXACT_UP_TO:
        return rows
    low, high = LEAST, rows
    power = _Power(size, discordant)
    while power.of(high) < POWER:
        low, high = high, high + max(1, high // 4)
    while low < high:
        middle = (low + high) // 2
        if power.of(middle) < POWER:
            low = middle + 1
        else:
            high = middle
    return high


def flips(sums: NDArray[np.float64]) -> float:
    """Two-sided p-value of whole changes of definitions, each of which a fair coin would turn.

    Exact. Where none is more than 1 it is McNemar's.
    """
    sizes = np.abs(sums[sums != 0]).astype(int)
    if sizes.size == 0 or sizes.max() == 1:
        return mcnemar(int((sums > 0).sum()), int((sums < 0).sum()))
    reach, seen = int(sizes.sum()), abs(int(sums.sum()))
    if seen == 0:
        return 1.0
    likely = np.zeros(2 * reach + 1)  # how likely the sum of the turned changes is -reach to reach
    likely[reach] = 1
    for size in sizes:
        half, likely = likely / 2, np.zeros_like(likely)
        likely[size:] += half[:-size]
        likely[:-size] += half[size:]
    return float(min(1.0, 2 * likely[reach + seen :].sum()))


def mcnemar(gains: int, regressions: int) -> float:
    """Two-sided p-value of so many rows one way and so many the other; 1 where none differs."""
    differing = gains + regressions
    ways = tail = 1
    for fewer in range(min(gains, regressions)):
        ways = ways * (differing - fewer) // (fewer + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << differing))


def tango(gains: float, regressions: float, rows: float) -> tuple[float, float]:
    """Ends of the 95 % score interval of the difference of two paired shares (Tango 1998).

    Of rows that are worth fewer, each count is what it is worth.
    """
    difference = (gains - regressions) / rows

    def far(shift: float) -> bool:
        """Whether a true difference of so much is too far from what was seen."""
        b = (2 * rows - gains + regressions) * shift - gains - regressions
        c = -regressions * shift * (1 - shift)
        share = (math.sqrt(max(0.0, b * b - 8 * rows * c)) - b) / (4 * rows)
        variance = rows * (2 * share + shift * (1 - shift))
        distance = gains - regressions - rows * shift
        return distance**2 > _AT_ALPHA**2 * max(variance, 0.0)

    def end(inner: float, outer: float) -> float:
        while abs(outer - inner) > _PRECISION:
            middle = (inner + outer) / 2
            if far(middle):
                outer = middle
            else:
                inner = middle
        return inner

    return end(difference, -1.0), end(difference, 1.0)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Changes of rows, and the same by definition."""

    values: NDArray[np.float64]
    """Of each row."""
    sums: NDArray[np.float64]
    """Of each definition, all its rows together."""
    sizes: NDArray[np.int64]
    """Its rows."""

    @classmethod
    def of(cls, values: NDArray[np.float64], named: Sequence[str]) -> Self:
        """The changes of rows, with the definition of each."""
        _, place = np.unique(np.array(named), return_inverse=True)
        sums = np.bincount(place, weights=values).astype(np.float64)
        return cls(values, sums, np.bincount(place))

    @property
    def mean(self) -> float:
        """Of all rows."""
        return float(self.values.mean())

    @property
    def effect(self) -> float:
        """How many rows are worth one: the variance of the mean over that of as many lone rows."""
        rows, groups = len(self.values), len(self.sums)
        if rows == groups:
            return 1.0
        alone = rows / (rows - 1) * float(((self.values - self.mean) ** 2).sum())
        if groups == 1 or alone <= _ROUNDING:
            return rows / groups  # nothing tells them from one another
        off = self.sums - self.sizes * self.mean
        return max(1.0, groups / (groups - 1) * float((off**2).sum()) / alone)


def _tested(rows: _Rows, *, binary: bool, seed: int) -> tuple[float, float, float]:
    """The p-value of changes whose mean would be 0, and both ends of their mean's interval."""
    if not binary:
        return _bootstrap(rows, seed=seed)
    up, down = int((rows.values > 0).sum()), int((rows.values < 0).sum())
    one = rows.effect
    return flips(rows.sums), *tango(up / one, down / one, len(rows.values) / one)


def _bootstrap(rows: _Rows, *, seed: int) -> tuple[float, float, float]:
    """The p-value of a mean of 0, and both ends of the mean's 95 % interval."""
    groups, mean = len(rows.sums), rows.mean
    whole = rows.sums[None, :], rows.sizes[None, :]
    error = float(_errors(*whole, np.array([mean]))[0])
    if error <= abs(mean) * _ROUNDING:
        # Every row changes by the same, up to the last digits of a sum: draws say nothing of the
        # spread, the signs do.
        up, down = (groups if mean > 0 else 0), (groups if mean < 0 else 0)
        low, high = tango(up, down, groups)
        return mcnemar(up, down), min(mean, low), max(mean, high)
    picked = draws(groups, seed=seed, count=_DRAWS)
    distances = np.concatenate(
        [_distances(rows.sums[pick], rows.sizes[pick], mean) for pick in picked]
    )
    as_far = int((distances >= abs(mean) / error).sum())
    p_value = (as_far + 1) / (len(distances) + 1)
    # The distance that a share of `ALPHA` of the draws reaches, so that the interval and the
    # p-value say the same of a difference of 0.
    place = math.floor(ALPHA * (len(distances) + 1))
    reach = float(np.sort(distances)[len(distances) - place]) * error
    return p_value, max(-1.0, mean - reach), min(1.0, mean + reach)


def _distances(
    sums: NDArray[np.float64], sizes: NDArray[np.int64], mean: float
) -> NDArray[np.float64]:
    """How far the mean of each draw is from that of the sample, in its own standard errors."""
    means = sums.sum(axis=1) / sizes.sum(axis=1)
    off = np.abs(means - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.where(off == 0, 0.0, off / _errors(sums, sizes, means))
    return found


def _errors(
    sums: NDArray[np.float64], sizes: NDArray[np.int64], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Standard errors of means, one a line, of rows that come by definitions."""
    groups = sums.shape[1]
    spread = ((sums - sizes * means[:, None]) ** 2).sum(axis=1) * groups / (groups - 1)
    found: NDArray[np.float64] = np.sqrt(spread) / sizes.sum(axis=1)
    return found


class _Power:
    """How often the exact test finds a gain of a size, in any number of rows."""

    def __init__(self, difference: float, discordant: float) -> None:
        self._discordant = discordant
        self._gain = (discordant + difference) / (2 * discordant)
        self._known: dict[int, float] = {}

    def of(self, rows: int) -> float:
        """How often in so many rows."""
        logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, rows + 1)))])
        seen = _binomial(rows, self._discordant, logs)
        likely = np.flatnonzero(seen > seen.max() * _PRECISION)
        return float(sum(seen[one] * self._among(int(one), logs) for one in likely))

    def _among(self, differing: int, logs: NDArray[np.float64]) -> float:
        """How often where so many rows differ; it does not depend on how many do not."""
        if differing not in self._known:
            chance = np.cumsum(_binomial(differing, 0.5, logs))
            # Counts of regressions with which a gain is still significant.
            few = int((2 * chance < ALPHA).sum())
            regressions = _binomial(differing, 1 - self._gain, logs)
            self._known[differing] = float(regressions[:few].sum())
        return self._known[differing]


def _binomial(tries: int, share: float, logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each count of so many tries; `logs` are those of the factorials."""
    if share in (0, 1):
        sure: NDArray[np.float64] = (np.arange(tries + 1) == tries * share).astype(np.float64)
        return sure
    counts = np.arange(tries + 1)
    ways = logs[tries] - logs[counts] - logs[tries - counts]
    exponents = ways + counts * math.log(share) + (tries - counts) * math.log(1 - share)
    probabilities: NDArray[np.float64] = np.exp(exponents)
    return probabilities
