"""Stages of a round: what other commands do, each with what is left of the spin's limits.

A stage that was stopped raises, and is done again when the spin goes on; what it has paid for is
kept by the use case that it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flywheel.core.ending import (
    BUDGET,
    INTERRUPTED,
    MAX_CANDIDATES,
    MAX_EXAMPLES,
    TIME_LIMIT,
)
from flywheel.core.errors import DatasetError
from flywheel.core.events import EventBus, PhaseStarted, Warned
from flywheel.core.identity import content_hash
from flywheel.core.settings import Section, Settings, SpinSettings
from flywheel.curate import HOLDOUT, TRAIN, VALIDATION, find_version
from flywheel.curate import Version as Dataset
from flywheel.curate.holdout import frozen
from flywheel.lm import Spending
from flywheel.optimize.gate import level, require
from flywheel.orchestrator.challenge import seen_by_champion
from flywheel.orchestrator.correct import correct
from flywheel.orchestrator.cost import take_calls
from flywheel.orchestrator.dataset import build_dataset, recipe_of
from flywheel.orchestrator.drawn import draw, learnt_of
from flywheel.orchestrator.evaluate import evaluate
from flywheel.orchestrator.evaluated import Compared
from flywheel.orchestrator.harvest import harvest
from flywheel.orchestrator.rounds import (
    Attempted,
    Composed,
    Gated,
    Harvested,
    Round,
    Spread,
    Spun,
    Studied,
)
from flywheel.orchestrator.tools import find_metric
from flywheel.programs import share_of
from flywheel.registry import Registry, Version, deploy, verdict
from flywheel.store import Mendable, Store, call_sums, mendable, proven_count
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.orchestrator.optimized import Optimized

AT_ONCE = 200
"""Training examples that are looked at together when some are chosen."""
_NO_TIME = 0.001
"""Seconds that a stage is given when none are left: a limit of nothing would be no limit."""
_JUDGED = ("valid", "survived", "unknown", "breaks_everything")
"""What may have come of a candidate that was run, in a harvest's summary."""
_MORE = (MAX_CANDIDATES, MAX_EXAMPLES, TIME_LIMIT)
"""How a harvest ends that has left something to be drawn."""
_NOTHING = Spending()


class StageStopped(Exception):
    """A stage was stopped: its round stays unfinished."""

    def __init__(
        self, reason: str, *, spent: Spending = _NOTHING, study: Spending = _NOTHING
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """How the spin ends."""
        self.spent = spent
        """What this run of it took."""
        self.study = study
        """What a study took in all its runs, as far as no earlier round has it."""


class Limits:
    """What is left of what a spin may take."""

    def __init__(self, wanted: SpinSettings, rounds: Sequence[Round]) -> None:
        """`rounds` are those of the spin, as they grow. The time begins now."""
        self._max_usd, self._max_tokens = wanted.max_usd, wanted.max_tokens
        self._rounds = rounds
        limit = wanted.time_limit
        self._deadline = None if limit is None else time.monotonic() + limit

    @property
    def usd(self) -> float | None:
        """US dollars that are left, None where there is no limit."""
        if self._max_usd is None:
            return None
        return max(self._max_usd - sum(one.spent for one in self._rounds), 0.0)

    @property
    def tokens(self) -> int | None:
        """Tokens that are left, None where there is no limit."""
        if self._max_tokens is None:
            return None
        return max(self._max_tokens - sum(one.tokens for one in self._rounds), 0)

    @property
    def seconds(self) -> float | None:
        """Seconds that are left, None where there is no limit."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    @property
    def reached(self) -> str:
        """The limit that is reached, empty where none is."""
        if self.seconds == 0.0:
            return TIME_LIMIT
        return BUDGET if self.usd == 0.0 or self.tokens == 0 else ""


class Stages:
    """The stages of one spin, each from a round to what it adds to it."""

    def __init__(
        self,
        spun: Spun,
        repos: Sequence[str],
        module: str,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        registry: Registry,
    ) -> None:
        """`repos` and `module` are as they were asked for: addresses with their credentials."""
        self._spun, self._repos, self._module = spun, repos, module
        self._settings, self._wanted = settings, settings.spin
        self._workspace, self._store, self._bus = workspace, store, bus
        self._registry = registry
        self._student = settings.spin.student or settings.optimize.student
        self.limits = Limits(settings.spin, spun.rounds)
        """What is left."""

    @property
    def stored(self) -> int:
        """Examples that the store has."""
        return proven_count(self._store)

    @property
    def ledger(self) -> Spending:
        """What all models have taken so far, as far as prices are known."""
        take_calls(self._workspace, self._store)
        sums = call_sums(self._store)
        return sum(
            (Spending(one.usd, one.input_tokens + one.output_tokens) for one in sums), _NOTHING
        )

    def harvest(self, now: Round) -> Harvested:
        """Harvest each repository further than the last round did. Raises `StageStopped`."""
        began = time.monotonic()
        judged = new = valid = drawn = 0
        spent, exhausted = _NOTHING, True
        examples = self._settings.harvest.max_examples
        for repo in self._repos:
            settings = self._with(
                "harvest",
                spent=spent,
                # What is known counts, so each round goes on where the last one ended.
                max_candidates=self._wanted.max_candidates * now.number,
                max_examples=None if examples is None else examples * now.number,
                seed=self._wanted.seed,
            )
            summary = harvest(repo, settings, self._workspace, self._store, self._bus)
            counts, written = summary["candidates"], summary.get("written")
            if written is not None:
                spent += Spending(written["usd"], written["tokens"])
            self._heed(summary["ended"], spent=spent)
            judged += counts["judged"]
            new += summary["examples"]["new"]
            valid += counts["valid"]
            drawn += sum(counts.get(name, 0) for name in _JUDGED)
            exhausted = exhausted and summary["ended"] not in _MORE
        return Harvested(
            judged=judged,
            new=new,
            drawn=Spread.of(share_of(valid, drawn)),
            exhausted=exhausted,
            usd=spent.usd,
            tokens=spent.tokens,
            seconds=time.monotonic() - began,
        )

    def compose(self, now: Round) -> Composed:
        """Build the dataset, with the reason where nothing can be decided by it."""
        began = time.monotonic()
        recipe = recipe_of(self._wanted.recipe, self._settings, self._workspace)
        name = recipe.rules.split.holdout_name
        try:
            built = build_dataset(
                self._wanted.recipe, self._settings, self._workspace, self._store, self._bus
            )
        except DatasetError as error:
            out_of_room = isinstance(error.__cause__, OSError)
            if out_of_room or frozen(self._workspace.datasets, name) is not None:
                raise
            # Nothing is frozen yet: more of the repositories may be enough for a hold-out.
            problem = " ".join(filter(None, (error.message, error.cause)))
            return Composed(
                dataset=None, examples=0, train=0, holdout=0, problem=problem,
                seconds=time.monotonic() - began,
            )  # fmt: skip
        splits = built.version.manifest.splits
        held = splits[HOLDOUT].examples if HOLDOUT in splits else 0
        problem, wanted = "", self._wanted
        try:
            if not held:
                require(0)
            drawn = draw(built.version, HOLDOUT, rows=wanted.rows, seed=wanted.seed)
            require(len(drawn.rows), definitions=drawn.definitions)
            problem = seen_by_champion(self._version(now.champion), drawn, self._registry)
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

    def study(self, now: Round) -> Studied:
        """Look for a better version. Raises `StageStopped`."""
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
            student=self._student,
            seed=wanted.seed,
            start=self._start(self._version(now.champion), data.dataset),
        )
        done = optimize(self._module, settings, self._workspace, self._store, self._bus)
        took = self._new_in(done)
        self._heed(done.studied.ended, study=took)
        return Studied(
            study=done.study_id,
            challenger=done.version,
            trials=len(done.studied.trials),
            usd=None if done.usd is None else took.usd,
            tokens=took.tokens,
            seconds=time.monotonic() - began,
        )

    def _start(self, champion: Version, dataset: str) -> str | None:
        """What a round's study goes on from: the champion, or the program as its code has it.

        The latter where its weights are a provider's, where it has seen what is held out, and where
        it has learned from half of what would score it.
        """
        if champion.folder is None or champion.manifest.tuned is not None:
            return None
        data = self._dataset(dataset)
        why = ""
        if self._registry.seen(champion, data.ids(HOLDOUT)):
            why = "has seen rows of the hold-out"
        elif 2 * len(learnt_of(data, self._registry, champion)) > len(data.ids(VALIDATION)):
            why = "has learned from most of what the round's trials are scored on"
        if why:
            told = "the round begins with the program as its code has it"
            self._bus.publish(Warned("spin-start", f"{champion.id} {why}: {told}"))
            return None
        return champion.id

    def _new_in(self, done: Optimized) -> Spending:
        """What a study took that no earlier round has: on the same dataset it is the same study."""
        held = [
            one.studied
            for one in self._spun.rounds
            if one.studied is not None and one.studied.study == done.study_id
        ]
        usd = (done.usd or 0.0) - sum(one.usd or 0.0 for one in held)
        tokens = sum(done.tokens.values()) - sum(one.tokens for one in held)
        return Spending(max(0.0, usd), max(0, tokens))

    def gate(self, now: Round) -> Gated:
        """Compare the challenger with the champion on the hold-out; what is better is deployed.

        Raises `StageStopped`.
        """
        began = time.monotonic()
        data, studied = now.composed, now.studied
        assert data is not None
        assert studied is not None
        if data.dataset is None or data.problem:
            return Gated(why=data.problem, seconds=0.0)
        if studied.challenger is None:
            return Gated(why="the optimiser found no other state of the program", seconds=0.0)
        if studied.challenger == now.champion:
            return Gated(why="the optimiser gave the champion again", seconds=0.0)
        wanted = self._wanted
        settings = self._with(
            "evaluate",
            metric=wanted.metric,
            student=self._student,
            seed=wanted.seed,
        )
        drawn = draw(self._dataset(data.dataset), HOLDOUT, rows=wanted.rows, seed=wanted.seed)
        challenger = self._version(studied.challenger)
        self._bus.publish(PhaseStarted("evaluate", 2 * len(drawn.rows)))
        done = evaluate(
            [self._version(now.champion), challenger],
            find_metric(wanted.metric, settings, self._workspace),
            drawn,
            settings,
            self._workspace,
            self._store,
            self._bus,
        )
        self._heed(done.ended, spent=Spending(done.usd, done.tokens))
        (compared,) = done.compared
        deployed = self._deploy(now, challenger, compared)
        found = compared.comparison
        why = compared.refused or (found.sentence if found is not None else "")
        if found is not None and found.better and not compared.refused and not deployed:
            why = verdict(self._registry, challenger).sentence
            if found.deciding_p >= level(now.number):
                why = (
                    f"{found.sentence} Not deployed: in round {now.number} p must stay below"
                    f" {level(now.number):.2g}, for every round looks at the same hold-out."
                )
        scores = [Spread.of(one.estimate(wanted.seed)) for one in done.standings]
        return Gated(
            champion_score=scores[0],
            challenger_score=scores[1],
            difference=found.difference if found is not None else None,
            low=found.low if found is not None else None,
            high=found.high if found is not None else None,
            p_value=found.deciding_p if found is not None else None,
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
        found = compared.comparison
        if found is None or compared.refused or not found.better:
            return False
        if found.deciding_p >= level(now.number):
            return False
        live = self._registry.deployed(self._spun.module).version_id
        if live == challenger.id and live != now.champion:
            return True  # this round has deployed it, and was killed before it could say so
        if not verdict(self._registry, challenger).allows:
            return False
        deploy(self._registry, challenger)
        return True

    def attempt(self, now: Round) -> Attempted:
        """Have what is deployed mend training examples; its failures are bugs of their own.

        Raises `StageStopped`.
        """
        began = time.monotonic()
        by = now.deployed
        rows = self._examples(now)
        if not rows:
            return Attempted(
                by=by, asked=0, mended=0, bugs=0, fixes=0, stored=self.stored, seconds=0.0
            )
        wanted = self._wanted
        place = self._registry.program(self._module).spec
        settings = self._with(
            "correct",
            # By its hash: answers to what it may have learnt from are no live traffic.
            program=f"{place}@{by.rpartition('@')[2]}",
            corrector=self._student,
            answer="definition",
            show_tests=False,
            batch=False,
            estimate=False,
            samples=1,
            seed=wanted.seed,
        )
        summary = correct(rows, settings, self._workspace, self._store, self._bus)
        self._heed(summary["ended"], spent=Spending(summary["usd"] or 0.0, summary["tokens"]))
        return Attempted(
            by=by,
            asked=summary["asked"],
            mended=summary["mended"],
            bugs=summary["bugs"]["new"],
            fixes=summary["fixes"]["new"],
            stored=self.stored,
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
        order = sorted(
            version.ids(TRAIN),
            key=lambda one: content_hash("try", self._wanted.seed, now.number, one),
        )
        found: list[Mendable] = []
        for start in range(0, len(order), AT_ONCE):
            some = order[start : start + AT_ONCE]
            known = {one.example_id: one for one in mendable(self._store, ids=some)}
            found += [known[one] for one in some if one in known]
            if len(found) >= many:
                break
        return found[:many]

    # --- what a stage is given -------------------------------------------------------------------

    def _with(self, section: str, *, spent: Spending = _NOTHING, **changes: Any) -> Settings:
        """The settings of one stage, with what is left of the spin's limits.

        `spent` is what the stage itself has taken, which no round knows yet.
        """
        own: Section = getattr(self._settings, section)
        usd, tokens, seconds = self.limits.usd, self.limits.tokens, self.limits.seconds
        left = {
            "max_usd": None if usd is None else max(usd - spent.usd, 0.0),
            "max_tokens": None if tokens is None else max(tokens - spent.tokens, 0),
            "time_limit": None if seconds is None else max(seconds, _NO_TIME),
        }
        for name, value in left.items():
            limit = getattr(own, name, None)
            if value is not None and name in type(own).model_fields:
                changes[name] = value if limit is None else min(value, limit)
        return self._settings.model_copy(update={section: own.model_copy(update=changes)})

    def _heed(self, ended: str, *, spent: Spending = _NOTHING, study: Spending = _NOTHING) -> None:
        """Raise `StageStopped` where a stage was stopped; its own limits stop it and no spin."""
        out_of_time = ended == TIME_LIMIT == self.limits.reached
        if ended in (INTERRUPTED, BUDGET) or out_of_time:
            raise StageStopped(ended, spent=spent, study=study)

    def _dataset(self, name: str) -> Dataset:
        return find_version(self._workspace.datasets, name)

    def _version(self, version_id: str) -> Version:
        program = self._registry.program(self._module)
        return self._registry.version_of(program, version_id)
