"""A budget: what may be spent, what is, and a stop before it is exceeded.

A call reserves the most that it can cost before it is sent and settles what it did cost. Where the
rest is too small for a reservation, the call waits for those under way; when none is, the budget is
used up. It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flywheel.core.errors import BudgetError, UsageError

WARNED_AT = (0.5, 0.8)
"""Shares of the budget at which it is said how much is spent."""


@dataclass(frozen=True, slots=True)
class Spending:
    """An amount of work."""

    usd: float = 0.0
    """US dollars."""
    tokens: int = 0
    """Tokens read and written."""

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: Spending) -> Spending:
        return Spending(self.usd - other.usd, self.tokens - other.tokens)


class Budget:
    """What one run may spend."""

    def __init__(
        self,
        *,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        on_warning: Callable[[float, Spending], None] = lambda share, spent: None,
    ) -> None:
        """None is no limit. `on_warning` gets the share that is spent, and what is."""
        self.max_usd, self.max_tokens = max_usd, max_tokens
        self.spent = Spending()
        """What calls that ended have cost."""
        self._reserved = Spending()
        self._under_way = 0
        self._warned = 0.0
        self._on_warning = on_warning
        self._settled = asyncio.Event()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_usd is not None or self.max_tokens is not None

    async def reserve(self, most: Spending, *, priced: bool) -> None:
        """Set aside what a call may cost at the most; waits for others where it must.

        `priced` says whether its dollars are known. Raises `BudgetError` when no more can be spent,
        `UsageError` for a limit in dollars on what has no known price.
        """
        if self.max_usd is not None and not priced:
            raise unpriced()
        while not self.fits(most):
            if not self._under_way:
                raise BudgetError(
                    "the budget is used up: " + self._told(),
                    hint="run the same command with a higher limit; it goes on where this stopped",
                )
            await self._settled.wait()
        self._reserved += most
        self._under_way += 1

    def fits(self, most: Spending) -> bool:
        """Whether so much may be reserved without waiting."""
        return self._fits(self.spent + self._reserved + most)

    def settle(self, most: Spending, actual: Spending) -> None:
        """A call that reserved `most` has ended and cost `actual`."""
        self._reserved -= most
        self._under_way -= 1
        self.spent += actual
        self._settled.set()
        self._settled = asyncio.Event()
        share = self.share
        passed = max((one for one in WARNED_AT if share >= one), default=0.0)
        if passed > self._warned:
            self._warned = passed
            self._on_warning(share, self.spent)

    def charge(self, spent: Spending) -> None:
        """Count what was bought without a reservation."""
        self._under_way += 1
        self.settle(Spending(), spent)

    @property
    def share(self) -> float:
        """How much of the budget is spent: 0 to 1, of the limit that is nearer."""
        usd = self.spent.usd / self.max_usd if self.max_usd else 0.0
        tokens = self.spent.tokens / self.max_tokens if self.max_tokens else 0.0
        return max(usd, tokens)

    def _fits(self, amount: Spending) -> bool:
        within_usd = self.max_usd is None or amount.usd <= self.max_usd
        return within_usd and (self.max_tokens is None or amount.tokens <= self.max_tokens)

    def _told(self) -> str:
        told = []
        if self.max_usd is not None:
            told.append(f"${self.spent.usd:.4f} of ${self.max_usd:g}")
        if self.max_tokens is not None:
            told.append(f"{self.spent.tokens:,} of {self.max_tokens:,} tokens")
        return " and ".join(told) + " spent"


def unpriced() -> UsageError:
    """The error of a limit in dollars on a model whose prices nobody knows."""
    return UsageError(
        "a limit in dollars needs the model's prices, and they are not known",
        hint="input_price and output_price of its profile, or --max-tokens",
    )
