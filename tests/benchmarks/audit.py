"""Audit: judge stored rows again by plain pytest in a fresh checkout, and compare.

Nothing of the critic takes part: the commit is exported anew, the row's own patch is reversed
with `git apply`, and the whole suite is run by `python -m pytest` with the repository's own
options in one boxed process. The set of failing tests must be the one that the row names.

    python tests/benchmarks/audit.py --sample 100 [--workspace FOLDER] [--lane warm]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from flywheel.core.events import EventBus
from flywheel.core.settings import load
from flywheel.orchestrator.workbench import Workbench, jobs_of, set_up
from flywheel.sandbox import Box, Mount, give_to_box, make_etc
from flywheel.store import Replayable, Store, baseline, environment_lock, replayable, sql
from flywheel.workspace import find

UNENDING = "pytest did not end"
"""What is said where plain pytest was killed, as a hang that takes memory is."""
HANGS = "hangs"
"""What is said of a row on which plain pytest does not end."""
PLUGIN = """
import json, sys

def pytest_runtest_logreport(report):
    with open("/out/report.jsonl", "a") as file:
        file.write(json.dumps([report.nodeid, report.when, report.outcome]) + chr(10))

def pytest_sessionfinish(session, exitstatus):
    with open("/out/report.jsonl", "a") as file:
        file.write(json.dumps(["", "end", int(exitstatus)]) + chr(10))
"""
"""The only thing beside pytest: it writes down what pytest reports."""


def audit(bench: Workbench, row: Replayable, judging: frozenset[str], timeout: float) -> str:
    """Why the row disagrees with plain pytest, empty when it agrees."""
    with tempfile.TemporaryDirectory(prefix="flywheel-audit-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        tree, out, plug = root / "tree", root / "out", root / "plug"
        shutil.copytree(bench.environment.tree, tree, symlinks=True)
        for cache in tree.rglob("__pycache__"):
            shutil.rmtree(cache)
        patch = root / "row.patch"
        patch.write_bytes(row.candidate.patch.encode())
        applied = subprocess.run(
            ["git", "apply", "--reverse", "--unsafe-paths", f"--directory={tree}", str(patch)],
            cwd=root,
            capture_output=True,
            text=True,
        )
        if applied.returncode != 0:
            return f"git apply: {applied.stderr.strip()[:200]}"
        out.mkdir()
        plug.mkdir()
        (plug / "flywheel_audit.py").write_text(PLUGIN)
        for path in (tree, out, plug):
            give_to_box(path)
        environment = dict(bench.environment.variables)
        environment["PYTHONPATH"] = ":".join(["/plug", *bench.environment.pythonpath])
        box = replace(
            Box(bench.probe.bwrap, etc=make_etc(bench.cache / "etc")),
            mounts=(
                *bench.environment.mounts,
                Mount(tree, "/repo", writable=True),
                Mount(out, "/out", writable=True),
                Mount(plug, "/plug"),
            ),
            environment=environment,
            cwd="/repo",
        )
        arguments = [*bench.environment.pytest_args, "-p", "flywheel_audit", "-q", "--tb=no"]
        completed = box.run([bench.environment.python, "-m", "pytest", *arguments], timeout=timeout)
        if completed.timed_out:
            # Plain pytest has no limit of its own: a row whose tests hang cannot end here either.
            return HANGS
        report = out / "report.jsonl"
        if not report.exists():
            return f"no report: {completed.output[-300:]}"
        passed: set[str] = set()
        failed: set[str] = set()
        ended = False
        for line in report.read_text().splitlines():
            test_id, when, outcome = json.loads(line)
            if when == "end":
                ended = True
            elif outcome == "failed":
                failed.add(test_id)
            elif when == "call" or outcome == "skipped":
                passed.add(test_id)
        if not ended:
            return f"{UNENDING}: {completed.output[-300:]}"
        failing = {test for test in judging if test in failed or test not in passed | failed}
        expected = set(row.failing)
        if failing != expected:
            more, less = sorted(failing - expected), sorted(expected - failing)
            return f"{len(more)} more {more[:3]}, {len(less)} fewer {less[:3]}"
        return ""


def main() -> int:
    """Audit a sample; exit 1 when any row disagrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path.cwd())
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lane", default=None, help="only rows first judged in this lane")
    parser.add_argument("--where", default=None)
    options = parser.parse_args()
    workspace = find(explicit=options.workspace)
    settings = load(workspace.root).settings
    store = Store(workspace.store_path)
    rows = list(replayable(store, where=options.where))
    rows = random.Random(options.seed).sample(rows, min(options.sample, len(rows)))
    groups: dict[tuple[str, str], list[Replayable]] = defaultdict(list)
    for row in rows:
        groups[(row.repo, row.commit)].append(row)
    agreed = disagreed = hanging = 0
    hangs = set(
        sql(store, "SELECT example_id FROM examples WHERE error LIKE '%Timeout%'")["example_id"]
    )
    for (repo, commit), members in groups.items():
        lock = environment_lock(store, members[0].environment_hash)
        bench = set_up(repo, settings, workspace, EventBus(), commit=commit, lock=lock)
        known = baseline(
            store, bench.revision.revision_id, members[0].environment_hash, members[0].toolchain
        )
        assert known is not None
        judging = frozenset(test.test_id for test in known.tests if test.judges)
        timeout = 60 + 20 * known.suite_seconds
        with concurrent.futures.ThreadPoolExecutor(jobs_of(settings)) as pool:
            reasons = pool.map(
                functools.partial(audit, bench, judging=judging, timeout=timeout), members
            )
            for row, reason in zip(members, reasons, strict=True):
                if reason.startswith((HANGS, UNENDING)) and row.example_id in hangs:
                    hanging += 1
                elif reason:
                    disagreed += 1
                    print(
                        f"{row.example_id} {row.candidate.path}:{row.candidate.line} "
                        f"[{row.candidate.operator}] {reason}"
                    )
                else:
                    agreed += 1
        print(f"{repo}: {agreed} agree, {disagreed} disagree so far", file=sys.stderr)
    print(f"{agreed} of {agreed + disagreed} rows agree with plain pytest")
    if hanging:
        print(f"{hanging} more hang there, as the row says (its failure is a timeout)")
    return 1 if disagreed else 0


if __name__ == "__main__":
    sys.exit(main())
