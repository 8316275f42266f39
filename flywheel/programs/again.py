"""Answers that can be seen to be of no use are asked for again, before anything is run.

The likeliest answer of a small model often changes nothing; one that is drawn is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flywheel.lm.bridge import dspy

TRIES = 4
"""Answers to one question, at the most."""
TEMPERATURE = 1.0
"""At which those after the first are drawn: the one that every provider takes."""


def asked(predict: Any, of_use: Callable[[Any], bool], **inputs: Any) -> Any:
    """The first answer that is of use, or the first of all; the trace has that one alone.

    Each after the first has its own number and seed, so that asked again it is the same.
    """
    trace = dspy.settings.trace
    first: tuple[Any, list[Any]] | None = None
    for number in range(TRIES):
        drawn = {"temperature": TEMPERATURE, "rollout_id": number, "seed": number}
        own: list[Any] = []
        with dspy.context(trace=own if trace is not None else None):
            said = predict(**inputs, config=drawn if number else {})
        if of_use(said):
            first = said, own
            break
        first = first or (said, own)
    assert first is not None
    if trace is not None:
        trace.extend(first[1])
    return first[0]
