"""Writing: a language model as a source of candidates, and what its answers became."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set
from typing import Any

from flywheel.candidates import ATTEMPT, PythonLanguage, WrittenSource, choose_modes
from flywheel.core.ending import EXHAUSTED
from flywheel.core.errors import UsageError
from flywheel.core.events import EventBus
from flywheel.core.settings import CorrectSettings, HarvestSettings, Settings
from flywheel.critic import Toolchain
from flywheel.lm import Role
from flywheel.orchestrator.correct import Correction, whole_critic
from flywheel.orchestrator.correct import Tally as CorrectTally
from flywheel.orchestrator.corrector import Prompted
from flywheel.orchestrator.judging import Judging, Progress
from flywheel.orchestrator.models import Models
from flywheel.store import FAILED, FIXED, REJECTED, Store, mendable, rare_families
from flywheel.workspace import Workspace

NAME = "written"
"""The source's name."""
RARE = 3
"""Kinds of bugs that a model is asked for: those that the store has fewest of."""


def check(wanted: HarvestSettings) -> None:
    """See that an estimate is all that is wanted, where one is. Raises `UsageError`."""
    if wanted.estimate and wanted.source != (NAME,):
        raise UsageError(
            "--estimate says what a model would cost, and judges nothing",
            hint=f"--source {NAME} --estimate",
        )


class Writing:
    """A model at work for one harvest; leaving the block ends it and stores its calls."""

    def __init__(
        self,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        *,
        toolchain: Toolchain,
        run_id: str,
    ) -> None:
        """Asks nothing yet. Raises `UsageError` for a profile or a mode that is not there."""
        wanted = settings.harvest
        if not isinstance(toolchain.language(), PythonLanguage):
            raise UsageError(
                f"models write Python only, and the toolchain here is {toolchain.profile.name}",
                hint="leave written out of --source",
            )
        self._wanted, self._settings, self._store = wanted, settings, store
        self._modes = choose_modes(wanted.modes)
        self._run_id = run_id
        self._source: WrittenSource | None = None
        self._attempts: Counter[str] = Counter()
        self._out_of_budget = False
        self._models = Models(
            Role.GENERATOR,
            settings,
            workspace,
            store,
            bus,
            chosen=wanted.generator,
            wanted=wanted,
            run_id=run_id,
        )

    def source(
        self, contents: Mapping[str, bytes], covered: Callable[[str], Set[int] | None]
    ) -> WrittenSource:
        """The source of what the model writes of these files; says what it may cost first."""
        wanted = self._wanted
        self._source = WrittenSource(
            contents,
            ask=lambda request, mode: self._models.ask(request, f"{NAME}:{mode.name}"),
            modes=[mode for mode in self._modes if mode != ATTEMPT],
            covered=covered,
            seed=wanted.seed,
            samples=wanted.samples,
            families=rare_families(self._store, PythonLanguage().operators, RARE),
            context=wanted.context,
        )
        # No more is asked than may be judged: an answer is one candidate at the most.
        asked = self._source.questions(wanted.max_candidates or None)
        self._models.expect(
            [(request, f"{NAME}:{mode.name}") for request, mode in asked], buy=not wanted.estimate
        )
        if wanted.estimate:
            self._source.questions(0)
        return self._source

    def attempt(self, loop: Judging) -> None:
        """Have the bugs of this commit mended, once each; what fails is a flawed fix."""
        if ATTEMPT not in self._modes or loop.ended != EXHAUSTED:
            return
        baseline_id = loop.learned.baseline.baseline_id
        where = f"baseline_id = '{baseline_id}' AND source <> '{NAME}'"
        wanted_paths = set(loop.paths())
        rows = tuple(
            row for row in mendable(self._store, where=where) if row.candidate.path in wanted_paths
        )
        if self._wanted.max_candidates:
            asked = self._source.by_mode.values() if self._source is not None else ()
            already = sum(counts["asked"] for counts in asked)
            rows = rows[: max(0, self._wanted.max_candidates - already)]
        if not rows:
            return
        critic = whole_critic(loop.bench, loop.learned, self._settings)
        tally = CorrectTally(examples=len(rows))
        wanted = CorrectSettings(
            turns=1,
            samples=self._wanted.samples,
            seed=self._wanted.seed,
            estimate=self._wanted.estimate,
        )
        correction = Correction(
            loop.bench,
            loop.learned,
            critic,
            self._store,
            self._models,
            Prompted(self._models, wanted, f"{NAME}:{ATTEMPT.name}"),
            wanted,
            tally,
            baseline_id=baseline_id,
            run_id=self._run_id,
            limit=loop.limit,
            on_progress=lambda _: loop.on_progress(Progress(loop.tally, 0.0, 0)),
        )
        try:
            correction.run(rows)
        finally:
            critic.close()
        loop.ended = correction.ended
        loop.tally.examples += tally.bugs + tally.fixes
        names = {FAILED: "valid", FIXED: "fixed"}
        self._attempts["asked"] += len(tally.asked) * self._wanted.samples
        self._attempts["answered"] += tally.attempts.total()
        for verdict, count in tally.attempts.items():
            if verdict != REJECTED:  # these are counted by their reasons
                self._attempts[names.get(verdict, verdict)] += count
        self._attempts.update(tally.reasons)
        self._attempts.update(restored=tally.restored, skipped=tally.skipped.total())

    @property
    def out_of_budget(self) -> bool:
        """Whether it ended because no more may be spent."""
        return self._source is not None and self._source.out_of_budget

    def summary(self) -> dict[str, Any]:
        """What was asked, and what became of it by mode and reason."""
        by_mode = {
            name: dict(counts)
            for name, counts in (self._source.by_mode if self._source else {}).items()
        }
        if self._attempts:
            by_mode[ATTEMPT.name] = {name: n for name, n in self._attempts.items() if n}
        return {**self._models.summary(), "by_mode": by_mode}

    def close(self, *, patience: float = 0.0) -> None:
        """End the model's work and store its calls, once; `patience` as in `Models.close`."""
        try:
            self._models.close(patience=patience)
        finally:
            if self._source is not None:
                self._source.close()

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Leave, as `Models` does."""
        self._models.__exit__(kind, *rest)
        if self._source is not None:
            self._source.close()


__all__ = ["NAME", "Writing", "check"]
