"""Locate: bad code and its error to the numbers of the wrong lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.programs.lines import pattern, wrong_lines
from flywheel.programs.modules.shown import code_numbered, error_shown, instructions
from flywheel.programs.row import Row
from flywheel.programs.terse import TerseAdapter, response_format


class Point(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("locate")

    code: str = dspy.InputField(desc="the function, with the numbers of its lines")
    error: str = dspy.InputField(desc="how its test fails")
    lines: str = dspy.OutputField(desc="numbers of the wrong lines")


class Locate(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Names the lines of a definition that are wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.point = dspy.Predict(Point, max_tokens=20)

    def forward(self, bad: str, error: str) -> Any:
        """The wrong lines, as `7` or `7-9`."""
        with dspy.context(adapter=TerseAdapter()):
            form = response_format(self.point.signature, lines=pattern(bad))
            return self.point(
                code=code_numbered(bad), error=error_shown(error), config={"response_format": form}
            )

    def known(self, row: Row) -> Mapping[str, Mapping[str, str]] | str:
        """The lines that the proven fix changes."""
        lines = wrong_lines(row.fields["bad"], row.fields["good"])
        if lines is None:
            return "the fix changes nothing"
        return {"point": {"lines": lines}}
