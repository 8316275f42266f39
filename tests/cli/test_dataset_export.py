"""`flywheel dataset export` and `push`, as a person or a program calls them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from flywheel.curate import Version
from flywheel.workspace import Workspace
from tests.cli.conftest import Ran
from tests.fakes.exports import repairs
from tests.fakes.hub import Hub, hub

Call = Callable[..., Ran]
# Its client of HTTP would have its own library call it in another way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def made(folder: Path) -> Version:
    """A version in the workspace of the current folder."""
    return repairs(Workspace(folder, "current folder").datasets)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_secretOfTheTest")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it speaks another protocol
    with hub() as started:
        yield started


def test_one_format_goes_to_the_folder_itself(made: Version, flywheel: Call) -> None:
    done = flywheel("dataset", "export", made.id, "--to", "openai-chat", "--out", "out")
    assert done.code == 0, done.err
    assert "train 13, validation 2 rows; 2 files" in done.out
    assert "The hold-out (1 row) stays here: --split holdout" in done.err
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "train.jsonl",
        "validation.jsonl",
    ]


def test_several_formats_go_to_a_folder_each(made: Version, flywheel: Call) -> None:
    done = flywheel(
        *("dataset", "export", "repair-sft", "--to", "trl-sft", "--to", "swebench"),
        *("--out", "out", "--split", "holdout", "--split", "validation", "--json"),
    )
    assert done.code == 0, done.err
    assert [(one["format"], one["rows"]) for one in done.json] == [
        ("trl-sft", {"validation": 2, "test": 1}),
        ("swebench", {"validation": 1, "test": 1}),
    ]
    assert done.json[1]["left_out"] == {"repository-of-this-machine": 1}
    assert Path("out/swebench/test.parquet").is_file()
    assert "hold-out" not in done.err


def test_rows_that_are_left_out_are_told(made: Version, flywheel: Call) -> None:
    done = flywheel("dataset", "export", made.id, "--to", "swebench", "--out", "out")
    assert "cannot hold some rows: 1 repository-of-this-machine" in done.err


def test_what_is_wrong_is_told_before_anything_is_written(made: Version, flywheel: Call) -> None:
    wrong = flywheel(
        "dataset", "export", made.id, "--to", "parquet", "--to", "trl-dpo", "--out", "o"
    )
    assert wrong.code == 2
    assert "a wrong answer beside the right one" in wrong.err
    assert "these fit: huggingface, parquet" in wrong.err
    nothing = flywheel("dataset", "export", made.id)
    assert nothing.code == 2
    assert "--formats" in nothing.err
    absent = flywheel("dataset", "export", "repair-stf", "--to", "parquet", "--out", "o")
    assert absent.code == 2
    assert "Did you mean" in absent.err
    assert not Path("o").exists()


def test_a_folder_is_replaced_by_force_alone(made: Version, flywheel: Call) -> None:
    arguments = ("dataset", "export", made.id, "--to", "parquet", "--out", "out")
    assert flywheel(*arguments).code == 0
    again = flywheel(*arguments)
    assert again.code == 2
    assert "--force" in again.err
    assert flywheel(*arguments, "--force").code == 0


def test_formats_are_listed_with_what_they_are_for(made: Version, flywheel: Call) -> None:
    shown = flywheel("dataset", "export", "--formats")
    assert "trl-dpo       TRL's DPO trainer" in shown.out
    listed = flywheel("dataset", "export", "--formats", "--json").json
    assert {one["format"]: one["tasks"] for one in listed}["openai-dpo"] == ["preference"]


def test_a_push_tells_what_it_sent_and_a_second_sends_nothing(
    made: Version, flywheel: Call, server: Hub
) -> None:
    arguments = ("dataset", "push", made.id, "--repo", "acme/repairs", "--endpoint", server.address)
    planned = flywheel(*arguments, "--dry-run")
    assert planned.code == 0, planned.err
    assert "would send" in planned.out
    assert "names folders of this machine, such as /home/someone/repository" in planned.err
    assert server.repos == {}
    done = flywheel(*arguments)
    assert done.code == 0, done.err
    assert "(private, new)" in done.out
    assert f"tag {made.manifest.hash}" in done.out
    repo = server.repos["acme/repairs"]
    assert repo.tags == {made.manifest.hash: repo.head}
    assert not any("test" in path for path in repo.files)
    assert f"  sent {len(repo.files)} files" in done.out
    assert planned.out.splitlines()[1] == done.out.splitlines()[1].replace("sent", "would send")
    again = flywheel(*arguments, "--json")
    assert again.json["sent"] == again.json["deleted"] == []
    assert again.json["unchanged"] == len(repo.files)
    assert again.json["commit"] == repo.head
    assert "secret" not in json.dumps([planned.out, done.out, done.err, again.out, again.err])
    left = [path.name for path in made.folder.parent.iterdir()]
    assert left == [made.folder.name]


def test_a_hub_that_refuses_ends_the_command_with_what_to_do(
    made: Version, flywheel: Call, server: Hub
) -> None:
    server.failing["/api/repos/create"] = (403, "You don't have the rights")
    done = flywheel(
        *("dataset", "push", made.id, "--repo", "acme/repairs", "--endpoint", server.address)
    )
    assert done.code == 1
    assert "may not write to acme/repairs" in done.err
    assert "HTTP 403: You don't have the rights" in done.err
    assert "secret" not in done.err
