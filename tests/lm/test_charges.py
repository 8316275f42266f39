"""What a call counts for: at the most, where nobody says what it took."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from flywheel.core.errors import BudgetError, LMError
from flywheel.core.settings import LMProfile
from flywheel.lm import Profile, Request, Response, Secrets, Spending, Usage, price_of
from flywheel.lm.backends import anthropic as ours
from tests.fakes.provider import OK, Behaviour, provider
from tests.lm.conftest import FAST, FOR, Asking, claude, question

LATER = Behaviour(status=429, kind="rate_limit_error", message="Too many requests")
UNSAID = {
    "id": "chat-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "mended"}}],
}  # fmt: skip


def most(text: str = "a") -> int:
    """Tokens that a question of the tests can take at the most."""
    return question(text).estimated_tokens + 50


def test_an_answer_whose_tokens_nobody_tells_counts_for_all_it_may_have_taken(asking) -> None:
    with provider(Behaviour(raw=json.dumps(UNSAID).encode())) as served:
        chat = {"model": "openai/gpt-4o-mini", "api_base": f"{served.address}/v1", **FAST}
        one = asking({"default": chat}, max_tokens=2 * most())
        assert [one.ask("a"), one.ask("b")] == ["mended", "mended"]
        assert one.engine.spent.tokens == 2 * most()
        with pytest.raises(BudgetError):
            one.ask("c")
    assert [(call.status, call.input_tokens, call.usd) for call in one.calls] == [
        ("ok", None, None),
        ("ok", None, None),
    ]


def test_a_call_that_was_given_up_counts_for_all_it_may_be_charged(asking) -> None:
    with provider(Behaviour(delay=5), OK) as served:
        one = asking({"default": claude(served, timeout=0.3, retries=0)}, max_tokens=most() + 60)
        with pytest.raises(LMError, match="timeout"):
            one.ask("a")
        assert one.engine.spent.tokens == most()
        # What is left is too little for another.
        with pytest.raises(BudgetError):
            one.ask("b")
    assert len(served.asked) == 1
    assert [(call.status, call.usd) for call in one.calls] == [("timeout", None)]


def test_a_call_that_was_cancelled_counts_for_all_it_may_be_charged(asking) -> None:
    with provider(Behaviour(delay=5), OK) as served:
        one = asking({"default": claude(served)}, max_tokens=most() + 60)
        slow = one.engine.submit(question("a"), FOR)
        while not served.asked:
            time.sleep(0.01)
        slow.cancel()
        while not one.calls:
            time.sleep(0.01)
        assert one.engine.spent.tokens == most()
    assert [(call.status, call.usd) for call in one.calls] == [("cancelled", None)]


@pytest.mark.parametrize("refused", [Behaviour(status=500), LATER, Behaviour(status=400)])
def test_what_a_provider_refused_counts_for_nothing(asking, refused: Behaviour) -> None:
    with provider(refused, OK) as served:
        one = asking({"default": claude(served)}, max_tokens=most())
        if refused.status == 400:
            with pytest.raises(LMError):
                one.ask("a")
        assert one.ask("a") == "a"
    assert one.engine.spent.tokens == 20


def test_a_call_that_was_not_sent_is_no_row_and_counts_for_nothing(asking) -> None:
    with provider(Behaviour(delay=2), OK) as served:
        one = asking({"default": claude(served, concurrency=1)}, max_tokens=10_000)
        first = one.engine.submit(question("a"), FOR)
        while not served.asked:
            time.sleep(0.01)
        waiting = one.engine.submit(question("b"), FOR)
        time.sleep(0.05)
        waiting.cancel()
        assert first.result(20).response.text == "a"
        assert one.ask("c") == "c"
    assert one.statuses == ["ok", "ok"]
    assert one.engine.spent.tokens == 40


def test_later_without_a_time_is_waited_out_and_is_not_the_questions_fault(asking) -> None:
    with provider(*[LATER] * 6, OK) as served:
        one = asking({"default": claude(served, retries=0)})
        assert one.ask("a") == "a"
    assert one.statuses == ["rate"] * 6 + ["ok"]
    # An outage it is not: nobody is told that the provider is out.
    assert one.warned == []


def test_later_is_not_waited_for_longer_than_the_profiles_patience(asking) -> None:
    hours = Behaviour(status=429, headers={"retry-after": "7200"}, message="slow down")
    with provider(hours) as served:
        one = asking({"default": claude(served, patience=60)})
        with pytest.raises(LMError) as caught:
            one.ask("a")
    assert (caught.value.failure, caught.value.retry_after) == ("rate", 7200)
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("does", "failure"),
    [
        (Behaviour(status=429, message="You exceeded your quota: insufficient_quota"), "billing"),
        (Behaviour(status=403, message="Your credit balance is too low"), "billing"),
        # Credit does not come back by waiting; a provider that names a time speaks of a rate.
        (
            Behaviour(
                status=429, headers={"retry-after": "3600"}, message="insufficient quota a minute"
            ),
            "rate",
        ),
        (Behaviour(status=429, message="Rate limit of your credit plan reached"), "rate"),
    ],
)
def test_no_credit_and_too_much_at_once_are_told_apart(asking, does, failure: str) -> None:
    with provider(does) as served:
        one = asking({"default": claude(served, patience=0.2)})
        with pytest.raises(LMError) as caught:
            one.ask()
    assert caught.value.failure == failure
    assert set(one.statuses) == {failure}


def test_a_stream_that_runs_out_of_time_is_not_begun_again_in_its_midst(asking) -> None:
    with provider(Behaviour(text="one two three", pause=10.0), OK) as served:
        one = asking({"default": claude(served, timeout=3)})
        pieces: list[str] = []
        with pytest.raises(LMError, match="timeout"):
            one.ask(on_text=pieces.append)
    assert pieces == ["one"]
    assert len(served.asked) == 1


def test_a_stream_that_fails_before_its_first_word_is_asked_again(asking) -> None:
    with provider(Behaviour(status=529, kind="overloaded_error"), Behaviour(text="one")) as served:
        one = asking({"default": claude(served)})
        pieces: list[str] = []
        assert one.ask(on_text=pieces.append) == "one"
    assert pieces == ["one"]
    assert len(served.asked) == 2


class Broken:
    """A backend with a fault of its own."""

    server, slots = "broken", None

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    async def complete(self, request: Request, **more: Any) -> Response:
        if request.messages[-1].text == "break":
            raise self.fault
        return Response("answer", "stop", Usage(1, 1), "model")

    def price(self, usage: Usage) -> float | None:
        return 0.0

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "fault",
    [
        ZeroDivisionError("by zero"),
        RecursionError(),
        KeyError("x"),
        RuntimeError("sk-ant-key-0123456789abc"),
    ],
)
def test_a_fault_of_a_backend_is_an_error_of_its_question_and_ends_nothing_else(
    asking, fault: Exception
) -> None:
    def backends(profile: Profile, secrets: Secrets) -> Broken:
        return Broken(fault)

    one: Asking = asking(
        {"default": {"model": "x/y", "concurrency": 1}}, backends=backends, max_tokens=200
    )
    for _ in range(4):
        with pytest.raises(LMError) as caught:
            one.ask("break")
        assert type(fault).__name__ in (caught.value.cause or "")
        assert "0123456789abc" not in (caught.value.cause or "")
    assert one.ask("whole") == "answer"
    assert one.statuses == ["invalid-request"] * 4 + ["ok"]
    assert one.engine.spent.tokens == 2


def test_a_schema_is_sent_in_the_form_that_the_provider_takes() -> None:
    schema = {
        "type": "object",
        "properties": {
            "line": {"enum": [3, 4, 5]},
            "code": {"type": "string", "minLength": 1, "maxLength": 4000},
            "more": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 3},
        },
        "required": ["line", "code"],
        "additionalProperties": False,
    }
    before = json.dumps(schema)
    request = Request(question("a").messages, schema=schema)
    profile = Profile("p", LMProfile(model="anthropic/claude-sonnet-4-6"))
    form = ours.parameters(request, profile)["output_config"]["format"]["schema"]
    assert form["additionalProperties"] is False
    assert form["properties"]["line"]["enum"] == [3, 4, 5]
    # Bounds are refused by the provider; what they say stands in the description.
    for refused in ("minLength", "maxLength", "minimum", "maxItems"):
        assert f'"{refused}":' not in json.dumps(form)
    assert "4000" in form["properties"]["code"]["description"]
    # What was asked for is as it was: its identity hangs on it.
    assert json.dumps(schema) == before


def test_what_is_bought_in_another_way_is_a_row_and_counts_for_the_limit(asking) -> None:
    with provider() as served:
        one = asking({"default": claude(served)}, max_tokens=most() + 60)
        one.ask("a")
        (asked,) = one.calls
        before = one.engine.spent
        call = replace(asked, call_id="bought", purpose="optimize:training", usd=0.5)
        one.engine.charge(call, Spending(0.5, 60))
        assert one.engine.spent == before + Spending(0.5, 60)
        with pytest.raises(BudgetError):
            one.ask("b")
    assert [call.purpose for call in one.calls] == [asked.purpose, "optimize:training"]


def test_a_tuned_model_has_the_price_that_is_published_of_its_base() -> None:
    def price(model: str) -> float | None:
        return price_of(Profile("one", LMProfile(model=model)), Usage(1_000_000, 0, 0, 0))

    base = price("openai/gpt-4o-mini-2024-07-18")
    tuned = price("openai/ft:gpt-4o-mini-2024-07-18")
    assert price("openai/ft:gpt-4o-mini-2024-07-18:ours::a1") == tuned
    assert base is not None
    assert tuned is not None
    assert tuned > base
    assert price("openai/ft:nobody-knows:ours::a1") is None
