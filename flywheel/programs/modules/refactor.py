"""Refactor: code that works to code that reads better and does the same, in four steps.

Analyse, plan, change, check: each step hands on what it found as structured JSON. The chain is
optimised whole, against what the tests say of its last answer.
"""

from __future__ import annotations

from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.programs.modules.shown import instructions
from flywheel.programs.terse import TerseAdapter


class Analyse(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("refactor-analyse")

    code: str = dspy.InputField(desc="the definition")
    purpose: str = dspy.OutputField(desc="what it does, in a sentence")
    weaknesses: list[str] = dspy.OutputField(desc="what makes it hard to read, at most three")


class Plan(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("refactor-plan")

    code: str = dspy.InputField(desc="the definition")
    purpose: str = dspy.InputField(desc="what it does")
    weaknesses: list[str] = dspy.InputField(desc="what makes it hard to read")
    steps: list[str] = dspy.OutputField(desc="changes to make, in order, at most three")


class Carry(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("refactor-change")

    code: str = dspy.InputField(desc="the definition")
    steps: list[str] = dspy.InputField(desc="changes to make")
    good: str = dspy.OutputField(desc="the whole definition, changed")


class Check(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("refactor-check")

    before: str = dspy.InputField(desc="the definition as it was")
    after: str = dspy.InputField(desc="the definition as it is now")
    same: bool = dspy.OutputField(desc="whether it does the same in every case")
    difference: str = dspy.OutputField(desc="a case in which it does not, else empty")


class Refactor(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Makes a definition read better; what the last step doubts is given up."""

    def __init__(self) -> None:
        super().__init__()
        self.analyse = dspy.Predict(Analyse)
        self.plan = dspy.Predict(Plan)
        self.change = dspy.Predict(Carry)
        self.check = dspy.Predict(Check)

    def forward(self, good: str) -> Any:
        """The definition changed, or as it was where its own check finds a difference."""
        with dspy.context(adapter=TerseAdapter()):
            found = self.analyse(code=good)
            plan = self.plan(code=good, purpose=found.purpose, weaknesses=found.weaknesses)
            made = self.change(code=good, steps=plan.steps)
            seen = self.check(before=good, after=made.good)
        return dspy.Prediction(
            good=made.good if seen.same else good,
            purpose=found.purpose,
            weaknesses=found.weaknesses,
            steps=plan.steps,
            same=seen.same,
            difference=seen.difference,
        )
