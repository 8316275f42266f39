"""A module of the user's in a file, with real predictors, and a registry of an empty workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.programs.program import Program, find_program
from flywheel.registry import (
    Cost,
    DraftVersion,
    Model,
    ModuleName,
    Optimizer,
    Registry,
    Version,
    VersionScore,
)
from flywheel.store import Gate, Store, record_gate
from flywheel.workspace import Workspace

SOURCE = '''
import dspy


class Fix(dspy.Signature):
    """Mend the code."""

    bad: str = dspy.InputField()
    error: str = dspy.InputField(desc="how its test fails")
    good: str = dspy.OutputField(desc="the code, mended")


class Mend(dspy.Module):
    """Thinks, then mends, then looks again."""

    def __init__(self):
        super().__init__()
        self.fix = dspy.ChainOfThought(Fix)
        self.check = dspy.Predict("bad, good -> right: bool")

    def forward(self, bad, error):
        return self.fix(bad=bad, error=error)
'''
DEMO = {
    "bad": "def f(x):\n    return x - 1",
    "error": "assert 0 == 2",
    "reasoning": "It takes one away.",
    "good": "def f(x):\n    return x + 1",
}
MODEL = Model(model="a/model", profile="local", server="w" * 16)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store without rows: making its tables takes longer than a copy."""
    store = Store(tmp_path_factory.mktemp("empty") / "flywheel.duckdb")
    with store.writing():
        pass
    return store


@pytest.fixture
def registry(tmp_path: Path, empty: Store) -> Registry:
    (tmp_path / "mine.py").write_text(SOURCE)
    workspace = Workspace(tmp_path, "--workspace")
    workspace.state.mkdir()
    empty.copy(workspace.store_path)
    return Registry(workspace, Store(workspace.store_path))


@pytest.fixture
def program(registry: Registry) -> Program:
    return find_program("mine.py:Mend", registry.workspace.root)


@pytest.fixture
def draft(program: Program) -> Callable[..., DraftVersion]:
    """A better program: `instructions` and demonstrations of its first predictor, as told."""

    def make(instructions: str = "Mend it well.", *demos: Any, **changes: Any) -> DraftVersion:
        made = program.make()
        step = made.fix.predict
        step.signature = step.signature.with_instructions(instructions)
        step.demos = list(demos)
        drafted = DraftVersion(
            module=ModuleName(name=program.name, spec=program.spec, hash=program.hash),
            program=made,
            parent="Mend@base",
            optimizer=Optimizer(name="miprov2", options={"auto": "light"}, seed=7),
            dataset="repair-sft@" + "d" * 16,
            metric="tests_pass@" + "f" * 16,
            lm=MODEL,
            cost=Cost(usd=0.25, tokens=12_000, seconds=90.0),
            scores=(
                VersionScore(
                    split="validation", metric="tests_pass@f", value=0.4, n=60, low=0.29, high=0.53
                ),
            ),
            study="study-1",
            trained_on=("e1", "e2"),
            validated_on=("e3",),
            demos=("e2",),
            trials=12,
        )
        return replace(drafted, **changes)

    return make


@pytest.fixture
def judge(registry: Registry, program: Program) -> Callable[..., Gate]:
    """Keep the verdict of a comparison, of a hold-out and for the challenger unless told."""

    def make(champion: str, challenger: Version, **changes: Any) -> Gate:
        gate = Gate(
            gate_id=f"g-{champion}-{challenger.id}-{len(changes)}",
            module="Mend",
            champion=champion,
            challenger=challenger.id,
            dataset="repair-sft@" + "d" * 16,
            split="holdout",
            metric="tests_pass@" + "f" * 16,
            n=200,
            unknown=3,
            champion_value=0.2,
            challenger_value=0.4,
            difference=0.2,
            low=0.12,
            high=0.28,
            p_value=1e-5,
            test="mcnemar-exact",
            gains=50,
            regressions=10,
            better=True,
            code=program.hash,
            run_id="r1",
        )
        gate = replace(gate, **changes)
        record_gate(registry.store, gate)
        return gate

    return make
