"""`flywheel dataset`, as a user runs it: from a store to files that others read."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.store import Store
from flywheel.store.lock import alone
from tests.fakes.stores import Shape, fill
from tests.functional.conftest import COMMAND, Ran, Shell

SHAPE = Shape(licences=("MIT", "Apache-2.0"), near=0.05, exact=0.05, secrets=0.05, attempted=0.3)


def filled(shell: Shell, rows: int, repositories: int = 6) -> None:
    """A store of so many examples in the shell's workspace."""
    store = Store(shell.workspace / ".flywheel" / "flywheel.duckdb")
    fill(store, rows, repositories=repositories, shape=SHAPE)


def recipe(shell: Shell, name: str, rules: str) -> Path:
    """A recipe of the workspace's own, with the packaged texts."""
    folder = shell.workspace / "datasets" / name
    folder.mkdir(parents=True, exist_ok=True)
    packaged = Path(__file__).parents[2] / "datasets" / "repair-sft"
    for text in ("prompt.md", "answer.md", "card.md"):
        (folder / text).write_bytes((packaged / text).read_bytes())
    head = 'title = "Mine"\ndescription = "For a test."\ntask = "repair"\n'
    (folder / "recipe.toml").write_text(head + rules)
    return folder


def built(shell: Shell, name: str) -> str:
    ran = shell.run("dataset", "build", name, "--json")
    assert ran.code == 0, ran.err
    return ran.summary["version"]


def test_from_a_harvest_to_a_file_that_trains(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    assert shell.harvest(repository(), "--max-candidates", "25").code == 0
    small = "[quality]\nleast_lines = 1\n[licence]\nunknown = true\n[split]\nholdout = 0\n"
    recipe(shell, "mine", f"{small}validation = 0\n")
    version = built(shell, "mine")
    assert shell.run("dataset", "audit", version).code == 0
    out = shell.folder / "out"
    ran = shell.run("dataset", "export", version, "--to", "openai-chat", "--out", str(out))
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    proven = [(row["good"], row["bad"]) for row in shell.sql("FROM examples")]
    assert lines
    for line in lines:
        asked, answer = (turn["content"] for turn in line["messages"])
        assert any(good in answer and bad in asked for good, bad in proven)


def test_versions_are_listed_shown_compared_and_explained(shell: Shell) -> None:
    filled(shell, 400)
    recipe(shell, "mine", "[split]\nleast_holdout = 5\n")
    first = built(shell, "mine")
    assert first == built(shell, "mine")
    recipe(shell, "mine", "[balance]\nper_definition = 3\n[split]\nleast_holdout = 5\n")
    second = built(shell, "mine")
    listed = shell.run("dataset", "list", "--json").summary
    assert {one["version"] for one in listed["versions"]} == {first, second}
    assert {"mine", "repair-sft", "bug-insertion"} <= {one["name"] for one in listed["recipes"]}
    shown = shell.run("dataset", "show", second, "--json").summary
    assert [one["name"] for one in shown["funnel"]][-2:] == ["balance", "split"]
    said = shell.run("dataset", "show", first).out
    for text in (first, "quality", "operator", "splits"):
        assert text in said
    compared = shell.run("dataset", "diff", first, second, "--json").summary
    assert compared["rules"] == {"balance.per_definition": [None, 3]}
    gone = compared["removed"][0]
    assert "enough-of-definition" in shell.run("dataset", "show", second, "--why", gone).out
    row = shell.run("dataset", "show", first, "--row", gone)
    assert "assistant" in row.out
    card = shell.run("dataset", "card", second)
    assert second in card.out


def test_a_build_that_is_killed_goes_on_to_the_same_version(
    shell: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    filled(shell, 1500)
    recipe(shell, "mine", "")
    kept = shell.workspace / ".flywheel" / "datasets" / ".features"
    process = shell.start("dataset", "build", "mine")
    until = time.monotonic() + 60
    while not list(kept.rglob("rows/*.parquet")) and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    datasets = shell.workspace / ".flywheel" / "datasets"
    assert not list(datasets.glob("*@*"))
    stamps = {one: one.stat().st_mtime_ns for one in kept.rglob("*.parquet")}
    version = built(shell, "mine")
    assert {one: one.stat().st_mtime_ns for one in stamps} == stamps
    for left in (datasets, kept):
        subprocess.run(["rm", "-rf", str(left)], check=True)
    assert built(shell, "mine") == version


def leak(shell: Shell, version: str) -> None:
    """Put a row that is held out into what trains."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = shell.workspace / ".flywheel" / "datasets" / version
    train, held = (pq.read_table(folder / f"{name}.parquet") for name in ("train", "holdout"))
    pq.write_table(pa.concat_tables([train, held.slice(0, 1)]), folder / "train.parquet")


def test_a_leak_ends_the_audit_with_its_own_code(shell: Shell) -> None:
    filled(shell, 300)
    recipe(shell, "mine", "[split]\nleast_holdout = 5\n")
    version = built(shell, "mine")
    leak(shell, version)
    ran = shell.run("dataset", "audit", version, "--json")
    assert ran.code == 3
    told = {one["name"]: one["found"] for one in ran.summary["checks"] if one["found"]}
    assert told["same-example"] == told["frozen-holdout"] == told["altered"] == 1
    assert "leaks" in ran.err


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("[quality]\nmost_eror = 5\n", "did you mean 'most_error'?"),
        ("[split]\nleast_holdout = 9999\n", "9999 are needed"),
        ('[contamination]\nfiles = ["gone.jsonl"]\n', "gone.jsonl"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said_and_nothing_is_made(
    shell: Shell, rules: str, said: str
) -> None:
    filled(shell, 60, 2)
    recipe(shell, "mine", rules)
    ran = shell.run("dataset", "build", "mine")
    assert ran.code in (1, 2)
    assert said in ran.err, ran.err
    assert not list((shell.workspace / ".flywheel").glob("datasets/*@*"))
    assert not list((shell.workspace / ".flywheel").glob("datasets/holdouts/*"))


def test_a_text_that_names_what_no_row_has_is_said(shell: Shell) -> None:
    folder = recipe(shell, "mine", "")
    (folder / "prompt.md").write_text("Mend {simbol}")
    ran = shell.run("dataset", "build", "mine")
    assert (ran.code, "Did you mean {symbol}?" in ran.err) == (2, True), ran.err


def test_a_recipe_that_is_not_there_is_named(shell: Shell) -> None:
    ran = shell.run("dataset", "build", "repair-stf")
    assert (ran.code, "Did you mean repair-sft?" in ran.err) == (2, True), ran.err


def test_two_builds_at_once_are_one_too_many(shell: Shell) -> None:
    root = shell.workspace / ".flywheel" / "datasets"
    root.mkdir(parents=True)
    with alone(root / ".lock", doing="build of another"):
        ran = shell.run("dataset", "build", "repair-sft")
    assert (ran.code, "build of another" in ran.err) == (1, True), ran.err


def test_a_disk_that_is_full_ends_it_with_nothing_half_made(shell: Shell) -> None:
    filled(shell, 800)
    recipe(shell, "mine", "")

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    began = time.monotonic()
    process = subprocess.Popen(
        [str(COMMAND), "--workspace", str(shell.workspace), "dataset", "build", "mine"],
        preexec_fn=small,
        env={**os.environ, "HOME": str(shell.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ran: Ran = shell.finish(process, began)
    assert ran.code == 1
    assert "room" in ran.err or "large" in ran.err, ran.err
    root = shell.workspace / ".flywheel" / "datasets"
    assert not list(root.glob("*@*"))
    assert not list(root.glob("holdouts/*.parquet"))
    assert shell.run("dataset", "build", "mine").code == 0
