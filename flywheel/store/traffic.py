"""Live traffic: how it is shared between versions, and what came of each answer.

Rows are only ever added: how traffic was shared, and what came of it, can be told of any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import duckdb

from flywheel.store.ingest import columns
from flywheel.store.store import Store
from flywheel.store.versions import Deployment, append, deployments_in, next_number


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
        number = next_number(connection, "traffic", module)
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
            append(connection, "traffic", asdict(row))
    return made


def live(store: Store, module: str) -> tuple[tuple[Deployment, ...], tuple[TrafficRow, ...]]:
    """What was deployed of a module, in order, and how its traffic was last shared.

    The champion's share is the first; there are none where traffic was never shared.
    """
    with store.reading() as connection:
        shared = connection.execute(
            f"SELECT {columns(TrafficRow)} FROM traffic WHERE module = $module"
            " AND number = (SELECT max(number) FROM traffic WHERE module = $module)"
            " ORDER BY champion DESC, version_id",
            {"module": module},
        ).fetchall()
        return deployments_in(connection, module), tuple(TrafficRow(*row) for row in shared)


def record_live(store: Store, outcome: LiveOutcome) -> dict[str, LiveCount]:
    """Store what came of a live answer; gives what came of all answers of its experiment."""
    with store.writing() as connection:
        number = next_number(connection, "live_outcomes", outcome.module)
        append(connection, "live_outcomes", asdict(outcome) | {"number": number})
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
