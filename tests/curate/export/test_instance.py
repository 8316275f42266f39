"""Bugs for agents: what the files say is what happens when they are followed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flywheel.core.patch import unified_patch
from flywheel.curate.export import export
from flywheel.curate.export.instance import taken_back
from tests.fakes.exports import ADDRESS, TREE, real, repairs
from tests.fakes.versions import row, version

WORDS = ("a\n", "b\n", "+\n", "-\n", "\\\n", "@@ -1 +1 @@\n", "--- a\n", " \n", "é\n")


def _tree(folder: Path) -> Path:
    for path, text in TREE.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def _apply(folder: Path, patch: str) -> None:
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder, input=patch.encode(), check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_patch_taken_back_leads_back_whatever_the_lines_are(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(60):
        before, after = (
            "".join(chance.choices(WORDS, k=chance.randint(1, 30))) + chance.choice(("", "end"))
            for _ in range(2)
        )
        patch = unified_patch("file.txt", before.encode(), after.encode())
        if not patch:
            continue
        (tmp_path / "file.txt").write_text(after)
        _apply(tmp_path, taken_back(f"diff --git a/file.txt b/file.txt\n{patch}"))
        assert (tmp_path / "file.txt").read_text() == before
        assert taken_back(taken_back(patch)) == patch


@pytest.mark.parametrize(
    ("repo", "named"),
    [
        (ADDRESS, "acme/calc"),
        ("git@example.org:group/part/calc.git", "part/calc"),
        ("ssh://git@example.org/acme/calc", "acme/calc"),
        ("pypi:inflection==0.5.1", "pypi/inflection"),
    ],
)
def test_a_repository_is_named_by_its_owner_and_its_name(
    tmp_path: Path, repo: str, named: str
) -> None:
    made = version(tmp_path / "versions", rows={"train": [row(1, repo=repo)]})
    export(made, "swebench", tmp_path / "out")
    (one,) = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert one["repo"] == named
    assert one["instance_id"] == f"{named.replace('/', '__')}-{1:016x}"
    assert "git clone" in one["dockerfile"] or "pip download" in one["dockerfile"]


def test_an_instance_says_of_its_bug_what_is_so(tmp_path: Path) -> None:
    export(real(tmp_path / "versions"), "swebench", tmp_path / "out")
    (one,) = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    tree = _tree(tmp_path / "tree")
    _apply(tree, one["bug_patch"])
    assert "a - b" in (tree / "calc.py").read_text()
    _apply(tree, one["patch"])
    assert (tree / "calc.py").read_text() == TREE["calc.py"]
    assert not set(one["FAIL_TO_PASS"]) & set(one["PASS_TO_PASS"])
    assert one["test_patch"] == ""
    # The answer is to be read neither in the history nor in a file of the image.
    assert one["dockerfile"].index("git apply") < one["dockerfile"].index("rm -rf .git")
    assert "/tmp/bug.patch" in one["dockerfile"].partition("rm -rf")[2]


def test_a_statement_of_a_person_is_what_an_agent_is_told(tmp_path: Path) -> None:
    said = row(1, repo=ADDRESS, statement="Sums are wrong.\n\n")
    export(version(tmp_path / "v", rows={"train": [said]}), "harbor", tmp_path / "out")
    (told,) = (tmp_path / "out").rglob("instruction.md")
    assert told.read_text() == "Sums are wrong.\n"


def test_a_task_is_solved_by_its_solution_and_not_without(tmp_path: Path) -> None:
    export(real(tmp_path / "versions"), "harbor", tmp_path / "out")
    (task,) = (tmp_path / "out" / "train").iterdir()
    tree, logs = _tree(tmp_path / "testbed"), tmp_path / "logs"
    (logs / "verifier").mkdir(parents=True)
    places = {
        "/testbed": str(tree),
        "/tests": str(task / "tests"),
        "/solution": str(task / "solution"),
        "/logs": str(logs),
    }
    verifier = task / "tests" / "verifier.py"
    verifier.write_text(verifier.read_text().replace("/logs", str(logs)))

    def follow(script: Path) -> str:
        text = script.read_text().replace("python -m", f"{sys.executable} -m")
        for place, here in places.items():
            text = text.replace(place, here)
        subprocess.run(["bash", "-c", text], check=False, capture_output=True)
        reward = logs / "verifier" / "reward.txt"
        return reward.read_text() if reward.exists() else ""

    _apply(tree, (task / "environment" / "bug.patch").read_text())
    assert follow(task / "tests" / "test.sh") == "0\n"
    follow(task / "solution" / "solve.sh")
    assert follow(task / "tests" / "test.sh") == "1\n"


def test_a_name_of_a_task_is_one_that_its_registry_takes(tmp_path: Path) -> None:
    import re
    import tomllib

    export(repairs(tmp_path / "versions"), "harbor", tmp_path / "out")
    files = list((tmp_path / "out").rglob("task.toml"))
    assert files
    for file in files:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
        part = r"[a-zA-Z0-9][a-zA-Z0-9._-]*"
        assert re.fullmatch(f"{part}/{part}", told["task"]["name"])
        assert told["metadata"]["repo"] == ADDRESS
