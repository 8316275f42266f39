"""What is seen of DSPy's optimisers while they run, and the metric that they go by.

DSPy tells callbacks of every evaluation, every call of a program and of a model. Of these a trial
is made: which state, which rows, what each answer was worth and why. An answer that cannot be read
is worth nothing, and says so; what says nothing of the program ends the study.

Belongs to one study. Its callbacks run in DSPy's threads.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from flywheel.core.errors import FlywheelError
from flywheel.core.identity import content_hash
from flywheel.lm import OF_REQUESTS, Reply, kind_of
from flywheel.lm.bridge import dspy
from flywheel.optimize.run import RAISED, UNREADABLE, Measure, Outcome, unread
from flywheel.optimize.stop import Stop
from flywheel.optimize.trial import FULL, MINIBATCH, TRAIN, State, Trial, why
from flywheel.programs import Row, answer_of

KEPT = "kept"
"""What is counted of an example that gives a trace to learn from."""
NOT_SAYABLE = "not sayable"
"""Why an example gives no trace: its proven answer has no form that the program can say."""

_ROW: ContextVar[Row | None] = ContextVar("row", default=None)
"""The row that a program is run on."""
_STEP: ContextVar[tuple[dspy.Module, dspy.Predict | None] | None] = ContextVar("step", default=None)
"""The program that is run, and the step of it that asks its model."""


class NotSayableError(ValueError):
    """A row's proven answer has no form that the program can say."""


class Unmeasurable(BaseException):
    """A row whose value nobody knows: unknown is never 0, so the study begins without it."""

    def __init__(self, example_id: str, reason: str) -> None:
        super().__init__(reason)
        self.example_id = example_id
        """The row's example."""
        self.reason = reason
        """Why."""


@dataclass(slots=True, eq=False)
class _Open:
    """An evaluation under way."""

    number: int
    """Number of the trial that it will be."""
    program: dspy.Module
    """The program that is evaluated."""
    kind: str
    """What its rows are: see `trial`."""
    examples: list[dspy.Example]
    """The rows, as DSPy has them."""
    began: float
    """When, by the monotonic clock."""
    state: State
    """The state of the program."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What was measured, by example."""
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Kind and reason of what the program raised, by its inputs."""


@dataclass(frozen=True, slots=True)
class _Root:
    """A call of a module that no other module has made."""

    parent: str | None
    """The evaluation that made it, None where none did."""
    key: str
    """Its inputs."""
    own: bool
    """Whether it is the program that is made better."""


@dataclass(slots=True)
class Best:
    """The best state so far, of those that were scored on all of the validation."""

    trial: Trial
    """Its trial."""
    program: dspy.Module
    """The program, a copy of its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a trial, or the work between two, is."""

    number: int
    """The trial."""
    phase: str
    """Its kind, or `bootstrap`, `sample`, `propose`."""
    done: int
    """Rows measured; of proposals the questions asked."""
    total: int
    """Rows of it, 0 where that is not known."""
    answers: int = 0
    """Answers of models in it so far: a chain may take many for its first row."""


def row_at_work() -> Row | None:
    """The row that a program is run on in this thread, None where there is none."""
    return _ROW.get()


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a program that asks its model."""

    name: str
    """As `named_predictors` calls it."""
    signature: type[dspy.Signature]
    """Its signature."""


def step_at_work() -> Step | None:
    """The step that asks its model in this thread, None where no program runs."""
    program, step = _STEP.get() or (None, None)
    if program is None or step is None:
        return None
    names = (name for name, one in program.named_predictors() if one is step)
    name = next(names, None)
    return None if name is None else Step(name, step.signature)


class Watch(BaseCallback):  # type: ignore[misc]  # DSPy is not typed
    """Sees trials, measures answers, and ends what is to end."""

    def __init__(
        self,
        kind: type,
        rows: Mapping[str, Row],
        inputs: tuple[str, ...],
        measure: Measure,
        stop: Stop,
        *,
        student: str,
        threshold: float,
        on_trial: Callable[[Trial, bool], None],
        on_seen: Callable[[Seen], None],
    ) -> None:
        """`kind` is the program's class, `rows` all rows by example, `inputs` what it takes.

        `student` is the model that plays it, by DSPy's name.
        """
        super().__init__()
        self._kind, self._rows, self._measure, self._stop = kind, rows, measure, stop
        self._student, self._threshold = student, threshold
        self._on_trial, self._on_seen = on_trial, on_seen
        self._by_inputs = {_key(row.inputs(inputs)): row for row in rows.values()}
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._modules: set[str] = set()
        """Calls of modules under way."""
        self._roots: dict[str, _Root] = {}
        """Those of them that no other module has made."""
        self._steps: dict[
            str, tuple[tuple[dspy.Module, dspy.Predict | None] | None, Mapping[str, Any]]
        ] = {}
        """Calls of steps -> what was at work before, and what they were given."""
        self._origins: dict[str, str] = {}
        self._between = self._proposed = self._answers = 0
        self._seen: Seen | None = None
        self.validation: frozenset[str] = frozenset()
        """Examples that full trials are scored on."""
        self.lenient = False
        """Whether a value that is not known is passed over, to find all such rows at once."""
        self.unknown: dict[str, str] = {}
        """Rows whose value was not known, with the reason."""
        self.trials: list[Trial] = []
        """The trials, in order."""
        self.best: Best | None = None
        """The best of those after the first, None where there is none."""
        self.bootstraps: Counter[str] = Counter()
        """What came of examples that were tried as demonstrations: `kept`, or why not."""
        self.proposals: Counter[str] = Counter()
        """Why steps of the optimiser itself (a proposal, a summary) came to nothing."""

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Let examples in the block not count as tried to learn from."""
        before = self.bootstraps.copy()
        try:
            yield
        finally:
            self.bootstraps = before

    def take_over(self, other: Watch) -> None:
        """Know what another watch saw between its trials, and what demonstrations are made of."""
        self.bootstraps, self.proposals = other.bootstraps.copy(), other.proposals.copy()
        self._origins = dict(other._origins)

    # --- the metric ------------------------------------------------------------------------------

    def metric(
        self, example: dspy.Example, prediction: dspy.Prediction, trace: Any = None
    ) -> float:
        """What a program's answer is worth, as DSPy's optimisers ask it."""
        return self.judged(example, prediction, trace).value or 0.0

    def feedback(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: Any = None,
        step: str | None = None,
        of_step: Any = None,
    ) -> dspy.Prediction:
        """The same with its reason in words, as GEPA asks it of a program and of each step."""
        outcome = self.judged(example, prediction)
        return dspy.Prediction(score=outcome.value or 0.0, feedback=why(outcome))

    def judged(
        self, example: dspy.Example, prediction: dspy.Prediction | None, trace: Any = None
    ) -> Outcome:
        """The same, whole. Raises `Stopped`, and `Unmeasurable` for what is not known."""
        self._stop.check()
        row = self._rows[example.example_id]
        outcome = self._outcome(row, prediction)
        evaluation = self._open.get(ACTIVE_CALL_ID.get() or "")
        if evaluation is not None:
            evaluation.outcomes[row.id] = outcome
            self._tell(evaluation.number, evaluation.kind, len(evaluation.outcomes),
                       len(evaluation.examples))  # fmt: skip
        else:
            self._beside(outcome, bootstrap=trace is not None)
        if outcome.value is None:
            self.unknown[row.id] = outcome.reason
            if not self.lenient:
                raise Unmeasurable(row.id, outcome.reason)
        return outcome

    def _outcome(self, row: Row, prediction: dspy.Prediction | None) -> Outcome:
        if prediction is None or not hasattr(prediction, "items"):
            return Outcome(row.id, "", None, 0.0, "the program gave no answer", failure=UNREADABLE)
        try:
            answer = answer_of(prediction)
            score = self._measure(row.case, answer)
        except Exception as error:
            # A metric that is wrong, a critic that died: neither is the answer's fault.
            ours = _as_ours(error, f"measuring an answer to {row.id}")
            raise self._stop.because(ours) from error
        return Outcome(
            row.id, answer.text, answer.code, score.value, score.reason, dict(score.parts)
        )

    def _beside(self, outcome: Outcome, *, bootstrap: bool) -> None:
        """Count what was measured outside of any evaluation."""
        with self._lock:
            self._between += 1
            done = self._between
            if bootstrap and outcome.value is not None:
                kept = outcome.value >= self._threshold
                self.bootstraps[KEPT if kept else why(outcome)] += 1
        self._tell(len(self.trials), "bootstrap" if bootstrap else "sample", done, 0)

    def _tell(self, number: int, phase: str, done: int, total: int) -> None:
        self._seen = Seen(number, phase, done, total, self._answers)
        self._on_seen(self._seen)

    def origin(self, demo: Mapping[str, Any]) -> str | None:
        """The example that a demonstration was made of, None where that is not known."""
        if "example_id" in demo:
            return str(demo["example_id"])
        return self._origins.get(_key({k: v for k, v in demo.items() if k != "augmented"}))

    # --- calls of models -------------------------------------------------------------------------

    def heard(self, said: Reply | FlywheelError) -> None:
        """Is told of each call; raises `Stopped` where that is the end."""
        if isinstance(said, FlywheelError):
            if kind_of(said) not in OF_REQUESTS:
                raise self._stop.because(said) from said
        self._stop.check()
        if isinstance(said, Reply) and self._seen is not None:
            self._answers += 1
            self._on_seen(replace(self._seen, answers=self._answers))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Let nothing more be asked once the study is to end."""
        self._stop.check()

    # --- evaluations -----------------------------------------------------------------------------

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """A trial begins."""
        self._stop.check()
        program = inputs["program"]
        examples = list(inputs.get("devset") or instance.devset)
        ids = {one.example_id for one in examples}
        kind = TRAIN
        if ids <= self.validation:
            kind = FULL if ids == self.validation else MINIBATCH
        with self._lock:
            number = len(self.trials) + len(self._open)
            self._between = self._proposed = self._answers = 0
            self._open[call_id] = _Open(
                number, program, kind, examples, time.monotonic(),
                State.of(program, self._student),
            )  # fmt: skip
        self._tell(number, kind, 0, len(examples))

    def on_evaluate_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """A trial is over, or was broken off and is none."""
        with self._lock:
            evaluation = self._open.pop(call_id, None)
        if evaluation is None or exception is not None:
            return
        outcomes = tuple(_of(evaluation, example) for example in evaluation.examples)
        with self._lock:
            trial = Trial(
                len(self.trials), evaluation.kind, evaluation.state, outcomes,
                time.monotonic() - evaluation.began,
            )  # fmt: skip
            self.trials.append(trial)
            better = self._is_best(trial)
            if better:
                self.best = Best(trial, evaluation.program.deepcopy())
        try:
            self._on_trial(trial, better)
        except Exception as error:
            # DSPy takes what a callback raises for a warning: a trial that is lost is none.
            raise self._stop.because(_as_ours(error, f"keeping trial {trial.number}")) from error

    def _is_best(self, trial: Trial) -> bool:
        """Whether it is better than every changed state before; of equals the first stays."""
        if trial.kind != FULL or trial.estimate.value is None:
            return False
        if self.trials and trial.state.hash == self.trials[0].state.hash:
            return False
        return self.best is None or trial.estimate.value > (self.best.trial.estimate.value or 0.0)

    # --- programs --------------------------------------------------------------------------------

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """A program begins with a row, or one of its steps with its model."""
        self._stop.check()
        parent = ACTIVE_CALL_ID.get()
        with self._lock:
            inside = parent in self._modules
            self._modules.add(call_id)
        if not inside:
            key = _key(inputs.get("kwargs") or {})
            own = isinstance(instance, self._kind)
            self._roots[call_id] = _Root(parent, key, own)
            if own:
                _ROW.set(self._by_inputs.get(key))
                _STEP.set((instance, None))
            else:
                self._proposed += 1
                self._tell(len(self.trials), "propose", self._proposed, 0)
        if isinstance(instance, dspy.Predict):
            before = _STEP.get()
            # Beside its fields it may be given settings, of which a demonstration says nothing.
            given = inputs.get("kwargs") or {}
            fields = instance.signature.input_fields
            self._steps[call_id] = before, {key: given[key] for key in given if key in fields}
            _STEP.set((before[0] if before else instance, instance))

    def _step_ended(self, call_id: str, outputs: Any) -> None:
        """Remember which example a step worked at: demonstrations are made of its words."""
        before, given = self._steps.pop(call_id)
        _STEP.set(before)
        row = _ROW.get()
        if row is not None and outputs is not None:
            self._origins[_key({**given, **dict(outputs)})] = row.id

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """What a program raises is its outcome, with its reason."""
        with self._lock:
            self._modules.discard(call_id)
        if call_id in self._steps:
            self._step_ended(call_id, outputs)
        root = self._roots.pop(call_id, None)
        if root is None or not isinstance(exception, Exception):
            return
        failure, reason = _said(exception)
        evaluation = self._open.get(root.parent or "")
        if evaluation is not None:
            evaluation.failures[root.key] = failure, reason
            return
        with self._lock:
            counted = self.bootstraps if root.own else self.proposals
            counted[f"{failure}: {reason}"] += 1


def _as_ours(error: Exception, doing: str) -> FlywheelError:
    """An error of ours as it is, and any other as a failure of what was done."""
    if isinstance(error, FlywheelError):
        return error
    return FlywheelError(f"{doing} failed", cause=f"{type(error).__name__}: {error}")


def _of(evaluation: _Open, example: dspy.Example) -> Outcome:
    """What came of a row: as it was measured, or why it could not be."""
    if (found := evaluation.outcomes.get(example.example_id)) is not None:
        return found
    failure, reason = evaluation.failures.get(
        _key(example.inputs().toDict()), (UNREADABLE, "the answer has another form")
    )
    return Outcome(example.example_id, "", None, 0.0, reason, failure=failure)


def _said(error: Exception) -> tuple[str, str]:
    """Kind and reason of what a program raised, in words that several may share."""
    match error:
        case dspy.AdapterParseError():
            return UNREADABLE, unread(error)
        case dspy.LMError() if isinstance(error.__cause__, NotSayableError):
            return NOT_SAYABLE, str(error.__cause__)
        case dspy.LMError():
            return "model", str(error).partition("\n")[0][:200]
        case _:
            told = str(error).partition("\n")[0][:200]
            return RAISED, f"{type(error).__name__}: {told}"


def _key(values: Mapping[str, Any]) -> str:
    return content_hash(sorted((name, str(value)) for name, value in values.items()))
