"""What became of verdicts at later commits: which stand, which were judged again or retired.

A verdict stays at the commit where it was proven, and is replayed there. It *stands* at the last
commit at which it was proven or found unchanged. Knows nothing of how that is found out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from flywheel.core.records import Candidate
from flywheel.store.candidates import CANDIDATE_COLUMNS, candidate_of
from flywheel.store.ingest import insert
from flywheel.store.store import Store

KEPT, JUDGED_AGAIN, RETIRED = "kept", "judged-again", "retired"
"""States of a verdict at a later commit."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A verdict that stands: an example's, a survivor's, or that of what breaks everything."""

    candidate: Candidate
    """The change, as it was where it was proven."""
    verdict: str
    """`valid`, `survived` or `breaks-everything`."""
    failing: tuple[str, ...]
    """Ids of the tests that failed when it was confirmed; none for a survivor."""
    phase: str
    """Phase of the first failure, such as `call` or `collect`; empty for a survivor."""
    baseline_id: str
    """The baseline it was proven by."""
    commit: str
    """Full hash of the commit it was proven at."""
    at_baseline: str
    """The baseline at which it last stood."""
    at_commit: str
    """Full hash of that commit."""
    environment_hash: str
    """Environment it was proven in."""
    toolchain: str
    """`profile@hash`."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one verdict."""

    candidate_id: str
    """The candidate it is of."""
    baseline_id: str
    """The baseline it was proven by."""
    at_baseline: str
    """The baseline of the later commit."""
    state: str
    """`KEPT`, `JUDGED_AGAIN` or `RETIRED`."""
    reason: str
    """Why it does not stand, empty when it does."""
    here: str | None
    """The candidate that is the same change at that commit; None where there is none."""


@dataclass(frozen=True, slots=True)
class CarriedHere:
    """What became of a verdict, with what tells whether a harvest makes its candidate."""

    carried: Carried
    """What became of it."""
    path: str
    """Repository-relative path of the changed file."""
    source: str
    """Where the candidate came from."""
    operator: str
    """What made it."""


@dataclass(slots=True)
class CarriedCounts:
    """How many verdicts were kept at a commit, and what became of the others."""

    states: Counter[str] = field(default_factory=Counter)
    """By state."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why verdicts were not kept."""


def standing(store: Store, repo: str) -> tuple[Standing, ...]:
    """Every settled verdict of a repository that stands.

    Those that were mined are left out: they live at their own commits.
    """
    with store.reading() as connection:
        rows = connection.execute(
            f"""
            SELECT v.verdict, coalesce(t.failing, j.failing),
                   coalesce(t.error_phase, j.error_phase, ''), v.baseline_id, r."commit",
                   l.baseline_id, s."commit", b.environment_hash, b.toolchain, {CANDIDATE_COLUMNS}
            FROM verdicts v
            JOIN candidates c ON c.candidate_id = v.candidate_id
            JOIN baselines b ON b.baseline_id = v.baseline_id
            JOIN revisions r ON r.revision_id = b.revision_id
            LEFT JOIN carried k
                ON k.candidate_id = v.candidate_id AND k.baseline_id = v.baseline_id
            JOIN baselines l ON l.baseline_id = coalesce(k.at_baseline, v.baseline_id)
            JOIN revisions s ON s.revision_id = l.revision_id
            LEFT JOIN trials t ON t.kind = 'confirm'
                AND t.candidate_id = v.candidate_id AND t.baseline_id = v.baseline_id
            LEFT JOIN trials j ON j.kind = 'judge'
                AND j.candidate_id = v.candidate_id AND j.baseline_id = v.baseline_id
            WHERE r.repo = ? AND c.source <> 'mined'
                AND v.verdict IN ('valid', 'survived', 'breaks-everything')
                AND coalesce(k.state, 'kept') = 'kept'
            ORDER BY v.candidate_id, v.baseline_id
            """,
            [repo],
        ).fetchall()
    return tuple(
        Standing(candidate_of(row[9:]), row[0], tuple(json.loads(row[1] or "[]")), *row[2:9])
        for row in rows
    )


def record_carried(store: Store, carried: Iterable[Carried]) -> None:
    """Store what became of verdicts, in place of what was stored of them before."""
    now = datetime.now(UTC)
    rows = [{**asdict(one), "created_at": now} for one in carried]
    if not rows:
        return
    by_baseline: dict[str, list[str]] = {}
    for row in rows:
        by_baseline.setdefault(row["baseline_id"], []).append(row["candidate_id"])
    with store.writing() as connection:
        for baseline_id, ids in by_baseline.items():
            connection.execute(
                "DELETE FROM carried WHERE baseline_id = ?"
                " AND candidate_id IN (SELECT unnest(?::VARCHAR[]))",
                [baseline_id, ids],
            )
        insert(connection, "carried", rows)


def restore(store: Store, baseline_id: str) -> None:
    """Let the verdicts of a baseline stand again: its own commit is harvested once more."""
    with store.writing() as connection:
        connection.execute("DELETE FROM carried WHERE baseline_id = ?", [baseline_id])


def carried_at(store: Store, baseline_id: str) -> tuple[CarriedHere, ...]:
    """What became, at the commit of a baseline, of verdicts of earlier ones, one by one."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT candidate_id, k.baseline_id, at_baseline, state, reason, here,"
            " path, source, operator FROM carried k JOIN candidates c USING (candidate_id)"
            " WHERE at_baseline = ? ORDER BY candidate_id, k.baseline_id",
            [baseline_id],
        ).fetchall()
    return tuple(CarriedHere(Carried(*row[:6]), *row[6:]) for row in rows)


def carried_counts(store: Store, baseline_id: str) -> CarriedCounts:
    """What became, at the commit of a baseline, of verdicts of earlier ones."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT state, reason, count(*) FROM carried WHERE at_baseline = ? GROUP BY ALL",
            [baseline_id],
        ).fetchall()
    counts = CarriedCounts()
    for state, reason, number in rows:
        counts.states[state] += number
        if reason:
            counts.reasons[reason] += number
    return counts
