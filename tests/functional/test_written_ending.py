"""How a harvest of written candidates ends: what is paid for is kept, and Ctrl-C is prompt."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fakes.provider import Behaviour, Provider, provider
from tests.functional.conftest import BOTH_MODES, Shell
from tests.functional.test_written import planted, profile


def one_at_once(seconds: float) -> Callable[[dict[str, Any]], Behaviour]:
    """Answers at once where it writes a bug in `least`, and everything else later.

    By what is asked, and not by what comes first: questions that go out together come in any order.
    """

    def answer(body: dict[str, Any]) -> Behaviour:
        said = planted(body)
        return said if "if a > b:" in said.text else replace(said, delay=seconds)

    return answer


def calls(shell: Shell) -> dict[str, int]:
    """Status -> calls, from the ledger."""
    groups = shell.run("cost", "--by", "status", "--json").summary["groups"]
    return {one["key"]: one["calls"] + one["spared"] for one in groups}


def until_asked(served: Provider, wanted: int) -> None:
    until = time.monotonic() + 90
    while len(served.asked) < wanted and time.monotonic() < until:
        time.sleep(0.02)
    assert len(served.asked) >= wanted


def test_answers_under_way_at_a_limit_are_kept_for_the_next_run(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    with provider(one_at_once(8.0)) as served:
        profile(shell, served)
        first = shell.harvest(root, "--source", "written", *BOTH_MODES, "--max-examples", "1")
        assert (first.code, first.summary["ended"]) == (0, "max-examples"), first.err
        assert calls(shell) == {"ok": 4}
        assert "paid answer" in first.err
        second = shell.harvest(root, "--source", "written", *BOTH_MODES, "--max-candidates", "0")
        assert second.code == 0, second.err
        # A refusal is no answer to keep; the others are not asked again.
        assert len(served.asked) == 5
    assert calls(shell) == {"ok": 5, "cached": 3}


def test_an_interrupt_waits_for_no_answer(shell: Shell, repository: Callable[..., Path]) -> None:
    with provider(one_at_once(8.0)) as served:
        profile(shell, served)
        began = time.monotonic()
        process = shell.start(
            "harvest", "--repo", str(repository()), "--json", "--source", "written", *BOTH_MODES
        )
        until_asked(served, 4)
        os.kill(process.pid, signal.SIGINT)
        ran = shell.finish(process, began)
        assert ran.code == 130, ran.err
        assert ran.summary["ended"] == "interrupted"
        # Had it waited, there would be answers. The one that came at once is kept or, when the
        # signal was quicker than its reading, cancelled with the rest.
        found = calls(shell)
        assert found in ({"ok": 1, "cancelled": 3}, {"cancelled": 4})
