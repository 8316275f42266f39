"""Examples a minute of `flywheel harvest` on a cold cache, beside the same by plain pytest.

    python tests/benchmarks/bench_harvest.py [--package pypi:NAME==VERSION]... [--candidates N]

All phases count: fetching, building, the baseline, judging, confirming, storing. Peak memory
and the store's size are of the same harvest. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).parent))

import measure

SAMPLE_SECONDS = 0.2
"""How often memory is looked at."""


@dataclass(slots=True)
class Memory:
    """Peaks in bytes, as far as sampling saw them."""

    own_rss: int = 0
    """The flywheel process: the kernel's own high-water mark, so nothing is missed."""
    below_pss: int = 0
    """All processes below it, shared pages counted in shares: servers, forks, uv, git."""
    below_by_name: dict[str, int] | None = None
    """The same at that moment, by program."""


def watch(pid: int, memory: Memory, done: threading.Event) -> None:
    """Sample until told to stop."""
    while not done.wait(SAMPLE_SECONDS):
        memory.own_rss = max(memory.own_rss, _kilobytes(f"/proc/{pid}/status", "VmHWM:"))
        by_name: dict[str, int] = {}
        for child in _below(pid):
            try:
                name = Path(f"/proc/{child}/comm").read_text().strip()
            except OSError:
                continue
            size = _kilobytes(f"/proc/{child}/smaps_rollup", "Pss:")
            by_name[name] = by_name.get(name, 0) + size
        if sum(by_name.values()) > memory.below_pss:
            memory.below_pss, memory.below_by_name = sum(by_name.values()), by_name


def _below(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _kilobytes(path: str, field: str) -> int:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def harvest(repo: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the command as a user would, in a workspace and a cache that are new."""
    workspace, cache = folder / "workspace", folder / "cache"
    argv = [sys.executable, "-c", "from flywheel.cli.main import main; main()"]
    argv += ["--quiet", "--workspace", str(workspace), "harvest", "--repo", repo, "--json"]
    argv += ["--max-candidates", str(options.candidates), "--jobs", str(options.jobs)]
    argv += ["--seed", str(options.seed)]
    for path in options.paths:
        argv += ["--paths", path]
    memory, done = Memory(), threading.Event()
    started = time.monotonic()
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            argv,
            env={**os.environ, "FLYWHEEL_PATHS_CACHE": str(cache)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        watcher = threading.Thread(target=watch, args=(process.pid, memory, done))
        watcher.start()
        output, _ = process.communicate()
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError((folder / "stderr").read_text()[-2000:])
    summary = json.loads(output)
    store = workspace / ".flywheel" / "flywheel.duckdb"
    size = sum(file.stat().st_size for file in store.parent.glob("flywheel.duckdb*"))
    with duckdb.connect(str(store), read_only=True) as database:
        rows = database.execute("SELECT count(*) FROM examples").fetchone()
    return {
        "summary": summary,
        "seconds": seconds,
        "examples": rows[0] if rows else 0,
        "store_bytes": size,
        "own_rss": memory.own_rss,
        "below_pss": memory.below_pss,
        "below_by_name": memory.below_by_name,
    }


def measure_package(repo: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-harvest-", dir=options.temp) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        ours = harvest(repo, options, folder)
        for tree in folder.iterdir():
            shutil.rmtree(tree, ignore_errors=True)
    counts, phases = ours["summary"]["candidates"], ours["summary"]["seconds"]
    judged, valid = counts["judged"], ours["examples"]

    prepared = measure.prepare(
        repo, candidates=options.candidates, seed=options.seed, paths=options.paths
    )
    timeout = measure.cold_timeout(prepared)
    baseline = [measure.cold(prepared.bench, None, timeout=60 + timeout) for _ in range(3)]
    way, runs = measure.judge_cold(
        "cold, whole suite", prepared, jobs=options.jobs, seconds=options.seconds
    )
    failing = [one.seconds for one in runs if one.failed]
    # What a confirmation takes, with as many at once as in the sample.
    confirming = statistics.mean(failing) / options.jobs if failing else 1 / way.rate
    cold = {
        "environment": phases["environment"],
        "baseline": sum(one.seconds for one in baseline),
        "judging": judged / way.rate,
        "confirming": valid * confirming,
        "sample": measure.as_data(way),
    }
    cold_seconds = sum(cold[n] for n in ("environment", "baseline", "judging", "confirming"))
    rate, cold_rate = 60 * valid / ours["seconds"], 60 * valid / cold_seconds
    print(
        f"\n## {repo}\n\n"
        f"{judged} candidates judged, {valid} examples, ended: {ours['summary']['ended']};"
        f" by lane {counts['by_lane']}, unknown {counts['unknown_by_reason']}\n\n"
        "| way | environment | baseline | judging and confirming | all, s | examples a minute |\n"
        "|---|---|---|---|---|---|\n"
        f"| flywheel harvest | {phases['environment']:.1f} | {phases['baseline']:.1f}"
        f" | {phases['judging']:.1f} | {ours['seconds']:.1f} | {rate:.1f} |\n"
        f"| cold, estimated | {cold['environment']:.1f} | {cold['baseline']:.1f}"
        f" | {cold['judging'] + cold['confirming']:.1f} | {cold_seconds:.1f}"
        f" | {cold_rate:.2f} |\n\n"
        f"{rate / cold_rate if cold_rate else float('nan'):.1f} times. Cold is estimated from"
        f" {way.judged} candidates ({way.notes['timed_out']} timed out) and the same number of"
        f" candidates and examples; its environment is taken to cost the same.\n\n"
        f"Peak memory: flywheel {ours['own_rss'] / 2**20:.0f} MiB RSS; all it started"
        f" {ours['below_pss'] / 2**20:.0f} MiB PSS"
        f" { ({k: v >> 20 for k, v in (ours['below_by_name'] or {}).items()}) }\n"
        f"Store: {ours['store_bytes']} bytes, {ours['store_bytes'] / max(1, valid):.0f} an"
        f" example, {ours['store_bytes'] / max(1, judged):.0f} a judged candidate",
        flush=True,
    )
    return {
        "repo": repo,
        **ours,
        "examples_per_minute": rate,
        "cold": cold,
        "cold_seconds": cold_seconds,
        "cold_examples_per_minute": cold_rate,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", action="append", help="pypi:NAME==VERSION or a path")
    parser.add_argument("--candidates", type=int, default=2000, help="--max-candidates of harvest")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120.0, help="of the cold sample")
    parser.add_argument("--paths", action="append", default=[], help="only these, as harvest has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temp", type=Path, help="where the workspace and the cold cache go")
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
