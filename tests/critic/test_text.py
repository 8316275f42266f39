"""The same failure gives the same text."""

from __future__ import annotations

import difflib

import pytest

from flywheel.critic.text import clean


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
    ],
)
def test_what_differs_from_run_to_run_goes(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
