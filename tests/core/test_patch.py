"""The patch: git turns the one file into the other with it."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from flywheel.core.patch import changed_lines, hunks, unified_patch


def applied(folder: Path, path: str, before: bytes, patch: str) -> bytes:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(before)
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        input=patch.encode("utf-8", "surrogateescape"),
        cwd=folder,
        check=True,
    )
    return file.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\nc\n", b"a\nB\nc\n"),
        (b"a\nb", b"a\nb\n"),
        (b"a\nb\n", b"a\nb"),
        (b"a\r\nb\r\n", b"a\r\nc\r\n"),
        (b"a\x0cb\x85c\nd\n", b"a\x0cb\x85c\ne\n"),
        (b"x\n" * 40, b"y\n" + b"x\n" * 38 + b"z\n"),
        (b"x\n" * 9, b"x\n" * 10),
        ("é\n".encode(), "è\n".encode()),
        (b"a\n" * 3000 + b"b\n" * 3000, b"c\n" + b"a\n" * 2999 + b"b\n" * 2999 + b"d\n"),
    ],
)
def test_git_makes_the_second_file_of_the_first(folder: Path, before: bytes, after: bytes) -> None:
    patch = unified_patch("src/a.py", before, after)
    assert applied(folder, "src/a.py", before, patch) == after


@pytest.mark.parametrize("path", ["a b.py", 'q"uote.py', "back\\slash.py", "dü/é.py"])
def test_an_odd_path_is_written_as_git_reads_it(folder: Path, path: str) -> None:
    assert applied(folder, path, b"a\n", unified_patch(path, b"a\n", b"b\n")) == b"b\n"


def test_random_edits_are_applied_by_git(folder: Path) -> None:
    rng = random.Random(3)
    for _ in range(80):
        lines = [rng.choice("abc") for _ in range(rng.randint(1, 20))]
        edited = list(lines)
        for _ in range(rng.randint(1, 3)):
            edited.insert(rng.randint(0, len(edited)), rng.choice("abz"))
            edited.pop(rng.randrange(len(edited)))
        before, after = ("\n".join(text).encode() + b"\n" for text in (lines, edited))
        if before != after:
            assert applied(folder, "a.py", before, unified_patch("a.py", before, after)) == after


def test_a_hunk_has_three_lines_around_the_change() -> None:
    before = b"".join(b"%d\n" % number for number in range(20))
    patch = unified_patch("a.py", before, before.replace(b"10\n", b"ten\n"))
    assert patch.splitlines()[:3] == ["--- a/a.py", "+++ b/a.py", "@@ -8,7 +8,7 @@"]
    assert patch.count("\n") == 11


def test_equal_files_have_no_patch() -> None:
    assert unified_patch("a.py", b"a\n", b"a\n") == ""


def test_a_change_in_a_large_file_is_found_at_once() -> None:
    before = b"".join(b"    value = %d\n" % (number % 50) for number in range(200_000))
    after = before[:1_500_000] + b"#" + before[1_500_000:]
    started = time.perf_counter()
    patch = unified_patch("a.py", before, after)
    assert time.perf_counter() - started < 0.25
    assert patch.count("\n") < 15


def test_the_hunks_of_a_patch_are_read_back() -> None:
    before = b"".join(b"line %d\n" % n for n in range(40))
    after = before.replace(b"line 3\n", b"-- three\n++ more\n").replace(b"line 30\n", b"")
    found = list(hunks(unified_patch("a.sql", before, after)))
    assert [[line for line in hunk if line[0] != " "] for hunk in found] == [
        [("-", "line 3"), ("+", "-- three"), ("+", "++ more")],
        [("-", "line 30")],
    ]
    assert found[0][0] == (" ", "line 0")
    assert found[1][-1] == (" ", "line 33")


def test_a_line_that_looks_like_a_head_is_a_line() -> None:
    patch = unified_patch("a.sql", b"-- a/x\n@@ -1 +1 @@\n", b"-- b/x\n@@ -1 +1 @@\n")
    assert list(hunks(patch)) == [[("-", "-- a/x"), ("+", "-- b/x"), (" ", "@@ -1 +1 @@")]]
    assert changed_lines(patch) == 2


def test_a_file_without_a_last_newline_is_read_back() -> None:
    assert list(hunks(unified_patch("a", b"one", b"two"))) == [[("-", "one"), ("+", "two")]]
