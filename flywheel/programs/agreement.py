"""Agreement of a judge with what the tests say, and whether the judge may drive anything.

Kappa is Cohen's (1960): agreement beyond what the two would have by chance, 1 for always, 0 for
chance. A judge may drive where even the lower end of its interval is substantial (Landis and Koch,
1977), on a sample that holds enough of both kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flywheel.programs.estimate import TAIL, draws

SUBSTANTIAL = 0.6
"""Kappa that the lower end of the interval must reach."""
LEAST = 30
"""Answers that both must have judged."""
LEAST_OF_EACH = 5
"""Of them, those that mend and those that do not."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer, judged twice."""

    example_id: str
    """The case that it answers."""
    accepted: bool
    """What the judge says."""
    resolved: bool
    """What the tests say."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a judge says what the tests say."""

    both_accept: int
    """Answers that the judge accepts, and that mend."""
    judge_alone: int
    """Answers that the judge accepts, and that do not mend."""
    tests_alone: int
    """Answers that the judge turns down, and that mend."""
    both_reject: int
    """Answers that the judge turns down, and that do not mend."""
    kappa: float | None
    """Cohen's kappa, None where one of them says the same of all."""
    low: float | None
    """Lower end of its 95 % interval, None where there is none."""
    high: float | None
    """Upper end."""

    @property
    def n(self) -> int:
        """Answers that both have judged."""
        return self.both_accept + self.judge_alone + self.tests_alone + self.both_reject

    @property
    def agree(self) -> int:
        """Answers of which both say the same."""
        return self.both_accept + self.both_reject

    @property
    def may_drive(self) -> bool:
        """Whether a gate or an optimiser may go by this judge."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why the judge may drive nothing, empty where it may."""
        mends = self.both_accept + self.tests_alone
        if self.n < LEAST:
            return f"only {self.n} answers were judged by both, and {LEAST} are needed"
        if min(mends, self.n - mends) < LEAST_OF_EACH:
            return f"{mends} of {self.n} answers mend: {LEAST_OF_EACH} of each kind are needed"
        if self.kappa is None or self.low is None:
            return "it says the same of every answer"
        if self.low < SUBSTANTIAL:
            return f"its kappa may be as low as {self.low:.2f}, and {SUBSTANTIAL} is needed"
        return ""

    @property
    def sentence(self) -> str:
        """The finding, for a person."""
        if self.why_not:
            return f"This judge may drive nothing: {self.why_not}."
        return (
            f"This judge may stand in for the tests: its kappa is at least {self.low:.2f}"
            f" on {self.n} answers."
        )


def agreement(judged: Sequence[Judgement], *, seed: int = 0) -> Agreement:
    """Compare a judge with the tests; answers to one case are drawn together."""
    groups: dict[str, list[int]] = {}
    for one in judged:
        row = groups.setdefault(one.example_id, [0, 0, 0, 0])
        row[2 * (not one.accepted) + (not one.resolved)] += 1
    counts = np.array([groups[key] for key in sorted(groups)], dtype=np.int64).reshape(-1, 4)
    total = counts.sum(axis=0)
    kappa = float(_kappa(total[None, :])[0])
    low = high = None
    if len(groups) > 1 and not np.isnan(kappa):
        picked = draws(len(groups), seed=seed)
        drawn = np.concatenate([_kappa(counts[pick].sum(axis=1)) for pick in picked])
        # A draw in which one of them says the same of all shows no agreement beyond chance.
        ends = np.percentile(np.nan_to_num(drawn), [TAIL, 100 - TAIL])
        low, high = float(ends[0]), float(ends[1])
    defined = None if np.isnan(kappa) else kappa
    both, judge, tests, neither = map(int, total)
    return Agreement(both, judge, tests, neither, defined, low, high)


def _kappa(tables: NDArray[np.int64]) -> NDArray[np.float64]:
    """Kappa of tables (both accept, judge alone, tests alone, both reject); NaN where undefined."""
    both, judge, tests, neither = (tables[:, i].astype(np.float64) for i in range(4))
    n = both + judge + tests + neither
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = (both + neither) / n
        chance = ((both + judge) * (both + tests) + (tests + neither) * (judge + neither)) / n**2
        found: NDArray[np.float64] = np.where(
            chance < 1, (observed - chance) / (1 - chance), np.nan
        )
    return found
