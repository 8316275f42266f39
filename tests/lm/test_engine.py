"""The engine against a provider on a real socket, through Anthropic's library and through DSPy."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import BudgetError, LMError, UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Message, Request, Role, Secrets
from tests.fakes.provider import OK, Behaviour, provider
from tests.lm.conftest import FAST, FOR, KEY, OVERLOADED, claude, question


def test_an_answer_is_journalled_with_its_tokens_and_its_price(asking) -> None:
    with provider(Behaviour(text="mended")) as served:
        one = asking({"corrector": claude(served)})
        assert one.ask() == "mended"
    (call,) = one.calls
    assert (call.status, call.role, call.purpose, call.run_id) == (
        "ok",
        "corrector",
        "test",
        "run-1",
    )
    # What the provider's cache gave is part of what was read.
    assert (call.input_tokens, call.output_tokens) == (15, 5)
    assert (call.cache_read_tokens, call.cache_write_tokens) == (4, 1)
    assert call.usd == pytest.approx((10 * 3 + 4 * 0.3 + 1 * 3.75 + 5 * 15) / 1e6)
    assert served.headers[0]["authorization"] == f"Bearer {KEY}"


def test_what_requests_share_is_marked_for_the_providers_cache(asking) -> None:
    with provider() as served:
        one = asking({"default": claude(served, temperature=1.5)})
        schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
        request = Request((Message("user", "a"),), system="shared", schema=schema, stop=("END",))
        one.engine.ask(request, FOR)
    (asked,) = served.asked
    assert asked["system"] == [
        {"type": "text", "text": "shared", "cache_control": {"type": "ephemeral"}}
    ]
    form = asked["output_config"]["format"]
    assert (form["type"], form["schema"]["type"]) == ("json_schema", "object")
    # Bounds of lengths are refused by the provider.
    assert "maxLength" not in form["schema"]["properties"]["a"]
    assert (asked["stop_sequences"], asked["temperature"]) == (["END"], 1.0)


def test_the_same_question_is_paid_once_also_by_the_next_run(asking) -> None:
    with provider() as served:
        profiles = {"default": claude(served)}
        first = asking(profiles)
        assert first.ask("a") == first.ask("a") == "a"
        first.engine.close()
        again = asking(profiles)
        assert again.ask("a") == "a"
        assert again.engine.ask(question("a", sample=1), FOR).response.text == "a"
    assert len(served.asked) == 2
    assert again.statuses == ["ok", "cached", "cached", "ok"]
    assert [call.usd for call in again.calls if call.status == "cached"] == [0, 0]


def test_the_same_question_to_another_server_is_another_question(asking) -> None:
    with provider(Behaviour(text="one")) as first, provider(Behaviour(text="two")) as second:
        assert asking({"default": claude(first)}).ask() == "one"
        assert asking({"default": claude(second)}).ask() == "two"


def test_one_question_asked_at_once_by_many_is_sent_once(asking) -> None:
    with provider(Behaviour(delay=0.3)) as served:
        one = asking({"default": claude(served)})
        futures = [one.engine.submit(question("a"), FOR) for _ in range(20)]
        assert {future.result(10).response.text for future in futures} == {"a"}
    assert len(served.asked) == 1
    assert sorted(one.statuses) == ["ok"] + ["shared"] * 19


def test_who_gives_up_does_not_end_the_call_of_another(asking) -> None:
    with provider(Behaviour(delay=0.4)) as served:
        one = asking({"default": claude(served)})
        first = one.engine.submit(question("a"), FOR)
        second = one.engine.submit(question("a"), FOR)
        time.sleep(0.1)
        first.cancel()
        assert second.result(10).response.text == "a"
        with pytest.raises(CancelledError):
            first.result(10)


def test_no_more_calls_are_under_way_than_the_profile_allows(asking) -> None:
    with provider(Behaviour(delay=0.05)) as served:
        one = asking({"default": claude(served, concurrency=3)})
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(20)]
        assert [future.result(20).response.text for future in futures] == [
            str(n) for n in range(20)
        ]
    assert served.most == 3


def test_what_fails_in_passing_is_asked_again(asking) -> None:
    with provider(Behaviour(status=500), OVERLOADED, OK) as served:
        one = asking({"default": claude(served)})
        assert one.ask("a") == "a"
    assert one.statuses == ["unavailable", "overloaded", "ok"]


def test_a_question_that_fails_each_time_fails_after_its_tries(asking) -> None:
    with provider(Behaviour(status=500)) as served:
        one = asking({"default": claude(served, retries=2)})
        with pytest.raises(LMError) as caught:
            one.ask()
    assert caught.value.failure == "unavailable"
    assert len(served.asked) == 3


def test_a_provider_that_says_later_is_taken_at_its_word_by_every_call(asking) -> None:
    later = Behaviour(status=429, kind="rate_limit_error", headers={"retry-after": "1"})
    with provider(later, OK) as served:
        one = asking({"default": claude(served, retries=0, concurrency=1)})
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(3)]
        for future in futures:
            future.result(20)
    assert served.at[1] - served.at[0] >= 0.99
    assert sorted(one.statuses) == ["ok", "ok", "ok", "rate"]


def test_a_rate_is_kept_to(asking) -> None:
    with provider() as served:
        one = asking({"default": claude(served, requests_per_minute=600, concurrency=64)})
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(80)]
        for future in futures:
            future.result(30)
    # When they were sent: a busy machine may bring them to the server in another rhythm.
    sent = sorted(call.started_at.timestamp() for call in one.calls)
    bucket = 600 / 60 * 6
    for first in range(80):
        for last in range(first, 80):
            assert last - first + 1 <= 10 * (sent[last] - sent[first]) + bucket + 0.1


@pytest.mark.parametrize(
    ("does", "failure"),
    [
        (
            Behaviour(status=401, kind="authentication_error", message="invalid x-api-key"),
            "authentication",
        ),
        (Behaviour(status=403, kind="permission_error"), "authentication"),
        (Behaviour(status=400, message="Your credit balance is too low"), "billing"),
        (Behaviour(status=402, kind="billing_error"), "billing"),
        (
            Behaviour(status=404, kind="not_found_error", message="model: claude-9"),
            "unknown-model",
        ),
        (Behaviour(status=400, message="prompt is too long: 250000 tokens"), "context-length"),
        (Behaviour(status=413, kind="request_too_large"), "context-length"),
        (
            Behaviour(status=400, message="Output blocked by content filtering policy"),
            "content-filter",
        ),
        (Behaviour(status=400, message="max_tokens: must be positive"), "invalid-request"),
        (Behaviour(status=400, message="Invalid model: claude-9"), "unknown-model"),
        (Behaviour(status=400, message="model: this one takes no temperature"), "invalid-request"),
    ],
)
def test_what_no_waiting_mends_is_said_at_once_and_by_its_kind(asking, does, failure) -> None:
    with provider(does) as served:
        one = asking({"default": claude(served)})
        with pytest.raises(LMError) as caught:
            one.ask()
    assert caught.value.failure == failure
    assert len(served.asked) == 1
    assert one.statuses == [failure]
    assert [call.usd for call in one.calls] == [0]


@pytest.mark.parametrize(
    "does",
    [
        Behaviour(raw=b"<html>gateway</html>"),
        Behaviour(raw=b'{"type": "message", "content": '),
        Behaviour(raw=b"[]"),
        Behaviour(raw=b'{"type": "message", "role": "assistant", "content": null}'),
        Behaviour(raw=b""),
        Behaviour(cut=True),
    ],
)
def test_what_is_no_answer_is_a_failure_and_no_empty_answer(asking, does) -> None:
    with provider(does, OK) as served:
        one = asking({"default": claude(served)})
        assert one.ask("a") == "a"
    assert one.statuses == ["unavailable", "ok"]


def test_a_slow_answer_is_given_up_after_its_time(asking) -> None:
    with provider(Behaviour(delay=2), OK) as served:
        one = asking({"default": claude(served, timeout=0.3)})
        assert one.ask("a") == "a"
    assert one.statuses == ["timeout", "ok"]
    # Nobody says whether what was given up is charged.
    assert one.calls[0].usd is None


def test_an_outage_is_waited_out_and_said_and_nothing_is_lost_or_paid_twice(asking) -> None:
    began: list[float] = []

    def until_then(body: dict[str, Any]) -> Behaviour:
        began.append(time.monotonic())
        return OVERLOADED if began[-1] < began[0] + 1.5 else OK

    with provider(until_then) as served:
        # Five failures open the circuit: until then one question may have failed twice.
        one = asking({"default": claude(served, retries=2, concurrency=16)})
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(100)]
        texts = [future.result(30).response.text for future in futures]
    assert texts == [str(n) for n in range(100)]
    assert one.statuses.count("ok") == 100
    # While it was out few calls were sent: a probe now and then.
    assert sum(at < began[0] + 1.5 for at in began) < 40
    assert one.warned[0] == one.warned[-1] == "lm-outage"


def test_an_outage_longer_than_the_profiles_patience_is_an_error_of_its_own(asking) -> None:
    with provider(OVERLOADED) as served:
        one = asking({"default": claude(served, patience=0.5, retries=100)})
        with pytest.raises(LMError) as caught:
            one.ask()
    assert caught.value.failure == "overloaded"


def test_another_profile_stands_in_while_one_is_out(asking) -> None:
    with provider(OVERLOADED) as down, provider(Behaviour(text="spare")) as up:
        profiles = {
            "corrector": claude(down, fallbacks=("spare",), retries=1),
            "spare": claude(up),
        }
        one = asking(profiles)
        replies = [one.engine.ask(question(str(n)), FOR) for n in range(5)]
    assert {(reply.response.text, reply.profile) for reply in replies} == {("spare", "spare")}
    assert "lm-fallback" in one.warned
    # Once its circuit is open it is not even asked.
    assert len(down.asked) < 10


def test_a_request_that_is_wrong_is_not_handed_on(asking) -> None:
    with provider(Behaviour(status=400)) as wrong, provider() as spare:
        one = asking({"default": claude(wrong, fallbacks=("spare",)), "spare": claude(spare)})
        with pytest.raises(LMError):
            one.ask()
    assert spare.asked == []


def test_a_streamed_answer_comes_in_pieces_and_is_a_row_too(asking) -> None:
    with provider(Behaviour(text="one two three")) as served:
        one = asking({"default": claude(served)})
        pieces: list[str] = []
        assert one.ask(on_text=pieces.append) == "one two three"
        assert pieces == ["one", " two", " three"]
        again: list[str] = []
        one.ask(on_text=again.append)
    assert again == ["one two three"]
    assert [(call.status, call.streamed) for call in one.calls] == [("ok", True), ("cached", False)]


def test_a_stream_that_breaks_off_is_not_begun_again_in_its_midst(asking) -> None:
    with provider(Behaviour(text="one two three", cut=True)) as served:
        one = asking({"default": claude(served)})
        pieces: list[str] = []
        with pytest.raises(LMError, match="no answer"):
            one.ask(on_text=pieces.append)
    assert pieces == ["one"]
    assert len(served.asked) == 1
    assert one.statuses == ["unavailable"]


def test_a_budget_of_tokens_stops_before_it_is_exceeded_and_keeps_what_was_paid(asking) -> None:
    with provider() as served:
        profiles = {"default": claude(served, concurrency=4)}
        one = asking(profiles, max_tokens=500)
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(200)]
        done, stopped = 0, 0
        for future in futures:
            error = future.exception(20)
            done += error is None
            stopped += isinstance(error, BudgetError) and "of 500 tokens spent" in error.message
        assert done > 0
        assert done + stopped == 200
        assert one.engine.spent.tokens <= 500
        assert one.engine.spent.tokens == 20 * done
        assert one.warned == ["lm-budget", "lm-budget"]
        one.engine.close()
        # With a higher limit it goes on where it stopped: what was paid for is not asked again.
        before = len(served.asked)
        more = asking(profiles, max_tokens=100_000)
        for n in range(200):
            more.ask(str(n))
    assert len(served.asked) - before == 200 - done


def test_a_budget_in_dollars_needs_prices(asking) -> None:
    with provider() as served:
        unpriced = {**claude(served), "model": "anthropic/nobody-knows"}
        with pytest.raises(UsageError, match="prices"):
            asking({"default": unpriced}, max_usd=1).ask()
        priced = {**unpriced, "input_price": 1, "output_price": 10}
        one = asking({"default": priced}, max_usd=0.001)
        one.ask()
        assert one.calls[-1].usd == pytest.approx((15 * 1 + 5 * 10) / 1e6)
        futures = [one.engine.submit(question(str(n)), FOR) for n in range(20)]
        errors = [future.exception(20) for future in futures]
        assert any(isinstance(one, BudgetError) and "$0.001 spent" in one.message for one in errors)


def test_a_missing_key_says_which_variable_is_wanted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    profiles = {"default": LMProfile(model="anthropic/claude-sonnet-4-6")}
    engine = Engine(profiles, journal, secrets=Secrets({}))
    with engine as one, pytest.raises(LMError, match="authentication") as caught:
        one.ask(question("a"), FOR)
    assert "ANTHROPIC_API_KEY is not set" in (caught.value.cause or "")
    journal.close()


def test_a_profile_that_is_not_there_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(UsageError) as caught:
        Engine({"cheap": LMProfile(model="x/y")}, journal, chosen={Role.GENERATOR: "cheep"})
    assert caught.value.hint == "did you mean cheap?"
    journal.close()


def test_a_key_is_nowhere_but_in_the_header(asking, tmp_path: Path) -> None:
    tell = Behaviour(status=400, message=f"bad key {KEY} and Bearer {KEY}")
    with provider(tell, Behaviour(text="fine")) as served:
        one = asking({"default": claude(served)})
        with pytest.raises(LMError) as caught:
            one.ask()
        one.ask("b")
    shown = f"{caught.value!r} {caught.value.cause} {caught.value.__context__!r} {one.events}"
    assert KEY not in shown
    one.engine.close()
    one.journal.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_cancelling_a_call_gives_its_slot_and_its_budget_back(asking) -> None:
    with provider(Behaviour(delay=5), OK) as served:
        one = asking({"default": claude(served, concurrency=1)}, max_tokens=200)
        slow = one.engine.submit(question("a"), FOR)
        while not served.asked:
            time.sleep(0.01)
        slow.cancel()
        assert one.engine.submit(question("b"), FOR).result(4).response.text == "b"
    assert one.statuses == ["cancelled", "ok"]


def test_closing_gives_up_what_is_under_way(asking) -> None:
    with provider(Behaviour(delay=5)) as served:
        one = asking({"default": claude(served)})
        slow = one.engine.submit(question("a"), FOR)
        while not served.asked:
            time.sleep(0.01)
        one.engine.close()
        with pytest.raises(CancelledError):
            slow.result(4)
    assert not [thread for thread in threading.enumerate() if thread.name == "flywheel-lm"]


def test_every_other_provider_is_reached_through_dspy(asking) -> None:
    with provider(Behaviour(status=500), Behaviour(text="routed")) as served:
        chat = {"model": "openai/gpt-4o-mini", "api_base": f"{served.address}/v1", **FAST}
        one = asking({"default": chat})
        assert one.ask() == "routed"
    assert one.statuses == ["unavailable", "ok"]
    assert (one.calls[-1].input_tokens, one.calls[-1].output_tokens) == (15, 5)
    assert one.calls[-1].usd == pytest.approx((15 * 0.15 + 5 * 0.6) / 1e6)


@pytest.mark.parametrize(
    "text", ["", " ", "x" * 10_000_000, "答案是不。🙂", "\x00\x07", "\u2028\r\n"]
)
@pytest.mark.parametrize("protocol", ["anthropic/claude-sonnet-4-6", "openai/gpt-4o-mini"])
def test_whatever_is_answered_comes_back_as_it_is(asking, protocol: str, text: str) -> None:
    with provider(Behaviour(text=text)) as served:
        base = served.address if protocol.startswith("anthropic") else f"{served.address}/v1"
        profiles = {"default": {**FAST, "model": protocol, "api_base": base, "timeout": 60}}
        one = asking(profiles)
        assert one.ask() == text
        # And from the journal.
        assert one.ask() == text
    assert one.statuses == ["ok", "cached"]
