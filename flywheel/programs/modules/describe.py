"""Describe: a problem as a user would report it, without the answer in it."""

from __future__ import annotations

import re
from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.programs.modules.shown import error_shown, instructions
from flywheel.programs.terse import TerseAdapter

LEAST_SHARED = 12
"""Characters of a new line of the fix that no statement may hold: shorter ones stand anywhere."""


class Report(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("describe")

    symbol: str = dspy.InputField(desc="name of the definition")
    bad: str = dspy.InputField(desc="the definition that fails")
    error: str = dspy.InputField(desc="how its test fails")
    statement: str = dspy.OutputField(desc="the report, in a few sentences")


class Describe(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Writes the report of a bug; lines that give the fix away are taken out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.report = dspy.Predict(Report)

    def forward(self, symbol: str, bad: str, error: str, good: str) -> Any:
        """The report. The fix is not shown to the model: it is only looked for in the answer."""
        with dspy.context(adapter=TerseAdapter()):
            said = self.report(symbol=symbol, bad=bad, error=error_shown(error))
        return dspy.Prediction(statement=without_answer(said.statement, bad, good))


def without_answer(statement: str, bad: str, good: str) -> str:
    """A statement without the lines that hold a new line of the fix."""
    old = {_bare(line) for line in bad.split("\n")}
    new = [_bare(line) for line in good.split("\n")]
    answer = [line for line in new if line not in old and len(line) >= LEAST_SHARED]
    kept = [line for line in statement.split("\n") if not any(one in _bare(line) for one in answer)]
    return "\n".join(kept).strip()


def _bare(line: str) -> str:
    return re.sub(r"\s+", "", line)
