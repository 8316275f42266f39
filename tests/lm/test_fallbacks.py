"""A profile that stands in for another: when it does, and when the first is asked again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from flywheel.core.errors import LMError
from flywheel.lm import Purpose, Role
from tests.fakes.provider import OK, Behaviour, provider
from tests.lm.conftest import FOR, OVERLOADED, claude, question

JUDGING = Purpose(Role.JUDGE, "test")
BACK = Behaviour(text="first")
SPARE = Behaviour(text="spare")


class Switch:
    """A provider that is out until somebody says otherwise."""

    def __init__(self, delay: float = 0.0) -> None:
        self.out = True
        self.delay = delay

    def __call__(self, body: dict[str, Any]) -> Behaviour:
        return replace(OVERLOADED, delay=self.delay) if self.out else BACK


def test_the_first_profile_is_asked_again_when_it_is_back(asking) -> None:
    switch = Switch()
    with provider(switch) as first, provider(SPARE) as spare:
        one = asking(
            {"corrector": claude(first, fallbacks=("spare",), retries=0), "spare": claude(spare)}
        )
        assert {one.ask(str(n)) for n in range(8)} == {"spare"}
        out = len(first.asked)
        switch.out = False
        until = time.monotonic() + 30
        while one.ask(f"again {len(spare.asked)}") != "first" and time.monotonic() < until:
            time.sleep(0.02)
        # It was one probe that told, and from then on it is the first that answers.
        assert len(first.asked) == out + 1
        assert {one.ask(f"later {n}") for n in range(5)} == {"first"}
    assert [code for code in one.warned if code == "lm-outage"] == ["lm-outage"] * 2


def test_an_outage_is_not_waited_out_where_another_profile_stands_by(asking) -> None:
    with provider(OVERLOADED) as first, provider(SPARE) as spare:
        one = asking(
            {
                "corrector": claude(first, fallbacks=("spare",), patience=3600, retries=1000),
                "spare": claude(spare),
            }
        )
        assert {one.ask(str(n)) for n in range(3)} == {"spare"}


def test_who_waits_an_outage_out_is_not_handed_on_by_one_beside_it(asking) -> None:
    switch = Switch()
    broke = Behaviour(status=402, kind="billing_error")
    with provider(switch) as first, provider(SPARE) as spare, provider(broke) as empty:
        one = asking(
            {
                # The judge leaves an outage of `first` to the spare; the corrector cannot.
                "judge": claude(first, fallbacks=("spare",), retries=0),
                "corrector": claude(empty, fallbacks=("judge",), retries=0),
                "spare": claude(spare),
            }
        )
        for n in range(5):
            one.engine.ask(question(str(n)), JUDGING)
        time.sleep(0.5)  # until a probe may go out
        switch.delay = 1.0
        before = len(first.asked)
        judged = one.engine.submit(question("same"), JUDGING)
        until = time.monotonic() + 30
        while len(first.asked) == before:
            assert time.monotonic() < until, "no probe went out"
            time.sleep(0.01)
        corrected = one.engine.submit(question("same"), FOR)
        assert judged.result(30).response.text == "spare"
        switch.out = False
        assert corrected.result(30).response.text == "first"


def test_a_question_too_long_for_one_profile_goes_to_the_next(asking) -> None:
    long = Behaviour(status=400, message="prompt is too long: 250000 tokens > 200000 maximum")
    with provider(long) as first, provider(SPARE) as spare:
        one = asking({"default": claude(first, fallbacks=("spare",)), "spare": claude(spare)})
        assert one.ask() == "spare"
    assert one.statuses == ["context-length", "ok"]


def test_when_the_last_cannot_answer_either_its_error_is_the_error(asking) -> None:
    wrong = Behaviour(status=401, kind="authentication_error", message="who are you")
    with provider(Behaviour(status=402)) as first, provider(wrong) as spare:
        one = asking({"default": claude(first, fallbacks=("spare",)), "spare": claude(spare)})
        with pytest.raises(LMError, match="authentication"):
            one.ask()
    assert one.statuses == ["billing", "authentication"]


def test_a_kept_answer_of_the_first_is_taken_though_it_is_out(asking) -> None:
    with provider(OK, OVERLOADED) as first, provider(SPARE) as spare:
        one = asking(
            {"default": claude(first, fallbacks=("spare",), retries=0), "spare": claude(spare)}
        )
        assert one.ask("kept") == "kept"
        assert {one.ask(str(n)) for n in range(6)} == {"spare"}
        assert one.ask("kept") == "kept"
