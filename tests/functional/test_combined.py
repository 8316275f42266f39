"""Several proven bugs in one candidate: kept where the tests tell each from the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.functional.conftest import Shell
from tests.past import git

GATE = {
    "pkg/__init__.py": "",
    "pkg/gate.py": """
        def is_open():
            return True


        def value():
            return 3
        """,
    # The value is looked at where the gate is open, and nowhere else.
    "tests/test_gate.py": """
        from pkg.gate import is_open, value
        def test_open(): assert is_open()
        def test_value(): assert not is_open() or value() == 3
        def test_rest(): assert True
        """,
}


def test_bugs_proven_one_by_one_are_proven_together_and_again(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    options = (
        "--source",
        "combined,mutated",
        "--max-candidates",
        "0",
        "--operators",
        "arithmetic,return",
    )
    ran = shell.harvest(root, *options)
    assert ran.code == 0, ran.err
    assert ran.summary["ended"] == "exhausted"
    counts = ran.summary["by_source"]
    assert counts["combined"]["valid"] >= 2
    assert counts["combined"]["judged"] <= counts["mutated"]["valid"] / 2
    rows = shell.sql(
        "SELECT example_id, failing_tests, parts, bad, good, operator FROM examples"
        " WHERE source = 'combined'"
    )
    assert len(rows) == counts["combined"]["valid"]
    alone = {
        row["candidate_id"]: set(row["failing_tests"])
        for row in shell.sql(
            "SELECT candidate_id, failing_tests FROM examples WHERE source = 'mutated'"
        )
    }
    for row in rows:
        assert row["operator"] == f"combined-{len(row['parts'])}"
        for part in row["parts"]:
            others = [one["candidate_id"] for one in row["parts"] if one is not part]
            assert part["tests"]
            assert set(part["tests"]) <= alone[part["candidate_id"]] & set(row["failing_tests"])
            assert all(alone[other].isdisjoint(part["tests"]) for other in others)

    shown = shell.run("show", rows[0]["example_id"])
    assert shown.code == 0, shown.err
    for part in rows[0]["parts"]:
        assert all(test in shown.out for test in part["tests"])
    as_json = shell.run("show", rows[0]["example_id"], "--json").summary
    assert [one["tests"] for one in as_json["parts"]] == [one["tests"] for one in rows[0]["parts"]]

    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.out
    assert replayed.summary["proven"] == ran.summary["examples"]["total"]
    again = shell.harvest(root, *options)
    assert again.summary["candidates"]["judged"] == 0


def test_combinations_stand_at_a_later_commit_and_bugs_that_stand_are_combined(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository({"tests/test_rest.py": "def test_rest(): assert True"})
    alone = ("--source", "mutated", "--max-candidates", "0", "--operators", "arithmetic,return")
    both = ("--source", "mutated,combined", *alone[2:])
    module = root / "pkg" / "numbers.py"

    def commit(text: str) -> None:
        module.write_text(text)
        git(root, "commit", "--quiet", "-a", "-m", "Another function")

    shell.harvest(root, *alone)
    commit("def one():\n    return 1\n\n\n" + module.read_text())
    first = shell.harvest(root, *both)
    assert first.code == 0, first.err
    # What was proven at the first commit is combined at the second, where nothing is judged but
    # combinations.
    made = first.summary["by_source"]["combined"]["valid"]
    assert made >= 2
    assert first.summary["by_source"]["mutated"].get("judged", 0) == 0
    commit("def two():\n    return 2\n\n\n" + module.read_text())
    second = shell.harvest(root, *both)
    assert second.code == 0, second.err
    assert second.summary["candidates"]["judged"] == 0
    assert second.summary["carried"]["retired"] == 0

    rows = shell.sql("SELECT example_id, parts FROM examples WHERE source = 'combined'")
    assert len(rows) == made
    ids = {row["candidate_id"] for row in shell.sql("SELECT candidate_id FROM proven")}
    for row in rows:
        assert {part["candidate_id"] for part in row["parts"]} <= ids
        assert shell.run("show", row["example_id"]).code == 0
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.out


def test_combinations_have_a_share_of_the_candidates_and_the_others_go_on_after_them(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    options = ("--source", "mutated,combined", "--max-candidates", "10")
    ran = shell.harvest(root, *options)
    assert ran.summary["by_source"]["mutated"]["judged"] == 8
    assert ran.summary["by_source"]["combined"]["judged"] == 2
    alone = shell.harvest(root, "--source", "combined", "--max-candidates", "0")
    assert set(alone.summary["by_source"]) <= {"combined"}


def test_a_bug_that_another_hides_makes_no_example(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    ran = shell.harvest(
        repository(package=GATE),
        *("--source", "mutated,combined", "--max-candidates", "0"),
        *("--operators", "boolean-flipped,number-off-by-one"),
    )
    assert ran.code == 0, ran.err
    assert ran.summary["by_source"]["combined"] == {"judged": 1, "unknown": 1}
    assert ran.summary["candidates"]["unknown_by_reason"] == {"masks-a-bug": 1}
    assert shell.sql("SELECT * FROM examples WHERE source = 'combined'") == []
    again = shell.harvest(
        shell.folder.parent / "repo",
        *("--source", "mutated,combined", "--max-candidates", "0"),
        *("--operators", "boolean-flipped,number-off-by-one"),
    )
    assert again.summary["candidates"]["judged"] == 0


def test_where_nothing_is_proven_it_says_so(shell: Shell, repository: Callable[..., Path]) -> None:
    ran = shell.harvest(repository(), "--source", "combined")
    assert ran.code == 0, ran.err
    assert "nothing to combine" in ran.err
    assert ran.summary["candidates"]["made"] == 0


def test_combined_and_the_first_failure_exclude_each_other(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    ran = shell.harvest(repository(), "--source", "mutated,combined", "--fail-fast")
    assert ran.code == 2
    assert "--fail-fast" in ran.err
