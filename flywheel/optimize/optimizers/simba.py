"""SIMBA: rules and demonstrations, by contrast of good and bad answers to the same rows.

DSPy's scores its candidates on rows that they learnt from. Those it would choose from are scored on
the validation here, and the best there is taken.
"""

from __future__ import annotations

import math

from flywheel.core.errors import UsageError
from flywheel.lm.bridge import dspy
from flywheel.optimize.ground import CANDIDATES, Ground, Optimizer, Plan

BATCH = 32
"""Rows of a step, or all where there are fewer."""
LEAST = 4
"""Rows below which there is nothing to contrast."""


class SIMBA:
    """Rules and demonstrations, by contrast."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        if len(ground.train) < LEAST:
            raise UsageError(
                f"simba needs at least {LEAST} rows to learn from, and there are"
                f" {len(ground.train)}",
                hint="--rows with a greater number, or a dataset with more rows",
            )
        candidates, steps = _sizes(ground)
        return Plan(candidates + 1, {"candidates": candidates, "steps": steps, "rows": BATCH})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        options = ground.options
        candidates, steps = _sizes(ground)
        optimizer = dspy.SIMBA(
            metric=ground.watch.metric,
            bsize=min(BATCH, len(ground.train)),
            num_candidates=candidates,
            max_steps=steps,
            max_demos=options.demos,
            prompt_model=ground.proposer_model,
            # It writes into the model that it is given: a copy is its own.
            teacher_settings={"lm": ground.teacher_model.copy()},
            num_threads=options.threads,
        )
        found = optimizer.compile(ground.student, trainset=list(ground.train), seed=options.seed)
        for one in found.candidate_programs:
            ground.score(one["program"])
        return found


OPTIMIZER: Optimizer = SIMBA()


def _sizes(ground: Ground) -> tuple[int, int]:
    """Candidates of a step, and steps: together as many as trials are wanted."""
    options = ground.options
    trials = options.trials if options.trials is not None else 4 * CANDIDATES[options.auto]
    candidates = min(CANDIDATES["light"], trials)
    return candidates, math.ceil(trials / candidates)
