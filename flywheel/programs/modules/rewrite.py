"""Rewrite: bad code and its error to good code, written whole. For models that are not small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.programs.modules.shown import error_shown, instructions
from flywheel.programs.row import Row
from flywheel.programs.terse import PlainAdapter


class Write(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("rewrite")

    bad: str = dspy.InputField(desc="the definition that fails")
    error: str = dspy.InputField(desc="how its test fails")
    good: str = dspy.OutputField(desc="the whole definition, mended")


class Rewrite(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Mends a definition by writing all of it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(Write)

    def forward(self, bad: str, error: str) -> Any:
        """The definition mended."""
        with dspy.context(adapter=PlainAdapter()):
            return self.write(bad=bad, error=error_shown(error))

    def known(self, row: Row) -> Mapping[str, Mapping[str, str]] | str:
        """The proven fix."""
        return {"write": {"good": row.fields["good"]}}
