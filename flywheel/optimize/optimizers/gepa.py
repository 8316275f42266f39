"""GEPA: instructions, by reflection on what went wrong, on a front of what is best where.

Agrawal et al., 2025. What a metric says of an answer beside its value is what is reflected on.
GEPA's own folder of states is not used: it has no fingerprint and is pickled; a study that is run
again finds every answer kept.
"""

from __future__ import annotations

from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import CANDIDATES, Ground, Optimizer, Plan

REFLECTED = 3
"""Rows that one reflection looks at."""


class GEPA:
    """Instructions, by reflection."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        return Plan(None, {"metric_calls": _calls(ground)})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        options = ground.options
        optimizer = dspy.GEPA(
            metric=ground.watch.feedback,
            max_metric_calls=_calls(ground),
            reflection_minibatch_size=REFLECTED,
            reflection_lm=ground.proposer_model,
            num_threads=options.threads,
            seed=options.seed,
            warn_on_score_mismatch=False,
        )
        return optimizer.compile(
            ground.student, trainset=list(ground.train), valset=list(ground.validation)
        )


OPTIMIZER: Optimizer = GEPA()


def _calls(ground: Ground) -> int:
    """Answers that are measured: a reflection takes two looks at its rows, and some a whole one."""
    options = ground.options
    trials = options.trials if options.trials is not None else CANDIDATES[options.auto]
    return (trials + 1) * len(ground.validation) + trials * 2 * REFLECTED
