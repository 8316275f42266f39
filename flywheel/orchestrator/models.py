"""Models at work: one role's engine for one run, its budget, and its calls in the store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from flywheel.core.errors import UsageError
from flywheel.core.events import EventBus, PhaseStarted, Warned
from flywheel.core.identity import content_hash
from flywheel.core.settings import LMProfile, Settings
from flywheel.core.wording import number
from flywheel.lm import (
    LOCAL,
    Engine,
    Estimate,
    Journal,
    Profile,
    Purpose,
    Reply,
    Request,
    Role,
    Spending,
)
from flywheel.orchestrator.cost import take_calls
from flywheel.store import Store
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    import dspy

PATIENCE = 30.0
"""Seconds that a run waits in its end for answers which are paid for."""


class Wanted(Protocol):
    """What a command's settings say of its models."""

    @property
    def max_usd(self) -> float | None:
        """US dollars that they may cost, None for no limit."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens that they may read and write, None for no limit."""

    @property
    def batch(self) -> bool:
        """Whether questions go out in batches."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What models may take that are asked one question at a time."""

    max_usd: float | None
    """US dollars that they may cost, None for no limit."""
    max_tokens: int | None
    """Tokens that they may read and write, None for no limit."""
    batch: bool = False
    """Whether questions go out in batches."""


class Models:
    """One role's models; leaving the block ends what they do and stores their calls."""

    def __init__(
        self,
        role: Role,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        *,
        chosen: str | None,
        wanted: Wanted,
        run_id: str,
    ) -> None:
        """`chosen` is the profile that a command line names. Asks nothing yet.

        Raises `UsageError` for a profile that is not there, or that has no batches where they are
        wanted, and `LMError` where a key is missing.
        """
        self.in_batches = wanted.batch
        """Whether questions go out in batches."""
        self._role, self._run_id, self._bus = role, run_id, bus
        self._workspace, self._store = workspace, store
        self._closed = False
        self._estimate: Estimate | None = None
        self._journal = Journal(workspace.journal_path)
        self._engine = Engine(
            settings.lm,
            self._journal,
            chosen={role: chosen} if chosen else {},
            max_usd=wanted.max_usd,
            max_tokens=wanted.max_tokens,
            bus=bus,
        )
        try:
            # What cannot be asked is said before anything else is done.
            self._engine.check(role, batch=wanted.batch)
        except BaseException:
            self._engine.close()
            self._journal.close()
            raise

    def ask(self, request: Request, purpose: str) -> Future[Reply]:
        """Put a question; the future's errors are those of `Engine.ask`."""
        return self._engine.submit(request, self._purpose(purpose))

    def expect(self, asked: Sequence[tuple[Request, str]], *, buy: bool = True) -> None:
        """Say what questions will cost at the most; where they go in batches, send them off.

        Whoever asks one of them afterwards waits for its batch. Without `buy` nothing is sent.
        """
        requests = [request for request, _ in asked]
        found = self._engine.estimate(self._role, requests, batch=self.in_batches)
        self._estimate = found if self._estimate is None else self._estimate + found
        self._bus.publish(PhaseStarted("ask", found.questions, self._told(found)))
        if buy and self.in_batches and asked:
            self._engine.batch([(request, self._purpose(name)) for request, name in asked])

    @property
    def profile(self) -> Profile:
        """The profile that plays the role."""
        return self._engine.chain(self._role)[0]

    def server(self, profile: str = "") -> str:
        """Identity of what answers; of a local model, that of its weights."""
        return self._engine.server(self._purpose("", profile))

    def player(self, profile: str = "") -> str:
        """Identity of what answers, with the settings by which it does."""
        return self._engine.player(self._purpose("", profile))

    @property
    def weights(self) -> str | None:
        """Identity of a local model's weights, which adapters are for; None of any other model."""
        return self.server().partition("#")[2] if self.profile.provider == LOCAL else None

    def with_adapter(self, adapter: Path) -> str:
        """The name of the profile that plays the role with trained weights beside its model's.

        Raises `UsageError` where the model is not one that is served here.
        """
        plays = self.profile
        name = f"{plays.name}+{adapter.parent.name}"
        told = plays.settings.model_dump(exclude_unset=True) | {"adapter": adapter, "fallbacks": ()}
        try:
            self._engine.add(name, LMProfile.model_validate(told))
        except ValidationError as error:
            raise UsageError(
                f"{plays.settings.model} of the profile {plays.name} can have no adapter",
                cause=str(error.errors()[0]["msg"]),
                hint="name the profile of the local model that it was trained on: --student",
            ) from error
        return name

    def with_tuned(self, model: str) -> str:
        """The name of the profile that plays the role with what its provider tuned of its model."""
        plays = self.profile
        name = f"{plays.name}+{content_hash(model)}"
        self._engine.add(name, with_model(plays.settings, model))
        return name

    @property
    def engine(self) -> Engine:
        """What asks, for one more role within the same limits."""
        return self._engine

    @property
    def spent(self) -> Spending:
        """What the calls of this run have cost."""
        return self._engine.spent

    def for_programs(self, purpose: str, profile: str = "") -> dspy.LM:
        """The role as DSPy's programs ask it, for a purpose in the ledger.

        `profile` is one of `with_adapter` or `with_tuned`, empty for the one that plays the role.
        """
        from flywheel.lm.bridge import language_model  # noqa: PLC0415  DSPy takes a second

        return language_model(self._engine, self._purpose(purpose, profile))

    def summary(self) -> dict[str, Any]:
        """Who was asked, and what that took."""
        profile, spent = self.profile, self.spent
        return {
            "profile": profile.name,
            "model": profile.settings.model,
            "usd": round(spent.usd, 6),
            "tokens": spent.tokens,
            "batch": self.in_batches,
            "estimate": asdict(self._estimate) if self._estimate is not None else None,
        }

    def close(self, *, patience: float = 0.0) -> None:
        """End what is under way and store the calls, once.

        Calls that were sent may end for `patience` seconds; an interrupt ends the waiting.
        """
        if self._closed:
            return
        self._closed = True
        try:
            # An interrupt in the waiting ends that alone: the run is over already.
            with suppress(KeyboardInterrupt):
                self._engine.close(patience=patience)
        finally:
            try:
                if damaged := self.settle():
                    told = f"{damaged} calls of the journal cannot be read, and are in no sum"
                    self._bus.publish(Warned("lm-journal", told))
            finally:
                self._journal.close()

    def settle(self) -> int:
        """Store the calls that ended so far; gives how many the journal cannot read."""
        return take_calls(self._workspace, self._store, self._journal)

    def __enter__(self) -> Models:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Leave: at once where a person wants it, else when what is paid for has come."""
        interrupted = kind is not None and not issubclass(kind, Exception)
        self.close(patience=0.0 if interrupted else PATIENCE)

    def _purpose(self, name: str, profile: str = "") -> Purpose:
        return Purpose(self._role, name, self._run_id, profile)

    def _told(self, estimate: Estimate) -> str:
        """An estimate in words."""
        told = f"{number(estimate.questions, 'question')}, at most {estimate.tokens:,} tokens"
        if estimate.usd is None:
            told += ", price not known"
        elif estimate.usd:
            told += f" and ${estimate.usd:.4f}"
            told += " at the price of a batch" if self.in_batches else ""
        return told + (f"; {number(estimate.kept, 'answer')} kept" if estimate.kept else "")


def with_model(settings: LMProfile, model: str) -> LMProfile:
    """A profile of what a provider tuned of its model; nothing else stands in for it."""
    return settings.model_copy(update={"model": model, "fallbacks": ()})
