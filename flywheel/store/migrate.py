"""The store's shape over time: numbered SQL files, each applied once, in one transaction.

A file `NNNN_name.sql` in `schema/` is never edited after a release; a later one changes what it
made. Knows nothing of locks and files: it is handed an open connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import duckdb

from flywheel.core.errors import StoreVersionError


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a version to the next."""

    version: int
    """The version the store has after it; the first is 1."""
    name: str
    """File name without number and ending."""
    sql: str
    """Statements, run in one transaction."""


def migrations() -> tuple[Migration, ...]:
    """All steps this flywheel knows, by number."""
    steps: list[Migration] = []
    for file in (resources.files("flywheel.store") / "schema").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql") and number.isdigit():
            steps.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(steps, key=lambda step: step.version))


def version_of(connection: duckdb.DuckDBPyConnection) -> int:
    """The store's version; 0 for an empty database."""
    try:
        rows = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    except duckdb.CatalogException:
        return 0
    return int(rows[0][0] or 0)


def newest(steps: tuple[Migration, ...]) -> int:
    """The version all steps lead to."""
    return steps[-1].version if steps else 0


def refuse_newer(version: int, steps: tuple[Migration, ...], where: str) -> None:
    """Raise `StoreVersionError` when a newer flywheel shaped the store."""
    if version > newest(steps):
        raise StoreVersionError(
            f"The store {where} has version {version}; this flywheel knows up to {newest(steps)}.",
            cause="A newer flywheel wrote it.",
            hint="Upgrade flywheel: in its checkout, git pull && make",
        )


def migrate(connection: duckdb.DuckDBPyConnection, steps: tuple[Migration, ...]) -> int:
    """Apply what is missing, one transaction a step; return how many steps were applied."""
    version = version_of(connection)
    missing = [step for step in steps if step.version > version]
    for step in missing:
        connection.begin()
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (version INTEGER NOT NULL, name VARCHAR NOT NULL,"
                " applied_at TIMESTAMPTZ NOT NULL)"
            )
            connection.execute(step.sql)
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, now())", [step.version, step.name]
            )
        except duckdb.Error:
            connection.rollback()
            raise
        connection.commit()
    return len(missing)
