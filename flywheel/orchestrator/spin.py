"""Spinning: harvest, dataset, optimiser, gate, deployment, attempts, and all of it again.

Each round harvests the repositories further, builds the dataset anew, looks for a better version of
a module, and lets it take the champion's place where the gate says so on rows that were never
learnt from. What is deployed then tries to mend training examples; its failures are bugs that the
next round learns from. A spin that was stopped goes on with the stage that it was in.

What the stages do is in `stages`; this module puts them in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from flywheel.core.address import without_credentials
from flywheel.core.ending import BUDGET, DONE, INTERRUPTED
from flywheel.core.errors import BudgetError, FlywheelError, StoreError
from flywheel.core.events import EventBus, StageEnded, StageStarted
from flywheel.core.identity import content_hash
from flywheel.core.settings import Settings
from flywheel.git import check_source
from flywheel.lm import Spending
from flywheel.orchestrator.corrector import check_mends
from flywheel.orchestrator.rounds import Round, Rounds, Spread, Spun, Stage, write
from flywheel.orchestrator.spin_report import report
from flywheel.orchestrator.stages import Stages, StageStopped
from flywheel.programs import share_of
from flywheel.registry import Registry
from flywheel.store import SPIN, Figure, Store, record_figures
from flywheel.workspace import Workspace

NO_MORE, NOTHING_NEW = "no-improvement", "nothing-new"
"""How a spin ends early: rounds that the champion won, and repositories that give nothing more."""
_LIMITS = frozenset(
    {"rounds", "patience", "max_usd", "max_tokens", "max_candidates", "time_limit", "jobs"}
)
"""Settings that say how long something goes on, and not what it is."""


def spin(
    repos: Sequence[str],
    module: str,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
) -> Spun:
    """Spin a module over repositories, round by round; nobody else deploys it meanwhile.

    Raises `UsageError` where the module cannot mend what it is to try, `RegistryError` where
    another changes the module, and what the stages raise; what is done until then is kept.
    """
    registry = Registry(workspace, store)
    program = registry.program(module)
    program.check()
    if settings.spin.attempts:
        check_mends(program)
    for one in repos:
        check_source(one)
    shown = tuple(without_credentials(one) for one in repos)
    spin_id = fingerprint(shown, module, settings)
    folder = workspace.spins / spin_id
    with registry.changing(program.name, f"spin {spin_id}"):
        rounds = list(Rounds(folder))
        spun = Spun(spin_id, program.name, settings.spin.metric, shown, folder, rounds)
        stages = Stages(spun, repos, module, settings, workspace, store, bus, registry)
        _Spin(spun, stages, settings, store, bus, registry).run()
    return spun


def fingerprint(repos: Sequence[str], module: str, settings: Settings) -> str:
    """Identity of a spin: the repositories, the module, and what its settings say but limits.

    The settings are those of spin, harvest and optimize; a study begins with the champion, whatever
    they say.
    """
    places = [str(Path(one).resolve()) if Path(one).is_dir() else one for one in repos]
    sections = {
        name: {key: value for key, value in told.items() if key not in (*_LIMITS, "start")}
        for name in ("spin", "harvest", "optimize")
        if (told := getattr(settings, name).model_dump(mode="json"))
    }
    return content_hash("spin", sorted(places), module, sections)


class _Spin:
    """The loop over rounds."""

    def __init__(
        self,
        spun: Spun,
        stages: Stages,
        settings: Settings,
        store: Store,
        bus: EventBus,
        registry: Registry,
    ) -> None:
        self._spun, self._wanted = spun, settings.spin
        self._store, self._bus = store, bus
        self._registry = registry
        self._rounds = Rounds(spun.folder)
        self._stages = stages

    def run(self) -> None:
        """Go on until the rounds are done, or something ends them."""
        spun = self._spun
        if spun.rounds and spun.rounds[-1].finished:
            # Where the spin was killed between a round's end and this, they are not there.
            self._record(spun.rounds[-1])
        try:
            while not (reason := self._over()):
                self._round()
                self._record(spun.rounds[-1])
                write(spun.report, report(spun))
            spun.ended = reason
        except KeyboardInterrupt:
            spun.ended = INTERRUPTED
        except BudgetError:
            spun.ended = BUDGET
        except StageStopped as stop:
            spun.ended = stop.reason
            self._keep(spun.rounds[-1].stopped(spent=stop.spent, study=stop.study))
        except FlywheelError:
            with suppress(StoreError):
                write(spun.report, report(spun))
            raise
        write(spun.report, report(spun))

    def _over(self) -> str:
        """Why there is no further round, empty where there is one."""
        rounds, patience = self._spun.rounds, self._wanted.patience
        if len(rounds) > self._wanted.rounds:
            return DONE
        if rounds and not rounds[-1].finished:
            return ""
        if len(rounds) == self._wanted.rounds:
            return DONE
        if len(rounds) >= patience and all(one.lost for one in rounds[-patience:]):
            return NO_MORE
        if rounds and rounds[-1].fruitless:
            return NOTHING_NEW
        return ""

    def _round(self) -> None:
        """Begin a round, or go on with the one that is not finished."""
        rounds = self._spun.rounds
        if not rounds or rounds[-1].finished:
            champion = self._registry.deployed(self._spun.module).version_id
            stored = self._stages.stored
            rounds.append(Round(number=len(rounds) + 1, champion=champion, stored=stored))
            self._rounds.begin(rounds[-1])
        stages: dict[str, Callable[[Round], Stage]] = {
            "harvested": self._stages.harvest,
            "composed": self._stages.compose,
            "studied": self._stages.study,
            "gated": self._stages.gate,
            "attempted": self._stages.attempt,
        }
        for name, stage in stages.items():
            now = rounds[-1]
            if getattr(now, name) is not None:
                continue
            if reached := self._stages.limits.reached:
                raise StageStopped(reached)
            began = time.monotonic()
            self._bus.publish(StageStarted(self._spun.spin_id, now.number, name))
            with self._charged(name):
                found = stage(now)
            self._keep(rounds[-1].model_copy(update={name: found}))
            took = time.monotonic() - began
            self._bus.publish(
                StageEnded(self._spun.spin_id, now.number, name, took, found.sentence)
            )

    @contextmanager
    def _charged(self, name: str) -> Iterator[None]:
        """Keep what a stage took that goes wrong: by the ledger, for it does not say so itself."""
        before = self._stages.ledger
        try:
            yield
        except StageStopped:
            raise
        except BaseException:
            after, now = self._stages.ledger, self._spun.rounds[-1]
            spent, study = after - before, Spending()
            if name == "studied":
                # In the end it is in the study's own sum.
                study = Spending(now.study_usd, now.study_tokens) + spent
                spent = Spending()
            self._keep(now.stopped(spent=spent, study=study))
            raise

    def _keep(self, one: Round) -> None:
        """Keep the round that is under way as it is now."""
        self._spun.rounds[-1] = one
        self._rounds.keep(one)

    def _record(self, one: Round) -> None:
        """Keep a round's figures, to be seen over time."""
        run_id = f"{self._spun.spin_id}-{one.number}"
        subject = f"{self._spun.module} by spin {self._spun.spin_id}"
        harvested, gated, tried = one.harvested, one.gated, one.attempted
        assert harvested is not None
        assert gated is not None
        assert tried is not None
        shares = {
            "yield": harvested.drawn,
            "champion": gated.champion_score,
            "challenger": gated.challenger_score,
            "mended": Spread.of(share_of(tried.mended, tried.asked)),
        }
        detail = {"round": one.number, "deployed": one.deployed, "why": gated.why,
                  "p": gated.p_value, "usd": one.usd, "seconds": round(one.seconds, 1)}  # fmt: skip
        record_figures(
            self._store,
            [
                Figure(
                    run_id=run_id,
                    kind=SPIN,
                    subject=subject,
                    metric=name if name in ("yield", "mended") else f"{name} {self._spun.metric}",
                    value=found.value,
                    n=found.n,
                    low=found.low,
                    high=found.high,
                    detail=detail,
                )
                for name, found in shares.items()
                if found is not None and found.n
            ],
        )
