"""`flywheel audit`: tests that check something are told from tests that hardly do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.store import Store, sql
from tests.functional.conftest import Shell
from tests.functional.test_toolchains import TOY_CHECK, TOY_PROGRAM, add_toy
from tests.past import commit

SCALES: dict[str, str | bytes] = {
    "pkg/__init__.py": "",
    "pkg/scales.py": """
        def strong(value, low, high):
            if value < low:
                return low
            if value > high:
                return high
            return value * 2 + 1

        def weak(items, limit):
            total = 0
            for item in items:
                if item > limit:
                    total = total + item * 3
                else:
                    total = total - 1
            return total
        """,
    "tests/test_scales.py": """
        import pytest
        from pkg.scales import strong, weak

        @pytest.mark.parametrize(("value", "low", "high", "wanted"), [
            (1, 2, 9, 2), (2, 2, 9, 5), (3, 2, 9, 7), (8, 2, 9, 17), (9, 2, 9, 19),
            (10, 2, 9, 9), (-4, -3, -1, -3), (-2, -3, -1, -3), (0, 0, 0, 1), (5, 0, 0, 0),
        ])
        def test_strong(value, low, high, wanted):
            assert strong(value, low, high) == wanted

        def test_weak():
            assert weak([1, 5], 2) is not None
        """,
}
MANY = "\n".join(
    f"def f{n}(a, b):\n    if a < b:\n        return a + {n}\n    return b - a * {n}\n"
    for n in range(12)
)
MANY_TESTS = "from pkg import many\n" + "".join(
    f"def test_{n}(): assert many.f{n}(1, 2) == {n + 1} and many.f{n}(3, 1) == {1 - 3 * n}\n"
    for n in range(12)
)


def by_symbol(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["symbol"]: one for one in summary["definitions"]}


def harvested(shell: Shell, root: Path, candidates: int = 40) -> None:
    ran = shell.harvest(root, "--max-candidates", str(candidates), "--no-calibrate")
    assert ran.code == 0, ran.err


def test_it_tells_a_function_that_is_tested_from_one_that_is_run(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    harvested(shell, repository(package=SCALES))
    before = shell.sql("SELECT example_id, bad, error FROM examples ORDER BY 1")
    counted = shell.sql("SELECT count(*) AS n FROM candidates")
    ran = shell.run("audit", "--json")
    assert ran.code == 0, ran.err
    summary = ran.summary
    found = by_symbol(summary)
    assert set(found) == {"strong", "weak"}
    assert found["strong"]["strength"] >= 0.9
    assert found["weak"]["strength"] <= 0.5
    assert found["weak"]["low"] < found["weak"]["strength"] < found["weak"]["high"]
    # Even a test that hardly looks sees that nothing comes back.
    assert found["weak"]["by_kind"]["empty-body"] == {"rejected": 1}
    assert found["weak"]["by_kind"]["early-return"]["through"] >= 1
    assert summary["failed"] == []
    assert summary["audited"] == summary["rows"] == len(before)

    rows = shell.sql("SELECT symbol, weak, oracle_tried FROM examples")
    assert {(row["symbol"], row["weak"]) for row in rows} == {("strong", False), ("weak", True)}
    chosen = shell.run("examples", "--where", "weak", "--json")
    assert {row["symbol"] for row in chosen.summary} == {"weak"}
    assert len(chosen.summary) == summary["weak"]

    # What was tried is no candidate and no example, and is not tried again.
    assert shell.sql("SELECT example_id, bad, error FROM examples ORDER BY 1") == before
    assert shell.sql("SELECT count(*) AS n FROM candidates") == counted
    again = shell.run("audit", "--json").summary
    assert again["judged"] == 0
    assert again["known"] == summary["judged"] + summary["known"]
    assert [{**one, "seconds": 0} for one in again["definitions"]] == [
        {**one, "seconds": 0} for one in summary["definitions"]
    ]

    (one,) = shell.sql("SELECT example_id FROM examples WHERE weak LIMIT 1")
    shown = shell.run("show", one["example_id"])
    assert "WEAK, 0." in shown.out
    assert "return-argument" in shown.out
    assert "in pkg/scales.py:" in shown.out
    assert shell.run("show", one["example_id"], "--json").summary["weak"] is True
    (one,) = shell.sql("SELECT example_id FROM examples WHERE NOT weak LIMIT 1")
    shown = shell.run("show", one["example_id"])
    assert "WEAK" not in shown.out
    assert "wrong fixes" in shown.out


def test_a_harvest_uses_and_disturbs_nothing_of_an_audit(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository(package=SCALES)
    harvested(shell, root, 6)
    first = shell.run("audit", "--json").summary
    harvested(shell, root, 0)
    rows = shell.sql("SELECT symbol, source, oracle_strength FROM examples")
    assert {row["source"] for row in rows} == {"mutated"}
    rows = [row for row in rows if row["symbol"] in by_symbol(first)]
    # Examples that came later are of the same definitions, and have their scores at once.
    assert len(rows) > first["rows"]
    assert all(row["oracle_strength"] is not None for row in rows)
    names = ", ".join(f"'{symbol}'" for symbol in by_symbol(first))
    again = shell.run("audit", "--json", "--where", f"symbol IN ({names})").summary
    assert again["judged"] == 0
    strengths = {symbol: one["strength"] for symbol, one in by_symbol(first).items()}
    assert {symbol: one["strength"] for symbol, one in by_symbol(again).items()} == strengths


@pytest.mark.slow
def test_after_a_kill_the_next_audit_goes_on_and_judges_nothing_twice(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository(
        package={"pkg/__init__.py": "", "pkg/many.py": MANY, "t/test_m.py": MANY_TESTS}
    )
    harvested(shell, root, 24)
    process = shell.start("audit", "--json")
    deadline = time.monotonic() + 90
    store = Store(shell.workspace / ".flywheel" / "flywheel.duckdb")
    while sql(store, "SELECT 1 FROM wrong_fixes LIMIT 1").is_empty():
        assert process.poll() is None, process.stderr
        assert time.monotonic() < deadline, "nothing was judged"
        time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert not shell.left_behind(), shell.left_behind()
    query = "SELECT candidate_id, created_at FROM wrong_fixes WHERE verdict <> 'unknown'"
    stored = {row["candidate_id"]: row["created_at"] for row in shell.sql(query)}
    assert stored
    ran = shell.run("audit", "--json")
    assert ran.code == 0, ran.err
    after = {row["candidate_id"]: row["created_at"] for row in shell.sql(query)}
    assert after.items() >= stored.items()
    assert ran.summary["judged"] >= len(after) - len(stored) > 0
    assert ran.summary["known"] >= len(stored)
    (found,) = shell.sql("SELECT count(*) AS n, count(DISTINCT candidate_id) AS d FROM wrong_fixes")
    assert found["n"] == found["d"]


def test_an_environment_that_cannot_be_had_again_is_counted_and_not_scored(
    shell: Shell, repository: Callable[..., Path], tmp_path: Path
) -> None:
    root = repository()
    ran = shell.harvest(root, "--install", "pytest packaging==24.1")
    assert ran.code == 0, ran.err
    shell.variables["FLYWHEEL_PATHS_CACHE"] = str(tmp_path / "another cache")
    shell.variables["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    ran = shell.run("audit", "--json")
    assert ran.code == 1
    summary = ran.summary
    assert len(summary["failed"]) == summary["rows"] > 0
    assert all("no test environment could be built" in one["reason"] for one in summary["failed"])
    assert summary["audited"] == summary["weak"] == summary["judged"] == 0
    assert shell.sql("SELECT * FROM examples WHERE oracle_tried IS NOT NULL") == []


def test_an_environment_that_was_made_again_is_as_good(
    shell: Shell, repository: Callable[..., Path], tmp_path: Path
) -> None:
    harvested(shell, repository(), 6)
    shell.variables["FLYWHEEL_PATHS_CACHE"] = str(tmp_path / "another cache")
    ran = shell.run("audit", "--json", "--mutants", "3")
    assert ran.code == 0, ran.err
    assert shell.sql("SELECT * FROM examples WHERE oracle_tried IS NULL") == []


def test_a_commit_that_came_later_changes_nothing(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository(package=SCALES)
    harvested(shell, root, 6)
    commit(root, {"pkg/scales.py": "def strong(*a):\n    return 1\n\n\nweak = strong\n"})
    ran = shell.run("audit", "--json", "--mutants", "3")
    assert ran.code == 0, ran.err
    assert set(by_symbol(ran.summary)) <= {"strong", "weak"}
    assert ran.summary["judged"] > 0


def test_another_language_is_tried_with_its_mutants_alone(shell: Shell, tmp_path: Path) -> None:
    add_toy(shell)
    root = tmp_path / "repo"
    root.mkdir()
    commit(root, {"limit.toy": TOY_PROGRAM, "check.sh": TOY_CHECK})
    assert shell.harvest(root).code == 0
    ran = shell.run("audit", "--json")
    assert ran.code == 0, ran.err
    # The only mutant there is is the example's own.
    assert ran.summary["by_kind"] == {"mutant": {"rejected": 1}}
    assert (ran.summary["untested"], ran.summary["weak"]) == (1, 0)
    (row,) = shell.sql("SELECT oracle_strength, oracle_tried, weak FROM examples")
    assert row == {"oracle_strength": None, "oracle_tried": 0, "weak": None}
    shown = shell.run("show", shell.sql("SELECT example_id FROM examples")[0]["example_id"])
    assert "not known: only 0 wrong fixes" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--where", "operator = 'nobody'"), "no example fits"),
        (("--where", "oracle_strenth < 1"), "Did you mean oracle_strength?"),
        (("--where", "SELECT"), "condition"),
        (("--sample", "0"), "--sample"),
        (("--mutants", "-1"), "audit.mutants"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    shell: Shell, repository: Callable[..., Path], arguments: tuple[str, ...], said: str
) -> None:
    harvested(shell, repository(), 3)
    ran = shell.run("audit", *arguments)
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert said in ran.err


def test_an_empty_store_says_what_to_do(shell: Shell) -> None:
    ran = shell.run("audit")
    assert ran.code == 2
    assert "flywheel harvest" in ran.err
    assert not (shell.workspace / ".flywheel").exists()


def test_stopping_at_the_first_failure_leaves_nothing_unknown(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    ran = shell.harvest(
        repository(package=SCALES), "--max-candidates", "30", "--fail-fast", "--no-calibrate"
    )
    assert ran.code == 0, ran.err
    counts = ran.summary["candidates"]
    assert (counts["unknown_by_reason"], counts["judged"]) == ({}, 30)
    assert counts["valid"] > 10
