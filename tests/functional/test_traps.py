"""What becomes of a bug's fix in a history: each trap planted in a small repository of its own.

Each test plants one bug and its fix, does to the history what histories do, and harvests it by both
ways: undone in the newest code (`reverted`), and judged at its own commit (`mined`).
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import Shell
from tests.past import GIT, Past, git

pytestmark = pytest.mark.slow  # each harvests twice

BROKEN = """
def initials(words):
    return "".join(word[0] for word in words)


def joined(words, sep=","):
    if not words:
        return ""
    return sep.join(words)
"""
FIXED = BROKEN.replace("word[0]", "word[:1]")
JOINED = 'def test_joined():\n    assert words.joined(["a", "b"]) == "a,b"\n'
INITIALS = 'def test_initials():\n    assert words.initials(["ab", ""]) == "a"\n'
IMPORT = "from pkg import words\n"
CODE, TEST = "pkg/words.py", "tests/test_words.py"
BOTH = ("reverted", "mined")
FIX = "Fix crash on an empty word"


class Trap(Past):
    """A repository with the bug in it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write("pkg/__init__.py", "")
        self.write(CODE, BROKEN)
        self.write(TEST, IMPORT + JOINED)
        self.commit("Start")

    def fix(self, message: str = FIX, *more: str) -> str:
        """The fix with its test."""
        self.write(CODE, FIXED)
        self.write(TEST, IMPORT + JOINED + INITIALS)
        return self.commit(message, *more)


@dataclass(frozen=True)
class Found:
    """What the two harvests came to."""

    rows: dict[str, list[dict[str, Any]]]
    summaries: dict[str, dict[str, Any]]

    def of(self, source: str) -> list[dict[str, Any]]:
        return self.rows[source]

    def origins(self, source: str) -> Counter[str]:
        return Counter(row["origin"] for row in self.of(source))

    def places(self, source: str) -> list[tuple[str, str]]:
        return [(row["origin"], row["path"]) for row in self.of(source)]

    def passed(self, source: str) -> dict[str, int]:
        told = self.summaries[source]["history" if source == "reverted" else "mined"]
        assert isinstance(told["passed_over"], dict)
        return told["passed_over"]


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "trap")


@pytest.fixture
def harvested(tmp_path: Path, cache: Path) -> Callable[[Path], Found]:
    """Harvest by both ways, each in a workspace of its own: a row that both find is kept once."""

    def run(root: Path) -> Found:
        rows, summaries = {}, {}
        for source in BOTH:
            shell = Shell(tmp_path / source, cache)
            shell.folder.mkdir()
            ran = shell.harvest(root, "--source", source, "--max-candidates", "0")
            assert ran.code == 0, ran.err
            assert ran.summary["ended"] == "exhausted"
            summaries[source] = ran.summary
            rows[source] = shell.sql(
                'SELECT source, origin, "commit", path, patch, statement, failing_tests'
                " FROM examples"
                " ORDER BY path"
            )
            assert {row["source"] for row in rows[source]} <= {source}
        return Found(rows, summaries)

    return run


Harvested = Callable[[Path], Found]


def test_a_file_that_was_renamed_since(trap: Trap, harvested: Harvested) -> None:
    fixed = trap.fix()
    git(trap.root, "mv", CODE, "pkg/text.py")
    trap.edit(TEST, "from pkg import words", "from pkg import text as words")
    trap.commit("Rename words to text")
    found = harvested(trap.root)
    assert found.places("reverted") == [(fixed, "pkg/text.py")]
    assert found.places("mined") == [(fixed, CODE)]


def test_a_file_that_the_fix_itself_renames(trap: Trap, harvested: Harvested) -> None:
    git(trap.root, "mv", CODE, "pkg/text.py")
    trap.edit("pkg/text.py", "word[0]", "word[:1]")
    trap.write(TEST, "from pkg import text as words\n" + JOINED + INITIALS)
    fixed = trap.commit(FIX)
    found = harvested(trap.root)
    assert found.places("reverted") == found.places("mined") == [(fixed, "pkg/text.py")]


def test_a_fix_that_a_merge_brings(trap: Trap, harvested: Harvested) -> None:
    git(trap.root, "checkout", "-q", "-b", "side")
    fixed = trap.fix()
    git(trap.root, "checkout", "-q", "main")
    trap.write("README", "Words.\n")
    trap.commit("Add a readme")
    git(trap.root, "merge", "-q", "--no-ff", "-m", "Merge the fix", "side")
    found = harvested(trap.root)
    assert found.origins("reverted") == found.origins("mined") == {fixed: 1}
    assert found.passed("reverted")["merge"] == found.passed("mined")["merge"] == 1


def test_a_fix_whose_merge_changes_its_lines(trap: Trap, harvested: Harvested) -> None:
    git(trap.root, "checkout", "-q", "-b", "side")
    fixed = trap.fix()
    git(trap.root, "checkout", "-q", "main")
    trap.edit(CODE, "word[0] for", "word[0].lower() for")
    trap.commit("Lower initials")
    merging = subprocess.run(
        ["git", "merge", "-q", "--no-commit", "side"],
        cwd=trap.root,
        env={**os.environ, **GIT},
        capture_output=True,
        check=False,
    )
    assert merging.returncode != 0
    trap.write(CODE, FIXED.replace("word[:1] for", "word[:1].lower() for"))
    trap.commit("Merge the fix, with care")
    found = harvested(trap.root)
    # Its line is another one since the merge; at its own commit it is what it was. What the merge
    # changed by itself is in no commit that is looked at.
    assert found.of("reverted") == []
    assert found.passed("reverted") == {"conflict": 1, "merge": 1, "not-fix-like": 1, "root": 1}
    assert [(row["origin"], row["commit"]) for row in found.of("mined")] == [(fixed, fixed)]


def test_a_test_that_stands_in_another_file_since(trap: Trap, harvested: Harvested) -> None:
    fixed = trap.fix()
    trap.write(TEST, IMPORT + JOINED)
    trap.write("tests/test_initials.py", IMPORT + INITIALS)
    trap.commit("Sort the tests")
    found = harvested(trap.root)
    assert found.origins("reverted") == found.origins("mined") == {fixed: 1}
    failing = {source: found.of(source)[0]["failing_tests"] for source in BOTH}
    assert failing["reverted"] == ["tests/test_initials.py::test_initials"]
    assert failing["mined"] == [f"{TEST}::test_initials"]


def test_a_squashed_branch(trap: Trap, harvested: Harvested) -> None:
    trap.write(CODE, FIXED + "\n\ndef shout(words):\n    return joined(words).upper()\n")
    shouting = 'def test_shout():\n    assert words.shout(["a"]) == "A"\n'
    trap.write(TEST, IMPORT + JOINED + INITIALS + shouting)
    trap.write("docs/index.md", "# Words\n")
    fixed = trap.commit(
        "Fix initials of empty words, and shout (#12)", "-m", "* wip\n* fix\n* add shout\n* docs"
    )
    found = harvested(trap.root)
    for source in BOTH:
        rows = [row for row in found.of(source) if row["origin"] == fixed]
        assert rows
        assert any(f"{TEST}::test_initials" in row["failing_tests"] for row in rows)
        assert {row["path"] for row in rows} == {CODE}


def test_a_generated_file_that_changes_with_the_fix(trap: Trap, harvested: Harvested) -> None:
    said = "# Generated by the compiler of words. DO NOT EDIT!\n"
    for path, head in (("pkg/words_pb2.py", ""), ("pkg/table.py", said)):
        trap.write(path, f"{head}FIRST = 0\n")
    trap.edit(CODE, "\ndef initials", "from pkg.table import FIRST\n\ndef initials")
    trap.commit("Make tables")
    for path in ("pkg/words_pb2.py", "pkg/table.py"):
        trap.edit(path, "FIRST = 0", "FIRST = 1")
    trap.edit(CODE, "word[0]", "word[:FIRST]")
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    fixed = trap.commit(FIX)
    trap.edit("pkg/table.py", "FIRST = 1", "FIRST = 0 + 1")
    trap.write(TEST, IMPORT + JOINED + INITIALS + "# of the table\n")
    trap.commit("Fix the generated table")
    found = harvested(trap.root)
    assert found.places("reverted") == found.places("mined") == [(fixed, CODE)]
    assert found.passed("reverted")["file-gone"] == 1


def test_a_vendored_copy(trap: Trap, harvested: Harvested) -> None:
    trap.write("pkg/_vendor/__init__.py", "")
    trap.write("pkg/_vendor/words.py", BROKEN)
    trap.commit("Vendor words")
    trap.write("pkg/_vendor/words.py", FIXED)
    fixed = trap.fix()
    trap.edit("pkg/_vendor/words.py", "word[:1]", "word[0:1]")
    trap.commit("Fix the vendored copy")
    found = harvested(trap.root)
    assert found.places("reverted") == found.places("mined") == [(fixed, CODE)]
    assert found.passed("reverted")["no-source"] == found.passed("mined")["no-source"] == 2


def test_a_binary_file_that_changes_with_the_fix(trap: Trap, harvested: Harvested) -> None:
    trap.write("pkg/table.bin", b"\0\1\2")
    trap.write("pkg/odd.py", b"X = 1\n")
    trap.commit("Add a table")
    trap.write("pkg/table.bin", b"\0\1\3")
    trap.write("pkg/odd.py", b"X = 1\0\n")
    fixed = trap.fix()
    trap.write("pkg/odd.py", b"X = 1\n")
    trap.commit("Take the odd byte out")
    found = harvested(trap.root)
    assert found.places("reverted") == found.places("mined") == [(fixed, CODE)]


def test_a_submodule_that_moves_with_the_fix(trap: Trap, harvested: Harvested) -> None:
    def point(oid: str) -> None:
        git(trap.root, "update-index", "--add", "--cacheinfo", f"160000,{oid},pkg/other")

    (trap.root / "pkg/other").mkdir()
    trap.write(".gitmodules", '[submodule "other"]\n\tpath = pkg/other\n\turl = ../other\n')
    point("1" * 40)
    git(trap.root, "add", ".gitmodules")
    git(trap.root, "commit", "-q", "-m", "Add a submodule")
    trap.write(CODE, FIXED)
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    git(trap.root, "add", CODE, TEST)
    point("2" * 40)
    git(trap.root, "commit", "-q", "-m", FIX)
    fixed = trap.head()
    point("3" * 40)
    git(trap.root, "commit", "-q", "-m", "Fix the submodule")
    found = harvested(trap.root)
    assert found.origins("reverted") == found.origins("mined") == {fixed: 1}
    assert found.passed("reverted")["no-source"] == 2


@pytest.mark.parametrize("depth", [1, 2])
def test_a_shallow_clone(trap: Trap, harvested: Harvested, tmp_path: Path, depth: int) -> None:
    fixed = trap.fix()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", str(depth), f"file://{trap.root}", str(clone))
    found = harvested(clone)
    expected = {fixed: 1} if depth == 2 else {}
    assert found.origins("reverted") == found.origins("mined") == expected
    assert found.passed("reverted") == found.passed("mined") == {"root": 1}


def test_a_fix_that_was_taken_back_and_brought_back(trap: Trap, harvested: Harvested) -> None:
    trap.fix()
    git(trap.root, "revert", "--no-edit", "HEAD")
    git(trap.root, "revert", "--no-edit", "HEAD")
    git(trap.root, "commit", "-q", "--amend", "-m", f'Revert "Revert "{FIX}""')
    again = trap.head()
    found = harvested(trap.root)
    # Undoing either is one and the same change of the newest code: the newer commit has it.
    assert found.origins("reverted") == {again: 1}
    # At their own commits both are judged, and come to the same row.
    assert found.summaries["mined"]["mined"]["judged"] == 2
    assert found.origins("mined") == {again: 1}
    assert found.passed("reverted")["not-fix-like"] == 1


def _fix_of_another_system(trap: Trap) -> str:
    """The fix of a file whose lines end as they do on another system."""
    trap.write(CODE, BROKEN.replace("\n", "\r\n"))
    trap.commit("Write it elsewhere")
    trap.write(CODE, FIXED.replace("\n", "\r\n"))
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    return trap.commit(FIX)


def test_line_ends_of_another_system(trap: Trap, harvested: Harvested) -> None:
    fixed = _fix_of_another_system(trap)
    found = harvested(trap.root)
    assert found.origins("reverted") == found.origins("mined") == {fixed: 1}


def test_line_ends_that_changed_since(trap: Trap, harvested: Harvested) -> None:
    fixed = _fix_of_another_system(trap)
    trap.write(CODE, FIXED)
    trap.commit("Normalise line ends")
    found = harvested(trap.root)
    assert found.origins("mined") == {fixed: 1}
    assert found.of("reverted") == []
    assert found.passed("reverted")["conflict"] == 1


def test_a_source_in_another_encoding_is_left_alone(trap: Trap, harvested: Harvested) -> None:
    head = "# -*- coding: latin-1 -*-\n# Wörter\n"
    trap.write("pkg/odd.py", (head + BROKEN).encode("latin-1"))
    trap.write("tests/test_odd.py", "from pkg import odd as words\n" + JOINED)
    trap.commit("Another module")
    trap.write("pkg/odd.py", (head + FIXED).encode("latin-1"))
    trap.write("tests/test_odd.py", "from pkg import odd as words\n" + JOINED + INITIALS)
    trap.commit("Fix crash in the other module")
    fixed = trap.fix()
    found = harvested(trap.root)
    assert found.origins("reverted") == found.origins("mined") == {fixed: 1}
    assert found.passed("reverted")["file-gone"] == 1


def test_a_fix_of_two_files_that_needs_both(trap: Trap, harvested: Harvested) -> None:
    trap.write("pkg/heads.py", "def head(word):\n    return word[0]\n")
    trap.write(
        CODE,
        BROKEN.replace("word[0]", "heads.head(word)").replace(
            "\ndef initials", "from pkg import heads\n\n\ndef initials", 1
        ),
    )
    trap.commit("Move heads out")
    trap.edit("pkg/heads.py", "word[0]", 'word[:1] or "?"')
    trap.edit(CODE, "heads.head(word) for", 'heads.head(word).strip("?") for')
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    fixed = trap.commit(FIX)
    found = harvested(trap.root)
    for source in BOTH:
        (row,) = found.of(source)
        assert row["origin"] == fixed
        assert all(f"+++ b/{path}\n" in row["patch"] for path in (CODE, "pkg/heads.py"))


def test_a_fix_whose_own_test_fails_until_later(trap: Trap, harvested: Harvested) -> None:
    trap.write(CODE, FIXED)
    trap.write(TEST, IMPORT + JOINED + INITIALS.replace('== "a"', '== "b"'))
    fixed = trap.commit(FIX)
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    trap.commit("Mend the test")
    found = harvested(trap.root)
    assert found.origins("reverted") == {fixed: 1}
    # The test that fails anyway judges nothing, and no other one runs the line.
    assert found.of("mined") == []
    assert found.summaries["mined"]["mined"]["judged"] == 1


def test_a_fix_at_which_no_test_can_run(trap: Trap, harvested: Harvested) -> None:
    trap.write(CODE, FIXED)
    trap.write(TEST, "import nothing_of_this_name\n" + IMPORT + JOINED + INITIALS)
    fixed = trap.commit(FIX)
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    trap.commit("Mend the import")
    found = harvested(trap.root)
    assert found.origins("reverted") == {fixed: 1}
    assert found.of("mined") == []
    passed = found.passed("mined")
    assert passed.get("no-baseline", 0) + passed.get("no-environment", 0) == 1


def test_commits_of_strange_shapes(trap: Trap, harvested: Harvested) -> None:
    git(trap.root, "commit", "-q", "--allow-empty", "-m", "Fix nothing at all")
    for branch in ("one", "two"):
        git(trap.root, "checkout", "-q", "-b", branch, "main")
        trap.write(f"{branch}.txt", branch)
        trap.commit(f"Add {branch}")
    git(trap.root, "checkout", "-q", "main")
    git(trap.root, "merge", "-q", "--no-ff", "-m", "Merge both", "one", "two")
    trap.write(CODE, FIXED)
    trap.write(TEST, IMPORT + JOINED + INITIALS)
    git(trap.root, "add", "-A")
    tree = git(trap.root, "write-tree").strip()
    fixed = _raw_commit(trap, tree, b"ISO-8859-1", "Fix crash on an empty wörd".encode("latin-1"))
    _raw_commit(trap, tree, b"x-of-no-one", b"Fix \xff\xfe bytes")
    found = harvested(trap.root)
    assert found.origins("reverted") == found.origins("mined") == {fixed: 1}
    for source in BOTH:
        assert [row["statement"] for row in found.of(source)] == ["Fix crash on an empty wörd"]
    assert found.passed("reverted")["merge"] == 1
    assert found.passed("reverted")["no-source"] == 4


def _raw_commit(trap: Trap, tree: str, encoding: bytes, message: bytes) -> str:
    """A commit on the newest one whose message is in the encoding that its header names."""
    who = b"somebody <somebody@example.org> 1500000000 +0000"
    content = b"tree %s\nparent %s\nauthor %s\ncommitter %s\nencoding %s\n\n%s\n" % (
        tree.encode(),
        trap.head().encode(),
        who,
        who,
        encoding,
        message,
    )
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=trap.root,
        input=content,
        capture_output=True,
        check=True,
    )
    oid = made.stdout.decode().strip()
    git(trap.root, "update-ref", "refs/heads/main", oid)
    return oid


def test_a_path_with_spaces_and_letters_of_the_world(trap: Trap, harvested: Harvested) -> None:
    path, test = "my lib/wörter.py", "tests/test für alle.py"
    reach = "import sys\nfrom pathlib import Path\n"
    reach += 'sys.path.insert(0, str(Path(__file__).parent / "my lib"))\n'
    trap.write("conftest.py", reach)
    trap.write("pytest.ini", "[pytest]\npython_files = test*.py\n")
    trap.write(path, BROKEN)
    trap.write(test, "import wörter as words\n" + JOINED)
    trap.commit("Speak German")
    trap.write(path, FIXED)
    trap.write(test, "import wörter as words\n" + JOINED + INITIALS)
    fixed = trap.commit(FIX)
    found = harvested(trap.root)
    for source in BOTH:
        assert found.places(source) == [(fixed, path)]
        assert found.of(source)[0]["failing_tests"] == [f"{test}::test_initials"]
