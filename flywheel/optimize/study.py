"""A study: one optimiser at work on one program, seen live, stopped without loss, gone on with.

It is known by its fingerprint: of the program, the optimiser and what it is told, the rows, the
metric, the models and the seed. Run again, the same study makes the same trials; what was asked of
models and of metrics is kept by its content, so a study that was killed goes on where it was, and
another study never takes its place.

A row whose value nobody knows is left out, and the search begins anew without it: unknown is never
0, and no reason to give up. What a search has given stays: it is scored on the rows that are left.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import flywheel
from flywheel.core.ending import FAILED, INTERRUPTED
from flywheel.core.errors import DatasetError, FlywheelError, Interrupted
from flywheel.core.identity import content_hash
from flywheel.lm.bridge import dspy, listening
from flywheel.optimize.ground import NEVER, Ground, Optimizer, Options, Plan, Tuner
from flywheel.optimize.known import known_model, known_of
from flywheel.optimize.optimizers import find_optimizer
from flywheel.optimize.quiet import quiet
from flywheel.optimize.run import Measure, Stopped
from flywheel.optimize.stop import Stop
from flywheel.optimize.trial import FULL, State, Trial
from flywheel.optimize.watch import Seen, Unmeasurable, Watch
from flywheel.programs import Row

MOST_UNKNOWN = 0.5
"""Share of the rows that may be left out because nobody knows their value."""
OUTCOMES, LOG = "outcomes.jsonl", "optimizer.log"
"""Files of a study's folder: what each row of each trial was worth, and what DSPy had to say. Each
run adds its trials to the first: of one that was scored again the last lines count."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The program that is to be made better."""

    name: str
    """What its versions are filed under."""
    hash: str
    """Identity of its code."""
    inputs: tuple[str, ...]
    """Fields of a row that it takes."""
    module: dspy.Module
    """It, in the state from which the study begins."""


@dataclass(frozen=True, slots=True)
class Models:
    """Who plays what."""

    student: dspy.LM
    """Runs the program."""
    proposer: dspy.LM
    """Proposes instructions."""
    teacher: dspy.LM | None
    """Gives answers to learn from; None: what is known, where the program can say it, else the
    student."""
    tuner: Tuner | None = None
    """Trains the student, None where it cannot be trained here."""


@dataclass(frozen=True, slots=True)
class Studied:
    """What came of a study."""

    ended: str
    """`done`, `interrupted`, `budget` or `time-limit`."""
    error: FlywheelError | None
    """What stopped it, None where it ran to its end."""
    baseline: Trial | None
    """The program as it was."""
    best: Trial | None
    """The best of the changed states, None where there is none."""
    program: dspy.Module | None
    """The program in that state."""
    trials: tuple[Trial, ...]
    """All trials."""
    plan: Plan | None
    """What was to be done, None where it did not come to that."""
    bootstraps: Mapping[str, int]
    """What came of examples that were tried as demonstrations: `kept`, or why not."""
    proposals: Mapping[str, int]
    """Why proposals came to nothing."""
    unknown: Mapping[str, str]
    """Rows that were left out, with the reason."""
    demos: tuple[str, ...]
    """Examples that the best state shows."""
    trained_on: tuple[str, ...]
    """Examples that were there to be learnt from."""
    validated_on: tuple[str, ...]
    """Examples that trials were scored on."""
    seconds: float
    """Wall time of this run."""

    @property
    def better(self) -> bool:
        """Whether the best is worth more than the program as it was."""
        if self.best is None or self.baseline is None:
            return self.best is not None
        return (self.best.estimate.value or 0.0) > (self.baseline.estimate.value or 0.0)

    @property
    def partial(self) -> bool:
        """Whether it was stopped before its end."""
        return self.error is not None


def fingerprint(**parts: Any) -> str:
    """Identity of a study: of all that its course depends on, and of the versions of the code."""
    return content_hash("study", flywheel.__version__, dspy.__version__, parts)


@dataclass(slots=True)
class Study:
    """One study, ready to be run."""

    subject: Subject
    """The program."""
    optimizer: str
    """Name of the optimiser."""
    models: Models
    """Who plays what."""
    train: Sequence[Row]
    """Rows to learn from."""
    validation: Sequence[Row]
    """Rows that trials are scored on."""
    measure: Measure
    """What an answer is worth; the same answer is measured once, whoever asks."""
    options: Options
    """How far to go."""
    folder: Path
    """Its own, by its fingerprint."""
    trainings: Path
    """That of trainings, of every study."""
    stop: Stop
    """What may end it early."""
    begun_demos: Sequence[str] = ()
    """Examples that the program shows as the study begins with it."""
    on_plan: Callable[[Plan], None] = lambda plan: None
    """Is told what is to be done."""
    on_trial: Callable[[Trial, bool], None] = lambda trial, best: None
    """Is told of each trial, and whether it is the best so far."""
    on_seen: Callable[[Seen], None] = lambda seen: None
    """Is told how far a trial is."""
    _unknown: dict[str, str] = field(default_factory=dict)
    _watch: Watch = field(init=False)

    def run(self) -> Studied:
        """Look for a better state, until the optimiser is done or something stops it.

        Raises `FlywheelError`: of the metric, of a model, of the store, of the optimiser; and
        `DatasetError` where too few rows can be measured.
        """
        began = time.monotonic()
        optimizer = find_optimizer(self.optimizer)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._watch, plan = self._new_watch(), None
        try:
            with quiet(self.folder / LOG), self.stop.held():
                # What cannot be done is said before anything is paid for.
                plan = optimizer.plan(self._ground())
                self.on_plan(plan)
                with self._watched():
                    self._baseline()
                self._finish(self._compiled(optimizer))
        except Stopped as stopped:
            self.stop.because(stopped.error)
        except KeyboardInterrupt:
            self.stop.because(Interrupted("the user stopped the study"), INTERRUPTED)
        except FlywheelError as error:
            self.stop.because(error)
        except Exception as error:
            raise self.stop.because(self._failed(error)).error from error
        if self.stop.ended == FAILED and self.stop.error is not None:
            raise self.stop.error
        return self._studied(plan, time.monotonic() - began)

    # --- its steps -------------------------------------------------------------------------------

    def _new_watch(self) -> Watch:
        rows = {row.id: row for row in (*self.train, *self.validation)}
        return Watch(
            type(self.subject.module),
            rows,
            self.subject.inputs,
            self.measure,
            self.stop,
            student=self.models.student.model,
            threshold=self.options.threshold,
            on_trial=self._on_trial,
            on_seen=self.on_seen,
        )

    def _without(self, error: Unmeasurable) -> None:
        """Leave a row out, and see the study anew: what was scored of it was so with that row."""
        self._left_out({error.example_id: error.reason})
        baseline = self._watch.trials[0]
        left = tuple(one for one in baseline.outcomes if one.example_id not in self._unknown)
        self._watch = self._new_watch()
        self._watch.trials.append(Trial(0, baseline.kind, baseline.state, left, baseline.seconds))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Let the watch see what DSPy does in the block; its programs find their own adapters."""
        # Traces of all that is evaluated would pile up: who wants one asks for it.
        with (
            dspy.context(
                lm=self.models.student,
                callbacks=[self._watch],
                num_threads=self.options.threads,
                trace=None,
                disable_history=True,
            ),
            listening(self._watch.heard),
        ):
            yield

    def _baseline(self) -> None:
        """Score the program as it is, and find the rows that cannot be measured."""
        self._watch.validation = frozenset(row.id for row in self.validation)
        self._watch.lenient = True
        self._evaluate(self.subject.module, self.validation)
        self._watch.lenient = False
        self._left_out(self._watch.unknown)

    def _compiled(self, optimizer: Optimizer) -> dspy.Module:
        """What the optimiser gives; where a row cannot be measured, it begins anew without it."""
        while True:
            ground = self._ground()
            optimizer.plan(ground)
            try:
                with self._watched():
                    return optimizer.compile(ground)
            except Unmeasurable as error:
                self._without(error)

    def _finish(self, program: dspy.Module) -> None:
        """Score what an optimiser gave; it stays, whichever rows of it cannot be measured."""
        while True:
            try:
                with self._watched():
                    self._score(program)
                return
            except Unmeasurable as error:
                before = self._watch
                self._without(error)
                self._watch.take_over(before)
                self._watch.validation = frozenset(row.id for row in self._known(self.validation))

    def _score(self, program: dspy.Module) -> None:
        """Score a program on all of the validation, where it has not been."""
        mine = State.of(program, self.models.student.model).hash
        if not any(one.kind == FULL and one.state.hash == mine for one in self._watch.trials):
            self._evaluate(program, self._known(self.validation))

    def _evaluate(self, program: dspy.Module, rows: Sequence[Row]) -> None:
        evaluate = dspy.Evaluate(
            devset=list(self._examples(rows)),
            metric=self._watch.metric,
            num_threads=self.options.threads,
            max_errors=NEVER,
        )
        evaluate(program)

    def _ground(self) -> Ground:
        train, validation = self._known(self.train), self._known(self.validation)
        self._watch.validation = frozenset(row.id for row in validation)
        return Ground(
            student=self.subject.module.deepcopy(),
            train=self._examples(train),
            validation=self._examples(validation),
            student_model=self.models.student,
            proposer_model=self.models.proposer,
            teacher_model=self._teacher(),
            watch=self._watch,
            options=self.options,
            trainings=self.trainings,
            tuner=self.models.tuner,
            score=self._score,
        )

    def _teacher(self) -> dspy.LM:
        if self.models.teacher is not None:
            return self.models.teacher
        known = known_of(self.subject.module)
        return self.models.student if known is None else known_model(known)

    def _examples(self, rows: Sequence[Row]) -> tuple[dspy.Example, ...]:
        """Rows as DSPy takes them: the fields that the program or a step of it names, and an id."""
        steps = {
            name for step in self.subject.module.predictors() for name in step.signature.fields
        }
        names = (*self.subject.inputs, *sorted(steps - set(self.subject.inputs)))
        return tuple(
            dspy.Example(
                **{name: row.fields[name] for name in names if name in row.fields},
                example_id=row.id,
            ).with_inputs(*self.subject.inputs)
            for row in rows
        )

    def _known(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(row for row in rows if row.id not in self._unknown)

    def _left_out(self, unknown: Mapping[str, str]) -> None:
        """Leave rows out whose value nobody knows. Raises `DatasetError` where that is too many."""
        self._unknown |= unknown
        for name, rows in (("training", self.train), ("validation", self.validation)):
            left = len(self._known(rows))
            if left < max(1, len(rows) * (1 - MOST_UNKNOWN)):
                reason, count = Counter(self._unknown.values()).most_common(1)[0]
                raise DatasetError(
                    f"only {left} of {len(rows)} rows of the {name} can be measured",
                    cause=f"{count} × {reason}",
                    hint="flywheel metric run NAME --answers good shows which rows, and why",
                )

    def _on_trial(self, trial: Trial, best: bool) -> None:
        with (self.folder / OUTCOMES).open("a", encoding="utf-8") as file:
            for one in trial.outcomes:
                said = asdict(one)
                said["parts"] = dict(one.parts)
                line = {"trial": trial.number, "state": trial.state.hash, **said}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.on_trial(trial, best)

    def _failed(self, error: Exception) -> FlywheelError:
        told = "".join(str(error).strip().partition("\n")[0])[:500]
        return FlywheelError(
            f"the optimiser {self.optimizer} failed",
            cause=f"{type(error).__name__}: {told}",
            hint=f"what it did until then is in {self.folder / LOG}",
        )

    def _studied(self, plan: Plan | None, seconds: float) -> Studied:
        watch, best = self._watch, self._watch.best
        shown: dict[str, None] = {}
        if best is not None:
            for demo in chain.from_iterable(best.trial.state.demos.values()):
                origin = watch.origin(demo)
                # Which of those it began with that is, is not known: it may be any.
                shown |= dict.fromkeys((origin,) if origin is not None else self.begun_demos)
        return Studied(
            ended=self.stop.ended,
            error=self.stop.error,
            baseline=watch.trials[0] if watch.trials else None,
            best=best.trial if best else None,
            program=best.program if best else None,
            trials=tuple(watch.trials),
            plan=plan,
            bootstraps=dict(watch.bootstraps.most_common()),
            proposals=dict(watch.proposals.most_common()),
            unknown=dict(self._unknown),
            demos=tuple(shown),
            trained_on=tuple(row.id for row in self._known(self.train)),
            validated_on=tuple(row.id for row in self._known(self.validation)),
            seconds=seconds,
        )
