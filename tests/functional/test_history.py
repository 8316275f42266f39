"""Bugs that a repository once fixed, found in its history and proven by its tests of today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.conftest import Shell
from tests.past import Past, git

WORDS = """
def longest(words):
    best = words[0]
    for word in words:
        if len(word) > len(best):
            best = word
    return best


def initials(words):
    return "".join(word[:1] for word in words)


def joined(words, sep=","):
    if not words:
        return ""
    return sep.join(words)


def count(words):
    return len(words)
"""
TESTS = {
    "longest": 'assert longest(["a", "bb"]) == "bb"\n    assert longest([]) == ""',
    "initials": 'assert initials(["ab", ""]) == "a"',
    "joined": 'assert joined(["a", "b"]) == "a,b"',
    "count": 'assert count(["a", None, "b"]) == 2',
}
STARTED = WORDS.replace("word[:1]", "word[0]")


class Words(Past):
    """A repository of a module of words, whose functions get their tests one by one."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write("pkg/__init__.py", "")
        self.write("pkg/words.py", STARTED)
        self.test("joined")

    def test(self, name: str, path: str = "tests/test_words.py", module: str = "pkg.words") -> None:
        place = self.root / path
        known = place.read_text() if place.exists() else f"import {module} as words\n"
        body = TESTS[name].replace(f"{name}(", f"words.{name}(")
        self.write(path, known + f"def test_{name}():\n    {body}\n")


@pytest.fixture
def repo(tmp_path: Path) -> Words:
    """It is there and not committed yet."""
    return Words(tmp_path / "past")


def test_each_bug_of_the_past_is_found_whatever_became_of_its_commit(
    shell: Shell, repo: Words
) -> None:
    repo.write("vendor/lib.py", "def f():\n    return 1\n")
    repo.commit("Start")

    # A plain fix with its test; the test moves later.
    repo.edit("pkg/words.py", "word[0]", "word[:1]")
    repo.test("initials", "tests/test_early.py")
    plain = repo.commit("Fix crash on an empty word", "-m", "Fixes #3.")

    # A fix on a branch that is merged; the file has another name later.
    git(repo.root, "checkout", "-q", "-b", "side")
    repo.edit("pkg/words.py", "    best = words[0]\n", '    best = words[0] if words else ""\n')
    repo.test("longest")
    branched = repo.commit("longest: an empty list is no error (closes #4)")
    git(repo.root, "checkout", "-q", "main")
    repo.write("README", "Words.\n")
    repo.commit("Add a readme")
    git(repo.root, "merge", "-q", "--no-ff", "-m", "Merge the fix of #4", "side")
    git(repo.root, "mv", "pkg/words.py", "pkg/text.py")
    for path in ("tests/test_words.py", "tests/test_early.py"):
        repo.edit(path, "pkg.words", "pkg.text")
    git(repo.root, "mv", "tests/test_early.py", "tests/test_initials.py")
    repo.commit("Rename words to text")

    # A squashed branch: a fix among other files, generated and vendored ones too.
    repo.edit("pkg/text.py", "return len(words)", "return len([w for w in words if w is not None])")
    repo.edit("vendor/lib.py", "return 1", "return 2")
    repo.write("pkg/_version.py", 'VERSION = "1.1"\n')
    repo.write("docs/index.md", "# Words\n")
    repo.test("count", module="pkg.text")
    squashed = repo.commit("Fix count of missing words (#7)", "-m", "* wip\n* fix\n* docs")

    # A fix that was taken back, and one whose lines have changed since.
    repo.edit("pkg/text.py", 'sep=","', 'sep=", "')
    repo.commit("Fix separator")
    repo.edit("pkg/text.py", 'sep=", "', 'sep=","')
    repo.commit("Revert the separator, it broke users")
    repo.edit("vendor/lib.py", "return 2", "return 3")
    repo.commit("Fix vendored library")

    told = shell.run("history", "--repo", str(repo.root), "--json")
    assert told.code == 0, told.err
    assert told.summary["passed_over"]["merge"] == 1
    assert told.summary["passed_over"]["root"] == 1
    assert told.summary["fix_like"] == 4

    ran = shell.harvest(repo.root, "--source", "reverted")
    assert ran.code == 0, ran.err
    assert ran.summary["history"]["fix_like"] == 4
    assert ran.summary["by_source"]["reverted"]["valid"] == 3
    counts = ran.summary["candidates"]
    assert counts["made"] == counts["judged"] + counts["pruned"]
    assert counts["pruned_by_reason"] == ran.summary["history"]["pruned"]
    rows = shell.sql("SELECT origin, symbol, path, statement, failing_tests FROM examples")
    assert {(row["origin"], row["symbol"]) for row in rows} == {
        (plain, "initials"),
        (branched, "longest"),
        (squashed, "count"),
    }
    assert {row["path"] for row in rows} == {"pkg/text.py"}
    by_symbol = {row["symbol"]: row for row in rows}
    assert by_symbol["initials"]["failing_tests"] == ["tests/test_initials.py::test_initials"]
    assert by_symbol["initials"]["statement"] == "Fix crash on an empty word\n\nFixes #3."

    again = shell.harvest(repo.root, "--source", "reverted")
    assert again.summary["candidates"]["judged"] == 0
    assert again.summary["candidates"]["known"] >= 3
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.err
    assert replayed.summary["proven"] == 3


def test_fixes_go_before_mutants_where_both_are_wanted(shell: Shell, repo: Words) -> None:
    repo.commit("Start")
    repo.edit("pkg/words.py", "word[0]", "word[:1]")
    repo.test("initials")
    repo.commit("Fix crash on an empty word")
    ran = shell.harvest(repo.root, "--source", "mutated,reverted", "--max-candidates", "5")
    assert ran.code == 0, ran.err
    assert ran.summary["by_source"]["reverted"] == {"judged": 1, "valid": 1}
    assert ran.summary["by_source"]["mutated"]["judged"] == 4


def test_a_history_without_fixes_is_told_and_harms_nothing(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    told = shell.run("history", "--repo", str(root))
    assert told.code == 0, told.err
    assert "0 read like bug fixes" in told.out
    ran = shell.harvest(root, "--source", "reverted")
    assert ran.code == 0, ran.err
    assert ran.summary["candidates"]["judged"] == 0
    assert ran.summary["history"]["passed_over"] == {"root": 1}


def test_a_shallow_clone_is_said_to_be_one(
    shell: Shell, repository: Callable[..., Path], tmp_path: Path
) -> None:
    root = repository()
    (root / "README").write_text("more\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "More")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", str(clone))
    told = shell.run("history", "--repo", str(clone))
    assert told.code == 0, told.err
    assert "shallow" in told.err
    assert "--unshallow" in told.err


def test_a_mistyped_source_is_named(shell: Shell, repository: Callable[..., Path]) -> None:
    ran = shell.harvest(repository(), "--source", "revertd")
    assert ran.code == 2
    assert "revertd" in ran.err
    assert "reverted" in ran.err


def test_a_fix_that_is_the_newest_commit_is_mined_there_and_counted_once(
    shell: Shell, repo: Words
) -> None:
    repo.commit("Start")
    repo.edit("pkg/words.py", "word[0]", "word[:1]")
    repo.test("initials")
    repo.commit("Fix crash on an empty word")
    ran = shell.harvest(
        repo.root,
        *("--source", "mutated,mined", "--operators", "constant,return"),
        *("--max-candidates", "0"),
    )
    assert ran.code == 0, ran.err
    (held,) = shell.sql("SELECT count(*) AS n, count(DISTINCT source) AS sources FROM examples")
    assert held["sources"] == 2
    assert ran.summary["examples"]["total"] == held["n"]


def test_a_fix_is_judged_at_its_own_commit_where_the_newest_code_has_moved_on(
    shell: Shell, repo: Words
) -> None:
    repo.commit("Start")
    repo.edit("pkg/words.py", "word[0]", "word[:1]")
    repo.test("initials")
    fixed = repo.commit("Fix crash on an empty word")
    repo.edit("pkg/words.py", "len(words)", "len([w for w in words if w is not None])")
    repo.commit("Fix count of missing words")  # without a test: nothing would fail
    repo.edit(
        "pkg/words.py", '"".join(word[:1] for word in words)', '"".join(w[0:1] for w in words)'
    )
    repo.commit("Shorten")

    reverted = shell.harvest(repo.root, "--source", "reverted")
    assert reverted.summary["history"]["passed_over"]["conflict"] == 1
    ran = shell.harvest(repo.root, "--source", "mined")
    assert ran.code == 0, ran.err
    mined = ran.summary["mined"]
    assert (mined["fix_like"], mined["judged"], mined["kept"]) == (1, 1, 1)
    assert mined["passed_over"]["touches-no-test"] == 1
    assert ran.summary["by_source"]["mined"] == {"judged": 1, "valid": 1}
    (row,) = shell.sql(
        'SELECT source, origin, "commit", symbol, failing_tests FROM examples'
        " WHERE source = 'mined'"
    )
    assert (row["origin"], row["commit"]) == (fixed, fixed)
    assert row["failing_tests"] == ["tests/test_words.py::test_initials"]

    again = shell.harvest(repo.root, "--source", "mined")
    assert again.summary["mined"]["known"] == 1
    assert again.summary["mined"]["judged"] == 0
    replayed = shell.run("replay", "--all", "--where", "source = 'mined'", "--json")
    assert replayed.code == 0, replayed.out
    assert replayed.summary["rows"] == 1


def test_mining_stops_where_suites_cannot_be_run_any_more(shell: Shell, repo: Words) -> None:
    repo.write("tests/test_words.py", "import nothing_of_this_name\n")
    repo.commit("Start")
    for number in range(7):
        repo.write("pkg/words.py", STARTED + f"\nN = {number}\n")
        repo.write("tests/test_words.py", f"import nothing_of_this_name  # {number}\n")
        repo.commit(f"Fix number {number}")
    (repo.root / "tests/test_words.py").unlink()
    repo.test("joined")
    repo.commit("Make the tests run")
    ran = shell.harvest(repo.root, "--source", "mined")
    assert ran.code == 0, ran.err
    mined = ran.summary["mined"]
    assert mined["judged"] == 0
    passed = mined["passed_over"]
    assert passed.get("no-environment", 0) + passed.get("no-baseline", 0) == 6
    assert "could not be run" in ran.err
