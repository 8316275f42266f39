"""`flywheel metric`: answers to real bugs, measured by real tests and by models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.lm.backends import local
from flywheel.store import Figure, Store, figures, sql
from tests.fakes.provider import Behaviour, Provider, provider
from tests.functional.conftest import PACKAGE, Shell
from tests.functional.test_correct import OTHER, answers, name_in, profile, turns
from tests.past import commit

WRONG = {
    "plus": "def plus(a, b):\n    return None",
    "least": "def least(a, b):\n    return None",
    "many": "def many(n):\n    return -1",
}
"""Answers that mend nothing."""


@pytest.fixture(scope="module")
def harvest(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A workspace with some bugs in it, harvested once; each test works on a copy."""
    root = tmp_path_factory.mktemp("repository")
    commit(root, PACKAGE)
    shell = Shell(tmp_path_factory.mktemp("shell"), cache)
    ran = shell.harvest(root, "--operators", "arithmetic,comparison")
    assert ran.code == 0, ran.err
    return shell


@pytest.fixture
def harvested(shell: Shell, harvest: Shell) -> Shell:
    shutil.copytree(harvest.workspace, shell.workspace)
    return shell


def store(shell: Shell) -> Store:
    return Store(shell.workspace / ".flywheel" / "flywheel.duckdb")


def rows(shell: Shell, query: str) -> list[dict[str, Any]]:
    return sql(store(shell), query).to_dicts()


def figure(shell: Shell, metric: str) -> Figure:
    return figures(store(shell), metric=metric)[-1]


def brought(shell: Shell, *sets: dict[str, str]) -> tuple[str, int, int]:
    """A file with an answer of each set to each example; its name, answers, different changes."""
    found = rows(shell, "SELECT example_id, symbol FROM examples")
    lines = [
        {
            "example_id": one["example_id"],
            "answer": f"Mended:\n```python\n{told[one['symbol']]}\n```",
        }
        for told in sets
        for one in found
    ]
    path = shell.folder / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path), len(lines), len(sets) * len({one["symbol"] for one in found})


def test_fixes_pass_bugs_fail_and_neither_is_judged_again(harvested: Shell) -> None:
    shell = harvested
    bugs = len(rows(shell, "FROM examples"))
    good = shell.run("metric", "run", "tests_pass", "--json")
    assert good.code == 0, good.err
    said = good.summary
    assert (said["mean"]["value"], said["mean"]["n"], said["judged"]) == (1.0, bugs, 0)
    assert said["parts"]["mended"]["value"] == said["parts"]["kept"]["value"] == 1.0
    bad = shell.run("metric", "run", "tests_pass", "--answers", "bad", "--json").summary
    assert (bad["mean"]["value"], bad["mean"]["n"], bad["judged"]) == (0.0, bugs, 0)
    assert (bad["parts"]["mended"]["value"], bad["parts"]["kept"]["value"]) == (0.0, 1.0)
    # What has a score is not measured again, and the figure is of all.
    again = shell.run("metric", "run", "tests_pass", "--json").summary
    assert (again["now"], again["known"], again["mean"]) == (0, bugs, said["mean"])
    stored = figure(shell, "tests_pass")
    assert stored.subject.startswith("good of ")
    assert (stored.value, stored.n, stored.low) == (1.0, bugs, said["mean"]["low"])
    # The harvest has left its own.
    found = figure(shell, "yield")
    assert found.detail["verdicts"]["valid"] == bugs
    assert found.low is not None
    assert found.low < bugs / found.n == found.value
    assert figure(shell, "unknown").value == 0.0
    assert figure(shell, "examples a minute").n == bugs


def test_what_a_user_brings_is_judged_once_by_several_processes_and_makes_no_example(
    harvested: Shell,
) -> None:
    shell = harvested
    before = rows(
        shell, "SELECT (SELECT count(*) FROM examples) e, (SELECT count(*) FROM verdicts) v"
    )
    path, count, changes = brought(shell, OTHER, WRONG)
    command = ("metric", "run", "--answers", path, "--json")
    first = shell.start(*command, "composite")
    second = shell.run(*command, "tests_pass")
    first_said = shell.finish(first, 0.0)
    assert (first_said.code, second.code) == (0, 0), first_said.err + second.err
    both = [first_said.summary, second.summary]
    assert [one["mean"]["n"] for one in both] == [count, count]
    assert sum(one["judged"] for one in both) == changes == len(rows(shell, "FROM judged_answers"))
    assert both[1]["mean"]["value"] == 0.5
    scores = rows(
        shell,
        "SELECT value, parts ->> 'mended' AS mended, parts ->> 'kept' AS kept"
        " FROM scores WHERE metric = 'tests_pass'",
    )
    assert {(one["value"], one["mended"], one["kept"]) for one in scores} == {
        (1.0, "1.0", "1.0"),
        (0.0, "0.0", "1.0"),
    }
    after = rows(
        shell, "SELECT (SELECT count(*) FROM examples) e, (SELECT count(*) FROM verdicts) v"
    )
    assert after == before


def test_what_is_no_definition_fails_and_what_cannot_be_judged_is_not_known(
    harvested: Shell, harvest: Shell
) -> None:
    shell = harvested
    keys = [one["example_id"] for one in rows(shell, "SELECT example_id FROM examples LIMIT 3")]
    texts = ["I do not know.", "def another(a):\n    return 1", "def plus(a, b:\n    return"]
    path = shell.folder / "answers.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"example_id": key, "answer": text})
            for key, text in [*zip(keys, texts, strict=True), ("0" * 16, "nothing")]
        )
    )
    ran = shell.run("metric", "run", "tests_pass", "--answers", str(path), "--json")
    assert ran.code == 0, ran.err
    assert (ran.summary["mean"]["value"], ran.summary["mean"]["n"]) == (0.0, 3)
    assert ran.summary["strange"] == ["0" * 16]
    reasons = {one["reason"] for one in rows(shell, "SELECT reason FROM scores")}
    assert "the answer holds no code" in reasons
    assert {"wrong-function", "not-python"} & reasons

    # Without the repository nothing can be run: that is no failing answer.
    path, count, _ = brought(shell, OTHER)
    (repo,) = rows(shell, "SELECT DISTINCT repo FROM examples")
    away = Path(repo["repo"]).with_name("away")
    Path(repo["repo"]).rename(away)
    try:
        ran = shell.run("metric", "run", "tests_pass", "--answers", path, "--json")
    finally:
        away.rename(repo["repo"])
    assert ran.code == 1
    assert ran.summary["mean"] == {"value": None, "n": 0, "low": None, "high": None}
    assert sum(ran.summary["unknown"].values()) == count
    assert rows(shell, "FROM judged_answers") == []
    # It is known as soon as it can be.
    again = shell.run("metric", "run", "tests_pass", "--answers", path, "--json").summary
    assert (again["mean"]["value"], again["now"], again["unknown"]) == (1.0, count, {})


def opinion(score: int) -> Behaviour:
    return Behaviour(text=json.dumps({"reason": "it seems so", "score": score}))


def says(body: dict[str, Any]) -> Behaviour:
    """As the corrector a wrong answer, then a right one; as the judge one that sees through it."""
    text = body["messages"][-1]["content"]
    if "<repair>" in (text if isinstance(text, str) else text[0]["text"]):
        return opinion(1 if "return None" in json.dumps(body["messages"]) else 9)
    name = name_in(body)
    if len(turns(body)) == 1:
        return answers(f"def {name}({'n' if name == 'many' else 'a, b'}):\n    return None")
    return answers(OTHER[name])


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider(says) as found:
        yield found


def playing_all(shell: Shell, served: Provider) -> Shell:
    """A workspace whose every role is played by the provider."""
    profile(shell, served)
    settings = shell.workspace / "flywheel.toml"
    settings.write_text(settings.read_text().replace("lm.corrector", "lm.default"))
    return shell


def test_a_judge_is_compared_with_the_tests_on_what_models_answered(
    harvested: Shell, served: Provider
) -> None:
    shell = playing_all(harvested, served)
    assert shell.run("correct", "--turns", "2", "--json").code == 0
    mended = figure(shell, "mended")
    assert (mended.value, mended.version) == (1.0, "by anthropic/claude-sonnet-4-6")
    bugs, asked = mended.n, len(served.asked)
    ran = shell.run("metric", "run", "plan_judge", "--answers", "attempts", "--json")
    assert ran.code == 0, ran.err
    both = ran.summary["agreement"]
    assert (both["both_accept"], both["both_reject"], both["agree"]) == (bugs, bugs, 2 * bugs)
    assert (both["kappa"], both["may_drive"]) == (1.0, False)
    questions = len(served.asked) - asked
    assert questions % 3 == 0
    again = shell.run("metric", "run", "plan_judge", "--answers", "attempts")
    assert f"{2 * bugs}: 0 measured now, {2 * bugs} known from before" in again.out
    assert "This judge may drive nothing: only" in again.out
    assert len(served.asked) - asked == questions
    stored = figure(shell, "plan_judge: kappa with the tests")
    assert (stored.value, stored.n, stored.detail["may_drive"]) == (1.0, 2 * bugs, False)
    (spent,) = rows(shell, "SELECT sum(usd) AS usd, min(judge) AS judge FROM scores")
    assert spent["usd"] > 0
    assert spent["judge"] == "anthropic/claude-sonnet-4-6"


MINE = '''
"""Whether a model says yes."""

from flywheel.programs import Answer, Case, Judge, Score

VERSION = "1"


def mine(case: Case, answer: Answer, judge: Judge) -> Score:
    """Whether a model can be asked."""
    said = judge.ask("Say yes.", max_tokens=4)
    return Score(float(bool(said)), said[0] if said else "nothing")
'''


@pytest.mark.skipif(not local.installed(), reason="the local model is not installed")
def test_a_metric_of_the_users_own_may_ask_the_small_model(harvested: Shell) -> None:
    folder = harvested.workspace / "metrics"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    ran = harvested.run(
        "metric", "run", "mine", "--judge", "local", "--limit", "1", "--json", timeout=300
    )
    assert ran.code == 0, ran.err
    assert (ran.summary["mean"]["value"], ran.summary["judge"]) == (1.0, "local")
    (reason,) = rows(harvested, "SELECT DISTINCT reason FROM scores")
    assert reason["reason"].strip()


def test_a_judge_that_was_not_compared_with_the_tests_says_why(
    harvested: Shell, served: Provider
) -> None:
    shell = playing_all(harvested, served)
    (shell.workspace / "metrics").mkdir()
    (shell.workspace / "metrics" / "mine.py").write_text(MINE)
    assert shell.run("correct", "--json").code == 0
    served.script[:] = [Behaviour(text="yes")]
    run = ("metric", "run", "mine", "--answers", "attempts")
    assert "its scores have no part 'accepted'" in shell.run(*run).out
    assert "accepted" in shell.run(*run, "--json").summary["uncompared"]
    assert shell.run("metric", "run", "mine", "--json").summary["uncompared"] is None
