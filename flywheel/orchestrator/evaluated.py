"""What came of evaluating: of each version its outcomes, and how each compares with the first."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from flywheel.core.ending import EXHAUSTED
from flywheel.optimize.gate import Comparison
from flywheel.orchestrator.drawn import Drawn
from flywheel.orchestrator.measure import Failed, version_of
from flywheel.programs import Estimate, Metric, mean_of
from flywheel.registry import Version
from flywheel.store import EVALUATE, Figure, KeptOutcome, Trialled


@dataclass(slots=True)
class Standing:
    """What came of one version."""

    version: Version
    """The version."""
    trialled: Trialled
    """What its outcomes are known by."""
    model: str
    """The model that answers."""
    known: int = 0
    """Outcomes that the store had."""
    now: int = 0
    """Outcomes of this run."""
    outcomes: dict[str, KeptOutcome] = field(default_factory=dict)
    """Outcomes by example id, the unknown ones too."""

    @property
    def values(self) -> dict[str, float | None]:
        """Values by example id."""
        return {key: one.value for key, one in self.outcomes.items()}

    @property
    def n(self) -> int:
        """Rows whose value is known."""
        return sum(one.value is not None for one in self.outcomes.values())

    @property
    def unknown(self) -> Counter[str]:
        """Reason -> outcomes that are not known."""
        return Counter(one.reason for one in self.outcomes.values() if one.value is None)

    @property
    def failures(self) -> Counter[str]:
        """Kind of failure -> rows without an answer; they are worth nothing."""
        return Counter(one.failure for one in self.outcomes.values() if one.failure)

    def estimate(self, seed: int) -> Estimate:
        """The mean over the rows that are known."""
        known = {key: (value,) for key, value in self.values.items() if value is not None}
        return mean_of(known, seed=seed)

    @property
    def usd(self) -> float | None:
        """US dollars that a row costs, None where a price is not known or there is none."""
        costs = [one.usd for one in self.outcomes.values()]
        if not costs or None in costs:
            return None
        return sum(one or 0.0 for one in costs) / len(costs)

    def latency(self, percentile: int) -> float | None:
        """Seconds that a row's calls take, None where none is known."""
        known = [one.seconds for one in self.outcomes.values() if one.seconds is not None]
        return float(np.percentile(known, percentile)) if known else None

    @property
    def tokens(self) -> tuple[float, float] | None:
        """Tokens read and written for a row, in the mean; None of no row."""
        if not self.outcomes:
            return None
        every = self.outcomes.values()
        read, written = (sum(one.input_tokens for one in every),
                         sum(one.output_tokens for one in every))  # fmt: skip
        return read / len(every), written / len(every)


@dataclass(frozen=True, slots=True)
class Regression:
    """A row that the challenger does worse than the champion."""

    example_id: str
    """The example."""
    repo: str
    """Its repository."""
    path: str
    """The file with the bug."""
    error: str
    """How the bug fails, in a line."""
    before: float
    """The champion's value."""
    after: float
    """The challenger's."""
    reason: str
    """What is said of the challenger's answer."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One version beside the first."""

    champion: str
    """Id of the first."""
    challenger: str
    """Id of the other."""
    comparison: Comparison | None
    """Row by row; None where too few rows are known of both."""
    regressions: tuple[Regression, ...]
    """Rows that got worse, the worst first."""
    refused: str
    """Why this is no verdict, empty where it is one."""


@dataclass(slots=True)
class Evaluated:
    """What came of evaluating."""

    run_id: str
    """Identity of the run."""
    drawn: Drawn
    """The rows."""
    metric: Metric
    """The metric."""
    judge: str
    """The model that judged, empty where none did."""
    standings: list[Standing]
    """What came of each version, the first of them the champion."""
    compared: list[Compared] = field(default_factory=list)
    """Each further version beside the first."""
    failed: list[Failed] = field(default_factory=list)
    """Answers that the metric failed on."""
    judged: int = 0
    """Changes that the tests were run on in this run."""
    ended: str = EXHAUSTED
    """`exhausted`, `interrupted`, `budget` or `time-limit`."""
    usd: float = 0.0
    """US dollars that models cost in this run, one that judges among them."""
    tokens: int = 0
    """Tokens that they have read and written in this run."""
    seconds: float = 0.0
    """Wall time."""


def evaluate_figures(done: Evaluated, seed: int) -> list[Figure]:
    """Of each version its score, what a row costs, and how long one takes."""
    version = version_of(done.metric, done.judge)
    found = []
    for one in done.standings:
        mean = one.estimate(seed)
        detail = {
            "model": one.model,
            "unknown": one.unknown.total(),
            "failures": dict(one.failures),
            "rows": len(done.drawn.rows),
            "usd_per_row": one.usd,
            "latency_p50": one.latency(50),
            "latency_p90": one.latency(90),
        }
        found.append(
            Figure(
                run_id=done.run_id,
                kind=EVALUATE,
                subject=f"{one.version.id} on {done.drawn.name}",
                metric=done.metric.name,
                value=mean.value,
                n=mean.n,
                low=mean.low,
                high=mean.high,
                version=f"{version} answered by {one.model}",
                detail=detail,
            )
        )
    return found


def evaluated_summary(done: Evaluated, seed: int) -> dict[str, Any]:
    """What came of it, as JSON can say it; `flywheel evaluate` adds what came of each row."""
    return {
        "run": done.run_id,
        "module": done.standings[0].version.manifest.module.name,
        "dataset": done.drawn.dataset.id,
        "split": done.drawn.split,
        "rows": len(done.drawn.rows),
        "of": done.drawn.of,
        "seed": done.drawn.seed,
        "metric": {"name": done.metric.name, "version": done.metric.version,
                   "hash": done.metric.hash, "judge": done.judge or None},
        "versions": [_standing_summary(one, seed) for one in done.standings],
        "compared": [_compared_summary(one) for one in done.compared],
        "failed": [asdict(one) for one in done.failed],
        "judged": done.judged,
        "ended": done.ended,
        "usd": done.usd,
        "tokens": done.tokens,
        "seconds": round(done.seconds, 2),
    }  # fmt: skip


def _standing_summary(one: Standing, seed: int) -> dict[str, Any]:
    tokens = one.tokens
    return {
        "version": one.version.id,
        "model": one.model,
        "known": one.known,
        "now": one.now,
        "mean": asdict(one.estimate(seed)),
        "unknown": dict(one.unknown.most_common()),
        "failures": dict(one.failures.most_common()),
        "usd_per_row": one.usd,
        "latency": {"p50": one.latency(50), "p90": one.latency(90)},
        "tokens_per_row": None
        if tokens is None
        else {"input": round(tokens[0], 1), "output": round(tokens[1], 1)},
    }


def _compared_summary(one: Compared) -> dict[str, Any]:
    found = one.comparison
    return {
        "champion": one.champion,
        "challenger": one.challenger,
        "refused": one.refused or None,
        "comparison": None
        if found is None
        else {**asdict(found), "better": found.better, "worse": found.worse,
              "sentence": found.sentence},
        "regressions": [asdict(each) for each in one.regressions],
    }  # fmt: skip


def outcome_rows(done: Evaluated) -> list[dict[str, Any]]:
    """What came of each row, as JSON can say it; the answers are in the store."""
    return [
        {
            "example_id": row.id,
            "repo": row.fields["repo"],
            "path": row.fields["path"],
            "versions": {
                one.version.id: {
                    name: getattr(kept, name)
                    for name in ("value", "reason", "failure", "usd", "seconds",
                                 "input_tokens", "output_tokens")
                }
                for one in done.standings
                if (kept := one.outcomes.get(row.id)) is not None
            },
        }
        for row in done.drawn.rows
    ]  # fmt: skip
