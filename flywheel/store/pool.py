"""The pool: the examples that a dataset is made of, taken out of the store as Parquet.

The store's file is copied while nobody writes, and everything else is asked of the copy: a harvest
waits for a copy of a file, never for a dataset. What a user wrote in SQL runs where nothing but the
store can be read, and gives ids; what writes files is SQL of ours.

Every file is in the order of `example_id`, so that several can be read side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from flywheel.store.query import example_ids, ids_of
from flywheel.store.store import Store

MEMORY = "1500MB"
"""What DuckDB may hold while it sorts; the rest goes through files."""
GROUP = 8192
"""Rows of a Parquet row group."""

# A folder of this machine is nobody else's business: of a path, the last name is kept.
_REPO = "CASE WHEN {0} LIKE '/%' THEN 'local:' || split_part(rtrim({0}, '/'), '/', -1) ELSE {0} END"

_COLUMNS = f"""
    e.example_id, {_REPO.format("e.repo")} AS repo,
    e."commit", e.path, e.symbol, e.line, e.end_line, e.language,
    e.license, e.source, e.operator, e.fix_origin, e.statement, e.bad, e.good, e.patch, e.error,
    e.error_type, e.error_message, e.traceback, e.test_id, e.test_source, e.failing_tests,
    e.passing_tests, e.oracle_strength, e.flake_rate, e.sandbox_level, e.environment_hash,
    e.toolchain, e.candidate_id, e.baseline_id,
    md5(concat(e.language, chr(0), e.good)) AS definition,
    md5(concat_ws(chr(0), e.example_id, e.baseline_id, e.error, e.test_source)) AS content,
    coalesce(f.committed_at, e.created_at) AS at,
    list_prepend(e.path, list_transform(
        coalesce(from_json(c.others, '[{{"path": "VARCHAR"}}]'), []), lambda x: x.path)) AS files,
    list_prepend(e.candidate_id, list_transform(
        coalesce(e.parts, []), lambda x: x.candidate_id)) AS lineage,
    a.fixed AS mended, a.tried AS attempted
"""


@dataclass(frozen=True, slots=True)
class Pool:
    """The files of a pool."""

    folder: Path
    """Where they lie."""
    stored: int
    """Examples of the store, chosen or not."""

    @property
    def rows(self) -> Path:
        """One row an example: the columns of the view `examples` and what hangs together."""
        return self.folder / "rows.parquet"

    @property
    def definitions(self) -> Path:
        """One row a different good definition: `definition`, `language`, `good`; by definition."""
        return self.folder / "definitions.parquet"

    @property
    def attempts(self) -> Path:
        """Failed answers of models: `example_id`, `sample`, `turn`, `code`, `error`."""
        return self.folder / "attempts.parquet"

    @property
    def baselines(self) -> Path:
        """What the rows were proven in; by `baseline_id`."""
        return self.folder / "baselines.parquet"


def take(store: Store, folder: Path, *, where: str | None = None, sql: str | None = None) -> Pool:
    """Take the chosen examples out of the store.

    `where` is a condition on the columns of `examples`, `sql` a query with a column `example_id`;
    without either every example is taken. Raises `UsageError` for SQL that DuckDB does not accept,
    `StoreError` where there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = Store(folder / "store.duckdb")
    try:
        store.copy(copy.path)
        with copy.reading() as connection:
            ids = ids_of(connection, sql) if sql is not None else None
            if where is not None:
                ids = example_ids(connection, where, None)
        with copy.exporting(folder, memory=MEMORY) as connection:
            _choose(connection, ids)
            stored = connection.execute("SELECT count(*) FROM proven").fetchall()[0][0]
            pool = Pool(folder, stored)
            _write(connection, pool)
    finally:
        for left in folder.glob("store.*"):
            left.unlink()
    return pool


def _choose(connection: duckdb.DuckDBPyConnection, ids: Sequence[str] | None) -> None:
    if ids is None:
        connection.execute("CREATE TEMP TABLE chosen AS SELECT example_id FROM proven")
        return
    connection.register("asked", pa.table({"example_id": pa.array(ids, pa.string())}))
    connection.execute(
        "CREATE TEMP TABLE chosen AS"
        " SELECT DISTINCT example_id FROM proven SEMI JOIN asked USING (example_id)"
    )
    connection.unregister("asked")


def _write(connection: duckdb.DuckDBPyConnection, pool: Pool) -> None:
    _copy(
        connection,
        f"""
        SELECT {_COLUMNS}
        FROM examples e SEMI JOIN chosen USING (example_id)
        JOIN candidates c ON c.candidate_id = e.candidate_id
        LEFT JOIN fix_commits f ON f."commit" = c.origin
        LEFT JOIN (
            SELECT example_id, count(*) FILTER (verdict = 'fixed') AS fixed,
                   count(*) FILTER (verdict <> 'unknown') AS tried
            FROM attempts GROUP BY example_id
        ) a ON a.example_id = e.example_id
        ORDER BY e.example_id
        """,
        pool.rows,
    )
    _copy(
        connection,
        f"""
        SELECT definition, any_value(language) AS language, any_value(good) AS good
        FROM {_file(pool.rows)} GROUP BY definition ORDER BY definition
        """,
        pool.definitions,
    )
    _copy(
        connection,
        """
        SELECT example_id, sample, turn, code, error
        FROM attempts SEMI JOIN chosen USING (example_id)
        WHERE verdict = 'failed' AND code IS NOT NULL
        ORDER BY example_id, sample, turn, attempt_id
        """,
        pool.attempts,
    )
    _copy(
        connection,
        f"""
        SELECT b.baseline_id, {_REPO.format("r.repo")} AS repo,
               r."commit", b.environment_hash, b.toolchain,
               n.details->>'python' AS python,
               list_sort(from_json(coalesce(n.details->'lock', '[]'), '["VARCHAR"]')) AS packages,
               list_sort(coalesce(t.tests, [])) AS tests
        FROM baselines b JOIN revisions r USING (revision_id)
        LEFT JOIN environments n ON n.environment_hash = b.environment_hash
        LEFT JOIN (
            SELECT baseline_id, list(test_id) AS tests FROM tests
            WHERE outcome = 'passed' AND reason = '' GROUP BY baseline_id
        ) t ON t.baseline_id = b.baseline_id
        WHERE b.baseline_id IN (SELECT baseline_id FROM {_file(pool.rows)})
        QUALIFY row_number() OVER (PARTITION BY b.baseline_id ORDER BY n.toolchain) = 1
        ORDER BY b.baseline_id
        """,
        pool.baselines,
    )


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(
        f"COPY ({query}) TO '{_quoted(path)}'"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})"
    )


def _file(path: Path) -> str:
    return f"read_parquet('{_quoted(path)}')"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def companions(pool: Pool, pairs: pl.DataFrame) -> Path:
    """Rows of the pool put beside others: `example_id`, `place`, `bad`, `error`.

    `pairs` has `example_id`, `place` (a number) and `other`, the example whose code and error are
    wanted; what comes is a file in the order of `example_id` and `place`.
    """
    path = pool.folder / "companions.parquet"
    settings = {"memory_limit": MEMORY, "temp_directory": str(pool.folder)}
    with duckdb.connect(config={**settings}) as connection:
        connection.register("pairs", pairs.to_arrow())
        _copy(
            connection,
            f"""
            SELECT p.example_id, p.place, r.bad, r.error
            FROM pairs p JOIN {_file(pool.rows)} r ON r.example_id = p.other
            ORDER BY p.example_id, p.place
            """,
            path,
        )
    return path


def fingerprint(store: Store) -> tuple[int, ...]:
    """Changes when the store does: sizes and times of its files."""
    found = []
    for path in (store.path, store.path.with_name(f"{store.path.name}.wal")):
        if path.exists():
            status = path.stat()
            found += [status.st_size, status.st_mtime_ns]
    return tuple(found)
