"""`flywheel evaluate`: versions of a user's program on real bugs, judged by real tests."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.programs.program import find_program
from flywheel.registry import Cost, DraftVersion, ModuleName, Registry
from flywheel.store import Store, sql
from flywheel.workspace import Workspace
from tests.fakes.provider import Behaviour, Provider, provider
from tests.functional.conftest import PACKAGE, Shell
from tests.functional.test_dataset import built, recipe
from tests.past import commit

SOURCE = """
import dspy


class Mend(dspy.Module):
    def __init__(self):
        super().__init__()
        self.fix = dspy.Predict("bad, error -> good")

    def forward(self, bad, error):
        print("said aloud")
        with dspy.context(adapter=dspy.JSONAdapter()):
            return self.fix(bad=bad, error=error)
"""
MORE = {
    "twice": ("n", "n * 2", "n + n", "twice(4) == 8"),
    "below": ("a, b", "a < b", "b > a", "below(1, 2) and not below(2, 2)"),
    "joined": ("a, b", "a + '-' + b", "'-'.join([a, b])", "joined('x', 'y') == 'x-y'"),
    "rest": ("a, b", "a % b", "divmod(a, b)[1]", "rest(7, 4) == 3"),
    "inside": ("n", "0 < n and n < 9", "n in range(1, 9)", "inside(1) and not inside(9)"),
    "power": ("a, b", "a ** b", "pow(a, b)", "power(2, 5) == 32"),
}
"""Functions of a file each: parameters, body, the same in other words, test."""
MENDED = {
    "plus": "def plus(a, b):\n    return b + a",
    "least": "def least(a, b):\n    return min(a, b)",
    "many": "def many(n):\n    return sum(range(n))",
    **{
        name: f"def {name}({given}):\n    return {same}"
        for name, (given, _, same, _) in MORE.items()
    },
}
"""Fixes that are not the base's own code, so that tests must be run."""
RULES = """
[quality]
least_lines = 1
[licence]
unknown = true
[split]
validation = 0
holdout = 0.999
least_holdout = 6
"""


def says(body: dict[str, Any]) -> Behaviour:
    """The base mends `plus` alone, the better version everything else."""
    asked = body["messages"][-1]["content"]
    text = asked if isinstance(asked, str) else asked[0]["text"]
    name = next(name for name in MENDED if f"def {name}(" in text)
    better = "think" in json.dumps(body.get("system", ""))
    right = (name == "plus") != better
    head = MENDED[name].partition("\n")[0]
    return Behaviour(
        text=json.dumps({"good": MENDED[name] if right else f"{head}\n    return 0.5"})
    )


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider(says) as found:
        yield found


@pytest.fixture
def ready(shell: Shell, served: Provider, tmp_path: Path) -> Shell:
    """A workspace with a dataset of real bugs, all held out, and a program of the user's."""
    root = tmp_path / "repository"
    root.mkdir()
    files = dict(PACKAGE)
    for name, (given, body, _, test) in MORE.items():
        files[f"pkg/{name}_of.py"] = f"def {name}({given}):\n    return {body}\n"
        files[f"tests/test_{name}.py"] = (
            f"from pkg.{name}_of import {name}\n\n\ndef test_{name}():\n    assert {test}\n"
        )
    commit(root, files)
    assert shell.harvest(root, "--max-candidates", "60").code == 0
    recipe(shell, "mine", RULES)
    (shell.workspace / "mend.py").write_text(SOURCE)
    (shell.workspace / "flywheel.toml").write_text(
        '[lm.student]\nmodel = "anthropic/claude-sonnet-4-6"\n'
        f'api_base = "{served.address}"\napi_key_env = "ANTHROPIC_API_KEY"\nretries = 0\n'
    )
    shell.variables["ANTHROPIC_API_KEY"] = "sk-ant-planted-0123456789abcdef"
    return shell


def saved(shell: Shell, dataset: str) -> str:
    """A version that is told to think, as an optimiser would save it."""
    workspace = Workspace(shell.workspace, "--workspace")
    program = find_program("mend.py:Mend", shell.workspace)
    made = program.make()
    made.fix.signature = made.fix.signature.with_instructions("Mend the code, and think.")
    draft = DraftVersion(
        module=ModuleName(name=program.name, spec=program.spec, hash=program.hash),
        program=made,
        parent="Mend@base",
        optimizer=None,
        dataset=dataset,
        metric="tests_pass@1",
        lm=None,
        cost=Cost(usd=0.0, tokens=0, seconds=0.0),
    )
    return Registry(workspace, Store(workspace.store_path)).save(draft).id


def test_versions_are_measured_by_real_tests_and_the_better_one_may_be_deployed(
    ready: Shell, served: Provider
) -> None:
    shell = ready
    dataset = built(shell, "mine")
    better = saved(shell, dataset)
    command = ("evaluate", "--module", "mend.py:Mend", "--dataset", dataset)

    # Interrupted in the midst, everything that was measured is kept.
    served.script[:] = [says, says, lambda body: Behaviour(delay=30)]
    process = shell.start(*command, "--json")
    store = Store(shell.workspace / ".flywheel" / "flywheel.duckdb")
    until = time.monotonic() + 90
    while sql(store, "FROM judged_answers").is_empty() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(1.0)  # the verdict becomes a score
    process.send_signal(signal.SIGINT)
    stopped = shell.finish(process, time.monotonic())
    assert stopped.seconds < 25  # no answer is waited for
    assert stopped.code == 130
    assert stopped.summary["ended"] == "interrupted"
    known = stopped.summary["versions"][0]["now"]
    assert known == len(sql(store, "FROM outcomes"))
    assert 1 <= known <= 2
    served.script[:] = [says]

    ran = shell.run(*command, "--versions", f"base,{better.rpartition('@')[2][:8]}", "--json")
    assert ran.code == 0, ran.err
    base, other = ran.summary["versions"]
    symbols = dict(sql(store, "SELECT example_id, symbol FROM examples").rows())
    assert base["known"] == known
    assert base["mean"]["n"] == other["mean"]["n"] == ran.summary["rows"] >= 6
    for outcome in ran.summary["outcomes"]:
        right = symbols[outcome["example_id"]] == "plus"
        assert outcome["versions"]["Mend@base"]["value"] == float(right)
        assert outcome["versions"][better]["value"] == float(not right)
    (compared,) = ran.summary["compared"]
    assert compared["refused"] is None
    assert len(compared["regressions"]) == sum(
        one["versions"]["Mend@base"]["value"] for one in ran.summary["outcomes"]
    )
    # Nothing is asked and no test is run again, and what got worse stands first.
    asked = len(served.asked)
    again = shell.run(*command, "--versions", f"base,{better}")
    assert again.code == 0, again.err
    assert len(served.asked) == asked
    assert again.out.index("worse by") < again.out.index("score") < again.out.index("beside")
    assert len(sql(store, "FROM outcomes")) == 2 * ran.summary["rows"]
    # What the program prints is no part of what was asked for, and is not lost.
    assert "said aloud" in Workspace(shell.workspace, "--workspace").programs_log.read_text()
    assert "said aloud" not in ran.out + ran.err
