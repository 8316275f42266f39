"""What the engine needs of a provider: one attempt at one answer, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from flywheel.core.errors import LMError
from flywheel.lm.records import Request, Response, Usage


class Backend(Protocol):
    """One model behind one address. Its methods are called from one event loop."""

    @property
    def server(self) -> str:
        """Identity of what answers: provider, model and address, and of a local model its file."""

    @property
    def slots(self) -> asyncio.Semaphore | None:
        """What its calls wait for, which backends of one process share; None: the profile's own."""

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        """One attempt; `on_text` gets the answer piece by piece where it is given.

        Raises `LMError`, classified (`flywheel.lm.failure`), for whatever gave no answer.
        """

    def price(self, usage: Usage) -> float | None:
        """US dollars that an answer costs as published, None where that is not known."""

    async def close(self) -> None:
        """Let go of connections and processes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the provider tells of it."""

    batch_id: str
    """Its name at the provider."""
    size: int
    """Requests in it."""
    waiting: int
    """Those of them that have no end yet."""
    ended: bool
    """Whether all of them have, so that there are results."""
    readable: bool
    """Whether the results are still kept; a provider drops them after weeks."""
    created_at: datetime
    """With time zone, by the provider's clock."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of one request of a batch."""

    custom_id: str
    """The name that it was sent with."""
    response: Response | None
    """The answer, None where there is none."""
    error: LMError | None = None
    """Why there is none."""


@runtime_checkable
class BatchBackend(Protocol):
    """A backend that takes many requests at once, at half the price and for some later time.

    Every method raises `LMError`, classified, for what could not be done.
    """

    async def send(self, requests: Mapping[str, Request]) -> Batch:
        """Hand in requests by the names that their results shall have."""
        ...

    async def look(self, batch_id: str) -> Batch:
        """How far a batch is."""
        ...

    def results(self, batch_id: str) -> AsyncGenerator[BatchItem, None]:
        """What became of each request of a batch that ended, in any order."""
        ...

    def recent(self) -> AsyncGenerator[Batch, None]:
        """Every batch there is, the newest first."""
        ...
