"""Evaluating versions: each row once, the same rows for all, and a verdict only where it is one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.core.errors import LMError, RegistryError, UsageError
from flywheel.core.events import Event, EventBus, RowEvaluated, Warned
from flywheel.core.settings import EvaluateSettings, LMProfile, MetricSettings, Settings
from flywheel.curate import Version as Dataset
from flywheel.orchestrator import (
    Evaluated,
    draw,
    evaluate,
    evaluated_summary,
    find_metric,
    outcome_rows,
)
from flywheel.programs.program import find_program
from flywheel.registry import Adapter, Cost, DraftVersion, Model, ModuleName, Registry, Version
from flywheel.store import Store, call_sums, figures, gates, sql
from flywheel.workspace import Workspace
from tests.fakes.provider import Behaviour, Provider, provider
from tests.fakes.versions import row, version

SOURCE = '''
import dspy


class Fix(dspy.Signature):
    """Mend the code."""

    bad: str = dspy.InputField()
    error: str = dspy.InputField()
    good: str = dspy.OutputField()


class Mend(dspy.Module):
    def __init__(self):
        super().__init__()
        self.fix = dspy.Predict(Fix)

    def forward(self, bad, error):
        with dspy.context(adapter=dspy.JSONAdapter()):
            return self.fix(bad=bad, error=error)
'''
ROWS = 12
RIGHT, WRONG = (f"def total(a, b):\n    return a {sign} b" for sign in "+*")
BETTER = "Mend the code, and think."


def number_in(body: dict[str, Any]) -> int:
    """The row that a question is about."""
    return int(json.dumps(body["messages"]).split("::test_")[1].split(" ")[0])


def says(body: dict[str, Any]) -> Behaviour:
    """The base mends every fourth row; the better version all of them but the first two."""
    number = number_in(body)
    better = "think" in json.dumps(body.get("system", ""))
    right = number >= 2 if better else number % 4 == 0
    return Behaviour(text=json.dumps({"good": RIGHT if right else WRONG}))


@dataclass
class Place:
    """A workspace with a dataset, a program of the user's, and a model on loopback."""

    workspace: Workspace
    store: Store
    served: Provider
    dataset: Dataset
    settings: Settings

    @property
    def registry(self) -> Registry:
        return Registry(self.workspace, self.store)

    @property
    def base(self) -> Version:
        return self.registry.base(find_program("mine.py:Mend", self.workspace.root))

    def better(self, **changes: Any) -> Version:
        """A version that is told to think."""
        program = find_program("mine.py:Mend", self.workspace.root)
        made = program.make()
        made.fix.signature = made.fix.signature.with_instructions(BETTER)
        drafted = DraftVersion(
            module=ModuleName(name=program.name, spec=program.spec, hash=program.hash),
            program=made,
            parent="Mend@base",
            optimizer=None,
            dataset=self.dataset.id,
            metric="exact_match@1",
            lm=None,
            cost=Cost(usd=0.0, tokens=0, seconds=0.0),
        )
        return self.registry.save(replace(drafted, **changes))

    def run(self, *versions: Version, metric: str = "exact_match", **more: Any) -> Evaluated:
        settings = more.pop("settings", self.settings)
        bus = more.pop("bus", EventBus())
        drawn = draw(self.dataset, "holdout", rows=more.pop("rows", None), seed=more.pop("seed", 0))
        found = find_metric(metric, settings, self.workspace)
        return evaluate(versions, found, drawn, settings, self.workspace, self.store, bus, **more)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("K", "key")
    workspace = Workspace(tmp_path, "--workspace")
    workspace.state.mkdir()
    (tmp_path / "mine.py").write_text(SOURCE)
    rows = {
        "train": [row(number) for number in range(100, 104)],
        "holdout": [row(number) for number in range(ROWS)],
    }
    dataset = version(workspace.datasets, rows=rows)
    with provider(says) as served:
        profile = LMProfile(
            model="anthropic/claude-sonnet-4-6", api_base=served.address, api_key_env="K",
            retries=0, patience=0.2,
        )  # fmt: skip
        settings = Settings(lm={"student": profile})
        yield Place(workspace, Store(workspace.store_path), served, dataset, settings)


def test_versions_answer_the_same_rows_and_are_compared_with_the_first(place: Place) -> None:
    seen: list[Event] = []
    bus = EventBus()
    bus.subscribe(seen.append)
    better = place.better()
    done = place.run(place.base, better, bus=bus)
    base, other = done.standings
    assert (base.estimate(0).value, base.estimate(0).n) == (3 / ROWS, ROWS)
    assert other.estimate(0).value == 10 / ROWS
    (compared,) = done.compared
    assert compared.comparison is not None
    assert (len(compared.comparison.gains), len(compared.comparison.regressions)) == (8, 1)
    (worse,) = compared.regressions
    assert (worse.example_id, worse.before, worse.after) == (f"{0:016x}", 1.0, 0.0)
    assert (worse.path, worse.error) == ("package/part_0.py", "assert 0 == 2")
    assert worse.reason == "another text than the known fix"
    assert (compared.comparison.better, compared.refused) == (True, "")
    # What deployments go by, and what trends show.
    (gate,) = gates(place.store, challenger=better.id, champion="Mend@base")
    assert (gate.split, gate.n, gate.better) == ("holdout", ROWS, True)
    stored = figures(place.store, kind="evaluate", metric="exact_match")
    assert sorted(one.subject for one in stored) == sorted(
        f"{one} on holdout of {place.dataset.id}" for one in ("Mend@base", better.id)
    )
    assert len([one for one in seen if isinstance(one, RowEvaluated)]) == 2 * ROWS


def test_what_a_row_costs_is_told_and_is_the_ledgers(place: Place) -> None:
    done = place.run(place.base)
    (standing,) = done.standings
    assert standing.tokens == (15.0, 5.0)
    assert standing.usd is not None
    (total,) = call_sums(place.store, "purpose", run_id=done.run_id)
    assert (total.key, total.calls) == ("program:Mend", ROWS)
    assert standing.usd * ROWS == pytest.approx(total.usd)
    assert done.usd == pytest.approx(total.usd)
    assert 0 < (standing.latency(50) or 0) <= (standing.latency(90) or 0)


def test_run_again_it_runs_what_has_no_result(place: Place) -> None:
    first = place.run(place.base, rows=7, seed=3)
    asked = len(place.served.asked)
    assert asked == 7
    # More rows of the same draw hold the fewer.
    second = place.run(place.base, seed=3)
    (standing,) = second.standings
    assert (standing.known, standing.now, len(place.served.asked)) == (7, ROWS - 7, ROWS)
    assert {row.id for row in first.drawn.rows} <= {row.id for row in second.drawn.rows}
    again = place.run(place.base)
    assert (again.standings[0].now, again.usd, len(place.served.asked)) == (0, 0.0, ROWS)
    assert again.standings[0].usd == standing.usd
    # Another program, though it has the same name, answers anew.
    (place.workspace.root / "mine.py").write_text(SOURCE.replace("Mend the code", "Write code"))
    changed = place.run(place.base)
    assert (changed.standings[0].known, changed.standings[0].now) == (0, ROWS)


def test_a_model_with_other_settings_is_another_player(place: Place) -> None:
    place.run(place.base)
    plays = place.settings.lm["student"].model_copy(update={"temperature": 0.5})
    other = place.run(
        place.base, settings=place.settings.model_copy(update={"lm": {"student": plays}})
    )
    assert (other.standings[0].known, other.standings[0].now) == (0, ROWS)
    assert len(place.served.asked) == 2 * ROWS


def test_a_kept_answer_that_is_measured_anew_costs_what_it_cost(place: Place) -> None:
    first = place.run(place.base).standings[0]
    other = place.run(place.base, metric="edit_similarity")
    assert len(place.served.asked) == ROWS
    assert other.usd == 0.0
    assert other.standings[0].usd == first.usd
    assert other.standings[0].latency(50) == first.latency(50)


def test_an_interrupt_keeps_what_was_measured_and_makes_no_figure(place: Place) -> None:
    def stop(done: Evaluated) -> None:
        if sum(one.now for one in done.standings) >= 4:
            raise KeyboardInterrupt

    done = place.run(place.base, place.better(), on_progress=stop)
    assert done.ended == "interrupted"
    kept = sql(place.store, "FROM outcomes")
    assert 4 <= len(kept) < 2 * ROWS
    assert figures(place.store, kind="evaluate") == ()
    assert gates(place.store) == ()
    assert all(one.refused for one in done.compared)
    again = place.run(place.base, place.better())
    assert again.ended == "exhausted"
    assert sum(one.known for one in again.standings) == len(kept)
    # Nothing was asked twice but what was under way.
    assert len(gates(place.store)) == 1


def test_a_time_limit_keeps_what_was_measured_and_is_no_verdict(place: Place) -> None:
    short = place.settings.model_copy(update={"evaluate": EvaluateSettings(time_limit=1)})
    done = place.run(
        place.base, place.better(), settings=short, on_progress=lambda now: time.sleep(0.3)
    )
    assert done.ended == "time-limit"
    kept = sql(place.store, "FROM outcomes")
    assert 0 < len(kept) < 2 * ROWS
    assert [one.refused for one in done.compared] == ["not every row was run"]
    assert gates(place.store) == ()
    again = place.run(place.base, place.better())
    assert again.ended == "exhausted"
    assert sum(one.known for one in again.standings) == len(kept)


def test_a_budget_ends_it_and_an_outage_is_raised_and_neither_is_a_verdict(place: Place) -> None:
    small = EvaluateSettings(max_tokens=2400)
    done = place.run(place.base, settings=place.settings.model_copy(update={"evaluate": small}))
    assert done.ended == "budget"
    known = done.standings[0].values
    assert 0 < len(known) < ROWS
    assert set(known.values()) <= {0.0, 1.0}
    paid = len(place.served.asked)
    place.served.script[:] = [Behaviour(status=529, kind="overloaded_error")]
    with pytest.raises(LMError, match="overloaded"):
        place.run(place.base)
    # What was paid for when the budget ended it, and not scored then, is scored by the next run.
    outcomes = dict(sql(place.store, "SELECT example_id, value FROM outcomes").rows())
    assert len(known) <= len(outcomes) <= paid
    assert outcomes.items() >= known.items()
    assert set(outcomes.values()) <= {0.0, 1.0}


def test_what_is_not_known_is_in_no_figure_and_is_tried_again(place: Place) -> None:
    folder = place.workspace.root / "metrics"
    folder.mkdir()
    text = (
        "from flywheel.programs import Score\n\nVERSION = '1'\n\n\n"
        "def mine(case, answer):\n"
        "    if int(case.example_id, 16) == 3:\n"
        "        return Score(None, 'nobody knows')\n"
        "    if int(case.example_id, 16) == 5:\n"
        "        raise KeyError('mistake')\n"
        "    return Score(float(answer.code == case.good), 'compared')\n"
    )
    (folder / "mine.py").write_text(text)
    done = place.run(place.base, place.better(), metric="mine")
    base, _ = done.standings
    assert base.estimate(0).n == ROWS - 2
    assert base.unknown["nobody knows"] == 1
    assert [one.cause for one in done.failed] == ["KeyError: 'mistake'"] * 2
    assert "mine.py:10" in done.failed[0].message
    assert done.compared[0].comparison is not None
    assert done.compared[0].comparison.unknown == 2
    again = place.run(place.base, metric="mine")
    assert (again.standings[0].known, again.standings[0].now) == (ROWS - 2, 2)


def test_a_judge_that_may_drive_nothing_gives_no_verdict(place: Place) -> None:
    def judges(body: dict[str, Any]) -> Behaviour:
        asked = json.dumps(body["messages"])
        if "<repair>" in asked:
            return Behaviour(text=json.dumps({"reason": "so so", "score": 5}))
        return says(body)

    place.served.script[:] = [judges]
    profiles = {**place.settings.lm, "judge": place.settings.lm["student"]}
    settings = place.settings.model_copy(update={"lm": profiles, "metric": MetricSettings()})
    done = place.run(place.base, place.better(), metric="plan_judge", settings=settings)
    (compared,) = done.compared
    assert done.judge == "anthropic/claude-sonnet-4-6"
    assert compared.comparison is not None
    assert compared.refused == "plan_judge was never compared with the tests"
    assert gates(place.store) == ()
    of = {
        one.key: one.input_tokens + one.output_tokens for one in call_sums(place.store, "purpose")
    }
    assert 0 < of["metric:plan_judge"] < done.tokens == sum(of.values())


@pytest.mark.parametrize(
    "limit",
    [{"evaluate": EvaluateSettings(max_tokens=5)}, {"metric": MetricSettings(max_tokens=5)}],
)
def test_a_limit_holds_for_the_judge_too(place: Place, limit: dict[str, Any]) -> None:
    known = place.run(place.base)
    assert (known.ended, known.tokens > 0) == ("exhausted", True)
    # What the program has said is kept: the judge alone is paid for now.
    profiles = {**place.settings.lm, "judge": place.settings.lm["student"]}
    settings = place.settings.model_copy(update={"lm": profiles} | limit)
    done = place.run(place.base, metric="plan_judge", settings=settings)
    assert (done.ended, done.tokens) == ("budget", 0)


def test_a_limit_that_is_reached_with_the_last_row_cuts_nothing_short(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("flywheel.optimize.stop.time", SimpleNamespace(monotonic=lambda: now[0]))

    def late(done: Evaluated) -> None:
        if done.standings[0].now == ROWS:
            now[0] = 100.0

    settings = place.settings.model_copy(update={"evaluate": EvaluateSettings(time_limit=60)})
    done = place.run(place.base, settings=settings, on_progress=late)
    assert (done.ended, now) == ("exhausted", [100.0])


def test_a_version_that_learned_from_the_rows_gives_no_verdict(place: Place) -> None:
    seen = tuple(row.id for row in draw(place.dataset, "holdout", rows=2, seed=0).rows)
    better = place.better(trained_on=seen)
    done = place.run(place.base, better)
    assert done.compared[0].refused == f"{better.id} has learned from 2 of these rows"
    assert gates(place.store) == ()


def test_weights_that_were_trained_on_another_model_are_refused(place: Place) -> None:
    better = place.better(adapter=Adapter(hash="a" * 16, base="b" * 16))
    with pytest.raises(RegistryError, match="does not fit this model"):
        place.run(place.base, better)
    assert place.served.asked == []


def test_what_is_run_otherwise_than_it_was_made_is_said(place: Place) -> None:
    better = place.better(lm=Model(model="a/model", profile="p", server="another"))
    (place.workspace.root / "mine.py").write_text(SOURCE + "\n\nMORE = 1\n")
    said: list[str] = []
    bus = EventBus()
    bus.subscribe(lambda event: said.append(event.code) if isinstance(event, Warned) else None)
    place.run(better, bus=bus, rows=1)
    assert said == ["program-changed", "other-model"]


def test_an_answer_that_cannot_be_read_is_worth_nothing_and_is_counted(place: Place) -> None:
    place.served.script[:] = [Behaviour(text="I do not know.")]
    done = place.run(place.base)
    (standing,) = done.standings
    assert (standing.estimate(0).value, dict(standing.failures)) == (0.0, {"unreadable": ROWS})


def test_too_few_rows_for_a_comparison_are_refused_before_anything_is_asked(place: Place) -> None:
    with pytest.raises(UsageError, match="3 rows are too few") as told:
        place.run(place.base, place.better(), rows=3)
    assert "ask for more: holdout of" in str(told.value.hint)
    assert place.served.asked == []
    assert place.run(place.base, rows=3).standings[0].now == 3


def test_a_split_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(UsageError, match="no split 'test'") as told:
        draw(place.dataset, "test", rows=None, seed=0)
    assert told.value.cause == "it has train, holdout"


def test_rows_of_one_place_follow_each_other(place: Place) -> None:
    drawn = draw(place.dataset, "holdout", rows=None, seed=0)
    places = [drawn.baselines[row.id] for row in drawn.rows]
    assert places == sorted(places)
    assert set(places) == {"b0", "b1"}
    assert draw(place.dataset, "holdout", rows=5, seed=1) == draw(
        place.dataset, "holdout", rows=5, seed=1
    )


def test_all_of_it_can_be_said_as_json(place: Place) -> None:
    done = place.run(place.base, place.better())
    told = json.loads(json.dumps(evaluated_summary(done, 0) | {"outcomes": outcome_rows(done)}))
    assert [one["mean"]["n"] for one in told["versions"]] == [ROWS, ROWS]
    assert told["compared"][0]["comparison"]["better"] is True
    assert len(told["outcomes"]) == ROWS
    assert {one["versions"]["Mend@base"]["value"] for one in told["outcomes"]} == {0.0, 1.0}
