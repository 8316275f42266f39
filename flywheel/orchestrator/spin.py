"""Spinning: harvest, dataset, optimiser, gate, deployment, attempts, and all of it again.

Each round harvests the repositories further, builds the dataset anew, looks for a better version of
a module, and lets it take the champion's place where the gate says so on rows that were never
learnt from. What is deployed then tries to mend training examples; its failures are bugs that the
next round learns from. A spin that was stopped goes on with the stage that it was in.

The stages are the use cases that the other commands call; this module puts them in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.core.ending import BUDGET, DONE, INTERRUPTED, MAX_CANDIDATES, MAX_EXAMPLES, TIME_LIMIT
from flywheel.core.errors import BudgetError, DatasetError
from flywheel.core.events import EventBus, StageEnded, StageStarted
from flywheel.core.identity import content_hash
from flywheel.core.settings import Section, Settings
from flywheel.curate import HOLDOUT, TRAIN, find_version
from flywheel.curate import Version as Dataset
from flywheel.curate.holdout import frozen
from flywheel.optimize.gate import require
from flywheel.orchestrator.correct import correct
from flywheel.orchestrator.dataset import build_dataset, recipe_of
from flywheel.orchestrator.evaluate import Compared, draw, evaluate
from flywheel.orchestrator.harvest import harvest
from flywheel.orchestrator.rounds import (
    Attempted,
    Composed,
    Gated,
    Harvested,
    Round,
    Rounds,
    Spread,
    Studied,
    write,
)
from flywheel.orchestrator.spin_report import report
from flywheel.orchestrator.tools import find_metric
from flywheel.programs import share_of
from flywheel.registry import Registry, Version, deploy, verdict
from flywheel.store import SPIN, Figure, Mendable, Store, mendable, record_figures
from flywheel.workspace import Workspace

NO_MORE, NOTHING_NEW = "no-improvement", "nothing-new"
"""How a spin ends early: rounds that the champion won, and repositories that give nothing more."""
AT_ONCE = 200
"""Training examples that are looked at together when some are chosen."""
_NO_TIME = 0.001
"""Seconds that are left when none are: a limit of nothing would be no limit."""
_JUDGED = ("valid", "survived", "unknown", "breaks_everything")
_LIMITS = frozenset(
    {"rounds", "patience", "max_usd", "max_tokens", "max_candidates", "time_limit", "jobs"}
)
"""Settings that say how long something goes on, and not what it is."""


class _Stop(Exception):
    """The spin ends in the midst of a round, which stays unfinished."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Spun:
    """What came of a spin so far."""

    spin_id: str
    """Its fingerprint."""
    module: str
    """Name of the module."""
    metric: str
    """What the gate goes by."""
    repos: tuple[str, ...]
    """Repositories."""
    folder: Path
    """Where its rounds and its report lie."""
    rounds: list[Round] = field(default_factory=list)
    """The rounds, the last of them perhaps not finished."""
    ended: str = ""
    """Empty while it goes on; `done`, `no-improvement`, `nothing-new`, `budget`, `time-limit` or
    `interrupted`."""

    @property
    def report(self) -> Path:
        """The report of the rounds that are finished."""
        return Rounds(self.folder).report

    @property
    def deployed(self) -> str:
        """What is deployed, as far as the rounds know."""
        return self.rounds[-1].deployed if self.rounds else ""

    @property
    def usd(self) -> float | None:
        """US dollars of all rounds, None where a price is not known."""
        costs = [one.usd for one in self.rounds]
        return None if None in costs else sum(one or 0.0 for one in costs)


def spin(
    repos: Sequence[str],
    module: str,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_round: Callable[[Spun], None] = lambda spun: None,
) -> Spun:
    """Spin a module over repositories, round by round; nobody else deploys it meanwhile.

    `on_round` hears of each round that is finished. Raises `RegistryError` where another changes
    the module, and what the stages raise; what is done until then is kept.
    """
    registry = Registry(workspace, store)
    program = registry.program(module)
    program.check()
    spin_id = fingerprint(repos, module, settings)
    folder = workspace.spins / spin_id
    spun = Spun(
        spin_id, program.name, settings.spin.metric, tuple(repos), folder, list(Rounds(folder))
    )
    with registry.changing(program.name, f"spin {spin_id}"):
        _Spin(spun, module, settings, workspace, store, bus, registry, on_round).run()
    return spun


def fingerprint(repos: Sequence[str], module: str, settings: Settings) -> str:
    """Identity of a spin: the repositories, the module, and all settings but limits."""
    places = [str(Path(one).resolve()) if Path(one).is_dir() else one for one in repos]
    sections = {
        name: {key: value for key, value in told.items() if key not in _LIMITS}
        for name in ("spin", "harvest", "optimize")
        if (told := _section(settings, name).model_dump(mode="json"))
    }
    return content_hash("spin", sorted(places), module, sections)


def _section(settings: Settings, name: str) -> Section:
    section: Section = getattr(settings, name)
    return section


class _Spin:
    """The loop over rounds."""

    def __init__(
        self,
        spun: Spun,
        module: str,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        registry: Registry,
        on_round: Callable[[Spun], None],
    ) -> None:
        self._spun, self._module = spun, module
        self._settings, self._wanted = settings, settings.spin
        self._workspace, self._store, self._bus = workspace, store, bus
        self._registry, self._on_round = registry, on_round
        self._rounds = Rounds(spun.folder)
        limit = self._wanted.time_limit
        self._deadline = time.monotonic() + limit if limit is not None else None

    def run(self) -> None:
        """Go on until the rounds are done, or something ends them."""
        spun = self._spun
        try:
            while not (reason := self._over()):
                self._round()
                self._record(spun.rounds[-1])
                write(spun.report, report(spun))
                self._on_round(spun)
            spun.ended = reason
        except KeyboardInterrupt:
            spun.ended = INTERRUPTED
        except BudgetError:
            spun.ended = BUDGET
        except _Stop as stop:
            spun.ended = stop.reason
        write(spun.report, report(spun))

    def _over(self) -> str:
        """Why there is no further round, empty where there is one."""
        rounds, patience = self._spun.rounds, self._wanted.patience
        if rounds and not rounds[-1].finished:
            return ""
        if len(rounds) >= self._wanted.rounds:
            return DONE
        if len(rounds) >= patience and all(one.lost for one in rounds[-patience:]):
            return NO_MORE
        if rounds and _fruitless(rounds[-1]):
            return NOTHING_NEW
        return ""

    # --- a round ---------------------------------------------------------------------------------

    def _round(self) -> None:
        """Begin a round, or go on with the one that is not finished."""
        rounds = self._spun.rounds
        if not rounds or rounds[-1].finished:
            champion = self._registry.deployed(self._spun.module).version_id
            rounds.append(Round(number=len(rounds) + 1, champion=champion))
            self._rounds.keep(rounds[-1])
        stages: dict[str, Callable[[Round], object]] = {
            "harvested": self._harvest,
            "composed": self._compose,
            "studied": self._study,
            "gated": self._gate,
            "attempted": self._attempt,
        }
        for name, stage in stages.items():
            now = rounds[-1]
            if getattr(now, name) is not None:
                continue
            self._look_at_limits()
            began = time.monotonic()
            self._bus.publish(StageStarted(self._spun.spin_id, now.number, name))
            rounds[-1] = now.model_copy(update={name: stage(now)})
            self._rounds.keep(rounds[-1])
            took = time.monotonic() - began
            self._bus.publish(StageEnded(self._spun.spin_id, now.number, name, took))

    def _harvest(self, now: Round) -> Harvested:
        began = time.monotonic()
        judged = new = tokens = valid = drawn = 0
        usd, exhausted = 0.0, True
        for repo in self._spun.repos:
            settings = self._with(
                "harvest",
                # A candidate that is known counts, so each round goes on where the last one ended.
                max_candidates=self._wanted.max_candidates * now.number,
                seed=self._wanted.seed,
            )
            summary = harvest(repo, settings, self._workspace, self._store, self._bus)
            counts, written = summary["candidates"], summary.get("written")
            self._heed(summary["ended"], usd=written["usd"] if written is not None else 0.0)
            judged += counts["judged"]
            new += summary["examples"]["new"]
            valid += counts["valid"]
            drawn += sum(counts.get(name, 0) for name in _JUDGED)
            exhausted = exhausted and summary["ended"] not in (MAX_CANDIDATES, MAX_EXAMPLES)
            if written is not None:
                usd, tokens = usd + written["usd"], tokens + written["tokens"]
        return Harvested(
            judged=judged,
            new=new,
            drawn=Spread.of(share_of(valid, drawn)),
            exhausted=exhausted,
            usd=usd,
            tokens=tokens,
            seconds=time.monotonic() - began,
        )

    def _compose(self, now: Round) -> Composed:
        began = time.monotonic()
        recipe = recipe_of(self._wanted.recipe, self._settings, self._workspace)
        name = recipe.rules.split.holdout_name
        try:
            built = build_dataset(
                self._wanted.recipe, self._settings, self._workspace, self._store, self._bus
            )
        except DatasetError as error:
            if frozen(self._workspace.datasets, name) is not None:
                raise
            # Nothing is frozen yet: more of the repositories may be enough for a hold-out.
            problem = " ".join(filter(None, (error.message, error.cause)))
            return Composed(
                dataset=None, examples=0, train=0, holdout=0, problem=problem,
                seconds=time.monotonic() - began,
            )  # fmt: skip
        splits = built.version.manifest.splits
        held = splits[HOLDOUT].examples if HOLDOUT in splits else 0
        problem = ""
        try:
            require(min(held, self._wanted.rows or held))
        except DatasetError as error:
            problem = f"{error.message} {error.hint}"
            if self._wanted.rows is None:
                problem += f" (the hold-out {name} is frozen: give the recipe another holdout_name)"
        return Composed(
            dataset=built.version.id,
            examples=sum(one.examples for one in splits.values()),
            train=splits[TRAIN].examples if TRAIN in splits else 0,
            holdout=held,
            problem=problem,
            seconds=time.monotonic() - began,
        )

    def _study(self, now: Round) -> Studied:
        from flywheel.orchestrator.optimize import optimize  # noqa: PLC0415  DSPy, for a second

        began = time.monotonic()
        data = now.composed
        assert data is not None
        if data.dataset is None or data.problem:
            return Studied(study="", challenger=None, trials=0, seconds=0.0)
        wanted = self._wanted
        settings = self._with(
            "optimize",
            dataset=data.dataset,
            metric=wanted.metric,
            optimizer=wanted.optimizer or self._settings.optimize.optimizer,
            student=wanted.student or self._settings.optimize.student,
            seed=wanted.seed,
        )
        done = optimize(self._module, settings, self._workspace, self._store, self._bus)
        self._heed(done.studied.ended, study_usd=done.usd or 0.0)
        return Studied(
            study=done.study_id,
            challenger=done.version,
            trials=len(done.studied.trials),
            usd=done.usd,
            tokens=sum(done.tokens.values()),
            seconds=time.monotonic() - began,
        )

    def _gate(self, now: Round) -> Gated:
        began = time.monotonic()
        data, studied = now.composed, now.studied
        assert data is not None
        assert studied is not None
        if data.dataset is None or data.problem:
            return _no_verdict(data.problem)
        if studied.challenger is None:
            return _no_verdict("the optimiser scored no other state of the program")
        if studied.challenger == now.champion:
            return _no_verdict("the optimiser gave the champion again")
        wanted = self._wanted
        settings = self._with(
            "evaluate",
            metric=wanted.metric,
            student=wanted.student or self._settings.evaluate.student,
            seed=wanted.seed,
        )
        drawn = draw(self._dataset(data.dataset), HOLDOUT, rows=wanted.rows, seed=wanted.seed)
        challenger = self._version(studied.challenger)
        done = evaluate(
            [self._version(now.champion), challenger],
            find_metric(wanted.metric, settings, self._workspace),
            drawn,
            settings,
            self._workspace,
            self._store,
            self._bus,
        )
        self._heed(done.ended, usd=done.usd)
        (compared,) = done.compared
        deployed = self._deploy(now, challenger, compared)
        found = compared.comparison
        why = compared.refused or (found.sentence if found is not None else "")
        if found is not None and found.better and not compared.refused and not deployed:
            why = verdict(self._registry, challenger).sentence
        scores = [Spread.of(one.estimate(wanted.seed)) for one in done.standings]
        return Gated(
            champion_score=scores[0],
            challenger_score=scores[1],
            difference=found.difference if found is not None else None,
            low=found.low if found is not None else None,
            high=found.high if found is not None else None,
            p_value=found.p_value if found is not None else None,
            rows=found.n if found is not None else 0,
            compared=found is not None and not compared.refused,
            deployed=deployed,
            why=why,
            usd=done.usd,
            tokens=done.tokens,
            seconds=time.monotonic() - began,
        )

    def _deploy(self, now: Round, challenger: Version, compared: Compared) -> bool:
        """Let a challenger that won take the champion's place; says whether it has it."""
        won = compared.comparison is not None and compared.comparison.better
        if not won or compared.refused:
            return False
        live = self._registry.deployed(self._spun.module).version_id
        if live == challenger.id and live != now.champion:
            return True  # this round has deployed it, and was killed before it could say so
        if not verdict(self._registry, challenger).allows:
            return False
        deploy(self._registry, challenger)
        return True

    def _attempt(self, now: Round) -> Attempted:
        began = time.monotonic()
        by = now.deployed
        rows = self._examples(now)
        if not rows:
            return Attempted(by=by, asked=0, mended=0, bugs=0, fixes=0, seconds=0.0)
        wanted = self._wanted
        place = self._registry.program(self._module).spec
        settings = self._with(
            "correct",
            # By its hash: answers to what it may have learnt from are no live traffic.
            program=f"{place}@{by.rpartition('@')[2]}",
            corrector=wanted.student or self._settings.evaluate.student,
            answer="definition",
            show_tests=False,
            batch=False,
            estimate=False,
            samples=1,
            seed=wanted.seed,
        )
        summary = correct(rows, settings, self._workspace, self._store, self._bus)
        self._heed(summary["ended"], usd=summary["usd"])
        return Attempted(
            by=by,
            asked=summary["asked"],
            mended=summary["mended"],
            bugs=summary["bugs"]["new"],
            fixes=summary["fixes"]["new"],
            usd=summary["usd"],
            tokens=summary["tokens"],
            seconds=time.monotonic() - began,
        )

    def _examples(self, now: Round) -> list[Mendable]:
        """Training examples that are tried in this round, others in each; never held-out ones."""
        assert now.composed is not None
        many = self._wanted.attempts
        if now.composed.dataset is None or not many:
            return []
        version = self._dataset(now.composed.dataset)
        ids = {one for part in version.batches(TRAIN, ("example_id",))
               for one in part["example_id"].to_pylist()}  # fmt: skip
        order = sorted(ids, key=lambda one: content_hash("try", self._wanted.seed, now.number, one))
        found: list[Mendable] = []
        for start in range(0, len(order), AT_ONCE):
            some = order[start : start + AT_ONCE]
            known = {one.example_id: one for one in mendable(self._store, ids=some)}
            found += [known[one] for one in some if one in known]
            if len(found) >= many:
                break
        return found[:many]

    # --- limits ----------------------------------------------------------------------------------

    def _with(self, section: str, **changes: Any) -> Settings:
        """The settings of one stage, with what is left of the spin's limits."""
        own = _section(self._settings, section)
        left = {"max_usd": self._left_usd(), "time_limit": self._left_seconds()}
        for name, value in left.items():
            limit = getattr(own, name, None)
            if value is not None and name in type(own).model_fields:
                changes[name] = value if limit is None else min(value, limit)
        return self._settings.model_copy(update={section: own.model_copy(update=changes)})

    def _left_usd(self) -> float | None:
        if self._wanted.max_usd is None:
            return None
        spent = sum(one.spent for one in self._spun.rounds)
        return max(self._wanted.max_usd - spent, 0.0)

    def _left_seconds(self) -> float | None:
        return None if self._deadline is None else max(self._deadline - time.monotonic(), _NO_TIME)

    def _look_at_limits(self) -> None:
        if self._left_seconds() == _NO_TIME:
            raise _Stop(TIME_LIMIT)
        if self._left_usd() == 0.0:
            raise _Stop(BUDGET)

    def _heed(self, ended: str, *, usd: float = 0.0, study_usd: float = 0.0) -> None:
        """Stop where a stage was stopped: it is done again, and goes on where it was.

        `usd` is what this run of it cost, `study_usd` what a study cost in all its runs.
        """
        over = ended == TIME_LIMIT and self._left_seconds() == _NO_TIME
        if ended in (INTERRUPTED, BUDGET) or over:
            rounds = self._spun.rounds
            spent = {"stopped_usd": rounds[-1].stopped_usd + usd, "study_usd": study_usd}
            rounds[-1] = rounds[-1].model_copy(update=spent)
            self._rounds.keep(rounds[-1])
            raise _Stop(ended)

    # --- what is there ---------------------------------------------------------------------------

    def _dataset(self, name: str) -> Dataset:
        return find_version(self._workspace.datasets, name)

    def _version(self, version_id: str) -> Version:
        spec = self._registry.program(self._module).spec
        return self._registry.find(f"{spec}@{version_id.rpartition('@')[2]}")

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


def _no_verdict(why: str) -> Gated:
    return Gated(
        champion_score=None,
        challenger_score=None,
        difference=None,
        low=None,
        high=None,
        p_value=None,
        rows=0,
        compared=False,
        deployed=False,
        why=why,
        seconds=0.0,
    )


def _fruitless(one: Round) -> bool:
    """Whether a round says that the next one would be the same."""
    harvested, tried = one.harvested, one.attempted
    assert harvested is not None
    assert tried is not None
    new = harvested.new + tried.bugs + tried.fixes
    return harvested.exhausted and not new and one.deployed == one.champion
