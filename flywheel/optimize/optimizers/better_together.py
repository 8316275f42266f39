"""BetterTogether: the prompt, then the weights, then the prompt again.

Soylu et al., 2024. DSPy's, with MIPROv2 for the prompt and our training for the weights. It takes
any exception of a step for the end and hands out what it has; here that is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dspy.teleprompt.teleprompt import Teleprompter

from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import NEVER, Ground, Optimizer, Plan
from flywheel.optimize.optimizers import miprov2
from flywheel.optimize.optimizers.bootstrap_finetune import required_tuner, tuned

STRATEGY = "p -> w -> p"
"""The prompt, the weights, the prompt."""


class BetterTogether:
    """Prompt, weights, prompt."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        required_tuner(ground).check()
        prompts = miprov2.OPTIMIZER.plan(ground)
        steps = STRATEGY.count("p")
        trials = None if prompts.trials is None else steps * (prompts.trials + 1) + 2
        return Plan(trials, {"strategy": STRATEGY, **prompts.settings})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        student = ground.student.deepcopy()
        student.set_lm(ground.student_model)
        prompt = _Step(lambda program, **rows: _prompted(ground, program, rows))
        weights = _Step(lambda program, **rows: tuned(ground, program))
        optimizer = dspy.BetterTogether(metric=ground.watch.metric, p=prompt, w=weights)
        with miprov2.optuna_quiet():
            found = optimizer.compile(
                student,
                trainset=list(ground.train),
                valset=list(ground.validation),
                num_threads=ground.options.threads,
                max_errors=NEVER,
                seed=ground.options.seed,
                strategy=STRATEGY,
            )
        for step in (prompt, weights):
            if step.failed is not None:
                raise step.failed
        return found


OPTIMIZER: Optimizer = BetterTogether()


def _prompted(ground: Ground, program: dspy.Module, rows: Mapping[str, Any]) -> dspy.Module:
    # The student's steps have models of their own, which go before that of the settings.
    teacher = program.deepcopy()
    teacher.set_lm(ground.teacher_model)
    return miprov2.made(ground).compile(
        program, teacher=teacher, **rows, **miprov2.arguments(ground)
    )


class _Step(Teleprompter):  # type: ignore[misc]  # DSPy is not typed
    """A step whose error is not lost: who calls it swallows them."""

    def __init__(self, work: Callable[..., Any]) -> None:
        super().__init__()
        self._work = work
        self.failed: Exception | None = None
        """Why it came to nothing."""

    def compile(self, student: Any, *, trainset: Any, valset: Any) -> Any:
        """A better program."""
        try:
            return self._work(student, trainset=trainset, valset=valset)
        except Exception as error:
            self.failed = error
            raise
