"""Mining: the repository's bug fixes, each judged at its own commit by that commit's tests.

For each commit that reads like a fix and touches tests, newest first: its environment is found or
built (one for all commits between which nothing changes that defines it), its suite's baseline is
learned, and the files it fixed are put back to what they were. That must fail, and what the commit
made of them must pass. What came of each commit is stored, so that the next run goes on behind it.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from flywheel.candidates import Fix, Passed, RevertSource, Source, look
from flywheel.core.ending import EXHAUSTED, INTERRUPTED
from flywheel.core.errors import (
    BaselineError,
    CriticError,
    EnvironmentBuildError,
    FlywheelError,
    NoToolchainError,
    RepositoryError,
    UsageError,
)
from flywheel.core.events import CandidateJudged, EventBus, ExampleKept, PhaseProgressed, Warned
from flywheel.core.settings import Settings
from flywheel.critic import Judge
from flywheel.git import Blobs, Checkout, at, log
from flywheel.orchestrator.judging import Judging, Progress
from flywheel.orchestrator.workbench import Workbench, definition_of, learn_baseline, record, set_up
from flywheel.store import MinedCommit, Store, mined_commits, record_mined
from flywheel.workspace import Workspace

MAX_FAILURES = 6
"""Commits in a row whose suites cannot be run, after which older ones are left alone: they need
what is not there any more. One whose environment is known to be out of reach costs nothing and does
not count."""
NAME = "mined"
"""What its candidates say they come from."""
JUDGED = "judged"
"""Outcome of a commit whose fix was judged."""

_REASONS: dict[type[FlywheelError], str] = {
    EnvironmentBuildError: "no-environment",
    BaselineError: "no-baseline",
    NoToolchainError: "no-toolchain",
    RepositoryError: "unreadable",
    CriticError: "not-judged",
    UsageError: "not-executed",
}
"""Why a commit could not be judged, by what was raised."""


@dataclass(slots=True)
class Mined:
    """What mining has done."""

    commits: int = 0
    """Commits looked at."""
    fixes: int = 0
    """Those that read like fixes and touch tests."""
    judged: int = 0
    """Those that were judged in this run."""
    known: int = 0
    """Those that an earlier run has tried."""
    kept: int = 0
    """Those of which an example came in this run."""
    passed: Counter[str] = field(default_factory=Counter)
    """Reason -> commits passed over, in this run or an earlier one."""
    built: int = 0
    """Environments that had to be built in this run."""
    environments: set[str] = field(default_factory=set)
    """Hashes of the environments that were used in this run."""
    seconds: float = 0.0
    """Wall time."""

    def summary(self) -> dict[str, Any]:
        """The same as one object."""
        return {
            "commits": self.commits,
            "fix_like": self.fixes,
            "judged": self.judged,
            "known": self.known,
            "kept": self.kept,
            "passed_over": dict(self.passed.most_common()),
            "environments": {"used": len(self.environments), "built": self.built},
            "seconds": round(self.seconds, 2),
        }


class Miner:
    """Judges the fixes behind one commit, one after the other, each at its own commit."""

    def __init__(
        self,
        newest: Judging,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        on_progress: Callable[[Progress], None],
    ) -> None:
        """`newest` has judged the newest commit; its tally and its limits go on."""
        self.mined = Mined()
        self._newest = newest
        self._checkout = newest.bench.checkout
        self._toolchain = newest.bench.toolchain
        self._language = self._toolchain.language()
        self._settings = settings
        self._workspace = workspace
        self._store = store
        self._bus = bus
        self._quiet = _forwarding(bus)
        self._on_progress = on_progress
        self._hopeless: dict[str, str] = {}
        """Definition of an environment that cannot be built -> why."""
        self._last: Workbench | None = None
        """The commit before: its build is the next one's to begin with."""
        self._failures = 0
        """Commits in a row whose suites could not be run."""

    def run(self) -> Mined:
        """Go through the history; commits that an earlier run has tried are passed over.

        It ends at the limits of the harvest, and says so where that does.
        """
        began = time.monotonic()
        known = mined_commits(self._store, self._checkout.name, self._toolchain.id)
        if self._newest.bench.tester is None:
            self._hopeless = {
                one.definition: one.detail
                for one in known.values()
                if one.outcome == _REASONS[EnvironmentBuildError]
            }
        with ExitStack() as held:
            history = log(self._checkout.git_dir, self._checkout.commit)
            held.callback(history.close)
            blobs = held.enter_context(Blobs(self._checkout.git_dir))
            for commit in history:
                self.mined.commits += 1
                found = look(commit, is_source=self._is_source, is_test=self._is_test)
                fix = self._fix(found, blobs)
                if fix is None:
                    continue
                if commit.oid in known:
                    self.mined.known += 1
                    if known[commit.oid].outcome != JUDGED:
                        self.mined.passed[known[commit.oid].outcome] += 1
                    continue
                if reason := self._newest.limit():
                    self._newest.ended = reason
                    break
                said = f"{commit.oid[:10]} {commit.subject}"
                self._bus.publish(PhaseProgressed("mine", self.mined.fixes, said))
                self._try(fix, blobs)
                if self._newest.ended != EXHAUSTED or self._failures >= MAX_FAILURES:
                    break
        self._discard()
        self.mined.seconds = time.monotonic() - began
        return self.mined

    def _is_source(self, path: str) -> bool:
        return self._toolchain.is_source(path)

    def _is_test(self, path: str) -> bool:
        return self._toolchain.is_protected(path)

    def _fix(self, found: Fix | Passed, blobs: Blobs) -> Fix | None:
        if isinstance(found, Passed):
            self.mined.passed[found.value] += 1
            return None
        tested = found.mixed or found.signals.test_files
        if not (tested or self._touches_tests_inside(found, blobs)):
            self.mined.passed["touches-no-test"] += 1
            return None
        self.mined.fixes += 1
        return found

    def _touches_tests_inside(self, fix: Fix, blobs: Blobs) -> bool:
        """Whether it changes tests that stand among the code, as they do in Rust."""
        for change in fix.sources:
            before, after = blobs.read(change.old), blobs.read(change.new)
            if before is None or after is None:
                continue
            with contextlib.suppress(SyntaxError, ValueError, RecursionError):
                if self._language.tests_differ(change.path, before, after):
                    return True
        return False

    def _try(self, fix: Fix, blobs: Blobs) -> None:
        began = time.monotonic()
        commit = fix.commit.oid
        checkout = at(self._checkout, commit)
        definition = definition_of(checkout, self._toolchain, self._settings)
        bench: Workbench | None = None
        outcome, detail, kept = JUDGED, "", 0
        try:
            if nothing := self._nothing(fix, blobs):
                outcome = nothing
            elif definition in self._hopeless:
                outcome, detail = "no-environment", self._hopeless[definition]
            else:
                bench = self._set_up(checkout)
                kept = self._judge(fix, bench, blobs)
        except tuple(_REASONS) as error:
            outcome = _REASONS[type(error)]
            detail = f"{error.message}\n{error.cause}" if error.cause else error.message
            self._failed(error, definition, commit)
        except KeyboardInterrupt:
            self._newest.ended = INTERRUPTED
        if self._newest.ended != EXHAUSTED:
            return
        if outcome == JUDGED:
            self._failures = 0
            self.mined.judged += 1
            self.mined.kept += kept > 0
        else:
            self.mined.passed[outcome] += 1
        record_mined(
            self._store,
            MinedCommit(
                repo=self._checkout.name,
                commit=commit,
                toolchain=self._toolchain.id,
                definition=definition,
                environment_hash=bench.environment.hash if bench else None,
                outcome=outcome,
                detail=detail,
                examples=kept,
                seconds=round(time.monotonic() - began, 3),
            ),
        )

    def _nothing(self, fix: Fix, blobs: Blobs) -> str:
        """Why there is nothing to judge, empty when there is; nothing is built to find out."""
        contents = {one.path: blobs.read(one.new) or b"" for one in fix.sources}
        source = self._source(fix, contents, blobs, None)
        if source.draw() is not None:
            return ""
        return next(iter(source.pruned or source.passed), "nothing-to-undo")

    def _source(
        self,
        fix: Fix,
        contents: Mapping[str, bytes],
        blobs: Blobs,
        covered: Callable[[str], Set[int] | None] | None,
    ) -> RevertSource:
        return RevertSource(
            [fix.commit],
            contents,
            read=blobs.read,
            is_source=self._is_source,
            is_test=self._is_test,
            covered=covered,
            name=NAME,
            language=self._language,
        )

    def _failed(self, error: FlywheelError, definition: str, commit: str) -> None:
        if not isinstance(error, EnvironmentBuildError | BaselineError):
            return
        # Where building compiles the code itself, it is the commit that fails, not what defines it.
        if isinstance(error, EnvironmentBuildError) and self._newest.bench.tester is None:
            self._hopeless[definition] = error.message
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._bus.publish(
                Warned(
                    "mined",
                    f"the suites of {MAX_FAILURES} commits in a row could not be run; those older"
                    f" than {commit[:10]} are left alone: {error.message}",
                )
            )

    def _set_up(self, checkout: Checkout) -> Workbench:
        bench = set_up(
            checkout.name,
            self._settings,
            self._workspace,
            self._quiet,
            checkout=checkout,
            of_its_time=True,
        )
        self._discard()
        self._last = bench
        self.mined.environments.add(bench.environment.hash)
        self.mined.built += bench.environment.seconds > 0
        return bench

    def _discard(self) -> None:
        newest = self._newest.bench.environment.tree
        if self._last is not None and self._last.environment.tree != newest:
            self._last.discard()

    def _judge(self, fix: Fix, bench: Workbench, blobs: Blobs) -> int:
        """Judge one fix at its commit; the number of examples of it."""
        # One fix is a candidate or two: what makes thousands fast would cost more than it saves.
        learned, _ = learn_baseline(bench, self._settings, self._quiet, reach=False)
        record(self._store, bench, learned)
        judging = Judging(
            bench,
            learned,
            self._settings,
            self._store,
            self._quiet,
            self._on_progress,
            started_at=self._newest.started_at,
            tally=self._newest.tally,
        )

        def make_source(contents: Mapping[str, bytes], critic: Judge) -> Source:
            return self._source(fix, contents, blobs, critic.covered_lines)

        before = self._valid
        judging.run(make_source, warm=False)
        self._newest.ended = judging.ended
        return self._valid - before

    @property
    def _valid(self) -> int:
        return self._newest.tally.by_source.get(NAME, Counter())["valid"]


def _forwarding(bus: EventBus) -> EventBus:
    """A bus that passes on what is judged and kept, and not each commit's phases and warnings."""
    quiet = EventBus()
    quiet.subscribe(
        lambda event: (
            bus.publish(event) if isinstance(event, CandidateJudged | ExampleKept) else None
        )
    )
    return quiet
