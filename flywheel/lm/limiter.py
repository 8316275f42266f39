"""A rate limit as a bucket of tokens: it fills steadily, and what is sent is taken out of it.

Over any time the amount let through is at most the rate times that time and one bucket more. It
belongs to one event loop. Sizes that were estimated are put right afterwards; a provider that says
"later" closes the bucket until then.

Source: the token bucket of traffic shaping (Turner, 1986).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

BURST_SECONDS = 6.0
"""Seconds of the rate that one bucket holds."""

_EXACT = 1e-6
"""Seconds that are no wait: what is left of sums that do not come out even."""


class Bucket:
    """One limit."""

    def __init__(self, per_minute: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = per_minute / 60.0
        """Amount a second."""
        self.capacity = max(1.0, self.rate * BURST_SECONDS)
        """The most that is let through at once."""
        self._level = self.capacity
        self._clock = clock
        self._filled_at = clock()
        self._closed_until = 0.0
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    async def take(self, amount: float = 1.0) -> None:
        """Wait until an amount may be sent, first come, first served.

        An amount of more than a bucket goes when the bucket is full, and leaves a debt.
        """
        async with self._turn:
            while (wait := self._wait(min(amount, self.capacity))) > _EXACT:
                self._given_back.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._given_back.wait(), wait)
            self._level -= amount

    def correct(self, amount: float) -> None:
        """Take out what an estimate was short of; a negative amount is given back."""
        self._fill()
        self._level = min(self.capacity, self._level - amount)
        if amount < 0:
            self._given_back.set()

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _wait(self, amount: float) -> float:
        self._fill()
        closed = self._closed_until - self._clock()
        return max(closed, (amount - self._level) / self.rate)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._filled_at) * self.rate)
        self._filled_at = now
