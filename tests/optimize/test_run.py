"""Programs over rows: what they answer, what it took, and what is no verdict about them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import BudgetError, LMError, StoreError, UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Purpose, Role, Secrets
from flywheel.lm.bridge import dspy, language_model
from flywheel.optimize import run
from flywheel.optimize.run import Job, Stopped, outcome, outcomes, work
from flywheel.programs import Answer, Case, Score
from flywheel.programs.row import FIELDS, Row
from tests.fakes.provider import Behaviour, Provider, provider

GOOD = "def plus(a, b):\n    return a + b"


def row(number: int = 0) -> Row:
    case = Case(f"e{number:03}", "python", "pkg/n.py", "plus", "bad", GOOD, "it fails", "", None)
    named = {"bad": "bad", "good": GOOD, "error": f"it fails {number}"}
    return Row(case, dict.fromkeys(FIELDS, "") | named)


def right(case: Case, answer: Answer) -> Score:
    return Score(float(answer.code == case.good), "compared")


class Mend(dspy.Module):
    """A program that asks once."""

    def __init__(self) -> None:
        super().__init__()
        self.step = dspy.Predict("bad, error -> good")

    def forward(self, bad: str, error: str) -> Any:
        with dspy.context(adapter=dspy.JSONAdapter()):
            return self.step(bad=bad, error=error)


class Deaf(Mend):
    """One that makes an answer of whatever fails."""

    def forward(self, bad: str, error: str) -> Any:
        try:
            return super().forward(bad, error)
        except Exception:  # noqa: BLE001  the mistake that is looked for
            return dspy.Prediction(good=bad)


class Aside(Mend):
    """One that asks in threads of DSPy's."""

    def forward(self, bad: str, error: str) -> Any:
        with dspy.context(adapter=dspy.JSONAdapter()):
            both = [
                (self.step, dspy.Example(bad=bad, error=error).with_inputs("bad", "error")),
                (self.step, dspy.Example(bad=bad, error="other").with_inputs("bad", "error")),
            ]
            first, _ = dspy.Parallel(num_threads=2, disable_progress_bar=True)(both)
        return first


class Wrong(dspy.Module):
    """One with a mistake of its own."""

    def forward(self, bad: str) -> Any:
        return dspy.Prediction(good={}[bad])


class Same(dspy.Module):
    """One that asks nobody."""

    def forward(self, error: str) -> Any:
        return dspy.Prediction(good=error)


def said(text: str, **more: Any) -> Behaviour:
    return Behaviour(text=json.dumps({"good": text}), **more)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Callable[..., Provider]]:
    """Let programs ask a provider that does so; what was opened is closed."""
    closing: list[Any] = []

    def ask(*does: Behaviour, **more: Any) -> Provider:
        served = provider(*does)
        found = served.__enter__()
        settings = LMProfile(
            model="anthropic/claude-sonnet-4-6", api_base=found.address, api_key_env="K",
            retries=0, patience=0.2,
        )  # fmt: skip
        journal = Journal(tmp_path / "lm.sqlite")
        engine = Engine({"student": settings}, journal, secrets=Secrets({"K": "key"}), **more)
        model = language_model(engine, Purpose(Role.STUDENT, "program:mend", "r1"))
        context = dspy.context(lm=model)
        context.__enter__()
        closing.append((context, engine, journal, served))
        return found

    yield ask
    for context, engine, journal, served in closing:
        context.__exit__(None, None, None)
        engine.close()
        journal.close()
        served.__exit__(None, None, None)


def test_an_answer_is_measured_and_says_what_it_took(asked: Callable[..., Provider]) -> None:
    asked(said(GOOD))
    found = outcome(Mend(), row(), right)
    assert (found.value, found.code, found.text, found.failure) == (1.0, GOOD, GOOD, "")
    assert (found.input_tokens, found.output_tokens, len(found.calls)) == (15, 5, 1)
    assert found.seconds > 0
    # A kept answer counts its tokens, too: they are what the program takes.
    again = outcome(Mend(), row(), right)
    assert (again.input_tokens, again.output_tokens) == (15, 5)
    assert again.calls != found.calls


def test_calls_in_threads_of_dspys_are_heard(asked: Callable[..., Provider]) -> None:
    served = asked(said(GOOD))
    found = outcome(Aside(), row(), right)
    assert len(served.asked) == len(found.calls) == 2
    assert found.output_tokens == 10


@pytest.mark.parametrize(
    ("does", "failure", "reason"),
    [
        (Behaviour(text="I do not know."), "unreadable", "no good in the answer"),
        (
            Behaviour(text='{"go', stop_reason="max_tokens"),
            "unreadable",
            "no good in the answer, which was cut at its limit",
        ),
        (Behaviour(status=400, message="prompt is too long"), "context-length", "too long"),
        (Behaviour(status=400, message="blocked by content policy"), "content-filter", "policy"),
        (Behaviour(text="No.", stop_reason="refusal"), "content-filter", "turned"),
    ],
)
def test_no_answer_is_worth_nothing_and_says_why(
    asked: Callable[..., Provider], does: Behaviour, failure: str, reason: str
) -> None:
    asked(does)
    found = outcome(Mend(), row(), lambda case, answer: pytest.fail("nothing is there to measure"))
    assert (found.value, found.failure, found.code) == (0.0, failure, None)
    assert reason in found.reason


@pytest.mark.parametrize("program", [Mend, Deaf])
@pytest.mark.parametrize(
    ("does", "failure"),
    [
        (Behaviour(status=529, kind="overloaded_error"), "overloaded"),
        (Behaviour(status=401, kind="authentication_error"), "authentication"),
        (Behaviour(status=400, message="Your credit balance is too low"), "billing"),
        (Behaviour(status=404, message="model: no such model"), "unknown-model"),
    ],
)
def test_what_says_nothing_of_a_program_stops_the_work_whatever_it_makes_of_it(
    asked: Callable[..., Provider], program: type[Any], does: Behaviour, failure: str
) -> None:
    asked(does)
    with pytest.raises(Stopped) as stopped:
        outcome(program(), row(), right)
    assert isinstance(stopped.value.error, LMError)
    assert stopped.value.error.failure == failure
    assert not isinstance(stopped.value, Exception)


def test_a_request_that_the_provider_does_not_take_is_no_verdict(
    asked: Callable[..., Provider],
) -> None:
    asked(Behaviour(status=400, message="temperature may not be set"))
    with pytest.raises(Stopped):
        outcome(Mend(), row(), right)


def test_a_budget_stops_the_work(asked: Callable[..., Provider]) -> None:
    served = asked(said(GOOD), max_tokens=10)
    with pytest.raises(Stopped) as stopped:
        outcome(Deaf(), row(), right)
    assert isinstance(stopped.value.error, BudgetError)
    assert served.asked == []


def test_a_mistake_of_the_programs_is_told_by_its_line() -> None:
    found = outcome(Wrong(), row(), right)
    line = 1 + Path(__file__).read_text().split("good={}[bad]")[0].count("\n")
    assert (found.value, found.failure) == (0.0, "raised")
    assert found.reason == f"test_run.py:{line}: KeyError: 'bad'"


def test_what_a_metric_does_not_know_stays_unknown() -> None:
    found = outcome(Same(), row(), lambda case, answer: Score(None, "no environment"))
    assert (found.value, found.reason, found.failure) == (None, "no environment", "")


def test_a_wrong_metric_is_told_and_what_its_tools_meet_stops_the_work() -> None:
    def wrong(case: Case, answer: Answer) -> Score:
        raise UsageError("metrics/mine.py:7: mine failed")

    def damaged(case: Case, answer: Answer) -> Score:
        raise StoreError("The store is damaged.")

    with pytest.raises(UsageError, match=r"mine\.py:7"):
        outcome(Same(), row(), wrong)
    with pytest.raises(Stopped, match="damaged"):
        outcome(Same(), row(), damaged)


def test_rows_are_taken_as_they_are_needed_and_each_comes_once(
    asked: Callable[..., Provider],
) -> None:
    served = asked(said(GOOD, delay=0.02))
    taken: list[int] = []

    def rows() -> Iterator[Row]:
        for number in range(60):
            taken.append(number)
            yield row(number)

    found = outcomes(Mend(), rows(), right, threads=4)
    first = next(found)
    # Those that are asked or wait, and those that are measured.
    assert len(taken) <= 4 + 2 * run.AHEAD + 1
    ids = [first.example_id, *(one.example_id for one in found)]
    assert sorted(ids) == [row(number).id for number in range(60)]
    assert 1 < served.most <= 4


def test_what_is_known_comes_before_what_ends_the_work() -> None:
    all_here = threading.Barrier(9)
    first, measured = threading.Event(), threading.Semaphore(0)

    def measure(case: Case, answer: Answer) -> Score:
        all_here.wait(30)
        if case.example_id == "e000":
            return Score(1.0, "right")
        first.wait(30)
        measured.release()
        if int(case.example_id[1:]) % 2:
            raise StoreError("The disk is full.")
        return Score(1.0, "right")

    coming = outcomes(Same(), [row(number) for number in range(9)], measure, threads=9)
    found = [next(coming)]
    first.set()
    for _ in range(8):
        measured.acquire(timeout=30)
    time.sleep(0.1)  # the last of them returns
    with pytest.raises(Stopped):
        found.extend(coming)
    assert sorted(one.example_id for one in found) == ["e000", "e002", "e004", "e006", "e008"]


def test_jobs_that_belong_together_are_measured_together() -> None:
    """Of two places the second waits for the first, whoever is done sooner."""
    slow = threading.Event()

    class Slow(dspy.Module):
        def forward(self, error: str) -> Any:
            if error == "it fails 0":
                slow.wait(10)
            return dspy.Prediction(good=error)

    measured: list[str] = []

    def measure(case: Case, answer: Answer) -> Score:
        measured.append(case.example_id)
        return Score(1.0, "")

    places = {row(0).id: "a", row(1).id: "a", row(2).id: "b"}
    jobs = [Job(Slow(), row(number), copy_context(), f"of {number}") for number in range(3)]
    timer = threading.Timer(0.3, slow.set)
    timer.start()
    done = list(work(jobs, measure, threads=3, together=lambda job: places[job.row.id]))
    assert measured[-1] == "e002"
    assert measured[0] == "e001"
    assert sorted(one.job.of for one in done) == ["of 0", "of 1", "of 2"]


def test_each_job_has_the_settings_of_its_context() -> None:
    class Named(dspy.Module):
        def forward(self, error: str) -> Any:
            return dspy.Prediction(good=str(dspy.settings.get("whose")))

    contexts = {}
    for name in ("first", "second"):
        with dspy.context(whose=name):
            contexts[name] = copy_context()
    jobs = [Job(Named(), row(n), contexts[name], name) for n in range(8) for name in contexts]
    done = list(work(jobs, right, threads=8))
    assert len(done) == 16
    assert all(one.outcome.text == one.job.of for one in done)
