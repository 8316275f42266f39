"""The reading commands: data on stdout, words on stderr."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.patch import unified_patch
from flywheel.core.records import (
    Baseline,
    Candidate,
    Judged,
    Lane,
    Outcome,
    Revision,
    Span,
    Status,
    TestFailure,
    Trial,
)
from flywheel.store import Store, ingest, record_baseline, record_revision

Flywheel = Callable[..., Any]


@pytest.fixture
def example_id(folder: Path) -> str:
    """One example and one survivor in the current folder's store."""
    store = Store(folder / ".flywheel" / "flywheel.duckdb")
    revision = Revision("words", "c" * 40, "d" * 40, "MIT")
    base = Baseline(
        revision.revision_id, "e" * 16, "pytest@0", 2, (), 0.1, datetime(2026, 1, 1, tzinfo=UTC)
    )
    record_revision(store, revision)
    record_baseline(store, base)

    def change(after: str) -> Candidate:
        good, bad = "def f(a):\n    return a + 1\n", f"def f(a):\n    return a {after} 1\n"
        patch = unified_patch("src/f.py", bad.encode(), good.encode())
        span = Span(23, 24)
        return Candidate(
            "src/f.py", "f", span, "+", after, 2, 2, "mutated", "swap", good, bad, "0", patch
        )

    failure = TestFailure(
        "t.py::test_f", "call", "AssertionError", "assert 0 == 2\x1b[31m", "0 == 2", ""
    )

    def trial(outcome: Outcome, *failures: TestFailure) -> Trial:
        ids = tuple(one.test_id for one in failures)
        return Trial(Status.RAN, outcome, "", Lane.WARM, 1, 1 - len(ids), ids, (), failures, 0.1)

    bad, good = trial(Outcome.FAILS, failure), trial(Outcome.PASSES)
    rows = [
        Judged(change("-"), bad, bad, good, "valid", ""),
        Judged(change("*"), good, None, None, "survived", ""),
    ]
    return ingest(store, rows, baseline_id=base.baseline_id).examples[0].example_id


@pytest.mark.parametrize("command", ["examples", "survivors"])
def test_an_empty_store_is_an_empty_array_and_a_word_on_what_to_do(
    flywheel: Flywheel, folder: Path, command: str
) -> None:
    ran = flywheel(command, "--json")
    assert (ran.code, ran.json) == (0, [])
    ran = flywheel(command)
    assert (ran.code, ran.out) == (0, "")
    assert "flywheel harvest" in ran.err
    assert not (folder / ".flywheel").exists()


def test_examples_and_survivors_are_listed(flywheel: Flywheel, example_id: str) -> None:
    assert [row["example_id"] for row in flywheel("examples", "--json").json] == [example_id]
    assert flywheel("survivors", "--json").json[0]["operators"] == {"swap": 1}
    header, row = flywheel("examples").out.splitlines()
    assert header.split("\t")[0] == "id"
    assert row.split("\t")[:3] == [example_id, "src/f.py:2", "f"]


def test_an_example_is_shown_by_the_beginning_of_its_id(
    flywheel: Flywheel, example_id: str
) -> None:
    assert flywheel("show", example_id[:6], "--json").json["failing_tests"] == ["t.py::test_f"]
    ran = flywheel("show", example_id[:6])
    assert "-    return a - 1\n+    return a + 1\n" in ran.out
    assert "bad, again" in ran.out


def test_in_a_narrow_terminal_an_example_takes_two_lines(
    flywheel: Flywheel, example_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for width, lines in ((80, 2), (160, 2)):
        monkeypatch.setenv("COLUMNS", str(width))
        out = [line for line in flywheel("examples").out.splitlines() if line.strip()]
        assert len(out) == lines
        assert ("id" in out[0]) is (width == 160)
        assert example_id in out[width == 160]


def test_what_a_test_printed_cannot_command_the_terminal(
    flywheel: Flywheel, example_id: str
) -> None:
    for ran in (flywheel("show", example_id), flywheel("examples")):
        assert "\x1b" not in ran.out
        assert "\\x1b[31m" in ran.out


def test_a_query_is_answered_as_lines_json_or_csv(flywheel: Flywheel, example_id: str) -> None:
    query = "SELECT example_id, failing_tests FROM examples"
    assert flywheel("sql", query, "--json").json == [
        {"example_id": example_id, "failing_tests": ["t.py::test_f"]}
    ]
    rows = list(csv.reader(io.StringIO(flywheel("sql", query, "--csv").out)))
    assert rows[1] == [example_id, '["t.py::test_f"]']
    assert flywheel("sql", query).out.splitlines()[0] == "example_id\tfailing_tests"


def test_a_query_that_writes_or_errs_exits_2(flywheel: Flywheel, example_id: str) -> None:
    assert example_id
    assert flywheel("sql", "DROP TABLE trials").code == 2
    ran = flywheel("examples", "--where", "eror_type = 'x'")
    assert (ran.code, ran.out) == (2, "")
    assert "Did you mean error_type?" in ran.err
    assert flywheel("sql", "SELECT 1", "--json", "--csv").code == 2
    wrong = flywheel("sql", "SELECT modell FROM calls")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Did you mean model? Columns of calls: call_id," in wrong.err
    assert "error_type" not in wrong.err


def test_the_help_of_sql_names_every_table(flywheel: Flywheel, example_id: str) -> None:
    assert example_id
    told = flywheel("sql", "--help").out
    names = "SELECT table_name FROM duckdb_tables() WHERE NOT internal"
    tables = {row["table_name"] for row in flywheel("sql", names, "--json").json}
    assert {name for name in tables if not re.search(rf"\b{name}\b", told)} <= {"schema_version"}
    assert len(tables) > 9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which rows"),
        (("--all", "--sample", "1"), "say which rows"),
        (("--sample", "-1"), "--sample"),
        (("{id}", "--where", "line > 1"), "--where"),
    ],
)
def test_rows_to_prove_again_that_cannot_be_meant_are_refused(
    flywheel: Flywheel, example_id: str, arguments: tuple[str, ...], said: str
) -> None:
    ran = flywheel("replay", *(word.format(id=example_id) for word in arguments))
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
