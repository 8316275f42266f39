"""The same failure gives the same text."""

from __future__ import annotations

import difflib
import time

import pytest

from flywheel.critic.text import clean, tail


def _diff(first: str, second: str) -> str:
    lines = difflib.ndiff([f"<Thing object at {first}>"], [f"<Thing object at {second}>"])
    return "\n".join(["assert a == b", *(line.rstrip("\n") for line in lines)])


@pytest.mark.parametrize("mark", ["", "E   "])
def test_a_diff_of_objects_does_not_show_where_their_addresses_differ(mark: str) -> None:
    texts = [_diff("0x7f12ab34cd50", "0x7f12ab34cd60"), _diff("0x7f12ab34cd50", "0x7f98ab34ce50")]
    cleaned = {clean("\n".join(mark + line for line in text.splitlines())) for text in texts}
    assert len(cleaned) == 1
    assert "^" not in cleaned.pop()


def test_the_marks_of_other_lines_stay() -> None:
    text = "- one\n?  ^\n+ ore\n?  ^\n"
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/repo/zoo/a.py:3: in f", "zoo/a.py:3: in f"),
        ("<Thing object at 0x7f12ab34cd50>", "<Thing object at 0x...>"),
        ("/tmp/pytest-of-root/pytest-7/test_a0/x", "<tmp>/test_a0/x"),
        ("at 2026-01-02 03:04:05.678", "at <time>"),
        ("pid=123", "pid=..."),
        (
            "\t/usr/lib/go/src/testing/testing.go:1396 +0x24e",
            "\t/usr/lib/go/src/testing/testing.go:1396",
        ),
        ("main.f(0xc000096680?)", "main.f(0x...)"),
        ("goroutine 20 [running]:", "goroutine [running]:"),
        ("/tmp/TestWrite2849304421/001/out.txt", "<tmp>/out.txt"),
        ("/tmp/go-build123456/b001/zoo.test", "<tmp>/b001/zoo.test"),
        ("2026/11/21 17:02:03 starting", "<time> starting"),
        ("thread 'tests::größe' (295) panicked at", "thread 'tests::größe' panicked at"),
        ("target/debug/deps/zoo_park-e7df643d8c3ef4d7", "target/debug/deps/zoo_park"),
        (f"/rustc/{'0a' * 20}/library/core/src/ops.rs:3:1", "<rust>/library/core/src/ops.rs:3:1"),
        ("/usr/src/rustc-1.63.0/library/test/src/lib.rs", "<rust>/library/test/src/lib.rs"),
        ("/tmp/.tmpAb3dEf/file", "<tmp>/file"),
        ("{:error, #PID<0.196.0>}", "{:error, #PID<...>}"),
        ("#Reference<0.1.2.3>", "#Reference<...>"),
        ("17:01:16.901 [error] Process", "[error] Process"),
        ("(node:4711) Warning", "(node) Warning"),
        ("/tmp/zoo-Ab3dEf/file", "<tmp>/file"),
        ("--- FAIL: TestAdd (0.03s)", "--- FAIL: TestAdd (<time>)"),
        ("connect ECONNREFUSED 127.0.0.1:43567", "connect ECONNREFUSED 127.0.0.1:<port>"),
    ],
)
def test_what_differs_from_run_to_run_goes(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "test timed out after 20ms",
        "/tmp/zoo-static/file",
        "assert 1.5 == (2.5)",
        "thread pool (3) is full",
        "expected 127.0.0.1:8080",
        "at 2026-01-02 03:04:05",
    ],
)
def test_what_is_the_same_every_time_stays(text: str) -> None:
    assert clean(text) == text


def test_a_long_word_takes_no_longer_than_many_short_ones() -> None:
    started = time.monotonic()
    clean("/lib/python" + "/" * 40_000 + "/rustc-" + "/" * 40_000)
    assert time.monotonic() - started < 5


def test_of_a_flood_the_end_is_shown_and_not_all_of_it_cleaned() -> None:
    started = time.monotonic()
    shown = tail("/tmp/Test0_" * 2_000_000 + "the end\n")
    assert time.monotonic() - started < 5
    assert shown.endswith("the end")
    assert len(shown) == 2000
