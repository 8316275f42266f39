"""Traces: a student learns from the words in which it is asked, and every loss has a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from flywheel.core.errors import UsageError
from flywheel.lm import Role
from flywheel.optimize.finetune import Message, Trace, read_traces
from flywheel.optimize.ground import Options
from flywheel.optimize.known import known_model
from flywheel.optimize.stop import Stop
from flywheel.optimize.study import Models
from flywheel.optimize.traces import collect
from flywheel.optimize.watch import Watch
from flywheel.programs import Answer, Case, Score
from flywheel.programs.row import Row
from tests.fakes.provider import Behaviour, Provider, provider
from tests.optimize.studies.conftest import NEEDS_OPTUNA, Bench, Mend, exact, rows, said

Make = Callable[..., Bench]


class Chain(dspy.Module):  # type: ignore[misc]
    """Looks, then mends twice: a step that is asked again, and one that hears another's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.look = dspy.ChainOfThought("bad -> wrong")
        self.mend = dspy.Predict("bad, wrong -> good")

    def forward(self, bad: str) -> Any:
        wrong = self.look(bad=bad).wrong
        self.mend(bad=bad, wrong="a first guess")
        return self.mend(bad=bad, wrong=wrong)

    def known(self, row: Row) -> dict[str, dict[str, str]] | str:
        if row.id == "e2":
            return "nobody can say it"
        told = {"reasoning": "it counts", "wrong": "the number"}
        return {"look.predict": told, "mend": {"good": row.fields["good"]}}


def watch_of(program: Any, some: tuple[Row, ...], inputs: tuple[str, ...], **more: Any) -> Watch:
    given = {"measure": exact, "stop": Stop(), "student": "", "threshold": 1.0}
    return Watch(
        type(program), {row.id: row for row in some}, inputs, **{**given, **more},
        on_trial=lambda trial, best: None, on_seen=lambda seen: None,
    )  # fmt: skip


def examples(some: tuple[Row, ...], inputs: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(
        dspy.Example(**row.inputs(inputs), example_id=row.id).with_inputs(*inputs) for row in some
    )


def collected(program: Any, teacher: Any, watch: Watch, some: Any) -> list[Trace]:
    with dspy.context(callbacks=[watch], trace=None):
        return collect(program, some, teacher, watch, threshold=1.0, threads=3)


def test_each_step_is_known_by_its_name_however_often_it_is_asked() -> None:
    some = rows(0, 4)
    program = Chain()
    watch = watch_of(program, some, ("bad",))
    found = collected(program, known_model(program.known), watch, examples(some, ("bad",)))
    assert [(one.example_id, one.predictor) for one in found] == [
        (f"e{number}", step) for number in (0, 1, 3) for step in ("look.predict", "mend", "mend")
    ]
    assert all(one.kept and one.origin == "known" and one.score == 1.0 for one in found)
    assert "the number" in found[2].messages[-1].text
    assert "a first guess" in found[1].messages[-1].text
    assert dict(watch.bootstraps) == {"kept": 3, "not sayable: nobody can say it": 1}


@pytest.mark.parametrize(
    "adapter",
    [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()],
    ids=lambda one: type(one).__name__,
)
def test_a_student_is_asked_what_it_was_trained_on_in_whatever_form(
    bench: Make, adapter: Any
) -> None:
    some = rows(0, 1)
    program = Mend()
    watch = watch_of(program, some, ("bad", "error"))
    with dspy.context(adapter=adapter):
        (trace,) = collected(
            program, known_model(program.known), watch, examples(some, ("bad", "error"))
        )
        with (
            provider(Behaviour(text=trace.completion)) as served,
            dspy.context(lm=bench(served).model(Role.STUDENT)),
        ):
            assert program(**some[0].inputs(("bad", "error"))).good == some[0].fields["good"]
    (asked,) = served.asked
    system, *turns = trace.messages
    assert system.role == "system"
    assert (
        system.text
        in str([one["text"] for one in asked["system"]]).encode().decode("unicode_escape")
        or system.text == asked["system"]
    )
    assert [(one["role"], _text(one)) for one in asked["messages"]] == [
        (one.role, one.text) for one in turns
    ]


def _text(turn: dict[str, Any]) -> str:
    content = turn["content"]
    return content if isinstance(content, str) else content[0]["text"]


def test_what_the_metric_turns_down_is_left_out_with_its_reason() -> None:
    some = rows(0, 4)
    program = Mend()
    watch = watch_of(
        program, some, ("bad", "error"), measure=lambda case, answer: Score(0.25, "3 tests fail")
    )
    given = examples(some, ("bad", "error"))
    found = collected(program, known_model(program.known), watch, given)
    assert [(one.kept, one.score, one.reason) for one in found] == [
        (False, 0.25, "3 tests fail")
    ] * 3
    assert dict(watch.bootstraps) == {"3 tests fail": 3, "not sayable: too long to be said": 1}


class Trainer:
    """Stands in for a training: knows what it was given, and answers rightly after."""

    def __init__(self, model: Any) -> None:
        self.model, self.given = model, ([], [])
        self.folders: list[Path] = []

    def check(self) -> None:
        pass

    def tune(self, traces: Any, validation: Any, folder: Path) -> Any:
        self.given = list(traces), list(validation)
        self.folders.append(folder)
        return known_model(self.model)


def test_a_student_is_trained_on_its_traces_and_scored_as_trained(
    bench: Make, served: Provider
) -> None:
    one = bench(served)
    trainer = Trainer(Mend().known)
    models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, trainer)
    found = one.study("bootstrap-finetune", models=models).run()
    assert found.baseline is not None
    assert found.best is not None
    assert (found.baseline.estimate.value, found.best.estimate.value) == (0.0, 1.0)
    assert found.best.state.models == {"step": "known"}
    assert dict(found.bootstraps) == {"kept": 7, "not sayable: too long to be said": 1}
    traces, validation = trainer.given
    assert [trace.example_id for trace in traces] == [f"e{n}" for n in range(8) if n != 1]
    assert [trace.example_id for trace in validation] == [f"e{n}" for n in range(20, 26)]
    assert list(read_traces(trainer.folders[0] / "traces.jsonl")) == traces
    assert isinstance(traces[0].messages[0], Message)


def test_what_was_trained_stays_where_a_row_of_its_score_cannot_be_measured(
    bench: Make, served: Provider
) -> None:
    def answers(row: Row) -> dict[str, dict[str, str]]:
        return {"step": {"good": f"{row.fields['good']}  # trained"}}

    def partly(case: Case, answer: Answer) -> Score:
        trained = (answer.code or "").endswith("# trained")
        if trained and case.example_id == "e21":
            return Score(None, "its environment cannot be built")
        return Score(1.0, "the fix") if trained else exact(case, answer)

    one = bench(served)
    trainer = Trainer(answers)
    models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, trainer)
    found = one.study("bootstrap-finetune", models=models, measure=partly).run()
    assert dict(found.unknown) == {"e21": "its environment cannot be built"}
    assert found.best is not None
    assert (found.best.estimate.value, found.best.estimate.n) == (1.0, 5)
    assert found.baseline is not None
    assert found.baseline.estimate.n == 5
    assert found.bootstraps["kept"] == 7
    assert len(trainer.folders) == 1


def test_what_learns_from_other_rows_is_another_training(bench: Make, served: Provider) -> None:
    one = bench(served)
    trainer = Trainer(Mend().known)
    models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, trainer)
    for train in (rows(0, 8), rows(0, 8), rows(2, 6)):
        one.study("bootstrap-finetune", models=models, train=train).run()
    # What is half done of one is gone on with, and never taken for the other.
    first, again, other = trainer.folders
    assert first == again != other


@NEEDS_OPTUNA
def test_prompt_and_weights_are_made_better_together(bench: Make, served: Provider) -> None:
    one = bench(served)
    trainer = Trainer(Mend().known)
    models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, trainer)
    options = Options(trials=3, threads=4, demos=2)
    found = one.study("better-together", models=models, options=options).run()
    assert found.best is not None
    assert found.best.estimate.value == 1.0
    assert any(trial.state.models == {"step": "known"} for trial in found.trials)
    assert trainer.given[0]
    # DSPy scores the program as it was once more, and that is no other state.
    first, again = found.trials[:2]
    assert again.state == first.state
    assert found.best.state != first.state


def test_what_is_learned_from_has_one_training_whatever_study_asks(
    bench: Make, served: Provider
) -> None:
    one = bench(served)
    trainer = Trainer(Mend().known)
    models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, trainer)
    given = [{}, {"validation": rows(20, 5)}, {"folder": one.folder / "other"}]
    for more in given:
        one.study("bootstrap-finetune", models=models, **more).run()
    assert trainer.folders[0] == trainer.folders[2] != trainer.folders[1]


def test_a_training_that_another_process_has_is_not_begun_beside_it(
    bench: Make, served: Provider
) -> None:
    one = bench(served)

    class Held(Trainer):
        def tune(self, traces: Any, validation: Any, folder: Path) -> Any:
            again = one.study("bootstrap-finetune", models=models, folder=one.folder / "other")
            with pytest.raises(UsageError, match="under way in another process"):
                again.run()
            return super().tune(traces, validation, folder)

    trainer = Held(Mend().known)
    models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, trainer)
    one.study("bootstrap-finetune", models=models).run()
    assert len(trainer.folders) == 1


@NEEDS_OPTUNA
def test_a_training_that_fails_ends_the_study_with_its_reason(
    bench: Make, served: Provider
) -> None:
    class Broken(Trainer):
        def tune(self, traces: Any, validation: Any, folder: Path) -> Any:
            raise UsageError("there is nothing to learn from")

    one = bench(served)
    for optimizer in ("bootstrap-finetune", "better-together"):
        models = Models(one.model(Role.STUDENT), one.model(Role.PROPOSER), None, Broken(None))
        study = one.study(optimizer, models=models, options=Options(trials=3, threads=4, demos=2))
        with pytest.raises(UsageError, match="there is nothing to learn from"):
            study.run()


def test_a_student_that_cannot_be_trained_is_told_before_anything_is_asked(
    bench: Make, served: Provider
) -> None:
    with pytest.raises(UsageError, match="cannot be trained here"):
        bench(served).study("bootstrap-finetune").run()
    assert served.asked == []


def test_a_teacher_that_answers_in_another_form_is_counted(bench: Make) -> None:
    some = rows(0, 3)
    program = Mend()
    watch = watch_of(program, some, ("bad", "error"))
    script = (said("return 1"), said("return 7"), Behaviour(text="no"))
    with provider(*script, Behaviour(text="no")) as served:
        teacher = bench(served).model(Role.JUDGE)
        with dspy.context(callbacks=[watch], trace=None):
            found = collect(
                program, examples(some, ("bad", "error")), teacher, watch, threshold=1.0, threads=1
            )
    assert [(one.kept, one.reason) for one in found] == [
        (True, "the fix"),
        (False, "another number"),
    ]
    assert found[0].origin == teacher.model
    assert watch.bootstraps["kept"] == 1
    assert watch.bootstraps["another number"] == 1
    assert sum(watch.bootstraps.values()) == 3
