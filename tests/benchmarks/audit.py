"""Audit: judge stored rows again by plain pytest in a fresh checkout, and compare.

Nothing of the critic takes part: the commit is exported anew, the row's own patch is reversed
with `git apply`, and the whole suite is run by `python -m pytest` with the repository's own
options in one boxed process. The set of failing tests must be the one that the row names. Where
that never ends, for a test hangs, the others must pass without the failing ones, and each of
those alone must fail or hang.

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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flywheel.core.events import EventBus
from flywheel.core.settings import load
from flywheel.orchestrator.workbench import Workbench, jobs_of, set_up
from flywheel.sandbox import Box, Mount, give_to_box, make_etc
from flywheel.store import Replayable, Store, baseline, environment_lock, replayable
from flywheel.workspace import find

ALONE_SECONDS = 30.0
"""Time for one test that may hang, by itself."""
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


@dataclass(frozen=True, slots=True)
class Said:
    """What one run of plain pytest said."""

    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    ended: bool = True
    """False when it was still running at its limit, or was killed."""
    trouble: str = ""
    """Why there is nothing to compare, empty when there is."""


def audit(bench: Workbench, row: Replayable, judging: frozenset[str], timeout: float) -> str:
    """Why the row disagrees with plain pytest, empty when it agrees."""
    said = plain(bench, row, (), timeout)
    expected = frozenset(row.failing)
    if not said.ended:
        # Plain pytest has no limit of its own: without the tests that fail it must end and pass,
        # and each of those alone must fail or not end either.
        rest = plain(bench, row, [f"--deselect={test}" for test in row.failing], timeout)
        alone = {test: plain(bench, row, [test], ALONE_SECONDS) for test in row.failing}
        failed = {test for test, one in alone.items() if not one.ended or test in one.failed}
        trouble = rest.trouble or ("" if rest.ended else "it hangs without the failing tests, too")
        said = Said(rest.passed, rest.failed | failed, trouble=trouble)
    if said.trouble:
        return said.trouble
    failing = {test for test in judging if test in said.failed or test not in said.passed}
    if failing != expected:
        more, less = sorted(failing - expected), sorted(expected - failing)
        return f"{len(more)} more {more[:3]}, {len(less)} fewer {less[:3]}"
    return ""


def plain(bench: Workbench, row: Replayable, more: Sequence[str], timeout: float) -> Said:
    """Plain pytest in a fresh copy of the tree with the row's patch reversed."""
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
            return Said(trouble=f"git apply: {applied.stderr.strip()[:200]}")
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
        arguments = [*bench.environment.pytest_args, "-p", "flywheel_audit", "-q", "--tb=no", *more]
        completed = box.run([bench.environment.python, "-m", "pytest", *arguments], timeout=timeout)
        if completed.timed_out:
            return Said(ended=False)
        report = out / "report.jsonl"
        if not report.exists():
            return Said(trouble=f"no report: {completed.output[-300:]}")
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
        return Said(frozenset(passed - failed), frozenset(failed), ended)


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
    agreed = disagreed = 0
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
                if reason:
                    disagreed += 1
                    print(
                        f"{row.example_id} {row.candidate.path}:{row.candidate.line} "
                        f"[{row.candidate.operator}] {reason}"
                    )
                else:
                    agreed += 1
        print(f"{repo}: {agreed} agree, {disagreed} disagree so far", file=sys.stderr)
    print(f"{agreed} of {agreed + disagreed} rows agree with plain pytest")
    return 1 if disagreed else 0


if __name__ == "__main__":
    sys.exit(main())
