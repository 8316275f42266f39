"""Push: a Hub has what the export has, gets only what changed, and its refusals are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from flywheel.core.errors import DatasetError, UsageError
from flywheel.curate.export import export, shards
from flywheel.curate.push import Pushed, push
from tests.fakes.exports import repairs
from tests.fakes.hub import Hub, Repo, hub

# Its client of HTTP would have its own library call it in another way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
TOKEN = "hf_secretOfTheTest"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it speaks another protocol
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with hub() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export with three shards of the rows to train with."""
    monkeypatch.setattr(shards, "GROUP", 5)
    made = repairs(tmp_path / "versions")
    return export(made, "huggingface", tmp_path / "out", shard_bytes=1).folder


def pushed(server: Hub, folder: Path, **more: object) -> Pushed:
    options: dict[str, object] = {"tag": "abc", "message": "A version", "endpoint": server.address}
    return push(folder, "acme/repairs", **(options | more))  # type: ignore[arg-type]


def test_a_hub_has_what_the_folder_has_in_one_commit(server: Hub, folder: Path) -> None:
    done = pushed(server, folder)
    repo = server.repos["acme/repairs"]
    files = {one.relative_to(folder).as_posix(): one for one in folder.rglob("*") if one.is_file()}
    assert repo.files == {name: path.read_bytes() for name, path in files.items()}
    assert repo.private
    assert len(repo.commits) == 1
    assert server.puts() == 4
    assert repo.tags == {"abc": repo.head}
    assert (done.created, done.private, done.tagged, done.commit) == (True, True, True, repo.head)
    assert set(done.sent) == set(files)
    assert server.tokens == {f"Bearer {TOKEN}"}


def test_what_is_there_already_is_not_sent_again(server: Hub, folder: Path) -> None:
    first = pushed(server, folder)
    sent = server.puts()
    again = pushed(server, folder)
    assert again.sent == again.deleted == ()
    assert again.unchanged == len(first.sent)
    assert (again.commit, again.tagged, again.created) == (first.commit, False, False)
    assert len(server.repos["acme/repairs"].commits) == 1
    assert server.puts() == sent


def test_one_changed_shard_is_the_only_one_sent(server: Hub, folder: Path) -> None:
    pushed(server, folder)
    before = server.puts()
    changed = folder / "data" / "train-00001-of-00003.parquet"
    changed.write_bytes(changed.read_bytes()[:-4] + b"PAR2")
    done = pushed(server, folder, tag="def")
    assert done.sent == ("data/train-00001-of-00003.parquet",)
    assert server.puts() == before + 1
    assert server.repos["acme/repairs"].commits[1] == ["data/train-00001-of-00003.parquet"]
    assert set(server.repos["acme/repairs"].tags) == {"abc", "def"}


def test_rows_that_are_no_more_are_deleted_and_other_files_stay(server: Hub, folder: Path) -> None:
    pushed(server, folder)
    repo = server.repos["acme/repairs"]
    repo.files["notes.md"] = b"by hand"
    (folder / "data" / "train-00002-of-00003.parquet").unlink()
    done = pushed(server, folder)
    assert done.deleted == ("data/train-00002-of-00003.parquet",)
    assert "data/train-00002-of-00003.parquet" not in repo.files
    assert repo.files["notes.md"] == b"by hand"


def test_a_dry_run_says_what_would_go_and_changes_nothing(server: Hub, folder: Path) -> None:
    planned = pushed(server, folder, dry_run=True)
    assert server.repos == {}
    assert planned.created
    assert planned.commit is None
    done = pushed(server, folder)
    assert (planned.sent, planned.bytes) == (done.sent, done.bytes)
    server.asked.clear()
    again = pushed(server, folder, dry_run=True)
    assert (again.sent, again.commit) == ((), done.commit)
    assert all(method == "GET" for method, _ in server.asked)


def test_a_public_repository_is_pushed_to_only_by_that_word(server: Hub, folder: Path) -> None:
    server.repos["acme/repairs"] = Repo(private=False)
    with pytest.raises(UsageError, match="is public") as raised:
        pushed(server, folder)
    assert "--public" in (raised.value.hint or "")
    assert server.repos["acme/repairs"].files == {}
    assert not pushed(server, folder, public=True).private
    made = push(folder, "acme/other", tag="a", message="m", public=True, endpoint=server.address)
    assert made.created
    assert not server.repos["acme/other"].private


def test_another_push_at_the_same_time_is_not_overwritten(server: Hub, folder: Path) -> None:
    pushed(server, folder)
    repo = server.repos["acme/repairs"]
    (folder / "README.md").write_text("---\n{}\n---\n\nchanged\n")

    def meanwhile(text: str) -> None:
        if text.startswith("sending"):
            repo.head = "1" * 40

    with pytest.raises(DatasetError, match="changed or made by another") as raised:
        pushed(server, folder, on_status=meanwhile)
    assert raised.value.hint == "push again"
    assert len(repo.commits) == 1


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (401, "does not know who", "hf auth login"),
        (403, "may not write to acme/repairs", "what acme has"),
        (404, "not there", "look at the name"),
        (409, "by another", "push again"),
        (429, "too often", "wait"),
        (503, "failed", "not sent again"),
    ],
)
def test_what_the_hub_refuses_is_told_without_the_token(
    server: Hub, folder: Path, status: int, words: str, hint: str
) -> None:
    server.failing["/api/repos/create"] = (status, "words of the server")
    with pytest.raises(DatasetError, match=words) as raised:
        pushed(server, folder)
    assert hint in (raised.value.hint or "")
    assert raised.value.cause == f"HTTP {status}: words of the server"
    assert TOKEN not in f"{raised.value.message}{raised.value.cause}{raised.value.hint}"


def test_a_hub_that_is_not_there_is_told(server: Hub, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DatasetError, match="cannot be reached") as raised:
        pushed(server, folder, endpoint=f"http://127.0.0.1:{port}")
    assert "--endpoint" in (raised.value.hint or "")


@pytest.mark.parametrize("repo", ["repairs", "acme/a/b", "acme/-x..y"])
def test_a_name_that_is_none_is_told(server: Hub, folder: Path, repo: str) -> None:
    with pytest.raises(UsageError, match="no repository of a Hub"):
        push(folder, repo, tag="a", message="m", endpoint=server.address)


def test_offline_by_order_is_told(
    server: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match="HF_HUB_OFFLINE"):
        pushed(server, folder)


def test_an_upload_that_fails_in_the_midst_is_told_as_what_the_hub_said(
    server: Hub, folder: Path
) -> None:
    server.failing["/_large/"] = (403, "no room")
    with pytest.raises(DatasetError, match="may not write to acme/repairs"):
        pushed(server, folder)
    assert server.repos["acme/repairs"].commits == []
    server.failing.clear()
    assert pushed(server, folder).commit == server.repos["acme/repairs"].head
