"""What the suite says of the base commit, and what each of its tests executes.

The suite runs several times in the fresh lane, once with its lines watched and once in random
order, where watching costs little with its lines, too. Only a test that passed every time judges;
every other one is kept in the ledger with the reason. The outcome and the line map are cached by
what they depend on.
"""

from __future__ import annotations

import ast
import gzip
import json
import select
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.core.errors import BaselineError
from flywheel.core.records import Baseline, BaselineTest, Lane
from flywheel.core.syntax import parse
from flywheel.critic.critic import Suite
from flywheel.critic.lane import LaneServer, Reply
from flywheel.critic.run import Limits, Run
from flywheel.critic.select import Bits, FileLines, LineIndex, bits

BASELINE_LIMITS = Limits(floor=30.0, factor=0.0)
"""Seconds of CPU a test of the base commit may take."""
VERSION = 3
"""Of the file that a baseline is kept in."""
SHUFFLE_SEED = 1
"""Seed of the run in random order."""
_MARKS = {".": "passed", "F": "failed", "E": "error", "s": "skipped", "x": "xfailed", "T": "hangs"}
_REASONS = {
    "failed": "fails at the base commit",
    "error": "errors at the base commit",
    "skipped": "skipped",
    "xfailed": "expected to fail",
    "hangs": "runs out of time at the base commit",
    "missing": "did not run every time",
}


@dataclass(frozen=True, slots=True)
class Learned:
    """The baseline with what the critic needs of it."""

    baseline: Baseline
    """Every test and why it judges or not."""
    suite: Suite
    """The tests that judge, with their line index."""


@dataclass(slots=True)
class _Watched:
    """Lines that were watched; files are indices of the request's list."""

    imported: dict[int, set[int]] = field(default_factory=dict)
    """File -> lines run while importing and collecting."""
    executed: list[tuple[tuple[int, ...], dict[int, list[int]]]] = field(default_factory=list)
    """Tests, and file -> lines that they execute."""
    shuffled: list[tuple[tuple[int, ...], dict[int, list[int]]]] = field(default_factory=list)
    """The same in random order, where watching costs little."""


def learn(
    server: LaneServer,
    *,
    tree: Path,
    files: Sequence[str],
    runs: int,
    revision_id: str,
    environment_hash: str,
    toolchain: str,
    reach: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Learned:
    """Run the suite `runs` times (at least 2) and learn from it.

    `files` are the repository-relative sources whose lines are watched. Without `reach`, which
    tests load a file is not asked: worth it where few candidates will be judged.
    Raises `BaselineError` when nothing is collected or no test passes every time.
    """
    progress("collecting and running the suite")
    first, collected, times = _first_run(server)
    ids = [test_id for test_id, _, _ in collected]
    paths = [test_id.split("::", 1)[0] for test_id in ids]
    server.tell(ids, paths, [30.0] * len(ids))
    # One hang says enough: it would cost the whole limit again in each run.
    hanging = {place for place, mark in first.outcomes.items() if mark == "T"}
    everything = tuple(place for place in range(len(ids)) if place not in hanging)
    pending = [
        Run(Lane.FRESH, everything, None, BASELINE_LIMITS, {"lines": list(files), "times": True})
    ]
    for number in range(runs - 2):
        options: dict[str, Any] = {"shuffle": SHUFFLE_SEED + number, "times": True}
        if number == 0:
            options.update(lines=list(files), cheaply=True)
        pending += [Run(Lane.FRESH, everything, None, BASELINE_LIMITS, options)]
    if first.remaining:
        pending.insert(0, first)
    progress(f"running {len(ids)} tests {len(pending)} more times, with lines watched")
    watched = _run_all(server, pending, [30.0] * len(ids), times)
    shuffled = [run for run in pending if "shuffle" in run.options]
    ordered = [first, *(run for run in pending if "shuffle" not in run.options)]
    tests = _tests(collected, ordered, shuffled, times, tree)
    judging = [number for number, test in enumerate(tests) if test.judges]
    if not judging:
        raise _nothing_passes(tests, first)
    baseline = Baseline(
        revision_id=revision_id,
        environment_hash=environment_hash,
        toolchain=toolchain,
        runs=runs,
        tests=tests,
        suite_seconds=first.seconds,
        created_at=datetime.now(UTC),
    )
    index = _index(files, watched, {old: new for new, old in enumerate(judging)})
    reached: Mapping[str, Bits] = {}
    if reach:
        progress("running each test file by itself")
        reached = _reach(server, [(place, paths[place]) for place in judging], sorted(index.files))
    return Learned(baseline, suite_of(baseline, index, reached))


def save(learned: Learned, path: Path) -> None:
    """Write a baseline and its line index to a file, whole or not at all."""
    record = asdict(learned.baseline)
    record["created_at"] = learned.baseline.created_at.isoformat()
    lines = {
        name: {
            "imported": sorted(file.imported),
            "unsteady": sorted(file.unsteady),
            "tests": {line: f"{found:x}" for line, found in file.tests.items()},
        }
        for name, file in learned.suite.lines.files.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with gzip.open(partial, "wt", compresslevel=5) as file:
        reach = {name: f"{found:x}" for name, found in learned.suite.reach.items()}
        stored = {"version": VERSION, "baseline": record, "lines": lines, "reach": reach}
        json.dump(stored, file)
    partial.replace(path)


def load(path: Path, revision_id: str) -> Learned | None:
    """Read what `save` wrote, for a revision of the same tree; None when it cannot be used."""
    try:
        with gzip.open(path, "rt") as file:
            stored = json.load(file)
    except (OSError, ValueError, EOFError):
        return None
    if stored.get("version") != VERSION:
        return None
    record = stored["baseline"]
    record["revision_id"] = revision_id
    record["tests"] = tuple(BaselineTest(**test) for test in record["tests"])
    record["created_at"] = datetime.fromisoformat(record["created_at"])
    baseline = Baseline(**record)
    files = {
        name: FileLines(
            tests={int(line): int(found, 16) for line, found in kept["tests"].items()},
            imported=set(kept["imported"]),
            unsteady=set(kept["unsteady"]),
        )
        for name, kept in stored["lines"].items()
    }
    reach = {name: int(found, 16) for name, found in stored["reach"].items()}
    return Learned(baseline, suite_of(baseline, LineIndex(files), reach))


def suite_of(baseline: Baseline, index: LineIndex, reach: Mapping[str, Bits]) -> Suite:
    """The tests of a baseline that judge, as the critic needs them."""
    judging = [test for test in baseline.tests if test.judges]
    return Suite(
        ids=tuple(test.test_id for test in judging),
        paths=tuple(test.test_id.split("::", 1)[0] for test in judging),
        seconds=tuple(test.seconds for test in judging),
        whole_seconds=sum(test.seconds for test in judging),
        lines=index,
        reach=reach,
    )


def _first_run(
    server: LaneServer,
) -> tuple[Run, list[tuple[str, str, int]], dict[int, list[float]]]:
    """Collect and run everything once; a hang leaves the rest in the run's `remaining`."""
    run = Run(Lane.FRESH, (), None, BASELINE_LIMITS, {"times": True, "canary": True})
    server.submit({**run.request(()), "tests": None, "wall": 3600.0})
    replies: list[Reply] = []
    while not replies:
        replies = server.receive()
    reply = replies[0]
    found = reply.fields.get("collected")
    if found is None:
        raise _nothing_collected(reply)
    # An id that comes twice is one test, at its first place: the runner numbers them so too.
    unique: dict[str, tuple[str, str, int]] = {}
    for test_id, path, line in found:
        unique.setdefault(test_id, (test_id, path, line))
    collected = list(unique.values())
    if not collected:
        raise _nothing_collected(reply)
    run.selection = run.remaining = tuple(range(len(collected)))
    if reply.fields.get("canary") is False and reply.status == "ran":
        raise BaselineError(
            "a planted failing test was reported as passing: something in the repository's "
            "conftest or plugins changes test reports",
            hint="disable it with [harvest] in flywheel.toml, or use another toolchain profile",
        )
    run.absorb(reply)
    run.ends.clear()
    times: dict[int, list[float]] = {}
    _take_times(run.selection, reply, times)
    return run, collected, times


def _run_all(
    server: LaneServer,
    pending: Sequence[Run],
    seconds: Sequence[float],
    times: dict[int, list[float]],
) -> _Watched:
    """Run everything; returns the lines that were watched."""
    watched = _Watched()
    flying: dict[int, tuple[Run, tuple[int, ...]]] = {}
    for run in pending:
        flying[server.submit(run.request(seconds))] = (run, run.remaining)
    while flying:
        select.select([server], [], [])
        for reply in server.receive():
            run, asked = flying.pop(reply.request_id)
            for name, found in (reply.fields.get("imported") or {}).items():
                watched.imported.setdefault(int(name), set()).update(found)
            said = watched.shuffled if "shuffle" in run.options else watched.executed
            for place, lines in reply.lines.items():
                said.append(((asked[place],), lines))
            for places, lines in reply.shared:
                said.append((tuple(asked[place] for place in places), lines))
            if "lines" not in run.options or "cheaply" in run.options:
                _take_times(asked, reply, times)
            if run.absorb(reply):
                run.ends.clear()
                flying[server.submit(run.request(seconds))] = (run, run.remaining)
    return watched


def _reach(
    server: LaneServer, judging: Sequence[tuple[int, str]], files: Sequence[str]
) -> dict[str, Bits]:
    """Source -> positions (among those that judge) of tests whose file loads it.

    `judging` are the tests that judge: their place in the server's list, their file. Each test
    file is run by itself, so nothing that another has loaded is there; it is not run where
    collecting it has loaded all of `files`.
    """
    groups: dict[str, list[int]] = {}
    for number, (_, path) in enumerate(judging):
        groups.setdefault(path, []).append(number)
    if len(groups) < 2:
        return {}
    found: dict[str, Bits] = {}
    for numbers in groups.values():
        places = tuple(judging[number][0] for number in numbers)
        run = Run(Lane.FRESH, places, None, BASELINE_LIMITS, {"reach": list(files)})
        server.submit(run.request([30.0] * (max(places) + 1)))
        replies: list[Reply] = []
        while not replies:
            replies = server.receive()
        reached = replies[0].fields.get("reach") if replies[0].status == "ran" else None
        # One that ended early or started a process may have loaded anything.
        for name in files if reached is None else [files[index] for index in reached]:
            found[name] = found.get(name, 0) | bits(numbers)
    return found


def _take_times(asked: Sequence[int], reply: Reply, times: dict[int, list[float]]) -> None:
    for place, took in reply.fields.get("times") or ():
        if place < len(asked):
            times.setdefault(asked[place], []).append(took)


def _tests(
    collected: Sequence[tuple[str, str, int]],
    ordered: Sequence[Run],
    shuffled: Sequence[Run],
    times: Mapping[int, Sequence[float]],
    tree: Path,
) -> tuple[BaselineTest, ...]:
    sources = _TestSources(tree)
    tests = []
    for number, (test_id, location, line) in enumerate(collected):
        in_order = [_MARKS.get(run.outcomes.get(number, " "), "missing") for run in ordered]
        at_random = [_MARKS.get(run.outcomes.get(number, " "), "missing") for run in shuffled]
        every = in_order + at_random
        if in_order[0] == "hangs":
            in_order = every = ["hangs"]
        commonest, count = Counter(every).most_common(1)[0]
        outcome, reason = commonest, _REASONS.get(commonest, "")
        if len(set(in_order)) > 1:
            outcome, reason = "flaky", f"outcomes differ between runs: {', '.join(every)}"
        elif len(set(every)) > 1:
            outcome, reason = "flaky", f"depends on the order of tests: {', '.join(every)}"
        tests.append(
            BaselineTest(
                test_id=test_id,
                path=location,
                line=line,
                outcome=outcome,
                seconds=statistics.median(times.get(number) or [0.0]),
                flake_rate=1 - count / len(every),
                reason=reason,
                source=sources.of(location, line),
            )
        )
    return tuple(tests)


def _index(
    files: Sequence[str],
    watched: _Watched,
    renumber: Mapping[int, int],
) -> LineIndex:
    ordered = _by_line(watched.executed, renumber)
    shuffled = _by_line(watched.shuffled, renumber)
    found: dict[str, FileLines] = {}
    for index in sorted(watched.imported.keys() | ordered.keys()):
        tests, again = ordered.get(index, {}), shuffled.get(index, {})
        unsteady = {
            line for line in tests.keys() | again.keys() if tests.get(line) != again.get(line)
        }
        found[files[index]] = FileLines(
            tests={line: tests.get(line, 0) | again.get(line, 0) for line in tests | again},
            imported=watched.imported.get(index, set()),
            unsteady=unsteady if watched.shuffled else set(),
        )
    return LineIndex(found)


def _by_line(
    said: Sequence[tuple[tuple[int, ...], dict[int, list[int]]]], renumber: Mapping[int, int]
) -> dict[int, dict[int, Bits]]:
    """File -> line -> the tests that executed it."""
    found: dict[int, dict[int, Bits]] = {}
    for members, by_file in said:
        those = bits(renumber[position] for position in members if position in renumber)
        if not those:
            continue
        for index, lines in by_file.items():
            tests = found.setdefault(index, {})
            for line in lines:
                tests[line] = tests.get(line, 0) | those
    return found


class _TestSources:
    """Source text of test functions, by file and line."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._files: dict[str, dict[int, str]] = {}

    def of(self, path: str, line: int) -> str:
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path].get(line, "")

    def _read(self, path: str) -> dict[int, str]:
        try:
            text = (self._tree / path).read_text(encoding="utf-8")
            tree = parse(text)
        except (OSError, SyntaxError, ValueError):
            return {}
        lines = text.splitlines()
        found = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                source = "\n".join(lines[first - 1 : node.end_lineno])
                found[node.lineno] = found[first] = source
        return found


def _nothing_collected(reply: Reply) -> BaselineError:
    errors: list[dict[str, Any]] = reply.fields.get("collect_errors") or []
    cause = "\n".join(f"{e.get('node')}: {e.get('type')}: {e.get('message')}" for e in errors[:5])
    if "internal" in reply.fields:
        cause = f"pytest broke: {reply.fields['internal']}"
    elif reply.status != "ran":
        cause = f"the run ended: {reply.status}\n{reply.stack or reply.output}"
    return BaselineError(
        "no tests were collected at the base commit",
        cause=cause or None,
        hint='give the environment what it lacks: --install "pip install -e .[test]"',
    )


def _nothing_passes(tests: Sequence[BaselineTest], first: Run) -> BaselineError:
    counts = Counter(test.reason or test.outcome for test in tests)
    shown = "\n".join(f"{count} × {reason}" for reason, count in counts.most_common(5))
    detail = next(iter(first.details.values()), None)
    if detail is not None:
        shown += f"\nfirst failure: {detail.get('type')}: {detail.get('message')}"
    return BaselineError(
        f"none of the {len(tests)} tests passes every time at the base commit",
        cause=shown,
        hint='give the environment what it lacks: --install "pip install -e .[test]"',
    )
