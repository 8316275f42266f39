"""Studies: trials are seen as they come, nothing is swallowed, and nothing is paid twice."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from flywheel.core.ending import BUDGET, DONE, INTERRUPTED, TIME_LIMIT
from flywheel.core.errors import DatasetError, StoreError, UsageError
from flywheel.lm import Journal, Role
from flywheel.optimize.ground import Options
from flywheel.optimize.stop import Stop
from flywheel.optimize.study import Models, Subject
from flywheel.optimize.trial import FULL, Trial
from flywheel.optimize.watch import Seen
from flywheel.programs import Answer, Case, Score
from tests.fakes.provider import Behaviour, Provider, provider
from tests.optimize.studies.conftest import (
    NEEDS_OPTUNA,
    TOLD,
    Bench,
    Mend,
    exact,
    failure_of,
    rows,
    said,
    student,
)

Make = Callable[..., Bench]
OVERLOADED = Behaviour(status=529, kind="overloaded_error", message="Overloaded")


def test_answers_are_told_while_the_first_row_is_under_way(
    served: Provider, bench: Callable[..., Bench]
) -> None:
    seen: list[Seen] = []
    bench(served).study("random-search", on_seen=seen.append).run()
    first = [one for one in seen if (one.number, one.phase) == (0, "full")]
    assert (first[0].done, first[0].answers) == (0, 0)
    assert any(one.answers and not one.done for one in first)
    # Each trial counts its own.
    second = [one for one in seen if (one.number, one.phase) == (1, "full")]
    assert second[0].answers == 0


@pytest.mark.parametrize(
    "optimizer",
    [
        "bootstrap-fewshot",
        "random-search",
        pytest.param("miprov2", marks=NEEDS_OPTUNA),
        "simba",
        "gepa",
    ],
)
def test_an_optimiser_finds_what_helps_and_its_trials_are_seen(
    bench: Make, served: Provider, optimizer: str
) -> None:
    seen: list[tuple[Trial, bool]] = []
    study = bench(served).study(optimizer, on_trial=lambda *one: seen.append(one))
    found = study.run()
    assert (found.ended, found.error) == (DONE, None)
    assert found.baseline is not None
    assert found.baseline.estimate.value == 0.0
    assert found.best is not None
    assert (found.best.estimate.value, found.best.estimate.n) == (1.0, 6)
    assert found.best.estimate.low is not None
    assert [one for one, _ in seen] == list(found.trials)
    assert [one.number for one in found.trials] == list(range(len(found.trials)))
    assert [one for one, best in seen if best][-1] == found.best
    assert found.best.state != found.baseline.state
    assert len(found.demos) == found.best.state.shown
    assert set(found.demos) <= set(found.trained_on)
    assert set(found.validated_on) == {row.id for row in rows(20, 6)}


def test_the_scores_are_those_of_dspys_own_evaluation(bench: Make, served: Provider) -> None:
    one = bench(served)
    found = one.study("bootstrap-fewshot").run()
    examples = [
        dspy.Example(bad=row.fields["bad"], error=row.fields["error"], good=row.fields["good"])
        .with_inputs("bad", "error")
        for row in rows(20, 6)
    ]  # fmt: skip
    naive = dspy.Evaluate(
        devset=examples, metric=lambda case, said, trace=None: case.good == said.good, num_threads=2
    )
    with dspy.context(lm=one.model(Role.STUDENT)):
        scores = [naive(program).score for program in (Mend(), found.program)]
    assert found.baseline is not None
    assert found.best is not None
    ours = [(one.estimate.value or 0.0) * 100 for one in (found.baseline, found.best)]
    assert ours == scores


@NEEDS_OPTUNA
def test_instructions_are_proposed_and_tried(bench: Make, served: Provider) -> None:
    found = bench(served).study("miprov2").run()
    assert dict(found.proposals) == {}
    told = {trial.state.instructions["step"] for trial in found.trials}
    assert told == {"Mend the code.", TOLD}


@NEEDS_OPTUNA
def test_run_again_it_asks_and_measures_nothing_and_finds_the_same(
    bench: Make, served: Provider, journal: Journal
) -> None:
    one = bench(served)
    first = one.study("miprov2").run()
    asked = len(served.asked)
    again = one.study("miprov2").run()
    assert len(served.asked) == asked
    assert {call.status for call in journal.calls()} <= {"ok", "cached", "shared"}
    assert [(t.state.hash, t.estimate) for t in again.trials] == [
        (t.state.hash, t.estimate) for t in first.trials
    ]


def test_why_examples_gave_nothing_to_learn_from_is_counted(bench: Make, served: Provider) -> None:
    one = bench(served)
    never = one.study("bootstrap-fewshot", measure=lambda case, answer: Score(0.0, "too late"))
    found = never.run()
    assert dict(found.bootstraps) == {"too late": 7, "not sayable: too long to be said": 1}
    assert found.demos == ()


def test_an_answer_that_cannot_be_read_is_worth_nothing_and_says_so(bench: Make) -> None:
    with provider(Behaviour(text="I would rather not.")) as served:
        found = bench(served).study("bootstrap-fewshot").run()
    assert found.baseline is not None
    assert found.baseline.estimate.value == 0.0
    assert dict(found.baseline.reasons) == {"unreadable: no good in the answer": 6}


def test_more_unreadable_answers_than_dspy_bears_do_not_zero_the_others(bench: Make) -> None:
    def some(body: dict[str, Any]) -> Behaviour:
        answer = student(body)
        return answer if "return 35" in json.dumps(body["messages"][-1]) else Behaviour(text="no")

    with provider(some) as served:
        study = bench(served).study("bootstrap-fewshot", validation=rows(20, 16), train=rows(0, 3))
        found = study.run()
    assert found.best is not None
    assert found.best.estimate.value == 1 / 16


def test_an_outage_ends_the_study_and_scores_nothing(bench: Make) -> None:
    calls = iter([*[student] * 9, *[OVERLOADED] * 1000])

    def breaks(body: dict[str, Any]) -> Behaviour:
        does = next(calls)
        return does if isinstance(does, Behaviour) else does(body)

    seen: list[Trial] = []
    with provider(breaks) as served:
        one = bench(served)
        study = one.study("random-search", on_trial=lambda trial, best: seen.append(trial))
        error = failure_of(study)
    assert "overloaded" in error.message
    # The program as it was; the next would have been all outage.
    assert [trial.estimate.value for trial in seen] == [0.0]


@pytest.mark.parametrize("trials", [1, 3])
def test_random_search_makes_as_many_draws_as_are_asked_for(bench: Make, trials: int) -> None:
    with provider(student) as served:
        found = bench(served).study("random-search", options=Options(trials=trials)).run()
    assert found.plan is not None
    assert found.plan.trials == trials
    assert [one.number for one in found.trials] == [*range(trials + 1)]


def test_a_metric_that_raises_is_told_with_its_place_and_ends_the_study(
    bench: Make, served: Provider
) -> None:
    def wrong(case: Case, answer: Answer) -> Score:
        raise UsageError("metrics/mine.py:7: mine failed", cause="ZeroDivisionError")

    error = failure_of(bench(served).study("random-search", measure=wrong))
    assert error.message == "metrics/mine.py:7: mine failed"


def test_a_budget_that_is_used_up_keeps_the_best_so_far(bench: Make, served: Provider) -> None:
    one = bench(served, max_tokens=600, profile={"max_tokens": 20})
    study = one.study("random-search", options=Options(trials=40, threads=1, demos=2))
    found = study.run()
    assert (found.ended, found.partial) == (BUDGET, True)
    assert found.best is not None
    assert found.program is not None
    assert one.engine.spent.tokens <= 600


def test_an_interrupt_keeps_the_best_so_far(bench: Make, served: Provider) -> None:
    def stop(trial: Trial, best: bool) -> None:
        if best:
            raise KeyboardInterrupt

    found = bench(served).study("random-search", on_trial=stop).run()
    assert (found.ended, found.partial) == (INTERRUPTED, True)
    assert found.best is not None


def test_the_time_limit_keeps_what_there_is(bench: Make, served: Provider) -> None:
    found = bench(served).study("random-search", stop=Stop(seconds=0.0)).run()
    assert (found.ended, found.best, found.trials) == (TIME_LIMIT, None, ())


def test_a_program_that_hangs_does_not_outlast_the_time_limit(
    bench: Make, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.optimize.stop.GRACE", 0.2)
    free = threading.Event()

    class Hangs(Mend):
        def forward(self, bad: str, error: str) -> Any:
            free.wait(60)

    one, began = bench(served), time.monotonic()
    try:
        subject = Subject("mend", "hash", ("bad", "error"), Hangs())
        found = one.study("random-search", subject=subject, stop=Stop(seconds=0.5)).run()
    finally:
        free.set()
    assert (found.ended, found.best) == (TIME_LIMIT, None)
    assert time.monotonic() - began < 30


def test_a_row_that_nobody_can_measure_is_left_out_and_never_zero(
    bench: Make, served: Provider
) -> None:
    def partly(case: Case, answer: Answer) -> Score:
        if case.example_id in ("e21", "e0"):
            return Score(None, "its environment cannot be built")
        return exact(case, answer)

    found = bench(served).study("random-search", measure=partly).run()
    assert dict(found.unknown) == dict.fromkeys(("e21", "e0"), "its environment cannot be built")
    assert found.best is not None
    assert (found.best.estimate.value, found.best.estimate.n) == (1.0, 5)
    assert "e0" not in found.trained_on


def test_too_many_rows_that_nobody_can_measure_end_the_study(bench: Make, served: Provider) -> None:
    study = bench(served).study("random-search", measure=lambda *_: Score(None, "no environment"))
    with pytest.raises(DatasetError, match="only 0 of 6 rows of the validation") as raised:
        study.run()
    assert raised.value.cause == "6 × no environment"


def test_what_each_row_was_worth_is_written_beside_the_study(bench: Make, served: Provider) -> None:
    study = bench(served).study("bootstrap-fewshot")
    study.run()
    lines = [json.loads(one) for one in (study.folder / "outcomes.jsonl").read_text().splitlines()]
    assert [line["trial"] for line in lines] == [0] * 6 + [1] * 6
    assert {line["reason"] for line in lines} == {"another number", "the fix"}


def test_a_teacher_is_asked_where_one_is_named(bench: Make, journal: Journal) -> None:
    with provider(said("return 1")) as served:
        one = bench(served)
        models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), one.model(Role.JUDGE))
        found = one.study("bootstrap-fewshot", models=models).run()
    assert {call.role for call in journal.calls()} == {"student", "judge"}
    assert dict(found.bootstraps) == {"kept": 1, "another number": 7}
    assert found.demos == ("e0",)


@NEEDS_OPTUNA
def test_optimisers_print_nothing(
    bench: Make, served: Provider, capfd: pytest.CaptureFixture[str]
) -> None:
    study = bench(served).study("miprov2")
    study.run()
    assert capfd.readouterr() == ("", "")
    assert "Bootstrapping set" in (study.folder / "optimizer.log").read_text()


def test_an_optimiser_whose_package_is_missing_says_which(
    bench: Make, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    error = failure_of(bench(served).study("miprov2"))
    assert error.message == "miprov2 needs the package optuna, which is not installed"
    assert served.asked == []


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minibatches that a small validation carries."""
    monkeypatch.setattr("flywheel.optimize.optimizers.miprov2.MINIBATCH", 4)
    monkeypatch.setattr("flywheel.optimize.optimizers.miprov2.MINIBATCH_FROM", 8)


@NEEDS_OPTUNA
def test_minibatches_are_no_full_trials_and_the_best_is_scored_on_all_rows(
    bench: Make, served: Provider, small: None
) -> None:
    options = Options(trials=6, threads=8, demos=2)
    found = bench(served).study("miprov2", options=options, validation=rows(20, 8)).run()
    kinds = {trial.kind: len(trial.outcomes) for trial in found.trials}
    assert kinds == {"full": 8, "minibatch": 4}
    assert found.best is not None
    assert (found.best.kind, found.best.estimate.n) == (FULL, 8)


@NEEDS_OPTUNA
def test_a_search_that_has_scored_all_there_is_ends_well(
    bench: Make, served: Provider, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many whole scorings that DSPy finds no combination left, and raises.
    monkeypatch.setattr("flywheel.optimize.optimizers.miprov2.FULL_EVERY", 1)
    options = Options(trials=24, threads=8, demos=1)
    study = bench(served).study(
        "miprov2", options=options, train=rows(0, 2), validation=rows(20, 8)
    )
    found = study.run()
    assert found.ended == DONE
    assert found.best is not None
    assert found.best.estimate.value == 1.0


@NEEDS_OPTUNA
def test_a_proposer_that_cannot_be_read_is_counted_and_changes_nothing(bench: Make) -> None:
    def babbles(body: dict[str, Any]) -> Behaviour:
        answer = student(body)
        return answer if "good" in json.dumps(body.get("system")) else Behaviour(text="I think so")

    with provider(babbles) as served:
        found = bench(served).study("miprov2").run()
    assert found.ended == DONE
    assert sum(found.proposals.values()) > 0
    assert all(reason.startswith("unreadable") for reason in found.proposals)
    assert {trial.state.instructions["step"] for trial in found.trials} == {"Mend the code."}
    assert found.best is not None
    assert found.best.estimate.value == 1.0


@NEEDS_OPTUNA
@pytest.mark.parametrize("seed", [0, 9])
def test_every_seed_is_itself(
    bench: Make, served: Provider, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    given: list[int] = []
    search = dspy.MIPROv2._optimize_prompt_parameters

    def seen(self: Any, *arguments: Any) -> Any:
        given.append(arguments[-1])
        return search(self, *arguments)

    monkeypatch.setattr(dspy.MIPROv2, "_optimize_prompt_parameters", seen)
    options = Options(trials=2, threads=4, demos=1, seed=seed)
    bench(served).study("miprov2", options=options).run()
    assert given == [seed]


def test_slow_rows_are_measured_once_though_dspy_sends_them_again(
    bench: Make, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dspy.utils import parallelizer

    init = parallelizer.ParallelExecutor.__init__
    monkeypatch.setattr(
        parallelizer.ParallelExecutor,
        "__init__",
        lambda self, *given, **more: init(self, *given, **{**more, "timeout": 0.2}),
    )
    asked: list[str] = []

    def slow(case: Case, answer: Answer) -> Score:
        asked.append(case.example_id)
        time.sleep(2.5 if case.example_id == "e20" else 0)
        return exact(case, answer)

    found = bench(served).study("bootstrap-fewshot", measure=slow).run()
    assert found.best is not None
    assert found.best.estimate.n == 6
    assert asked.count("e20") > 2  # DSPy has sent it again: who measures must see that it is one
    assert len({json.dumps(body) for body in served.asked}) == len(served.asked)


def test_whatever_else_goes_wrong_in_measuring_ends_the_study(
    bench: Make, served: Provider
) -> None:
    def wrong(case: Case, answer: Answer) -> Score:
        raise ZeroDivisionError("division by zero")

    error = failure_of(bench(served).study("random-search", measure=wrong))
    assert error.message.startswith("measuring an answer to e2")
    assert error.cause == "ZeroDivisionError: division by zero"


def test_a_trial_that_cannot_be_kept_ends_the_study(bench: Make, served: Provider) -> None:
    def full(trial: Trial, best: bool) -> None:
        raise StoreError("There is no room to write the store.")

    error = failure_of(bench(served).study("random-search", on_trial=full))
    assert error.message == "There is no room to write the store."
