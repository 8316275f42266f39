"""Breaker: good code to bad code, by a subtle bug in a line or a few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.lm.bridge import dspy, held_to
from flywheel.programs.edit import applied, edit_between, grammar, read, written
from flywheel.programs.modules.shown import code_shown, instructions
from flywheel.programs.row import Row
from flywheel.programs.terse import PlainAdapter


class Break(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("breaker")

    code: str = dspy.InputField(desc="the function")
    broken: str = dspy.OutputField(
        desc="lines of it, each after -, then those with the bug, each after +"
    )


class Breaker(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Puts a bug into a definition that works."""

    def __init__(self) -> None:
        super().__init__()
        self.break_ = dspy.Predict(Break, max_tokens=120)

    def forward(self, good: str) -> Any:
        """The definition with a bug; `bad` is None where the answer is no edit of its lines."""
        with dspy.context(adapter=PlainAdapter()), held_to(grammar(good)):
            said = self.break_(code=code_shown(good))
        edit = read(said.broken)
        bad = applied(edit, good) if edit is not None else None
        return dspy.Prediction(broken=said.broken, bad=bad)

    def known(self, row: Row) -> Mapping[str, Mapping[str, str]] | str:
        """The bug that is proven."""
        edit = edit_between(row.fields["good"], row.fields["bad"])
        if edit is None:
            return "the bug takes too many lines in a row"
        return {"break_": {"broken": written(edit)}}
