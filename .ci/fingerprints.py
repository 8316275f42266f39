"""Makes the packaged fingerprints anew, from the files as their authors publish them.

    python .ci/fingerprints.py HumanEval.jsonl.gz mbpp.jsonl QuixBugs/correct_python_programs

Nothing of the benchmarks but hashes is written.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from flywheel.curate.benchmarks import Problem, read_benchmark
from flywheel.curate.fingerprints import PACKAGED, RUN, fingerprints

HELPERS = ("node.py",)


def only(path: Path, code: str) -> Iterator[Problem]:
    """The problems whose text is code: some line of it matches."""
    for problem in read_benchmark(path):
        if re.search(code, problem.text, re.MULTILINE):
            yield problem


def programs(folder: Path) -> Iterator[Problem]:
    """The functions of each program, named after it."""
    for path in sorted(folder.glob("*.py")):
        if path.name not in HELPERS and not path.stem.endswith("_test"):
            yield from (Problem(path.stem, one.text) for one in read_benchmark(path))


def main() -> None:
    """Read the three, write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("humaneval", "mbpp", "quixbugs"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    # HumanEval's tests define a function too, that is given the candidate.
    humaneval = only(given.humaneval, r"^def (?!check\(candidate)")
    frames = [
        fingerprints("humaneval", humaneval, RUN),
        fingerprints("mbpp", only(given.mbpp, r"^\s*def "), RUN),
        fingerprints("quixbugs", programs(given.quixbugs), RUN),
    ]
    pl.concat(frames).rechunk().write_parquet(PACKAGED, compression="zstd", statistics=False)


if __name__ == "__main__":
    main()
