"""How fast the critic judges with --fail-fast, beside other mutation testers on the same source.

    python tests/benchmarks/bench_peers.py [--package pypi:NAME==VERSION]... [--seconds S]

Each peer is installed into an environment of its own, with the package's own requirements and
the Python it is judged with, and runs on a copy of the source under its own configuration.
What could not be installed or run is told with the reason. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import tokenize
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import measure
from measure import Way

GRACE_SECONDS = 15.0
"""Time a peer has to write down what it judged when it is interrupted."""
SETUP_SECONDS = 300.0
"""Time a peer's set-up may take before its judging is bounded."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one peer works."""

    root: Path
    """Its copy of the source, unpacked and writable."""
    venv: Path
    sources: tuple[str, ...]
    """Repository-relative files that may change."""
    tests: tuple[str, ...]
    """Repository-relative folder or files of the tests."""
    covered: dict[str, set[int]]
    """File -> lines that tests execute while they run, not those that ran at import only."""
    jobs: int
    seconds: float

    @property
    def python(self) -> str:
        return str(self.venv / "bin" / "python")

    def program(self, name: str) -> str:
        return str(self.venv / "bin" / name)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        return {
            **kept,
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.venv),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "TERM": "dumb",
            "CI": "1",
        }


@dataclass(slots=True)
class Ran:
    """One program that was run to its end, or stopped."""

    began: float
    ended: float
    """When it ended, or was told to."""
    ready: float | None
    """When judging began, None when that was never seen."""
    stopped: bool
    output: str
    code: int


class PeerError(Exception):
    """A peer could not be installed or run."""


def run(
    argv: Sequence[str],
    place: Place,
    *,
    seconds: float,
    ready: Callable[[str], bool] | None = None,
    extra: dict[str, str] | None = None,
) -> Ran:
    """Run, and interrupt `seconds` after it was ready (at once ready when nobody can say)."""
    began = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=place.root,
        env={**place.environment, **(extra or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    chunks: list[bytes] = []

    def drain() -> None:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), 65536):
            chunks.append(data)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    seen = began if ready is None else None
    stopped = False
    try:
        while process.poll() is None:
            now = time.monotonic()
            if seen is None and ready is not None:
                if ready(b"".join(chunks).decode(errors="replace")):
                    seen = now
                elif now - began > SETUP_SECONDS:
                    break
            elif seen is not None and now - seen > seconds:
                stopped = True
                break
            time.sleep(0.02)
        ended = time.monotonic()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(2)
    output = b"".join(chunks).decode(errors="replace")
    if seen is None and process.returncode == 0 and ready is not None and ready(output):
        seen = ended
    return Ran(began, ended, seen, stopped, output, process.returncode)


def outcome(name: str, place: Place, ran: Ran, statuses: Counter[str], judged: int) -> Way:
    """The way a run came to; raises when nothing was judged."""
    if not judged or ran.ready is None:
        raise PeerError(f"judged nothing: {_ends(ran.output)}")
    way = Way(name, place.jobs, judged, ran.ended - ran.ready, ran.ready - ran.began)
    way.notes["statuses"] = dict(statuses)
    way.notes["stopped"] = ran.stopped
    return way


# --- the peers --------------------------------------------------------------------------------


def functions_run(place: Place) -> list[str]:
    """Patterns of mutmut's names for functions that tests run past the first line."""
    found = []
    for path in place.sources:
        module = ast.parse((place.root / path).read_bytes())
        owners = [("", module), *((n.name, n) for n in module.body if isinstance(n, ast.ClassDef))]
        for owner, node in owners:
            for function in node.body:
                if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                body = range(function.body[0].lineno, (function.end_lineno or 0) + 1)
                if not place.covered[path].isdisjoint(body):
                    name = f"xǁ{owner}ǁ{function.name}" if owner else f"x_{function.name}"
                    found.append(f"*.{name}__mutmut_*")
    return sorted(set(found))


def mutmut(place: Place) -> Way:
    """Asked only for functions that tests run: of one that ran at import it says `survived`."""
    names = functions_run(place)
    config = place.root / "pyproject.toml"
    settings = [
        "[tool.mutmut]",
        f"source_paths = {json.dumps(list(place.sources))}",
        f"pytest_add_cli_args_test_selection = {json.dumps(list(place.tests))}",
        f"also_copy = {json.dumps(sorted(p.name for p in place.root.iterdir()))}",
    ]
    text = config.read_text() if config.exists() else ""
    config.write_text(text + "\n\n" + "\n".join(settings) + "\n")
    ran = run(
        [place.program("mutmut"), "run", "--max-children", str(place.jobs), *names],
        place,
        seconds=place.seconds,
        ready=lambda text: "Running mutation testing" in text,
    )
    statuses: Counter[str] = Counter()
    for meta in (place.root / "mutants").rglob("*.meta"):
        for code in json.loads(meta.read_text())["exit_code_by_key"].values():
            statuses[str(code)] += 1
    # 5, 33: no tests; 34: skipped; 2: interrupted; None: not checked; 37: by the type checker.
    idle = ("5", "33", "34", "2", "None", "37")
    judged = sum(n for code, n in statuses.items() if code not in idle)
    return outcome("mutmut", place, ran, statuses, judged)


def cosmic_ray(place: Place) -> Way:
    """Its HTTP workers give it jobs, each with a copy of the source; uncovered ones are dropped."""
    ports = [19870 + number for number in range(place.jobs)]
    tests = " ".join(place.tests)
    lines = [
        "[cosmic-ray]",
        f"module-path = {json.dumps(list(place.sources))}",
        "timeout = 60.0",
        "excluded-modules = []",
        f'test-command = "python -m pytest -x -q -p no:cacheprovider {tests}"',
        "[cosmic-ray.distributor]",
        'name = "http"',
        "[cosmic-ray.distributor.http]",
        f"worker-urls = {json.dumps([f'http://localhost:{port}' for port in ports])}",
    ]
    (place.root / "cr.toml").write_text("\n".join(lines) + "\n")
    program = place.program("cosmic-ray")
    began = time.monotonic()
    made = run([program, "init", "cr.toml", "session.sqlite"], place, seconds=SETUP_SECONDS)
    if made.code:
        raise PeerError(made.output.strip()[-300:])
    database = place.root / "session.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as session:
        rows = session.execute("select job_id, module_path, start_pos_row from mutation_specs")
        out = [(job,) for job, path, line in rows if line not in place.covered.get(path, ())]
        session.executemany("delete from mutation_specs where job_id = ?", out)
        session.executemany("delete from work_items where job_id = ?", out)
        session.commit()
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:
            copy = place.root.with_name(f"{place.root.name}-{port}")
            shutil.copytree(place.root, copy, symlinks=True)
            # Each worker changes its own copy, and that is the one its tests must import.
            folders = [str(copy), str(copy / "src")]
            workers.append(
                subprocess.Popen(
                    [program, "http-worker", "--port", str(port)],
                    cwd=copy,
                    env={**place.environment, "PYTHONPATH": ":".join(folders)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        time.sleep(3)
        setup = time.monotonic() - began
        ran = run([program, "exec", "cr.toml", "session.sqlite"], place, seconds=place.seconds)
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    with contextlib.closing(sqlite3.connect(database)) as session:
        rows = session.execute(
            "select worker_outcome || ' ' || test_outcome, count(*) from work_results group by 1"
        )
        statuses = Counter({str(name): count for name, count in rows})
    judged = sum(
        n for name, n in statuses.items() if name.split()[-1] in ("KILLED", "SURVIVED", "TIMEOUT")
    )
    way = outcome("cosmic-ray", place, ran, statuses, judged)
    way.setup = setup
    return way


def irradiate(place: Place) -> Way:
    """It writes results at its end only: a pilot of 40 tells how large a sample fits in time."""

    def attempt(sample: int) -> tuple[Ran, Counter[str], float]:
        report = place.root / "irradiate.json"
        report.unlink(missing_ok=True)
        argv = [place.program("irradiate"), "run", *_roots(place), "--workers", str(place.jobs)]
        argv += ["--tests-dir", place.tests[0] if len(place.tests) == 1 else "."]
        argv += ["--covered-only", "--no-cache", "--python", place.python]
        argv += ["--report", "json", "-o", str(report), "--worker-timeout", "120"]
        argv += ["--sample", str(sample)] if sample else []
        ran = run(argv, place, seconds=SETUP_SECONDS + 3 * place.seconds)
        if not report.exists():
            raise PeerError(f"no report: {_ends(ran.output)}")
        statuses: Counter[str] = Counter()
        for path, file in json.loads(report.read_text())["files"].items():
            for one in file["mutants"]:
                line = one["location"]["start"]["line"]
                inside = line in place.covered.get(path, ())
                statuses[one["status"] if inside else f"{one['status']} (uncovered)"] += 1
        trace = json.loads((place.root / ".irradiate" / "trace.json").read_text())["traceEvents"]
        pool = next(one["dur"] for one in trace if one.get("name") == "worker_pool") / 1e6
        starts = [one["dur"] / 1e6 for one in trace if one.get("name") == "worker_startup"]
        return ran, statuses, pool - max(starts, default=0.0)

    def judged_of(statuses: Counter[str]) -> int:
        return sum(n for name, n in statuses.items() if name in ("Killed", "Survived", "Timeout"))

    first = ran, statuses, judging = attempt(40)
    setup = ran.ended - ran.began - judging
    rate = judged_of(statuses) / judging
    if judging < place.seconds / 2:
        try:
            ran, statuses, judging = attempt(max(40, int(rate * place.seconds)))
        except (PeerError, StopIteration):
            ran, statuses, judging = first
    way = Way("irradiate", place.jobs, judged_of(statuses), judging, setup)
    if not way.judged:
        raise PeerError(f"judged nothing: {_ends(ran.output)}")
    way.notes["statuses"] = dict(statuses)
    return way


def fermut(place: Place) -> Way:
    """Lines that tests do not run are marked to be left out: else it begins with what imports ran.

    Its own times of each mutant are used.
    """
    for path in place.sources:
        file = place.root / path
        lines = file.read_text().split("\n")
        with file.open("rb") as opened:
            ends = {
                token.start[0]
                for token in tokenize.tokenize(opened.readline)
                if token.type in (tokenize.NEWLINE, tokenize.NL)
            }
        for line in ends - place.covered[path]:
            # A line within a string or before a backslash has no end of its own.
            if line <= len(lines) and lines[line - 1].strip():
                lines[line - 1] += "  # fermut: ignore"
        file.write_text("\n".join(lines))
    began = time.monotonic()
    coverage = place.root / ".coverage"
    source, tests = _common(place.sources, folder=True), _common(place.tests)
    common = ["--tests", tests, "--python", place.python]
    argv = [place.program("fermut"), "coverage", "--source", source, *common]
    argv += ["--output", str(coverage)]
    made = run(argv, place, seconds=SETUP_SECONDS)
    if not coverage.exists():
        raise PeerError(f"no coverage: {_ends(made.output)}")
    covering = time.monotonic() - began
    report = place.root / "fermut.json"
    argv = [place.program("fermut"), "run", source, *common, "--coverage", str(coverage)]
    argv += ["--jobs", str(place.jobs), "--no-cache", "--json", str(report)]
    argv += ["--max-time", str(int(place.seconds)), "--timeout", "60"]
    for path in (place.root / source).rglob("*.py"):
        name = str(path.relative_to(place.root))
        argv += [] if name in place.sources else ["--exclude", name]
    ran = run(
        argv,
        place,
        seconds=place.seconds + SETUP_SECONDS,
        ready=lambda text: "baseline suite is green" in text,
    )
    if not report.exists():
        raise PeerError(f"no report: {_ends(ran.output)}")
    statuses: Counter[str] = Counter()
    busy = 0.0
    done = ("killed", "survived", "timed_out", "timeout")
    for one in json.loads(report.read_text())["outcomes"]:
        line = one["mutant"]["line"]
        path = str(Path(one["mutant"]["file"]).relative_to(place.root.resolve()))
        inside = line in place.covered.get(path, ())
        statuses[one["status"] if inside else f"{one['status']} (uncovered)"] += 1
        if inside and one["status"] in done:
            busy += one["duration_ms"] / 1000
    judged = sum(statuses[name] for name in done)
    way = outcome("fermut", place, ran, statuses, judged)
    way.setup += covering
    way.seconds = busy / place.jobs
    return way


def fest(place: Place, backend: str) -> Way:
    session = place.root / f"{backend}.db"
    argv = [place.program("fest"), "run", "--workers", str(place.jobs), "--backend", backend]
    for path in place.sources:
        argv += ["--source", path]
    argv += ["--session", str(session), "--progress", "verbose", "--timeout", "60"]

    def statuses_now() -> Counter[str]:
        if not session.exists():
            return Counter()
        with contextlib.closing(sqlite3.connect(f"file:{session}?mode=ro", uri=True)) as database:
            try:
                rows = database.execute("select status, count(*) from mutants group by 1")
                return Counter(dict(rows))
            except sqlite3.OperationalError:
                return Counter()

    ran = run(
        argv,
        place,
        seconds=place.seconds,
        ready=lambda text: "workers ready" in text or bool(re.search(r"(?i)killed|survived", text)),
    )
    statuses = statuses_now()
    judged = sum(statuses[name] for name in ("killed", "survived", "timeout"))
    return outcome(f"fest-mutate ({backend})", place, ran, statuses, judged)


def moonbuggy(place: Place) -> Way:
    results = place.root / ".moonbuggy" / "results.jsonl"

    def records() -> list[dict[str, str]]:
        if not results.exists():
            return []
        found = []
        for line in results.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    before: list[int] = []

    def ready(text: str) -> bool:
        """Whether the first are judged; those are not counted, for their time is not."""
        judged = sum(one["status"] not in idle for one in records())
        if judged:
            before.append(judged)
        return bool(judged)

    argv = [place.program("moonbuggy"), "--source", _common(place.sources, folder=True)]
    for path in place.sources:
        argv += ["--include", path]
    argv += ["--jobs", str(place.jobs), "--no-cache", "--report", "agent"]
    idle = ("NO_COVERAGE", "SKIPPED")
    ran = run(argv, place, seconds=place.seconds, ready=ready)
    statuses: Counter[str] = Counter(one["status"] for one in records())
    judged = sum(n for name, n in statuses.items() if name not in idle) - sum(before[:1])
    return outcome("moonbuggy", place, ran, statuses, judged)


@dataclass(frozen=True, slots=True)
class Peer:
    """How one peer is installed and run."""

    run: Callable[[Place], Way]
    requirements: tuple[str, ...]
    needs: tuple[int, int] = (3, 8)
    """The oldest Python it runs on."""


PEERS = {
    "mutmut": Peer(mutmut, ("mutmut==3.8.*",)),
    "cosmic-ray": Peer(cosmic_ray, ("cosmic-ray==8.*",)),
    "irradiate": Peer(irradiate, ("irradiate",)),
    "fermut": Peer(fermut, ("fermut", "pytest-cov", "ty")),
    "fest-mutate": Peer(lambda place: fest(place, "subprocess"), ("fest-mutate", "pytest-cov")),
    "fest-mutate-plugin": Peer(lambda place: fest(place, "plugin"), ("fest-mutate", "pytest-cov")),
    "moonbuggy": Peer(moonbuggy, ("moonbuggy",), (3, 12)),
}


def _ends(output: str) -> str:
    """Beginning and end of what a peer said."""
    text = output.strip()
    return text if len(text) < 800 else f"{text[:400]} … {text[-400:]}"


def _roots(place: Place) -> list[str]:
    """Sources as a peer that takes folders wants them: the folder, or the one file."""
    return [_common(place.sources)]


def _common(paths: Sequence[str], *, folder: bool = False) -> str:
    if len(paths) == 1 and not folder:
        return paths[0]
    found = os.path.commonpath(paths)
    return (str(Path(found).parent) if found.endswith(".py") else found) or "."


def _tests(prepared: measure.Prepared) -> tuple[str, ...]:
    paths = sorted(set(prepared.learned.suite.paths))
    common = os.path.commonpath(paths)
    return (common,) if common else tuple(paths)


def install(peer: Peer, folder: Path, prepared: measure.Prepared) -> tuple[Path, Path, str]:
    """A copy of the source, an environment for it with the peer, and what was installed."""
    version = prepared.bench.environment.version
    if version[:2] < peer.needs:
        raise PeerError(f"needs Python {peer.needs[0]}.{peer.needs[1]}")
    root = folder / "source"
    shutil.copytree(
        prepared.bench.environment.tree,
        root,
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
    )
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "0:0", str(root)], check=True)
    venv = folder / "venv"
    home = next(
        line.partition("=")[2].strip()
        for line in (prepared.bench.environment.venv / "pyvenv.cfg").read_text().splitlines()
        if line.startswith("home")
    )
    python = str(Path(home) / f"python{version[0]}.{version[1]}")
    lock = [
        line
        for line in prepared.bench.environment.lock.splitlines()
        if re.match(r"[A-Za-z0-9._-]+==", line)
    ]
    requirements = folder / "requirements.txt"
    # Not pinned: a peer may need another version of what the suite also uses.
    requirements.write_text("\n".join(line.partition("==")[0] for line in lock) + "\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    add = [uv, "pip", "install", "--quiet", "--python", str(venv / "bin/python")]
    for argv in (
        [uv, "venv", "--quiet", "--python", python, str(venv)],
        [*add, "-r", str(requirements), "pytest", *peer.requirements],
        [*add, "--no-deps", "--editable", str(root)],
    ):
        done = subprocess.run(argv, env=kept, capture_output=True, text=True)
        if done.returncode:
            raise PeerError(f"{' '.join(argv[1:3])}: {done.stderr.strip()[-300:]}")
    frozen = subprocess.run(
        [uv, "pip", "freeze", "--python", str(venv / "bin/python")],
        env=kept,
        capture_output=True,
        text=True,
    ).stdout
    name = re.split(r"[=<>]", peer.requirements[0])[0]
    found = re.search(rf"(?m)^{name}==(\S+)", frozen)
    return root, venv, found[1] if found else "?"


def measure_package(repo: str, options: argparse.Namespace) -> dict[str, object]:
    prepared = measure.prepare(
        repo, candidates=options.candidates, seed=options.seed, paths=options.paths
    )
    version = ".".join(map(str, prepared.bench.environment.version))
    print(f"\n## {repo}\n\nPython {version}\n", flush=True)
    tested = {path: set(file.tests) for path, file in prepared.learned.suite.lines.files.items()}
    lists = {
        "flywheel --fail-fast": measure.draw(
            prepared.contents,
            tested.__getitem__,
            candidates=options.candidates,
            seed=options.seed,
        ),
        "flywheel --fail-fast, lines that ran at import too": prepared.candidates,
    }
    ways, skipped = [], {}
    for name, drawn in lists.items():
        way, _ = measure.judge(
            name, prepared, drawn, jobs=options.jobs, seconds=options.seconds, fail_fast=True
        )
        way.setup += prepared.setup["baseline"]
        ways.append(way)
    fast = ways[0]
    for name in options.peer or PEERS:
        peer = PEERS[name]
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", dir=options.temp) as temporary:
            folder = Path(temporary).resolve()
            try:
                root, venv, found = install(peer, folder, prepared)
                place = Place(
                    root=root,
                    venv=venv,
                    sources=tuple(sorted(prepared.contents)),
                    tests=_tests(prepared),
                    covered=tested,
                    jobs=options.jobs,
                    seconds=options.seconds,
                )
                way = peer.run(place)
            except (PeerError, OSError, KeyError, ValueError, StopIteration) as error:
                skipped[name] = f"{type(error).__name__}: {error}"
                print(f"{name}: not measured: {skipped[name]}", file=sys.stderr, flush=True)
                continue
            way.name += f" {found}"
            print(f"{way.name}: {way.rate:.3g} a second {way.notes}", file=sys.stderr, flush=True)
            ways.append(way)
    print(measure.table(ways, fast))
    print("\n`times` is the peer's rate by flywheel's: below 1 flywheel is ahead.\n")
    for name, reason in skipped.items():
        print(f"{name}: not measured: {reason}")
    return {
        "repo": repo,
        "python": version,
        "ways": [measure.as_data(way) for way in ways],
        "not_measured": skipped,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", action="append", help="pypi:NAME==VERSION or a path")
    parser.add_argument("--peer", action="append", choices=sorted(PEERS))
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120.0, help="of judging, for each")
    parser.add_argument("--paths", action="append", default=[], help="only files that begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temp", type=Path, help="where the peers are installed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {"machine": measure.machine(), "packages": []}
    print(found["machine"])
    for repo in options.package or measure.PACKAGES:
        found["packages"].append(measure_package(repo, options))
        measure.write_json(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
