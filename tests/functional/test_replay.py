"""Rows are proven again from the store and the repository, wherever the environment went."""

from __future__ import annotations

import json


def test_an_environment_that_is_gone_is_made_again_of_the_same_packages(
    shell, repository, tmp_path
):
    # An older package than the index would give today, which nothing but the store remembers.
    packages = "pytest packaging==24.1"
    harvested = shell.harvest(repository(), "--install", packages)
    assert harvested.code == 0, harvested.err
    shell.variables["FLYWHEEL_PATHS_CACHE"] = str(tmp_path / "another cache")
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.err
    assert replayed.summary["proven"] == replayed.summary["rows"] > 0
    locks = list((tmp_path / "another cache").glob("environments/*/lock.txt"))
    assert len(locks) == 1
    assert "packaging==24.1" in locks[0].read_text().splitlines()


def test_an_environment_that_cannot_be_had_again_is_named(shell, repository, tmp_path):
    harvested = shell.harvest(repository(), "--install", "pytest packaging==24.1")
    assert harvested.code == 0, harvested.err
    shell.variables["FLYWHEEL_PATHS_CACHE"] = str(tmp_path / "another cache")
    shell.variables["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code != 0
    reasons = {one["reason"] for one in json.loads(replayed.out)["failed"]}
    assert len(reasons) == 1
    assert "no test environment could be built" in reasons.pop()
