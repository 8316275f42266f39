"""`harvest --source written --batch`, killed wherever it may be: each question is paid once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.batches import Batches, batches
from tests.fakes.provider import Behaviour
from tests.functional.conftest import BOTH_MODES, Shell
from tests.functional.test_written import KEY, planted

BULK = ("--source", "written", *BOTH_MODES, "--batch", "--max-candidates", "0")
USD = (10 * 3 + 4 * 0.3 + 1 * 3.75 + 5 * 15) / 1e6 / 2
"""Of one answer of the fake, at a batch's price."""


@pytest.fixture
def served() -> Iterator[Batches]:
    with batches("tests.functional.test_written:planted") as found:
        yield found


def profile(shell: Shell, served: Batches, model: str = "anthropic/claude-sonnet-4-6") -> None:
    shell.workspace.mkdir(parents=True, exist_ok=True)
    (shell.workspace / "flywheel.toml").write_text(
        f'[lm.generator]\nmodel = "{model}"\napi_base = "{served.address}"\n'
        'api_key_env = "ANTHROPIC_API_KEY"\nbatch_poll = 0.2\npatience = 20\n'
    )
    shell.variables["ANTHROPIC_API_KEY"] = KEY


def killed(shell: Shell, process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not shell.left_behind()


def held(state: dict[str, Any]) -> bool:
    return "held" in state["requests"]


def sent(state: dict[str, Any]) -> bool:
    return "POST batch" in state["requests"]


def looked_at(state: dict[str, Any]) -> bool:
    return any(one.endswith("/msgbatch_0000") for one in state["requests"])


def whole(shell: Shell, root: Path, served: Batches) -> None:
    """It ends well; each question was taken once, and the ledger says so."""
    ran = shell.harvest(root, *BULK)
    assert ran.code == 0, ran.err
    written = ran.summary["written"]
    assert written["by_mode"]["insert"] == {"asked": 2, "answered": 2, "drawn": 2, "valid": 2}
    assert written["by_mode"]["reimplement"] == {
        "asked": 2, "answered": 2, "drawn": 1, "refused": 1, "survived": 1,
    }  # fmt: skip
    state = served.state
    assert len(state["asked"]) == len(set(state["asked"])) == 4
    assert (state["single"], len(state["batches"])) == (0, 1)
    cost = shell.run("cost", "--json").summary
    total = cost["total"]
    assert cost["saved_usd"]["batches"] == pytest.approx(total["usd"])
    # Four tokens of each answer were read from the provider's cache, one was put there.
    assert cost["saved_usd"]["cache"] == pytest.approx(4 * (4 * 2.7 - 0.75) / 1e6 / 2)
    assert (total["calls"], total["answered"], total["failed"]) == (4, 4, 0)
    assert total["input_tokens"] == state["usage"]["input_tokens"]
    assert total["output_tokens"] == state["usage"]["output_tokens"]
    assert total["usd"] == pytest.approx(4 * USD)


def test_it_is_asked_in_one_batch_and_at_half_the_price(
    shell: Shell, repository: Callable[..., Path], served: Batches
) -> None:
    root = repository()
    profile(shell, served)
    served.plan(looks=3)
    told = shell.harvest(root, "--source", "written", *BOTH_MODES, "--batch", "--estimate")
    assert told.code == 0, told.err
    assert served.state["requests"] == []
    ahead = told.summary["written"]["estimate"]
    assert (ahead["questions"], ahead["kept"]) == (4, 0)
    single = shell.harvest(root, "--source", "written", *BOTH_MODES, "--estimate").summary[
        "written"
    ]
    assert ahead["usd"] == pytest.approx(single["estimate"]["usd"] / 2)
    whole(shell, root, served)
    purposes = shell.run("cost", "--by", "purpose", "--json").summary["groups"]
    assert {one["key"] for one in purposes} == {"written:insert@batch", "written:reimplement@batch"}
    # Once more it costs nothing, in batches or not.
    for more in (BULK, ("--source", "written", *BOTH_MODES, "--max-candidates", "0")):
        again = shell.harvest(root, *more)
        assert again.code == 0, again.err
        assert again.summary["written"]["estimate"]["questions"] == 0
    assert (len(served.state["asked"]), served.state["single"]) == (4, 0)


@pytest.mark.parametrize(
    ("plan", "until"),
    [
        pytest.param({"create": "lost"}, sent, id="before the batch came to the provider"),
        pytest.param({"create": "unsaid", "looks": 3}, sent, id="before its name was known"),
        pytest.param({"looks": 10_000}, looked_at, id="while it was under way"),
        pytest.param({"hold_after": 2}, held, id="while its results were read"),
    ],
)
def test_killed_it_goes_on_and_nothing_is_paid_twice(
    shell: Shell,
    repository: Callable[..., Path],
    served: Batches,
    plan: dict[str, Any],
    until: Callable[[dict[str, Any]], bool],
) -> None:
    root = repository()
    profile(shell, served)
    served.plan(**plan)
    process = shell.start("harvest", "--repo", str(root), "--json", *BULK)
    served.wait(until)
    killed(shell, process)
    served.plan(create="", looks=1, hold_after=None)
    whole(shell, root, served)


def test_ctrl_c_leaves_the_batch_and_says_how_to_go_on(
    shell: Shell, repository: Callable[..., Path], served: Batches
) -> None:
    root = repository()
    profile(shell, served)
    served.plan(looks=10_000)
    began = time.monotonic()
    process = shell.start("harvest", "--repo", str(root), "--json", *BULK)
    served.wait(looked_at)
    process.send_signal(signal.SIGINT)
    ran = shell.finish(process, began)
    assert ran.code == 130
    assert "msgbatch_0000" in ran.err
    assert "the same command" in ran.err
    served.plan(looks=1)
    whole(shell, root, served)


def test_other_sources_are_judged_while_a_batch_is_under_way(
    shell: Shell, repository: Callable[..., Path], served: Batches
) -> None:
    root = repository()
    profile(shell, served)
    served.plan(looks=10_000)
    arguments = ("--source", "mutated,written", "--batch", "--max-candidates", "0")
    began = time.monotonic()
    process = shell.start("harvest", "--repo", str(root), "--json", *arguments)
    until = began + 90
    while not any(one["event"] == "candidate-judged" for one in shell.events()):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert looked_at(served.state)
    served.plan(looks=1)
    ran = shell.finish(process, began)
    assert ran.code == 0, ran.err
    by_source = ran.summary["by_source"]
    assert by_source["written"]["judged"] == 3
    assert by_source["mutated"]["judged"] > 0


def test_items_that_are_never_answered_are_counted_and_end_nothing(
    shell: Shell, repository: Callable[..., Path], served: Batches
) -> None:
    root = repository()
    profile(shell, served)
    served.plan(
        results=[
            {"match": "def many", "times": 99, "type": "expired"},
            {"match": "Write the body", "times": 99, "type": "errored", "kind": "overloaded_error"},
        ]
    )
    ran = shell.harvest(root, *BULK)
    assert ran.code == 0, ran.err
    modes = ran.summary["written"]["by_mode"]
    assert modes["insert"] == {"asked": 2, "answered": 1, "expired": 1, "drawn": 1, "valid": 1}
    assert modes["reimplement"] == {"asked": 2, "expired": 1, "errored": 1}
    assert len(served.state["batches"]) == 3
    assert served.state["single"] == 0
    total = shell.run("cost", "--json").summary["total"]
    assert (total["answered"], total["failed"], total["unsettled"]) == (1, 9, 0)
    assert total["usd"] == pytest.approx(USD)


def long(body: dict[str, Any]) -> Behaviour:
    return replace(planted(body), output_tokens=2000)


def test_a_budget_that_is_too_small_for_all_ends_it_with_its_own_code(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    with batches("tests.functional.test_batch:long") as served:
        profile(shell, served)
        told = shell.harvest(root, *BULK, "--estimate").summary["written"]["estimate"]
        limit = int(told["tokens"] * 0.6)
        ran = shell.harvest(root, *BULK, "--max-tokens", str(limit))
        assert ran.code == 4, ran.err
        assert ran.summary["ended"] == "budget"
        # Two fit; what they leave is too little for another.
        assert len(served.state["asked"]) == 2
        assert ran.summary["written"]["tokens"] == 2 * 2015
        assert shell.harvest(root, *BULK).code == 0
        assert len(served.state["asked"]) == len(set(served.state["asked"])) == 4


def test_who_takes_no_batches_is_named_and_nothing_is_asked(
    shell: Shell, repository: Callable[..., Path], served: Batches
) -> None:
    root = repository()
    profile(shell, served, "openai/gpt-5")
    ran = shell.harvest(root, *BULK)
    assert ran.code == 2
    assert "openai/gpt-5 of the profile generator takes no batches" in ran.err
    assert "anthropic/" in ran.err
    assert served.state["requests"] == []
    other = shell.harvest(root, "--source", "mutated", "--batch")
    assert other.code == 2
    assert "--source written --batch" in other.err
    both = shell.harvest(root, "--source", "written,mutated", "--estimate")
    assert both.code == 2
    assert "--source written --estimate" in both.err
