"""Two versions of a program on live traffic: a test that may be looked at after every outcome.

The evidence is the probability of what was seen under a mixture over all pairs of rates (Krichevsky
and Trofimov, 1981), beside the greatest that any pair allows in which the challenger is no worse.
Such a ratio is an e-process (Wasserman, Ramdas and Balakrishnan, PNAS 117:16880-16890, 2020): where
the challenger is no worse it ever reaches `1 / alpha` with a probability of at most `alpha`,
however often it is looked at and however the traffic is shared (Ville, 1939). It depends on counts
alone, so outcomes may come late and in any order.

It takes outcomes to be independent, and the rate of each version to stay. It is slower than a test
whose size is fixed before: that is the price of looking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ALPHA = 0.05
"""Chance that a version which is no worse is ever called worse."""
_PRECISION = 1e-6
"""Width at which the search for the end of an interval stops."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Outcomes of one version."""

    successes: int
    """Outcomes that were good."""
    n: int
    """All outcomes."""

    @property
    def rate(self) -> float | None:
        """Share of good ones, None of nothing."""
        return self.successes / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What two streams say, at any time."""

    worse: float
    """Evidence that the challenger is worse; from `1 / alpha` on it is shown. Never below 0."""
    better: float
    """Evidence that it is better."""
    alpha: float
    """Chance of an error that is borne, of each of the two."""

    @property
    def shown_worse(self) -> bool:
        """Whether the challenger is shown to be worse."""
        return self.worse >= 1 / self.alpha

    @property
    def shown_better(self) -> bool:
        """Whether it is shown to be better."""
        return self.better >= 1 / self.alpha

    @property
    def p_worse(self) -> float:
        """The p-value of being worse, valid whenever it is looked at."""
        return min(1.0, 1 / self.worse) if self.worse else 1.0


def evidence(champion: Stream, challenger: Stream, *, alpha: float = ALPHA) -> Evidence:
    """What there is to say of a challenger now."""
    mixed = _mixture(champion) + _mixture(challenger)
    apart = _greatest(champion) + _greatest(challenger)
    same = _greatest(Stream(champion.successes + challenger.successes, champion.n + challenger.n))
    before, after = champion.rate, challenger.rate
    behind = before is not None and after is not None and after < before
    ahead = before is not None and after is not None and after > before
    # The most likely of what "no worse" allows: the rates as they are, or else one for both.
    return Evidence(
        worse=_exp(mixed - (same if behind else apart)),
        better=_exp(mixed - (same if ahead else apart)),
        alpha=alpha,
    )


def interval(stream: Stream, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Ends between which the rate lies at all times at once, with a chance of `1 - alpha`."""
    if not stream.n:
        return 0.0, 1.0
    limit = _mixture(stream) - math.log(1 / alpha)
    rate = stream.successes / stream.n

    def end(outer: float) -> float:
        inner = rate
        while abs(outer - inner) > _PRECISION:
            middle = (inner + outer) / 2
            if _likelihood(stream, middle) < limit:
                outer = middle
            else:
                inner = middle
        return outer

    return end(0.0), end(1.0)


def _mixture(stream: Stream) -> float:
    """Log of the probability of the outcomes under Jeffreys' mixture over all rates."""
    return _log_beta(stream.successes + 0.5, stream.n - stream.successes + 0.5) - math.log(math.pi)


def _greatest(stream: Stream) -> float:
    """Log of the greatest probability that one rate gives the outcomes."""
    return _likelihood(stream, stream.successes / stream.n) if stream.n else 0.0


def _likelihood(stream: Stream, rate: float) -> float:
    """Log of the probability of the outcomes, in their order, at a rate."""
    failures = stream.n - stream.successes
    found = 0.0
    for count, chance in ((stream.successes, rate), (failures, 1 - rate)):
        if count:
            found += count * math.log(chance) if chance > 0 else -math.inf
    return found


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _exp(logarithm: float) -> float:
    """The number of a logarithm; infinity where it is too large for a float."""
    try:
        return math.exp(logarithm)
    except OverflowError:
        return math.inf
