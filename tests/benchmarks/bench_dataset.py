"""Seconds and memory of building a dataset from a store of a million examples, phase by phase.

    python tests/benchmarks/bench_dataset.py STORE [--rows 1000000] [--recipe repair-sft]

A store that is not there is made first (minutes). The dataset is built twice, each in a process of
its own, the second with what the first found out about the rows; then the version is audited.
`peak` is the process's most resident memory. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from flywheel.core.events import Event, EventBus, PhaseEnded
from flywheel.curate import audit, build, load_recipe, load_version
from flywheel.store import Store
from tests.fakes.stores import Shape, fill
from tests.fakes.versions import PACKAGED


def built(store: Path, root: Path, recipe: str, told: multiprocessing.SimpleQueue[object]) -> None:
    """Build once, and tell the seconds of each phase, the rows, and the peak."""
    phases: list[tuple[str, float]] = []

    def note(event: Event) -> None:
        match event:
            case PhaseEnded(phase=phase, seconds=seconds):
                phases.append((phase, seconds))

    bus = EventBus()
    bus.subscribe(note)
    made = build(load_recipe(recipe, PACKAGED / recipe), Store(store), root, bus)
    rows = sum(one.rows for one in made.version.manifest.splits.values())
    told.put((str(made.version.folder), phases, made.seconds, rows, _peak()))


def audited(folder: str, root: Path, told: multiprocessing.SimpleQueue[object]) -> None:
    """Audit once, and tell the seconds, the leaks, and the peak."""
    began = time.monotonic()
    found = audit(load_version(Path(folder)), root)
    told.put((time.monotonic() - began, found.leaks, _peak()))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    """Make the store where it is not there, build twice, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--recipe", default="repair-sft")
    asked = parser.parse_args()
    if not asked.store.exists():
        fill(Store(asked.store), asked.rows, repositories=40, shape=Shape())
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    print("| build | phases, s | whole, s | rows | peak MiB |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(dir=asked.store.parent) as folder:
        root = Path(folder)
        for name in ("first", "second"):
            process = context.Process(target=built, args=(asked.store, root, asked.recipe, told))
            process.start()
            version, phases, seconds, rows, peak = told.get()
            process.join()
            listed = ", ".join(f"{phase} {took:.0f}" for phase, took in phases)
            print(f"| {name} | {listed} | {seconds:.0f} | {rows:,} | {peak:,} |")
        process = context.Process(target=audited, args=(version, root, told))
        process.start()
        seconds, leaks, peak = told.get()
        process.join()
        print(f"| audit | {leaks} leaks | {seconds:.0f} | {rows:,} | {peak:,} |")


if __name__ == "__main__":
    main()
