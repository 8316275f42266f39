"""Versions: written once, known by their hash, read a few rows at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flywheel.core.errors import DatasetError, UsageError
from flywheel.curate import find_version, load_version, versions
from tests.fakes.versions import row, version


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = version(tmp_path / "a"), version(tmp_path / "b")
    assert one.id == other.id
    for file in sorted(one.folder.rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (other.folder / file.relative_to(one.folder)).read_bytes()


def test_another_row_gives_another_version(tmp_path: Path) -> None:
    one = version(tmp_path, rows={"train": [row(1)]})
    other = version(tmp_path, rows={"train": [row(1, flake_rate=0.1)]})
    assert one.id != other.id
    assert {each.id for each in versions(tmp_path)} == {one.id, other.id}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    made = version(tmp_path)
    rows = [one for batch in made.batches("train") for one in batch.to_pylist()]
    assert rows == [row(number) for number in range(8)]
    assert made.manifest.splits["train"].rows == 8
    assert made.manifest.statistics["repo"] == {"pypi:package0==1.0": 6, "pypi:package1==1.0": 6}
    assert made.scan("holdout").collect().height == 2
    assert made.baselines()["b0"]["python"] == "3.11"


def test_a_draft_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        version(tmp_path, rows={"train": [{"row_id": "x"}]})
    assert list(tmp_path.iterdir()) == []


def test_what_a_newer_program_wrote_is_refused_by_name(tmp_path: Path) -> None:
    made = version(tmp_path)
    path = made.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9, "more": 1}))
    with pytest.raises(DatasetError, match="newer flywheel"):
        load_version(made.folder)


def test_a_damaged_version_is_told_and_not_listed(tmp_path: Path) -> None:
    made = version(tmp_path)
    made.file("train").unlink()
    assert versions(tmp_path) == ()
    with pytest.raises(DatasetError, match="cannot be read") as raised:
        find_version(tmp_path, made.id)
    assert "train is not there" in (raised.value.cause or "")


def test_a_version_is_found_by_the_beginning_of_its_hash_or_by_name_alone(tmp_path: Path) -> None:
    made = version(tmp_path)
    assert find_version(tmp_path, made.id[:14]).id == made.id
    assert find_version(tmp_path, "repair-sft").id == made.id
    with pytest.raises(UsageError, match="no version") as raised:
        find_version(tmp_path, "repair-stf")
    assert "Did you mean repair-sft@" in (raised.value.hint or "")
