from __future__ import annotations

import os
import subprocess

import pytest

from flywheel.core.errors import RepositoryError
from flywheel.git import Checkout, resolve


def _commit(git, repo):
    git(repo, "add", "-A", "-f")
    git(repo, "commit", "--quiet", "-m", "More")


def test_odd_names_modes_and_links_survive_the_export(repo, git, cache, tmp_path):
    odd = [
        "a b.py",
        'quote".py',
        "new\nline.py",
        "tab\t.py",
        "ünï.py",
        "-dash.py",
        os.fsdecode(b"\xff"),
    ]
    for name in odd:
        (repo / name).write_text(name, errors="surrogateescape")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "inside").symlink_to("src/one.py")
    (repo / "outside").symlink_to("/etc/passwd")
    (repo / "loop").symlink_to("loop")
    _commit(git, repo)
    out = tmp_path / "out"
    resolve(str(repo), cache).export(out)
    for name in odd:
        assert (out / name).read_bytes() == os.fsencode(name)
    assert os.access(out / "run.sh", os.X_OK)
    assert not os.access(out / "README", os.X_OK)
    assert (out / "outside").readlink().as_posix() == "/etc/passwd"
    assert (out / "loop").is_symlink()
    assert (out / "inside").read_text() == "ONE = 1\n"


def test_files_carry_the_time_of_the_commit(repo, cache, tmp_path):
    checkout = resolve(str(repo), cache)
    checkout.export(tmp_path / "out")
    assert (tmp_path / "out" / "README").stat().st_mtime == checkout.committed_at == 1580608922


def test_attributes_and_filters_change_nothing(repo, git, cache, tmp_path):
    marker = tmp_path / "ran"
    git(repo, "config", "filter.evil.smudge", f"touch {marker}; cat")
    (repo / "tests").mkdir()
    (repo / "tests" / "test_one.py").write_text("# $Format:%H$\n")
    (repo / ".gitattributes").write_text(
        "tests export-ignore\n*.py export-subst filter=evil\nREADME text eol=crlf\n"
    )
    _commit(git, repo)
    marker.unlink(missing_ok=True)
    resolve(str(repo), cache).export(tmp_path / "out")
    assert (tmp_path / "out" / "tests" / "test_one.py").read_text() == "# $Format:%H$\n"
    assert (tmp_path / "out" / "README").read_bytes() == b"read me\n"
    assert not marker.exists()


def test_submodules_are_left_empty_and_told(repo, git, cache, tmp_path):
    commit = git(repo, "rev-parse", "HEAD")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/sub")
    git(repo, "commit", "--quiet", "-m", "Submodule")
    checkout = resolve(str(repo), cache)
    checkout.export(tmp_path / "out")
    assert "vendor/sub" in checkout.notes[0]
    assert list((tmp_path / "out" / "vendor" / "sub").iterdir()) == []


def test_a_path_that_leaves_the_tree_is_refused(repo, git, cache, tmp_path):
    blob = git(repo, "rev-parse", "HEAD:README")
    inner = subprocess.run(
        ["git", "mktree"],
        cwd=repo, input=f"100644 blob {blob}\tx\n", capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    outer = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
        cwd=repo, input=b"40000 ..\0" + bytes.fromhex(inner), capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    checkout = Checkout("x", "0" * 40, outer, 0, dirty=False, git_dir=repo / ".git")
    with pytest.raises(RepositoryError, match="unsafe path"):
        checkout.export(tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "x").exists()


def test_many_files_are_exported_and_equal_what_git_would_check_out(repo, git, cache, tmp_path):
    for number in range(2000):
        folder = repo / f"pkg{number % 40}"
        folder.mkdir(exist_ok=True)
        (folder / f"m{number}.py").write_text(f"N = {number}\n" * (number % 50))
    _commit(git, repo)
    out = tmp_path / "out"
    resolve(str(repo), cache).export(out)
    git(out, "--git-dir", str(repo / ".git"), "--work-tree", ".", "diff", "--exit-code", "HEAD")
    assert sum(path.is_file() for path in out.rglob("*")) == 2002
