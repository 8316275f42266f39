"""A circuit breaker: after failures in a row nothing is sent for a while, then one call tries.

Callers wait; none of them fails because the circuit is open. One probe at a time goes out when the
pause is over: it closes the circuit, or opens it for longer. It belongs to one event loop.

Source: the circuit breaker of Nygard, Release It! (2007).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

THRESHOLD = 5
"""Failures in a row that open the circuit."""
PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until the first probe, and at the most; each failed probe doubles it."""


class Circuit(StrEnum):
    """State of a circuit."""

    CLOSED = "closed"
    """Everything goes through."""
    OPEN = "open"
    """Nothing goes through."""
    PROBING = "probing"
    """One call tries, the others wait. Nygard's half-open."""


@dataclass(frozen=True, slots=True)
class Permit:
    """That a call may be sent; to be given back with what became of it."""

    probe: bool
    """Whether it decides about the circuit alone."""
    generation: int
    """How often the circuit had changed its mind when it was given."""


class Breaker:
    """One circuit."""

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        pause: float = PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        on_change: Callable[[Circuit], None] = lambda circuit: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change` is told when the circuit opens or closes, not of probes."""
        self.circuit = Circuit.CLOSED
        """The state it is in."""
        self._threshold = threshold
        self._first_pause, self._longest_pause = pause, longest_pause
        self._on_change = on_change
        self._clock = clock
        self._failures = 0
        self._generation = 0
        self._pause = pause
        self._probes_at = 0.0
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether a call would be let through at once, were it only to probe."""
        if self.circuit is Circuit.OPEN:
            return self._clock() >= self._probes_at
        return self.circuit is Circuit.CLOSED

    async def admit(self) -> Permit:
        """Wait until a call may be sent."""
        while self.circuit is not Circuit.CLOSED:
            wait = None
            if self.circuit is Circuit.OPEN:
                wait = self._probes_at - self._clock()
                if wait <= 0:
                    self.circuit = Circuit.PROBING
                    self._generation += 1
                    return Permit(True, self._generation)
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), wait)
        return Permit(False, self._generation)

    def succeeded(self, permit: Permit) -> None:
        """The other side answered, be it with a refusal."""
        self._failures = 0
        if self.circuit is not Circuit.CLOSED:
            self._pause = self._first_pause
            self._become(Circuit.CLOSED)
            self._on_change(Circuit.CLOSED)

    def failed(self, permit: Permit) -> None:
        """The other side is not there. Calls that were under way when it opened say nothing new."""
        if self._is_old(permit):
            return
        if permit.probe:
            self._pause = min(self._pause * 2, self._longest_pause)
            self._open()
        elif self.circuit is Circuit.CLOSED:
            self._failures += 1
            if self._failures >= self._threshold:
                self._open()
                self._on_change(Circuit.OPEN)

    def abandoned(self, permit: Permit) -> None:
        """The call was given up before it said anything; another may probe at once."""
        if permit.probe and not self._is_old(permit):
            self._become(Circuit.OPEN)

    def _is_old(self, permit: Permit) -> bool:
        """Whether it was given before the circuit last changed its mind."""
        settled = permit.probe and self.circuit is not Circuit.PROBING
        return settled or permit.generation != self._generation

    def _open(self) -> None:
        self._failures = 0
        self._generation += 1
        self._probes_at = self._clock() + self._pause
        self._become(Circuit.OPEN)

    def _become(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self._changed.set()
        self._changed = asyncio.Event()
