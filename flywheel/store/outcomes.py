"""Outcomes: what versions of programs answered to rows of datasets, and what that is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from flywheel.core.identity import answer_hash
from flywheel.store.ingest import columns, insert
from flywheel.store.store import Store

_KEY = ("version_id", "answered_by", "dataset", "metric_hash", "judge")
"""What an outcome is known by, beside its example."""
_OF = " AND ".join(f"{name} = ${name}" for name in _KEY)


@dataclass(frozen=True, slots=True)
class Trialled:
    """Which version was tried on which rows, and by which metric."""

    version_id: str
    """The version, as `MODULE@HASH`."""
    module: str
    """Name of the module."""
    answered_by: str
    """Hash of what answers: the program's code, the version's state, the model."""
    dataset: str
    """The dataset, as `NAME@HASH`."""
    split: str
    """The split of it."""
    metric: str
    """Name of the metric."""
    metric_hash: str
    """Its identity."""
    judge: str
    """The model that the metric asks, empty where it asks none."""


@dataclass(frozen=True, slots=True)
class KeptOutcome:
    """What came of one row."""

    example_id: str
    """The row's example."""
    value: float | None
    """From 0 to 1, None where it is not known."""
    reason: str
    """Why, in a few words."""
    parts: Mapping[str, float]
    """What the value is made of."""
    failure: str
    """Why there is no answer, empty where there is one."""
    answer: str
    """The answer as it came."""
    code: str | None
    """The definition that it holds, None where it holds none."""
    usd: float | None
    """US dollars of its calls when they were made, None where not known."""
    seconds: float | None
    """Time that its calls took when they were made, None where not known."""
    input_tokens: int
    """Tokens read."""
    output_tokens: int
    """Tokens written."""
    run_id: str
    """The run that measured it."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When, UTC."""

    @property
    def answer_hash(self) -> str:
        """Identity of the answer."""
        return answer_hash(self.answer, self.code)


@dataclass(frozen=True, slots=True)
class Bought:
    """What a call of a model took when it was made."""

    usd: float | None
    """US dollars, None where the price is not known."""
    seconds: float
    """Time from sending to the end of the answer."""


def record_outcomes(store: Store, of: Trialled, found: Sequence[KeptOutcome]) -> None:
    """Store outcomes; what is known of the same rows stays, unknowns give way."""
    if not found:
        return
    told = asdict(of)
    rows = [
        {
            **told,
            **asdict(one),
            "parts": json.dumps(dict(one.parts), sort_keys=True),
            "answer_hash": one.answer_hash,
        }
        for one in found
    ]
    with store.writing() as connection:
        connection.execute(
            f"DELETE FROM outcomes WHERE {_OF} AND value IS NULL"
            " AND example_id IN (SELECT unnest($ids::VARCHAR[]))",
            _key(of) | {"ids": [one.example_id for one in found]},
        )
        insert(connection, "outcomes", rows, new_by=(*_KEY, "example_id"))


def outcomes_of(store: Store, of: Trialled) -> dict[str, KeptOutcome]:
    """What is known of a version's rows, by example id; what is not known may be known now."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {columns(KeptOutcome)} FROM outcomes WHERE {_OF} AND value IS NOT NULL",
            _key(of),
        ).fetchall()
    found = (KeptOutcome(*(*row[:3], json.loads(row[3]), *row[4:])) for row in rows)
    return {one.example_id: one for one in found}


def bought(store: Store, call_ids: Sequence[str]) -> dict[str, Bought]:
    """What calls took; of one that was answered by a kept answer, what the answer took.

    Calls of which that is not known are left out.
    """
    with store.reading() as connection:
        rows = connection.execute(
            """
            WITH asked AS (
                SELECT call_id, request_key FROM calls
                WHERE call_id IN (SELECT unnest(?::VARCHAR[]))
            ),
            paid AS (
                SELECT request_key, arg_max(usd, started_at) AS usd,
                       arg_max(seconds, started_at) AS seconds
                FROM calls WHERE status = 'ok' AND request_key IN (SELECT request_key FROM asked)
                GROUP BY request_key
            )
            SELECT asked.call_id, paid.usd, paid.seconds FROM asked JOIN paid USING (request_key)
            """,
            [list(call_ids)],
        ).fetchall()
    return {call_id: Bought(usd, seconds) for call_id, usd, seconds in rows}


def _key(of: Trialled) -> dict[str, object]:
    return {name: getattr(of, name) for name in _KEY}
