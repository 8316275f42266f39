"""`flywheel correct`: what models write is proven or fails, and every answer is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.lm.backends import local
from tests.fakes.batches import batches
from tests.fakes.provider import Behaviour, Provider, provider
from tests.functional.conftest import PACKAGE, Shell
from tests.past import commit

KEY = "sk-ant-planted-0123456789abcdef"
BASE = {
    "plus": "def plus(a, b):\n    return a + b",
    "least": "def least(a, b):\n    if a < b:\n        return a\n    return b",
    "many": "def many(n):\n    total = 0\n    for i in range(n):\n        total = total + i\n"
    "    return total",
}
OTHER = {
    "plus": "def plus(a, b):\n    return b + a",
    "least": "def least(a, b):\n    return min(a, b)",
    "many": "def many(n):\n    return sum(range(n))",
}
"""Fixes that are not the base's own code."""


def turns(body: dict[str, Any]) -> list[str]:
    return [one["content"] for one in body["messages"]][2:]


def name_in(body: dict[str, Any]) -> str:
    return next(name for name in BASE if f"def {name}(" in turns(body)[0])


def answers(code: str) -> Behaviour:
    return Behaviour(text=json.dumps({"code": code}))


def second_time_lucky(body: dict[str, Any]) -> Behaviour:
    """First a function that gives nothing, then a fix."""
    name = name_in(body)
    if len(turns(body)) == 1:
        return answers(BASE[name].partition("\n")[0] + "\n    return None")
    return answers(OTHER[name])


@pytest.fixture(scope="module")
def harvest(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with some bugs in it, harvested once; each test works on a copy."""
    root = tmp_path_factory.mktemp("repository")
    commit(root, PACKAGE)
    shell = Shell(tmp_path_factory.mktemp("shell"), cache)
    ran = shell.harvest(root, "--operators", "arithmetic,comparison")
    assert ran.code == 0, ran.err
    assert ran.summary["examples"]["new"] >= 3
    return shell.workspace


@pytest.fixture
def harvested(shell: Shell, harvest: Path) -> Shell:
    shutil.copytree(harvest, shell.workspace)
    return shell


def profile(shell: Shell, served: Provider, more: str = "") -> None:
    (shell.workspace / "flywheel.toml").write_text(
        '[lm.corrector]\nmodel = "anthropic/claude-sonnet-4-6"\n'
        f'api_base = "{served.address}"\napi_key_env = "ANTHROPIC_API_KEY"\n'
        f"timeout = 10\nretries = 1\npatience = 2\n{more}"
    )
    shell.variables["ANTHROPIC_API_KEY"] = KEY


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider(second_time_lucky) as found:
        yield found


def test_an_answer_that_fails_is_told_its_error_and_the_next_is_proven(
    harvested: Shell, served: Provider
) -> None:
    shell = harvested
    profile(shell, served)
    before = shell.sql("SELECT example_id, bad, failing_tests FROM examples")
    ran = shell.run("correct", "--turns", "2", "--json")
    assert ran.code == 0, ran.err
    said = ran.summary
    count = len(before)
    assert (said["examples"], said["mended"], said["skipped"]) == (count, count, {})
    assert said["attempts"] == {"failed": count, "fixed": count}
    assert said["by_turn"] == {"1": {"failed": count}, "2": {"fixed": count}}
    # The second turn holds the first answer and its own error, not the one of the bug.
    second = next(body for body in served.asked if len(turns(body)) == 3)
    assert "return None" in turns(second)[1]
    assert "FAILED tests/test_numbers.py" in turns(second)[2]
    assert "None" in turns(second)[2]

    # A failing attempt is a bug of its own; all of one function are one.
    bugs = shell.sql("SELECT * FROM examples WHERE source = 'written'")
    assert {one["symbol"] for one in bugs} == {one["symbol"] for one in before_symbols(shell)}
    assert all(one["operator"].startswith("attempt:") for one in bugs)
    # A fix is a row with its own good code, proven by a run of its own.
    fixes = shell.sql("SELECT * FROM examples WHERE fix_candidate_id IS NOT NULL")
    assert len(fixes) == count == said["fixes"]["new"]
    for one in fixes:
        assert one["good"] == OTHER[one["symbol"]]
        assert one["fix_origin"].startswith("anthropic/claude-sonnet-4-6 attempt@")
        assert one["fix_origin"].endswith("turn 2")
        assert one["passing_tests"] == 3
    # The code that is right is not among what a model is told.
    assert all(BASE[name_in(body)] not in turns(body)[0] for body in served.asked)


def before_symbols(shell: Shell) -> list[dict[str, Any]]:
    return shell.sql("SELECT DISTINCT symbol FROM examples WHERE source = 'mutated'")


def test_fixes_are_replayed_with_their_own_code_and_shown_with_their_conversation(
    harvested: Shell, served: Provider
) -> None:
    shell = harvested
    profile(shell, served)
    assert shell.run("correct", "--json").code == 0
    rows = shell.sql("SELECT count(*) AS n FROM examples")[0]["n"]
    assert shell.run("replay", "--all", "--json").summary["proven"] == rows
    # A fix that is none any more is not proven again.
    (one,) = shell.sql(
        "SELECT example_id FROM examples WHERE fix_candidate_id IS NOT NULL"
        " AND symbol = 'least' LIMIT 1"
    )
    fixed = shell.run("show", one["example_id"], "--json").summary
    assert fixed["good"] == OTHER["least"]
    (bug,) = shell.sql(
        "SELECT example_id FROM examples WHERE fix_candidate_id IS NULL AND source = 'mutated'"
        " AND symbol = 'least' LIMIT 1"
    )
    shown = shell.run("show", bug["example_id"]).out
    assert "anthropic/claude-sonnet-4-6, asked to mend it" in shown
    assert "turn 1  failed" in shown
    assert "turn 2  fixed" in shown
    assert "+    return min(a, b)" in shown
    attempts = shell.run("show", bug["example_id"], "--json").summary["attempts"]
    assert [(one["turn"], one["verdict"]) for one in attempts] == [(1, "failed"), (2, "fixed")]
    assert "A test fails because of it" in attempts[0]["question"]
    assert json.loads(attempts[1]["answer"])["code"] == OTHER["least"]


def test_nothing_is_asked_or_judged_twice(harvested: Shell, served: Provider) -> None:
    shell = harvested
    profile(shell, served)
    assert shell.run("correct", "--json").code == 0
    asked = len(served.asked)
    attempts = shell.sql("SELECT count(*) AS n FROM attempts")
    again = shell.run("correct", "--json", "--where", "source = 'mutated'")
    assert again.code == 0, again.err
    assert len(served.asked) == asked
    assert again.summary["usd"] == 0
    assert (again.summary["fixes"], again.summary["bugs"]) == ({"new": 0}, {"new": 0})
    assert shell.sql("SELECT count(*) AS n FROM attempts") == attempts


def test_the_original_code_again_is_a_fix_and_no_row_of_its_own(
    harvested: Shell, served: Provider
) -> None:
    shell = harvested
    served.script[:] = [lambda body: answers(BASE[name_in(body)])]
    profile(shell, served)
    said = shell.run("correct", "--json").summary
    assert said["attempts"] == {"fixed": said["examples"]}
    assert said["restored"] == said["mended"] == said["examples"]
    assert said["fixes"] == {"new": 0}
    assert shell.sql("SELECT * FROM examples WHERE fix_candidate_id IS NOT NULL") == []


def test_a_fix_that_knows_the_tests_values_is_suspect_and_no_example(harvested: Shell) -> None:
    shell = harvested

    def cheats(body: dict[str, Any]) -> Behaviour:
        code = turns(body)[0].partition("has a bug:\n\n")[2].partition("\n\nA test fails")[0]
        head, _, rest = code.partition("\n")
        if "def plus" in code:
            return answers(f"{head}\n    if (a, b) == (2, 3):\n        return 5\n{rest}")
        return answers(f"{head}\n    if n == 4:\n        return 6\n{rest}")

    with provider(cheats) as served:
        profile(shell, served)
        said = shell.run(
            "correct", "--json", "--turns", "1", "--show-tests",
            "--where", "symbol IN ('plus', 'many')",
        ).summary  # fmt: skip
    assert said["attempts"] == {"suspect": said["examples"]}
    assert said["mended"] == 0
    assert shell.sql("SELECT * FROM examples WHERE fix_candidate_id IS NOT NULL") == []
    (one, *_) = shell.sql("SELECT reason FROM attempts ORDER BY reason")
    assert "special-cases" in one["reason"]


def test_the_source_of_tests_is_shown_by_option_alone(harvested: Shell, served: Provider) -> None:
    shell = harvested
    profile(shell, served)
    assert shell.run("correct", "--turns", "1").code == 0
    # What pytest prints of the failing line is the error itself; the rest of the test is not.
    assert not any("The test:" in turns(body)[0] for body in served.asked)
    served.asked.clear()
    assert shell.run("correct", "--turns", "1", "--show-tests").code == 0
    assert served.asked
    assert all("The test:\n\ndef test_" in turns(body)[0] for body in served.asked)


NONSENSE = [
    ("I would rather not.", "no-code"),
    ('{"code": "def other(): pass"}', "wrong-function"),
    ('{"code": "def least(:"}', "not-python"),
    ('{"code": ""}', "no-code"),
    ("", "empty"),
    ("x" * 10_000_000, "too-long"),
    ('{"path": "/etc/passwd", "code": "import os\\nos.unlink(\'x\')"}', "wrong-function"),
    ("这个函数没有错误。", "no-code"),
]


def test_what_is_no_code_is_counted_by_its_reason(harvested: Shell, served: Provider) -> None:
    shell = harvested
    served.script[:] = [Behaviour(text=text) for text, _ in NONSENSE]
    profile(shell, served, "concurrency = 1\n")
    count = str(len(NONSENSE))
    ran = shell.run("correct", "--sample", "1", "--turns", "1", "--samples", count, "--json")
    assert ran.code == 0, ran.err
    said = ran.summary
    assert said["attempts"] == {"rejected": len(NONSENSE)}
    assert said["reasons"] == Counter(reason for _, reason in NONSENSE)
    assert shell.sql("SELECT * FROM candidates WHERE source = 'written'") == []


def test_what_parses_and_does_not_compile_is_no_fix(harvested: Shell, served: Provider) -> None:
    served.script[:] = [lambda body: answers(BASE[name_in(body)] + "\n    break")]
    profile(harvested, served)
    said = harvested.run("correct", "--sample", "1", "--turns", "1", "--json").summary
    assert (said["attempts"], said["reasons"]) == ({"rejected": 1}, {"not-python": 1})
    assert said["mended"] == 0


def test_an_answer_that_comes_again_is_judged_once(harvested: Shell, served: Provider) -> None:
    served.script[:] = [lambda body: answers(BASE[name_in(body)].partition("\n")[0] + " return")]
    profile(harvested, served)
    said = harvested.run("correct", "--sample", "1", "--turns", "3", "--json").summary
    assert said["by_turn"] == {str(turn): {"failed": 1} for turn in (1, 2, 3)}
    assert said["bugs"] == {"new": 1}
    runs = harvested.sql(
        "SELECT count(*) AS n FROM trials t JOIN candidates c USING (candidate_id)"
        " WHERE c.source = 'written' AND t.kind = 'judge'"
    )
    assert runs == [{"n": 1}]


def test_a_model_is_told_what_is_wrong_with_its_answer(harvested: Shell, served: Provider) -> None:
    served.script[:] = [Behaviour(text="I would rather not.")]
    profile(harvested, served)
    said = harvested.run("correct", "--sample", "1", "--turns", "3", "--json").summary
    assert said["by_turn"] == {str(turn): {"rejected": 1} for turn in (1, 2, 3)}
    assert [len(turns(body)) for body in served.asked] == [1, 3, 5]
    assert "is no fix: the answer is not in the form" in turns(served.asked[2])[4]


def test_harvest_attempts_the_bugs_of_its_own_commit(
    shell: Shell, repository: Callable[..., Path], served: Provider
) -> None:
    shell.workspace.mkdir(parents=True)
    profile(shell, served)
    ran = shell.harvest(
        repository(), "--source", "mutated,written", "--modes", "attempt",
        "--generator", "corrector", "--operators", "arithmetic", "--max-candidates", "0",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    bugs = shell.sql("SELECT * FROM examples WHERE source = 'mutated'")
    modes = ran.summary["written"]["by_mode"]
    assert modes == {"attempt": {"asked": len(bugs), "answered": len(bugs), "valid": len(bugs)}}
    flawed = shell.sql("SELECT operator FROM examples WHERE source = 'written'")
    assert all(one["operator"].startswith("attempt:") for one in flawed)
    assert ran.summary["examples"]["new"] == len(bugs) + len(flawed)
    by_purpose = shell.run("cost", "--by", "purpose", "--json").summary["groups"]
    assert [one["key"] for one in by_purpose] == ["written:attempt"]


def test_an_estimate_is_said_before_and_can_be_all_that_is_wanted(
    harvested: Shell, served: Provider
) -> None:
    shell = harvested
    profile(shell, served)
    only = shell.run("correct", "--estimate", "--json")
    assert only.code == 0, only.err
    count, ahead = only.summary["examples"], only.summary["estimate"]
    assert (ahead["questions"], ahead["kept"], only.summary["asked"]) == (count, 0, 0)
    assert served.asked == []
    bulk = shell.run("correct", "--estimate", "--batch", "--json").summary["estimate"]
    assert bulk["usd"] == pytest.approx(ahead["usd"] / 2)
    attempts = shell.harvest(
        shell.sql("SELECT DISTINCT repo FROM examples")[0]["repo"],
        "--source", "written", "--modes", "attempt", "--generator", "corrector", "--estimate",
    ).summary["written"]["estimate"]  # fmt: skip
    assert attempts["questions"] == count
    told = shell.run("correct", "--estimate")
    assert f"{count} questions and 0 kept answers" in told.out
    assert "first of 2 turns" in told.out
    ran = shell.run("correct", "--turns", "1", "--json")
    assert f"{count} questions, at most" in ran.err
    assert ran.summary["estimate"] == ahead
    assert 0 < ran.summary["usd"] <= ahead["usd"]
    assert shell.run("correct", "--estimate", "--json").summary["estimate"]["kept"] == count


def test_turns_go_out_in_batches_and_are_paid_half(harvested: Shell) -> None:
    shell = harvested
    with batches("tests.functional.test_correct:second_time_lucky") as served:
        (shell.workspace / "flywheel.toml").write_text(
            f'[lm.corrector]\nmodel = "anthropic/claude-sonnet-4-6"\napi_base = "{served.address}"'
            '\napi_key_env = "ANTHROPIC_API_KEY"\nbatch_poll = 0.2\npatience = 20\n'
        )
        shell.variables["ANTHROPIC_API_KEY"] = KEY
        process = shell.start("correct", "--batch", "--json")
        served.wait(lambda state: len(state["batches"]) == 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        ran = shell.run("correct", "--batch", "--json", "--where", "source = 'mutated'")
        assert ran.code == 0, ran.err
        said, state = ran.summary, served.state
    assert said["mended"] == said["examples"]
    assert (said["batch"], state["single"], len(state["batches"])) == (True, 0, 2)
    # Two turns, two batches, and nothing in them twice.
    assert len(state["asked"]) == 2 * said["examples"]
    assert shell.run("cost", "--json").summary["saved_usd"]["batches"] > 0


def test_a_line_alone_can_mend_it(harvested: Shell, served: Provider) -> None:
    shell = harvested

    def line(body: dict[str, Any]) -> Behaviour:
        numbered = turns(body)[0].partition("numbered.\n\n")[2].partition("\n\nA test")[0]
        good = BASE[name_in(body)].split("\n")
        shown = numbered.split("\n")
        for old, new in zip(shown, good, strict=True):
            if old.partition(": ")[2] != new:
                return Behaviour(text=json.dumps({"line": old, "code": new}))
        raise AssertionError(numbered)

    served.script[:] = [line]
    profile(shell, served)
    said = shell.run("correct", "--answer", "line", "--json").summary
    assert said["attempts"] == {"fixed": said["examples"]}
    # What may be chosen is what the function says, as it stands.
    schema = served.asked[0]["output_config"]["format"]["schema"]
    assert all(": " in choice for choice in schema["properties"]["line"]["enum"])


def test_an_outage_is_no_verdict_and_a_budget_ends_it_with_its_own_code(
    harvested: Shell, served: Provider
) -> None:
    shell = harvested
    served.script[:] = [Behaviour(status=529, kind="overloaded_error")]
    profile(shell, served)
    ran = shell.run("correct")
    assert ran.code == 1
    assert "overloaded" in ran.err
    assert shell.sql("SELECT * FROM attempts") == []
    served.script[:] = [second_time_lucky]
    poor = shell.run("correct", "--json", "--max-tokens", "600")
    assert poor.code == 4, poor.err
    assert poor.summary["ended"] == "budget"
    rich = shell.run("correct", "--json", "--where", "source = 'mutated'")
    assert rich.code == 0, rich.err
    assert rich.summary["mended"] == rich.summary["examples"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_its_midst_it_goes_on_where_it_was(
    harvested: Shell, served: Provider, how: signal.Signals
) -> None:
    shell = harvested
    served.script[:] = [lambda body: slow(second_time_lucky(body), body)]

    def slow(one: Behaviour, body: dict[str, Any]) -> Behaviour:
        time.sleep(0.5 if len(turns(body)) == 1 else 0)
        return one

    profile(shell, served, "concurrency = 1\n")
    process = shell.start("correct", "--json")
    until = time.monotonic() + 60
    while len(served.asked) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, how) if how is signal.SIGKILL else process.send_signal(how)
    ran = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert process.returncode == 130, ran
        assert json.loads(ran[0])["ended"] == "interrupted"
    asked = len(served.asked)
    again = shell.run("correct", "--json", "--where", "source = 'mutated'")
    assert again.code == 0, again.err
    assert again.summary["mended"] == again.summary["examples"]
    # The first answer was there; what was under way may be asked again.
    assert len(served.asked) - asked <= 2 * again.summary["examples"] - 1


def test_bad_input_is_a_usage_error(harvested: Shell, served: Provider) -> None:
    profile(harvested, served)
    for arguments, said in (
        (("--where", "nonsense = 1"), "DuckDB does not accept the condition"),
        (("--where", "source = 'mined'"), "no example fits the condition"),
        (("0123456789abcdef",), "No example begins with"),
        (("--corrector", "nobody"), "no language model profile 'nobody'"),
        (("--turns", "0"), "correct.turns"),
        (("--answer", "poem"), "correct.answer"),
        (("0123", "--sample", "2"), "an ID names one"),
    ):
        ran = harvested.run("correct", *arguments)
        assert ran.code == 2, ran.err
        assert said in ran.err
    assert served.asked == []


def test_an_empty_store_says_what_fills_it(shell: Shell) -> None:
    ran = shell.run("correct")
    assert ran.code != 0
    assert "harvest" in ran.err


@pytest.mark.skipif(not local.installed(), reason="the local model is not installed")
def test_the_small_model_is_asked_and_its_answers_judged(harvested: Shell) -> None:
    ran = harvested.run("correct", "--sample", "2", "--turns", "2", "--answer", "line",
                        "--corrector", "local", "--json", timeout=300)  # fmt: skip
    assert ran.code == 0, ran.err
    said = ran.summary
    assert said["model"] == "local"
    answered = sum(said["attempts"].values())
    assert 2 <= answered <= 4
    assert len(harvested.sql("SELECT * FROM attempts")) == answered
    cost = harvested.run("cost", "--json").summary
    assert cost["total"]["answered"] + cost["total"]["spared"] == answered


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


class Cheat(Mend):
    def forward(self, bad, good):
        return dspy.Prediction(good=good)
'''


def asked_of_program(body: dict[str, Any]) -> str:
    said = json.dumps(body["messages"])
    return next(name for name in BASE if f"def {name}(" in said)


def mends_some(body: dict[str, Any]) -> Behaviour:
    """A fix of its own, a function that gives nothing, and an answer that cannot be read."""
    name = asked_of_program(body)
    wrong = BASE[name].partition("\n")[0] + "\n    return None"
    said = {"plus": {"good": OTHER[name]}, "least": {"good": wrong}, "many": {"other": 1}}
    return Behaviour(text=json.dumps(said[name]))


def programmed(shell: Shell, served: Provider) -> None:
    profile(shell, served)
    text = (shell.workspace / "flywheel.toml").read_text()
    (shell.workspace / "flywheel.toml").write_text(text.replace("lm.corrector", "lm.student"))
    (shell.workspace / "mine.py").write_text(PROGRAM)


def test_a_program_mends_in_its_own_way_and_its_answers_are_proven(harvested: Shell) -> None:
    shell = harvested
    with provider(mends_some) as served:
        programmed(shell, served)
        ran = shell.run("correct", "--program", "mine.py:Mend", "--json")
        assert ran.code == 0, ran.err
    said = ran.summary
    assert (said["versions"], said["turns"]) == (["Mend@base"], 1)
    rows = shell.sql(
        "SELECT e.symbol, a.verdict, a.reason, a.prompt, a.answer, a.question, a.call_id"
        " FROM attempts a JOIN examples e USING (example_id)"
    )
    verdicts = {"plus": "fixed", "least": "failed", "many": "rejected"}
    assert {one["verdict"] for one in rows} <= set(verdicts.values())
    assert len(rows) == said["asked"]
    for one in rows:
        assert (one["verdict"], one["prompt"]) == (verdicts[one["symbol"]], "Mend@base")
        asked = json.loads(one["question"])
        assert set(asked) == {"bad", "error"}
        assert f"def {one['symbol']}" in asked["bad"]
        assert one["call_id"]
        if one["verdict"] == "rejected":
            assert one["reason"] == "unreadable: no good in the answer"
    assert {one["symbol"] for one in rows} == {"plus", "least", "many"}
    # What passes is a fix by the version; what fails is a bug of its own.
    (fix,) = shell.sql(
        "SELECT DISTINCT fix_origin FROM examples WHERE fix_candidate_id IS NOT NULL"
    )
    assert fix["fix_origin"] == "anthropic/claude-sonnet-4-6 Mend@base turn 1"
    bugs = shell.sql("SELECT symbol, operator FROM examples WHERE source = 'written'")
    assert [(one["symbol"], one["operator"]) for one in bugs] == [
        ("least", "Mend:anthropic/claude-sonnet-4-6@base")
    ]
    calls = shell.sql("SELECT DISTINCT role, purpose FROM calls")
    assert calls == [{"role": "student", "purpose": "program:Mend"}]
    # What is deployed answered, so its outcomes are live ones.
    live = shell.sql("SELECT version_id, success FROM live_outcomes")
    assert Counter(one["success"] for one in live)[True] == said["attempts"]["fixed"]
    assert {one["version_id"] for one in live} == {"Mend@base"}


def test_a_program_that_cannot_mend_or_be_asked_so_is_refused(
    harvested: Shell, served: Provider
) -> None:
    shell = harvested
    programmed(shell, served)
    for arguments, told in (
        (("--program", "mine.py:Cheat"), "cannot mend: it takes good"),
        (("--program", "mine.py:Mend", "--turns", "2"), "a program has one turn"),
        (("--program", "mine.py:Mend", "--estimate"), "--estimate is for a model"),
    ):
        ran = shell.run("correct", *arguments)
        assert ran.code == 2, ran.out
        assert told in ran.err
    assert served.asked == []


def test_a_program_whose_model_is_out_is_no_verdict(harvested: Shell) -> None:
    shell = harvested
    with provider(Behaviour(status=529, kind="overloaded_error")) as served:
        programmed(shell, served)
        ran = shell.run("correct", "--program", "mine.py:Mend")
    assert ran.code == 1
    assert "overloaded" in ran.err
    assert shell.sql("SELECT * FROM attempts") == []
    assert shell.sql("SELECT * FROM live_outcomes") == []
