"""Two commits of one repository: where they part, and how far apart they are."""

from __future__ import annotations

import pytest

from flywheel.core.errors import UsageError
from flywheel.git import commits_behind, merge_base, resolve


def _commit(repo, git, name):
    (repo / name).write_text("x = 1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", name)
    return git(repo, "rev-parse", "HEAD")


def test_a_branch_is_compared_with_where_it_began(repo, git, cache):
    began = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "--quiet", "-b", "work")
    _commit(repo, git, "two.py")
    git(repo, "checkout", "--quiet", "main")
    _commit(repo, git, "three.py")
    git(repo, "checkout", "--quiet", "work")
    assert merge_base(resolve(str(repo), cache), "main") == began


@pytest.mark.parametrize("revision", ["nothing", "", "--all", "HEAD~9"])
def test_a_revision_that_is_not_there_is_named(repo, cache, revision):
    with pytest.raises(UsageError) as caught:
        merge_base(resolve(str(repo), cache), revision)
    assert repr(revision) in caught.value.message


def test_histories_without_a_common_commit_are_refused(repo, git, cache):
    git(repo, "checkout", "--quiet", "--orphan", "other")
    _commit(repo, git, "four.py")
    with pytest.raises(UsageError) as caught:
        merge_base(resolve(str(repo), cache), "main")
    assert "no commit in common" in caught.value.message


def test_commits_are_counted_from_one_to_another(repo, git, cache):
    first = git(repo, "rev-parse", "HEAD")
    _commit(repo, git, "two.py")
    last = _commit(repo, git, "three.py")
    git_dir = resolve(str(repo), cache).git_dir
    assert commits_behind(git_dir, first, last) == 2
    assert commits_behind(git_dir, last, first) == 0
    assert commits_behind(git_dir, "0" * 40, last) is None
    assert commits_behind(git_dir, first, "0" * 40) is None


def test_in_a_shallow_clone_the_missing_commits_are_the_cause(repo, git, cache, tmp_path):
    _commit(repo, git, "two.py")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{repo}", str(clone))
    with pytest.raises(UsageError) as caught:
        merge_base(resolve(str(clone), cache), "HEAD~1")
    assert "shallow" in caught.value.cause
    assert "--unshallow" in caught.value.hint
