"""Stores and records for the tests of this floor: real DuckDB files, invented rows."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.patch import unified_patch
from flywheel.core.records import (
    Baseline,
    BaselineTest,
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
from flywheel.store import Store, record_baseline, record_environment, record_revision

PROCESSES = Path(__file__).with_name("processes.py")

REVISION = Revision("https://example.org/words.git", "c" * 40, "d" * 40, "MIT")
BASELINE = Baseline(
    revision_id=REVISION.revision_id,
    environment_hash="e" * 16,
    toolchain="pytest@0123",
    runs=3,
    tests=tuple(
        BaselineTest(
            f"tests/test_words.py::test_{number}",
            "tests/test_words.py",
            number * 3,
            "passed" if number else "flaky",
            0.01,
            0.0 if number else 0.5,
            "" if number else "flaky",
            f"def test_{number}():\n    assert plural('word{number}') == 'word{number}s'\n",
        )
        for number in range(12)
    ),
    suite_seconds=0.5,
    created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)

WORDS = [
    "value",
    "index",
    "token",
    "result",
    "parser",
    "stream",
    "node",
    "count",
    "items",
    "group",
    "match",
    "width",
    "cache",
    "depth",
    "total",
    "limit",
    "render",
    "split",
    "merge",
    "state",
    "buffer",
    "offset",
    "option",
    "handler",
    "header",
    "session",
]


def good_trial() -> Trial:
    return Trial(
        Status.RAN, Outcome.PASSES, "", Lane.FRESH, 12, 12, (), (), (), 0.2, {"tests": 0.1}, "S3"
    )


def bad_trial(lane: Lane, *failures: TestFailure, more: tuple[str, ...] = ()) -> Trial:
    failing = tuple(sorted({failure.test_id for failure in failures} | set(more)))
    return Trial(
        Status.RAN,
        Outcome.FAILS,
        "",
        lane,
        12,
        12 - len(failing),
        failing,
        (),
        failures,
        0.3,
        {"fork": 0.01, "tests": 0.2},
        "S3",
    )


def judged(number: int, *, verdict: str = "valid", reason: str = "") -> Judged:
    """A candidate of about twelve lines; the same number gives the same one."""
    rng = random.Random(number)
    name = f"{rng.choice(WORDS)}_{rng.choice(WORDS)}"
    good = [f"def {name}({rng.choice(WORDS)}, limit=None):", f'    """Return {name}."""']
    good += [
        f"    {rng.choice(WORDS)} = {rng.choice(WORDS)}.get({rng.choice(WORDS)!r}, {line})"
        for line in range(9)
    ]
    good += [f"    return {rng.choice(WORDS)} + {rng.choice(WORDS)}"]
    bad = [*good[:-1], f"    return {rng.choice(WORDS)} - {number}"]
    before = "import re\n\n\n" + "\n".join(good) + "\n"
    after = "import re\n\n\n" + "\n".join(bad) + "\n"
    path = f"src/words/{rng.choice(WORDS)}.py"
    start = before.index(good[-1]) + 4
    candidate = Candidate(
        path=path,
        symbol=name,
        span=Span(start, start + len(good[-1]) - 4),
        before=good[-1].strip(),
        after=bad[-1].strip(),
        line=15,
        end_line=15,
        source="mutated",
        operator=rng.choice(("arithmetic.swap", "return.constant", "boolean.negate")),
        good="\n".join(good),
        bad="\n".join(bad),
        base_hash=f"{number:016x}",
        patch=unified_patch(path, after.encode(), before.encode()),
    )
    left, right = rng.randint(0, 999), rng.randint(0, 999)
    trace = "\n".join(
        f"{path}:{rng.randint(1, 900)}: in {rng.choice(WORDS)}\n    {rng.choice(good).strip()}"
        for _ in range(6)
    )
    failures = tuple(
        TestFailure(
            f"tests/test_words.py::test_{test}",
            "call",
            "AssertionError",
            f"assert {left} == {right}",
            f"{left} == {right}",
            f"{trace}\nE   assert {left} == {right}",
        )
        for test in (1, 2)
    )
    more = tuple(f"tests/test_words.py::test_{test}" for test in (3, 4, 5))
    if verdict == "valid":
        return Judged(
            candidate,
            bad_trial(Lane.WARM, *failures, more=more),
            bad_trial(Lane.FRESH, *failures, more=more),
            good_trial(),
            verdict,
            reason,
        )
    if verdict == "survived":
        return Judged(candidate, replace(good_trial(), lane=Lane.WARM), None, None, verdict, "")
    trial = replace(good_trial(), outcome=Outcome.UNKNOWN, status=Status.INFRASTRUCTURE)
    return Judged(candidate, trial, None, None, verdict, reason or "worker-died")


def furnish(store: Store) -> None:
    """Record what a batch refers to."""
    record_revision(store, REVISION)
    record_environment(store, "e" * 16, toolchain="pytest@0123", details={"python": "3.11.7"})
    record_baseline(store, BASELINE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that knows a revision and its baseline, and no candidate."""
    made = Store(tmp_path / "state" / "flywheel.duckdb")
    furnish(made)
    return made


@pytest.fixture
def make() -> Callable[..., Judged]:
    """Makes judged candidates by number."""
    return judged


@pytest.fixture
def baseline_record() -> Baseline:
    """The baseline every store of these tests knows."""
    return BASELINE


@pytest.fixture
def baseline_id() -> str:
    return BASELINE.baseline_id


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `processes.py` with arguments; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROCESSES), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROCESSES.parents[2])},
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
