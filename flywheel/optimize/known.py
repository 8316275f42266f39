"""A model that answers what is known: the proven answer of each row, in the program's own form.

It stands in for a teacher. The program runs as it always does, with its own adapter and its own
steps; only its model is this one, so what is asked is what it will be asked, and what its steps
say is right. A row whose answer cannot be said in the program's form is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.optimize.finetune import KNOWN
from flywheel.optimize.watch import NotSayableError, row_at_work, step_at_work
from flywheel.programs import Row

Known = Callable[[Row], Mapping[str, Mapping[str, str]] | str]
"""The outputs of each step that give the proven answer, or why it cannot be said."""


def known_of(program: dspy.Module) -> Known | None:
    """The method `known` of a program, None where it has none."""
    found: Known | None = getattr(program, "known", None)
    return found


class _Engine:
    """Answers for the step that is at work."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def __deepcopy__(self, memo: object) -> _Engine:
        """Itself: copies of a program share one model."""
        return self

    def complete(self, request: Any) -> Any:
        """The proven answer. Raises `NotSayableError`."""
        row, step = row_at_work(), step_at_work()
        if row is None or step is None:
            raise NotSayableError("the program was not called with a row")
        outputs = self._known(row)
        if isinstance(outputs, str):
            raise NotSayableError(outputs)
        if step.name not in outputs:
            raise NotSayableError(f"nothing is known for the step {step.name}")
        adapter = dspy.settings.adapter or dspy.ChatAdapter()
        said = dict(outputs[step.name])
        text = adapter.format_assistant_message_content(step.signature, said)
        return dspy.lm15.Response(
            id=KNOWN,
            model=KNOWN,
            message=dspy.lm15.Message.assistant(text),
            finish_reason="stop",
            usage=dspy.lm15.Usage(input_tokens=0, output_tokens=0),
        )


def known_model(known: Known) -> dspy.LM:
    """A model that says what is known of the row at work."""
    return dspy.LM(KNOWN, engine=_Engine(known), cache=False, num_retries=0)
