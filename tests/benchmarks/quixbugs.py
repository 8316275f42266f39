"""QuixBugs as proven examples: a set of another kind than packages, to measure programs on.

QuixBugs (https://github.com/jkoppel/QuixBugs, MIT) has forty small programs in Python, each with
one bug and a right version, and tests. Here they become a repository with a history: the programs
with their bugs, then one commit a fix, in which the definition with the bug is written as in the
right version. What is around it, and the tests, stay as they are. `flywheel harvest --source
reverted` then undoes each fix, and our critic says which of them its tests notice. The examples are
built into a dataset of which every row is held out: nothing is ever trained on it.

Nothing of QuixBugs is in this repository: a clone is needed.

    git clone https://github.com/jkoppel/QuixBugs
    python tests/benchmarks/quixbugs.py QuixBugs --workspace FOLDER [--jobs N]
    flywheel --workspace FOLDER evaluate --module repair --dataset quixbugs --split holdout
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS, RIGHT, TESTS = "python_programs", "correct_python_programs", "python_testcases"
"""Folders of QuixBugs: the programs with their bugs, the right ones, the tests."""
KEPT = (TESTS, "json_testcases", "conftest.py", "LICENSE")
"""What is taken over as it is; the tests import the programs of `PROGRAMS` where not told else."""
SHARED = "node.py"
"""The one module of `PROGRAMS` that is no program."""
RECIPE = """\
title = "QuixBugs"
description = "Forty small programs with one bug each, to measure on; never to be trained on."
task = "repair"

[select]
# The workspace may have examples of other repositories.
where = "source = 'reverted' AND starts_with(path, 'python_programs/')"

[quality]
# All that are proven: an error may be as long as it is.
most_error = 100000

[contamination]
# This is the benchmark itself.
benchmarks = []

[split]
by = "component"
validation = 0.0
# All of it: a share must be less than one.
holdout = 0.999999
holdout_name = "quixbugs"
"""
TEXTS = Path(__file__).parents[2] / "datasets" / "repair-sft"
"""Where the texts of question, answer and card are."""
NOBODY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_NAME": "QuixBugs" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "quixbugs@example.org" for who in ("AUTHOR", "COMMITTER")},
    # The same repository each time, to the hash.
    **{f"GIT_{who}_DATE": "2020-01-01T00:00:00+0000" for who in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True, slots=True)
class Bug:
    """One program with its bug."""

    name: str
    """Name of the program, its module and its definition."""
    bad: str
    """The module with the bug."""
    good: str
    """The module with the definition mended, and nothing else."""


def bugs(clone: Path) -> list[Bug]:
    """The programs that have a bug, a right version, and tests."""
    found = []
    for test in sorted((clone / TESTS).glob("test_*.py")):
        name = test.stem.removeprefix("test_")
        bad = (clone / PROGRAMS / f"{name}.py").read_text()
        right = (clone / RIGHT / f"{name}.py").read_text()
        found.append(Bug(name, bad, mended(bad, right, name)))
    return found


def mended(bad: str, right: str, name: str) -> str:
    """A module with the definition of that name written as in the right one."""
    lines = bad.splitlines(keepends=True)
    start, end = place(bad, name)
    new_start, new_end = place(right, name)
    new = right.splitlines(keepends=True)[new_start:new_end]
    return "".join([*lines[:start], *new, *lines[end:]])


def place(source: str, name: str) -> tuple[int, int]:
    """Lines of the first definition of that name."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node.lineno - 1, node.end_lineno or node.lineno
    raise SystemExit(f"{name} has no definition of its name")


def repository(clone: Path, found: list[Bug], root: Path) -> None:
    """Write the repository: all bugs, then one fix a commit."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    for name in KEPT:
        source = clone / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    package = root / PROGRAMS
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(clone / PROGRAMS / SHARED, package / SHARED)
    for bug in found:
        (package / f"{bug.name}.py").write_text(bug.bad)
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "The programs of QuixBugs, with their bugs")
    for bug in found:
        (package / f"{bug.name}.py").write_text(bug.good)
        commit(root, f"Fix {bug.name}")


def commit(root: Path, message: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, env={**os.environ, **NOBODY}, check=True)


def recipe(workspace: Path) -> None:
    """Write the recipe into the workspace."""
    folder = workspace / "datasets" / "quixbugs"
    folder.mkdir(parents=True, exist_ok=True)
    for text in ("prompt.md", "answer.md", "card.md"):
        shutil.copy(TEXTS / text, folder / text)
    (folder / "recipe.toml").write_text(RECIPE)


def flywheel(workspace: Path, *arguments: str) -> object:
    """What a command prints as JSON."""
    command = [sys.executable, "-c", "from flywheel.cli.main import main; main()"]
    ran = subprocess.run(
        [*command, "--workspace", str(workspace), *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not ran.stdout:
        raise SystemExit(ran.returncode)
    return json.loads(ran.stdout)


def verdicts(workspace: Path) -> Mapping[str, tuple[str, str]]:
    """What the critic said of each fix that was undone, by the program's name."""
    rows = flywheel(
        workspace,
        "sql",
        "SELECT c.path, v.verdict, v.reason FROM candidates c"
        " JOIN verdicts v USING (candidate_id) WHERE c.source = 'reverted'",
    )
    assert isinstance(rows, list)
    return {Path(row["path"]).stem: (row["verdict"], row["reason"]) for row in rows}


def cloned(folder: str) -> Path:
    """A clone of QuixBugs; another folder is refused before anything is begun."""
    if missing := [name for name in (PROGRAMS, *KEPT) if not (Path(folder) / name).exists()]:
        raise argparse.ArgumentTypeError(
            f"{folder} is no clone of QuixBugs: it has no {', '.join(missing)}"
        )
    return Path(folder)


def prepare(clone: Path, workspace: Path, *, jobs: int = 2) -> str:
    """Prove the bugs and build them into a dataset; gives its version."""
    found = bugs(clone)
    root = workspace.resolve() / "quixbugs"
    repository(clone, found, root)
    recipe(workspace)
    flywheel(
        workspace,
        *("harvest", "--repo", str(root), "--source", "reverted"),
        *("--max-candidates", "0", "--jobs", str(jobs)),
    )
    said = verdicts(workspace)
    proven = [bug.name for bug in found if said.get(bug.name, ("", ""))[0] == "valid"]
    print(f"{len(proven)} of {len(found)} bugs are proven")
    for bug in found:
        if bug.name not in proven:
            verdict, reason = said.get(bug.name, ("no candidate", ""))
            print(f"  {bug.name}: {verdict} {reason}")
    built = flywheel(workspace, "dataset", "build", "quixbugs")
    assert isinstance(built, dict)
    return str(built["version"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clone", type=cloned)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    print(prepare(asked.clone, asked.workspace, jobs=asked.jobs))


if __name__ == "__main__":
    main()
