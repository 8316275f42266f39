"""How fast a version is exported: rows a second, processor time and memory of each format.

    python tests/benchmarks/bench_export.py [--rows 200000] [--formats parquet,trl-sft]

Makes one version of rows that differ, of the size that real ones have, then writes it in each
format in a process of its own. Formats with a folder or a list of tests for each row are measured
on fewer rows. Plain Parquet is put beside what `datasets` needs to write the same file, where it is
installed. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flywheel.curate import Version, load_version
from flywheel.curate.export import FORMATS, export
from tests.fakes.exports import ADDRESS, of_task
from tests.fakes.versions import row, version

ROOT = Path(__file__).parents[2]
CONSUMERS = ROOT / ".venv" / ".consumers"
FEWER = ("swebench", "harbor")
BASELINE = """
import json, sys, time
from datasets import load_dataset
rows = load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
started, began = time.monotonic(), time.process_time()
rows.to_parquet(sys.argv[3])
took = {"seconds": time.monotonic() - started, "processor": time.process_time() - began}
print(json.dumps({"rows": len(rows)} | took))
"""


def varied(number: int, chance: random.Random) -> dict[str, object]:
    """A row whose texts are as long as those of real ones, and unlike its neighbours'."""
    words = [f"name_{chance.randrange(5000)}" for _ in range(60)]
    body = "\n".join(f"    {' = '.join(words[i : i + 3])}(a)" for i in range(0, len(words), 3))
    good = f"def total_{number}(a, b):\n{body}\n    return a + b"
    bad = good.replace("a + b", "a - b")
    error = f"FAILED test_total.py::test_{number % 50} - assert {number}\n{body[:600]}"
    asked = f"The function `total_{number}` is wrong.\n\n{bad}\n\n{error}"
    wrong = [{"role": "assistant", "content": f"```python\n{bad}\n```"}]
    return row(
        number,
        repo=ADDRESS,
        bad=bad,
        good=good,
        error=error,
        failing_tests=[f"test_total.py::test_{number % 50}"],
        prompt=[{"role": "user", "content": asked}],
        completion=[{"role": "assistant", "content": f"```python\n{good}\n```"}],
        rejected=wrong,
        solved=chance.random(),
    )


def made(root: Path, rows: int) -> Version:
    """A version of so many rows, whose task has a wrong answer beside the right one."""
    chance = random.Random(1)
    return of_task(
        "preference", version(root, rows={"train": [varied(one, chance) for one in range(rows)]})
    )


def one(folder: Path, to: str) -> int:
    """Write one format, and print what it took."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        before, began = peak(), time.process_time()
        done = export(load_version(folder), to, Path(out) / "out")
        told = {"rows": sum(done.rows.values()), "seconds": done.seconds, "bytes": done.bytes}
        told |= {"processor": time.process_time() - began, "before": before, "peak": peak()}
    print(json.dumps(told))
    return 0


def peak() -> float:
    """The most memory that this process has held, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run(*arguments: str, path: str = "") -> dict[str, float]:
    environ = os.environ | {"PYTHONPATH": f"{path}{ROOT}", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environ, check=True, capture_output=True, text=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def rates(told: dict[str, float]) -> str:
    """Rows, rows a second, and rows a second of processor time."""
    rows = told["rows"]
    return f"{rows:,} | {rows / told['seconds']:,.0f} | {rows / told['processor']:,.0f}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--tasks", type=int, default=2_000, help="rows of the formats for agents")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "FORMAT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return one(Path(given.one[0]), given.one[1])
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        started = time.monotonic()
        many, few = made(root / "many", given.rows), made(root / "few", given.tasks)
        size = many.file("train").stat().st_size / 1e6
        took = time.monotonic() - started
        print(f"{given.rows:,} rows, {size:.0f} MB of Parquet; made in {took:.0f} s\n")
        print(
            "| format | rows | rows/s | rows/s of processor | MB written | memory above start, MB |"
        )
        print("|---|---|---|---|---|---|")
        for to in given.formats.split(","):
            folder = few.folder if to in FEWER else many.folder
            told = run(__file__, "--one", str(folder), to)
            more = f"{told['bytes'] / 1e6:.0f} | {told['peak'] - told['before']:.0f}"
            print(f"| {to} | {rates(told)} | {more} |", flush=True)
        if (CONSUMERS / ".ready").exists():
            places = (str(many.file("train")), str(root / "cache"), str(root / "out.parquet"))
            told = run("-c", BASELINE, *places, path=f"{CONSUMERS}:")
            print(f"| datasets' to_parquet | {rates(told)} | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
