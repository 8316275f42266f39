"""Replay: prove stored examples again, cold, from nothing but the store and the repository.

Each row gets processes of its own from start to end: the bad code must fail in just the tests
that the row names, the good code must pass them all.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.core.errors import FlywheelError
from flywheel.core.events import EventBus
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Lane
from flywheel.core.settings import Settings
from flywheel.critic import PATIENT, Run, changed_files, edit_of
from flywheel.orchestrator.stored import by_baseline, set_up_again
from flywheel.orchestrator.workbench import Workbench, jobs_of
from flywheel.store import Replayable, Store, baseline
from flywheel.workspace import Workspace

WHOLE_SUITE_SECONDS = 10.0
"""A suite that takes no longer is replayed whole; of a longer one the files with failing tests."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one row."""

    example_id: str
    """The row."""
    proven: bool
    """True when bad failed in just the tests it should and good passed."""
    reason: str
    """What was otherwise, empty when proven."""
    failing: int
    """Tests that failed with the bad code."""
    selected: int
    """Tests that were run."""
    seconds: float
    """Wall time of this row."""


def replay(
    rows: Sequence[Replayable],
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_done: Callable[[Replayed], None] = lambda replayed: None,
) -> list[Replayed]:
    """Replay rows, a few at a time; a row that cannot be set up is not proven, with the reason."""
    done: list[Replayed] = []

    def finish(replayed: Replayed) -> None:
        done.append(replayed)
        on_done(replayed)

    for members in by_baseline(rows):
        try:
            bench = set_up_again(members[0], settings, workspace, store, bus)
        except FlywheelError as error:
            for row in members:
                finish(Replayed(row.example_id, False, error.message, 0, 0, 0.0))
            continue
        tests = _tests(store, bench, members[0])
        with concurrent.futures.ThreadPoolExecutor(jobs_of(settings)) as pool:
            futures = [pool.submit(_replay_one, bench, row, tests) for row in members]
            for future in concurrent.futures.as_completed(futures):
                finish(future.result())
    return done


@dataclass(frozen=True, slots=True)
class _Tests:
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    seconds: tuple[float, ...]


def _tests(store: Store, bench: Workbench, row: Replayable) -> _Tests | None:
    found = baseline(store, bench.revision.revision_id, row.environment_hash, row.toolchain)
    if found is None:
        return None
    judging = [test for test in found.tests if test.judges]
    return _Tests(
        ids=tuple(test.test_id for test in judging),
        paths=tuple(test.test_id.split("::", 1)[0] for test in judging),
        seconds=tuple(test.seconds for test in judging),
    )


def _replay_one(bench: Workbench, row: Replayable, tests: _Tests | None) -> Replayed:
    started = time.monotonic()

    def end(proven: bool, reason: str = "", failing: int = 0, selected: int = 0) -> Replayed:
        return Replayed(
            row.example_id, proven, reason, failing, selected, time.monotonic() - started
        )

    if tests is None:
        return end(False, "its baseline is not in the store")
    for change in row.candidate.changes:
        base = bench.environment.tree / change.path
        if not base.is_file() or bytes_hash(base.read_bytes()) != change.base_hash:
            return end(False, f"{change.path} is another file now")
    replay_row = _by_pytest if bench.tester is None else _by_command
    try:
        return end(*replay_row(bench, row, tests))
    except FlywheelError as error:
        return end(False, error.message)


def _by_pytest(bench: Workbench, row: Replayable, tests: _Tests) -> tuple[bool, str, int, int]:
    selection = _selection(tests, row.failing)
    bad = _run(bench, tests, selection, edit_of(row.candidate))
    good = _run(bench, tests, selection, edit_of(row.fix) if row.fix is not None else None)
    failing = tuple(sorted(tests.ids[i] for i in bad.failed()))
    for name, run in (("bad", bad), ("good", good)):
        if run.reason or run.canary is False:
            return False, f"{name}: {run.reason or 'the canary did not fail'}", 0, 0
    return _compared(row, failing, len(good.failed()), len(selection))


def _by_command(bench: Workbench, row: Replayable, tests: _Tests) -> tuple[bool, str, int, int]:
    tester = bench.tester
    assert tester is not None
    tree = bench.environment.tree
    sources = {one.path: (tree / one.path).read_bytes() for one in row.candidate.changes}
    wall = tester.profile.limits.test_seconds
    said = []
    good_files = changed_files(row.fix, sources) if row.fix is not None else {}
    for files in (changed_files(row.candidate, sources), good_files):
        server = tester.start()
        try:
            said.append(tester.run(server, files, wall))
        finally:
            server.close()
    for name, one in zip(("bad", "good"), said, strict=True):
        if one.reason:
            return False, f"{name}: {one.reason}", 0, 0
    bad, good = (one.failing(tests.ids) for one in said)
    return _compared(row, bad, len(good), len(tests.ids))


def _compared(
    row: Replayable, failing: tuple[str, ...], good: int, selected: int
) -> tuple[bool, str, int, int]:
    if good:
        return False, f"good fails {good} tests", len(failing), selected
    if failing != row.failing:
        missing = set(row.failing) - set(failing)
        extra = set(failing) - set(row.failing)
        reason = f"bad fails otherwise: {len(missing)} no longer, {len(extra)} besides"
        return False, reason, len(failing), selected
    return True, "", len(failing), selected


def _selection(tests: _Tests, failing: Sequence[str]) -> tuple[int, ...]:
    if sum(tests.seconds) <= WHOLE_SUITE_SECONDS:
        return tuple(range(len(tests.ids)))
    files = {test_id.split("::", 1)[0] for test_id in failing}
    return tuple(i for i, path in enumerate(tests.paths) if path in files)


def _run(
    bench: Workbench, tests: _Tests, selection: tuple[int, ...], edit: dict[str, Any] | None
) -> Run:
    server = bench.start(Lane.FRESH)
    try:
        server.tell(tests.ids, tests.paths, tests.seconds)
        run = Run(Lane.COLD, selection, edit, PATIENT, {"canary": True})
        while True:
            server.submit(run.request(tests.seconds))
            replies = server.receive()
            while not replies:
                replies = server.receive()
            if not run.absorb(replies[0]):
                return run
    finally:
        server.close()
