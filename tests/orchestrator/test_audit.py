"""What counts in an audit, whatever the critic says: a fake one says it here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.candidates import PythonLanguage
from flywheel.core.errors import CriticError
from flywheel.core.events import EventBus
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Change, Judged, Lane, Outcome, Span, Status, Trial
from flywheel.core.settings import Settings
from flywheel.orchestrator import Audited, audit
from flywheel.store import (
    Store,
    examples,
    ingest,
    record_baseline,
    record_revision,
    replayable,
    sql,
    tried_before,
)
from flywheel.workspace import find
from tests.store.conftest import BASELINE, REVISION, judged

SOURCE = """\
def f(a, b):
    c = a + b
    if c > 10:
        return c * 2
    return c - 1


def g(a):
    return a + 1
"""
PATH = "pkg/a.py"


class FakeJudge:
    """Says of each candidate what it is told to, one at a time; dies after so many."""

    def __init__(self, says: Callable[[Candidate], str], *, dies_after: int = 10_000) -> None:
        self.says = says
        self.asked: list[Candidate] = []
        self.dies_after = dies_after
        self.not_warm_reason = ""
        self._waiting: list[Candidate] = []

    @property
    def busy(self) -> int:
        return len(self._waiting)

    @property
    def hungry(self) -> bool:
        return len(self._waiting) < 2

    def prove(self) -> None:
        pass

    def submit(self, candidate: Candidate) -> None:
        self.asked.append(candidate)
        self._waiting.append(candidate)

    def collect(self, *, timeout: float | None = None) -> list[Judged]:
        if len(self.asked) > self.dies_after:
            raise CriticError("the critic died")
        candidate = self._waiting.pop(0)
        trial = Trial(Status.RAN, Outcome.PASSES, "", Lane.WARM, 1, 1, (), (), (), 0.1, {}, "S3")
        return [Judged(candidate, trial, None, None, self.says(candidate), "")]

    def close(self) -> None:
        pass


def change(before: str, after: str, symbol: str, **more: Any) -> Candidate:
    start = SOURCE.index(before)
    line = SOURCE.count("\n", 0, start) + 1
    return Candidate(
        PATH, symbol, Span(start, start + len(before)), before, after, line, line, "mutated",
        "op", "good", "bad", bytes_hash(SOURCE.encode()), **more,
    )  # fmt: skip


def proven(candidate: Candidate) -> Judged:
    return replace(judged(1), candidate=candidate)


OF_F, OF_G = change("a + b", "a * b", "f"), change("a + 1", "a + 9", "g")


class Bench:
    """A store, a tree with one file, and a judge; no sandbox."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tree = tmp_path / "tree"
        (self.tree / "pkg").mkdir(parents=True)
        (self.tree / PATH).write_text(SOURCE)
        self.store = Store(tmp_path / "store" / "flywheel.duckdb")
        record_revision(self.store, REVISION)
        record_baseline(self.store, BASELINE)
        self.judge = FakeJudge(lambda candidate: "valid")
        self.workspace = find(explicit=tmp_path)
        made = SimpleNamespace(
            environment=SimpleNamespace(tree=self.tree, hash=BASELINE.environment_hash),
            toolchain=SimpleNamespace(language=PythonLanguage),
            tester=None,
            judge=lambda learned, **more: self.judge,
        )
        lines = SimpleNamespace(files={PATH: SimpleNamespace(executed={1, 2, 3, 4, 5, 8, 9})})
        ids = tuple(test.test_id for test in BASELINE.tests)
        learned = SimpleNamespace(suite=SimpleNamespace(ids=ids, lines=lines), baseline=BASELINE)
        # The package has a function of the module's name.
        module = sys.modules["flywheel.orchestrator.audit"]
        monkeypatch.setattr(module, "set_up_again", lambda *a, **k: made)
        monkeypatch.setattr(module, "learn_baseline", lambda *a, **k: (learned, 0.0))

    def holds(self, *candidates: Candidate) -> None:
        rows = [proven(one) for one in candidates]
        ingest(self.store, rows, baseline_id=BASELINE.baseline_id)

    def audit(self, **settings: Any) -> Audited:
        return audit(
            replayable(self.store),
            Settings.model_validate({"audit": {"least": 1, **settings}}),
            self.workspace,
            self.store,
            EventBus(),
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_what_the_tests_let_through_is_the_rest_of_the_score(bench: Bench) -> None:
    bench.holds(OF_F)
    bench.judge.says = lambda one: "survived" if one.source == "wrong" else "breaks-everything"
    found = bench.audit(mutants=6)
    (oracle,) = found.oracles
    assert oracle.by_kind["empty-body"] == {"through": 1}
    assert oracle.by_kind["early-return"] == {"through": 3}
    assert oracle.by_kind["mutant"] == {"rejected": 6}
    assert (oracle.strength, oracle.tried) == (0.6, 10)
    assert {one.symbol for one in bench.judge.asked} == {"f"}
    (score,) = found.scores
    assert score.weak is True


def test_an_unknown_verdict_counts_for_neither_side_and_is_asked_for_again(bench: Bench) -> None:
    bench.holds(OF_F)
    bench.judge.says = lambda one: "unknown" if one.operator == "empty-body" else "valid"
    first = bench.audit(mutants=2)
    (oracle,) = first.oracles
    assert oracle.by_kind["empty-body"] == {"unknown": 1}
    assert (oracle.strength, oracle.tried) == (1.0, 5)
    bench.judge = FakeJudge(lambda one: "survived")
    second = bench.audit(mutants=2)
    assert [one.operator for one in bench.judge.asked] == ["empty-body"]
    assert (second.judged, second.known) == (1, 5)
    assert second.oracles[0].tried == 6
    assert second.oracles[0].by_kind["empty-body"] == {"through": 1}


def test_only_unknown_verdicts_give_no_score(bench: Bench) -> None:
    bench.holds(OF_F)
    bench.judge.says = lambda one: "unknown"
    found = bench.audit()
    assert found.oracles[0].tried == 0
    assert [(one.strength, one.weak) for one in found.scores] == [(None, None)]


def test_what_a_harvest_judged_is_not_judged_again(bench: Bench) -> None:
    bench.holds(OF_G)
    first = bench.audit(mutants=99)
    mutants = [one for one in bench.judge.asked if one.source == "mutated"]
    assert mutants
    with bench.store.writing() as connection:
        connection.execute("DELETE FROM wrong_fixes")
    survived = replace(judged(2, verdict="survived"), candidate=mutants[0])
    ingest(bench.store, [survived], baseline_id=BASELINE.baseline_id)
    bench.judge = FakeJudge(lambda one: "valid")
    second = bench.audit(mutants=99)
    assert mutants[0].candidate_id not in {one.candidate_id for one in bench.judge.asked}
    assert (second.judged, second.known) == (first.judged - 1, 1)
    assert mutants[0].candidate_id in second.oracles[0].let_through


def test_what_models_wrote_counts_as_it_was_meant(bench: Bench) -> None:
    bench.holds(OF_G)

    def written(after: str, operator: str, verdict: str) -> Judged:
        made = replace(change("a + 1", after, "g"), source="written", operator=operator)
        return replace(judged(3, verdict=verdict), candidate=made)

    rows = [
        written("a + 3", "insert:m@1", "survived"),
        written("a + 4", "insert:m@1", "valid"),
        written("1 + a", "reimplement:m@1", "survived"),
        written("a + 5", "reimplement:m@1", "valid"),
        written("a + 6", "reimplement:m@1", "unknown"),
        replace(written("a * b", "insert:m@1", "valid"), candidate=replace(OF_F, source="written")),
    ]
    ingest(bench.store, rows, baseline_id=BASELINE.baseline_id)
    found = audit(
        [row for row in replayable(bench.store) if row.candidate == OF_G],
        Settings.model_validate({"audit": {"mutants": 0}}),
        bench.workspace,
        bench.store,
        EventBus(),
    )
    # What passes and was meant to be right may be right.
    assert found.oracles[0].by_kind["attempt"] == {
        "through": 1, "rejected": 2, "passed": 1, "unknown": 1,
    }  # fmt: skip


def test_one_definition_is_tried_once_for_all_its_examples(bench: Bench) -> None:
    bench.holds(OF_F, change("c * 2", "c * 3", "f"), OF_G)
    found = bench.audit(mutants=3)
    asked = [one.candidate_id for one in bench.judge.asked]
    assert len(asked) == len(set(asked))
    assert [one.symbol for one in found.oracles] == ["f", "g"]
    assert len(found.scores) == 3


def test_a_row_of_several_changes_is_tried_in_all_its_definitions(bench: Bench) -> None:
    there = Change(PATH, OF_G.span, OF_G.before, OF_G.after, 9, 9, OF_G.base_hash)
    bench.holds(replace(OF_F, others=(there,)))
    found = bench.audit(mutants=4)
    assert {one.symbol for one in bench.judge.asked} == {"f", "g"}
    assert found.oracles[0].by_kind["mutant"] == {"rejected": 4}
    assert found.oracles[0].by_kind["empty-body"] == {"rejected": 2}
    assert [one.strength for one in found.scores] == [1.0]


def test_a_critic_that_dies_leaves_what_was_judged_and_scores_only_what_is_complete(
    bench: Bench,
) -> None:
    bench.holds(OF_G, OF_F)
    bench.judge = FakeJudge(lambda one: "valid", dies_after=9)
    found = bench.audit(mutants=3)
    assert [one.reason for one in found.failed] == ["the critic died"]
    assert [one.symbol for one in found.oracles] == [row["symbol"] for row in scored(bench)]
    assert len(found.oracles) == 1
    kept = tried_before(bench.store, BASELINE.baseline_id)
    assert len(kept) == found.judged > 0
    bench.judge = FakeJudge(lambda one: "valid")
    again = bench.audit(mutants=3)
    assert again.failed == []
    assert not {one.candidate_id for one in bench.judge.asked} & kept.keys()
    assert len(scored(bench)) == 2


def scored(bench: Bench) -> list[dict[str, Any]]:
    return examples(bench.store, where="oracle_strength IS NOT NULL").to_dicts()


def test_a_file_that_is_another_now_is_not_scored(bench: Bench) -> None:
    bench.holds(OF_F)
    (bench.tree / PATH).write_text(SOURCE + "\n")
    found = bench.audit()
    assert [one.reason for one in found.failed] == [f"{PATH} is another file now"]
    assert (bench.judge.asked, found.oracles, found.scores) == ([], [], ())
    assert sql(bench.store, "FROM oracles").is_empty()


def test_a_lower_bar_makes_fewer_weak_without_a_run(bench: Bench) -> None:
    bench.holds(OF_F)
    bench.judge.says = lambda one: "survived" if one.source == "wrong" else "valid"
    assert bench.audit(mutants=6).scores[0].weak is True
    bench.judge = FakeJudge(lambda one: "valid")
    found = bench.audit(mutants=6, weak=0.5)
    assert bench.judge.asked == []
    assert found.scores[0].weak is False
    assert bench.audit(mutants=6, least=11).scores[0].strength is None
