"""The ledger of language model calls: taken from the journal, summed up by whatever is asked.

A sum names what it does not know: calls whose price nobody published, and calls that were given up
before anybody said whether they are charged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from flywheel.lm import IN_BATCHES, Call, Usage
from flywheel.store.ingest import insert
from flywheel.store.store import Store

GROUPS = ("role", "model", "profile", "purpose", "run", "day", "status")
"""What sums can be asked by."""
_KEYS = {"run": "run_id", "day": "strftime(started_at, '%Y-%m-%d')"}


@dataclass(frozen=True, slots=True)
class CallSum:
    """What some calls took."""

    key: str
    """What they have in common, `all` for every call."""
    calls: int
    """Calls that were sent, failed ones included."""
    answered: int
    """Calls that were sent and answered."""
    spared: int
    """Questions whose answer was there already, or on its way."""
    failed: int
    """Calls that were sent and gave no answer."""
    input_tokens: int
    """Tokens read, of the calls that were answered."""
    output_tokens: int
    """Tokens written."""
    cache_read_tokens: int
    """Tokens read that the provider had cached."""
    usd: float
    """US dollars, of the calls whose price is known."""
    unpriced: int
    """Answered calls whose price is not known."""
    unsettled: int
    """Calls that failed or were given up, and may be charged all the same."""
    seconds: float
    """Time from sending to the end of the answer, summed."""


@dataclass(frozen=True, slots=True)
class CachedSum:
    """What answered calls of one kind read, where a provider's cache had a part in it."""

    profile: str
    """The profile that answered."""
    model: str
    """The model, with its provider."""
    batched: bool
    """Whether they were sent in batches."""
    usd: float
    """US dollars, of the calls whose price is known."""
    usage: Usage
    """Tokens, summed."""


def record_calls(store: Store, calls: Iterable[Call]) -> None:
    """Store calls; those that are stored already are left alone."""
    rows: list[dict[str, Any]] = [asdict(call) for call in calls]
    if rows:
        with store.writing() as connection:
            insert(connection, "calls", rows, new_by=("call_id",))


def call_sums(store: Store, by: str | None = None, *, run_id: str | None = None) -> list[CallSum]:
    """Sums of calls: one of all, or one for each value of one of `GROUPS`, the dearest first."""
    key = "'all'" if by is None else _KEYS.get(by, by)
    where, values = ("", []) if run_id is None else ("WHERE run_id = ?", [run_id])
    with store.reading() as connection:
        rows = connection.execute(
            f"""
            WITH told AS (
                SELECT *, status IN ('cached', 'shared') AS spared, status = 'ok' AS answered
                FROM calls {where}
            )
            SELECT {key} AS key, count(*) FILTER (NOT spared), count(*) FILTER (answered),
                   count(*) FILTER (spared), count(*) FILTER (NOT spared AND NOT answered),
                   coalesce(sum(input_tokens) FILTER (answered), 0)::BIGINT,
                   coalesce(sum(output_tokens) FILTER (answered), 0)::BIGINT,
                   coalesce(sum(cache_read_tokens) FILTER (answered), 0)::BIGINT,
                   coalesce(sum(usd), 0.0),
                   count(*) FILTER (answered AND usd IS NULL),
                   count(*) FILTER (NOT answered AND usd IS NULL),
                   coalesce(sum(seconds), 0.0)
            FROM told GROUP BY key ORDER BY sum(usd) DESC NULLS LAST, count(*) DESC, key
            """,
            values,
        ).fetchall()
    return [CallSum(*row) for row in rows]


def answering_seconds(store: Store, run_id: str, purpose: str) -> float:
    """Seconds that answers to a run's questions took when they came, kept ones among them."""
    with store.reading() as connection:
        row = connection.execute(
            """
            WITH asked AS (
                SELECT DISTINCT request_key FROM calls WHERE run_id = ? AND purpose = ?
            )
            SELECT coalesce(sum(took), 0.0) FROM (
                SELECT arg_max(seconds, started_at) AS took
                FROM calls JOIN asked USING (request_key) WHERE status = 'ok' GROUP BY request_key
            )
            """,
            [run_id, purpose],
        ).fetchone()
    return float(row[0]) if row else 0.0


def cached_sums(store: Store, *, run_id: str | None = None) -> list[CachedSum]:
    """Sums of answered calls by profile, model and whether they were sent in batches."""
    where, values = ("", []) if run_id is None else ("AND run_id = ?", [run_id])
    with store.reading() as connection:
        rows = connection.execute(
            f"""
            SELECT profile, model, ends_with(purpose, ?) AS batched, coalesce(sum(usd), 0.0),
                   coalesce(sum(input_tokens), 0)::BIGINT,
                   coalesce(sum(output_tokens), 0)::BIGINT,
                   coalesce(sum(cache_read_tokens), 0)::BIGINT,
                   coalesce(sum(cache_write_tokens), 0)::BIGINT
            FROM calls WHERE status = 'ok' {where} GROUP BY ALL ORDER BY ALL
            """,
            [IN_BATCHES, *values],
        ).fetchall()
    return [
        CachedSum(profile, model, batched, usd, Usage(*tokens))
        for profile, model, batched, usd, *tokens in rows
    ]


def examples_of_models(store: Store) -> int:
    """Examples that stand and that a language model had a part in."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT count(*) FROM examples WHERE source = 'written' OR fix_candidate_id IS NOT NULL"
        ).fetchone()
    return int(row[0]) if row else 0
