"""What came of optimising: the best state as a version to be saved, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.curate import VALIDATION
from flywheel.curate import Version as Dataset
from flywheel.lm import Spending
from flywheel.orchestrator.measure import version_of
from flywheel.orchestrator.tuning import Weights
from flywheel.programs import Metric, Program
from flywheel.registry import (
    Cost,
    DraftVersion,
    Model,
    ModuleName,
    Optimizer,
    VersionScore,
)
from flywheel.store import OPTIMIZE, Figure

if TYPE_CHECKING:
    from flywheel.optimize.ground import Options
    from flywheel.optimize.study import Studied


@dataclass(frozen=True, slots=True)
class Optimized:
    """What came of optimising."""

    study_id: str
    """The study's fingerprint."""
    program: Program
    """The program."""
    dataset: Dataset
    """The dataset."""
    metric: Metric
    """The metric."""
    judge: str
    """The model that judged, empty where none did."""
    forced: bool
    """Whether a judge drove it that may drive nothing."""
    start: str
    """Id of the version that it began with, empty for the program as its code has it."""
    optimizer: str
    """Name of the optimiser."""
    options: Options
    """How far it was to go."""
    lm: Model
    """The model that the program was played by."""
    studied: Studied
    """The study."""
    weights: Weights
    """What the best state needs beside the student's own weights."""
    folder: Path
    """The study's folder."""
    measured: int
    """Answers that were measured in this run."""
    spared: int
    """Answers whose score was known, or on its way."""
    usd: float | None
    """US dollars of the whole study, all its runs; None where a price is not known."""
    tokens: Mapping[str, int]
    """Tokens of the whole study, by what they were for."""
    paid: Spending
    """What this run has paid: its limits are held against that."""
    version: str | None = None
    """The version that was saved, None for none."""
    again: bool = False
    """Whether the best state is that of the start: then none was saved."""

    @property
    def learned(self) -> dict[str, Any]:
        """What a training of weights says of itself; empty where there was none."""
        return dict(self.weights.learned)


def draft_of(done: Optimized) -> DraftVersion | None:
    """The best state as a version to be saved, None where there is none."""
    studied, program = done.studied, done.program
    if studied.best is None or studied.program is None:
        return None
    one = studied.best.estimate
    return DraftVersion(
        module=ModuleName(name=program.name, spec=program.spec, hash=program.hash),
        program=studied.program,
        parent=done.start,
        optimizer=Optimizer(
            name=done.optimizer,
            options={**asdict(done.options), "forced": done.forced},
            seed=done.options.seed,
        ),
        dataset=done.dataset.id,
        metric=f"{done.metric.name}@{done.metric.hash}",
        lm=done.lm,
        cost=Cost(usd=done.usd, tokens=sum(done.tokens.values()), seconds=studied.seconds),
        scores=(
            VersionScore(
                split=VALIDATION,
                metric=done.metric.name,
                value=one.value,
                n=one.n,
                low=one.low,
                high=one.high,
            ),
        ),
        adapter=done.weights.adapter,
        tuned=done.weights.tuned,
        study=done.study_id,
        partial=studied.partial,
        trained_on=studied.trained_on,
        validated_on=studied.validated_on,
        demos=studied.demos,
        trials=len(studied.trials),
    )


def optimize_figures(done: Optimized) -> list[Figure]:
    """The best trial of a study that ran to its end."""
    best = done.studied.best
    if best is None or done.studied.partial:
        return []
    one = best.estimate
    return [
        Figure(
            run_id=done.study_id,
            kind=OPTIMIZE,
            subject=f"{done.program.name} by {done.optimizer} on {done.dataset.id}",
            metric=done.metric.name,
            value=one.value,
            n=one.n,
            low=one.low,
            high=one.high,
            version=version_of(done.metric, done.judge),
            detail={"version": done.version, "trials": len(done.studied.trials)},
        )
    ]
