"""Frames: rows and counts of a store as polars frames, for who analyses them.

`rows` reads at once. `scan` makes a LazyFrame that asks the store whenever it is collected: what
the plan wants (columns, condition, limit) goes into DuckDB's query, and its rows come in batches.
A plan may take its time, so it is made for snapshots, for which no harvest waits.

The counts are those that pictures are made of. None of them knows how it is drawn.
"""

from __future__ import annotations

import difflib
import itertools
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import duckdb
import polars as pl
import pyarrow as pa
from duckdb.polars_io import duckdb_source

from flywheel.core.errors import UsageError
from flywheel.store.query import example_ids
from flywheel.store.store import Store

logger = logging.getLogger(__name__)

BATCH_ROWS = 8192
"""Rows of a store that are handed over together, at the most; an example may take 10 KB."""

_ORDER = {
    "examples": "created_at, example_id",
    "trials": "created_at, candidate_id, baseline_id, kind",
    "survivors": "created_at, candidate_id, baseline_id",
    "attempts": "created_at, example_id, model, prompt, seed, sample, turn",
    "calls": "started_at, call_id",
    "scores": "created_at, metric, example_id",
    "figures": "created_at, kind, subject, metric",
    "versions": "created_at, version_id",
    "gates": "created_at, gate_id",
    "deployments": "created_at, module, number",
    "studies": "started_at, study_id",
    "study_trials": "study_id, number",
    "outcomes": "created_at, version_id, dataset, example_id",
}
"""Order in which the rows of a table or view are read; none for the others."""


def rows(store: Store, name: str, *, where: str | None = None) -> pl.DataFrame:
    """All rows of a table or view, oldest first; `where` is an SQL condition on its columns.

    Raises `UsageError` for a name there is not, and for a condition DuckDB does not accept.
    """
    with store.reading() as connection:
        query = _query(connection, name, where)
        order = f" ORDER BY {_ORDER[name]}" if name in _ORDER else ""
        frame: pl.DataFrame = connection.sql(f"{query}{order}").pl()
    return frame


def scan(newest: Callable[[], Store], name: str, *, where: str | None = None) -> pl.LazyFrame:
    """A table or view, not yet read, its rows in no particular order; raises as `rows` does.

    `newest` gives the store to read, and is asked whenever rows are wanted. That store is being
    read for as long as polars takes to compute: see `Snapshots`.
    """
    with newest().reading() as connection:
        query = _query(connection, name, where)
        schema = connection.sql(query).limit(0).pl().schema
    # DuckDB's own source for polars translates the plan; it asks of a relation no more than these.
    relation = cast("duckdb.DuckDBPyRelation", _Later(newest, name, where, query))
    return duckdb_source(relation, schema)


@dataclass(frozen=True, slots=True)
class _Later:
    """A relation that keeps what is asked of it until its rows are wanted."""

    newest: Callable[[], Store]
    name: str
    where: str | None
    query: str
    steps: tuple[tuple[str, object], ...] = ()
    most: int | None = None

    def project(self, columns: str) -> _Later:
        return replace(self, steps=(*self.steps, ("project", columns)))

    def limit(self, most: int) -> _Later:
        if self.name == "examples":
            return replace(self, most=most)
        return replace(self, steps=(*self.steps, ("limit", most)))

    def filter(self, condition: duckdb.Expression) -> _Later:
        return replace(self, steps=(*self.steps, ("filter", condition)))

    def to_arrow_reader(self, batch_size: int = BATCH_ROWS) -> pa.RecordBatchReader:
        batches = self._batches(min(batch_size, BATCH_ROWS))
        first = next(batches)
        return pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))

    def _batches(self, batch_size: int) -> Iterator[pa.RecordBatch]:
        """The rows; at first a batch without any, for its columns."""
        count = 0
        with self.newest().reading() as connection:
            relation = self._whole(connection)
            for step, value in self.steps:
                relation = getattr(relation, step)(value)
            reader = relation.to_arrow_reader(batch_size)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            for batch in reader:
                count += batch.num_rows
                yield batch
        logger.debug("%s: %d rows of %d columns", self.name, count, len(reader.schema))

    def _whole(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        if self.most is None:
            return connection.sql(self.query)
        # Ids first: DuckDB puts a whole view together before it takes the first of its rows.
        ids = example_ids(connection, self.where, self.most)
        return connection.sql("SELECT * FROM examples WHERE example_id IN ?", params=[ids])


def _query(connection: duckdb.DuckDBPyConnection, name: str, where: str | None) -> str:
    names = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise UsageError(
            f"The store has no table {name!r}.",
            cause=f"There are: {', '.join(names)}.",
            hint=f"Did you mean {near[0]}?" if near else None,
        )
    if where is None or not where.strip():
        return f"SELECT * FROM {name}"
    query = f"SELECT * FROM {name} WHERE (\n{where}\n)"
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            raise UsageError("The condition must be one SQL expression.")
        connection.sql(query).limit(0).fetchall()
    except duckdb.FatalException:
        raise
    except duckdb.Error as error:
        raise _refused(connection, error, name) from error
    return query


def _refused(connection: duckdb.DuckDBPyConnection, error: duckdb.Error, name: str) -> UsageError:
    text = str(error).strip()
    described = connection.execute(f"SELECT column_name FROM (DESCRIBE {name})").fetchall()
    columns = [row[0] for row in described]
    missing = re.search(r'column "?([A-Za-z_]\w*)"?', text)
    near = difflib.get_close_matches(missing[1], columns, n=1) if missing else []
    guess = f"Did you mean {near[0]}? " if near else ""
    return UsageError(
        "DuckDB does not accept the condition.",
        cause=text[:1000],
        hint=f"{guess}Columns of {name}: {', '.join(columns)}",
    )


def yields(store: Store) -> pl.DataFrame:
    """What became of the candidates that were run, by `source` and `operator`.

    Columns: `valid`, `survived`, `breaks_everything` and `unknown` (counts of verdicts), `judged`
    (all of them) and `seconds` (wall time of all their trials). What was pruned was never run.
    """
    return _read(
        store,
        """
        SELECT c.source, c.operator,
            count(*) FILTER (v.verdict = 'valid') AS valid,
            count(*) FILTER (v.verdict = 'survived') AS survived,
            count(*) FILTER (v.verdict = 'breaks-everything') AS breaks_everything,
            count(*) FILTER (v.verdict = 'unknown') AS unknown,
            count(*) AS judged,
            sum(v.seconds) AS seconds
        FROM verdicts v JOIN candidates c USING (candidate_id)
        WHERE v.verdict <> 'pruned'
        GROUP BY ALL ORDER BY judged DESC, source, operator
        """,
    )


def errors(store: Store) -> pl.DataFrame:
    """How examples fail: `n` of them by `error_type`, `source` and `operator`, the most first.

    `error_type` is empty where the test said no exception's name.
    """
    return _read(
        store,
        """
        SELECT coalesce(k.error_type, '') AS error_type, c.source, c.operator, count(*) AS n
        FROM proven p
        JOIN candidates c USING (candidate_id)
        JOIN trials k ON k.candidate_id = p.candidate_id AND k.baseline_id = p.baseline_id
            AND k.kind = 'confirm'
        GROUP BY ALL ORDER BY n DESC, error_type, source, operator
        """,
    )


def oracles(store: Store) -> pl.DataFrame:
    """How many wrong fixes the tests of each example reject: `tried`, `strength` and `weak`.

    `tried` is null where none was, `strength` and `weak` where too few were.
    """
    return _read(
        store,
        "SELECT repo, oracle_tried AS tried, oracle_strength AS strength, weak FROM examples",
    )


def _read(store: Store, query: str) -> pl.DataFrame:
    with store.reading() as connection:
        frame: pl.DataFrame = connection.sql(query).pl()
    return frame
