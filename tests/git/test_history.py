"""Commits stream by with what they changed; contents are read and merged by their hashes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flywheel.core.errors import RepositoryError
from flywheel.git import Blobs, Commit, is_shallow, log, merge, resolve
from tests.git.conftest import Git


def _history(repo: Path) -> dict[str, Commit]:
    return {commit.subject: commit for commit in log(repo / ".git", "HEAD")}


def test_each_commit_is_told_with_its_files_newest_first(repo: Path, git: Git) -> None:
    (repo / "src" / "one.py").write_text("ONE = 1\nTWO = 2\n")
    (repo / "logo.png").write_bytes(b"\x89PNG\0\1\2")
    git(repo, "add", "-A")
    git(
        repo,
        "commit",
        "-q",
        "-m",
        "Add two\n\nand a picture\x02 :of it",
        "-m",
        ":100644 odd\tlines\there",
    )
    git(repo, "mv", "src/one.py", "src/a b\tc.py")
    git(repo, "rm", "-q", "README")
    git(repo, "commit", "-q", "-m", "Move")
    commits = list(log(repo / ".git", "HEAD"))
    assert [commit.subject for commit in commits] == ["Move", "Add two", "Start"]
    moved, added, start = commits
    assert [(c.status, c.old_path, c.path) for c in moved.changes] == [
        ("D", "README", "README"),
        ("R", "src/one.py", "src/a b\tc.py"),
    ]
    picture, one = added.changes
    assert (picture.status, picture.binary, picture.added) == ("A", True, 0)
    assert (one.status, one.added, one.removed, one.binary) == ("M", 1, 0, False)
    assert added.body.startswith("and a picture")
    assert added.body.endswith(":100644 odd\tlines\there")
    assert added.parents == (start.oid,)
    assert start.parents == ()
    assert moved.oid == git(repo, "rev-parse", "HEAD")


def test_a_merge_names_its_parents_and_no_files(repo: Path, git: Git) -> None:
    git(repo, "checkout", "-q", "-b", "side")
    (repo / "side.py").write_text("SIDE = 1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Side")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-ff", "-m", "Merge", "side")
    history = _history(repo)
    assert len(history["Merge"].parents) == 2
    assert history["Merge"].changes == ()
    assert [change.path for change in history["Side"].changes] == ["side.py"]


def test_a_submodule_is_told_from_a_file(repo: Path, git: Git) -> None:
    head = git(repo, "rev-parse", "HEAD")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    git(repo, "commit", "-q", "-m", "Add a submodule")
    (change,) = _history(repo)["Add a submodule"].changes
    assert change.submodule


def test_the_edge_of_a_shallow_clone_has_no_parents(repo: Path, git: Git, tmp_path: Path) -> None:
    for number in range(3):
        (repo / "README").write_text(f"{number}\n")
        git(repo, "commit", "-q", "-a", "-m", f"Say {number}")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{repo}", str(clone))
    assert is_shallow(clone / ".git")
    assert not is_shallow(repo / ".git")
    commits = list(log(clone / ".git", "HEAD"))
    assert [commit.subject for commit in commits] == ["Say 2", "Say 1"]
    assert commits[-1].parents == ()


def test_a_linked_work_tree_of_a_shallow_clone_is_shallow(
    repo: Path, git: Git, tmp_path: Path
) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", "More")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repo}", str(clone))
    git(clone, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    assert is_shallow(Path(git(tmp_path / "side", "rev-parse", "--absolute-git-dir")))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("", 0), (" -5 +0000", 0), (f" {10**12} +0000", 0), (" 86400 +0000", 86_400)],
    ids=["none", "before 1970", "no year", "plain"],
)
def test_a_commit_without_a_usable_time_is_read(
    repo: Path, git: Git, tmp_path: Path, written: str, seconds: int
) -> None:
    who = "A <a@example.org>"
    tree, parent = git(repo, "rev-parse", "HEAD^{tree}", "HEAD").split()
    odd = tmp_path / "commit"
    odd.write_text(
        f"tree {tree}\nparent {parent}\nauthor {who} 1 +0000\ncommitter {who}{written}\n\nOdd\n"
    )
    oid = git(repo, "hash-object", "-t", "commit", "-w", "--literally", str(odd))
    assert next(log(repo / ".git", oid)).committed_at == seconds
    assert resolve(str(repo), tmp_path / "cache", commit=oid).committed_at == seconds


def test_leaving_early_and_a_missing_object_are_both_survived(repo: Path, git: Git) -> None:
    history = log(repo / ".git", "HEAD")
    next(history)
    history.close()
    parent = git(repo, "rev-parse", "HEAD")
    (repo / "README").write_text("more\n")
    git(repo, "commit", "-q", "-a", "-m", "More")
    (repo / ".git" / "objects" / parent[:2] / parent[2:]).unlink()
    with pytest.raises(RepositoryError, match="history") as caught:
        list(log(repo / ".git", "HEAD"))
    assert caught.value.hint


def test_the_users_own_settings_of_log_change_nothing(repo: Path, git: Git) -> None:
    (repo / "src" / "one.py").write_text("ONE = 2\n")
    git(repo, "commit", "-q", "-a", "-m", "Change")
    plain = list(log(repo / ".git", "HEAD"))
    for name, value in (
        ("log.showSignature", "true"),
        ("diff.renames", "copies"),
        ("log.diffMerges", "first-parent"),
        ("diff.noprefix", "true"),
        ("color.ui", "always"),
        ("log.decorate", "full"),
        ("diff.external", "false"),
    ):
        git(repo, "config", name, value)
    assert list(log(repo / ".git", "HEAD")) == plain


def test_contents_are_read_by_hash(repo: Path, git: Git) -> None:
    oid = git(repo, "rev-parse", "HEAD:src/one.py")
    with Blobs(repo / ".git") as blobs:
        assert blobs.read(oid) == b"ONE = 1\n"
        assert blobs.read("0" * 40) is None
        assert blobs.read(oid) == b"ONE = 1\n"
    shutil.rmtree(repo)


BASE = b"".join(b"line %d\n" % number for number in range(20))


@pytest.mark.parametrize(
    ("current", "other", "expected"),
    [
        (BASE, BASE.replace(b"line 3\n", b"three\n"), BASE.replace(b"line 3\n", b"three\n")),
        (
            b"new\n" + BASE.replace(b"line 17\n", b""),
            BASE.replace(b"line 3\n", b"three\n"),
            b"new\n" + BASE.replace(b"line 17\n", b"").replace(b"line 3\n", b"three\n"),
        ),
        (BASE.replace(b"line 3\n", b"drei\n"), BASE.replace(b"line 3\n", b"three\n"), None),
        (BASE.replace(b"3", b"\0"), BASE.replace(b"line 5\n", b""), None),
    ],
    ids=["plain", "moved", "conflict", "binary"],
)
def test_a_change_is_merged_into_what_became_of_the_file(
    current: bytes, other: bytes, expected: bytes | None
) -> None:
    assert merge(current, BASE, other) == expected
