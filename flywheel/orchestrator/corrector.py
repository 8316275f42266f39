"""Correctors: what is asked to mend a bug, and what its answer makes of the code.

A model is asked in words, and told its errors for as many turns as are wanted. A program asks in
its own way, once: it is called with the fields of the bug, and the definition that it gives is
judged like any other. Which version answers for a program that is deployed, the traffic says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flywheel.candidates import Broken, Form, Mended, correction
from flywheel.core.errors import LMError, UsageError
from flywheel.core.events import EventBus, Warned
from flywheel.core.settings import CorrectSettings, Settings
from flywheel.lm import Failure, Message, Reply, Request, Response, Usage
from flywheel.orchestrator.models import Models
from flywheel.orchestrator.player import Player, ready
from flywheel.programs import FIELDS, Answer, Case, Program, Row, Score
from flywheel.registry import Registry, Routed, record_outcome, route, traffic_of
from flywheel.store import FIXED, UNKNOWN, Attempt, Mendable, Store
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.optimize.run import Outcome

FORBIDDEN = ("good", "patch")
"""Fields of a row that are the fix: who mends is not told them."""


@dataclass(slots=True)
class Talk:
    """One conversation about one bug."""

    row: Mendable
    """The example."""
    broken: Broken
    """The definition with the bug."""
    sample: int
    """Number of the conversation about the example, from 0."""
    request: Request
    """What is asked next."""
    shown: set[str]
    """Tests whose failure the model was told."""
    turn: int = 1
    """Number of the answer that is waited for, from 1."""
    attempts: list[Attempt] = field(default_factory=list)
    """What was answered so far."""


class Corrector(Protocol):
    """What mends."""

    def opening(self, row: Mendable, found: Broken) -> Request:
        """What is asked about a bug."""

    def expect(self, talks: Sequence[Talk], *, buy: bool = True) -> None:
        """Say what talks will cost at the most; where they go in batches, send them off."""

    def ask(self, talk: Talk) -> Future[Reply]:
        """Ask. The future raises `LMError` where there is no answer, and `BudgetError`."""

    def mended(self, talk: Talk, reply: Reply) -> Mended | str:
        """What an answer makes of the code, or why nothing."""

    def prompt(self, reply: Reply) -> str:
        """What asked: a prompt, as `name@version`, or a program, as `MODULE@HASH`."""

    def settled(self, talk: Talk, reply: Reply, verdict: str, reason: str) -> None:
        """Hear what came of an answer."""


class Prompted:
    """A model that is asked in words."""

    def __init__(self, models: Models, wanted: CorrectSettings, purpose: str) -> None:
        self._models, self._wanted, self._purpose = models, wanted, purpose
        self._form: Form = wanted.answer
        self._mode = correction.MODES[self._form]

    def opening(self, row: Mendable, found: Broken) -> Request:
        """See the port."""
        test = row.test_source if self._wanted.show_tests else None
        return correction.opening(found, self._form, row.error, test)

    def expect(self, talks: Sequence[Talk], *, buy: bool = True) -> None:
        """See the port."""
        self._models.expect([(talk.request, self._named(talk)) for talk in talks], buy=buy)

    def ask(self, talk: Talk) -> Future[Reply]:
        """See the port."""
        return self._models.ask(talk.request, self._named(talk))

    def mended(self, talk: Talk, reply: Reply) -> Mended | str:
        """See the port."""
        operator = f"{self._mode.name}:{reply.model}@{self._mode.version}"
        return correction.mended(reply.response, self._form, talk.broken, operator)

    def prompt(self, reply: Reply) -> str:
        """See the port."""
        return f"{self._mode.name}@{self._mode.version}"

    def settled(self, talk: Talk, reply: Reply, verdict: str, reason: str) -> None:
        """Nobody else keeps what came of a prompt's answers."""

    def _named(self, talk: Talk) -> str:
        return f"{self._purpose}:turn-{talk.turn}" if self._wanted.turns > 1 else self._purpose


@dataclass(frozen=True, slots=True)
class _Played(Reply):
    """What a version of a program has answered."""

    routed: Routed
    """Why it was this version."""
    outcome: Outcome
    """What it answered."""


def check_mends(program: Program) -> None:
    """Raise `UsageError` for a program that is told the fix."""
    if told := [name for name in program.fields if name in FORBIDDEN]:
        raise UsageError(
            f"{program.name} cannot mend: it takes {', '.join(told)}, which is the fix",
            hint="name a program that takes bad and error, such as repair",
        )


class Programmed:
    """A program that is called with the fields of a bug; leaving the block ends what it does."""

    def __init__(
        self,
        asked: str,
        models: Models,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
    ) -> None:
        """`asked` is a version, or a module: then what is deployed answers, and its outcomes count.

        Raises `UsageError` where it cannot mend, and what is wrong with a version.
        """
        registry = Registry(workspace, store)
        version = registry.find(asked)
        module = version.manifest.module.name
        self._registry, self._models, self._bus = registry, models, bus
        self._live = asked.rpartition(":")[2] == module
        self._traffic = traffic_of(registry, module)
        if not self._live:
            shares = {version.id: 100.0}
            self._traffic = replace(self._traffic, shares=shares, experiment=0)
        program = registry.program(version.manifest.module.spec)
        self._players = {
            name: ready(registry.version_of(program, name), registry, models, bus)
            for name in self._traffic.shares
        }
        for one in self._players.values():
            check_mends(one.program)
        self._seed = settings.correct.seed
        threads = models.profile.settings.concurrency
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="flywheel-program")

    def opening(self, row: Mendable, found: Broken) -> Request:
        """See the port; the question is what the program is called with."""
        fields = self._player(row).program.fields
        told = json.dumps(_row(row, found).inputs(fields), ensure_ascii=False)
        return Request((Message("user", told),))

    def expect(self, talks: Sequence[Talk], *, buy: bool = True) -> None:
        """What a program will ask nobody knows before it does."""

    def ask(self, talk: Talk) -> Future[Reply]:
        """See the port."""
        return self._pool.submit(self._play, talk)

    def mended(self, talk: Talk, reply: Reply) -> Mended | str:
        """See the port."""
        assert isinstance(reply, _Played)
        said = reply.outcome
        if said.failure:
            return f"{said.failure}: {said.reason}"[:200]
        text = json.dumps({"code": said.code}) if said.code is not None else "{}"
        module, _, digits = reply.routed.version_id.rpartition("@")
        operator = f"{module}:{reply.model}@{digits}"
        response = replace(reply.response, text=text)
        return correction.mended(response, "definition", talk.broken, operator)

    def prompt(self, reply: Reply) -> str:
        """See the port."""
        assert isinstance(reply, _Played)
        return reply.routed.version_id

    def settled(self, talk: Talk, reply: Reply, verdict: str, reason: str) -> None:
        """Keep what came of a live answer; a challenger that is shown to be worse answers no more.

        What was asked of a version by its name is no traffic.
        """
        assert isinstance(reply, _Played)
        if not self._live:
            return
        changed = record_outcome(
            self._registry,
            reply.routed,
            None if verdict == UNKNOWN else verdict == FIXED,
            reason=reason or verdict,
            seconds=reply.outcome.seconds,
        )
        if changed:
            self._bus.publish(Warned("rolled-back", changed[0].reason))
            self._traffic = traffic_of(self._registry, self._traffic.module)

    @property
    def versions(self) -> tuple[str, ...]:
        """Ids of the versions that may answer."""
        return tuple(self._players)

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Programmed:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _player(self, row: Mendable) -> Player:
        return self._players[route(self._traffic, row.example_id).version_id]

    def _play(self, talk: Talk) -> Reply:
        """One program on one bug, in a thread of the pool."""
        from flywheel.optimize.run import Stopped  # noqa: PLC0415  it imports DSPy

        routed = route(self._traffic, talk.row.example_id)
        plays = self._players[routed.version_id]
        row = _row(talk.row, talk.broken)
        try:
            said = plays.context.copy().run(_outcome, plays, row, self._seed + talk.sample)
        except Stopped as stopped:
            raise stopped.error from stopped
        if said.failure == Failure.CONTEXT_LENGTH:
            raise LMError(said.reason, failure=said.failure)
        profile = self._models.profile
        return _Played(
            response=Response(
                said.text,
                "stop",
                Usage(said.input_tokens, said.output_tokens),
                profile.settings.model,
            ),
            call_id=said.calls[-1] if said.calls else "",
            profile=profile.name,
            model=profile.settings.model,
            routed=routed,
            outcome=said,
        )


def check_program(wanted: CorrectSettings) -> None:
    """Raise `UsageError` for what holds for questions in words and not for programs."""
    for given, told in (
        (wanted.batch, "--batch"),
        (wanted.estimate, "--estimate"),
        (wanted.answer != "definition", f"--answer {wanted.answer}"),
        (wanted.show_tests, "--show-tests"),
    ):
        if given:
            raise UsageError(
                f"{told} is for a model that is asked in words",
                cause="a program decides itself what it asks, and in which form",
                hint=f"leave out {told.partition(' ')[0]}, or --program",
            )


def _outcome(plays: Player, row: Row, number: int) -> Outcome:
    """What a program answers to a row, the answer of this number where several are wanted."""
    from flywheel.lm.bridge import dspy  # noqa: PLC0415  a second, when something is to be run
    from flywheel.optimize.run import outcome  # noqa: PLC0415

    lm = dspy.settings.lm
    with dspy.context(lm=lm.copy(rollout_id=number) if number else lm):
        return outcome(plays.module, row, _unmeasured)


def _row(row: Mendable, found: Broken) -> Row:
    """A bug as programs see it, without its fix."""
    bug = row.candidate
    case = Case(
        example_id=row.example_id,
        language=row.language,
        path=bug.path,
        symbol=bug.symbol,
        bad=found.code,
        good="",
        error=row.error,
        patch="",
        test_source=row.test_source,
    )
    known = {
        "bad": case.bad,
        "error": case.error,
        "error_type": row.error_type,
        "error_message": row.error_message,
        "path": case.path,
        "symbol": case.symbol,
        "language": case.language,
        "test_source": row.test_source or "",
        "statement": row.statement,
        # A folder of this machine is nobody else's business; datasets say it so, too.
        "repo": f"local:{Path(row.repo).name}" if row.repo.startswith("/") else row.repo,
    }
    return Row(case, {name: known.get(name, "") for name in FIELDS})


def _unmeasured(case: Case, answer: Answer) -> Score:
    """The critic says later what it is worth."""
    return Score(None, "")
