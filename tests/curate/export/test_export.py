"""Exports: whole or not at all, the same bytes each time, and the hold-out only when asked for."""

from __future__ import annotations

import errno
import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.core.errors import DatasetError, UsageError
from flywheel.curate.export import FORMATS, export, output, shards
from tests.fakes.exports import ADDRESS, of_task, pairs, repairs
from tests.fakes.versions import row, version

FIT = [name for name, one in FORMATS.items() if "repair" in one.tasks]


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_version_gives_the_same_bytes(tmp_path: Path, to: str) -> None:
    made = (repairs if to in FIT else pairs)(tmp_path / "versions")
    one, other = (export(made, to, tmp_path / place) for place in ("one", "other"))
    assert one.files == other.files
    assert one.files
    for name in one.files:
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
    assert one.bytes == sum((one.folder / name).stat().st_size for name in one.files)


@pytest.mark.parametrize("to", FIT)
def test_the_hold_out_goes_out_only_when_it_is_asked_for(tmp_path: Path, to: str) -> None:
    made = repairs(tmp_path / "versions")
    usual = export(made, to, tmp_path / "usual")
    held = export(made, to, tmp_path / "held", splits=["holdout"])
    assert set(usual.rows) == {"train", "validation"}
    assert not any("test-" in name or name.startswith("test") for name in usual.files)
    assert held.rows == {"test": 1}
    secret = f"{30:016x}".encode()
    for name in usual.files:
        if name.endswith(".parquet"):
            text = str(pq.read_table(usual.folder / name).to_pylist()).encode()
        else:
            text = (usual.folder / name).read_bytes()
        assert secret not in text, name


def test_what_a_task_cannot_give_is_told_with_the_formats_that_fit(tmp_path: Path) -> None:
    made = repairs(tmp_path)
    for to in ("trl-dpo", "trl-kto", "openai-dpo"):
        with pytest.raises(UsageError, match=f"cannot be written as {to}") as raised:
            export(made, to, tmp_path / "out")
        assert "a wrong answer" in (raised.value.cause or "")
        assert "openai-chat" in (raised.value.hint or "")
        assert "dpo" not in (raised.value.hint or "")
    explained = of_task("explanation", made)
    with pytest.raises(UsageError, match="cannot be written as harbor") as raised:
        export(explained, "harbor", tmp_path / "out")
    assert "a bug" in (raised.value.cause or "")
    assert not (tmp_path / "out").exists()


def test_a_misspelled_format_or_split_is_told_with_the_nearest(tmp_path: Path) -> None:
    made = repairs(tmp_path)
    with pytest.raises(UsageError, match="no format 'trl-stf'") as raised:
        export(made, "trl-stf", tmp_path / "out")
    assert raised.value.hint == "Did you mean trl-sft?"
    with pytest.raises(UsageError, match="no split 'hold-out'") as raised:
        export(made, "parquet", tmp_path / "out", splits=["hold-out"])
    assert raised.value.hint == "Did you mean holdout?"


def test_a_folder_that_is_not_empty_is_replaced_only_by_force(tmp_path: Path) -> None:
    made, out = repairs(tmp_path / "versions"), tmp_path / "out"
    out.mkdir()
    export(made, "openai-chat", out)
    with pytest.raises(UsageError, match="not empty"):
        export(made, "sharegpt", out)
    assert "messages" in (out / "train.jsonl").read_text()
    export(made, "parquet", out, force=True)
    assert not (out / "train.jsonl").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "versions"]


def test_force_does_not_replace_what_is_no_export(tmp_path: Path) -> None:
    made = repairs(tmp_path / "versions")
    for folder in (tmp_path, made.folder, Path.cwd(), Path.home()):
        with pytest.raises(UsageError, match="even with --force"):
            export(made, "parquet", folder, force=True)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="is a file"):
        export(made, "parquet", file, force=True)
    assert made.file("train").is_file()


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_what_stops_in_the_midst_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    made, out = repairs(tmp_path / "versions"), tmp_path / "out"
    export(made, "openai-chat", out)

    def stop(*arguments: object) -> None:
        raise raised

    with pytest.raises((KeyboardInterrupt, DatasetError)) as told:
        export(made, "parquet", out, force=True, on_progress=stop)
    if isinstance(told.value, DatasetError):
        assert told.value.hint == "make room, or choose a folder on another disk"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "versions"]
    assert (out / "train.jsonl").is_file()


def test_what_was_there_comes_back_when_its_place_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = repairs(tmp_path / "versions"), tmp_path / "out"
    export(made, "openai-chat", out)
    usual = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name.startswith(".out.") and target == out:
            raise OSError(errno.EIO, "the disk is broken")
        return usual(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(DatasetError, match="nothing of it was kept"):
        export(made, "parquet", out, force=True)
    assert (out / "train.jsonl").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "versions"]


def test_a_disk_that_is_full_is_told_by_every_writer(tmp_path: Path) -> None:
    made = repairs(tmp_path / "versions")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    for to, name in (("openai-chat", "train.jsonl"), ("trl-sft", "train-00000")):
        with pytest.MonkeyPatch.context() as patch:
            usual = output.Output.path
            patch.setattr(
                output.Output,
                "path",
                lambda self, one, usual=usual, name=name: full if one == name else usual(self, one),
            )
            with pytest.raises(DatasetError, match="nothing of it was kept") as raised:
                export(made, to, tmp_path / to)
        assert "make room" in (raised.value.hint or "")
        assert not (tmp_path / to).exists()


def test_parquet_is_split_by_size_and_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "GROUP", 5)
    done = export(repairs(tmp_path / "versions"), "parquet", tmp_path / "out", shard_bytes=1)
    train = [name for name in done.files if name.startswith("train")]
    assert train == [f"train-{number:05}-of-00003.parquet" for number in range(3)]
    tables = [pq.read_table(done.folder / name) for name in train]
    assert [table.num_rows for table in tables] == [5, 5, 3]
    ids = pa.concat_tables(tables)["row_id"].to_pylist()
    assert ids == [f"{number:016x}" for number in range(13)]


def test_a_file_is_taken_over_whole_and_one_that_is_damaged_is_told(tmp_path: Path) -> None:
    made = repairs(tmp_path / "versions")
    done = export(made, "parquet", tmp_path / "out")
    assert (done.folder / done.files[0]).read_bytes() == made.file("train").read_bytes()
    made.file("train").write_bytes(made.file("train").read_bytes()[:-9])
    for to in ("parquet", "openai-chat"):
        with pytest.raises(DatasetError, match="cannot be read as a part of a dataset"):
            export(made, to, tmp_path / to)
        assert not (tmp_path / to).exists()


def test_progress_tells_of_all_rows_that_are_asked_for(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    export(
        repairs(tmp_path / "versions"),
        "trl-sft",
        tmp_path / "out",
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(13, 15), (15, 15)]


def test_a_right_answer_with_several_wrong_ones_is_taught_once(tmp_path: Path) -> None:
    made = pairs(tmp_path / "versions")
    rows = {to: export(made, to, tmp_path / to).rows["train"] for to in ("trl-sft", "trl-dpo")}
    assert rows == {"trl-sft": 2, "trl-dpo": 3}
    kto = export(made, "trl-kto", tmp_path / "kto")
    labels = pq.read_table(kto.folder / kto.files[-1])["label"].to_pylist()
    assert labels == [True, False, False, True, False]


def test_the_card_of_a_hub_folder_is_what_was_given(tmp_path: Path) -> None:
    made = repairs(tmp_path / "versions")
    done = export(
        made,
        "huggingface",
        tmp_path / "out",
        body="# Mine\n\n![funnel](pictures/funnel.svg)",
        pictures={"pictures/funnel.svg": b"<svg/>"},
    )
    front, _, body = (done.folder / "README.md").read_text().removeprefix("---\n").partition("---")
    told = json.loads(front)
    assert body.strip() == "# Mine\n\n![funnel](pictures/funnel.svg)"
    assert (done.folder / "pictures/funnel.svg").read_bytes() == b"<svg/>"
    assert told["license"] == ["mit", "unknown"]
    assert told["size_categories"] == ["n<1K"]
    assert [one["split"] for one in told["configs"][0]["data_files"]] == ["train", "validation"]
    with pytest.raises(UsageError, match="not within the export"):
        export(made, "huggingface", tmp_path / "other", body="", pictures={"../../x": b""})


def test_croissant_knows_every_file_by_its_hash(tmp_path: Path) -> None:
    done = export(repairs(tmp_path / "versions"), "huggingface", tmp_path / "out")
    said = json.loads((done.folder / "croissant.json").read_text())
    files = {one["contentUrl"]: one for one in said["distribution"] if "sha256" in one}
    assert set(files) == {name for name in done.files if name.endswith(".parquet")}
    for name, one in files.items():
        command = ["sha256sum", str(done.folder / name)]
        summed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert summed.split()[0] == one["sha256"]
    assert said["license"] == ["https://spdx.org/licenses/MIT"]


def test_rows_that_others_cannot_rebuild_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        row(1, repo=ADDRESS),
        row(2, repo="/srv/repository"),
        row(3, repo=ADDRESS, language="go"),
        row(4, repo=ADDRESS, failing_tests=["test_total.py::test_it[a b]"]),
        row(5, repo="pypi:inflection>=0.5"),
    ]
    made = version(tmp_path / "versions", rows={"train": rows})
    done = export(made, "swebench", tmp_path / "out")
    assert done.rows == {"train": 1}
    assert done.left_out == {
        "name-of-a-test-has-a-space": 1,
        "other-language": 1,
        "repository-of-this-machine": 2,
    }
    none = version(tmp_path / "versions", rows={"train": rows[1:]})
    with pytest.raises(DatasetError, match="No row of") as raised:
        export(none, "harbor", tmp_path / "none")
    assert raised.value.cause is not None
    assert raised.value.cause.startswith("2 repository-of-this-machine")
    assert not (tmp_path / "none").exists()
