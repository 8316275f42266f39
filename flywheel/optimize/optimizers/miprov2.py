"""MIPROv2: instructions and demonstrations, searched together by a Bayesian sampler.

Opsahl-Ong et al., 2024. DSPy's, with its own settings of light, medium and heavy, but told in
numbers: its `auto` chooses minibatches that small validations do not carry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.lm.bridge import dspy
from flywheel.optimize import proposer
from flywheel.optimize.ground import CANDIDATES, NEVER, Ground, Optimizer, Plan

MINIBATCH = 35
"""Rows of a minibatch."""
MINIBATCH_FROM = 2 * MINIBATCH
"""Rows of the validation from which trials are scored on minibatches first."""
FULL_EVERY = 5
"""Trials on minibatches after which the best is scored on all rows."""
VIEWED = 3
"""Rows that the proposer is shown at once: code is long, and small models hold little."""


class MIPROv2:
    """Instructions and demonstrations, searched together."""

    def plan(self, ground: Ground) -> Plan:
        """See the port."""
        try:
            import optuna  # noqa: F401, PLC0415  heavy, and only this optimiser needs it
        except ImportError as error:
            raise UsageError(
                "miprov2 needs the package optuna, which is not installed",
                cause=str(error),
                hint="pip install optuna, or --optimizer random-search",
            ) from error
        return Plan(_scored(ground), {**_sizes(ground), "minibatch": _minibatch(ground)})

    def compile(self, ground: Ground) -> dspy.Module:
        """See the port."""
        with optuna_quiet():
            try:
                return made(ground).compile(
                    ground.student,
                    trainset=list(ground.train),
                    valset=list(ground.validation),
                    **arguments(ground),
                )
            except ValueError as error:
                # Every combination that was drawn has been scored in full: there is nothing left.
                if "No valid program found" in str(error) and ground.watch.best is not None:
                    return ground.watch.best.program
                raise


OPTIMIZER: Optimizer = MIPROv2()


def made(ground: Ground) -> proposer.MIPROv2:
    """DSPy's optimiser."""
    options, sizes = ground.options, _sizes(ground)
    optimizer = proposer.MIPROv2(
        metric=ground.watch.metric,
        prompt_model=ground.proposer_model,
        task_model=ground.student_model,
        teacher_settings={"lm": ground.teacher_model},
        max_bootstrapped_demos=options.demos,
        max_labeled_demos=ground.labelled,
        auto=None,
        num_candidates=sizes["demonstrations"],
        num_threads=options.threads,
        max_errors=NEVER,
        # Given here and not to `compile`, which takes 0 for "none given".
        seed=options.seed,
        track_stats=False,
        metric_threshold=options.threshold,
    )
    optimizer.num_instruct_candidates = sizes["instructions"]
    return optimizer


def arguments(ground: Ground) -> dict[str, Any]:
    """What it is told when it compiles, beside program and rows."""
    return {
        "num_trials": _sizes(ground)["trials"],
        "minibatch": _minibatch(ground),
        "minibatch_size": MINIBATCH,
        "minibatch_full_eval_steps": FULL_EVERY,
        "view_data_batch_size": VIEWED,
    }


@contextmanager
def optuna_quiet() -> Iterator[None]:
    """Let Optuna log where the study logs, and not to the terminal."""
    import optuna  # noqa: PLC0415  heavy, and only this optimiser needs it

    optuna.logging.disable_default_handler()
    try:
        yield
    finally:
        optuna.logging.enable_default_handler()


def _sizes(ground: Ground) -> dict[str, int]:
    options = ground.options
    candidates = CANDIDATES[options.auto]
    if options.trials is not None:
        candidates = max(3, min(CANDIDATES["heavy"], round(options.trials / 1.5)))
    # As DSPy reckons: each step has an instruction and a set of demonstrations.
    steps = 2 * len(ground.student.predictors())
    trials = int(max(2 * steps * math.log2(candidates), 1.5 * candidates))
    return {
        "trials": options.trials or trials,
        "instructions": max(2, candidates // 2),
        "demonstrations": candidates,
    }


def _minibatch(ground: Ground) -> bool:
    return len(ground.validation) >= MINIBATCH_FROM


def _scored(ground: Ground) -> int:
    """Trials that are scored, those of the whole validation among them, and the first."""
    trials = _sizes(ground)["trials"]
    if not _minibatch(ground):
        return trials + 1
    return trials + trials // FULL_EVERY + 1 + (trials % FULL_EVERY != 0)
