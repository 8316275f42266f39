"""What a study shows while it runs: a line a trial, what changed for the best, and what is left."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from flywheel.cli.display import Line
from flywheel.cli.session import Session
from flywheel.cli.study import Shown, changes, told
from flywheel.core import events
from flywheel.programs import Estimate

STARTED = events.StudyStarted(
    "s1", "repair", "miprov2", "tests_pass", 200, 100, 10, {"mend": "Mend the code.\nBe brief."}
)


def trial(number: int, value: float | None, **more: object) -> events.TrialEnded:
    given = {
        "study_id": "s1", "number": number, "phase": "full", "value": value, "n": 100, "low": 0.1,
        "high": 0.3, "best": False, "instructions": {"mend": "Mend the code.\nBe brief."},
        "demos": 4, "usd": 0.25, "tokens": {"student": 12_000, "proposer": 900}, "seconds": 31.0,
        "left_seconds": 300.0, **more,
    }  # fmt: skip
    return events.TrialEnded(**given)  # type: ignore[arg-type]  # passed on


class Bar(Progress):
    """A bar that nobody sees, with its one line."""

    def __init__(self) -> None:
        super().__init__(console=Console(file=io.StringIO()), auto_refresh=False)

    @property
    def line(self) -> str:
        (task,) = self.tasks
        return task.description


def shown(*told: events.Event) -> tuple[str, Bar]:
    session, bar = Session(), Bar()
    session.__dict__["err"] = Console(file=io.StringIO(), width=200, highlight=False)
    view = Shown(session, Line(session, bar))
    for event in told:
        view(event)
    return session.err.file.getvalue(), bar  # type: ignore[attr-defined]  # a StringIO


def test_a_trial_is_a_line_with_its_interval_and_what_it_took() -> None:
    text, _ = shown(STARTED, trial(0, 0.2))
    assert "learns from 200 rows, scored by tests_pass on 100, about 10 trials" in text
    assert "trial 0 0.200 (n 100, 0.100 to 0.300)" in text
    assert "$0.2500" in text
    assert "proposer 900, student 12,000" in text


def test_the_best_shows_what_it_says_otherwise() -> None:
    better = {"mend": "Mend the code.\nCount from 0."}
    text, bar = shown(
        STARTED,
        trial(0, 0.2),
        trial(1, 0.3, best=True, instructions=better),
        events.TrialProgressed("s1", 2, "minibatch", 7, 35),
    )
    assert "- Be brief." in text
    assert "+ Count from 0." in text
    assert "★ trial 1" in text
    assert bar.line.startswith("trial 2 of 10, minibatch: 7 of 35 rows · best 0.300")
    assert "about 5 min left" in bar.line


def test_the_best_of_what_is_no_better_has_no_star() -> None:
    text, _ = shown(STARTED, trial(0, 0.3), trial(1, 0.3, best=True))
    assert "★" not in text
    assert "trial 1 0.300" in text


def test_the_time_left_falls_within_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    session, bar = Session(), Bar()
    session.__dict__["err"] = Console(file=io.StringIO(), width=200, highlight=False)
    view = Shown(session, Line(session, bar))
    view(STARTED)
    view(trial(0, 0.2, left_seconds=300.0))
    for later, left in ((1060.0, "about 4 min left"), (1260.0, "about 40 s left")):
        now[0] = later
        view(events.TrialProgressed("s1", 1, "full", 7, 35))
        assert left in bar.line
    now[0] = 1400.0
    view(events.TrialProgressed("s1", 1, "full", 8, 35))
    assert "left" not in bar.line


def test_a_line_whose_step_is_done_goes_on() -> None:
    _, bar = shown(STARTED, events.TrialProgressed("s1", 0, "full", 35, 35))
    (task,) = bar.tasks
    assert bar.line == "trial 0 of 10, full: 35 of 35 rows"
    assert task.finished_time is None  # or its clock would stand


def test_a_study_shows_nothing_of_the_one_before() -> None:
    once = events.StudyStarted("s2", "repair", "bootstrap-finetune", "tests_pass", 9, 5, 1, {})
    text, bar = shown(
        STARTED, trial(1, 0.3, best=True), once, events.TrialProgressed("s2", 0, "full", 7, 35)
    )
    assert bar.line == "trial 0 of 1, full: 7 of 35 rows"
    assert bar.task_ids == [1]  # the second task of the bar: a clock of its own
    assert "on 5, about 1 trial (study s2)" in text


def test_where_there_is_no_terminal_progress_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    session = Session()
    session.__dict__["err"] = Console(file=io.StringIO(), width=200, highlight=False)
    line = Line(session, None)
    for seconds, text in ((59.0, "early"), (61.0, "one [of] two"), (119.0, "soon"), (122.0, "on")):
        now[0] = seconds
        line.show(text, 1, 4)
    said = session.err.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert said == "one [of] two (25%) · 61 s\non (25%) · 2 min\n"


def test_a_value_that_is_not_known_is_no_number() -> None:
    text, _ = shown(STARTED, trial(0, None, low=None, high=None, n=0, usd=None))
    assert "not known" in text
    assert "$" not in text
    assert told(Estimate(None, 0, None, None)) == "not known"


def test_a_training_shows_its_steps_and_its_loss() -> None:
    tuned = events.TrialProgressed("s1", 1, "tune", 12, 40, "loss 0.310", left_seconds=1800.0)
    _, bar = shown(STARTED, trial(0, 0.0), tuned)
    assert "tune: 12 of 40 steps · loss 0.310 · about 30 min left" in bar.line
    assert bar.line.count("left") == 1


def test_only_what_is_other_is_told_of_instructions() -> None:
    before = {"a": "One.\nTwo.", "b": "Same."}
    assert changes(before, {"a": "One.\nThree.", "b": "Same."}) == ["a:", "  - Two.", "  + Three."]
