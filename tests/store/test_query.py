"""Reads: what a user asks is answered or refused in words he can use."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.core.records import Judged
from flywheel.store import Store, example, examples, ingest, sql, survivors

Make = Callable[..., Judged]


@pytest.fixture
def filled(store: Store, make: Make, baseline_id: str) -> Store:
    rows = [make(number) for number in range(20)]
    rows += [make(number, verdict="survived") for number in range(100, 110)]
    ingest(store, rows, baseline_id=baseline_id)
    return store


def test_a_condition_and_a_limit_choose_rows(filled: Store) -> None:
    assert examples(filled).height == 20
    assert examples(filled, limit=3).height == 3
    chosen = examples(filled, where="operator = 'boolean.negate' OR 1 = 0 -- all of them")
    assert 0 < chosen.height < 20
    assert set(chosen["operator"]) == {"boolean.negate"}


def test_a_mistyped_column_is_answered_with_the_right_one(filled: Store) -> None:
    with pytest.raises(UsageError) as caught:
        examples(filled, where="eror_type = 'KeyError'")
    assert "Did you mean error_type?" in (caught.value.hint or "")
    assert "eror_type" in (caught.value.cause or "")


@pytest.mark.parametrize(
    "where", ["1=1); DROP TABLE trials; --", "SELECT", "true) UNION ALL (SELECT 'x'", "'a' + 1"]
)
def test_a_condition_that_is_none_is_refused_and_changes_nothing(filled: Store, where: str) -> None:
    with pytest.raises(UsageError):
        examples(filled, where=where)
    assert examples(filled).height == 20


def test_an_example_is_found_by_a_prefix_only_it_has(filled: Store) -> None:
    whole = examples(filled)["example_id"][0]
    assert example(filled, whole[:10]).example_id == whole
    assert [proof.kind for proof in example(filled, whole).proofs] == ["judge", "confirm", "good"]
    with pytest.raises(UsageError, match="20"):
        example(filled, "not-hex")
    with pytest.raises(UsageError):
        example(filled, "")


def test_a_prefix_of_several_is_answered_with_their_list(filled: Store) -> None:
    firsts = [key[0] for key in examples(filled)["example_id"]]
    shared = max(firsts, key=firsts.count)
    assert firsts.count(shared) > 1
    with pytest.raises(UsageError, match="Several") as caught:
        example(filled, shared)
    assert "Give more" in (caught.value.hint or "")


def test_the_patch_of_an_example_is_applied_by_git(filled: Store, tmp_path: Path) -> None:
    found = example(filled, examples(filled)["example_id"][0])
    repository = tmp_path / "repository"
    file = repository / found.path
    file.parent.mkdir(parents=True)
    file.write_text(f"import re\n\n\n{found.bad}\n")
    subprocess.run(["git", "init", "-q", repository], check=True)
    subprocess.run(["git", "apply", "-"], input=found.patch.encode(), cwd=repository, check=True)
    assert file.read_text() == f"import re\n\n\n{found.good}\n"


def test_an_example_brings_its_test_and_its_provenance(filled: Store) -> None:
    found = example(filled, examples(filled)["example_id"][0])
    assert found.test_source is not None
    assert found.test_source.startswith("def test_1()")
    assert (found.license, found.language, found.flake_rate) == ("MIT", "python", 0.0)
    assert found.passing_tests == 12


def test_survivors_are_counted_by_definition_and_operator(filled: Store) -> None:
    groups = survivors(filled)
    assert sum(group.count for group in groups) == 10
    assert all(sum(group.operators.values()) == group.count for group in groups)
    assert all(group.tests == 12 for group in groups)


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM trials",
        "CREATE TEMP TABLE t AS SELECT 1",
        "SELECT 1; DROP TABLE trials",
        "WITH gone AS (DELETE FROM trials RETURNING *) SELECT * FROM gone",
        "COPY trials TO '/tmp/flywheel-test-copy'",
        "EXPORT DATABASE '/tmp/flywheel-test-export'",
        "ATTACH ':memory:' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "FROM '/etc/passwd'",
        "SELECT * FROM 'https://example.org/data.parquet'",
        "CHECKPOINT",
        "VACUUM",
    ],
)
def test_a_query_that_does_more_than_read_the_store_is_refused(filled: Store, query: str) -> None:
    with pytest.raises(UsageError):
        sql(filled, query)
    assert sql(filled, "SELECT count(*) FROM trials").item() == 70


def test_a_variable_of_the_program_is_no_table(filled: Store) -> None:
    secret = examples(filled)
    assert secret.height
    with pytest.raises(UsageError):
        sql(filled, "FROM secret")


def test_of_several_queries_the_last_is_answered(filled: Store) -> None:
    assert sql(filled, "SELECT 1 AS a; SELECT 2 AS b;").rows() == [(2,)]
    assert sql(filled, "-- nothing").is_empty()


def test_a_mistyped_table_is_answered_with_the_right_one(filled: Store) -> None:
    with pytest.raises(UsageError) as caught:
        sql(filled, "SELECT * FROM exmples")
    assert "Did you mean examples?" in (caught.value.hint or "")
