"""What the benchmarks share: a prepared package, a fixed draw of candidates, and ways to judge.

Every way judges the same candidates. Set-up is always told apart from judging.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.candidates import MutationSource, NotReady, select_operators
from flywheel.core.events import EventBus
from flywheel.core.records import Candidate, Judged, Lane
from flywheel.core.settings import load
from flywheel.critic import (
    RUNNER,
    RUNNER_TARGET,
    Critic,
    LaneServer,
    Layout,
    Learned,
    isolation_of,
    learn,
    other_files,
    sources,
)
from flywheel.critic.select import positions
from flywheel.orchestrator.workbench import START_SECONDS, Workbench, set_up
from flywheel.sandbox import Box, Mount, give_to_box, make_etc
from flywheel.workspace import find

PACKAGES = ("pypi:inflection==0.5.1", "pypi:sqlparse==0.6.1", "pypi:more-itertools==11.2.1")
"""What is measured unless others are named: small, middling, and a suite of many subtests."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One package with its baseline, and the candidates that every way judges."""

    repo: str
    bench: Workbench
    learned: Learned
    contents: dict[str, bytes]
    """Repository-relative path -> base content of each file that may change."""
    candidates: list[Candidate]
    setup: dict[str, float]
    """Seconds of fetching and building (from whatever the cache had), and of the baseline."""


@dataclass(slots=True)
class Way:
    """What one way of judging came to."""

    name: str
    jobs: int
    judged: int
    seconds: float
    """Wall time of judging alone."""
    setup: float = 0.0
    """Wall time until the first candidate could be judged."""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Judged per second, set-up left out."""
        return self.judged / self.seconds if self.seconds else 0.0


def prepare(
    repo: str, *, candidates: int, seed: int, paths: Sequence[str] = (), runs: int = 3
) -> Prepared:
    """Fetch, build, learn the baseline anew, and draw covered candidates with a fixed seed."""
    workspace = find(explicit=Path(tempfile.gettempdir()) / "flywheel-bench")
    bench = set_up(repo, load(workspace.root).settings, workspace, EventBus())
    started = time.monotonic()
    files = sources(bench.environment.tree, bench.toolchain)
    server = bench.start(Lane.FRESH)
    try:
        learned = learn(
            server,
            tree=bench.environment.tree,
            files=files.paths,
            runs=runs,
            revision_id=bench.revision.revision_id,
            environment_hash=bench.environment.hash,
            toolchain=bench.toolchain.id,
        )
    finally:
        server.close()
    setup = {"environment": bench.seconds, "baseline": time.monotonic() - started}
    executed = learned.suite.lines.files
    tree = bench.environment.tree
    chosen = sorted(
        path for path in executed if not paths or any(path.startswith(one) for one in paths)
    )
    contents = {path: (tree / path).read_bytes() for path in chosen}
    drawn = draw(contents, lambda path: executed[path].executed, candidates=candidates, seed=seed)
    return Prepared(repo, bench, learned, contents, drawn, setup)


def draw(
    contents: Mapping[str, bytes],
    covered: Callable[[str], Set[int]],
    *,
    candidates: int,
    seed: int,
) -> list[Candidate]:
    """Candidates on covered lines, in random order; nothing is learned from any verdict."""
    source = MutationSource(contents, operators=select_operators(()), covered=covered, seed=seed)
    drawn: list[Candidate] = []
    while len(drawn) < candidates:
        one = source.draw()
        if one is None or isinstance(one, NotReady):
            break
        source.report(one, "unknown", 0.0)
        drawn.append(one)
    random.Random(seed).shuffle(drawn)
    return drawn


def judge(
    name: str,
    prepared: Prepared,
    candidates: Sequence[Candidate],
    *,
    jobs: int,
    seconds: float,
    fail_fast: bool = False,
    start: Callable[[Lane], LaneServer] | None = None,
) -> tuple[Way, list[Judged]]:
    """Judge by the critic, first runs only; submits for at most `seconds`, then drains."""
    began = time.monotonic()
    suite, tree = prepared.learned.suite, prepared.bench.environment.tree
    critic = Critic(
        suite,
        start=start or prepared.bench.start,
        jobs=jobs,
        sources={path: (tree / path).read_bytes() for path in suite.lines.files},
        others=other_files(tree, watched=suite.lines.files, tests=suite.paths),
        level=prepared.bench.probe.level,
        fail_fast=fail_fast,
        confirm=False,
    )
    judged: list[Judged] = []
    waiting = iter(candidates)
    drawing = True
    try:
        critic.prove()
        ready = time.monotonic()
        while drawing or critic.busy:
            while drawing and critic.hungry:
                one = next(waiting, None)
                if one is None or time.monotonic() - ready > seconds:
                    drawing = False
                else:
                    critic.submit(one)
            judged += critic.collect(timeout=1.0)
        ended = time.monotonic()
    finally:
        critic.close()
    way = Way(name, jobs, len(judged), ended - ready, ready - began)
    verdicts = [one.verdict for one in judged]
    way.notes["verdicts"] = {name: verdicts.count(name) for name in sorted(set(verdicts))}
    way.notes["lanes"] = lanes(judged, way)
    if not critic.warm:
        way.notes["not warm"] = critic.not_warm_reason
    return way, judged


def lanes(judged: Sequence[Judged], way: Way) -> dict[str, dict[str, float]]:
    """For each lane its candidates and the medians of their phases, in milliseconds.

    `between_ms` is the wall time a candidate less the mean trial: what the critic and its server
    do between forks. It has a meaning where one lane ran alone only.
    """
    found: dict[str, dict[str, float]] = {}
    for lane in Lane:
        trials = [one.trial for one in judged if one.trial.lane is lane and one.trial.phases]
        if not trials:
            continue
        overheads = [sum(t.phases[n] for n in ("fork", "patch", "reap")) for t in trials]
        between = way.seconds * way.jobs - sum(trial.seconds for trial in trials)
        found[lane.value] = {
            "candidates": len(trials),
            "between_ms": 1000 * between / len(trials),
            "overhead_ms": 1000 * statistics.median(overheads),
            **{
                f"{name}_ms": 1000 * statistics.median(trial.phases[name] for trial in trials)
                for name in ("fork", "patch", "tests", "reap")
            },
        }
    return found


# --- without isolation ------------------------------------------------------------------------

_PLAIN_ISOLATE = '''

class _Plain(Isolation):
    """A bare fork: no namespaces, no overlay, no groups, no filter. For measuring only."""

    def __init__(self, config):
        self.config = config
        self._oom_seen = 0
        self._joined = True
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def spawn(self, run, *, keep=(), cpu_seconds=0):
        started = time.monotonic()
        result_read, result_write = os.pipe()
        output_read, output_write = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
                os.dup2(self._null, 0)
                os.dup2(output_write, 1)
                os.dup2(output_write, 2)
                _close_all_but((0, 1, 2, result_write))
                os.chdir(self.config.work)
                os.write(result_write, _READY)
                run(result_write)
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
            finally:
                os._exit(0)
        os.close(result_write)
        os.close(output_write)
        return Child(self, pid, pid, result_read, output_read, started)

    def close(self):
        os.close(self._null)


Isolation = _Plain
'''
_PLAIN_SERVER = '''

def write_edit(server, edit):
    """As the real one, but nothing is written: there is no overlay to write to."""
    if edit is None:
        return None
    base = server.base(edit["path"])
    return base[: edit["start"]] + edit["after"].encode() + base[edit["end"] :]
'''


@contextmanager
def without_isolation(bench: Workbench) -> Iterator[Callable[[Lane], LaneServer]]:
    """A `start` whose warm servers fork plainly; the fresh ones stay as they are.

    The server itself is still in its box. Measures what each candidate's own sandbox costs:
    namespaces, overlay, groups, filter, limits, and the write of the changed file.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-plain-") as folder:
        runner = Path(folder) / "runner"
        shutil.copytree(RUNNER, runner, ignore=shutil.ignore_patterns("__pycache__"))
        for name, more in (("isolate.py", _PLAIN_ISOLATE), ("server.py", _PLAIN_SERVER)):
            file = runner / name
            file.write_text(file.read_text() + more)
        for path in (Path(folder), runner):
            path.chmod(0o755)

        def start(lane: Lane) -> LaneServer:
            if lane is not Lane.WARM:
                return bench.start(lane)
            environment = bench.environment
            box = Box(
                bench.probe.bwrap,
                mounts=(
                    *environment.mounts,
                    Mount(environment.tree, "/repo"),
                    Mount(runner, RUNNER_TARGET),
                ),
                environment=environment.variables,
                cwd="/repo",
                limits=bench.limits,
                nested=True,
                etc=make_etc(bench.cache / "etc"),
            )
            settings = isolation_of(bench.limits, None)
            settings.pop("soft_memory_bytes")
            server = LaneServer(
                lane,
                box,
                python=environment.python,
                args=(*environment.pytest_args, "--capture=sys"),
                pythonpath=environment.pythonpath,
                isolation=settings,
            )
            server.start(timeout=START_SECONDS)
            return server

        yield start


# --- the cold way -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cold:
    """One cold run."""

    seconds: float
    """Copying the tree, writing the change, and running pytest."""
    failed: bool
    timed_out: bool


def cold(
    bench: Workbench,
    candidate: Candidate | None,
    *,
    tests: Sequence[str] = (),
    options: Sequence[str] = (),
    timeout: float,
) -> Cold:
    """Plain pytest in a fresh copy in a box of its own; the whole suite unless tests are named."""
    with tempfile.TemporaryDirectory(prefix="flywheel-cold-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        tree = root / "tree"
        started = time.monotonic()
        shutil.copytree(
            bench.environment.tree,
            tree,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        if candidate is not None:
            file = tree / candidate.path
            text = file.read_bytes()
            span = candidate.span
            file.write_bytes(text[: span.start] + candidate.after.encode() + text[span.end :])
        give_to_box(tree)
        arguments = [*bench.environment.pytest_args, *options]
        mounts = [*bench.environment.mounts, Mount(tree, "/repo", writable=True)]
        if tests:
            chosen = root / "tests.txt"
            chosen.write_text("\n".join(tests))
            mounts.append(Mount(chosen, "/chosen.txt"))
            arguments.append("@/chosen.txt")
        variables = dict(bench.environment.variables)
        if bench.environment.pythonpath:
            variables["PYTHONPATH"] = ":".join(bench.environment.pythonpath)
        box = dataclasses.replace(
            Box(bench.probe.bwrap, etc=make_etc(bench.cache / "etc")),
            mounts=tuple(mounts),
            environment=variables,
            cwd="/repo",
            confined=True,
            limits=dataclasses.replace(bench.limits, processes=1024),
        )
        done = box.run([bench.environment.python, "-m", "pytest", *arguments], timeout=timeout)
        seconds = time.monotonic() - started
    if not done.timed_out and done.returncode not in (0, 1, 2) and candidate is None:
        raise RuntimeError(f"cold pytest ended with {done.returncode}: {done.output[-1000:]}")
    return Cold(seconds, done.timed_out or done.returncode != 0, done.timed_out)


def cold_timeout(prepared: Prepared) -> float:
    """Seconds after which a cold run is taken to hang."""
    return 10 + 5 * prepared.learned.baseline.suite_seconds


def judge_cold(
    name: str,
    prepared: Prepared,
    *,
    jobs: int,
    seconds: float,
    covering: bool = False,
    options: Sequence[str] = (),
) -> tuple[Way, list[Cold]]:
    """Judge cold in the order of the draw, starting none after `seconds`."""
    suite = prepared.learned.suite
    layouts = {path: Layout(text) for path, text in prepared.contents.items()}
    timeout = cold_timeout(prepared)
    began = time.monotonic()

    def one(candidate: Candidate) -> Cold | None:
        if time.monotonic() - began > seconds:
            return None
        tests: list[str] = []
        if covering:
            place = layouts[candidate.path].place(candidate)
            if place is not None:
                found = suite.lines.covering(candidate.path, place.statement)
                tests = [suite.ids[i] for i in positions(found)]
        return cold(prepared.bench, candidate, tests=tests, options=options, timeout=timeout)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = [done for done in pool.map(one, prepared.candidates) if done is not None]
    way = Way(name, jobs, len(results), time.monotonic() - began)
    way.notes["timed_out"] = sum(done.timed_out for done in results)
    way.notes["failed"] = sum(done.failed for done in results)
    return way, results


# --- telling ----------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """The machine, as far as figures depend on it."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "load_at_start": os.getloadavg()[0],
    }


def table(ways: Sequence[Way], against: Way | None = None) -> str:
    """Ways as lines of a Markdown table; the last column is how often `against` fits in."""
    lines = [
        "| way | jobs | judged | set-up s | judging s | per second | times |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in ways:
        times = f"{way.rate / against.rate:.1f}" if against is not None and against.rate else ""
        lines.append(
            f"| {way.name} | {way.jobs} | {way.judged} | {way.setup:.1f} | {way.seconds:.1f}"
            f" | {way.rate:.3g} | {times} |"
        )
    return "\n".join(lines)


def write_json(path: Path | None, data: Any) -> None:
    """Write the figures where they were asked for."""
    if path is not None:
        path.write_text(json.dumps(data, indent=1, default=str) + "\n")


def as_data(way: Way) -> dict[str, Any]:
    """A way as plain data, its rate included."""
    return {**dataclasses.asdict(way), "rate": way.rate}
