"""The pool: the examples that a dataset is made of, taken out of the store as Parquet.

The store's file is copied while nobody writes, and everything else is asked of the copy: a harvest
waits for a copy of a file, never for a dataset. What a user wrote in SQL runs where nothing but the
store can be read, and gives ids; what writes files is SQL of ours.

Files are in the order of `example_id`, so that several can be read side by side, and rows are taken
a range of ids at a time, so that memory does not grow with the store.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from flywheel.core.identity import bytes_hash
from flywheel.store.query import example_ids, ids_of
from flywheel.store.store import Store, quiet

MEMORY = "2GB"
"""What DuckDB may hold; the rest goes through files."""
RANGE = 40_000
"""Rows that are taken at once. The joins behind an example hold whole rows in memory and cannot
put them aside: a million at once need more than two gigabytes, so many need half of one."""
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
    def rows(self) -> list[Path]:
        """One row an example: the columns of the view `examples` and what hangs together.

        The files' own order is the order of the rows.
        """
        return sorted(self.folder.glob("rows-*.parquet"))

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
    for number, (first, last) in enumerate(_ranges(connection)):
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
            WHERE e.example_id BETWEEN '{first}' AND '{last}'
            ORDER BY e.example_id
            """,
            pool.folder / f"rows-{number:05}.parquet",
        )
    _copy(
        connection,
        f"""
        SELECT definition, any_value(language) AS language, any_value(good) AS good
        FROM {_files(pool.rows)} GROUP BY definition ORDER BY definition
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
        WHERE b.baseline_id IN (SELECT baseline_id FROM {_files(pool.rows)})
        QUALIFY row_number() OVER (PARTITION BY b.baseline_id ORDER BY n.toolchain) = 1
        ORDER BY b.baseline_id
        """,
        pool.baselines,
    )


def _ranges(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """First and last id of every `RANGE` chosen rows; one that is empty where none was chosen."""
    found = connection.execute(
        """
        SELECT min(example_id), max(example_id) FROM (
            SELECT example_id, (row_number() OVER (ORDER BY example_id) - 1) // $size AS number
            FROM chosen
        ) GROUP BY number ORDER BY number
        """,
        {"size": RANGE},
    ).fetchall()
    return found or [("", "")]


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(
        f"COPY ({query}) TO '{_quoted(path)}'"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})"
    )


def _files(paths: Sequence[Path]) -> str:
    listed = ", ".join(f"'{_quoted(path)}'" for path in paths)
    return f"read_parquet([{listed}])"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def companions(pool: Pool, pairs: pl.DataFrame) -> list[Path]:
    """Rows of the pool put beside others: `example_id`, `place`, `bad`, `error`.

    `pairs` has `example_id`, `place` (a number) and `other`, the example whose code and error are
    wanted; what comes are files in the order of `example_id` and `place`.
    """
    folder = pool.folder / "companions"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with duckdb.connect() as connection:
        quiet(connection)
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET temp_directory = '{_quoted(pool.folder)}'")
        connection.register("wanted", pairs.select("example_id", "place", "other").to_arrow())
        connection.execute("CREATE TEMP TABLE pairs AS FROM wanted")
        connection.execute("CREATE TEMP TABLE chosen AS SELECT DISTINCT example_id FROM pairs")
        for number, (first, last) in enumerate(_ranges(connection)):
            _copy(
                connection,
                f"""
                SELECT p.example_id, p.place, r.bad, r.error
                FROM {_files(pool.rows)} r
                JOIN (
                    FROM pairs WHERE example_id BETWEEN '{first}' AND '{last}'
                ) p ON r.example_id = p.other
                ORDER BY p.example_id, p.place
                """,
                folder / f"{number:05}.parquet",
            )
    return sorted(folder.iterdir())


CODE = bytes_hash(Path(__file__).read_bytes())
"""Changes when what is taken does."""


def fingerprint(store: Store) -> tuple[int, ...]:
    """Changes when the store does: sizes and times of its files."""
    found = []
    for path in (store.path, store.path.with_name(f"{store.path.name}.wal")):
        if path.exists():
            status = path.stat()
            found += [status.st_size, status.st_mtime_ns]
    return tuple(found)
