"""MIPROv2's wall time with our metric runner, beside a naive metric under DSPy's own Evaluate.

The same study twice in one run: the program `repair`, the same rows, seed and trials, and a model
on loopback whose answer is decided by its question, so that both see the same answers. In the one
an answer is measured as `flywheel optimize` measures it: by the warm critic, each once. In the
other as a metric is written by hand: a fresh copy of the repository, the answer written into it,
one new pytest, stopped at the first failure. Evaluate runs as many rows at once in both. Trials and
scores must be the same.

    python tests/benchmarks/bench_miprov2.py [--package pypi:NAME==VERSION] [--rows N] [--trials N]

Not part of the test suite: see docs/benchmarks.md for what each figure is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_evaluate import Given, harvested, pytest_of, row_of

from flywheel.candidates import correction
from flywheel.core.events import EventBus
from flywheel.core.identity import content_hash
from flywheel.core.settings import LMProfile, Settings, load
from flywheel.critic import changed_files
from flywheel.lm import Engine, Journal, Purpose, Role, Secrets
from flywheel.lm.bridge import language_model
from flywheel.optimize.ground import Options
from flywheel.optimize.run import Measure
from flywheel.optimize.stop import Stop
from flywheel.optimize.study import Models, Studied, Study, Subject
from flywheel.orchestrator import find_metric
from flywheel.orchestrator.scoring import Scoring
from flywheel.orchestrator.stored import set_up_again
from flywheel.orchestrator.tools import Toolbox
from flywheel.orchestrator.workbench import Workbench
from flywheel.programs import Answer, Case, Score
from flywheel.programs.edit import Edit, edit_between, written
from flywheel.programs.modules.shown import code_shown
from flywheel.programs.program import find_program
from flywheel.programs.row import Row
from flywheel.store import Replayable, Store, ids_to_score, replayable, scorable
from flywheel.workspace import Workspace, find
from tests.fakes.provider import Behaviour, Provider, provider

PACKAGE = "pypi:toolz==1.2.0"
THREADS = 2
"""Rows that Evaluate has under way at once."""


class Student:
    """Answers rightly or wrongly, as the hash of the question has it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._edits = {}
        for row in rows:
            edit = edit_between(row.fields["bad"], row.fields["good"])
            if edit is not None:
                self._edits[code_shown(row.fields["bad"])] = edit

    def __call__(self, body: dict[str, Any]) -> Behaviour:
        """The answer, in the form that is asked for."""
        system = body.get("system") or ""
        text = system if isinstance(system, str) else system[0]["text"]
        asked = body["messages"][-1]["content"]
        asked = asked if isinstance(asked, str) else asked[0]["text"]
        shown = asked.removeprefix("code:\n").partition("\n\nerror:\n")[0]
        edit = self._edits.get(shown)
        if edit is None:
            names = re.findall(r'"(\w+)":', (text + asked).partition("Answer in JSON")[2])
            said = content_hash("instruction", text, asked)
            return Behaviour(text=json.dumps(dict.fromkeys(names, f"Mend the line. {said}")))
        right = int(content_hash("right", text, len(body["messages"]), shown)[:4], 16) % 3 == 0
        return Behaviour(text=written(edit if right else Edit(edit.old, ("    pass",))))


class Naive:
    """A metric as it is written by hand: one pytest an answer, nothing kept."""

    def __init__(self, bench: Workbench, bugs: Mapping[str, Replayable]) -> None:
        self._bench, self._bugs = bench, bugs
        self.ran = 0
        """Answers that were measured."""

    def __call__(self, case: Case, answer: Answer) -> Score:
        """Whether pytest passes with the answer in place."""
        if not answer.code:
            return Score(0.0, "no answer")
        self.ran += 1
        bug = self._bugs[case.example_id]
        _, bad = files(self._bench, bug)
        content = placed(bad, case.bad, answer.code)
        passes = pytest_of(self._bench, Given(Row(case, {}), bug, answer.code, content.encode()))
        return Score(None if passes is None else float(passes), "pytest")


def files(bench: Workbench, bug: Replayable) -> tuple[str, str]:
    """The file of a bug as it is, and with the bug."""
    path = bug.candidate.path
    base = (bench.environment.tree / path).read_bytes()
    return base.decode(), changed_files(bug.candidate, {path: base})[path].decode()


def placed(source: str, old: str, new: str) -> str:
    """A file with another definition, as deep as the old one; as it was where that is not found."""
    for margin in ("", "    ", "        "):
        text = textwrap.indent(old, margin)
        if text in source:
            return source.replace(text, textwrap.indent(new, margin), 1)
    return source


def study(
    measure: Measure, train: Sequence[Row], validation: Sequence[Row], served: Provider,
    folder: Path, trials: int,
) -> tuple[Studied, float]:  # fmt: skip
    """One MIPROv2, with a journal of its own; its seconds."""
    profile = LMProfile(
        model="anthropic/claude-sonnet-4-6", api_base=served.address, api_key_env="K", patience=1
    )
    journal = Journal(folder / "lm.sqlite")
    engine = Engine({"default": profile}, journal, secrets=Secrets({"K": "key"}))
    program = find_program("repair", folder)

    def model(role: Role) -> Any:
        return language_model(engine, Purpose(role, f"optimize:{role.value}"))

    one = Study(
        subject=Subject(program.name, program.hash, program.fields, program.make()),
        optimizer="miprov2",
        models=Models(model(Role.STUDENT), model(Role.PROPOSER), None),
        train=train,
        validation=validation,
        measure=measure,
        options=Options(trials=trials, threads=THREADS),
        folder=folder / "study",
        trainings=folder / "trainings",
        stop=Stop(),
    )
    began = time.monotonic()
    try:
        return one.run(), time.monotonic() - began
    finally:
        engine.close()
        journal.close()


def scores(found: Studied) -> list[tuple[int, str, float | None]]:
    return [(one.number, one.kind, one.estimate.value) for one in found.trials]


def compared(
    rows: Sequence[Row],
    naive: Naive,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    trials: int,
) -> int:
    """Run both, print what they took; 1 where their trials differ."""
    half = len(rows) // 2
    train, validation = rows[:half], rows[half:]
    metric = find_metric("tests_pass", settings, workspace)
    with provider(Student(rows)) as served, tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / one for one in ("ours", "naive")]
        for folder in folders:
            folder.mkdir()
        with Toolbox(metric, settings, workspace, store, EventBus(), run_id="bench") as tools:
            scoring = Scoring(metric, tools, store, [row.id for row in rows])
            ours, took = study(scoring, train, validation, served, folders[0], trials)
        other, took_naive = study(naive, train, validation, served, folders[1], trials)
    print("\n| way | trials | answers measured | s |\n|---|---|---|---|")
    print(
        f"| warm critic, each answer once | {len(ours.trials)} | {scoring.measured} | {took:.1f} |"
    )
    print(
        f"| pytest, one process an answer | {len(other.trials)} | {naive.ran} | {took_naive:.1f} |"
    )
    same = scores(ours) == scores(other)
    print(f"\nratio {took_naive / took:.1f}; scores {'the same' if same else 'differ'}")
    if not same:
        print(f"  ours  {scores(ours)}\n  naive {scores(other)}")
    return 0 if same else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", default=PACKAGE)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--trials", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as name:
        folder = Path(name)
        harvested(options.package, folder, 2 * options.rows)
        workspace = find(explicit=folder)
        settings = load(workspace.root, flags={"harvest.jobs": THREADS}).settings
        store = Store(workspace.store_path)
        bugs, rows = {one.example_id: one for one in replayable(store)}, []
        bench = set_up_again(next(iter(bugs.values())), settings, workspace, store, EventBus())
        for example in scorable(store, "bad", ids_to_score(store, "bad")):
            row = row_of(example)
            fields = {"bad": example.bad, "good": example.good, "error": example.error}
            row = Row(row.case, {**row.fields, **fields})
            bug = bugs[example.example_id]
            good, bad = files(bench, bug)
            sayable = edit_between(example.bad, example.good) is not None
            # As in a dataset: within one definition.
            broken = correction.broken(bug.candidate, good.encode(), bad.encode())
            if (
                sayable
                and not isinstance(broken, str)
                and placed(bad, example.bad, example.good) == good
            ):
                rows.append(row)
        return compared(
            rows[: options.rows], Naive(bench, bugs), settings, workspace, store, options.trials
        )


if __name__ == "__main__":
    sys.exit(main())
