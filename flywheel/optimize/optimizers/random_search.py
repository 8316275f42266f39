"""Random search: demonstrations, the best of several draws of BootstrapFewShot.

Khattab et al., 2023. DSPy's seeds are the numbers of the draws; the order of the rows is by ours.
"""

from __future__ import annotations

from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import CANDIDATES, NEVER, Ground, Optimizer, Plan

_LABELS, _IN_ORDER = -2, -1
"""DSPy's numbers of two draws that are not by chance: labels alone, and the rows in their order. A
third, -3, is the program as it was, which every study has scored before."""


class RandomSearch:
    """Demonstrations, the best of several draws."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        return Plan(len(_draws(ground)), {"demonstrations": ground.options.demos})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        options, draws = ground.options, _draws(ground)
        optimizer = dspy.BootstrapFewShotWithRandomSearch(
            metric=ground.watch.metric,
            metric_threshold=options.threshold,
            teacher_settings={"lm": ground.teacher_model},
            max_bootstrapped_demos=options.demos,
            max_labeled_demos=ground.labelled,
            num_candidate_programs=max(0, draws.stop),
            num_threads=options.threads,
            max_errors=NEVER,
        )
        return optimizer.compile(
            ground.student,
            trainset=list(ground.train),
            valset=list(ground.validation),
            restrict=draws,
        )


OPTIMIZER: Optimizer = RandomSearch()


def _draws(ground: Ground) -> range:
    """DSPy's numbers of the draws that are made."""
    options = ground.options
    first = _LABELS if ground.labelled else _IN_ORDER
    if options.trials is not None:
        return range(first, first + options.trials)
    return range(first, CANDIDATES[options.auto])
