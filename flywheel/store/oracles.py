"""Oracles: what wrong fixes were tried on the tests of a definition, and how many got through.

Wrong fixes that were judged for this alone are kept apart from candidates, so that none of them is
ever an example. Knows nothing of how they are made.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import duckdb

from flywheel.store.ingest import insert
from flywheel.store.store import Store

CONFIDENCE = 1.959963984540054
"""Standard deviations on both sides of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval of a share."""

    low: float
    """Between 0 and 1."""
    high: float
    """Between 0 and 1."""


def wilson(rejected: int, tried: int) -> Interval:
    """The interval of a share of so many; Wilson 1927. From 0 to 1 where nothing was tried."""
    if not tried:
        return Interval(0.0, 1.0)
    share, square = rejected / tried, CONFIDENCE**2
    middle = share + square / (2 * tried)
    half = CONFIDENCE * math.sqrt(share * (1 - share) / tried + square / (4 * tried**2))
    whole = 1 + square / tried
    # At the ends it is exact, and rounding would leave 3e-18 of nothing.
    low = 0.0 if rejected == 0 else max(0.0, (middle - half) / whole)
    high = 1.0 if rejected == tried else min(1.0, (middle + half) / whole)
    return Interval(low, high)


@dataclass(frozen=True, slots=True)
class Tried:
    """A wrong fix that was judged to try the tests."""

    candidate_id: str
    """Identity of the change."""
    path: str
    """Repository-relative path of the changed file."""
    symbol: str
    """Qualified name of the definition it changes."""
    line: int
    """First line it changes in the base file."""
    kind: str
    """`empty-body`, `early-return` or `mutant`."""
    operator: str
    """What made it."""
    patch: str
    """Unified diff of the file, from wrong to good."""
    verdict: str
    """`valid`, `breaks-everything`, `survived`, `unknown` or `pruned`."""
    reason: str
    """Why, for anything but `valid` and `survived`."""
    seconds: float
    """Wall time of its trials."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote at a definition, and the tests' verdict."""

    candidate_id: str
    """Identity of the change."""
    path: str
    """Repository-relative path of the changed file."""
    symbol: str
    """Qualified name of the definition it changes."""
    base_hash: str
    """The file it was a change of."""
    operator: str
    """Mode, model and prompt."""
    verdict: str
    """As of any candidate."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """What the tests of a definition are worth."""

    baseline_id: str
    """The tests, and the code they are of."""
    path: str
    """Repository-relative path of the definition's file."""
    symbol: str
    """Its qualified name."""
    base_hash: str
    """`bytes_hash` of the file."""
    candidate_id: str | None
    """The candidate of several changes that it is for; None for one that is of a definition."""
    by_kind: Mapping[str, Counter[str]]
    """Kind -> counts of `rejected`, `through`, `unknown`, and `passed`: taken for right."""
    rejected: tuple[str, ...]
    """Ids of what the tests rejected."""
    let_through: tuple[str, ...]
    """Ids of what they let through."""
    least: int
    """Wrong fixes below which there is no score."""
    weak_below: float
    """Strength below which it is weak."""
    seconds: float
    """Wall time of judging, summed over jobs, known verdicts included."""

    @property
    def tried(self) -> int:
        """Wrong fixes with a verdict."""
        return len(self.rejected) + len(self.let_through)

    @property
    def strength(self) -> float | None:
        """Share that was rejected, None where too few were tried."""
        return len(self.rejected) / self.tried if self.tried >= max(1, self.least) else None


@dataclass(frozen=True, slots=True)
class Score:
    """What an oracle says of one example, whose own change does not count."""

    example_id: str
    """The example."""
    strength: float | None
    """Share of wrong fixes that were rejected, None where too few were tried, or none."""
    tried: int
    """Wrong fixes with a verdict."""
    weak: bool | None
    """Whether that is too little, None where there is no score."""


@dataclass(frozen=True, slots=True)
class LetThrough:
    """A wrong fix that no test noticed."""

    candidate_id: str
    """Identity of the change."""
    operator: str
    """What made it."""
    path: str
    """Repository-relative path of the changed file."""
    line: int
    """First line it changes in the base file."""
    patch: str
    """Unified diff of the file, from wrong to good."""


def record_tried(store: Store, tried: Sequence[Tried], *, baseline_id: str) -> None:
    """Store what was judged; an unknown verdict gives way to a later one."""
    if not tried:
        return
    now = datetime.now(UTC)
    rows = {one.candidate_id: one for one in tried}
    with store.writing() as connection:
        connection.execute(
            "DELETE FROM wrong_fixes WHERE baseline_id = ? AND verdict = 'unknown'"
            " AND candidate_id IN (SELECT unnest(?::VARCHAR[]))",
            [baseline_id, list(rows)],
        )
        insert(
            connection,
            "wrong_fixes",
            [
                {**asdict(one), "baseline_id": baseline_id, "created_at": now}
                for one in rows.values()
            ],
            new_by=("candidate_id", "baseline_id"),
        )


def tried_before(store: Store, baseline_id: str) -> dict[str, tuple[str, float]]:
    """Verdict and seconds of the wrong fixes that were judged under a baseline, by candidate id."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT candidate_id, verdict, seconds FROM wrong_fixes WHERE baseline_id = ?",
            [baseline_id],
        ).fetchall()
    return {key: (verdict, seconds) for key, verdict, seconds in rows}


def written(store: Store, baseline_id: str) -> tuple[Written, ...]:
    """What models wrote of one place of the code, judged under a baseline."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT c.candidate_id, c.path, c.symbol, c.base_hash, c.operator, v.verdict"
            " FROM candidates c JOIN verdicts v ON v.candidate_id = c.candidate_id"
            " WHERE v.baseline_id = ? AND c.source = 'written' AND c.others IS NULL"
            " ORDER BY c.candidate_id",
            [baseline_id],
        ).fetchall()
    return tuple(Written(*row) for row in rows)


def record_oracles(store: Store, oracles: Iterable[Oracle]) -> None:
    """Store what was found out, in place of what was stored of the same oracles before."""
    now = datetime.now(UTC)
    rows = [
        {
            "baseline_id": one.baseline_id,
            "path": one.path,
            "symbol": one.symbol,
            "base_hash": one.base_hash,
            "candidate_id": one.candidate_id,
            "tried": one.tried,
            "rejected": len(one.rejected),
            "by_kind": json.dumps(one.by_kind, sort_keys=True),
            "rejected_ids": json.dumps(one.rejected),
            "let_through": json.dumps(one.let_through),
            "least": max(1, one.least),
            "weak_below": one.weak_below,
            "seconds": round(one.seconds, 6),
            "created_at": now,
        }
        for one in oracles
    ]
    if not rows:
        return
    with store.writing() as connection:
        for row in rows:
            connection.execute(
                "DELETE FROM oracles WHERE baseline_id = ? AND path = ? AND symbol = ?"
                " AND base_hash = ? AND candidate_id IS NOT DISTINCT FROM ?",
                [row[name] for name in _KEY],
            )
        insert(connection, "oracles", rows)


_KEY = ("baseline_id", "path", "symbol", "base_hash", "candidate_id")


def scores(store: Store, ids: Sequence[str]) -> tuple[Score, ...]:
    """What is known of the tests behind some examples, by their whole ids."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT example_id, oracle_strength, coalesce(oracle_tried, 0), weak FROM examples"
            " WHERE example_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY created_at, example_id",
            [list(ids)],
        ).fetchall()
    return tuple(Score(*row) for row in rows)


def let_through(
    connection: duckdb.DuckDBPyConnection, candidate_id: str, baseline_id: str
) -> tuple[LetThrough, ...]:
    """Wrong fixes that the tests of an example let through; `candidate_id` is the example's."""
    rows = connection.execute(
        """
        WITH through AS (
            SELECT unnest(from_json(o.let_through, '["VARCHAR"]')) AS candidate_id
            FROM oracles o JOIN candidates c ON c.candidate_id = $candidate
            WHERE o.baseline_id = $baseline
                AND o.path = c.path AND o.symbol = c.symbol AND o.base_hash = c.base_hash
                AND o.candidate_id IS NOT DISTINCT FROM
                    CASE WHEN c.others IS NOT NULL THEN c.candidate_id END
        )
        SELECT t.candidate_id, coalesce(w.operator, c.operator), coalesce(w.path, c.path),
               coalesce(w.line, c.line), coalesce(w.patch, c.patch)
        FROM through t
        LEFT JOIN wrong_fixes w
            ON w.candidate_id = t.candidate_id AND w.baseline_id = $baseline
        LEFT JOIN candidates c ON c.candidate_id = t.candidate_id
        WHERE w.candidate_id IS NOT NULL OR c.candidate_id IS NOT NULL
        ORDER BY 3, 4, 2, 1
        """,
        {"candidate": candidate_id, "baseline": baseline_id},
    ).fetchall()
    return tuple(LetThrough(*row) for row in rows)
