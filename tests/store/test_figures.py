"""Figures and scores: kept once, read back whole, unknown never a number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flywheel.core.errors import UsageError
from flywheel.store import (
    Figure,
    JudgedAnswer,
    Scored,
    Store,
    figures,
    ids_to_score,
    ingest,
    judged_before,
    record_figures,
    record_judged,
    record_scores,
    scorable,
    scores_of,
    sql,
    with_answers,
)
from tests.store.conftest import BASELINE, judged

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIGURE = Figure(
    run_id="r1", kind="metric", subject="good of repo", metric="parses", value=0.5, n=4,
    low=0.15, high=0.85, version="1@abc", detail={"unknown": 2}, created_at=NOON,
)  # fmt: skip
SCORED = Scored("parses", "1", "h" * 16, "", "e1", "a1", 0.5, "so so", {"depth": 2.0}, 0.25)


def test_a_figure_comes_back_as_it_was_and_a_run_leaves_it_once(store: Store) -> None:
    record_figures(store, [FIGURE])
    assert figures(store) == (FIGURE,)
    better = replace(FIGURE, value=0.75)
    record_figures(store, [better])
    assert figures(store) == (better,)


def test_figures_come_in_the_order_of_time_and_by_what_they_are(store: Store) -> None:
    unknown = replace(FIGURE, run_id="r0", value=None, low=None, high=None, n=0,
                      created_at=NOON - timedelta(hours=1))  # fmt: skip
    other = replace(FIGURE, metric="yield", kind="harvest", version="")
    record_figures(store, [FIGURE, other])
    record_figures(store, [unknown])
    assert figures(store, metric="parses") == (unknown, FIGURE)
    assert figures(store, kind="harvest", version="") == (other,)
    assert figures(store, subject="nobody") == ()


def test_a_score_is_kept_once_and_an_unknown_one_gives_way(store: Store) -> None:
    unknown = replace(SCORED, answer_hash="a2", value=None, reason="no critic")
    record_scores(store, [SCORED, unknown])
    known = scores_of(store, SCORED.metric_hash, "", ["e1"])
    assert known == {("e1", "a1"): SCORED}
    assert sql(store, "SELECT value FROM scores WHERE answer_hash = 'a2'")["value"][0] is None
    settled = replace(unknown, value=1.0)
    record_scores(store, [replace(SCORED, value=0.0), settled])
    assert scores_of(store, SCORED.metric_hash, "", ["e1"]) == {
        ("e1", "a1"): SCORED,
        ("e1", "a2"): settled,
    }
    assert len(sql(store, "FROM scores")) == 2


def test_the_scores_of_another_metric_judge_or_example_are_not_this_ones(store: Store) -> None:
    record_scores(store, [SCORED, replace(SCORED, judge="a model", usd=None)])
    assert scores_of(store, "another", "", ["e1"]) == {}
    assert scores_of(store, SCORED.metric_hash, "", ["e2"]) == {}
    (one,) = scores_of(store, SCORED.metric_hash, "a model", ["e1"]).values()
    assert one.usd is None


def test_a_verdict_on_an_answer_is_no_candidate(store: Store) -> None:
    failing = JudgedAnswer("c1", False, "", ("t::a", "t::b"), 0.5)
    record_judged(store, [failing], baseline_id=BASELINE.baseline_id)
    record_judged(store, [replace(failing, resolved=True)], baseline_id=BASELINE.baseline_id)
    assert judged_before(store, BASELINE.baseline_id, ["c1", "c2"], tests=12) == {"c1": failing}
    assert judged_before(store, "another", ["c1"], tests=12) == {}
    assert sql(store, "FROM candidates").is_empty()


def test_what_a_harvest_judged_counts_where_every_failing_test_is_named(store: Store) -> None:
    whole, cut = judged(1), judged(2)
    assert cut.confirmation is not None
    stopped_early = replace(cut.confirmation, passing=0)
    batch = [whole, replace(cut, confirmation=stopped_early), judged(3, verdict="survived")]
    ingest(store, batch, baseline_id=BASELINE.baseline_id)
    ids = [one.candidate.candidate_id for one in batch]
    found = judged_before(store, BASELINE.baseline_id, ids, tests=12)
    # A survivor that only the first run has seen is not one of the whole suite.
    assert set(found) == {ids[0]}
    assert not found[ids[0]].resolved
    assert len(found[ids[0]].failing) == 5


def test_the_fix_and_the_bug_are_answers_and_those_of_a_user_find_their_example(
    store: Store,
) -> None:
    ingest(store, [judged(1)], baseline_id=BASELINE.baseline_id)
    (key,) = ids_to_score(store, "good")
    (good,), (bad,) = scorable(store, "good", [key]), scorable(store, "bad", [key])
    assert (good.code, bad.code) == (good.good, good.bad)
    assert good.answer_hash != bad.answer_hash
    assert ids_to_score(store, "attempts") == []
    (brought,) = with_answers(store, [(key, "text", None), ("nowhere", "text", None)])
    assert (brought.example_id, brought.text, brought.code) == (key, "text", None)
    assert ids_to_score(store, "good", where="source = 'nobody'") == []
    with pytest.raises(UsageError, match="condition"):
        ids_to_score(store, "attempts", where="no_column = 1")
