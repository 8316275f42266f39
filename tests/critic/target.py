"""Small real repositories, their changes judged by the critic, and the truth from plain pytest."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from flywheel.core.events import EventBus
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Judged, Lane, Span
from flywheel.core.settings import HarvestSettings, PathSettings, SandboxSettings, Settings
from flywheel.critic import Critic, Learned, learn, other_files, sources
from flywheel.orchestrator.workbench import Workbench, set_up
from flywheel.sandbox import Mount, give_to_box
from flywheel.workspace import init
from tests.past import commit

REPORTER = """
import json

def pytest_runtest_logreport(report):
    with open("/out/report.jsonl", "a") as file:
        file.write(json.dumps([report.nodeid, report.when, report.outcome]) + chr(10))
"""
"""What stands beside plain pytest: it writes down what pytest reports."""


@dataclass(frozen=True)
class Change:
    """One change, as a person would write it."""

    path: str
    before: str
    after: str


class Unaudited(Critic):
    """A critic that never runs the whole suite to look: only its selection may find the tests."""

    def _audited(self, candidate: Candidate) -> bool:
        return False


class Target:
    """A repository with its environment and its baseline."""

    def __init__(
        self,
        files: Mapping[str, str],
        *,
        folder: Path,
        cache: Path,
        python: str,
        memory_mb: int = 512,
        baseline_runs: int = 3,
    ) -> None:
        repo = folder / "repo"
        repo.mkdir(parents=True)
        commit(repo, files)
        settings = Settings(
            harvest=HarvestSettings(python=Path(python)),
            sandbox=SandboxSettings(memory_mb=memory_mb),
            paths=PathSettings(cache=cache),
        )
        workspace = init(folder / "workspace").workspace
        self.bench: Workbench = set_up(str(repo), settings, workspace, EventBus())
        self.runs = baseline_runs

    @cached_property
    def learned(self) -> Learned:
        """The baseline, learnt once."""
        bench = self.bench
        server = bench.start(Lane.FRESH)
        try:
            return learn(
                server,
                tree=bench.environment.tree,
                files=sources(bench.environment.tree, bench.toolchain).paths,
                runs=self.runs,
                revision_id=bench.revision.revision_id,
                environment_hash=bench.environment.hash,
                toolchain=bench.toolchain.id,
            )
        finally:
            server.close()

    @contextmanager
    def critic(self, kind: type[Critic] = Critic, *, jobs: int = 2) -> Iterator[Critic]:
        """A critic that has proved itself."""
        tree = self.bench.environment.tree
        suite = self.learned.suite
        made = kind(
            suite,
            start=self.bench.start,
            jobs=jobs,
            sources={path: (tree / path).read_bytes() for path in suite.lines.files},
            others=other_files(tree, watched=suite.lines.files, tests=suite.paths),
            level=str(self.bench.probe.level),
        )
        try:
            made.prove()
            yield made
        finally:
            made.close()

    def candidate(self, change: Change) -> Candidate:
        """The change as the critic takes it."""
        source = (self.bench.environment.tree / change.path).read_bytes()
        before = change.before.encode()
        assert source.count(before) == 1, (change, source.count(before))
        start = source.index(before)
        line = source.count(b"\n", 0, start) + 1
        return Candidate(
            path=change.path,
            symbol="",
            span=Span(start, start + len(before)),
            before=change.before,
            after=change.after,
            line=line,
            end_line=line + before.count(b"\n"),
            source="written",
            operator="hand",
            good="",
            bad="",
            base_hash=bytes_hash(source),
        )

    def judge(self, critic: Critic, changes: Sequence[Change]) -> dict[Change, Judged]:
        """Every change judged, in the order given."""
        by_id = {self.candidate(change).candidate_id: change for change in changes}
        assert len(by_id) == len(changes)
        judged: dict[Change, Judged] = {}
        waiting = [self.candidate(change) for change in changes]
        while waiting or critic.busy:
            while waiting and critic.hungry:
                critic.submit(waiting.pop(0))
            for one in critic.collect(timeout=1.0):
                judged[by_id[one.candidate.candidate_id]] = one
        for one in critic.collect(timeout=0.0):
            judged[by_id[one.candidate.candidate_id]] = one
        return judged

    def truths(self, changes: Mapping[Change, Sequence[str]]) -> dict[Change, frozenset[str]]:
        """What plain pytest says of each change in the files that it can concern."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda one: self.truth(*one), changes.items())
            return dict(zip(changes, found, strict=True))

    def truth(self, change: Change, files: Sequence[str] = ()) -> frozenset[str]:
        """Judging tests of these files (of all, without) that fail, or are no longer there."""
        bench = self.bench
        with tempfile.TemporaryDirectory(prefix="truth-") as folder:
            root = Path(folder)
            root.chmod(0o755)
            tree, out, plug = root / "tree", root / "out", root / "plug"
            shutil.copytree(
                bench.environment.tree,
                tree,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            place = tree / change.path
            place.write_bytes(
                place.read_bytes().replace(change.before.encode(), change.after.encode())
            )
            out.mkdir()
            plug.mkdir()
            (plug / "reporter.py").write_text(REPORTER)
            for path in (tree, out, plug):
                give_to_box(path)
            variables = dict(bench.environment.variables)
            variables["PYTHONPATH"] = ":".join(["/plug", *bench.environment.pythonpath])
            box = replace(
                bench._box(),
                mounts=(
                    *bench.environment.mounts,
                    Mount(tree, "/repo", writable=True),
                    Mount(out, "/out", writable=True),
                    Mount(plug, "/plug"),
                ),
                environment=variables,
                nested=False,
            )
            arguments = [*bench.environment.pytest_args, "-p", "reporter", "-q", "--tb=no", *files]
            argv = [bench.environment.python, "-m", "pytest", *arguments]
            box.run(argv, timeout=60)
            report = out / "report.jsonl"
            lines = report.read_text().splitlines() if report.exists() else []
        passed, failed = set(), set()
        for test_id, when, outcome in map(json.loads, lines):
            if outcome == "failed":
                failed.add(test_id)
            elif when == "call" or outcome == "skipped":
                passed.add(test_id)
        asked = {one for one in self.learned.suite.ids if not files or one.split("::")[0] in files}
        return frozenset(asked - (passed - failed))
