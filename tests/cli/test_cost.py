"""`flywheel cost` as a user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.lm import Journal
from flywheel.workspace import find
from tests.store.test_calls import ALL

Run = Callable[..., Any]


def test_what_was_spent_is_shown_by_what_one_asks(flywheel: Run, tmp_path: Path) -> None:
    at = ("--workspace", str(tmp_path))
    assert "No language model was asked" in flywheel(*at, "cost").out
    journal = Journal(find(explicit=tmp_path).journal_path)
    for call in ALL:
        journal.record(call)
    journal.close()
    shown = flywheel(*at, "cost", "--by", "model")
    assert shown.code == 0, shown.err
    assert "anthropic/big" in shown.out
    assert "+ 1 unpriced" in shown.out
    assert "1 calls failed or were given up" in shown.out
    found = json.loads(flywheel(*at, "cost", "--by", "role", "--json").out)
    assert found["total"]["calls"] == 4
    assert [one["key"] for one in found["groups"]] == ["corrector", "judge"]
    assert found["usd_per_example"] is None


def test_nothing_to_sum_by_is_said(flywheel: Run, tmp_path: Path) -> None:
    ran = flywheel("--workspace", str(tmp_path), "cost", "--by", "colour")
    assert ran.code == 2
    assert "--by role, model" in ran.err


def test_a_damaged_journal_is_told_and_ends_nothing(flywheel: Run, tmp_path: Path) -> None:
    at = ("--workspace", str(tmp_path))
    path = find(explicit=tmp_path).journal_path
    journal = Journal(path)
    for call in ALL:
        journal.record(call)
    journal._connection.execute("UPDATE calls SET call = '{' WHERE rowid = 2")
    journal.close()
    for _ in range(2):
        ran = flywheel(*at, "cost", "--json")
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        assert (found["total"]["calls"], found["damaged"]) == (4, 1)
        assert "1 calls of the journal cannot be read" in ran.err
        assert path.name in ran.err
