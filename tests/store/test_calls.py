"""Calls of language models: each stored once, and sums that name what they do not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from flywheel.lm import Call
from flywheel.store import Store, answering_seconds, call_sums, record_calls

DAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OK = Call(
    "c0", "r1", "corrector", "correct", "big", "anthropic/big", "k0", "ok",
    1000, 200, 400, 100, 0.01, 2.0, False, DAY,
)  # fmt: skip
CACHED = replace(OK, call_id="c1", status="cached", usd=0.0, seconds=0.0)
FAILED = replace(
    OK, call_id="c2", status="rate", usd=0.0, input_tokens=None, output_tokens=None,
    cache_read_tokens=None, cache_write_tokens=None,
)  # fmt: skip
GIVEN_UP = replace(FAILED, call_id="c3", status="timeout", usd=None, run_id="r2")
UNPRICED = replace(OK, call_id="c4", model="own/model", usd=None, role="judge")
ALL = [OK, CACHED, FAILED, GIVEN_UP, UNPRICED]


def test_a_sum_tells_made_from_spared_and_known_from_unknown(store: Store) -> None:
    record_calls(store, ALL)
    record_calls(store, [OK, UNPRICED])
    (total,) = call_sums(store)
    assert (total.calls, total.answered, total.spared, total.failed) == (4, 2, 1, 2)
    # What was spared was read and written once only.
    assert (total.input_tokens, total.output_tokens, total.cache_read_tokens) == (2000, 400, 800)
    assert (total.usd, total.unpriced, total.unsettled) == (0.01, 1, 1)


def test_a_kept_answer_took_what_it_took_when_it_came(store: Store) -> None:
    other = replace(CACHED, call_id="c5", run_id="r2")
    again = replace(other, call_id="c6")
    failed = replace(FAILED, call_id="c7", run_id="r2", request_key="k1")
    judged = replace(OK, call_id="c8", run_id="r2", purpose="judge", request_key="k2")
    record_calls(store, [OK, other, again, failed, judged])
    assert answering_seconds(store, "r2", OK.purpose) == OK.seconds
    assert answering_seconds(store, "nobody", OK.purpose) == 0.0


def test_sums_are_by_what_is_asked_the_dearest_first(store: Store) -> None:
    record_calls(store, ALL)
    assert [one.key for one in call_sums(store, "role")] == ["corrector", "judge"]
    assert [one.key for one in call_sums(store, "day")] == ["2026-01-02"]
    assert {one.key: one.calls for one in call_sums(store, "run")} == {"r1": 3, "r2": 1}
    assert {one.key for one in call_sums(store, "status")} == {"ok", "cached", "rate", "timeout"}
    assert [one.calls for one in call_sums(store, run_id="r2")] == [1]
    assert call_sums(store, "role", run_id="nobody") == []


def test_an_empty_ledger_has_no_sum(store: Store) -> None:
    assert call_sums(store) == []
