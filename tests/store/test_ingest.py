"""Ingestion: what goes in comes out, once, and small."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flywheel.core.errors import StoreError
from flywheel.core.records import Baseline, Judged, Part, TestFailure
from flywheel.store import (
    Buffer,
    Run,
    Store,
    baseline,
    example,
    examples,
    ingest,
    known_verdicts,
    record_baseline,
    record_run,
    replayable,
    sql,
)

Make = Callable[..., Judged]


def test_the_same_batch_twice_is_stored_once(store: Store, make: Make, baseline_id: str) -> None:
    batch = [make(number) for number in range(30)]
    first = ingest(store, batch, baseline_id=baseline_id)
    second = ingest(store, [*batch, make(30), make(30)], baseline_id=baseline_id)
    assert (first.stored, first.known) == (30, 0)
    assert (second.stored, second.known) == (1, 30)
    counts = sql(
        store,
        "SELECT (SELECT count(*) FROM candidates), (SELECT count(*) FROM trials),"
        " (SELECT count(*) FROM verdicts), (SELECT count(*) FROM fixes)",
    )
    assert counts.row(0) == (31, 93, 31, 31)


def test_the_examples_announced_are_the_examples_shown(
    store: Store, make: Make, baseline_id: str
) -> None:
    batch = [make(1), make(2, verdict="survived"), make(3, verdict="unknown"), make(4)]
    done = ingest(store, batch, baseline_id=baseline_id)
    shown = examples(store)
    assert {kept.example_id for kept in done.examples} == set(shown["example_id"])
    assert {kept.candidate_id for kept in done.examples} == {
        batch[0].candidate.candidate_id,
        batch[3].candidate.candidate_id,
    }
    assert {kept.test_id for kept in done.examples} == set(shown["test_id"])


def disagreeing(one: Judged) -> Judged:
    assert one.confirmation is not None
    other = replace(one.confirmation, failing=("tests/test_words.py::test_9",), failures=())
    return replace(one, confirmation=other)


@pytest.mark.parametrize(
    "spoil",
    [
        disagreeing,
        lambda one: replace(one, confirmation=None),
        lambda one: replace(one, good=None),
        lambda one: replace(one, good=one.trial),
        lambda one: replace(one, confirmation=one.good),
        lambda one: replace(one, verdict="unknown", reason="not-confirmed"),
    ],
)
def test_what_is_not_proven_twice_and_fixed_is_no_example(
    store: Store, make: Make, baseline_id: str, spoil: Callable[[Judged], Judged]
) -> None:
    done = ingest(store, [spoil(make(1))], baseline_id=baseline_id)
    assert done.examples == ()
    assert examples(store).is_empty()
    assert len(known_verdicts(store, baseline_id)) == 1


def test_an_unknown_verdict_gives_way_to_a_settled_one_and_never_back(
    store: Store, make: Make, baseline_id: str
) -> None:
    key = make(1).candidate.candidate_id
    ingest(store, [make(1, verdict="unknown")], baseline_id=baseline_id)
    done = ingest(store, [make(1)], baseline_id=baseline_id)
    assert (done.stored, done.settled, done.known) == (0, 1, 0)
    ingest(store, [make(1, verdict="unknown")], baseline_id=baseline_id)
    assert known_verdicts(store, baseline_id)[key].verdict == "valid"
    assert sql(store, "SELECT count(*) FROM trials").item() == 3


def test_the_tests_that_tell_several_bugs_apart_are_those_of_the_settled_verdict(
    store: Store, make: Make, baseline_id: str
) -> None:
    alone = [make(number) for number in (2, 3)]
    ingest(store, alone, baseline_id=baseline_id)

    def several(verdict: str, *tests: tuple[str, ...]) -> Judged:
        one = make(1, verdict=verdict)
        parts = tuple(
            Part(bug.candidate.candidate_id, told) for bug, told in zip(alone, tests, strict=True)
        )
        return replace(one, candidate=replace(one.candidate, parts=parts))

    ingest(store, [several("unknown", ("a", "b"), ("c",))], baseline_id=baseline_id)
    settled = several("valid", ("a",), ("c",))
    (kept,) = ingest(store, [settled], baseline_id=baseline_id).examples
    assert [part.tests for part in example(store, kept.example_id).parts] == [("a",), ("c",)]
    (whole,) = replayable(store, ids=[kept.example_id])
    assert whole.candidate.parts == settled.candidate.parts


def test_the_same_change_under_two_baselines_is_one_example(
    store: Store, make: Make, baseline_record: Baseline
) -> None:
    other = replace(baseline_record, environment_hash="f" * 16)
    record_baseline(store, other)
    ingest(store, [make(1)], baseline_id=baseline_record.baseline_id)
    ingest(store, [make(1)], baseline_id=other.baseline_id)
    assert examples(store)["environment_hash"].to_list() == ["e" * 16]
    assert sql(store, "SELECT count(*) FROM candidates").item() == 1
    assert sql(store, "SELECT count(*) FROM verdicts").item() == 2


def test_a_candidate_comes_back_whole_to_be_judged_again(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(5)
    ingest(store, [one, make(6)], baseline_id=baseline_id)
    kept = ingest(store, [make(7)], baseline_id=baseline_id).examples[0]
    assert [row.candidate for row in replayable(store, ids=[kept.example_id])] == [
        make(7).candidate
    ]
    row = next(row for row in replayable(store) if row.candidate == one.candidate)
    assert one.confirmation is not None
    assert row.failing == one.confirmation.failing
    assert (row.repo, row.commit) == ("https://example.org/words.git", "c" * 40)


def test_a_baseline_comes_back_as_it_was_recorded(store: Store, baseline_record: Baseline) -> None:
    record_baseline(store, baseline_record)
    found = baseline(
        store,
        baseline_record.revision_id,
        baseline_record.environment_hash,
        baseline_record.toolchain,
    )
    assert found == baseline_record
    assert baseline(store, baseline_record.revision_id, "0" * 16, "pytest@0123") is None


def test_tests_that_share_an_id_do_not_multiply_examples(
    store: Store, make: Make, baseline_record: Baseline
) -> None:
    doubled = replace(baseline_record, environment_hash="a" * 16, tests=baseline_record.tests * 2)
    record_baseline(store, doubled)
    ingest(store, [make(1)], baseline_id=doubled.baseline_id)
    assert examples(store).height == 1


def test_rows_of_a_baseline_nobody_recorded_are_refused(store: Store, make: Make) -> None:
    with pytest.raises(StoreError, match="baselines") as caught:
        ingest(store, [make(1)], baseline_id="0" * 16)
    assert "record_baseline" in (caught.value.hint or "")


def test_text_that_utf_8_cannot_say_is_stored_spelled_out(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(1)
    odd = TestFailure("t::a", "call", "ValueError", "half \udce9 \x00", "", "trace \ud800")
    assert one.confirmation is not None
    further = replace(odd, test_id="t::b\x00\udce9")
    trial = replace(one.confirmation, failures=(odd, further), failing=("t::a", further.test_id))
    ingest(store, [replace(one, trial=trial, confirmation=trial)], baseline_id=baseline_id)
    row = examples(store).row(0, named=True)
    assert row["error_message"] == "half \\udce9 \x00"
    assert row["traceback"] == "trace \\ud800"
    assert row["failing_tests"] == ["t::a", "t::b\x00\\udce9"]
    assert row["error"].count("half \\udce9 \x00") == 2


def test_the_error_reads_whole_first_and_names_every_failing_test(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(1)
    kept = ingest(store, [one], baseline_id=baseline_id).examples[0]
    error = example(store, kept.example_id).error
    assert one.confirmation is not None
    assert error.startswith("FAILED tests/test_words.py::test_1 - AssertionError: assert ")
    assert all(error.count(test) == 1 for test in one.confirmation.failing)
    assert one.confirmation.failures[0].traceback in error
    assert error.endswith("also failing:\n" + "\n".join(one.confirmation.failing[2:]))


def test_an_error_without_details_still_names_its_tests(
    store: Store, make: Make, baseline_id: str
) -> None:
    one = make(1)
    bare = replace(one.trial, failures=())
    kept = ingest(
        store, [replace(one, trial=bare, confirmation=bare)], baseline_id=baseline_id
    ).examples[0]
    found = example(store, kept.example_id)
    assert all(test in found.error for test in one.trial.failing)
    assert found.test_id == one.trial.failing[0]
    assert found.test_source is not None


def test_failures_are_kept_twice_only_where_the_two_runs_differ(
    store: Store, make: Make, baseline_id: str
) -> None:
    same, other = make(1), make(2)
    assert other.confirmation is not None
    reworded = tuple(replace(one, message="other") for one in other.confirmation.failures)
    other = replace(other, confirmation=replace(other.confirmation, failures=reworded))
    ingest(store, [same, other], baseline_id=baseline_id)
    rows = sql(store, "SELECT candidate_id, error_message FROM trials WHERE kind = 'judge'")
    told: dict[str, Any] = dict(rows.iter_rows())
    assert told[same.candidate.candidate_id] is None
    assert told[other.candidate.candidate_id] == other.trial.failures[0].message


def test_a_run_is_written_again_when_it_ends(store: Store) -> None:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    record_run(store, Run("r1", "words", started, None, {}))
    record_run(store, Run("r1", "words", started, datetime(2026, 1, 2, tzinfo=UTC), {"kept": 3}))
    rows = sql(store, "SELECT ended_at IS NOT NULL, (summary->>'kept')::INTEGER FROM runs")
    assert rows.rows() == [(True, 3)]


def test_a_buffer_writes_when_it_is_full_and_when_it_is_left(
    store: Store, make: Make, baseline_id: str
) -> None:
    def interrupted() -> None:
        with Buffer(store, baseline_id=baseline_id, rows=4, seconds=3600) as buffer:
            written = [buffer.add(make(number)) for number in range(6)]
            assert [done is not None for done in written] == [False] * 3 + [True] + [False] * 2
            assert len(buffer) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(known_verdicts(store, baseline_id)) == 6


def test_a_buffer_writes_when_its_oldest_row_is_old(
    store: Store, make: Make, baseline_id: str
) -> None:
    buffer = Buffer(store, baseline_id=baseline_id, rows=1000, seconds=0.0)
    assert buffer.add(make(1)) is not None


def test_two_thousand_rows_take_at_most_two_kilobytes_each(
    store: Store, make: Make, baseline_id: str
) -> None:
    for first in range(0, 2000, 200):
        batch = [make(number) for number in range(first, first + 200)]
        ingest(store, batch, baseline_id=baseline_id)
    store.tidy()
    files = sum(file.stat().st_size for file in store.path.parent.iterdir())
    assert files / 2000 <= 2048


def test_a_file_with_much_free_room_is_written_anew_with_all_its_rows(
    store: Store, make: Make, baseline_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, 600, 100):
        batch = [make(number) for number in range(first, first + 100)]
        ingest(store, batch, baseline_id=baseline_id)
        with monkeypatch.context() as patch:
            patch.setattr("flywheel.store.store.FREE_SHARE", 1.0)
            store.tidy()
    before = examples(store), store.path.stat().st_size
    versions = sql(store, "SELECT version, name FROM schema_version")
    store.tidy()
    assert store.path.stat().st_size < 0.75 * before[1]
    assert examples(store).equals(before[0])
    assert sql(store, "SELECT version, name FROM schema_version").equals(versions)
    assert ingest(store, [make(599), make(600)], baseline_id=baseline_id).known == 1


def test_no_room_to_write_a_file_anew_leaves_it_as_it_was(
    store: Store, make: Make, baseline_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(store, [make(number) for number in range(50)], baseline_id=baseline_id)
    monkeypatch.setattr("flywheel.store.store.FREE_SHARE", -1.0)
    monkeypatch.setattr("flywheel.store.store.migrate", _no_room)
    store.tidy()
    assert examples(store).height == 50
    assert [file.name for file in store.path.parent.glob("*.new*")] == []


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
