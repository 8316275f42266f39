"""Snapshots and frames: many readers in one process, and what a snapshot never does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flywheel.core.records import Judged
from flywheel.store import Snapshots, Store, errors, ingest, sql, yields


def test_threads_of_one_process_read_a_store_together(
    store: Store, baseline_id: str, make: Callable[..., Judged]
) -> None:
    ingest(store, [make(number) for number in range(20)], baseline_id=baseline_id)
    zone = "SELECT DISTINCT current_setting('TimeZone') FROM range(300000)"
    with ThreadPoolExecutor(4) as pool, store.reading():
        found = list(pool.map(lambda _: sql(Store(store.path), zone).item(), range(8)))
    assert found == ["UTC"] * 8


def test_counts_add_up_to_what_was_stored(
    store: Store, baseline_id: str, make: Callable[..., Judged]
) -> None:
    rows = [make(number) for number in range(20)]
    rows += [make(number, verdict="survived") for number in range(100, 110)]
    rows += [make(number, verdict="unknown") for number in range(200, 203)]
    ingest(store, rows, baseline_id=baseline_id)
    now = Snapshots(store).newest()
    told = yields(now)
    assert told.select("valid", "survived", "unknown", "judged").sum().row(0) == (20, 10, 3, 33)
    assert errors(now)["n"].sum() == 20
    assert set(errors(now)["error_type"]) == {"AssertionError"}
