"""Spins: rounds that are won, lost and too small, on a real package, with a model on loopback."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flywheel.core.errors import RegistryError, SandboxError
from flywheel.core.events import Event, EventBus, StageEnded, StageStarted, Warned
from flywheel.core.settings import (
    HarvestSettings,
    LMProfile,
    OptimizeSettings,
    PathSettings,
    Settings,
    SpinSettings,
)
from flywheel.curate import find_version
from flywheel.optimize.gate import needed
from flywheel.orchestrator.rounds import Rounds, Spun
from flywheel.orchestrator.spin import spin
from flywheel.orchestrator.spin_report import verdict_of
from flywheel.registry import Registry, deploy
from flywheel.sandbox import Level, probe
from flywheel.store import Store, figures, sql
from flywheel.workspace import Workspace
from tests.fakes.provider import Behaviour, Provider, provider
from tests.fakes.versions import PACKAGED
from tests.past import commit

PROGRAM = '''
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
RECIPE = """
title = "Small"
description = "Repairs of a small package."
task = "repair"

[licence]
unknown = true

[split]
validation = 0.2
holdout = {holdout}
holdout_name = "small"
seed = 3
least_holdout = {least}
"""
FUNCTIONS = {
    "area": ("width, height", "return width * height", "area(3, 4) == 12"),
    "gap": ("high, low", "if high < low:\n    return 0\nreturn high - low", "gap(9, 4) == 5"),
    "total": (
        "items",
        "found = 0\nfor one in items:\n    found = found + one\nreturn found",
        "total([1, 2, 4]) == 7",
    ),
    "smallest": ("a, b", "return a if a <= b else b", "smallest(3, 8) == 3"),
    "doubled": ("text", "return text + '-' + text", "doubled('ab') == 'ab-ab'"),
    "within": (
        "value, low, high",
        "return low <= value and value < high",
        "within(2, 2, 5) and not within(5, 2, 5) and not within(1, 2, 5)",
    ),
    "power": (
        "base, times",
        "out = 1\nwhile times > 0:\n    out = out * base\n    times = times - 1\nreturn out",
        "power(3, 3) == 27",
    ),
    "parity": (
        "number",
        "if number % 2 == 1:\n    return 'odd'\nreturn 'even'",
        "parity(7) == 'odd' and parity(4) == 'even'",
    ),
    "halves": ("pair", "return (pair[0] / 2, pair[1] / 2)", "halves((4, 10)) == (2, 5)"),
    "ratio": (
        "part, whole",
        "if whole == 0:\n    return None\nreturn part / whole",
        "ratio(6, 3) == 2 and ratio(1, 0) is None",
    ),
    "plus": ("a, b", "return a + b", "plus(2, 3) == 5"),
    "less": ("a, b", "return a - b", "less(5, 3) == 2"),
    "larger": ("a, b", "return a if a >= b else b", "larger(3, 8) == 8"),
    "is_neg": ("number", "return number < 0", "is_neg(-1) and not is_neg(0)"),
    "square": ("number", "return number * number", "square(5) == 25"),
    "capped": (
        "value, top",
        "if value > top:\n    return top\nreturn value",
        "capped(9, 4) == 4 and capped(3, 4) == 3",
    ),
    "shared": ("items, people", "return items // people", "shared(9, 2) == 4"),
    "joined": ("first, last", "return first + ' ' + last", "joined('a', 'b') == 'a b'"),
    "tenths": ("number", "return number / 10", "tenths(5) == 0.5"),
    "at_least": ("low, value", "return max(low, value)", "at_least(1, 3) == 3 == at_least(3, 1)"),
}


def code_of(name: str) -> str:
    """A function as its file holds it."""
    arguments, body, _ = FUNCTIONS[name]
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    return f"def {name}({arguments}):\n{lines}"


def named_in(body: dict[str, Any]) -> str:
    last = json.dumps(body["messages"][-1])
    return next(name for name in FUNCTIONS if f"def {name}(" in last)


def shows_demos(body: dict[str, Any]) -> bool:
    return len(body["messages"]) > 1


def answer(right: bool, name: str) -> Behaviour:
    wrong = code_of(name).partition("\n")[0] + "\n    return None"
    return Behaviour(text=json.dumps({"good": code_of(name) if right else wrong}))


def learns(body: dict[str, Any]) -> Behaviour:
    """Mends a few of the functions, and all of them where it is shown how."""
    name = named_in(body)
    return answer(shows_demos(body) or len(name) % 2 == 1, name)


def never_learns(body: dict[str, Any]) -> Behaviour:
    """Mends a few of the functions, whatever it is shown."""
    name = named_in(body)
    return answer(len(name) % 2 == 1, name)


@dataclass
class Place:
    """A workspace, a repository of twenty small files, and a model."""

    workspace: Workspace
    repo: Path
    served: Provider
    settings: Settings
    seen: list[Event] = field(default_factory=list)

    def run(self, on_event: Callable[[Event], None] | None = None, **changes: Any) -> Spun:
        bus = EventBus()
        bus.subscribe(self.seen.append)
        if on_event is not None:
            bus.subscribe(on_event)
        wanted = self.settings.spin.model_copy(update={"rounds": 1} | changes)
        settings = self.settings.model_copy(update={"spin": wanted})
        return spin([str(self.repo)], "mine.py:Mend", settings, self.workspace, self.store, bus)

    @property
    def store(self) -> Store:
        return Store(self.workspace.store_path)

    @property
    def registry(self) -> Registry:
        return Registry(self.workspace, self.store)

    @property
    def stages(self) -> list[str]:
        return [one.stage for one in self.seen if isinstance(one, StageStarted)]

    def recipe(self, *, holdout: float = 0.5, least: int = 6) -> None:
        folder = self.workspace.root / "datasets" / "small"
        shutil.copytree(PACKAGED / "repair-sft", folder, dirs_exist_ok=True)
        (folder / "recipe.toml").write_text(RECIPE.format(holdout=holdout, least=least))


def at(stage: str, does: Callable[[], object]) -> Callable[[Event], None]:
    """A subscriber that does something when a stage begins."""

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == stage:
            does()

    return hear


def killed() -> None:
    """As a process is that ends at once: nothing is written after it."""
    raise SystemExit


def place_of(root: Path, repo: Path, cache: Path, served: Provider) -> Place:
    profile = LMProfile(
        model="anthropic/claude-sonnet-4-6", api_base=served.address, api_key_env="K",
        retries=0, patience=0.2,
    )  # fmt: skip
    settings = Settings(
        lm={"student": profile, "proposer": profile},
        harvest=HarvestSettings(python=Path(sys.executable), jobs=1, source=("mutated",)),
        paths=PathSettings(cache=cache),
        optimize=OptimizeSettings(optimizer="bootstrap-fewshot", rows=6, demos=2),
        spin=SpinSettings(recipe="small", metric="exact_match", max_candidates=60, attempts=2),
    )
    return Place(Workspace(root, "--workspace"), repo, served, settings)


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A workspace whose spin was killed when its first harvest was done; repository and cache."""
    try:
        if probe().level is Level.S2:
            pytest.skip("no sandbox for each fork here")
    except SandboxError as error:
        pytest.skip(f"no isolation here: {error}")
    folder = tmp_path_factory.mktemp("spin")
    root, repo, cache = folder / "workspace", folder / "repo", folder / "cache"
    (root / ".flywheel").mkdir(parents=True)
    (root / "mine.py").write_text(PROGRAM)
    files: dict[str, str | bytes] = {"pkg/__init__.py": ""}
    for name, (_, _, test) in FUNCTIONS.items():
        files[f"pkg/{name}_of.py"] = code_of(name) + "\n"
        files[f"tests/test_{name}.py"] = dedent(
            f"""
            from pkg.{name}_of import {name}

            def test_{name}():
                assert {test}
            """
        )
    repo.mkdir()
    commit(repo, files)
    with provider() as served:
        place = place_of(root, repo, cache, served)
        place.recipe()
        with pytest.raises(SystemExit):
            place.run(at("composed", killed))
    return root, repo, cache


@pytest.fixture
def place(
    tmp_path: Path, harvested: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.setenv("K", "key")
    before, repo, cache = harvested
    root = tmp_path / "workspace"
    shutil.copytree(before, root)
    monkeypatch.chdir(root)
    with provider(learns) as served:
        yield place_of(root, repo, cache, served)


def test_a_better_version_is_deployed_and_tries_training_examples_alone(place: Place) -> None:
    done = place.run(rounds=2)
    first, second = done.rounds
    # The harvest was done before the spin was killed, and is not done again.
    assert place.stages[:4] == ["composed", "studied", "gated", "attempted"]
    assert first.gated is not None
    assert (first.gated.deployed, first.gated.compared) == (True, True), first.gated.why
    said = [one.detail for one in place.seen if isinstance(one, StageEnded) and one.number == 1]
    assert said == [one.sentence for one in first.stages[1:]]
    assert first.gated.champion_score is not None
    assert first.gated.challenger_score is not None
    assert first.gated.champion_score.value is not None
    assert first.gated.challenger_score.value == 1.0 > first.gated.champion_score.value
    assert first.gated.why.startswith("Better: ")
    assert (first.champion, second.champion) == ("Mend@base", first.deployed)
    # The second begins with what the first has deployed, demonstrations included.
    assert first.studied is not None
    assert second.studied is not None
    begun = {
        one["study_id"]: (one["value"], one["demos"] > 0)
        for one in sql(place.store, "FROM study_trials WHERE number = 0").iter_rows(named=True)
    }
    assert begun[first.studied.study][1] is False
    assert begun[second.studied.study] == (1.0, True)
    assert place.registry.deployed("Mend").version_id == done.deployed
    # What it has tried are training examples, and never ones that are held out.
    assert first.composed is not None
    assert first.composed.dataset is not None
    data = find_version(place.workspace.datasets, first.composed.dataset)
    ids = {
        split: {one["example_id"] for part in data.batches(split, ("example_id",))
                for one in part.to_pylist()}
        for split in data.splits
    }  # fmt: skip
    tried = set(sql(place.store, "SELECT example_id FROM attempts")["example_id"])
    assert first.attempted is not None
    assert second.attempted is not None
    assert first.attempted.asked == 2 == second.attempted.asked
    assert tried
    assert not tried & ids["holdout"]
    assert sql(place.store, "FROM live_outcomes").is_empty()
    # The second round has drawn on where the first one ended.
    assert second.harvested is not None
    assert first.harvested is not None
    assert second.harvested.drawn.n > first.harvested.drawn.n
    stored = figures(place.store, kind="spin")
    assert {one.metric for one in stored} == {
        *("yield", "mended", "champion exact_match", "challenger exact_match"),
    }
    assert all(one.subject == f"Mend by spin {done.spin_id}" for one in stored)
    # The report is one file that asks for nothing.
    page = done.report.read_text()
    assert page.count("<svg") == 2
    assert "src=" not in page
    assert "href" not in page
    assert first.deployed in page


def test_a_champion_that_has_learnt_what_scores_a_round_begins_nothing(place: Place) -> None:
    def moved() -> None:
        recipe = place.workspace.root / "datasets" / "small" / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("seed = 3", "seed = 4"))

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and (event.number, event.stage) == (2, "composed"):
            moved()

    done = place.run(hear, rounds=2)
    told = [one.message for one in place.seen if isinstance(one, Warned)]
    assert done.rounds[0].deployed in told[-1]
    assert "has learned from most of what the round's trials are scored on" in told[-1]
    studied = done.rounds[1].studied
    assert studied is not None
    trials = sql(place.store, "FROM study_trials WHERE number = 0").iter_rows(named=True)
    assert {one["study_id"]: one["demos"] for one in trials}[studied.study] == 0


def test_a_round_that_is_lost_says_so_and_the_champion_stays(place: Place) -> None:
    place.served.script[:] = [never_learns]
    done = place.run(attempts=4)
    (one,) = done.rounds
    assert one.gated is not None
    assert (one.gated.deployed, one.lost, one.deployed) == (False, True, "Mend@base")
    assert one.gated.why.startswith("Not shown to be better: +0.0 points (95 % ")
    assert verdict_of(one).endswith("Mend@base stays.")
    assert one.attempted is not None
    assert one.attempted.by == "Mend@base"
    # What fails is a bug of its own, for the next round to learn from.
    written = sql(place.store, "SELECT count(*) FROM examples WHERE source = 'written'")
    assert one.attempted.bugs == written.item() > 0
    assert place.registry.deployed("Mend").number == 0
    # Run again, nothing is asked and nothing is done.
    asked = len(place.served.asked)
    assert place.run(attempts=4).rounds == done.rounds
    assert len(place.served.asked) == asked


def test_a_hold_out_that_is_too_small_names_what_is_needed_and_nothing_is_deployed(
    place: Place,
) -> None:
    place.recipe(least=200)
    done = place.run(attempts=2)
    (one,) = done.rounds
    assert one.composed is not None
    assert one.composed.dataset is None
    assert "200 are needed" in one.composed.problem
    assert one.gated is not None
    assert (one.gated.compared, one.gated.why) == (False, one.composed.problem)
    assert (one.finished, one.lost, place.served.asked) == (True, False, [])
    # A dataset whose hold-out is there, and too small for any gate.
    shutil.rmtree(done.folder)
    place.recipe(holdout=0.05, least=1)
    found = place.run(rows=3, attempts=0).rounds[0].composed
    assert found is not None
    assert found.dataset is not None
    assert "of 1 definition are too few for a gate" in found.problem
    assert f"{needed():,} rows are needed" in found.problem
    assert place.served.asked == []


def test_a_spin_that_is_killed_goes_on_with_its_stage_and_pays_for_nothing_twice(
    place: Place,
) -> None:
    for stage in ("gated", "attempted"):
        with pytest.raises(SystemExit):
            place.run(at(stage, killed))
    live = place.registry.deployed("Mend")
    assert live.number == 1
    asked = len(place.served.asked)
    place.seen.clear()
    done = place.run()
    assert place.stages == ["attempted"]
    assert done.rounds[0].deployed == live.version_id
    assert place.registry.deployed("Mend").number == 1
    assert len(place.served.asked) - asked <= 2


def test_a_round_that_was_killed_after_its_deployment_knows_that_it_has_won(place: Place) -> None:
    done = place.run()
    (one,) = done.rounds
    assert one.gated is not None
    # As if it had ended between the deployment and the round's file.
    Rounds(done.folder).keep(one.model_copy(update={"gated": None, "attempted": None}))
    again = place.run().rounds[0]
    assert again.gated is not None
    assert again.gated.deployed
    assert again.deployed == one.deployed == place.registry.deployed("Mend").version_id


def test_nobody_else_deploys_while_it_spins(place: Place) -> None:
    refused: list[RegistryError] = []

    def try_it() -> None:
        other = place.registry
        with pytest.raises(RegistryError) as told:
            deploy(other, other.base(other.program("mine.py:Mend")), force=True)
        refused.append(told.value)
        raise KeyboardInterrupt

    done = place.run(at("studied", try_it))
    assert "spin" in (refused[0].cause or "")
    # An interrupt keeps what is done, and says that it was one.
    assert done.ended == "interrupted"
    assert [one is not None for one in (done.rounds[0].composed, done.rounds[0].studied)] == [
        True,
        False,
    ]
    assert "Ended: interrupted" in done.report.read_text()


@pytest.mark.parametrize("limit", [{"max_usd": 0.0005}, {"max_tokens": 200}])
def test_a_budget_ends_it_in_the_midst_of_a_round_and_more_of_it_goes_on(
    place: Place, limit: dict[str, Any]
) -> None:
    done = place.run(**limit)
    assert done.ended == "budget"
    (one,) = done.rounds
    assert not one.finished
    more = {name: 1_000_000 * value for name, value in limit.items()}
    assert place.run(**more).rounds[0].finished
