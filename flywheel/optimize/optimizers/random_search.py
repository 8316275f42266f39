"""Random search: demonstrations, the best of several draws of BootstrapFewShot.

Khattab et al., 2023. DSPy's seeds are the numbers of the draws; the order of the rows is by ours.
"""

from __future__ import annotations

from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import CANDIDATES, NEVER, Ground, Optimizer, Plan
from flywheel.optimize.trial import State

_BARE, _LABELS, _IN_ORDER = -3, -2, -1
"""DSPy's numbers of draws that are not by chance: no demonstration, labels alone, and the rows in
their order. The first is the program as it was, which every study has scored before, unless it has
demonstrations."""


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
            num_candidate_programs=max(0, *(one + 1 for one in draws)),
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


def _draws(ground: Ground) -> list[int]:
    """DSPy's numbers of the draws that are made."""
    options = ground.options
    fixed = [_IN_ORDER]
    if ground.labelled:
        fixed.insert(0, _LABELS)
    if State.of(ground.student).shown:
        fixed.insert(0, _BARE)
    if options.trials is None:
        return [*fixed, *range(CANDIDATES[options.auto])]
    return [*fixed, *range(options.trials)][: options.trials]
