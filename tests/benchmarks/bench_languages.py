"""Seconds a candidate with the build shared, beside building the tree anew for each.

Run by hand on repositories whose tools are on the machine:

    python tests/benchmarks/bench_languages.py PATH PATH

Prints one JSON object a repository. Both ways run the whole suite in the same sandbox, one
candidate at a time; the cold way exports the commit, fetches and builds into an empty folder for
each candidate, as a harness does that makes a container a candidate.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from flywheel.candidates import MutationSource, NotReady
from flywheel.core.events import EventBus
from flywheel.core.records import Candidate
from flywheel.core.settings import load
from flywheel.critic import changed_files
from flywheel.critic import sources as source_files
from flywheel.orchestrator.workbench import Workbench, set_up
from flywheel.workspace import find

WARM, COLD = 12, 3
"""Candidates measured each way."""


def _candidates(bench: Workbench, contents: dict[str, bytes], count: int) -> list[Candidate]:
    language = bench.toolchain.language()
    source = MutationSource(
        contents,
        operators=language.operators,
        covered=lambda path: None,
        seed=0,
        language=language,
    )
    found: list[Candidate] = []
    while len(found) < count:
        drawn = source.draw()
        if drawn is None or isinstance(drawn, NotReady):
            break
        found.append(drawn)
        source.report(drawn, "valid", 1.0)
    return found


def measure(repo: str) -> dict[str, object]:
    """Both ways on one repository."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = find(Path(folder))
        settings = load(workspace.root, flags={"paths.cache": Path(folder) / "cache"}).settings
        bench = set_up(repo, settings, workspace, EventBus())
        tester = bench.tester
        assert tester is not None
        tree = bench.environment.tree
        paths = source_files(tree, bench.toolchain).paths
        contents = {path: (tree / path).read_bytes() for path in paths}
        candidates = _candidates(bench, contents, WARM)
        wall = tester.profile.limits.test_seconds
        server = tester.start()
        tester.run(server, {}, wall)
        warm: list[float] = []
        for candidate in candidates:
            began = time.monotonic()
            tester.run(server, changed_files(candidate, contents), wall)
            warm.append(time.monotonic() - began)
        server.close()
        cold: list[float] = []
        for number, candidate in enumerate(candidates[:COLD]):
            began = time.monotonic()
            place = Path(folder) / f"cold{number}"
            settings = load(workspace.root, flags={"paths.cache": place}).settings
            fresh = set_up(repo, settings, workspace, EventBus())
            assert fresh.tester is not None
            server = fresh.tester.start()
            fresh.tester.run(server, changed_files(candidate, contents), wall)
            server.close()
            cold.append(time.monotonic() - began)
    return {
        "repo": repo,
        "toolchain": bench.toolchain.profile.name,
        "candidates": len(warm),
        "shared_seconds": round(statistics.median(warm), 3),
        "cold_seconds": round(statistics.median(cold), 3),
        "ratio": round(statistics.median(cold) / statistics.median(warm), 1),
    }


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(measure(name)), flush=True)
