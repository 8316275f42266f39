"""Random search: demonstrations, the best of several draws of BootstrapFewShot.

Khattab et al., 2023. DSPy's seeds are the numbers of the draws; the order of the rows is by ours.
"""

from __future__ import annotations

from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import CANDIDATES, NEVER, Ground, Optimizer, Plan

_FIXED = 3
"""Draws that are always made: none, labels alone, the rows in their order."""


class RandomSearch:
    """Demonstrations, the best of several draws."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        return Plan(_draws(ground) + _FIXED, {"demonstrations": ground.options.demos})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        options = ground.options
        optimizer = dspy.BootstrapFewShotWithRandomSearch(
            metric=ground.watch.metric,
            metric_threshold=options.threshold,
            teacher_settings={"lm": ground.teacher_model},
            max_bootstrapped_demos=options.demos,
            max_labeled_demos=ground.labelled,
            num_candidate_programs=_draws(ground),
            num_threads=options.threads,
            max_errors=NEVER,
        )
        return optimizer.compile(
            ground.student, trainset=list(ground.train), valset=list(ground.validation)
        )


OPTIMIZER: Optimizer = RandomSearch()


def _draws(ground: Ground) -> int:
    if ground.options.trials is None:
        return CANDIDATES[ground.options.auto]
    return max(0, ground.options.trials - _FIXED)
