"""Releases of a package as a history, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.conftest import Shell


@pytest.mark.slow
def test_bugs_that_releases_fixed_are_found_and_proven(shell: Shell) -> None:
    package = ("--repo", "pypi:inflection==0.5.1", "--history", "5")
    told = shell.run("history", *package, "--json")
    assert told.code == 0, told.err
    assert told.summary["repo"] == "pypi:inflection>=0.3.0,<=0.5.1"
    assert (told.summary["commits"], told.summary["fix_like"]) == (5, 2)
    ran = shell.harvest(package[1], *package[2:], "--source", "reverted")
    assert ran.code == 0, ran.err
    assert ran.summary["by_source"]["reverted"]["valid"] >= 2
    rows = shell.sql("SELECT path, failing_tests FROM examples")
    failing = {test for row in rows for test in row["failing_tests"]}
    assert {row["path"] for row in rows} == {"inflection/__init__.py"}
    assert "test_inflection.py::test_pluralize_singular[potato-potatoes]" in failing
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.out


@pytest.mark.parametrize(
    ("repo", "count", "code", "said"),
    [
        ("pypi:inflection", "1", 2, "greater than or equal to 2"),
        ("pypi:inflection", "many", 2, "valid integer"),
        ("pypi:a b", "3", 2, "names no release"),
        ("pypi:a-name-that-no-package-bears-1f0c", "3", 1, "no such package"),
    ],
)
def test_a_history_that_cannot_be_is_an_error(
    shell: Shell, repo: str, count: str, code: int, said: str
) -> None:
    for command in ("history", "harvest"):
        ran = shell.run(command, "--repo", repo, "--history", count)
        assert ran.code == code, ran.err
        assert said in ran.err


def test_a_repository_has_a_history_of_its_own(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    for command in ("history", "harvest"):
        ran = shell.run(command, "--repo", str(root), "--history", "3")
        assert ran.code == 2
        assert "history of its own" in ran.err
        assert "leave --history out" in ran.err


def test_an_index_out_of_reach_is_told(shell: Shell) -> None:
    shell.variables = {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple", "UV_INDEX": ""}
    ran = shell.run("history", "--repo", "pypi:toolz", "--history", "3")
    assert ran.code == 1
    assert "cannot be reached" in ran.err
    assert "check the network" in ran.err
