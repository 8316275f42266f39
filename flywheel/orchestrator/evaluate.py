"""Evaluating: versions of a program on the same rows, each outcome stored as it comes.

Rows stand in the order of what they were proven in, so that the tests of one repository are set up
once for all versions; models answer some rows ahead of the judging. Running it again runs what has
no result: one is known by the version, by what answers for it, the metric, the model that judges
and the example. What is not known is tried again.

Versions are compared row by row with the first of them. The verdict is refused where the metric is
a judge that may drive nothing, and where a version has learned from the rows.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from flywheel.core.ending import BUDGET, EXHAUSTED, INTERRUPTED
from flywheel.core.errors import BudgetError, DatasetError, FlywheelError, UsageError
from flywheel.core.events import EventBus, RowEvaluated
from flywheel.core.identity import content_hash
from flywheel.core.settings import Settings
from flywheel.lm import Role
from flywheel.optimize.gate import compare
from flywheel.orchestrator.drawn import Drawn
from flywheel.orchestrator.evaluated import (
    Compared,
    Evaluated,
    Regression,
    Standing,
    evaluate_figures,
    evaluated_summary,
)
from flywheel.orchestrator.measure import Failed, agreement_of
from flywheel.orchestrator.models import Allowance, Models
from flywheel.orchestrator.player import Player, ready
from flywheel.orchestrator.scoring import KEEP_SECONDS, sum_of
from flywheel.orchestrator.tools import Toolbox
from flywheel.programs import Answer, Case, Metric, Row, Score
from flywheel.registry import Registry, Version, record_comparison
from flywheel.store import (
    KeptOutcome,
    Run,
    Store,
    Trialled,
    bought,
    outcomes_of,
    record_figures,
    record_outcomes,
    record_run,
)
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.optimize.run import Done, Job
    from flywheel.optimize.stop import Stop

TURN = 16
"""Rows that a version answers before it is the next one's turn."""


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
    from flywheel.optimize.quiet import quiet  # noqa: PLC0415  as the next
    from flywheel.optimize.stop import Stop  # noqa: PLC0415  it imports DSPy

    if len(versions) > 1:
        drawn.require()
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
        Toolbox(
            metric, settings, workspace, store, bus,
            run_id=run_id, engine=models.engine,
            allowed=Allowance(wanted.max_usd, wanted.max_tokens),
        ) as tools,
    ):  # fmt: skip
        crew = [
            _Contender(ready(one, registry, models, bus), models, drawn, tools) for one in versions
        ]
        done = Evaluated(run_id, drawn, metric, tools.judge, [one.standing for one in crew])
        stop = Stop(seconds=wanted.time_limit)
        loop = _Loop(crew, done, models, tools, store, bus, on_progress)
        try:
            with stop.held(), quiet(workspace.programs_log):
                loop.run(stop, threads=models.profile.settings.concurrency)
        except KeyboardInterrupt:
            # Of the watch over the time, or of a person.
            done.ended = stop.ended if stop.error is not None else INTERRUPTED
        except BudgetError:
            done.ended = BUDGET
        except FlywheelError as error:
            if error is not stop.error:
                raise
            done.ended = stop.ended
        finally:
            if done.ended == INTERRUPTED:
                models.close()
                tools.drop()
            else:
                models.settle()
            loop.keep()
        spent = models.spent + tools.spent
        done.usd, done.tokens = spent.usd, spent.tokens
    done.judged = tools.prover.judged if tools.prover is not None else 0
    done.seconds = time.monotonic() - clock
    _conclude(done, registry, settings.evaluate.seed)
    summary = {"command": "evaluate", **evaluated_summary(done, settings.evaluate.seed)}
    repos = ", ".join(sorted({row.fields["repo"] for row in drawn.rows}))
    record_run(store, Run(run_id, repos, started, datetime.now(UTC), summary))
    return done


class _Contender:
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
                answered_by=content_hash("answers", plays.program.hash, said.state, plays.identity),
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
        crew: Sequence[_Contender],
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

    def run(self, stop: Stop, *, threads: int) -> None:
        """Run what has no result, until it is to stop. Raises what stops it."""
        from flywheel.optimize.run import Stopped, work  # noqa: PLC0415  it imports DSPy

        jobs = self._jobs()
        baselines = self._done.drawn.baselines
        self._recall()
        left = sum(len(self._done.drawn.rows) - one.standing.known for one in self._crew.values())
        try:
            for done in work(
                jobs, self._measure, threads=threads, together=lambda job: baselines[job.row.id]
            ):
                self._take(done)
                left -= 1
                if left:
                    stop.check()
        except Stopped as stopped:
            raise stopped.error from stopped

    def _recall(self) -> None:
        """Take over what is known from before."""
        wanted = {row.id for row in self._done.drawn.rows}
        for one in self._crew.values():
            standing = one.standing
            known = outcomes_of(self._store, standing.trialled)
            standing.outcomes |= {key: known[key] for key in known.keys() & wanted}
            standing.known = len(standing.outcomes)

    def _jobs(self) -> Iterator[Job]:
        from flywheel.optimize.run import Job  # noqa: PLC0415  it imports DSPy

        # Some rows of one version, then of the next: a server remembers how the questions of a
        # version begin, as long as no other is asked; and all see the same hours.
        baselines = self._done.drawn.baselines
        rows = enumerate(self._done.drawn.rows)
        for _, turn in groupby(rows, lambda one: (baselines[one[1].id], one[0] // TURN)):
            some = [row for _, row in turn]
            for key, one in self._crew.items():
                for row in some:
                    if row.id not in one.standing.outcomes:
                        yield Job(one.module, row, one.context, key)

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
            of[done.job.of].append(self._kept(done, sum_of(usd), sum_of(seconds)))
        for key, found in of.items():
            standing = self._crew[key].standing
            record_outcomes(self._store, standing.trialled, found)
            standing.outcomes |= {one.example_id: one for one in found}
        self._waiting.clear()


def _conclude(done: Evaluated, registry: Registry, seed: int) -> None:
    """Compare the versions, and record what was measured of all rows."""
    store = registry.store
    champion, *others = done.standings
    done.compared = [_compared(done, champion, one, registry, seed) for one in others]
    if done.ended != EXHAUSTED:
        # What came first of a run that was cut short is no sample of the rest.
        return
    record_figures(store, evaluate_figures(done, seed))
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
    done: Evaluated, champion: Standing, challenger: Standing, registry: Registry, seed: int
) -> Compared:
    """One version beside the champion, and whether that is a verdict."""
    rows = {row.id: row for row in done.drawn.rows}
    found, refused = None, ""
    try:
        of = {key: row.definition for key, row in rows.items()}
        found = compare(champion.values, challenger.values, of=of, seed=seed)
    except DatasetError as error:
        # So many rows are not known that nothing can be told.
        refused = f"{error.message} {error.cause or ''}".strip()
    if done.ended != EXHAUSTED:
        refused = "not every row was run"
    for one in (champion, challenger):
        if learned := registry.seen(one.version, rows):
            refused = f"{one.version.id} has learned from {len(learned)} of these rows"
    return Compared(
        champion.version.id,
        challenger.version.id,
        found,
        tuple(_regression(rows[key], champion, challenger) for key in found.regressions)
        if found is not None
        else (),
        refused or _unfit(done, registry.store),
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
