"""Cost: calls of language models from the journal into the store, and what they sum up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flywheel.core.settings import LMProfile
from flywheel.lm import BATCH_PRICE, Journal, cache_saving
from flywheel.store import (
    CachedSum,
    CallSum,
    Store,
    cached_sums,
    call_sums,
    examples_of_models,
    record_calls,
)
from flywheel.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Cost:
    """What language models have taken so far."""

    total: CallSum | None
    """All calls, None where there were none."""
    groups: tuple[CallSum, ...]
    """The same by what was asked, the dearest first."""
    examples: int
    """Examples that stand and that a model had a part in."""
    saved_by_batches: float
    """US dollars that the same calls would have cost more one by one."""
    saved_by_cache: float | None
    """US dollars that providers' caches have spared, less what filling them cost; None where the
    price of a model with cached tokens is not known."""
    damaged: int = 0
    """Calls of the journal that cannot be read, and so are in no sum."""

    @property
    def usd_per_example(self) -> float | None:
        """US dollars for each of them, None where there are none or a price is not known."""
        if self.total is None or not self.examples or self.total.unpriced:
            return None
        return self.total.usd / self.examples

    @property
    def tokens_per_example(self) -> float | None:
        """Tokens read and written for each of them, None where there are none."""
        if self.total is None or not self.examples:
            return None
        return (self.total.input_tokens + self.total.output_tokens) / self.examples


def cost(
    workspace: Workspace,
    store: Store,
    *,
    by: str | None = None,
    run_id: str | None = None,
    profiles: Mapping[str, LMProfile] | None = None,
) -> Cost:
    """What calls have cost: of all runs, or of one; `profiles` may name prices of their own."""
    damaged = take_calls(workspace, store)
    total = call_sums(store, run_id=run_id)
    groups = call_sums(store, by, run_id=run_id) if by is not None else ()
    # Which run's call an example came of is not kept: of one run there is no price of each.
    examples = examples_of_models(store) if run_id is None else 0
    by_cache, by_batches = _saved(cached_sums(store, run_id=run_id), profiles or {})
    return Cost(total[0] if total else None, tuple(groups), examples, by_batches, by_cache, damaged)


def _saved(
    sums: Iterable[CachedSum], profiles: Mapping[str, LMProfile]
) -> tuple[float | None, float]:
    """US dollars that caches and batches have spared."""
    by_cache: float | None = 0.0
    by_batches = 0.0
    for one in sums:
        price = BATCH_PRICE if one.batched else 1.0
        by_batches += one.usd / price - one.usd
        if one.usage.cache_read_tokens or one.usage.cache_write_tokens:
            saving = cache_saving(profiles.get(one.profile), one.model, one.usage)
            if saving is None:
                by_cache = None
            elif by_cache is not None:
                by_cache += saving * price
    return by_cache, by_batches


def take_calls(workspace: Workspace, store: Store, journal: Journal | None = None) -> int:
    """Store the calls that wait in the journal; what is stored already is not stored twice.

    Returns how many the journal has set aside because they cannot be read, now or before.
    """
    if journal is None and not workspace.journal_path.exists():
        return 0
    held = journal or Journal(workspace.journal_path)
    try:
        while calls := held.calls():
            record_calls(store, calls)
            held.forget(calls)
        return held.damaged
    finally:
        if journal is None:
            held.close()
