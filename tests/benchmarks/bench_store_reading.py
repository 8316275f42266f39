"""Seconds of what people ask of a store of a million examples, and of copying all of them.

    python tests/benchmarks/bench_store_reading.py STORE [--rows 1000000]
    python tests/benchmarks/bench_store_reading.py STORE --copy whole,ranges,unordered

A store that is not there is made first (minutes). Each question is asked in a session of its own,
so that its seconds hold the opening; `wall` is what a person waits, `processor` what it costs on a
busy machine. `--copy` writes all examples to Parquet, by id, each way in a process of its own under
a limit of memory: in one statement, in sixteen ranges of ids, in one statement without an order.
Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from flywheel.store import Store, examples, sql
from tests.fakes.stores import Shape, fill

SMALL = "example_id, repo, license, source, operator, language, error_type, line, weak, flake_rate"
PARQUET = "(FORMAT parquet, COMPRESSION zstd)"


def lazily(store: Store) -> int:
    """All rows' small columns through a lazy frame, one filter and one grouping in polars."""
    with store.reading() as connection:
        frame = connection.sql(f"SELECT {SMALL} FROM examples").pl(lazy=True)
        return frame.group_by("repo", "operator").len().collect().height


def opened(store: Store) -> int:
    with store.reading():
        return 0


def of_table(store: Store) -> int:
    """What a count by operator costs where only what it needs is joined."""
    return sql(
        store,
        "SELECT c.operator, count(*) FROM proven JOIN candidates c USING (candidate_id) GROUP BY 1",
    ).height


QUESTIONS: dict[str, Callable[[Store], int]] = {
    "opening": opened,
    "count of `proven`": lambda store: sql(store, "SELECT count(*) FROM proven").height,
    "count of `examples`": lambda store: sql(store, "SELECT count(*) FROM examples").height,
    "by operator, of `examples`": lambda store: (
        sql(store, "SELECT operator, count(*) FROM examples GROUP BY operator").height
    ),
    "by operator, of `proven` and `candidates`": of_table,
    "100 rows, whole, no condition": lambda store: examples(store, limit=100).height,
    "100 rows, whole, by a condition": lambda store: (
        examples(
            store, where="error_type = 'KeyError' AND len(failing_tests) = 1", limit=100
        ).height
    ),
    "small columns of all, lazily": lazily,
}


def whole(connection: duckdb.DuckDBPyConnection, out: Path) -> None:
    connection.execute(
        f"COPY (SELECT * FROM examples ORDER BY example_id) TO '{out}/all.parquet' {PARQUET}"
    )


def ranges(connection: duckdb.DuckDBPyConnection, out: Path) -> None:
    """A file for each first digit of the id: what is joined and sorted at once is a sixteenth."""
    for digit in "0123456789abcdef":
        connection.execute(
            f"COPY (SELECT * FROM examples WHERE starts_with(example_id, '{digit}')"
            f" ORDER BY example_id) TO '{out}/{digit}.parquet' {PARQUET}"
        )


def unordered(connection: duckdb.DuckDBPyConnection, out: Path) -> None:
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"COPY (SELECT * FROM examples) TO '{out}/all.parquet' {PARQUET}")


COPIES = {"whole": whole, "ranges": ranges, "unordered": unordered}


def copy(path: Path, way: str, threads: int, memory: str) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        out = Path(folder)
        began = time.monotonic()
        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": str(threads),
            "memory_limit": memory,
            "temp_directory": f"{out}/spilled",
        }
        ended = ""
        with duckdb.connect(path, read_only=True, config=settings) as connection:
            connection.execute("SET enable_progress_bar = false")
            try:
                COPIES[way](connection, out)
            except duckdb.Error as error:
                ended = str(error).partition("\n")[0][:60]
        wall = time.monotonic() - began
        size = sum(file.stat().st_size for file in out.glob("*.parquet")) / 2**20
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"| {way} | {threads} | {memory} | {wall:.0f} | {used.ru_utime + used.ru_stime:.0f} "
        f"| {used.ru_maxrss / 1024:.0f} | {size:.0f} | {ended or 'done'} |",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path, help="the file; it is made where it is not there")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--copy", default="", help="ways, with commas: " + ", ".join(COPIES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", default="2GB")
    options = parser.parse_args()
    store = Store(options.store.absolute())
    if not store.exists:
        began = time.monotonic()
        fill(store, options.rows, repositories=40, seed=1, shape=Shape(mended=0.01))
        print(f"Made in {time.monotonic() - began:.0f} s.")
    print(f"The file has {store.path.stat().st_size / 2**20:.0f} MiB.\n")
    if options.copy:
        print("| way | threads | limit | wall s | processor s | MiB peak | MiB written | ended |")
        print("|---|---:|---:|---:|---:|---:|---:|---|", flush=True)
        for way in options.copy.split(","):
            process = multiprocessing.get_context("spawn").Process(
                target=copy, args=(store.path, way, options.threads, options.memory)
            )
            process.start()
            process.join()
        return 0
    print("| question | wall s | processor s | rows |\n|---|---:|---:|---:|")
    for name, ask in QUESTIONS.items():
        began, used = time.monotonic(), time.process_time()
        rows = ask(store)
        print(
            f"| {name} | {time.monotonic() - began:.2f} | {time.process_time() - used:.2f} "
            f"| {rows} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
