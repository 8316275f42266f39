"""Evaluations a minute of `tests_pass`, beside a plain pytest for each answer in the same run.

Every example gets two answers that nobody has judged: its right definition and its wrong one, each
with a statement more that does nothing. They are measured as `flywheel evaluate` measures what a
program answers (not cached, then cached), and by plain pytest: a fresh copy of the repository, the
answer written into it, one new process, stopped at the first failure. Both use as many jobs. The
verdicts must be the same.

    python tests/benchmarks/bench_evaluate.py [--package pypi:NAME==VERSION] [--examples N]

Not part of the test suite: see docs/benchmarks.md for what each figure is.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flywheel.core.events import EventBus
from flywheel.core.settings import Settings, load
from flywheel.critic import changed_files
from flywheel.lm.bridge import dspy
from flywheel.optimize.run import Job, Outcome, work
from flywheel.orchestrator import find_metric
from flywheel.orchestrator.stored import set_up_again
from flywheel.orchestrator.tools import Toolbox
from flywheel.orchestrator.workbench import Workbench
from flywheel.programs import Case
from flywheel.programs.row import FIELDS, Row
from flywheel.sandbox import Box, Mount, give_to_box, make_etc
from flywheel.store import Replayable, Store, ids_to_score, replayable, scorable
from flywheel.workspace import Workspace, find

PACKAGE = "pypi:toolz==1.2.0"
NOTHING = "_nothing_at_all = None"
"""The statement that makes an answer one that nobody has judged."""
PATIENCE = 120.0
"""Seconds that plain pytest may take for one answer."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer to one example."""

    row: Row
    """The example; its field `statement` says which answer it is."""
    bug: Replayable
    """The same, as the store knows it."""
    code: str
    """The definition that is the answer."""
    content: bytes
    """The whole file with the answer in it."""


class Says(dspy.Module):  # type: ignore[misc]  # DSPy is not typed
    """A program that gives prepared answers, and asks nobody."""

    def __init__(self, code: dict[tuple[str, str], str]) -> None:
        super().__init__()
        self._code = code

    def forward(self, repo: str, statement: str) -> Any:
        return dspy.Prediction(good=self._code[repo, statement])


def given(bench: Workbench, bug: Replayable, row: Row) -> list[Given]:
    """The right and the wrong definition, each with a statement more."""
    path = bug.candidate.path
    base = (bench.environment.tree / path).read_bytes()
    bad = changed_files(bug.candidate, {path: base})[path]
    found = []
    for name, content in (("right", base), ("wrong", bad)):
        made = with_nothing(content.decode(), bug.candidate.symbol)
        if made is not None:
            source, code = made
            fields = dict(row.fields) | {"repo": row.id, "statement": name}
            found.append(Given(replace(row, fields=fields), bug, code, source.encode()))
    return found


def with_nothing(source: str, symbol: str) -> tuple[str, str] | None:
    """A file with the statement in a definition, and the definition; None where it has none."""
    node: ast.AST = ast.parse(source)
    for name in symbol.split("."):
        inner = getattr(node, "body", [])
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = [one for one in inner if isinstance(one, kinds) and one.name == name]
        if len(found) != 1:
            return None
        node = found[0]
    if not isinstance(node, ast.FunctionDef):
        return None
    lines = source.splitlines(keepends=True)
    # Behind a docstring, which must stay the first.
    first = node.body[1 if len(node.body) > 1 and ast.get_docstring(node) is not None else 0]
    if first.lineno == node.lineno or first.col_offset == 0:
        return None
    at = min(one.lineno for one in (first, *getattr(first, "decorator_list", [])))
    lines.insert(at - 1, " " * first.col_offset + NOTHING + "\n")
    start = min(one.lineno for one in (node, *node.decorator_list)) - 1
    end = (node.end_lineno or node.lineno) + 1
    return "".join(lines), textwrap.dedent("".join(lines[start:end])).rstrip("\n")


def ours(
    answers: Sequence[Given], settings: Settings, workspace: Workspace, store: Store
) -> tuple[dict[tuple[str, str], Outcome], float, float]:
    """Outcomes by example and answer; the seconds until the first, and until the last."""
    module = Says({(one.row.id, one.row.fields["statement"]): one.code for one in answers})
    metric = find_metric("tests_pass", settings, workspace)
    jobs = [Job(module, one.row, copy_context(), one.row.fields["statement"]) for one in answers]
    began, first, found = time.monotonic(), 0.0, {}
    with Toolbox(metric, settings, workspace, store, EventBus(), run_id="bench") as tools:
        for done in work(jobs, lambda *of: tools.measure(*of).score, threads=8):
            first = first or time.monotonic() - began
            found[done.outcome.example_id, done.job.of] = done.outcome
    return found, first, time.monotonic() - began


def plain(
    bench: Workbench, answers: Sequence[Given], jobs: int
) -> tuple[dict[tuple[str, str], bool | None], float, float]:
    """Whether plain pytest passes, by example and answer; None where it did not end."""
    began, first, said = time.monotonic(), 0.0, {}
    with ThreadPoolExecutor(jobs) as pool:
        for one, passes in zip(
            answers, pool.map(lambda one: pytest_of(bench, one), answers), strict=True
        ):
            first = first or time.monotonic() - began
            said[one.row.id, one.row.fields["statement"]] = passes
    return said, first, time.monotonic() - began


def pytest_of(bench: Workbench, one: Given) -> bool | None:
    """One plain pytest in a fresh copy of the tree with the answer in it."""
    environment = bench.environment
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as folder:
        Path(folder).chmod(0o755)
        tree = Path(folder) / "tree"
        shutil.copytree(environment.tree, tree, symlinks=True)
        (tree / one.bug.candidate.path).write_bytes(one.content)
        give_to_box(tree)
        box = replace(
            Box(bench.probe.bwrap, etc=make_etc(bench.cache / "etc")),
            mounts=(*environment.mounts, Mount(tree, "/repo", writable=True)),
            environment={
                **environment.variables,
                "PYTHONPATH": ":".join(environment.pythonpath),
            },
            cwd="/repo",
        )
        options = [*environment.pytest_args, "-q", "-x", "--tb=no", "-p", "no:cacheprovider"]
        ran = box.run([environment.python, "-m", "pytest", *options], timeout=PATIENCE)
        return None if ran.timed_out else ran.returncode == 0


def harvested(package: str, folder: Path, examples: int) -> None:
    """Fill a workspace with examples of a package."""
    command = [sys.executable, "-c", "from flywheel.cli.main import main; main()"]
    harvest = ["harvest", "--repo", package, "--max-examples", str(examples)]
    subprocess.run([*command, "--workspace", str(folder), *harvest], check=True)


def told(name: str, count: int, first: float, seconds: float) -> None:
    rate = 60 * count / seconds
    print(f"| {name} | {count} | {first:.1f} | {seconds:.1f} | {rate:.1f} |", flush=True)


def agree(
    found: dict[tuple[str, str], Outcome], beside: Callable[[tuple[str, str]], bool | None]
) -> list[tuple[str, str]]:
    """Answers of which both know a verdict, and not the same one."""
    return [
        key
        for key, one in found.items()
        if one.value is not None and (other := beside(key)) is not None and bool(one.value) != other
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", default=PACKAGE)
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as name:
        folder = Path(name)
        harvested(options.package, folder, options.examples)
        workspace = find(explicit=folder)
        settings = load(workspace.root, flags={"harvest.jobs": options.jobs}).settings
        store = Store(workspace.store_path)
        bugs = {one.example_id: one for one in replayable(store)}
        first = next(iter(bugs.values()))
        bench = set_up_again(first, settings, workspace, store, EventBus())
        answers = [
            one
            for example in scorable(store, "bad", ids_to_score(store, "bad"))
            for one in given(bench, bugs[example.example_id], row_of(example))
        ]
        print(f"\n{len(answers)} answers to {len(bugs)} examples of {options.package}\n")
        print("| way | answers | s to the first | s in all | a minute |\n|---|---|---|---|---|")
        found, *seconds = ours(answers, settings, workspace, store)
        told("tests_pass, not cached", len(answers), *seconds)
        again, *seconds = ours(answers, settings, workspace, store)
        told("tests_pass, cached", len(answers), *seconds)
        said, *seconds = plain(bench, answers, options.jobs)
        told("plain pytest, one process an answer", len(answers), *seconds)
        unknown = [key for key, one in found.items() if one.value is None]
        late = [key for key, one in said.items() if one is None]
        other = agree(found, said.get) + agree(again, lambda key: bool(found[key].value))
        print(f"\n{len(other)} verdicts differ; {len(unknown)} are unknown to tests_pass,")
        print(f"{len(late)} to plain pytest, which waits {PATIENCE:.0f} s")
        for key in other:
            print(f"  {key}: {found[key].value} {found[key].reason}, pytest {said[key]}")
        return 1 if other else 0


def row_of(example: Any) -> Row:
    case = Case(
        example.example_id, example.language, example.path, example.symbol, example.bad,
        example.good, example.error, example.patch, example.test_source,
    )  # fmt: skip
    return Row(case, dict.fromkeys(FIELDS, ""))


if __name__ == "__main__":
    sys.exit(main())
