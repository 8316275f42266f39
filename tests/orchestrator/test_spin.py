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

from flywheel.core.errors import SandboxError
from flywheel.core.events import Event, EventBus
from flywheel.core.settings import (
    HarvestSettings,
    LMProfile,
    OptimizeSettings,
    PathSettings,
    Settings,
    SpinSettings,
)
from flywheel.orchestrator.spin import Spun, spin
from flywheel.registry import Registry
from flywheel.sandbox import Level, probe
from flywheel.store import Store
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

[split]
validation = 0.2
holdout = {holdout}
holdout_name = "small"
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
    """Mends half of the functions, and all of them where it is shown how."""
    name = named_in(body)
    return answer(shows_demos(body) or len(name) % 2 == 1, name)


def never_learns(body: dict[str, Any]) -> Behaviour:
    """Mends half of the functions, whatever it is shown."""
    name = named_in(body)
    return answer(len(name) % 2 == 1, name)


@dataclass
class Place:
    """A workspace, a repository of ten small files, and a model."""

    workspace: Workspace
    store: Store
    served: Provider
    settings: Settings
    repo: Path
    seen: list[Event] = field(default_factory=list)

    def run(self, on_event: Callable[[Event], None] | None = None, **changes: Any) -> Spun:
        bus = EventBus()
        bus.subscribe(self.seen.append)
        if on_event is not None:
            bus.subscribe(on_event)
        wanted = self.settings.spin.model_copy(update=changes)
        settings = self.settings.model_copy(update={"spin": wanted})
        return spin([str(self.repo)], "mine.py:Mend", settings, self.workspace, self.store, bus)

    @property
    def registry(self) -> Registry:
        return Registry(self.workspace, self.store)

    def recipe(self, *, holdout: float = 0.4, least: int = 6) -> None:
        folder = self.workspace.root / "datasets" / "small"
        shutil.copytree(PACKAGED / "repair-sft", folder, dirs_exist_ok=True)
        (folder / "recipe.toml").write_text(RECIPE.format(holdout=holdout, least=least))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        if probe().level is Level.S2:
            pytest.skip("no sandbox for each fork here")
    except SandboxError as error:
        pytest.skip(f"no isolation here: {error}")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("K", "key")
    root = tmp_path / "workspace"
    workspace = Workspace(root, "--workspace")
    workspace.state.mkdir(parents=True)
    (root / "mine.py").write_text(PROGRAM)
    monkeypatch.chdir(root)
    repo = tmp_path / "repo"
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
    with provider(learns) as served:
        profile = LMProfile(
            model="anthropic/claude-sonnet-4-6", api_base=served.address, api_key_env="K",
            retries=0, patience=0.2,
        )  # fmt: skip
        settings = Settings(
            lm={"student": profile, "proposer": profile},
            harvest=HarvestSettings(python=Path(sys.executable), jobs=1, source=("mutated",)),
            paths=PathSettings(cache=cache),
            optimize=OptimizeSettings(optimizer="bootstrap-fewshot", rows=6, demos=2),
            spin=SpinSettings(
                rounds=2, recipe="small", metric="exact_match", max_candidates=40, attempts=3
            ),
        )
        found = Place(workspace, Store(workspace.store_path), served, settings, repo)
        found.recipe()
        yield found


def test_a_better_version_is_deployed_and_its_mistakes_are_harvested(place: Place) -> None:
    done = place.run()
    first, second = done.rounds
    assert first.gated is not None
    assert first.gated.deployed, first.gated.why
    assert place.registry.deployed("Mend").version_id == first.deployed == second.champion
