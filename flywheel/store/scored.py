"""Answers to examples, what metrics say of them, and what the tests said of them.

An answer is the known fix, the bug itself, what a model has answered, or what a user brings. A
verdict on one is kept by the change that it makes to the base, apart from candidates, so that
measuring adds no example.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from flywheel.core.identity import answer_hash
from flywheel.store.attempts import UNKNOWN
from flywheel.store.ingest import insert
from flywheel.store.query import example_ids
from flywheel.store.store import Store

Answers = Literal["good", "bad", "attempts"]
"""Answers that the store holds: the fix, the bug, or what models have answered."""


@dataclass(frozen=True, slots=True)
class Scorable:
    """An answer to an example, with what measuring it needs."""

    example_id: str
    """Identity of the example."""
    repo: str
    """Repository, as shown to people."""
    language: str
    """Language of the file."""
    path: str
    """Repository-relative path of the changed file."""
    symbol: str
    """Qualified name of the changed definition."""
    bad: str
    """The definition that fails."""
    good: str
    """The definition that passes."""
    error: str
    """How it fails."""
    patch: str
    """Unified diff of the file from bad to good."""
    test_source: str | None
    """Source of the first failing test, None when not known."""
    text: str
    """The answer as it came."""
    code: str | None
    """The definition that it holds, None where it holds none."""
    verdict: str | None
    """Of an attempt: what came of it when it was tried; None of any other answer."""

    @property
    def answer_hash(self) -> str:
        """Identity of the answer."""
        return answer_hash(self.text, self.code)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a metric has said of an answer."""

    metric: str
    """Name of the metric."""
    version: str
    """Its version."""
    metric_hash: str
    """Its identity."""
    judge: str
    """The model that was asked, empty where none was."""
    example_id: str
    """The example."""
    answer_hash: str
    """Identity of the answer."""
    value: float | None
    """From 0 to 1, None where it is not known."""
    reason: str
    """Why."""
    parts: Mapping[str, float]
    """What the value is made of."""
    seconds: float
    """Wall time it took."""
    usd: float | None = 0.0
    """What its questions cost, None where a price is not known."""


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """What the tests said of an answer, as a change of the base."""

    candidate_id: str
    """Identity of the change."""
    resolved: bool
    """Whether every test passes."""
    reason: str
    """Why it was not run, or how it failed otherwise than by tests; else empty."""
    failing: tuple[str, ...]
    """Ids of the tests that fail; every other test passes, or cannot notice."""
    seconds: float
    """Wall time of its trials."""


def ids_to_score(
    store: Store, answers: Answers | None, *, where: str | None = None, limit: int | None = None
) -> list[str]:
    """Ids of the examples whose answers are wanted, oldest first; `where` as in `examples`.

    Of attempts, only examples that have one count. Raises `UsageError` for a condition that DuckDB
    does not accept.
    """
    condition = f"(\n{where}\n)" if where and where.strip() else None
    with store.reading() as connection:
        if condition is not None:
            # As the user wrote it, so that what is wrong is told in these words.
            example_ids(connection, where, 0)
        if answers == "attempts":
            attempted = "example_id IN (SELECT example_id FROM attempts)"
            condition = f"{condition} AND {attempted}" if condition else attempted
        return example_ids(connection, condition, limit)


def scorable(store: Store, answers: Answers, ids: Sequence[str]) -> tuple[Scorable, ...]:
    """The answers to some examples; one that several attempts gave in the same words is one."""
    return _read(store, _SOURCES[answers], list(ids))


def with_answers(
    store: Store, given: Sequence[tuple[str, str, str | None]]
) -> tuple[Scorable, ...]:
    """Answers that a user brings: example id, text, code. Ids that the store lacks are left out."""
    rows = {
        one.example_id: one for one in _read(store, _SOURCES["bad"], [key for key, *_ in given])
    }
    return tuple(
        replace(rows[key], text=text, code=code) for key, text, code in given if key in rows
    )


_SOURCES: Mapping[Answers, str] = {
    "good": "SELECT example_id, good AS text, good AS code, NULL AS verdict FROM examples",
    "bad": "SELECT example_id, bad AS text, bad AS code, NULL AS verdict FROM examples",
    # A settled verdict goes before one that nobody knew.
    "attempts": f"""
        SELECT example_id, answer AS text, code, verdict FROM attempts
        QUALIFY row_number() OVER (
            PARTITION BY example_id, answer ORDER BY verdict = '{UNKNOWN}', created_at DESC) = 1
    """,
}


def _read(store: Store, source: str, ids: list[str]) -> tuple[Scorable, ...]:
    with store.reading() as connection:
        rows = connection.execute(
            f"""
            SELECT e.example_id, e.repo, e.language, e.path, e.symbol, e.bad, e.good, e.error,
                   e.patch, nullif(e.test_source, ''), a.text, a.code, a.verdict
            FROM examples e JOIN ({source}) a ON a.example_id = e.example_id
            WHERE e.example_id IN (SELECT unnest(?::VARCHAR[]))
            ORDER BY e.created_at, e.example_id, a.text
            """,
            [ids],
        ).fetchall()
    return tuple(Scorable(*row) for row in rows)


def record_scores(store: Store, scored: Sequence[Scored]) -> None:
    """Store what metrics have said; what is known of the same answer stays, unknowns give way."""
    now = datetime.now(UTC)
    rows = [
        {**asdict(one), "parts": json.dumps(dict(one.parts), sort_keys=True), "created_at": now}
        for one in scored
    ]
    if not rows:
        return
    with store.writing() as connection:
        connection.execute(
            "DELETE FROM scores WHERE value IS NULL AND metric_hash = ANY(?::VARCHAR[])"
            " AND example_id = ANY(?::VARCHAR[]) AND answer_hash = ANY(?::VARCHAR[])",
            [list({row[name] for row in rows}) for name in ("metric_hash", *_ANSWER)],
        )
        insert(connection, "scores", rows, new_by=("metric_hash", "judge", *_ANSWER))


_ANSWER = ("example_id", "answer_hash")


def scores_of(
    store: Store, metric_hash: str, judge: str, ids: Sequence[str]
) -> dict[tuple[str, str], Scored]:
    """What a metric has said of answers to some examples, by example and answer hash.

    What it did not know is left out: it may be known now.
    """
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT metric, version, metric_hash, judge, example_id, answer_hash, value, reason,"
            " parts, seconds, usd FROM scores WHERE metric_hash = ? AND judge = ?"
            " AND value IS NOT NULL AND example_id IN (SELECT unnest(?::VARCHAR[]))",
            [metric_hash, judge, list(ids)],
        ).fetchall()
    found = (Scored(*(*row[:8], json.loads(row[8]), *row[9:])) for row in rows)
    return {(one.example_id, one.answer_hash): one for one in found}


def usd_of(store: Store, call_ids: Sequence[str]) -> dict[str, float | None]:
    """What calls of language models cost, None where a price is not known."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT call_id, usd FROM calls WHERE call_id IN (SELECT unnest(?::VARCHAR[]))",
            [list(call_ids)],
        ).fetchall()
    return dict(rows)


def record_judged(store: Store, judged: Iterable[JudgedAnswer], *, baseline_id: str) -> None:
    """Store verdicts on answers, each once."""
    now = datetime.now(UTC)
    rows = [
        {
            **asdict(one),
            "failing": json.dumps(one.failing),
            "baseline_id": baseline_id,
            "created_at": now,
        }
        for one in judged
    ]
    if not rows:
        return
    with store.writing() as connection:
        insert(connection, "judged_answers", rows, new_by=("candidate_id", "baseline_id"))


def judged_before(
    store: Store, baseline_id: str, ids: Sequence[str], *, tests: int
) -> dict[str, JudgedAnswer]:
    """What is known of changes of the base, by candidate id.

    Of harvests and corrections that counts which says all that a proof needs: every one of so many
    tests has passed, or each failing test is named.
    """
    with store.reading() as connection:
        rows = connection.execute(
            """
            SELECT candidate_id, resolved, reason, from_json(failing, '["VARCHAR"]'), seconds
            FROM judged_answers
            WHERE baseline_id = $baseline AND candidate_id IN (SELECT unnest($ids::VARCHAR[]))
            UNION ALL
            SELECT v.candidate_id, v.verdict = 'survived', '', from_json(t.failing, '["VARCHAR"]'),
                   v.seconds
            FROM verdicts v
            JOIN trials t ON t.candidate_id = v.candidate_id AND t.baseline_id = v.baseline_id
            WHERE v.baseline_id = $baseline AND v.candidate_id IN (SELECT unnest($ids::VARCHAR[]))
                AND t.kind = 'confirm'
                AND CASE v.verdict
                    WHEN 'survived' THEN t.outcome = 'passes' AND t.passing >= $tests
                    WHEN 'valid' THEN t.selected = t.passing + json_array_length(t.failing)
                    ELSE false END
            """,
            {"baseline": baseline_id, "ids": list(ids), "tests": tests},
        ).fetchall()
    found = (JudgedAnswer(*(*row[:3], tuple(row[3]), *row[4:])) for row in rows)
    return {one.candidate_id: one for one in found}
