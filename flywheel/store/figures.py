"""Figures: what runs have measured, each with its sample and its interval, to be seen over time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flywheel.store.ingest import insert
from flywheel.store.store import Store

HARVEST, CORRECT, AUDIT, METRIC = "harvest", "correct", "audit", "metric"
EVALUATE, OPTIMIZE, SPIN = "evaluate", "optimize", "spin"
"""Kinds of runs that leave figures."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one run."""

    run_id: str
    """The run that measured it."""
    kind: str
    """What kind of a run: `harvest`, `correct`, `audit`, `metric`, `evaluate` …"""
    subject: str
    """What was measured: a repository, some answers, a dataset or a program with its version."""
    metric: str
    """Name of the figure."""
    value: float | None
    """The figure, None where it is not known."""
    n: int
    """Size of the sample."""
    low: float | None = None
    """Lower end of its 95 % interval, None where there is none."""
    high: float | None = None
    """Upper end."""
    version: str = ""
    """Version of what measured it; empty where it has none. Different ones make no trend."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What else a reader may want to know: anything JSON can say."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was measured, UTC."""


def record_figures(store: Store, figures: Iterable[Figure]) -> None:
    """Store figures; one of the same run, subject and metric takes the place of the former."""
    rows = [
        {
            "run_id": one.run_id,
            "kind": one.kind,
            "subject": one.subject,
            "metric": one.metric,
            "version": one.version,
            "value": one.value,
            "n": one.n,
            "low": one.low,
            "high": one.high,
            "detail": json.dumps(one.detail, sort_keys=True),
            "created_at": one.created_at,
        }
        for one in figures
    ]
    if not rows:
        return
    with store.writing() as connection:
        for row in rows:
            connection.execute(
                "DELETE FROM figures WHERE run_id = ? AND kind = ? AND subject = ?"
                " AND metric = ? AND version = ?",
                [row[name] for name in ("run_id", "kind", "subject", "metric", "version")],
            )
        insert(connection, "figures", rows)


def figures(
    store: Store,
    *,
    kind: str | None = None,
    metric: str | None = None,
    subject: str | None = None,
    version: str | None = None,
) -> tuple[Figure, ...]:
    """Figures, the oldest first; each argument that is given must be equal."""
    wanted = {"kind": kind, "metric": metric, "subject": subject, "version": version}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given) or "true"
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT run_id, kind, subject, metric, value, n, low, high, version, detail, created_at"
            f" FROM figures WHERE {where} ORDER BY created_at, kind, metric, subject, version",
            list(given.values()),
        ).fetchall()
    return tuple(_figure(row) for row in rows)


def _figure(row: Sequence[Any]) -> Figure:
    *columns, detail, created_at = row
    return Figure(*(*columns, json.loads(detail), created_at))
