"""What a model writes is worth: yields by mode of one package, and of mending its bugs.

    python tests/benchmarks/bench_written.py pypi:inflection --questions 40 --generator local

Harvests some bugs, then asks each mode so many questions and both forms of the corrector about so
many bugs, in a workspace of its own. Prints a table in Markdown. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

MODES = ("insert", "reimplement", "refactor", "feature")
UNREADABLE = frozenset(
    {"refused", "truncated", "empty", "no-code", "not-python", "unparsable", "too-long"}
)
NOT_CHANGED = frozenset({"no-change", "same-tree", "same-bytecode", "wrong-function", "wrong-line"})
ENDS = frozenset({"asked", "answered", "drawn", "valid", "survived", "unknown", "pruned"})


def flywheel(workspace: str, *arguments: str) -> dict[str, Any]:
    """Run one command and return what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "flywheel", "--workspace", workspace, *arguments, "--json"],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def share(part: int, whole: int) -> str:
    """A share in per cent."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def row(name: str, counts: Counter[str], tokens: int, kept: int, seconds: float) -> str:
    """One row of the table."""
    answers = counts["answered"]
    unreadable = sum(n for reason, n in counts.items() if reason in UNREADABLE)
    unchanged = sum(n for reason, n in counts.items() if reason in NOT_CHANGED)
    cells: Sequence[object] = (
        name,
        answers,
        share(answers - unreadable, answers),
        share(answers - unreadable - unchanged, answers),
        counts["judged"],
        counts["valid"],
        counts["fixed"] + counts["survived"],
        f"{tokens / kept:,.0f}" if kept else "-",
        f"{seconds / answers:.1f} s" if answers else "-",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--generator", default="local")
    parser.add_argument("--bugs", type=int, default=200)
    wanted = parser.parse_args()
    count = str(wanted.questions)
    with tempfile.TemporaryDirectory() as workspace:
        flywheel(workspace, "harvest", "--repo", wanted.repo, "--max-candidates", str(wanted.bugs))
        print(
            "| mode | answers | parsed | changed | judged | bugs proven | passing | tokens a row"
            " | an answer |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )
        for mode in MODES:
            began = time.monotonic()
            said = flywheel(
                workspace, "harvest", "--repo", wanted.repo, "--source", "written",
                "--modes", mode, "--generator", wanted.generator, "--max-candidates", count,
            )  # fmt: skip
            counts = Counter(said["written"]["by_mode"][mode])
            counts["judged"] = counts["drawn"]
            kept = counts["valid"] + counts["survived"]
            seconds = time.monotonic() - began
            print(row(mode, counts, said["written"]["tokens"], kept, seconds), flush=True)
        for form in ("definition", "line"):
            said = flywheel(
                workspace, "correct", "--where", "source = 'mutated'", "--sample", count,
                "--turns", "1", "--answer", form, "--corrector", wanted.generator,
            )  # fmt: skip
            counts = Counter(said["reasons"]) + Counter(said["attempts"])
            counts["answered"] = sum(said["attempts"].values())
            counts["judged"] = said["attempts"].get("failed", 0) + said["attempts"].get("fixed", 0)
            counts["valid"] = said["attempts"].get("failed", 0)
            kept = counts["valid"] + counts["fixed"]
            name = f"attempt, one {form}" if form == "line" else "attempt"
            print(row(name, counts, said["tokens"], kept, said["seconds"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
