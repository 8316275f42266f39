"""Candidates read back from the store, whole enough to be judged again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from flywheel.core.records import Candidate, Change, Part, Span
from flywheel.store.store import Store

CANDIDATE_COLUMNS = (
    "c.path, c.symbol, c.span_start, c.span_end, c.before, c.after, c.line, c.end_line, c.source,"
    " c.operator, c.good, c.bad, c.base_hash, c.patch, c.others, c.parts"
)
"""What `candidate_of` reads, of the table `candidates` under the name `c`."""


ENOUGH = 2
"""Examples a family, on average, from which on some families count as rare."""


class Named(Protocol):
    """An operator, as far as counting it goes."""

    @property
    def name(self) -> str:
        """Its name, as candidates carry it."""

    @property
    def family(self) -> str:
        """The family it belongs to."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A candidate that is a bug, and the tests that say so."""

    candidate: Candidate
    """The candidate; where it was taken from is not read back."""
    failing: tuple[str, ...]
    """Sorted ids of the tests that it fails."""
    proven_as: str
    """Id of the candidate that was judged: another one where an earlier commit's bug stands."""


def candidate_of(row: Sequence[Any]) -> Candidate:
    """A candidate of the columns `CANDIDATE_COLUMNS`; where it was taken from is not among them."""
    path, symbol, start, end, *rest, others, parts = row
    return replace(
        Candidate(path, symbol, Span(start, end), *rest),
        others=tuple(
            Change(**{**one, "span": Span(**one["span"])}) for one in json.loads(others or "[]")
        ),
        parts=tuple(
            Part(one["candidate_id"], tuple(one["tests"])) for one in json.loads(parts or "[]")
        ),
    )


def proven_candidates(store: Store, baseline_id: str) -> tuple[Proven, ...]:
    """The bugs that were proven under a baseline, those of several bugs left out."""
    with store.reading() as connection:
        rows = connection.execute(
            f"""
            SELECT k.failing, {CANDIDATE_COLUMNS}
            FROM fixes f
            JOIN candidates c ON c.candidate_id = f.candidate_id
            JOIN confirmations k ON k.candidate_id = f.candidate_id
                AND k.baseline_id = f.baseline_id
            WHERE f.proven AND f.baseline_id = ? AND c.parts IS NULL
                AND f.fix_candidate_id IS NULL
            ORDER BY c.candidate_id
            """,
            [baseline_id],
        ).fetchall()
    bugs = ((candidate_of(row[1:]), tuple(row[0])) for row in rows)
    return tuple(Proven(bug, failing, bug.candidate_id) for bug, failing in bugs)


def count_examples(store: Store, baselines: Collection[str]) -> int:
    """Examples that stand at any of these baselines, each counted once."""
    with store.reading() as connection:
        row = connection.execute(
            """
            SELECT count(DISTINCT f.example_id) FROM fixes f
            LEFT JOIN carried k
                ON k.candidate_id = f.candidate_id AND k.baseline_id = f.baseline_id
            WHERE f.proven AND coalesce(k.state, 'kept') = 'kept'
                AND coalesce(k.at_baseline, f.baseline_id) IN ?
            """,
            [list(baselines)],
        ).fetchone()
    return int(row[0]) if row else 0


def proven_count(store: Store) -> int:
    """Examples that were ever proven, each counted once."""
    with store.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM proven").fetchall()[0][0])


def combined_parts(
    store: Store, baseline_id: str, *, settled: Sequence[str] = ()
) -> tuple[tuple[str, ...], ...]:
    """The combinations that a baseline has judged: candidate ids of each one's parts.

    Unknown ones are left out, save those whose reason is among `settled`.
    """
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT c.parts FROM candidates c JOIN verdicts v ON v.candidate_id = c.candidate_id"
            " WHERE v.baseline_id = ? AND c.parts IS NOT NULL"
            " AND (v.verdict <> 'unknown' OR v.reason IN ?) ORDER BY c.candidate_id",
            [baseline_id, list(settled)],
        ).fetchall()
    return tuple(tuple(part["candidate_id"] for part in json.loads(row[0])) for row in rows)


def rare_families(store: Store, operators: Sequence[Named], most: int) -> tuple[str, ...]:
    """What operators of the families do that the store has fewest examples of, in words.

    Nothing as long as the store has too few examples to speak of: each family would be rare.
    """
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT c.operator, count(*) FROM proven p JOIN candidates c USING (candidate_id)"
            " WHERE p.fix_candidate_id IS NULL GROUP BY c.operator"
        ).fetchall()
    counts = dict(rows)
    families: dict[str, int] = {}
    for one in operators:
        families[one.family] = families.get(one.family, 0) + counts.get(one.name, 0)
    if sum(families.values()) < ENOUGH * len(families):
        return ()
    rare = sorted(families, key=lambda name: (families[name], name))[:most]
    return tuple(name.replace("-", " ") for name in rare)
