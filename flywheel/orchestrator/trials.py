"""Trials of a study as they come: stored with what they cost, and told on the bus."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.core.events import EventBus, StudyEnded, StudyStarted, TrialEnded, TrialProgressed
from flywheel.lm import Journal, Role
from flywheel.orchestrator.cost import take_calls
from flywheel.store import (
    Store,
    Study,
    StudyTrial,
    answering_seconds,
    call_sums,
    record_trials,
    trials_of,
)
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.optimize.finetune import Progress
    from flywheel.optimize.finetune.hosted import Look
    from flywheel.optimize.ground import Plan
    from flywheel.optimize.study import Studied
    from flywheel.optimize.trial import State, Trial
    from flywheel.optimize.watch import Seen

PURPOSE = "optimize:"
"""How the purpose of a study's calls begins, in the ledger."""
REASONS = 8
"""Reasons that are stored of a trial; its file in the study's folder has every row's."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a study has cost, all its runs."""

    usd: float | None
    """US dollars, None where a price is not known."""
    tokens: Mapping[str, int]
    """Tokens read and written, by what they were for."""

    @property
    def total(self) -> int:
        """All its tokens."""
        return sum(self.tokens.values())


class Trials:
    """The trials of one study."""

    def __init__(
        self,
        study: Study,
        metric: str,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        journal: Journal,
    ) -> None:
        """`metric` is the name of what it goes by."""
        self._study, self._metric = study, metric
        self._workspace, self._store, self._bus = workspace, store, bus
        self._journal = journal
        self._began = time.monotonic()
        self._plan: Plan | None = None
        self._took: list[float] = []
        self.longest = 0.0
        """Seconds that the longest trial takes, as far as is known: 0 before one has ended."""
        self._typical = 0.0
        """Those of a trial in the mean."""
        self._before = Spent(0.0, {})

    def begin(self) -> None:
        """Know what earlier runs have cost: it is no part of the first trial."""
        self._began, self._before = time.monotonic(), self.spent()

    def spent(self) -> Spent:
        """What the study has cost so far; the calls that ended are stored."""
        take_calls(self._workspace, self._store, self._journal)
        sums = call_sums(self._store, "purpose", run_id=self._study.study_id)
        unpriced = any(one.unpriced for one in sums)
        tokens = {
            one.key.removeprefix(PURPOSE): one.input_tokens + one.output_tokens for one in sums
        }
        return Spent(None if unpriced else sum(one.usd for one in sums), tokens)

    def planned(self, plan: Plan, state: State, train: int, validation: int) -> None:
        """Tell what is to be done, with a program in this state and so many rows."""
        self._plan = plan
        self._bus.publish(
            StudyStarted(
                study_id=self._study.study_id,
                module=self._study.module,
                optimizer=self._study.optimizer,
                metric=self._metric,
                train=train,
                validation=validation,
                trials=plan.trials,
                instructions=dict(state.instructions),
            )
        )

    def seen(self, seen: Seen) -> None:
        """Tell how far a trial is."""
        # Until rows are done, it is answers that tell how far it is.
        detail = f"{seen.answers} answers" if seen.answers and seen.total and not seen.done else ""
        self._progressed(seen.number, seen.phase, seen.done, seen.total, detail)

    def trained(self, progress: Progress) -> None:
        """Tell how far a training is."""
        detail = f"loss {progress.loss:.3f}, {progress.tokens_per_second:.0f} tokens/s"
        if progress.validation_loss is not None:
            detail += f", {progress.validation_loss:.3f} on the validation"
        # What comes of it is scored as the program was.
        left = progress.eta_seconds + self.longest
        self._progressed(len(self._took), "tune", progress.step, progress.steps, detail, left)

    def looked(self, look: Look) -> None:
        """Tell how far a training at a provider is."""
        told = (look.status, look.message, f"{look.tokens:,} tokens" if look.tokens else "")
        detail = ", ".join(filter(None, told))
        self._progressed(len(self._took), "tune", look.step, look.steps, detail)

    def take(self, trial: Trial, best: bool) -> None:
        """Store a trial, and tell it."""
        now, before = self.spent(), self._before
        self._before = now
        estimate, state = trial.estimate, trial.state
        unknown = now.usd is None or before.usd is None
        record_trials(
            self._store,
            [
                StudyTrial(
                    study_id=self._study.study_id,
                    number=trial.number,
                    kind=trial.kind,
                    state_hash=state.hash,
                    value=estimate.value,
                    n=estimate.n,
                    low=estimate.low,
                    high=estimate.high,
                    unknown=trial.unknown,
                    instructions=dict(state.instructions),
                    demos=state.shown,
                    reasons=dict(trial.reasons.most_common(REASONS)),
                    usd=None if unknown else (now.usd or 0.0) - (before.usd or 0.0),
                    tokens=now.total - before.total,
                    seconds=trial.seconds,
                )
            ],
        )
        self._took.append(trial.seconds)
        self._reckon()
        self._bus.publish(
            TrialEnded(
                study_id=self._study.study_id,
                number=trial.number,
                phase=trial.kind,
                value=estimate.value,
                n=estimate.n,
                low=estimate.low,
                high=estimate.high,
                best=best,
                instructions=dict(state.instructions),
                demos=state.shown,
                usd=now.usd,
                tokens=dict(now.tokens),
                seconds=trial.seconds,
                left_seconds=self._left(trial.number),
            )
        )

    def ended(self, reason: str, studied: Studied | None = None) -> None:
        """Tell that the study is over, with what came of it where it gave something."""
        best = studied.best if studied is not None else None
        self._bus.publish(
            StudyEnded(
                study_id=self._study.study_id,
                reason=reason,
                trials=len(studied.trials) if studied is not None else 0,
                best=best.number if best is not None else None,
                seconds=time.monotonic() - self._began,
            )
        )

    def _progressed(
        self,
        number: int,
        phase: str,
        done: int,
        total: int,
        detail: str = "",
        left: float | None = None,
    ) -> None:
        study_id = self._study.study_id
        self._bus.publish(TrialProgressed(study_id, number, phase, done, total, detail, left))

    def _reckon(self) -> None:
        """Know how long a trial takes.

        One whose answers were bought before took none: then it is what the answers took.
        """
        study_id, store = self._study.study_id, self._store
        known = [one.seconds for one in trials_of(store, study_id)]
        bought = answering_seconds(store, study_id, f"{PURPOSE}{Role.STUDENT.value}") / len(known)
        self.longest = max(*known, bought)
        self._typical = max(sum(known) / len(known), bought)

    def _left(self, number: int) -> float | None:
        """Seconds that the trials to come will take, as those so far in the mean."""
        if self._plan is None or self._plan.trials is None:
            return None
        to_come = max(0, self._plan.trials - number)
        return to_come * self._typical
