"""Explain: what is wrong with code that fails, in words."""

from __future__ import annotations

from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.programs.modules.shown import error_shown, instructions
from flywheel.programs.terse import TerseAdapter


class Tell(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("explain")

    bad: str = dspy.InputField(desc="the definition that fails")
    error: str = dspy.InputField(desc="how its test fails")
    cause: str = dspy.OutputField(desc="which part of the code is wrong, and why, in a sentence")
    effect: str = dspy.OutputField(desc="how that leads to the failure, in a sentence")


class Explain(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Says what is wrong and how it shows. It has no proven answer: a teacher or a judge says."""

    def __init__(self) -> None:
        super().__init__()
        self.tell = dspy.Predict(Tell)

    def forward(self, bad: str, error: str) -> Any:
        """Cause and effect."""
        with dspy.context(adapter=TerseAdapter()):
            return self.tell(bad=bad, error=error_shown(error))
