"""Ending: what is paid for is kept, what was not sent is dropped, and nothing is left open."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flywheel.core.errors import LMError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Profile, Reply, Request, Response, Secrets, Usage
from tests.fakes.provider import OK, Behaviour, Provider, provider
from tests.lm.conftest import FOR, OVERLOADED, claude, question


def until_asked(served: Provider, calls: int) -> None:
    until = time.monotonic() + 30
    while len(served.asked) < calls and time.monotonic() < until:
        time.sleep(0.01)
    assert len(served.asked) == calls


def test_what_was_sent_may_end_and_is_not_paid_again_by_the_next_run(asking) -> None:
    with provider(Behaviour(delay=0.5)) as served:
        profiles = {"default": claude(served, concurrency=2)}
        one = asking(profiles)
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(6)]
        until_asked(served, 2)
        one.engine.close(patience=30)
        # Those that had not been sent are dropped, and are no rows.
        assert one.statuses == ["ok", "ok"]
        assert [future.result(0).response.text for future in futures[:2]] == ["0", "1"]
        for future in futures[2:]:
            with pytest.raises(CancelledError):
                future.result(0)
        assert one.warned == ["lm-ending"]
        again = asking(profiles)
        assert [again.ask(str(n)) for n in range(2)] == ["0", "1"]
        assert len(served.asked) == 2


def test_what_was_under_way_when_its_process_was_killed_is_in_the_ledger(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from tests.lm.conftest import Asking, question
        one = Asking(Path(sys.argv[1]), {"default": {
            "model": "anthropic/claude-sonnet-4-6", "api_base": sys.argv[2],
        }})
        one.ask("answered")
        one.ask("slow")
    """
    root = Path(__file__).parents[2]
    with provider(OK, Behaviour(delay=60)) as served:
        command = [sys.executable, "-c", dedent(program), str(tmp_path), served.address]
        with subprocess.Popen(command, cwd=root) as process:
            until_asked(served, 2)
            process.kill()
    journal = Journal(tmp_path / "journal.sqlite")
    done, lost = journal.calls()
    assert (done.status, lost.status) == ("ok", "lost")
    assert done.usd is not None
    assert done.usd > 0
    assert (lost.usd, lost.input_tokens) == (None, None)
    assert (lost.role, lost.purpose, lost.run_id) == ("corrector", "test", "run-1")
    journal.close()


def test_the_waiting_has_an_end(asking) -> None:
    with provider(Behaviour(delay=60)) as served:
        one = asking({"default": claude(served, timeout=100)})
        slow = one.engine.submit(question("a"), FOR)
        until_asked(served, 1)
        one.engine.close(patience=0.2)
        assert slow.cancelled()
    assert one.statuses == ["cancelled"]


@pytest.mark.parametrize(
    "failing", [Behaviour(status=500, delay=0.3), Behaviour(status=429, delay=0.3)]
)
def test_what_fails_in_the_end_is_not_asked_again_nor_handed_on(asking, failing: Behaviour) -> None:
    with provider(failing) as served, provider() as spare:
        one = asking({"default": claude(served, fallbacks=("spare",)), "spare": claude(spare)})
        asked = one.engine.submit(question("a"), FOR)
        until_asked(served, 1)
        one.engine.close(patience=30)
        with pytest.raises(LMError):
            asked.result(0)
    assert (len(served.asked), len(spare.asked)) == (1, 0)


def test_what_is_put_while_the_engine_ends_is_not_sent(asking) -> None:
    with provider(Behaviour(text="a", delay=0.5), Behaviour(delay=1)) as served:
        one = asking({"default": claude(served)})
        later: list[Future[Reply]] = []
        asked = one.engine.submit(question("a"), FOR)
        other = one.engine.submit(question("b"), FOR)
        # A program of two steps goes on when its first is answered.
        asked.add_done_callback(lambda done: later.append(one.engine.submit(question("next"), FOR)))
        until_asked(served, 2)
        one.engine.close(patience=30)
        assert (asked.done(), other.done(), later[0].cancelled()) == (True, True, True)
        assert len(served.asked) == 2
    assert one.statuses == ["ok", "ok"]


def test_an_engine_that_was_closed_can_be_asked_again(asking) -> None:
    with provider(OVERLOADED, OVERLOADED, OK) as served:
        one = asking({"default": claude(served)})
        one.engine.close(patience=1)
        assert one.ask("a") == "a"
        one.engine.close(patience=1)
        assert one.ask("a") == "a"
    assert one.statuses == ["overloaded", "overloaded", "ok", "cached"]


class Stubborn:
    """A backend that cannot be closed."""

    server = "stubborn"
    slots = None

    def __init__(self, closed: list[str], profile: Profile) -> None:
        self.closed, self.profile = closed, profile

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        return Response("answer", "stop", Usage(1, 1), "model")

    def price(self, usage: Usage) -> float | None:
        return 0.0

    async def close(self) -> None:
        self.closed.append(self.profile.name)
        raise RuntimeError("it does not close")


def test_a_backend_that_does_not_close_keeps_no_other_open(tmp_path: Path) -> None:
    closed: list[str] = []

    def backends(profile: Profile, secrets: Secrets) -> Any:
        return Stubborn(closed, profile)

    journal = Journal(tmp_path / "journal.sqlite")
    profiles = {name: LMProfile(model=f"x/{name}") for name in ("corrector", "judge")}
    one = Engine(profiles, journal, backends=backends)
    for role in ("corrector", "judge"):
        purpose = type(FOR)(type(FOR.role)(role), "test")
        assert one.ask(question(role), purpose).profile == role
    one.close()
    journal.close()
    assert closed == ["corrector", "judge"]
    assert not [thread for thread in threading.enumerate() if thread.name == "flywheel-lm"]
