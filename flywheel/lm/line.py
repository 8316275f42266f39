"""A profile in use: what answers for it, its limits, and the rows of its calls."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flywheel.core.errors import UsageError
from flywheel.lm.backends import Backend, BatchBackend
from flywheel.lm.batch import PRICE, Asked
from flywheel.lm.breaker import Breaker, Circuit
from flywheel.lm.budget import Spending
from flywheel.lm.failure import Failure
from flywheel.lm.limiter import Bucket
from flywheel.lm.profile import Profile, Role, own_price
from flywheel.lm.records import IN_BATCHES, Call, Request, Usage

_UNLIMITED = 6e9
"""Amount a minute that is as good as no limit."""
_CHARGED_PERHAPS = frozenset({"cancelled", Failure.TIMEOUT.value})
"""Ends of attempts that a provider may have answered, and charged, all the same."""
LOST = "lost"
"""The end of a call whose process was killed before it heard of it."""
_UNTOLD = _CHARGED_PERHAPS | {Failure.UNAVAILABLE.value, LOST}
"""Ends of attempts of which nobody says what they cost."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Who asks, and what for: what the ledger says beside the numbers."""

    role: Role
    """What the model is asked to be."""
    name: str
    """What the answer is for, such as `written:insert`."""
    run_id: str = ""
    """The run it is made for."""
    profile: str = ""
    """The profile that plays the role, empty for the one that the settings say."""


class Line:
    """A profile in use: its backend, its limits and the state of its circuit."""

    def __init__(self, profile: Profile, backend: Backend, on_change: Callable[[Circuit], None]):
        settings = profile.settings
        self.profile = profile
        self.backend = backend
        self.breaker = Breaker(on_change=on_change)
        self.slots = backend.slots or asyncio.Semaphore(settings.concurrency)
        requests, tokens = settings.requests_per_minute, settings.tokens_per_minute
        self.requests = Bucket(requests or _UNLIMITED)
        self.tokens = Bucket(tokens or _UNLIMITED)

    @property
    def model(self) -> str:
        """The model, with its provider."""
        return self.profile.settings.model

    @property
    def priced(self) -> bool:
        """Whether the dollars of a call are known."""
        return self.usd(Usage(0, 0, 0, 0)) is not None

    @property
    def free(self) -> bool:
        """Whether a call costs no money, whatever it takes."""
        return self.usd(Usage(1, 1, 0, 0)) == 0.0

    def usd(self, usage: Usage) -> float | None:
        """US dollars of one answer, None where the price is not known."""
        settings = self.profile.settings
        if settings.input_price is None or settings.output_price is None:
            return self.backend.price(usage)
        return own_price(settings, usage)

    def spent(self, usage: Usage, reserved: Spending, status: str) -> Spending:
        """What an attempt counts for: at the most, where nobody says what it took."""
        if status == "ok":
            told = usage.input_tokens is not None and usage.output_tokens is not None
            usd = self.usd(usage) if told else None
            return Spending(
                reserved.usd if usd is None else usd, usage.total if told else reserved.tokens
            )
        return reserved if status in _CHARGED_PERHAPS else Spending()

    def completed(self, request: Request) -> Request:
        """A request with what the profile says where it says nothing itself."""
        settings = self.profile.settings
        return replace(
            request,
            max_tokens=min(request.max_tokens or self.profile.tokens, settings.max_tokens),
            temperature=settings.temperature
            if request.temperature is None
            else request.temperature,
        )

    def key(self, request: Request) -> str:
        """Identity of the answer to a request."""
        return self.completed(request).key(self.backend.server)

    def batches(self) -> BatchBackend:
        """Its backend, as one that takes batches. Raises `UsageError` where it takes none."""
        if isinstance(self.backend, BatchBackend):
            return self.backend
        raise UsageError(
            f"{self.model} of the profile {self.profile.name} takes no batches",
            cause="models of anthropic/… do, asked by Anthropic's Message Batches",
            hint="leave --batch out, or name another profile",
        )

    def most(self, request: Request) -> Usage:
        """What a call can take at the most."""
        answer = request.max_tokens or self.profile.tokens
        return Usage(request.estimated_tokens, answer)

    def call(
        self,
        purpose: Purpose,
        key: str,
        status: str,
        usage: Usage,
        seconds: float,
        *,
        started_at: datetime | None = None,
        streamed: bool = False,
    ) -> Call:
        """The row of a call that ended with this status; of one that nobody paid, 0 dollars."""
        usd: float | None = 0.0
        if status == "ok":
            usd = self.usd(usage)
        elif status in _UNTOLD:
            usd = 0.0 if self.free else None
        return Call(
            call_id=uuid.uuid4().hex[:16],
            run_id=purpose.run_id,
            role=purpose.role.value,
            purpose=purpose.name,
            profile=self.profile.name,
            model=self.model,
            request_key=key,
            status=status,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            usd=usd,
            seconds=round(seconds, 4),
            streamed=streamed,
            started_at=started_at or datetime.now(UTC),
        )

    def batched(self, asked: Asked, key: str, status: str, usage: Usage) -> Call:
        """The row of a question that was sent in a batch: only an answer is charged for."""
        purpose = Purpose(Role(asked.role), asked.purpose + IN_BATCHES, asked.run_id)
        call = self.call(purpose, key, status, usage, 0.0)
        usd = 0.0 if status != "ok" else None if call.usd is None else call.usd * PRICE
        return replace(call, usd=usd)
