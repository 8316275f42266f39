"""Evaluating: versions of a program on the same rows, each outcome stored as it comes.

Rows stand in the order of what they were proven in, so that the tests of one repository are set up
once for all versions; models answer some rows ahead of the judging. Running it again runs what has
no result: one is known by the version, by what answers for it, the metric, the model that judges
and the example. What is not known is tried again.

Versions are compared row by row with the first of them. The verdict is refused where the metric is
a judge that may drive nothing, and where a version has learned from the rows.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.core.ending import BUDGET, EXHAUSTED, INTERRUPTED
from flywheel.core.errors import BudgetError, DatasetError, UsageError
from flywheel.core.events import EventBus, RowEvaluated
from flywheel.core.identity import content_hash
from flywheel.core.settings import Settings
from flywheel.curate import SPLITS
from flywheel.curate import Version as Dataset
from flywheel.lm import Role
from flywheel.optimize.gate import Comparison, compare, require
from flywheel.orchestrator.measure import (
    KEEP_SECONDS,
    Failed,
    agreement_of,
    version_of,
)
from flywheel.orchestrator.models import Allowance, Models
from flywheel.orchestrator.player import Player, ready
from flywheel.orchestrator.tools import Toolbox
from flywheel.programs import Answer, Case, Estimate, Metric, Score, mean_of
from flywheel.programs.row import Row, rows_of
from flywheel.registry import Registry, Version, record_comparison
from flywheel.store import (
    EVALUATE,
    Figure,
    KeptOutcome,
    Run,
    Store,
    Trialled,
    bought,
    outcomes_of,
    record_figures,
    record_outcomes,
    record_run,
    seen_by,
)
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.optimize.run import Done, Job

P50, P90 = 50, 90
"""Percentiles of the latency that are told."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows that are evaluated."""

    dataset: Dataset
    """The dataset."""
    split: str
    """Its split."""
    rows: tuple[Row, ...]
    """The rows, those that were proven in the same place one after the other."""
    baselines: Mapping[str, str]
    """What each was proven in, by example id."""
    of: int
    """Examples of the whole split."""
    seed: int
    """Seed of the draw, where there are fewer rows than examples."""

    @property
    def name(self) -> str:
        """Which rows these are, for people and figures."""
        told = f"{self.split} of {self.dataset.id}"
        return told if len(self.rows) == self.of else f"{len(self.rows)} rows of {told}"


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
    """`exhausted`, `interrupted` or `budget`."""
    usd: float = 0.0
    """US dollars that the program's models cost in this run."""
    tokens: int = 0
    """Tokens that they have read and written in this run."""
    seconds: float = 0.0
    """Wall time."""


def draw(dataset: Dataset, split: str, *, rows: int | None, seed: int) -> Drawn:
    """Rows of a split: all, or so many; more of them hold the fewer.

    Raises `UsageError` where the dataset has no such split.
    """
    if split not in dataset.splits:
        raise UsageError(
            f"{dataset.id} has no split {split!r}.",
            cause=f"it has {', '.join(dataset.splits)}",
            hint=f"splits are {', '.join(SPLITS)}; a recipe says how large each is",
        )
    places: dict[str, tuple[str, str]] = {}
    for batch in dataset.batches(split, ("example_id", "repo", "baseline_id")):
        for line in batch.to_pylist():
            places[line["example_id"]] = line["repo"], line["baseline_id"]
    ids = sorted(places)
    random.Random(seed).shuffle(ids)
    chosen = set(ids[:rows])
    found = [row for row in rows_of(dataset, split) if row.id in chosen]
    found.sort(key=lambda row: (places[row.id], row.id))
    baselines = {key: places[key][1] for key in chosen}
    return Drawn(dataset, split, tuple(found), baselines, len(places), seed)


def evaluate(
    versions: Sequence[Version],
    metric: Metric,
    drawn: Drawn,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_progress: Callable[[Evaluated], None] = lambda evaluated: None,
) -> Evaluated:
    """Run versions of one program on rows, measure them, and compare each with the first.

    Raises `DatasetError` where there are too few rows to compare anything, `LMError` where no model
    can be asked, and what is wrong with a version; what was measured until then is kept.
    """
    if len(versions) > 1:
        require(len(drawn.rows))
    started, clock = datetime.now(UTC), time.monotonic()
    name = versions[0].manifest.module.name
    run_id = content_hash("run", "evaluate", name, metric.id, started.isoformat())
    registry = Registry(workspace, store)
    wanted = settings.evaluate
    with (
        Models(
            Role.STUDENT, settings, workspace, store, bus, chosen=wanted.student,
            wanted=Allowance(wanted.max_usd, wanted.max_tokens),
            run_id=run_id,
        ) as models,
        Toolbox(metric, settings, workspace, store, bus, run_id=run_id) as tools,
    ):  # fmt: skip
        crew = [
            _Player(ready(one, registry, models, bus), models, drawn, tools) for one in versions
        ]
        done = Evaluated(run_id, drawn, metric, tools.judge, [one.standing for one in crew])
        loop = _Loop(crew, done, models, tools, store, bus, on_progress)
        try:
            loop.run(threads=models.profile.settings.concurrency)
        except KeyboardInterrupt:
            done.ended = INTERRUPTED
        except BudgetError:
            done.ended = BUDGET
        finally:
            if done.ended == INTERRUPTED:
                models.close()
                tools.drop()
            else:
                models.settle()
            loop.keep()
        spent = models.spent
        done.usd, done.tokens = spent.usd, spent.tokens
    done.judged = tools.prover.judged if tools.prover is not None else 0
    done.seconds = time.monotonic() - clock
    _conclude(done, registry, settings.evaluate.seed)
    summary = {"command": "evaluate", **evaluated_summary(done, settings.evaluate.seed)}
    repos = ", ".join(sorted({row.fields["repo"] for row in drawn.rows}))
    record_run(store, Run(run_id, repos, started, datetime.now(UTC), summary))
    return done


class _Player:
    """A version with what came of it."""

    def __init__(self, plays: Player, models: Models, drawn: Drawn, tools: Toolbox) -> None:
        said = plays.version.manifest
        self.module = plays.module
        """The program in the version's state."""
        self.context = plays.context
        """DSPy's settings, with the model that answers."""
        self.standing = Standing(
            plays.version,
            Trialled(
                version_id=plays.version.id,
                module=said.module.name,
                answered_by=content_hash("answers", plays.program.hash, said.state, plays.server),
                dataset=drawn.dataset.id,
                split=drawn.split,
                metric=tools.metric.name,
                metric_hash=tools.metric.hash,
                judge=tools.judge,
            ),
            models.profile.settings.model,
        )


class _Loop:
    """The loop over rows and versions, with what it has found."""

    def __init__(
        self,
        crew: Sequence[_Player],
        done: Evaluated,
        models: Models,
        tools: Toolbox,
        store: Store,
        bus: EventBus,
        on_progress: Callable[[Evaluated], None],
    ) -> None:
        self._crew = {one.standing.version.id: one for one in crew}
        self._done, self._models, self._tools = done, models, tools
        self._store, self._bus, self._on_progress = store, bus, on_progress
        self._waiting: list[Done] = []
        self._since = 0.0

    def run(self, *, threads: int) -> None:
        """Run what has no result. Raises what stops it."""
        from flywheel.optimize.run import Stopped, work  # noqa: PLC0415  it imports DSPy

        jobs = self._jobs()
        baselines = self._done.drawn.baselines
        self._recall()
        try:
            for done in work(
                jobs, self._measure, threads=threads, together=lambda job: baselines[job.row.id]
            ):
                self._take(done)
        except Stopped as stopped:
            raise stopped.error from stopped

    def _recall(self) -> None:
        """Take over what is known from before."""
        wanted = {row.id for row in self._done.drawn.rows}
        for player in self._crew.values():
            standing = player.standing
            known = outcomes_of(self._store, standing.trialled)
            standing.outcomes |= {key: one for key, one in known.items() if key in wanted}
            standing.known = len(standing.outcomes)

    def _jobs(self) -> Iterator[Job]:
        from flywheel.optimize.run import Job  # noqa: PLC0415  it imports DSPy

        for row in self._done.drawn.rows:
            for key, player in self._crew.items():
                if row.id not in player.standing.outcomes:
                    yield Job(player.module, row, player.context, key)

    def _measure(self, case: Case, answer: Answer) -> Score:
        try:
            return self._tools.measure(case, answer).score
        except UsageError as error:
            # The metric is wrong for this answer: it is named, and is no verdict.
            self._done.failed.append(Failed(case.example_id, error.message, error.cause or ""))
            return Score(None, f"the metric failed: {error.cause or error.message}")

    def _take(self, done: Done) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(done)
        found = done.outcome
        standing = self._crew[done.job.of].standing
        standing.now += 1
        standing.outcomes[found.example_id] = self._kept(done, None, None)
        self._bus.publish(
            RowEvaluated(
                self._done.run_id, done.job.of, found.example_id, found.value, found.reason
            )
        )
        if time.monotonic() - self._since > KEEP_SECONDS:
            self._models.settle()
            self.keep()
        self._on_progress(self._done)

    def _kept(self, done: Done, usd: float | None, seconds: float | None) -> KeptOutcome:
        found = done.outcome
        return KeptOutcome(
            example_id=found.example_id,
            value=found.value,
            reason=found.reason,
            parts=found.parts,
            failure=found.failure,
            answer=found.text,
            code=found.code,
            usd=usd,
            seconds=seconds,
            input_tokens=found.input_tokens,
            output_tokens=found.output_tokens,
            run_id=self._done.run_id,
        )

    def keep(self) -> None:
        """Store the outcomes that wait, with what their calls took; the ledger must be settled."""
        took = bought(self._store, [key for one in self._waiting for key in one.outcome.calls])
        of: dict[str, list[KeptOutcome]] = defaultdict(list)
        for done in self._waiting:
            calls = [took.get(key) for key in done.outcome.calls]
            usd = [None if one is None else one.usd for one in calls]
            seconds = [None if one is None else one.seconds for one in calls]
            of[done.job.of].append(self._kept(done, _sum(usd), _sum(seconds)))
        for key, found in of.items():
            standing = self._crew[key].standing
            record_outcomes(self._store, standing.trialled, found)
            standing.outcomes |= {one.example_id: one for one in found}
        self._waiting.clear()


def _sum(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) if len(known) == len(values) else None


def _conclude(done: Evaluated, registry: Registry, seed: int) -> None:
    """Compare the versions, and record what was measured of all rows."""
    store = registry.store
    champion, *others = done.standings
    done.compared = [_compared(done, champion, one, store, seed) for one in others]
    if done.ended != EXHAUSTED:
        # What came first of a run that was cut short is no sample of the rest.
        return
    record_figures(store, _figures(done, seed))
    for standing, one in zip(others, done.compared, strict=True):
        if one.comparison is not None and not one.refused:
            record_comparison(
                registry,
                one.comparison,
                champion=champion.version,
                challenger=standing.version,
                dataset=done.drawn.dataset.id,
                split=done.drawn.split,
                metric=f"{done.metric.name}@{done.metric.hash}",
                examples=[row.id for row in done.drawn.rows],
                run_id=done.run_id,
            )


def _compared(
    done: Evaluated, champion: Standing, challenger: Standing, store: Store, seed: int
) -> Compared:
    """One version beside the champion, and whether that is a verdict."""
    rows = {row.id: row for row in done.drawn.rows}
    found, refused = None, ""
    try:
        found = compare(champion.values, challenger.values, seed=seed)
    except DatasetError as error:
        # So many rows are not known that nothing can be told.
        refused = f"{error.message} {error.cause or ''}".strip()
    if done.ended != EXHAUSTED:
        refused = "not every row was run"
    for one in (champion, challenger):
        if learned := seen_by(store, one.version.id, list(rows)):
            refused = f"{one.version.id} has learned from {len(learned)} of these rows"
    return Compared(
        champion.version.id,
        challenger.version.id,
        found,
        tuple(_regression(rows[key], champion, challenger) for key in found.regressions)
        if found is not None
        else (),
        refused or _unfit(done, store),
    )


def _unfit(done: Evaluated, store: Store) -> str:
    """Why the metric may decide nothing, empty where it may."""
    if not done.judge:
        return ""
    both = agreement_of(store, done.metric, done.judge)
    if both is None:
        return f"{done.metric.name} was never compared with the tests"
    return both.why_not


def _regression(row: Row, champion: Standing, challenger: Standing) -> Regression:
    before, after = champion.outcomes[row.id], challenger.outcomes[row.id]
    assert before.value is not None
    assert after.value is not None
    error = (row.fields["error_message"] or row.fields["error"]).strip().partition("\n")[0]
    return Regression(
        row.id,
        row.fields["repo"],
        row.fields["path"],
        error,
        before.value,
        after.value,
        after.reason,
    )


def _figures(done: Evaluated, seed: int) -> list[Figure]:
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
            "latency_p50": one.latency(P50),
            "latency_p90": one.latency(P90),
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
        "latency": {"p50": one.latency(P50), "p90": one.latency(P90)},
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
