"""Sessions: whole processes that share, kill, fill and damage one store."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import StoreBusyError, StoreError, StoreVersionError
from flywheel.core.records import Judged
from flywheel.store import Store, examples, ingest, known_verdicts, sql
from flywheel.store.migrate import Migration, migrations

Start = Callable[..., subprocess.Popen[str]]


def lines(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    said = [line for line in out.splitlines() if line.endswith("}")]  # a kill may cut the last
    return [json.loads(line) for line in said]


def test_four_readers_and_a_writer_all_get_on_and_nobody_sees_an_error(
    store: Store, start: Start
) -> None:
    writer = start("write", store.path, 0, 20, 5)
    readers = [start("read", store.path, 5) for _ in range(4)]
    told = [lines(process)[-1] for process in (writer, *readers)]
    assert [process.returncode for process in (writer, *readers)] == [0] * 5, told
    assert told[0]["batches"] >= 3
    assert all(one["reads"] >= 3 and one["longest"] < 5 for one in told[1:]), told


def test_a_kill_at_any_moment_loses_no_acknowledged_row(
    store: Store, start: Start, baseline_id: str
) -> None:
    rng = random.Random(7)
    first = 0
    for _ in range(10):
        writer = start("write", store.path, first, 25, 30)
        assert writer.stdout is not None
        assert writer.stdout.readline(), "the writer never stored a batch"
        time.sleep(rng.uniform(0, 0.3))
        writer.kill()
        acknowledged = max([first + 25, *(line["acknowledged"] for line in lines(writer))])
        stored = len(known_verdicts(store, baseline_id))
        # Whole batches only: what was acknowledged, and at most the one under way.
        assert stored in (acknowledged, acknowledged + 25)
        assert examples(store).height == stored
        first = stored


def test_a_full_disk_is_a_clear_error_and_nothing_is_half_written(
    store: Store, start: Start, baseline_id: str
) -> None:
    limit = 600_000
    told = lines(start("fill", store.path, limit))
    assert told[-1]["error"] == "StoreError"
    assert "no room" in told[-1]["message"]
    acknowledged = max((line.get("acknowledged", 0) for line in told), default=0)
    assert acknowledged >= 100
    assert len(known_verdicts(store, baseline_id)) == acknowledged
    assert examples(store).height == acknowledged


def test_a_writer_that_works_again_after_a_full_disk_goes_on(
    store: Store, start: Start, baseline_id: str, make: Callable[..., Judged]
) -> None:
    lines(start("fill", store.path, 600_000))
    before = len(known_verdicts(store, baseline_id))
    ingest(store, [make(1_000_000)], baseline_id=baseline_id)
    assert len(known_verdicts(store, baseline_id)) == before + 1


def test_a_store_that_stays_busy_names_who_holds_it(store: Store, start: Start) -> None:
    holder = start("hold", store.path, 20)
    assert holder.stdout is not None
    holder.stdout.readline()
    hurried = Store(store.path, timeout=0.2)
    with pytest.raises(StoreBusyError) as caught, hurried.reading():
        pass
    assert f"process {holder.pid}" in (caught.value.cause or "")


def test_a_killed_holder_holds_nothing(store: Store, start: Start) -> None:
    holder = start("hold", store.path, 20)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    assert sql(Store(store.path, timeout=2), "SELECT count(*) FROM runs").item() == 0


def test_a_second_harvest_of_a_repository_is_told_who_is_at_it(store: Store, start: Start) -> None:
    first = start("harvest", store.path, "words", 20)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(StoreBusyError) as caught, store.harvest_lock("words"):
        pass
    assert f"process {first.pid}" in (caught.value.cause or "")
    assert "since 2" in (caught.value.cause or "")
    with store.harvest_lock("another"):
        pass


def test_a_session_inside_a_session_is_refused_at_once(store: Store) -> None:
    with pytest.raises(StoreError, match="inside another"), store.writing(), store.reading():
        pass


def test_an_error_inside_a_writing_session_stores_nothing(store: Store) -> None:
    def interrupted() -> None:
        with store.writing() as connection:
            connection.execute("INSERT INTO runs VALUES ('a', 'b', now(), now(), '{}')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert sql(store, "FROM runs").is_empty()


def test_a_store_that_does_not_exist_reads_as_empty_and_is_not_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere" / "flywheel.duckdb")
    assert examples(store).is_empty()
    assert "bad" in examples(store).columns
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("damage", ["garbage", "empty", "torn", "scribbled"])
def test_a_damaged_file_is_an_error_with_a_hint(
    store: Store, damage: str, baseline_id: str, make: Callable[..., Judged]
) -> None:
    ingest(store, [make(number) for number in range(50)], baseline_id=baseline_id)
    store.tidy()
    data = store.path.read_bytes()
    middle = os.urandom(len(data) - 12288)
    store.path.write_bytes(
        {
            "garbage": b"not a database" * 1000,
            "empty": b"",
            "torn": data[: len(data) // 3],
            "scribbled": data[:12288] + middle,
        }[damage]
    )
    with pytest.raises(StoreError) as caught:
        examples(store)
    assert caught.value.hint
    assert "mv " in caught.value.hint


def test_a_store_of_a_newer_flywheel_is_refused_with_advice(store: Store) -> None:
    with store.writing() as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, 'future', now())")
    with pytest.raises(StoreVersionError, match="999") as caught, store.reading():
        pass
    assert "pgrade" in (caught.value.hint or "")
    with pytest.raises(StoreVersionError), store.writing():
        pass


def test_an_older_store_is_brought_up_to_date_by_its_next_reader(store: Store) -> None:
    steps = migrations()
    later = Migration(steps[-1].version + 1, "extra", "CREATE TABLE extra (x INTEGER);")
    newer = Store(store.path, steps=(*steps, later))
    assert sql(newer, "SELECT count(*) FROM extra").item() == 0


def test_a_migration_that_fails_leaves_the_store_as_it_was(store: Store) -> None:
    steps = migrations()
    broken = Migration(
        steps[-1].version + 1, "broken", "CREATE TABLE extra (x INTEGER); SELECT no_such_thing;"
    )
    with pytest.raises(StoreError), Store(store.path, steps=(*steps, broken)).writing():
        pass
    assert "extra" not in sql(store, "SHOW TABLES")["name"].to_list()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_can_be_read(store: Store) -> None:
    for name in ("store.lock", "store.turn"):
        (store.path.parent / name).unlink()
    store.path.parent.chmod(0o500)
    try:
        assert examples(store).is_empty()
        with pytest.raises(StoreError), store.writing():
            pass
    finally:
        store.path.parent.chmod(0o700)
