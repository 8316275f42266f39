"""What an optimiser is given: the program, the rows, the models, the metric, and how far to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from flywheel.lm.bridge import dspy
from flywheel.optimize.finetune import Trace
from flywheel.optimize.known import known_of
from flywheel.optimize.watch import Watch

Auto = Literal["light", "medium", "heavy"]
"""How much work, where no number of trials is given."""
CANDIDATES: Mapping[Auto, int] = {"light": 6, "medium": 12, "heavy": 18}
"""Candidates that DSPy's own settings of these names make."""
NEVER = 1_000_000
"""Errors after which DSPy would give an evaluation up and score it 0."""


@dataclass(frozen=True, slots=True)
class Options:
    """How far an optimiser goes."""

    auto: Auto = "light"
    """How much work, where `trials` is None."""
    trials: int | None = None
    """States of the program that are scored, about; None: as `auto` says."""
    demos: int = 4
    """Examples that a step may show to its model, at the most."""
    threshold: float = 1.0
    """Value from which an answer is one to learn from."""
    seed: int = 0
    """Of everything that is drawn."""
    threads: int = 16
    """Rows that a program is run on at once."""


class Tuner(Protocol):
    """Port: trains the student's own model."""

    def check(self) -> None:
        """See that it can be trained. Raises `UsageError`."""
        ...

    def tune(self, traces: Sequence[Trace], validation: Sequence[Trace], folder: Path) -> dspy.LM:
        """The model, trained on what it is to say.

        Of `validation` the loss is taken. `folder` is that of these traces and holds what is done
        on them: called again, it goes on, and what has ended it gives. Raises `UsageError` where
        there is nothing to learn, `TrainingError` where it goes wrong, `BudgetError` where it may
        cost too much, `Interrupted` where a person stopped it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """What an optimiser is given."""

    student: dspy.Module
    """The program, not to be changed."""
    train: tuple[dspy.Example, ...]
    """Examples to learn from, in the order of the draw."""
    validation: tuple[dspy.Example, ...]
    """Examples that trials are scored on."""
    student_model: dspy.LM
    """The model that plays the program."""
    proposer_model: dspy.LM
    """The model that proposes instructions."""
    teacher_model: dspy.LM
    """The model whose answers are shown to the student; the student's own, or a teacher's."""
    watch: Watch
    """Sees trials, and has the metric."""
    options: Options
    """How far to go."""
    trainings: Path
    """Folder of trainings, by what is learned from: no study pays again for what another has."""
    tuner: Tuner | None
    """Trains the student's model, None where that cannot be trained here."""
    score: Callable[[dspy.Module], None]
    """Makes a trial of a program, on all of the validation."""

    @property
    def labelled(self) -> int:
        """Examples that may be shown as they are in the dataset.

        None, where a step needs a field that they lack (DSPy would show them all the same), and
        where the program can say what is known: then that is shown, in its own form.
        """
        if known_of(self.student) is not None:
            return 0
        fields = set(self.train[0].keys()) if self.train else set()
        wanted = {name for _, step in self.student.named_predictors()
                  for name in step.signature.fields}  # fmt: skip
        return self.options.demos if wanted <= fields else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What an optimiser is going to do."""

    trials: int | None
    """Trials that it makes about, None where that is not known."""
    settings: Mapping[str, Any]
    """What it is told, for the record."""


class Optimizer(Protocol):
    """Port: one optimiser, by its name in `optimizers`."""

    def plan(self, ground: Ground) -> Plan:
        """What it is going to do. Raises `UsageError` where the ground does not carry it."""
        ...

    def compile(self, ground: Ground) -> dspy.Module:
        """A better program.

        Raises `Stopped` and `Unmeasurable`; anything else that DSPy raises is a failure of the
        optimiser.
        """
        ...
