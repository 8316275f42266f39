from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git import check_source, resolve


def _fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_path_means_the_commit_at_head(repo, git, cache):
    checkout = resolve(str(repo), cache)
    assert checkout.commit == git(repo, "rev-parse", "HEAD")
    assert checkout.tree == git(repo, "rev-parse", "HEAD^{tree}")
    assert checkout.name == str(repo)
    assert checkout.dirty is False
    assert checkout.read("src/one.py") == b"ONE = 1\n"
    assert checkout.read("missing") is None


def test_resolving_and_exporting_touch_nothing_of_the_repository(repo, git, cache, tmp_path):
    (repo / "README").write_text("changed\n")
    (repo / "new.py").write_text("")
    git(repo, "stash", "push", "--quiet", "--", "README")
    (repo / "README").write_text("changed again\n")
    # A stale index: `git status` would refresh it.
    os.utime(repo / "src" / "one.py", (time.time(), time.time() + 5))
    before = _fingerprint(repo)
    checkout = resolve(str(repo), cache)
    checkout.export(tmp_path / "out")
    assert _fingerprint(repo) == before
    assert checkout.dirty is True
    assert (tmp_path / "out" / "README").read_text() == "read me\n"


def test_the_repository_that_a_hook_runs_for_is_neither_read_nor_written(
    repo, git, cache, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", "--initial-branch=theirs", str(other))
    git(other, "commit", "--quiet", "--allow-empty", "-m", "Theirs")
    head = git(repo, "rev-parse", "HEAD")
    before = sorted(path for path in other.rglob("*") if path.is_file())
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert resolve(str(repo), cache).commit == head
    assert resolve(repo.as_uri(), cache).read("README") == b"read me\n"
    assert sorted(path for path in other.rglob("*") if path.is_file()) == before
    assert git(other, "for-each-ref", "--format=%(refname)") == "refs/heads/theirs"


def test_a_folder_inside_a_repository_means_the_whole_repository(repo, cache):
    checkout = resolve(str(repo / "src"), cache)
    assert checkout.name == str(repo)
    assert "inside the repository" in checkout.notes[0]


def test_a_worktree_and_a_bare_repository_are_repositories(repo, git, cache, tmp_path):
    git(repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare")
    commits = {resolve(str(tmp_path / name), cache).commit for name in ("side", "bare", "repo")}
    assert len(commits) == 1


def test_a_url_is_fetched_and_refreshed_on_the_next_use(repo, git, cache):
    url = repo.as_uri()
    first = resolve(url, cache)
    assert first.name == url
    (repo / "two.py").write_text("TWO = 2\n")
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "Two")
    second = resolve(url, cache)
    assert second.commit == git(repo, "rev-parse", "HEAD") != first.commit
    assert second.read("two.py") == b"TWO = 2\n"


def test_a_url_that_is_gone_serves_from_what_was_kept(repo, cache, tmp_path):
    url = repo.as_uri()
    first = resolve(url, cache)
    repo.rename(tmp_path / "elsewhere")
    second = resolve(url, cache)
    assert second.commit == first.commit
    assert "could not be refreshed" in second.notes[0]


def test_the_nearest_tag_gives_the_version(repo, git, cache):
    git(repo, "tag", "v1.2.3")
    assert resolve(str(repo), cache).version == "1.2.3"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/nowhere/at/all", "does not exist"),
        ("gopher://example.org/x", "no URL that flywheel fetches"),
        ("ext::sh -c true", "does not exist"),
        (__file__, "is a file"),
        ("pypi:toolz=1", "names no release"),
        ("pypi:", "names no release"),
    ],
)
def test_what_can_be_no_repository_is_said_to_be_none_before_anything_is_done(
    source, words, git, cache
):
    for what in (lambda: resolve(source, cache), lambda: check_source(source)):
        with pytest.raises(UsageError, match=words) as caught:
            what()
        assert caught.value.hint


def test_what_may_be_a_repository_is_not_fetched_to_see(repo):
    for source in (
        "pypi:toolz",
        "pypi:toolz==1.0",
        "pypi:toolz>=0.9",
        "https://127.0.0.1:1/x.git",
        "git@127.0.0.1:x.git",
        str(repo),
    ):
        check_source(source)


def test_a_url_of_nothing_is_said_to_be_none(git, cache):
    with pytest.raises(RepositoryError, match="cannot be fetched") as caught:
        resolve("file:///nowhere/at/all", cache)
    assert caught.value.hint


def test_a_plain_folder_is_told_how_to_become_a_repository(tmp_path, git, cache):
    folder = tmp_path / "plain"
    folder.mkdir()
    with pytest.raises(RepositoryError, match="not a git repository") as caught:
        resolve(str(folder), cache)
    assert "git init" in caught.value.hint


@pytest.mark.parametrize("as_url", [False, True])
def test_a_repository_without_commits_is_refused(tmp_path, git, cache, as_url):
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "--quiet")
    with pytest.raises(RepositoryError, match="has no commits"):
        resolve(folder.as_uri() if as_url else str(folder), cache)


def test_credentials_in_a_url_are_never_shown(git, cache):
    with pytest.raises(RepositoryError) as caught:
        resolve("https://user:secret@127.0.0.1:1/x.git", cache)
    assert "secret" not in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
