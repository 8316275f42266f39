"""Optimising: a program, a dataset and a metric in, a better version of the program out.

Training rows are learnt from, trials are scored on the validation, and the hold-out is never read.
Every trial is stored as it comes; run again, the same study goes on where it was.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.core.ending import DONE, FAILED, INTERRUPTED
from flywheel.core.errors import DatasetError, LeakError, UsageError
from flywheel.core.events import EventBus
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked_if_free
from flywheel.core.settings import OptimizeSettings, Settings
from flywheel.curate import HOLDOUT, TRAIN, VALIDATION, find_version
from flywheel.curate import Version as Dataset
from flywheel.lm import LOCAL, Engine, Journal, Purpose, Role, profile_of
from flywheel.optimize.finetune import find_adapter
from flywheel.orchestrator.cost import take_calls
from flywheel.orchestrator.drawn import learnt_of
from flywheel.orchestrator.hosted import HostedTuning, tunes
from flywheel.orchestrator.measure import agreement_of, version_of
from flywheel.orchestrator.models import PATIENCE, Allowance
from flywheel.orchestrator.optimized import Optimized, draft_of, optimize_figures
from flywheel.orchestrator.scoring import Scoring
from flywheel.orchestrator.tools import Toolbox, find_metric
from flywheel.orchestrator.trials import PURPOSE, Trials
from flywheel.orchestrator.tuning import Tuning, Weights
from flywheel.programs import Metric, Program, Row, rows_of
from flywheel.registry import DraftVersion, Model, Registry, Version
from flywheel.store import Store, forget_trials, record_figures, record_study
from flywheel.store import Study as Kept
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    import dspy

    from flywheel.optimize.finetune import Trained
    from flywheel.optimize.ground import Options
    from flywheel.optimize.stop import Stop
    from flywheel.optimize.study import Studied, Study

LEARNT = 200
"""Rows that are learnt from, where none is named: prompts show a few, and proposers some more."""
SCORED = {"light": 100, "medium": 300, "heavy": 1000}
"""Rows that trials are scored on, where none is named: as many as DSPy takes."""
PROPOSED = 400
"""Tokens that a small local model may write to propose an instruction: it would go on for ever."""


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

    Raises `UsageError` for what does not fit together, `LeakError` where it is to begin with a
    version that has seen the hold-out, and what `Study.run` raises.
    """
    wanted = settings.optimize
    from flywheel.optimize.optimizers import find_optimizer  # noqa: PLC0415  DSPy, for a second

    registry = Registry(workspace, store)
    program = registry.program(spec)
    program.check()
    registry.check(program)
    start = _start_of(program, registry, wanted)
    find_optimizer(wanted.optimizer)
    metric = find_metric(wanted.metric, settings, workspace)
    version = find_version(workspace.datasets, wanted.dataset)
    train, validation = _rows(version, wanted, registry, start)
    with ExitStack() as held:
        work = _Work(settings, workspace, store, bus, program, start, metric, version, force)
        return work.run(held, train, validation)


def _start_of(program: Program, registry: Registry, wanted: OptimizeSettings) -> Version | None:
    """The version that a study begins with, None for the program as its code has it.

    Raises `UsageError` where it is another program's, or its weights are a provider's.
    """
    if wanted.start is None:
        return None
    version = registry.version_of(program, wanted.start)
    if version.manifest.tuned is not None:
        raise UsageError(
            f"no study begins with {version.id}",
            cause=f"{version.manifest.tuned.model} was tuned by its provider",
            hint="leave --from out: what is tuned there begins with the model as it is",
        )
    return None if version.folder is None else version


def _rows(
    version: Dataset, wanted: OptimizeSettings, registry: Registry, start: Version | None
) -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and rows to score trials on, drawn by the seed.

    What the start has learnt from scores nothing, nor does what hangs together with it: it would
    speak for the start. Raises `LeakError` where the start has seen what is held out.
    """
    if missing := [one for one in (TRAIN, VALIDATION) if one not in version.splits]:
        raise UsageError(
            f"{version.id} has no {missing[0]} split",
            cause=f"it has {', '.join(version.splits)}",
            hint="an optimiser learns from one and is scored on the other;"
            " [split] of the recipe makes them",
        )
    from flywheel.optimize.optimizers import WEIGHTS  # noqa: PLC0415  DSPy, for a second

    learnt: Collection[str] = ()
    if start is not None:
        if seen := registry.seen(start, version.ids(HOLDOUT)):
            raise LeakError(
                f"{start.id} has seen {len(seen):,} rows of the hold-out of {version.id}",
                cause="what comes of it could not be compared on them",
                hint="begin with another version, or without one",
            )
        learnt = learnt_of(version, registry, start)
    many = wanted.rows or LEARNT
    if wanted.optimizer in WEIGHTS and wanted.rows is None:
        many = version.manifest.splits[TRAIN].rows
    scored = _drawn(version, VALIDATION, wanted.rows or SCORED[wanted.auto], wanted.seed, learnt)
    if not scored:
        raise DatasetError(
            f"{start.id if start else ''} has learnt from every validation row of {version.id}",
            hint="begin without it, or with a dataset of more rows",
        )
    return _drawn(version, TRAIN, many, wanted.seed), scored


def _drawn(
    version: Dataset, split: str, many: int, seed: int, without: Collection[str] = ()
) -> list[Row]:
    def place(row: Row) -> str:
        return content_hash("draw", seed, row.id)

    rows = (row for row in rows_of(version, split) if row.id not in without)
    return heapq.nsmallest(many, rows, key=place)


class _Work:
    """One study, with what it needs."""

    def __init__(
        self,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        program: Program,
        start: Version | None,
        metric: Metric,
        version: Dataset,
        force: bool,
    ) -> None:
        self._settings, self._wanted = settings, settings.optimize
        self._workspace, self._store, self._bus = workspace, store, bus
        self._program, self._metric, self._version = program, metric, version
        self._start = start
        self._force, self._forced = force, False
        self._judge = self._judging()
        self._study_id = ""
        self._journal = Journal(workspace.journal_path)
        self._tuning: Tuning | HostedTuning | None = None
        self._stop: Stop | None = None

    def run(self, held: ExitStack, train: list[Row], validation: list[Row]) -> Optimized:
        """Open what is needed, study, and keep what came of it."""
        from flywheel.optimize.ground import Options  # noqa: PLC0415  DSPy, for a second

        held.callback(self._journal.close)
        wanted = self._wanted
        options = Options(
            auto=wanted.auto,
            trials=wanted.trials,
            demos=wanted.demos,
            threshold=wanted.threshold,
            seed=wanted.seed,
        )
        engine = self._engine()
        held.callback(self._closed, engine)
        for purpose in self._purposes().values():
            engine.check(purpose.role, purpose.profile)
        players = {name: engine.player(one) for name, one in self._purposes().items()}
        self._study_id = self._fingerprint(options, players, train, validation)
        folder = self._workspace.studies / self._study_id
        if not held.enter_context(locked_if_free(folder / "lock")):
            raise UsageError(
                f"the study {self._study_id} is under way in another process",
                hint="wait for it, or change what is studied: another --seed is another study",
            )
        tools = held.enter_context(
            Toolbox(
                self._metric, self._settings, self._workspace, self._store, self._bus,
                run_id=self._study_id, engine=engine,
                allowed=Allowance(wanted.max_usd, wanted.max_tokens),
            )
        )  # fmt: skip
        scoring = Scoring(
            self._metric, tools, self._store, [row.id for row in (*train, *validation)]
        )
        plays = engine.chain(Role.STUDENT, wanted.student or "")[0]
        lm = Model(
            model=plays.settings.model,
            profile=plays.name,
            server=engine.server(self._purposes()["student"]),
        )
        kept = self._kept(options, lm)
        trials = Trials(
            kept, self._metric.name, self._workspace, self._store, self._bus, self._journal
        )
        study = self._study(engine, options, scoring, trials, folder, train, validation)
        return self._conclude(study, engine, scoring, trials, kept, lm)

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
        trials: Trials,
        folder: Path,
        train: list[Row],
        validation: list[Row],
    ) -> Study:
        from flywheel.lm.bridge import language_model  # noqa: PLC0415  DSPy, for a second
        from flywheel.optimize.stop import Stop  # noqa: PLC0415
        from flywheel.optimize.study import Models, Study, Subject  # noqa: PLC0415
        from flywheel.optimize.trial import State  # noqa: PLC0415  DSPy, for a second

        purposes = self._purposes()
        program, module = self._program, self._program.make()
        trained = self._begun(engine, purposes["student"], module)
        self._stop = stop = Stop(seconds=self._wanted.time_limit)
        self._tuning = self._tuner(engine, purposes["student"], stop, trials, trained)
        if isinstance(self._tuning, Tuning):
            purposes["student"] = self._tuning.begun()
        models = {name: language_model(engine, one) for name, one in purposes.items()}
        if engine.chain(Role.PROPOSER, self._wanted.proposer or "")[0].provider == LOCAL:
            models["proposer"].kwargs["max_tokens"] = PROPOSED
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
            trainings=self._workspace.trainings,
            stop=stop,
            begun_demos=() if self._start is None else self._start.manifest.demos,
            on_plan=lambda plan: trials.planned(
                plan, State.of(module), len(train), len(validation)
            ),
            on_trial=trials.take,
            on_seen=trials.seen,
        )

    def _begun(self, engine: Engine, student: Purpose, module: dspy.Module) -> Trained | None:
        """Set the state of the version that the study begins with; gives its weights, if any.

        Raises `RegistryError` where they are another model's, `UsageError` where they are gone.
        """
        if self._start is None:
            return None
        local = engine.chain(student.role, student.profile)[0].provider == LOCAL
        weights = engine.server(student).partition("#")[2] if local else None
        Registry(self._workspace, self._store).load(self._start, module, base=weights)
        adapter = self._start.manifest.adapter
        return find_adapter(self._workspace.adapters, adapter.hash) if adapter else None

    def _tuner(
        self,
        engine: Engine,
        student: Purpose,
        stop: Stop,
        trials: Trials,
        start: Trained | None,
    ) -> Tuning | HostedTuning | None:
        """What trains the student: this machine, or its provider; None where neither does."""
        profile, seed = engine.chain(student.role, student.profile)[0], self._wanted.seed
        if profile.provider == LOCAL:
            return Tuning(
                engine,
                student,
                self._workspace.adapters,
                seed=seed,
                time_limit=self._wanted.time_limit,
                left=lambda: stop.left,
                scoring=lambda: trials.longest,
                start=start,
                on_progress=trials.trained,
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
            on_look=trials.looked,
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
        players: Mapping[str, str],
        train: list[Row],
        validation: list[Row],
    ) -> str:
        from flywheel.optimize.study import fingerprint  # noqa: PLC0415  DSPy, for a second

        return fingerprint(
            module=[
                *(self._program.name, self._program.hash),
                *(() if self._start is None else (self._start.id,)),
            ],
            optimizer=self._wanted.optimizer,
            # How many run at once changes nothing of what comes of it.
            options={**asdict(options), "threads": None},
            dataset=self._version.id,
            rows=[[row.id for row in rows] for rows in (train, validation)],
            metric=[self._metric.id, self._judge],
            models=dict(players),
        )

    # --- its end ---------------------------------------------------------------------------------

    def _kept(self, options: Options, lm: Model) -> Kept:
        """The study as the store keeps it, from its beginning."""
        return Kept(
            study_id=self._study_id,
            module=self._program.name,
            module_hash=self._program.hash,
            optimizer=self._wanted.optimizer,
            dataset=self._version.id,
            metric=version_of(self._metric, self._judge),
            options={**asdict(options), "models": lm.model_dump()},
            seed=options.seed,
        )

    def _conclude(
        self,
        study: Study,
        engine: Engine,
        scoring: Scoring,
        trials: Trials,
        kept: Kept,
        lm: Model,
    ) -> Optimized:
        """Run the study, and keep what came of it."""
        record_study(self._store, kept)
        trials.begin()
        try:
            try:
                studied = study.run()
            finally:
                scoring.keep()
                spent = trials.spent()
            done = Optimized(
                study_id=self._study_id,
                program=self._program,
                dataset=self._version,
                metric=self._metric,
                judge=self._judge,
                forced=self._forced,
                start=self._start.id if self._start is not None else "",
                optimizer=self._wanted.optimizer,
                options=study.options,
                lm=lm,
                studied=studied,
                weights=self._weights(studied),
                folder=study.folder,
                measured=scoring.measured,
                spared=scoring.spared,
                usd=spent.usd,
                tokens=spent.tokens,
                paid=engine.spent,
            )
            registry, draft = Registry(self._workspace, self._store), draft_of(done)
            if self._is_start(registry, draft, studied):
                done = replace(done, again=True)
            elif draft is not None:
                done = replace(done, version=registry.save(draft).id)
        except BaseException:
            trials.ended(FAILED)
            record_study(self._store, replace(kept, status=FAILED, ended_at=datetime.now(UTC)))
            raise
        trials.ended(studied.ended, studied)
        if studied.ended == DONE:
            forget_trials(self._store, self._study_id, first=len(studied.trials))
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
        record_figures(self._store, optimize_figures(done))
        return done

    def _is_start(self, registry: Registry, draft: DraftVersion | None, studied: Studied) -> bool:
        """Whether a study that began with a version has found nothing else."""
        if self._start is None:
            return False
        if draft is None:
            return studied.ended == DONE
        return registry.again(draft, self._start)

    def _weights(self, studied: Studied) -> Weights:
        """What the best state needs beside the student's own weights."""
        if self._tuning is None:
            return Weights()
        return self._tuning.weights(studied.best.state.models.values() if studied.best else ())
