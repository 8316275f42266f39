"""Measuring: a metric over answers, each score stored as it comes, the figures at the end.

Running it again measures what has no score: a score is known by the metric's hash, the model that
judged, the example and the answer. What is not known, and what failed, is measured again.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from flywheel.core.ending import BUDGET, EXHAUSTED, INTERRUPTED
from flywheel.core.errors import BudgetError, UsageError
from flywheel.core.events import EventBus
from flywheel.core.identity import content_hash
from flywheel.core.settings import Settings
from flywheel.orchestrator.answers import Chosen
from flywheel.orchestrator.scoring import KEEP_SECONDS, priced, sum_of
from flywheel.orchestrator.tools import Measurement, Toolbox
from flywheel.programs import (
    Agreement,
    Answer,
    Case,
    Estimate,
    Judgement,
    Metric,
    agreement,
    mean_of,
)
from flywheel.store import (
    FAILED,
    FIXED,
    METRIC,
    Figure,
    Run,
    Scorable,
    Scored,
    Store,
    figures,
    record_figures,
    record_run,
    record_scores,
    scores_of,
)
from flywheel.workspace import Workspace

AHEAD = 16
"""Answers that are measured at once where tests or models are waited for."""
POLL_SECONDS = 0.5
"""How long to wait for a score before what is due is stored."""
ACCEPTED = "accepted"
"""Part of a judge's score: whether it would take the answer, 1 or 0."""
KAPPA = "kappa with the tests"
"""The figure of a judge's agreement; its metric goes before."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An answer that the metric failed on."""

    example_id: str
    """The example."""
    message: str
    """Where, with file and line."""
    cause: str
    """What was raised or given."""


@dataclass(slots=True)
class Measured:
    """What came of measuring."""

    metric: Metric
    """The metric."""
    judge: str
    """The model that judged, empty where none did."""
    answers: str
    """Which answers: `good`, `bad`, `attempts` or a file's name."""
    run_id: str
    """Identity of the run."""
    examples: int = 0
    """Examples whose answers were to be measured."""
    answered: int = 0
    """Their answers, as far as it came."""
    now: int = 0
    """Answers measured in this run."""
    known: int = 0
    """Answers whose score the store had."""
    judged: int = 0
    """Changes that the tests were run on in this run; each is judged once, whoever asks."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Reason -> answers of which the value is not known."""
    failed: list[Failed] = field(default_factory=list)
    """Answers that the metric failed on."""
    strange: tuple[str, ...] = ()
    """Examples of a file that are not among those of the store."""
    estimate: Estimate = field(default_factory=lambda: mean_of({}))
    """The mean, over all repositories."""
    parts: dict[str, Estimate] = field(default_factory=dict)
    """The same of each part of the scores."""
    agreement: Agreement | None = None
    """Of a judge on attempts: how often it says what the tests say."""
    uncompared: str = ""
    """Why a judge on attempts was not compared with the tests, empty where it was, or was not to
    be."""
    ended: str = EXHAUSTED
    """`exhausted`, `interrupted` or `budget`."""
    usd: float | None = 0.0
    """What models cost in this run, None where a price is not known."""
    seconds: float = 0.0
    """Wall time."""


def measure(
    metric: Metric,
    chosen: Chosen,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    where: str | None = None,
    on_progress: Callable[[Measured], None] = lambda measured: None,
) -> Measured:
    """Measure answers, store scores and figures; `where` only names what was chosen.

    Raises `LMError` where no model can be asked; what was measured until then is kept.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    run_id = content_hash("run", "metric", metric.id, started.isoformat())
    with Toolbox(metric, settings, workspace, store, bus, run_id=run_id) as tools:
        done = Measured(metric, tools.judge, chosen.name, run_id, len(chosen.ids))
        done.strange = chosen.strange
        loop = _Loop(metric, tools, store, done, on_progress)
        try:
            loop.run(chosen)
        except KeyboardInterrupt:
            done.ended = INTERRUPTED
        except BudgetError:
            done.ended = BUDGET
        finally:
            loop.keep()
            if done.ended == INTERRUPTED:
                tools.drop()
    done.judged = tools.prover.judged if tools.prover is not None else 0
    done.seconds = time.monotonic() - clock
    loop.conclude(settings.metric.seed)
    if done.ended == EXHAUSTED:
        # What came first of a run that was cut short is no sample of the rest.
        record_figures(store, loop.figures(where, settings.metric.seed))
    summary = {"command": "metric", **summary_of(done)}
    repos = ", ".join(sorted(loop.values))
    record_run(store, Run(run_id, repos, started, datetime.now(UTC), summary))
    return done


class _Loop:
    """The loop over answers, with what it has found."""

    def __init__(
        self,
        metric: Metric,
        tools: Toolbox,
        store: Store,
        done: Measured,
        on_progress: Callable[[Measured], None],
    ) -> None:
        self.values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        """Values by repository and example."""
        self._metric, self._tools, self._store, self._done = metric, tools, store, done
        self._on_progress = on_progress
        self._parts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._judgements: list[Judgement] = []
        self._decided = 0
        self._waiting: list[tuple[Scored, tuple[str, ...]]] = []
        self._since = 0.0

    def run(self, chosen: Chosen) -> None:
        """Measure what has no score, a few answers at a time."""
        waits = bool(self._metric.all_needs & {"critic", "judge"})
        under_way: dict[Future[_Timed], Scorable] = {}
        # Left by hand: the end of a block would wait for all that is under way.
        pool = ThreadPoolExecutor(AHEAD if waits else 1, thread_name_prefix="flywheel-metric")
        try:
            for one in self._wanted(chosen):
                under_way[pool.submit(self._measure, one)] = one
                if len(under_way) >= AHEAD:
                    self._collect(under_way)
            while under_way:
                self._collect(under_way)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _wanted(self, chosen: Chosen) -> Iterator[Scorable]:
        done = self._done
        for page in chosen.pages(self._store):
            ids = sorted({one.example_id for one in page})
            known = scores_of(self._store, self._metric.hash, self._tools.judge, ids)
            for one in page:
                done.answered += 1
                score = known.get((one.example_id, one.answer_hash))
                if score is None:
                    yield one
                else:
                    done.known += 1
                    self._count(one, score)

    def _measure(self, one: Scorable) -> _Timed:
        began = time.monotonic()
        case = Case(
            one.example_id, one.language, one.path, one.symbol, one.bad, one.good, one.error,
            one.patch, one.test_source,
        )  # fmt: skip
        found = self._tools.measure(case, Answer(one.text, one.code))
        return _Timed(found, time.monotonic() - began)

    def _collect(self, under_way: dict[Future[_Timed], Scorable]) -> None:
        ready, _ = wait(under_way, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in [one for one in under_way if one in ready]:
            one = under_way.pop(future)
            try:
                found = future.result()
            except UsageError as error:
                self._done.failed.append(Failed(one.example_id, error.message, error.cause or ""))
                continue
            self._take(one, found)
        if self._waiting and time.monotonic() - self._since > KEEP_SECONDS:
            self.keep()
        self._on_progress(self._done)

    def _take(self, one: Scorable, found: _Timed) -> None:
        score = found.measurement.score
        if not self._waiting:
            self._since = time.monotonic()
        scored = Scored(
            metric=self._metric.name,
            version=self._metric.version,
            metric_hash=self._metric.hash,
            judge=self._tools.judge,
            example_id=one.example_id,
            answer_hash=one.answer_hash,
            value=score.value,
            reason=score.reason,
            parts=dict(score.parts),
            seconds=found.seconds,
        )
        self._waiting.append((scored, found.measurement.calls))
        self._done.now += 1
        self._count(one, scored)

    def _count(self, one: Scorable, score: Scored) -> None:
        if score.value is None:
            self._done.unknown[score.reason] += 1
            return
        self.values[one.repo][one.example_id].append(score.value)
        for name, value in score.parts.items():
            self._parts[name][one.example_id].append(value)
        if not self._tools.judge or one.verdict not in (FIXED, FAILED):
            return
        self._decided += 1
        accepted = score.parts.get(ACCEPTED)
        if accepted is not None:
            resolved = one.verdict == FIXED
            self._judgements.append(Judgement(one.example_id, bool(accepted), resolved))

    def keep(self) -> None:
        """Store the scores that wait, with what they cost."""
        scored = priced(self._waiting, self._tools, self._store)
        self._done.usd = sum_of([self._done.usd, *(one.usd for one in scored)])
        record_scores(self._store, scored)
        self._waiting.clear()

    def conclude(self, seed: int) -> None:
        """Say what all scores come to."""
        done = self._done
        every = {key: values for groups in self.values.values() for key, values in groups.items()}
        done.estimate = mean_of(every, seed=seed)
        done.parts = {
            name: mean_of(groups, seed=seed) for name, groups in sorted(self._parts.items())
        }
        if self._judgements:
            done.agreement = agreement(self._judgements, seed=seed)
        elif self._tools.judge and done.answers == "attempts" and done.ended == EXHAUSTED:
            if self._decided:
                why = f"its scores have no part {ACCEPTED!r}: whether it would take the answer"
            elif self.values:
                why = "the tests have decided none of these; flywheel correct makes more answers"
            else:
                why = "it gave no answer a value"
            done.uncompared = why

    def figures(self, where: str | None, seed: int) -> list[Figure]:
        """The mean of each repository, and the agreement of a judge."""
        done = self._done
        condition = f" where {where}" if where else ""
        detail = {
            "answers": done.answers,
            "where": where,
            "unknown": sum(done.unknown.values()),
            "failed": len(done.failed),
        }
        found = []
        for repo, groups in sorted(self.values.items()):
            mean = mean_of(groups, seed=seed)
            found.append(
                Figure(
                    run_id=done.run_id,
                    kind=METRIC,
                    subject=f"{done.answers} of {repo}{condition}",
                    metric=done.metric.name,
                    value=mean.value,
                    n=mean.n,
                    low=mean.low,
                    high=mean.high,
                    version=version_of(done.metric, done.judge),
                    detail=detail,
                )
            )
        if (both := done.agreement) is not None:
            found.append(
                Figure(
                    run_id=done.run_id,
                    kind=METRIC,
                    subject=f"{done.answers} of {', '.join(sorted(self.values))}{condition}",
                    metric=f"{done.metric.name}: {KAPPA}",
                    value=both.kappa,
                    n=both.n,
                    low=both.low,
                    high=both.high,
                    version=version_of(done.metric, done.judge),
                    detail={**detail, "agreement": asdict(both), "may_drive": both.may_drive},
                )
            )
        return found


@dataclass(frozen=True, slots=True)
class _Timed:
    """A measurement, and how long it took."""

    measurement: Measurement
    seconds: float


def version_of(metric: Metric, judge: str) -> str:
    """What measured, as figures name it: version and hash, and the model that judged."""
    return f"{metric.version}@{metric.hash}" + (f" by {judge}" if judge else "")


def agreement_of(store: Store, metric: Metric, judge: str) -> Agreement | None:
    """What is known of a judge's agreement with the tests, the newest; None where nothing is.

    Ask it `may_drive` before anything goes by the judge.
    """
    name, version = f"{metric.name}: {KAPPA}", version_of(metric, judge)
    found = figures(store, kind=METRIC, metric=name, version=version)
    return Agreement(**found[-1].detail["agreement"]) if found else None


def summary_of(done: Measured) -> dict[str, Any]:
    """What came of it, as JSON can say it."""
    both = done.agreement
    return {
        "metric": done.metric.name,
        "version": done.metric.version,
        "hash": done.metric.hash,
        "judge": done.judge or None,
        "answers": done.answers,
        "examples": done.examples,
        "answered": done.answered,
        "now": done.now,
        "known": done.known,
        "judged": done.judged,
        "mean": asdict(done.estimate),
        "parts": {name: asdict(one) for name, one in done.parts.items()},
        "unknown": dict(done.unknown.most_common()),
        "failed": [asdict(one) for one in done.failed],
        "strange": list(done.strange),
        "uncompared": done.uncompared or None,
        "agreement": None
        if both is None
        else {
            **asdict(both),
            "n": both.n,
            "agree": both.agree,
            "may_drive": both.may_drive,
            "sentence": both.sentence,
        },
        "ended": done.ended,
        "usd": done.usd,
        "seconds": round(done.seconds, 2),
    }
