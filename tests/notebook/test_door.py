"""The door: what it gives, what it does not do, and what it says when there is nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import flywheel
from flywheel.core.errors import StoreError, UsageError
from flywheel.notebook import Door
from flywheel.store import Store
from flywheel.store.migrate import migrations
from tests.fakes.programs import BASE, BETTER, programs
from tests.fakes.stores import Filled
from tests.fakes.versions import version

PROCESSES = Path(__file__).parents[1] / "store" / "processes.py"


def test_a_workspace_is_found_by_variable_by_folder_and_by_what_lies_in_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = root / "inner"
    inner.mkdir(exist_ok=True)
    assert flywheel.open(inner).workspace.root == root
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYWHEEL_WORKSPACE", str(root))
    assert flywheel.open().workspace.root == root
    assert flywheel.open(inner).workspace.root == root


def test_a_folder_without_a_store_gives_empty_frames_a_hint_and_no_file(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="flywheel harvest --repo PATH makes one"):
        door = flywheel.open(tmp_path)
    assert door.examples().is_empty()
    assert "error_type" in door.examples().columns
    assert door.scan("trials").collect().is_empty()
    assert door.datasets().is_empty()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        flywheel.open(tmp_path / "nowhere")


def test_every_table_has_the_rows_that_are_in_the_store(fw: Door, planted: Filled) -> None:
    examples = fw.examples()
    assert examples.height == planted.rows
    assert examples["created_at"].is_sorted()
    assert fw.survivors().height == planted.survived
    assert fw.attempts().height == sum(planted.attempts.values()) > 0
    assert fw.trials("kind = 'good'").height == planted.rows
    for empty in (fw.calls(), fw.scores(), fw.figures()):
        assert empty.is_empty()
        assert empty.width > 8
    assert fw.sql("SELECT count(*) FROM examples").item() == planted.rows


def test_what_was_found_of_programs_is_read_as_frames(bare: Path) -> None:
    programs(Store(bare / ".flywheel" / "flywheel.duckdb"))
    fw = flywheel.open(bare)
    assert fw.versions()["version_id"].to_list() == [BETTER]
    assert fw.gates("better")["champion"].to_list() == [BASE]
    assert fw.deployments()["replaced"].to_list() == [BASE]
    assert fw.studies()["optimizer"].to_list() == ["miprov2"]
    assert fw.study_trials()["number"].to_list() == [0, 1, 2, 3]
    assert fw.outcomes("value = 1")["example_id"].to_list() == ["e1", "e3"]


def test_a_condition_chooses_rows_and_a_wrong_one_is_told_the_columns(fw: Door) -> None:
    chosen = fw.examples("source = 'reverted'")
    assert set(chosen["source"]) == {"reverted"}
    assert fw.scan("examples", "source = 'reverted'").collect().height == chosen.height
    for read in (fw.trials, lambda where: fw.scan("trials", where)):
        with pytest.raises(UsageError) as caught:
            read("outcme = 'fails'")
        assert "Did you mean outcome?" in (caught.value.hint or "")
        assert "sandbox_level" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="one SQL expression"):
        fw.trials("true); DROP TABLE trials; SELECT (1")


def test_a_table_that_is_not_there_is_answered_with_the_one_that_was_meant(fw: Door) -> None:
    with pytest.raises(UsageError) as caught:
        fw.scan("exmples")
    assert "Did you mean examples?" in (caught.value.hint or "")


def test_a_plan_takes_no_more_out_of_the_store_than_it_needs(
    fw: Door, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fw.examples()
    plan = fw.scan("examples")
    with caplog.at_level(logging.DEBUG, "flywheel.store.frames"):
        assert plan.select("path", "line").head(3).collect().shape == (3, 2)
        found = plan.filter(pl.col("source") == "reverted").select("symbol").collect()
        plan.filter(pl.col("source").str.starts_with("rev")).select("symbol").collect()
    reverted = whole.filter(pl.col("source") == "reverted").height
    assert 0 < found.height == reverted < whole.height
    assert [record.message for record in caplog.records] == [
        "examples: 3 rows of 2 columns",
        f"examples: {reverted} rows of 2 columns",
        f"examples: {whole.height} rows of 2 columns",  # polars's own condition, asked by polars
    ]


def test_plans_are_joined_sorted_and_read_in_a_stream(fw: Door) -> None:
    whole = fw.examples()
    plan = fw.scan("examples")
    trials = fw.scan("trials").filter(pl.col("kind") == "good")
    joined = plan.join(trials, on=["candidate_id", "baseline_id"]).select(pl.len())
    assert joined.collect().item() == whole.filter(pl.col("fix_candidate_id").is_null()).height
    lines = plan.sort("line", descending=True).head(4).select("line").collect()["line"]
    assert lines.to_list() == whole["line"].sort(descending=True).head(4).to_list()
    assert plan.select("bad").collect(engine="streaming").height == whole.height


def test_a_plan_sees_what_was_stored_after_it_was_made(bare: Path) -> None:
    plan = flywheel.open(bare).scan("runs").select("run_id")
    assert plan.collect().is_empty()
    with Store(bare / ".flywheel" / "flywheel.duckdb").writing() as connection:
        connection.execute("INSERT INTO runs VALUES ('a', 'b', now(), now(), '{}')")
    assert plan.collect()["run_id"].to_list() == ["a"]


def test_a_writer_does_not_wait_for_a_reader_that_takes_its_time(bare: Path) -> None:
    door = flywheel.open(bare)
    hurried = Store(bare / ".flywheel" / "flywheel.duckdb", timeout=0.2)
    with door.snapshot().reading() as reading, hurried.writing() as writing:
        writing.execute("INSERT INTO runs VALUES ('a', 'b', now(), now(), '{}')")
        assert reading.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    assert door.sql("SELECT count(*) FROM runs").item() == 1


def test_nothing_is_left_behind_and_nothing_is_copied_twice(fw: Door, left: Path) -> None:
    first = fw.snapshot()
    assert fw.snapshot() is first
    assert fw.examples().height
    assert list(left.iterdir()) == []
    with pytest.raises(StoreError, match="only read"):
        first.writing()


def test_a_store_of_an_older_flywheel_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".flywheel" / "flywheel.duckdb"
    with Store(path, steps=migrations()[:1]).writing():
        pass
    before = path.read_bytes()
    assert flywheel.open(tmp_path).examples().is_empty()
    assert path.read_bytes() == before


def test_a_damaged_store_is_told_by_its_own_name(tmp_path: Path, left: Path) -> None:
    path = tmp_path / ".flywheel" / "flywheel.duckdb"
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=str(path)):
        flywheel.open(tmp_path).examples()
    assert list(left.iterdir()) == []


def test_reading_goes_on_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / ".flywheel" / "flywheel.duckdb"
    path.parent.mkdir()
    writer = subprocess.Popen(
        [sys.executable, "-c", FURNISHED_WRITER, str(PROCESSES.parent), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROCESSES.parents[2])},
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        door = flywheel.open(tmp_path)
        plan = door.scan("examples").select("example_id", "operator")
        seen = [door.examples().height]
        end = time.monotonic() + 60
        while len(set(seen)) < 3 and time.monotonic() < end:
            seen += [plan.collect().height, door.examples().height]
            assert door.survivors().is_empty()
        assert writer.poll() is None, "it was to write all the time"
    finally:
        writer.kill()
        out, _ = writer.communicate()
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3
    acknowledged = [line for line in out.splitlines() if line.endswith("}")]
    assert door.examples().height >= seen[-1]
    assert door.examples().height >= int(acknowledged[-1].partition(":")[2].rstrip("}"))


FURNISHED_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import furnish
from flywheel.store import Store
from processes import write
store = Store(Path(sys.argv[2]))
furnish(store)
write(store, "0", "20", "120")
"""


def test_versions_of_datasets_are_listed_and_opened(bare: Path) -> None:
    door = flywheel.open(bare)
    assert door.newest_dataset() is None
    made = version(bare / ".flywheel" / "datasets")
    listed = door.datasets()
    assert listed["version"].to_list() == [made.id]
    assert listed["train"].to_list() == [8]
    page = door.dataset(made.id[:14])
    assert page.rows("train").height == 8
    assert page.funnel()["rows"].dtype == pl.Int64
    newest = door.newest_dataset()
    assert newest is not None
    assert newest.version.id == made.id
    with pytest.raises(UsageError, match="no split 'test'"):
        page.scan("test")


def test_importing_flywheel_imports_nothing_of_the_notebook() -> None:
    code = (
        "import sys, flywheel; assert 'polars' not in sys.modules and 'duckdb' not in sys.modules;"
        "assert not [name for name in sys.modules if name.startswith('flywheel.')];"
        "assert callable(flywheel.open) and 'altair' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'opn'"):
        flywheel.opn  # noqa: B018
