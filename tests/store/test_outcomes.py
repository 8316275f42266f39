"""Outcomes of versions: each kept once, an unknown one gives way, others' are not this one's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from flywheel.lm import Call
from flywheel.store import (
    Bought,
    KeptOutcome,
    Store,
    Trialled,
    bought,
    outcomes_of,
    record_calls,
    record_outcomes,
    sql,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASE = Trialled("repair@base", "repair", "a" * 16, "d@1", "holdout", "tests_pass", "m" * 16, "")
KEPT = KeptOutcome(
    "e1", 1.0, "every test passes", {"mended": 1.0}, "", "return 1", "def f(): return 1",
    0.5, 2.0, 300, 20, "r1", NOON,
)  # fmt: skip
CALL = Call(
    "c1", "r1", "student", "program:repair", "p", "m", "key", "ok", 300, 20, 0, 0, 0.5, 2.0, False,
    NOON,
)  # fmt: skip


def test_an_outcome_is_kept_once_and_an_unknown_one_gives_way(store: Store) -> None:
    unknown = replace(KEPT, example_id="e2", value=None, reason="no environment", usd=None)
    record_outcomes(store, BASE, [KEPT, unknown])
    assert outcomes_of(store, BASE) == {"e1": KEPT}
    settled = replace(unknown, value=0.0, seconds=None, failure="unreadable", code=None)
    record_outcomes(store, BASE, [replace(KEPT, value=0.0), settled])
    assert outcomes_of(store, BASE) == {"e1": KEPT, "e2": settled}
    assert len(sql(store, "FROM outcomes")) == 2


def test_what_another_model_metric_or_dataset_gave_is_not_this_ones(store: Store) -> None:
    record_outcomes(store, BASE, [KEPT])
    for other in ("answered_by", "metric_hash", "dataset", "judge", "version_id"):
        assert outcomes_of(store, replace(BASE, **{other: "another"})) == {}


def test_a_kept_answer_took_what_it_took_when_it_was_bought(store: Store) -> None:
    later = replace(CALL, call_id="c2", status="cached", usd=0.0, seconds=0.0)
    stranger = replace(later, call_id="c3", request_key="never bought here")
    failed = replace(CALL, call_id="c4", request_key="failed", status="timeout", usd=None)
    record_calls(store, [CALL, later, stranger, failed])
    assert bought(store, ["c1", "c2", "c3", "c4", "c5"]) == {
        "c1": Bought(0.5, 2.0),
        "c2": Bought(0.5, 2.0),
    }
