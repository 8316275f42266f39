"""Versions of programs: what they learned from, how they compared, and which were deployed.

Rows are only ever added. What a version is stands in the registry's folder; here it can be joined
with the examples that it saw. Knows nothing of DSPy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import duckdb

from flywheel.store.ingest import insert
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


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """The share of one version of live traffic."""

    module: str
    """Name of the module."""
    number: int
    """Its place among the changes of the module's traffic, from 1 on."""
    experiment: int
    """The first number of the same versions: outcomes since then count together."""
    deployment: int
    """The deployment beside which it holds, 0 where nothing was deployed."""
    version_id: str
    """The version."""
    percent: float
    """Its share, from 0 to 100."""
    champion: bool
    """Whether it is the one that was deployed."""
    reason: str
    """Why it was set, in a sentence."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When, UTC."""


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """What came of one live answer."""

    module: str
    """Name of the module."""
    experiment: int
    """The experiment it is of."""
    version_id: str
    """The version that answered."""
    key: str
    """Hash of what decided the version."""
    success: bool | None
    """Whether the answer was good, None where it is not known."""
    reason: str
    """Why, in a few words."""
    usd: float | None = None
    """What it cost, None where it is not known."""
    seconds: float | None = None
    """How long it took, None where it is not known."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it became known, UTC."""


@dataclass(frozen=True, slots=True)
class LiveCount:
    """What came of a version's live answers."""

    version_id: str
    """The version."""
    answers: int
    """Outcomes, the unknown ones too."""
    unknown: int
    """Of them, those that are not known."""
    keys: int
    """Keys of which an outcome is known."""
    successes: int
    """Keys whose first known outcome was good."""
    usd: float | None
    """Mean cost of an answer, None where none is known."""
    seconds: float | None
    """Mean time of an answer, None where none is known."""


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
        _append(connection, "versions", asdict(version) | {"options": json.dumps(version.options)})
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
            _append(connection, "gates", asdict(gate))


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
                f"SELECT {_columns(Gate)} FROM gates WHERE {where}"
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
            number=_next(connection, "deployments", module),
            action=action,
            version_id=version_id,
            replaced=replaced,
            gate_id=gate_id,
            forced=forced,
            reason=reason,
        )
        _append(connection, "deployments", asdict(made))
    return made


def deployments(store: Store, module: str | None = None) -> tuple[Deployment, ...]:
    """What was deployed, in order; of all modules where none is named."""
    with store.reading() as connection:
        return _deployments(connection, module)


def _deployments(
    connection: duckdb.DuckDBPyConnection, module: str | None
) -> tuple[Deployment, ...]:
    rows = connection.execute(
        f"SELECT {_columns(Deployment)} FROM deployments"
        " WHERE coalesce(module = $module, true) ORDER BY module, number",
        {"module": module},
    ).fetchall()
    return tuple(Deployment(*row) for row in rows)


def record_traffic(
    store: Store,
    module: str,
    shares: Mapping[str, float],
    *,
    champion: str,
    deployment: int,
    experiment: int | None,
    reason: str,
) -> tuple[TrafficRow, ...]:
    """Store how traffic is shared from now on; `experiment` is None where a new one begins."""
    with store.writing() as connection:
        number = _next(connection, "traffic", module)
        made = tuple(
            TrafficRow(
                module=module,
                number=number,
                experiment=number if experiment is None else experiment,
                deployment=deployment,
                version_id=version_id,
                percent=percent,
                champion=version_id == champion,
                reason=reason,
            )
            for version_id, percent in shares.items()
        )
        for row in made:
            _append(connection, "traffic", asdict(row))
    return made


def live(store: Store, module: str) -> tuple[tuple[Deployment, ...], tuple[TrafficRow, ...]]:
    """What was deployed of a module, in order, and how its traffic was last shared.

    The champion's share is the first; there are none where traffic was never shared.
    """
    with store.reading() as connection:
        shared = connection.execute(
            f"SELECT {_columns(TrafficRow)} FROM traffic WHERE module = $module"
            " AND number = (SELECT max(number) FROM traffic WHERE module = $module)"
            " ORDER BY champion DESC, version_id",
            {"module": module},
        ).fetchall()
        return _deployments(connection, module), tuple(TrafficRow(*row) for row in shared)


def record_live(store: Store, outcome: LiveOutcome) -> dict[str, LiveCount]:
    """Store what came of a live answer; gives what came of all answers of its experiment."""
    with store.writing() as connection:
        number = _next(connection, "live_outcomes", outcome.module)
        _append(connection, "live_outcomes", asdict(outcome) | {"number": number})
        return _counts(connection, outcome.module, outcome.experiment)


def live_counts(store: Store, module: str, experiment: int) -> dict[str, LiveCount]:
    """What came of the live answers of an experiment, by version."""
    with store.reading() as connection:
        return _counts(connection, module, experiment)


def _counts(
    connection: duckdb.DuckDBPyConnection, module: str, experiment: int
) -> dict[str, LiveCount]:
    rows = connection.execute(
        """
        WITH own AS (FROM live_outcomes WHERE module = $module AND experiment = $experiment),
        firsts AS (
            SELECT version_id, key, arg_min(success, number) AS success
            FROM own WHERE success IS NOT NULL GROUP BY version_id, key
        ),
        known AS (
            SELECT version_id, count(*) AS keys, count_if(success) AS successes
            FROM firsts GROUP BY version_id
        )
        SELECT own.version_id, count(*), count_if(own.success IS NULL),
            coalesce(any_value(known.keys), 0), coalesce(any_value(known.successes), 0),
            avg(own.usd), avg(own.seconds)
        FROM own LEFT JOIN known ON known.version_id = own.version_id
        GROUP BY own.version_id ORDER BY own.version_id
        """,
        {"module": module, "experiment": experiment},
    ).fetchall()
    return {row[0]: LiveCount(*row) for row in rows}


def _next(connection: duckdb.DuckDBPyConnection, table: str, module: str) -> int:
    """The number after the last one of a module."""
    query = f"SELECT coalesce(max(number), 0) + 1 FROM {table} WHERE module = ?"
    return int(connection.execute(query, [module]).fetchall()[0][0])


def _append(connection: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))


def _columns(record: type[Gate] | type[Deployment] | type[TrafficRow]) -> str:
    return ", ".join(one.name for one in fields(record))
