"""Repair: bad code and its error to good code, by an edit of its wrong lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.lm.bridge import dspy, held_to
from flywheel.programs.again import asked
from flywheel.programs.edit import (
    LONGEST_NEW,
    applied,
    changes,
    edit_between,
    grammar,
    read,
    written,
)
from flywheel.programs.modules.shown import code_shown, error_shown, instructions
from flywheel.programs.row import Row
from flywheel.programs.terse import PlainAdapter

LONGEST_ANSWER = 120
"""Tokens of an answer: a few lines."""


class Mend(dspy.Signature):  # type: ignore[misc]  # DSPy is not typed
    __doc__ = instructions("repair")

    code: str = dspy.InputField(desc="the function")
    error: str = dspy.InputField(desc="how its test fails")
    mended: str = dspy.OutputField(
        desc="the wrong lines, each after -, then what must stand there, each line after +"
    )


class Repair(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """Mends a definition: the wrong lines, written anew."""

    def __init__(self) -> None:
        super().__init__()
        self.mend = dspy.Predict(Mend, max_tokens=LONGEST_ANSWER)

    def forward(self, bad: str, error: str) -> Any:
        """The definition mended; `good` is None where the answer is no edit of its lines."""

        def of_use(said: Any) -> bool:
            # What answers with no edit of some new lines does not know how, and would not the next
            # time.
            edit = read(said.mended)
            if edit is None or not 0 < len(edit.new) < LONGEST_NEW:
                return True
            return changes(edit, bad)

        with dspy.context(adapter=PlainAdapter()), held_to(grammar(bad)):
            said = asked(self.mend, of_use, code=code_shown(bad), error=error_shown(error))
        edit = read(said.mended)
        good = applied(edit, bad) if edit is not None else None
        return dspy.Prediction(mended=said.mended, good=good)

    def known(self, row: Row) -> Mapping[str, Mapping[str, str]] | str:
        """The proven fix as this program would answer it, or why it cannot."""
        edit = edit_between(row.fields["bad"], row.fields["good"])
        if edit is None:
            return "the fix takes too many lines in a row"
        mended = written(edit)
        if len(mended) > 3 * LONGEST_ANSWER:
            return "the fix is longer than an answer may be"
        return {"mend": {"mended": mended}}
