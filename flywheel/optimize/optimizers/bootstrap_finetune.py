"""BootstrapFinetune: the weights of the student's model, on answers that the metric accepts.

Khattab et al., 2023. Of DSPy's the idea is kept, and nothing else: its own trains on what one
adapter writes anew, mixes the steps of a program that loops, and gives up all for one answer that
cannot be read. Here traces are what was asked and said (`traces`), and what is left out is counted.
"""

from __future__ import annotations

from dataclasses import asdict

from flywheel.core.errors import UsageError
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked_if_free
from flywheel.lm.bridge import dspy
from flywheel.optimize.finetune import Trace, write_traces
from flywheel.optimize.ground import Ground, Optimizer, Plan, Tuner
from flywheel.optimize.traces import collect

VALIDATED = 64
"""Rows of the validation that the loss is taken of while it trains."""
TRACES = "traces.jsonl"
"""File of what was learnt from, and of what was left out, in the training's folder."""


class BootstrapFinetune:
    """The model's weights."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        required_tuner(ground).check()
        return Plan(1, {"traces": len(ground.train)})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        return tuned(ground, ground.student)


OPTIMIZER: Optimizer = BootstrapFinetune()


def tuned(ground: Ground, program: dspy.Module) -> dspy.Module:
    """A program on its student's model, trained on what it is to say.

    Raises what `Tuner.tune` does.
    """
    options = ground.options

    def taught(examples: tuple[dspy.Example, ...]) -> list[Trace]:
        return collect(
            program,
            examples,
            ground.teacher_model,
            ground.watch,
            threshold=options.threshold,
            threads=options.threads,
        )

    traces = taught(ground.train)
    with ground.watch.uncounted():
        validation = taught(ground.validation[:VALIDATED])
    # A study that begins anew without a row learns something else: that is another training.
    identity = content_hash([asdict(one) for one in (*traces, *validation)])
    folder = ground.trainings / identity
    with locked_if_free(folder / "lock") as free:
        if not free:
            raise UsageError(
                f"the training {identity} is under way in another process",
                hint="wait for it: what it learns is taken from there, and not learned again",
            )
        write_traces(folder / TRACES, traces)
        model = required_tuner(ground).tune(traces, validation, folder)
    found = program.deepcopy()
    found.set_lm(model)
    return found


def required_tuner(ground: Ground) -> Tuner:
    """What trains the student. Raises `UsageError` where nothing does."""
    if ground.tuner is None:
        raise UsageError(
            f"the student {ground.student_model.model} cannot be trained here",
            cause="only a model that is served on this machine can, and one of openai/… by its"
            " provider",
            hint="--student with a profile of a local model, or another --optimizer",
        )
    return ground.tuner
