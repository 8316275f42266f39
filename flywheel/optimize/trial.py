"""Trials: a state of a program, the rows it was run on, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from flywheel.core.identity import content_hash
from flywheel.lm.bridge import dspy
from flywheel.optimize.run import Outcome
from flywheel.programs import Estimate, mean_of

FULL, MINIBATCH, TRAIN = "full", "minibatch", "train"
"""What a trial's rows are: all of the validation, some of it, or rows that are learnt from."""


@dataclass(frozen=True, slots=True)
class State:
    """What an optimiser may change of a program; its weights are its model's."""

    instructions: Mapping[str, str]
    """What it says to its models, by the name of the step."""
    demos: Mapping[str, Sequence[Mapping[str, Any]]]
    """The examples that it shows them, by the name of the step."""
    models: Mapping[str, str]
    """The models that steps were given of their own, by the name of the step."""

    @classmethod
    def of(cls, program: dspy.Module, student: str = "") -> Self:
        """The state of a program; a step that was given the student asks no model of its own."""
        steps = dict(program.named_predictors())
        return cls(
            {name: step.signature.instructions for name, step in steps.items()},
            {name: [dict(demo) for demo in step.demos] for name, step in steps.items()},
            {
                name: step.lm.model
                for name, step in steps.items()
                if step.lm is not None and step.lm.model != student
            },
        )

    @property
    def hash(self) -> str:
        """Identity."""
        demos = {name: [dict(one) for one in shown] for name, shown in self.demos.items()}
        return content_hash("state", dict(self.instructions), str(demos), dict(self.models))

    @property
    def shown(self) -> int:
        """Examples that it shows, of all steps."""
        return sum(map(len, self.demos.values()))


@dataclass(frozen=True, slots=True)
class Trial:
    """A state of a program that was scored."""

    number: int
    """In the order of the study; 0 is the program as it was."""
    kind: str
    """`full`, `minibatch` or `train`."""
    state: State
    """The state."""
    outcomes: tuple[Outcome, ...]
    """One a row, those whose value is not known among them."""
    seconds: float
    """Wall time."""
    estimate: Estimate = field(init=False)
    """The mean of the known values."""

    def __post_init__(self) -> None:
        known = {one.example_id: [one.value] for one in self.outcomes if one.value is not None}
        object.__setattr__(self, "estimate", mean_of(known))

    @property
    def unknown(self) -> int:
        """Rows whose value is not known."""
        return sum(one.value is None for one in self.outcomes)

    @property
    def reasons(self) -> Counter[str]:
        """Why rows were worth less than all, or are not known."""
        return Counter(why(one) for one in self.outcomes if one.value is None or one.value < 1)


def why(outcome: Outcome) -> str:
    """Why an outcome is what it is, in words that several outcomes may share."""
    if outcome.failure:
        return f"{outcome.failure}: {outcome.reason}" if outcome.reason else outcome.failure
    return outcome.reason
