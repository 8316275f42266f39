"""Taking rows back: what an audit has cast doubt on is judged again, not kept.

Knows nothing of why; the caller submits the candidates anew.
"""

from __future__ import annotations

from flywheel.core.records import Candidate
from flywheel.store.candidates import CANDIDATE_COLUMNS, candidate_of
from flywheel.store.store import Store


def retire(store: Store, *, baseline_id: str, path: str) -> tuple[Candidate, ...]:
    """Forget the verdicts on valid changes of one file; returns their candidates.

    Runs in one transaction: a candidate is either judged as before or not judged at all.
    """
    valid = "baseline_id = ? AND candidate_id IN (SELECT unnest(?::VARCHAR[]))"
    with store.writing() as connection:
        rows = connection.execute(
            f"SELECT c.candidate_id, {CANDIDATE_COLUMNS} FROM candidates c JOIN verdicts v"
            " ON v.candidate_id = c.candidate_id"
            " WHERE v.baseline_id = ? AND v.verdict = 'valid' AND (c.path = ? OR"
            " list_contains(json_extract_string(c.others, '$[*].path'), ?))",
            [baseline_id, path, path],
        ).fetchall()
        ids = [row[0] for row in rows]
        for table in ("trials", "fixes", "verdicts"):
            connection.execute(f"DELETE FROM {table} WHERE {valid}", [baseline_id, ids])
    return tuple(candidate_of(row[1:]) for row in rows)
