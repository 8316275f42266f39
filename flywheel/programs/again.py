"""Answers that can be seen to be of no use are asked for again, before anything is run.

At each token a small model finds it likelier to copy than to change, so the likeliest of its
answers often changes nothing; one that is drawn departs somewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flywheel.lm.bridge import dspy

TRIES = 4
"""Answers to one question, at the most."""
TEMPERATURE = 0.7
"""At which those after the first are drawn."""


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
