"""Optimising: a program, a dataset and a metric in, a better version of the program out.

Training rows are learnt from, trials are scored on the validation, and the hold-out is never read.
Every trial is stored as it comes; run again, the same study goes on where it was.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.core.errors import UsageError
from flywheel.core.events import EventBus, StudyEnded, StudyStarted, TrialEnded, TrialProgressed
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked_if_free
from flywheel.core.settings import OptimizeSettings, Settings
from flywheel.curate import TRAIN, VALIDATION, find_version
from flywheel.curate import Version as Dataset
from flywheel.lm import LOCAL, Engine, Journal, Purpose, Role, profile_of
from flywheel.orchestrator.cost import take_calls
from flywheel.orchestrator.hosted import HostedTuning, tunes
from flywheel.orchestrator.measure import agreement_of, version_of
from flywheel.orchestrator.scoring import Scoring
from flywheel.orchestrator.tools import Toolbox, find_metric
from flywheel.orchestrator.tuning import Tuning, Weights
from flywheel.programs import Metric
from flywheel.programs.program import Program, find_program
from flywheel.programs.row import Row, rows_of
from flywheel.registry.registry import Registry
from flywheel.registry.version import (
    Cost,
    DraftVersion,
    Model,
    ModuleName,
    Optimizer,
    VersionScore,
)
from flywheel.store import (
    OPTIMIZE,
    Figure,
    Store,
    StudyTrial,
    call_sums,
    record_figures,
    record_study,
    record_trials,
)
from flywheel.store import Study as Kept
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.optimize.finetune import Progress
    from flywheel.optimize.finetune.hosted import Look
    from flywheel.optimize.ground import Options, Plan
    from flywheel.optimize.stop import Stop
    from flywheel.optimize.study import Studied, Study
    from flywheel.optimize.trial import Trial
    from flywheel.optimize.watch import Seen

LEARNT = 200
"""Rows that are learnt from, where none is named: prompts show a few, and proposers some more."""
SCORED = {"light": 100, "medium": 300, "heavy": 1000}
"""Rows that trials are scored on, where none is named: as many as DSPy takes."""
PROPOSED = 400
"""Tokens that a small local model may write to propose an instruction: it would go on for ever."""
PATIENCE = 30.0
"""Seconds that a study waits in its end for answers which are paid for."""
PURPOSE = "optimize:"
"""How the purpose of a study's calls begins, in the ledger."""
FAILED, INTERRUPTED = "failed", "interrupted"
"""Status of a study that gives nothing, and of one that a person stopped."""
WEIGHTS = ("bootstrap-finetune", "better-together")
"""Optimisers that train weights: they learn from every row there is."""
REASONS = 8
"""Reasons that are stored of a trial; its file in the study's folder has every row's."""


@dataclass(slots=True)
class Optimized:
    """What came of optimising."""

    study_id: str
    """The study's fingerprint."""
    program: Program
    """The program."""
    dataset: Dataset
    """The dataset."""
    metric: Metric
    """The metric."""
    judge: str
    """The model that judged, empty where none did."""
    optimizer: str
    """Name of the optimiser."""
    studied: Studied
    """The study."""
    folder: Path
    """Its folder."""
    forced: bool
    """Whether a judge drove it that may drive nothing."""
    measured: int
    """Answers that were measured in this run."""
    spared: int
    """Answers whose score was known, or on its way."""
    usd: float | None
    """US dollars of the whole study, all its runs; None where a price is not known."""
    tokens: dict[str, int]
    """Tokens of the whole study, by what they were for."""
    version: str | None = None
    """The version that was saved, None for none."""
    learned: dict[str, object] = field(default_factory=dict)
    """What a training of weights says of itself; empty where there was none."""


def optimize(
    spec: str,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    force: bool = False,
) -> Optimized:
    """Look for a better version of a program.

    Raises `UsageError` for what does not fit together, and what `Study.run` raises.
    """
    wanted = settings.optimize
    program = find_program(spec, workspace.root)
    program.check()
    metric = find_metric(wanted.metric, settings, workspace)
    version = find_version(workspace.datasets, wanted.dataset)
    train, validation = _rows(version, wanted)
    with ExitStack() as held:
        work = _Work(settings, workspace, store, bus, program, metric, version, force)
        return work.run(held, train, validation)


def _rows(version: Dataset, wanted: OptimizeSettings) -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and rows to score trials on, drawn by the seed."""
    if missing := [one for one in (TRAIN, VALIDATION) if one not in version.splits]:
        raise UsageError(
            f"{version.id} has no {missing[0]} split",
            cause=f"it has {', '.join(version.splits)}",
            hint="an optimiser learns from one and is scored on the other;"
            " [split] of the recipe makes them",
        )
    many = wanted.rows or LEARNT
    if wanted.optimizer in WEIGHTS and wanted.rows is None:
        many = version.manifest.splits[TRAIN].rows
    return (
        _drawn(version, TRAIN, many, wanted.seed),
        _drawn(version, VALIDATION, wanted.rows or SCORED[wanted.auto], wanted.seed),
    )


def _drawn(version: Dataset, split: str, many: int, seed: int) -> list[Row]:
    def place(row: Row) -> str:
        return content_hash("draw", seed, row.id)

    return heapq.nsmallest(many, rows_of(version, split), key=place)


class _Work:
    """One study, with what it needs."""

    def __init__(
        self,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        program: Program,
        metric: Metric,
        version: Dataset,
        force: bool,
    ) -> None:
        self._settings, self._wanted = settings, settings.optimize
        self._workspace, self._store, self._bus = workspace, store, bus
        self._program, self._metric, self._version = program, metric, version
        self._force, self._forced = force, False
        self._judge = self._judging()
        self._study_id = ""
        self._journal = Journal(workspace.journal_path)
        self._plan: Plan | None = None
        self._tuning: Tuning | HostedTuning | None = None
        self._stop: Stop | None = None
        self._took: list[float] = []
        self._spent: tuple[float | None, int] = (0.0, 0)

    def run(self, held: ExitStack, train: list[Row], validation: list[Row]) -> Optimized:
        """Open what is needed, study, and keep what came of it."""
        from flywheel.optimize.ground import Options  # noqa: PLC0415  DSPy, for a second

        held.callback(self._journal.close)
        wanted = self._wanted
        options = Options(wanted.auto, wanted.trials, wanted.demos, wanted.threshold, wanted.seed)
        engine = self._engine()
        held.callback(self._closed, engine)
        for purpose in self._purposes().values():
            engine.check(purpose.role, purpose.profile)
        servers = {name: engine.server(one) for name, one in self._purposes().items()}
        self._study_id = self._fingerprint(options, servers, train, validation)
        folder = self._workspace.studies / self._study_id
        if not held.enter_context(locked_if_free(folder / "lock")):
            raise UsageError(
                f"the study {self._study_id} is under way in another process",
                hint="wait for it, or change what is studied: another --seed is another study",
            )
        tools = held.enter_context(
            Toolbox(
                self._metric, self._settings, self._workspace, self._store, self._bus,
                run_id=self._study_id,
            )
        )  # fmt: skip
        ids = [row.id for row in (*train, *validation)]
        scoring = Scoring(self._metric, tools, self._store, ids)
        study = self._study(engine, options, scoring, folder, train, validation)
        plays = engine.chain(Role.STUDENT, wanted.student or "")[0]
        lm = Model(model=plays.settings.model, profile=plays.name, server=servers["student"])
        return self._conclude(study, options, lm, scoring)

    def _engine(self) -> Engine:
        wanted = self._wanted
        return Engine(
            self._settings.lm,
            self._journal,
            max_usd=wanted.max_usd,
            max_tokens=wanted.max_tokens,
            bus=self._bus,
        )

    def _closed(self, engine: Engine) -> None:
        """End what models are asked, and store the calls.

        What is sent is waited for, that what is paid for is kept; a person does not wait for it.
        """
        stopped = self._stop is not None and self._stop.ended == INTERRUPTED
        # An interrupt in the waiting ends that alone: the study is over already.
        with suppress(KeyboardInterrupt):
            engine.close(patience=0.0 if stopped else PATIENCE)
        take_calls(self._workspace, self._store, self._journal)

    def _purposes(self) -> dict[str, Purpose]:
        """Who is asked what for; a teacher only where one is named."""
        wanted = self._wanted
        plays = {
            "student": (Role.STUDENT, wanted.student or ""),
            "proposer": (Role.PROPOSER, wanted.proposer or ""),
        }
        if wanted.teacher:
            plays["teacher"] = (Role.STUDENT, wanted.teacher)
        return {
            name: Purpose(role, f"{PURPOSE}{name}", self._study_id, profile)
            for name, (role, profile) in plays.items()
        }

    def _study(
        self,
        engine: Engine,
        options: Options,
        scoring: Scoring,
        folder: Path,
        train: list[Row],
        validation: list[Row],
    ) -> Study:
        from flywheel.lm.bridge import language_model  # noqa: PLC0415  DSPy, for a second
        from flywheel.optimize.stop import Stop  # noqa: PLC0415
        from flywheel.optimize.study import Models, Study, Subject  # noqa: PLC0415

        purposes = self._purposes()
        models = {name: language_model(engine, one) for name, one in purposes.items()}
        if engine.chain(Role.PROPOSER, self._wanted.proposer or "")[0].provider == LOCAL:
            models["proposer"].kwargs["max_tokens"] = PROPOSED
        program, module = self._program, self._program.make()
        self._stop = stop = Stop(seconds=self._wanted.time_limit)
        self._tuning = self._tuner(engine, purposes["student"], stop)
        return Study(
            subject=Subject(program.name, program.hash, program.fields, module),
            optimizer=self._wanted.optimizer,
            models=Models(
                models["student"],
                models["proposer"],
                models.get("teacher"),
                self._tuning,
            ),
            train=train,
            validation=validation,
            measure=scoring,
            options=options,
            folder=folder,
            stop=stop,
            on_plan=lambda plan: self._planned(plan, module, len(train), len(validation)),
            on_trial=self._trial,
            on_seen=self._seen,
        )

    def _tuner(self, engine: Engine, student: Purpose, stop: Stop) -> Tuning | HostedTuning | None:
        """What trains the student: this machine, or its provider; None where neither does."""
        profile, seed = engine.chain(student.role, student.profile)[0], self._wanted.seed
        if profile.provider == LOCAL:
            return Tuning(
                engine,
                student,
                self._workspace.adapters,
                seed=seed,
                left=lambda: stop.left,
                scoring=lambda: max(self._took, default=0.0),
                on_progress=self._trained,
            )
        if not tunes(profile):
            return None
        return HostedTuning(
            engine,
            student,
            stop,
            self._bus,
            ledger=f"{PURPOSE}training",
            max_usd=self._wanted.max_usd,
            max_tokens=self._wanted.max_tokens,
            seed=seed,
            on_look=self._looked,
        )

    def _judging(self) -> str:
        """The model that judges, where one does; refuse one that may drive nothing."""
        if "judge" not in self._metric.all_needs:
            return ""
        judge = profile_of(Role.JUDGE, self._settings.lm, self._settings.metric.judge)
        both = agreement_of(self._store, self._metric, judge.settings.model)
        if both is not None and both.may_drive:
            return judge.settings.model
        self._forced = True
        if not self._force:
            why = "it was never compared with the tests" if both is None else both.sentence
            raise UsageError(
                f"{self._metric.name} by {judge.settings.model} may not drive an optimiser",
                cause=why,
                hint=f"flywheel metric run {self._metric.name} --answers attempts compares them;"
                " --force goes by it all the same, and the version says so",
            )
        return judge.settings.model

    def _fingerprint(
        self,
        options: Options,
        servers: Mapping[str, str],
        train: list[Row],
        validation: list[Row],
    ) -> str:
        from flywheel.optimize.study import fingerprint  # noqa: PLC0415  DSPy, for a second

        return fingerprint(
            module=[self._program.name, self._program.hash],
            optimizer=self._wanted.optimizer,
            # How many run at once changes nothing of what comes of it.
            options={**asdict(options), "threads": None},
            dataset=self._version.id,
            rows=[[row.id for row in rows] for rows in (train, validation)],
            metric=[self._metric.id, self._judge],
            models=dict(servers),
        )

    # --- while it goes on ------------------------------------------------------------------------

    def _planned(self, plan: Plan, module: Any, train: int, validation: int) -> None:
        from flywheel.optimize.trial import state_of  # noqa: PLC0415

        self._plan = plan
        self._bus.publish(
            StudyStarted(
                study_id=self._study_id,
                module=self._program.name,
                optimizer=self._wanted.optimizer,
                metric=self._metric.name,
                train=train,
                validation=validation,
                trials=plan.trials,
                instructions=dict(state_of(module).instructions),
            )
        )

    def _seen(self, seen: Seen) -> None:
        self._bus.publish(
            TrialProgressed(
                self._study_id, seen.number, seen.phase, seen.done, seen.total, seen.detail
            )
        )

    def _trained(self, progress: Progress) -> None:
        detail = f"loss {progress.loss:.3f}, {progress.tokens_per_second:.0f} tokens/s"
        if progress.validation_loss is not None:
            detail += f", {progress.validation_loss:.3f} on the validation"
        self._tunes(progress.step, progress.steps, detail)

    def _looked(self, look: Look) -> None:
        told = (look.status, look.message, f"{look.tokens:,} tokens" if look.tokens else "")
        self._tunes(look.step, look.steps, ", ".join(filter(None, told)))

    def _tunes(self, step: int, steps: int, detail: str) -> None:
        self._bus.publish(
            TrialProgressed(self._study_id, len(self._took), "tune", step, steps, detail)
        )

    def _trial(self, trial: Trial, best: bool) -> None:
        """Store a trial, and tell it."""
        take_calls(self._workspace, self._store, self._journal)
        usd, tokens = self._spending()
        (usd_before, tokens_before), total = self._spent, sum(tokens.values())
        self._spent = usd, total
        cost = None if usd is None or usd_before is None else usd - usd_before
        estimate, state = trial.estimate, trial.state
        record_trials(
            self._store,
            [
                StudyTrial(
                    study_id=self._study_id,
                    number=trial.number,
                    kind=trial.kind,
                    state_hash=state.hash,
                    value=estimate.value,
                    n=estimate.n,
                    low=estimate.low,
                    high=estimate.high,
                    unknown=trial.unknown,
                    instructions=dict(state.instructions),
                    demos=state.shown,
                    reasons=dict(trial.reasons.most_common(REASONS)),
                    usd=cost,
                    tokens=total - tokens_before,
                    seconds=trial.seconds,
                )
            ],
        )
        self._took.append(trial.seconds)
        self._bus.publish(
            TrialEnded(
                study_id=self._study_id,
                number=trial.number,
                phase=trial.kind,
                value=estimate.value,
                n=estimate.n,
                low=estimate.low,
                high=estimate.high,
                best=best,
                instructions=dict(state.instructions),
                demos=state.shown,
                usd=usd,
                tokens=tokens,
                seconds=trial.seconds,
                left_seconds=self._left(trial.number),
            )
        )

    def _spending(self) -> tuple[float | None, dict[str, int]]:
        """US dollars and tokens of the whole study, all its runs, by what they were for."""
        sums = call_sums(self._store, "purpose", run_id=self._study_id)
        unpriced = any(one.unpriced for one in sums)
        tokens = {
            one.key.removeprefix(PURPOSE): one.input_tokens + one.output_tokens for one in sums
        }
        return (None if unpriced else sum(one.usd for one in sums)), tokens

    def _left(self, number: int) -> float | None:
        """Seconds that the trials to come will take, as long as those that were asked anew."""
        if self._plan is None or self._plan.trials is None:
            return None
        to_come = max(0, self._plan.trials - number)
        return to_come * sum(self._took) / len(self._took)

    # --- its end ---------------------------------------------------------------------------------

    def _conclude(self, study: Study, options: Options, lm: Model, scoring: Scoring) -> Optimized:
        """Run the study, and keep what came of it."""
        kept = Kept(
            study_id=self._study_id,
            module=self._program.name,
            module_hash=self._program.hash,
            optimizer=self._wanted.optimizer,
            dataset=self._version.id,
            metric=version_of(self._metric, self._judge),
            options={**asdict(options), "models": lm.model_dump()},
            seed=options.seed,
        )
        record_study(self._store, kept)
        take_calls(self._workspace, self._store, self._journal)
        usd, tokens = self._spending()
        self._spent = usd, sum(tokens.values())
        began = time.monotonic()
        try:
            studied = study.run()
        except BaseException:
            self._ended(FAILED, None, began)
            record_study(self._store, replace(kept, status=FAILED, ended_at=datetime.now(UTC)))
            raise
        finally:
            scoring.keep()
            take_calls(self._workspace, self._store, self._journal)
        self._ended(studied.ended, studied, began)
        usd, tokens = self._spending()
        done = Optimized(
            study_id=self._study_id,
            program=self._program,
            dataset=self._version,
            metric=self._metric,
            judge=self._judge,
            optimizer=self._wanted.optimizer,
            studied=studied,
            folder=study.folder,
            forced=self._forced,
            measured=scoring.measured,
            spared=scoring.spared,
            usd=usd,
            tokens=tokens,
        )
        done.version = self._saved(done, options, lm)
        reasons = {
            "bootstraps": dict(studied.bootstraps),
            "proposals": dict(studied.proposals),
            "unknown": dict(studied.unknown),
        }
        record_study(
            self._store,
            replace(
                kept,
                status=studied.ended,
                reasons=reasons,
                version_id=done.version,
                ended_at=datetime.now(UTC),
            ),
        )
        record_figures(self._store, self._figures(done))
        return done

    def _ended(self, reason: str, studied: Studied | None, began: float) -> None:
        best = studied.best if studied is not None else None
        self._bus.publish(
            StudyEnded(
                study_id=self._study_id,
                reason=reason,
                trials=len(studied.trials) if studied is not None else 0,
                best=best.number if best is not None else None,
                seconds=time.monotonic() - began,
            )
        )

    def _saved(self, done: Optimized, options: Options, lm: Model) -> str | None:
        """The best state as a version, None where there is none."""
        studied = done.studied
        if studied.best is None or studied.program is None:
            return None
        one, weights = studied.best.estimate, self._weights(studied.best)
        done.learned = dict(weights.learned)
        score = VersionScore(
            split=VALIDATION,
            metric=self._metric.name,
            value=one.value,
            n=one.n,
            low=one.low,
            high=one.high,
        )
        draft = DraftVersion(
            module=ModuleName(
                name=self._program.name, spec=self._program.spec, hash=self._program.hash
            ),
            program=studied.program,
            parent="",
            optimizer=Optimizer(
                name=done.optimizer,
                options={**asdict(options), "forced": done.forced},
                seed=options.seed,
            ),
            dataset=self._version.id,
            metric=f"{self._metric.name}@{self._metric.hash}",
            lm=lm,
            cost=Cost(usd=done.usd, tokens=sum(done.tokens.values()), seconds=studied.seconds),
            scores=(score,),
            adapter=weights.adapter,
            tuned=weights.tuned,
            study=self._study_id,
            partial=studied.partial,
            trained_on=studied.trained_on,
            validated_on=studied.validated_on,
            demos=studied.demos,
            trials=len(studied.trials),
        )
        return Registry(self._workspace, self._store).save(draft).id

    def _weights(self, best: Trial) -> Weights:
        """What the best state needs beside the student's own weights."""
        return self._tuning.weights(best.state.models.values()) if self._tuning else Weights()

    def _figures(self, done: Optimized) -> list[Figure]:
        """The best trial of a study that ran to its end."""
        best = done.studied.best
        if best is None or done.studied.partial:
            return []
        one = best.estimate
        return [
            Figure(
                run_id=self._study_id,
                kind=OPTIMIZE,
                subject=f"{self._program.name} by {done.optimizer} on {self._version.id}",
                metric=self._metric.name,
                value=one.value,
                n=one.n,
                low=one.low,
                high=one.high,
                version=version_of(self._metric, done.judge),
                detail={"version": done.version, "trials": len(done.studied.trials)},
            )
        ]
