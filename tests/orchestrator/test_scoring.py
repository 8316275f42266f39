"""Scores by content: measured once, whoever asks, and unknown never kept."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import UsageError
from flywheel.core.events import EventBus
from flywheel.core.settings import load
from flywheel.orchestrator.scoring import Scoring
from flywheel.orchestrator.tools import Toolbox, find_metric
from flywheel.programs import Answer, Case
from flywheel.store import Store
from flywheel.workspace import Workspace, find

CASE = Case("e1", "python", "m.py", "f", "bad", "good", "it fails", "", None)
COUNTS = '''"""Counts how often it is asked, in a file beside it."""

import time
from pathlib import Path

from flywheel.programs import Answer, Case, Score

VERSION = "1"
ASKED = Path(__file__).parent / "asked"


def counts(case: Case, answer: Answer) -> Score:
    """Half, after a while; not known where the answer says so."""
    time.sleep(0.1)
    with ASKED.open("a") as file:
        file.write("x")
    if answer.text == "raise":
        raise ValueError("wrong")
    return Score(None if answer.text == "unknown" else 0.5, "so so")
'''


class Counted:
    """A metric that counts, over a store of its own."""

    def __init__(self, folder: Path) -> None:
        (folder / "metrics").mkdir()
        (folder / "metrics" / "counts.py").write_text(COUNTS)
        self.workspace: Workspace = find(explicit=folder)
        self.settings = load(folder).settings
        self.store = Store(self.workspace.store_path)
        self.metric = find_metric("counts", self.settings, self.workspace)
        self._asked = folder / "metrics" / "asked"

    def scoring(self) -> Scoring:
        tools = Toolbox(
            self.metric, self.settings, self.workspace, self.store, EventBus(), run_id="r"
        )
        return Scoring(self.metric, tools, self.store, ["e1"])

    @property
    def asked(self) -> int:
        return len(self._asked.read_text())


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def test_threads_that_ask_together_wait_for_one_measurement(counted: Counted) -> None:
    scoring, together = counted.scoring(), threading.Barrier(6)

    def ask(number: int) -> Any:
        together.wait()
        return scoring(CASE, Answer("same", "same"))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert {score.value for score in found} == {0.5}
    assert (counted.asked, scoring.measured, scoring.spared) == (1, 1, 5)


def test_a_later_run_finds_what_an_earlier_one_has_kept(counted: Counted) -> None:
    first = counted.scoring()
    first(CASE, Answer("one", "one"))
    first.keep()
    again = counted.scoring()
    assert again(CASE, Answer("one", "one")).reason == "so so"
    assert (counted.asked, again.spared) == (1, 1)
    again(CASE, Answer("other", "other"))
    assert counted.asked == 2


def test_the_same_text_with_other_code_is_another_answer(counted: Counted) -> None:
    for code in (None, "one", "two"):
        counted.scoring()(CASE, Answer("same", code))
    assert counted.asked == 3


def test_scores_are_kept_while_the_run_goes_on(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.orchestrator.scoring.KEEP_SECONDS", 0.05)
    scoring = counted.scoring()
    for text in ("one", "two"):
        scoring(CASE, Answer(text, text))
        time.sleep(0.06)
    scoring(CASE, Answer("three", "three"))
    assert counted.scoring()(CASE, Answer("one", "one")).value == 0.5
    assert counted.asked == 3


def test_what_is_not_known_is_asked_once_more_and_not_kept(counted: Counted) -> None:
    scoring = counted.scoring()
    assert scoring(CASE, Answer("unknown", None)).value is None
    assert counted.asked == 2
    assert scoring(CASE, Answer("unknown", None)).value is None
    assert counted.asked == 4


def test_a_metric_that_raises_is_told_to_all_who_wait(counted: Counted) -> None:
    scoring = counted.scoring()
    for _ in range(2):
        with pytest.raises(UsageError, match=r"counts\.py:18"):
            scoring(CASE, Answer("raise", None))
