"""Traces: what a teacher says at each step of a program, in the words in which a student is asked.

The program is run as it always is; what its adapter asks, and what the model answers, is written
down as it passes. So a student is trained on the messages that it will meet, whatever adapter and
whatever order of steps a program has. A run is kept where the metric accepts its answer; what is
left out has its reason, and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import replace
from typing import Any

from dspy.utils.callback import BaseCallback

from flywheel.lm.bridge import dspy
from flywheel.optimize.finetune import Message, Trace
from flywheel.optimize.watch import Watch, step_at_work

NOT_TEXT = "its messages are not text alone"
"""Why a step is left out of training."""

_HEARD: ContextVar[list[Trace] | None] = ContextVar("heard", default=None)
"""Traces of the example at work, None where nobody listens."""
_ASKED: ContextVar[list[dict[str, Any]] | None] = ContextVar("asked", default=None)
"""Messages of the last question, as the adapter wrote them."""


class _Scribe(BaseCallback):  # type: ignore[misc]  # DSPy is not typed
    """Writes down what adapters ask and what they read of the answers, where somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self._completions: dict[str, str] = {}

    def on_adapter_format_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """The messages of a question."""
        _ASKED.set(outputs)

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An answer is to be read."""
        # An adapter that inherits how it reads is told of twice: once without its arguments.
        if "completion" in inputs:
            self._completions[call_id] = inputs["completion"]

    def on_adapter_parse_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """It was read, or could not be."""
        completion = self._completions.pop(call_id, None)
        heard, step, asked = _HEARD.get(), step_at_work(), _ASKED.get()
        if completion is None or exception is not None:
            return
        if heard is None or step is None or asked is None:
            return
        plain = all(isinstance(one["content"], str) for one in asked)
        turns = asked if plain else ()
        heard.append(
            Trace(
                example_id="",  # whoever runs the example knows the rest
                predictor=step.name,
                messages=tuple(Message(one["role"], one["content"]) for one in turns),
                completion=completion,
                score=None,
                origin="",
                kept=plain,
                reason="" if plain else NOT_TEXT,
            )
        )


def collect(
    program: dspy.Module,
    examples: Sequence[dspy.Example],
    teacher: dspy.LM,
    watch: Watch,
    *,
    threshold: float,
    threads: int,
) -> list[Trace]:
    """The traces of a program that a teacher plays, in the order of the examples.

    Raises `Stopped`, and `Unmeasurable` where a value is not known. What becomes of each example is
    counted by the watch.
    """
    callbacks = [*dspy.settings.callbacks, _Scribe()]
    taught = program.deepcopy()
    taught.set_lm(None)  # a model of a step's own would go before the teacher

    def run(example: dspy.Example) -> list[Trace]:
        with dspy.context(lm=teacher, callbacks=callbacks, trace=[]):
            return _of(taught, example, teacher.model, watch, threshold)

    # Left by hand: the end of a block would wait for all that is under way.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="flywheel-traces")
    try:
        # DSPy's settings are in the context, which threads of a pool do not have.
        asked = [pool.submit(copy_context().run, run, example) for example in examples]
        return [trace for one in asked for trace in one.result()]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _of(
    program: dspy.Module, example: dspy.Example, teacher: str, watch: Watch, threshold: float
) -> list[Trace]:
    heard: list[Trace] = []
    token = _HEARD.set(heard)
    try:
        prediction = program(**example.inputs())
    except Exception:  # noqa: BLE001  counted by the watch, with its reason
        return []
    finally:
        _HEARD.reset(token)
    outcome = watch.judged(example, prediction, dspy.settings.trace)
    enough = outcome.value is not None and outcome.value >= threshold
    return [
        replace(
            one,
            example_id=example.example_id,
            score=outcome.value,
            origin=teacher,
            kept=one.kept and enough,
            reason=one.reason or outcome.reason,
        )
        for one in heard
    ]
