"""Versions of programs: what they learned from, how they compared, and which were deployed.

Rows are only ever added. What a version is stands in the registry's folder; here it can be joined
with the examples that it saw. Knows nothing of DSPy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import duckdb

from flywheel.store.ingest import columns, insert
from flywheel.store.store import Store

TRAIN, VALIDATION, DEMO = "train", "validation", "demo"
"""Roles of an example in the making of a version."""
DEPLOY, ROLLBACK = "deploy", "rollback"
"""What may be done to a deployment."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version, as far as it is joined with other rows."""

    version_id: str
    """`MODULE@HASH`."""
    module: str
    """Name of the module."""
    parent: str
    """The version that it was made from."""
    optimizer: str
    """What made it; empty where no optimiser did."""
    options: Mapping[str, Any]
    """The optimiser's settings: anything JSON can say."""
    seed: int
    """The optimiser's seed."""
    dataset: str
    """The dataset it learned from; empty for none."""
    metric: str
    """What was optimised, `NAME@HASH`; empty for none."""
    model: str
    """The language model it was made for."""
    adapter: str | None
    """Hash of trained weights, None where there are none."""
    study_id: str | None
    """The run of an optimiser that it came from, None where it came from none."""
    trials: int
    """Trials of that run."""
    partial: bool
    """Whether the run was stopped before its end."""
    usd: float | None
    """US dollars that the run cost, None where a price is not known."""
    tokens: int
    """Tokens that models took."""
    seconds: float
    """Wall time of the run."""
    created_at: datetime
    """When it was made, UTC."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict of one comparison."""

    gate_id: str
    """Identity of the comparison."""
    module: str
    """Name of the module."""
    champion: str
    """The version that was to be beaten."""
    challenger: str
    """The version that was to beat it."""
    dataset: str
    """`NAME@HASH`."""
    split: str
    """The split of it that was used."""
    metric: str
    """`NAME@HASH`."""
    n: int
    """Rows with a value of both."""
    unknown: int
    """Rows without one."""
    champion_value: float
    """Mean of the champion on these rows."""
    challenger_value: float
    """Mean of the challenger."""
    difference: float
    """Challenger less champion."""
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    """Upper end."""
    p_value: float
    """How often equals would differ at least so much."""
    test: str
    """`mcnemar-exact` or `paired-bootstrap`."""
    gains: int
    """Rows that the challenger does better."""
    regressions: int
    """Rows that it does worse."""
    better: bool
    """Whether the challenger is significantly better."""
    code: str
    """Hash of the module's code under which both were run."""
    run_id: str
    """The run that compared them."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When they were compared, UTC."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One change of what is deployed."""

    module: str
    """Name of the module."""
    number: int
    """Its place among the module's deployments, from 1 on."""
    action: str
    """`deploy` or `rollback`."""
    version_id: str
    """What is deployed since."""
    replaced: str
    """What was deployed before."""
    gate_id: str | None
    """The comparison that allowed it, None where none did."""
    forced: bool
    """Whether it was deployed although no comparison allowed it."""
    reason: str
    """Why, in a sentence."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When, UTC."""


def record_version(store: Store, version: VersionRow, rows: Mapping[str, Sequence[str]]) -> None:
    """Store a version with the example ids that it saw, by role; one that is there is left."""
    listed = [
        {"version_id": version.version_id, "example_id": key, "role": role}
        for role, keys in rows.items()
        for key in sorted(set(keys))
    ]
    with store.writing() as connection:
        if connection.execute(
            "SELECT 1 FROM versions WHERE version_id = ?", [version.version_id]
        ).fetchall():
            return
        append(connection, "versions", asdict(version) | {"options": json.dumps(version.options)})
        insert(connection, "version_rows", listed)


def seen_by(store: Store, version_id: str, example_ids: Iterable[str]) -> dict[str, str]:
    """Which of some examples a version or one that it came from has seen, with their role there."""
    with store.reading() as connection:
        rows = connection.execute(
            """
            WITH RECURSIVE ancestors AS (
                SELECT version_id, parent FROM versions WHERE version_id = ?
                UNION
                SELECT v.version_id, v.parent FROM versions v JOIN ancestors a
                    ON v.version_id = a.parent
            )
            SELECT r.example_id, min(r.role) FROM version_rows r
            JOIN ancestors a ON a.version_id = r.version_id
            WHERE r.example_id IN (SELECT unnest(?::VARCHAR[]))
            GROUP BY r.example_id ORDER BY r.example_id
            """,
            [version_id, list(example_ids)],
        ).fetchall()
    return dict(rows)


def record_gate(store: Store, gate: Gate) -> None:
    """Store the verdict of a comparison; one of the same id is left as it is."""
    with store.writing() as connection:
        if not connection.execute(
            "SELECT 1 FROM gates WHERE gate_id = ?", [gate.gate_id]
        ).fetchall():
            append(connection, "gates", asdict(gate))


def gates(
    store: Store, *, challenger: str | None = None, champion: str | None = None
) -> tuple[Gate, ...]:
    """Verdicts of comparisons, the newest first; each argument that is given must be equal."""
    wanted = {"challenger": challenger, "champion": champion}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given) or "true"
    with store.reading() as connection:
        return tuple(
            Gate(*row)
            for row in connection.execute(
                f"SELECT {columns(Gate)} FROM gates WHERE {where}"
                " ORDER BY created_at DESC, gate_id",
                list(given.values()),
            ).fetchall()
        )


def record_deployment(
    store: Store,
    module: str,
    version_id: str,
    *,
    action: str,
    replaced: str,
    gate_id: str | None,
    forced: bool,
    reason: str,
) -> Deployment:
    """Store that something was deployed."""
    with store.writing() as connection:
        made = Deployment(
            module=module,
            number=next_number(connection, "deployments", module),
            action=action,
            version_id=version_id,
            replaced=replaced,
            gate_id=gate_id,
            forced=forced,
            reason=reason,
        )
        append(connection, "deployments", asdict(made))
    return made


def deployments(store: Store, module: str | None = None) -> tuple[Deployment, ...]:
    """What was deployed, in order; of all modules where none is named."""
    with store.reading() as connection:
        return deployments_in(connection, module)


def deployments_in(
    connection: duckdb.DuckDBPyConnection, module: str | None
) -> tuple[Deployment, ...]:
    """The same, as one reads who reads something else with it."""
    rows = connection.execute(
        f"SELECT {columns(Deployment)} FROM deployments"
        " WHERE coalesce(module = $module, true) ORDER BY module, number",
        {"module": module},
    ).fetchall()
    return tuple(Deployment(*row) for row in rows)


def next_number(connection: duckdb.DuckDBPyConnection, table: str, module: str) -> int:
    """The number after the last one of a module."""
    query = f"SELECT coalesce(max(number), 0) + 1 FROM {table} WHERE module = ?"
    return int(connection.execute(query, [module]).fetchall()[0][0])


def append(connection: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, Any]) -> None:
    """Put one row at the end of a table."""
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
