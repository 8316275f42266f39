"""BootstrapFewShot: demonstrations, the first answers of a teacher that the metric accepts.

Khattab et al., 2023.
"""

from __future__ import annotations

from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import NEVER, Ground, Optimizer, Plan


class BootstrapFewShot:
    """Demonstrations, the first that pass."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        return Plan(1, {"demonstrations": ground.options.demos})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        options = ground.options
        optimizer = dspy.BootstrapFewShot(
            metric=ground.watch.metric,
            metric_threshold=options.threshold,
            teacher_settings={"lm": ground.teacher_model},
            max_bootstrapped_demos=options.demos,
            max_labeled_demos=ground.labelled,
            max_errors=NEVER,
        )
        return optimizer.compile(ground.student, trainset=list(ground.train))


OPTIMIZER: Optimizer = BootstrapFewShot()
