"""Are the tests that are chosen by names all that notice a change of import-time code?

    python tests/benchmarks/audit_selection.py [--package pypi:NAME==VERSION]... [--candidates N]

Of each package, candidates whose change runs at import (a constant, a default, a base class, a
body that runs at import) are judged twice: by the tests that the critic chooses, and by the whole
suite. The failing tests must be the same; each candidate where they are not is shown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import measure
import pytest

from flywheel.core.records import Candidate, Judged
from flywheel.critic import Critic, Layout

PACKAGES = (
    "pypi:toolz==1.2.0",
    "pypi:boltons==26.2.0",
    "pypi:inflection==0.5.1",
    "pypi:sqlparse==0.6.1",
    "pypi:cachetools==8.0.0",
    "pypi:itsdangerous==2.2.0",
)


def at_import(prepared: measure.Prepared) -> list[Candidate]:
    """The candidates whose change runs at import."""
    layouts = {path: Layout(text) for path, text in prepared.contents.items()}
    lines = prepared.learned.suite.lines
    found = []
    for candidate in prepared.candidates:
        place = layouts[candidate.path].place(candidate)
        warm = place is not None and place.inside_body and place.function is not None
        if not warm or lines.ran_at_import(candidate.path, place.statement):
            found.append(candidate)
    return found


def judged(prepared: measure.Prepared, candidates: Sequence[Candidate]) -> dict[str, Judged]:
    _, found = measure.judge("", prepared, candidates, jobs=2, seconds=3600.0)
    return {one.candidate.candidate_id: one for one in found}


def measure_package(repo: str, number: int, seed: int) -> dict[str, Any]:
    prepared = measure.prepare(repo, candidates=number, seed=seed)
    candidates = at_import(prepared)
    chosen = judged(prepared, candidates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Critic, "_structural", lambda critic, _: critic._all)
        whole = judged(prepared, candidates)
    differ = []
    for key, one in chosen.items():
        differing = set(whole[key].trial.failing) ^ set(one.trial.failing)
        if differing:
            change = one.candidate
            differ.append(f"{change.path}:{change.line} {change.operator}: {sorted(differing)[:3]}")
    seconds = [sum(o.trial.seconds for o in found.values()) for found in (chosen, whole)]
    selected = statistics.mean(one.trial.selected for one in chosen.values())
    print(
        f"| {repo.removeprefix('pypi:')} | {len(candidates)} | {len(differ)} | {selected:.0f} of"
        f" {len(prepared.learned.suite.ids)} | {seconds[0]:.1f} | {seconds[1]:.1f} |",
        flush=True,
    )
    for line in differ:
        print(f"  {line}", file=sys.stderr)
    return {"repo": repo, "candidates": len(candidates), "differ": differ, "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", action="append", help="pypi:NAME==VERSION or a path")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| package | candidates | differ | tests chosen | seconds | whole suite, seconds |")
    print("|---|---|---|---|---|---|")
    found = [
        measure_package(repo, options.candidates, options.seed)
        for repo in options.package or PACKAGES
    ]
    measure.write_json(options.json, found)
    return any(one["differ"] for one in found)


if __name__ == "__main__":
    sys.exit(main())
