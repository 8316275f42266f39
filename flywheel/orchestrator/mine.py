"""Mining: the repository's bug fixes, each judged at its own commit by that commit's tests.

For each commit that reads like a fix and touches tests, newest first: its environment is built (one
for all commits between which nothing changes that defines it), its suite's baseline is learned, and
the files it fixed are put back to what they were. That must fail, and what the commit made of them
must pass.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from flywheel.candidates import Fix, Passed, RevertSource, Source, look
from flywheel.core.errors import (
    BaselineError,
    CriticError,
    EnvironmentBuildError,
    FlywheelError,
    RepositoryError,
    ToolchainError,
    UsageError,
)
from flywheel.core.events import CandidateJudged, EventBus, ExampleKept, PhaseProgressed, Warned
from flywheel.core.settings import Settings
from flywheel.critic import Critic
from flywheel.git import Blobs, Commit, at, log
from flywheel.orchestrator.judging import Judging, Progress
from flywheel.orchestrator.workbench import learn_baseline, record, set_up
from flywheel.store import Store, mined_commits, record_mined
from flywheel.workspace import Workspace

MAX_FAILURES = 5
"""Commits in a row without a working environment, after which older ones are left alone: they need
what is not to be had any more."""

_REASONS: dict[type[FlywheelError], str] = {
    EnvironmentBuildError: "no-environment",
    BaselineError: "no-baseline",
    ToolchainError: "no-toolchain",
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
    """Those that an earlier run has judged."""
    kept: int = 0
    """Those of which an example came in this run."""
    passed: Counter[str] = field(default_factory=Counter)
    """Reason -> commits passed over."""
    environments: set[str] = field(default_factory=set)
    """Hashes of the environments that were used."""
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
            "environments": len(self.environments),
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
        self._settings = settings
        self._workspace = workspace
        self._store = store
        self._bus = bus
        self._quiet = _forwarding(bus)
        self._on_progress = on_progress
        self._failures = 0

    def run(self) -> Mined:
        """Go through the history; commits that an earlier run has judged are passed over.

        It ends at the limits of the harvest, and says so where that does.
        """
        began = time.monotonic()
        done = mined_commits(self._store, self._checkout.name)
        with ExitStack() as held:
            history = log(self._checkout.git_dir, self._checkout.commit)
            held.callback(history.close)
            blobs = held.enter_context(Blobs(self._checkout.git_dir))
            for commit in history:
                self.mined.commits += 1
                fix = self._fix(commit)
                if fix is None:
                    continue
                if commit.oid in done:
                    self.mined.known += 1
                    continue
                if reason := self._newest.limit():
                    self._newest.ended = reason
                    break
                self._bus.publish(
                    PhaseProgressed("mine", self.mined.fixes, f"{commit.oid[:10]} {commit.subject}")
                )
                self._judge(fix, blobs)
                if self._newest.ended != "exhausted" or self._failures >= MAX_FAILURES:
                    break
        self.mined.seconds = time.monotonic() - began
        return self.mined

    def _fix(self, commit: Commit) -> Fix | None:
        toolchain = self._newest.bench.toolchain
        found = look(commit, is_source=toolchain.is_source, is_test=toolchain.is_protected)
        if isinstance(found, Passed):
            self.mined.passed[found.value] += 1
            return None
        if not found.signals.test_files:
            self.mined.passed["touches-no-test"] += 1
            return None
        self.mined.fixes += 1
        return found

    def _judge(self, fix: Fix, blobs: Blobs) -> None:
        mined, commit = self.mined, fix.commit
        try:
            kept = self._judge_there(fix, blobs)
        except tuple(_REASONS) as error:
            mined.passed[_REASONS[type(error)]] += 1
            self._failures += isinstance(error, EnvironmentBuildError | BaselineError)
            if self._failures >= MAX_FAILURES:
                self._bus.publish(
                    Warned(
                        "mined",
                        f"the suites of {MAX_FAILURES} commits in a row could not be run; those"
                        f" older than {commit.oid[:10]} are left alone: {error.message}",
                    )
                )
            return
        except KeyboardInterrupt:
            self._newest.ended = "interrupted"
        if self._newest.ended == "exhausted":
            self._failures = 0
            mined.judged += 1
            mined.kept += kept > 0
            record_mined(self._store, self._checkout.name, commit.oid, examples=kept)

    def _judge_there(self, fix: Fix, blobs: Blobs) -> int:
        """Judge one fix at its commit; the number of examples of it in the store."""
        bench = set_up(
            self._checkout.name,
            self._settings,
            self._workspace,
            self._quiet,
            checkout=at(self._checkout, fix.commit.oid),
        )
        self.mined.environments.add(bench.environment.hash)
        learned, _ = learn_baseline(bench, self._settings, self._quiet)
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

        def make_source(contents: Mapping[str, bytes], critic: Critic) -> Source:
            return RevertSource(
                [fix.commit],
                contents,
                read=blobs.read,
                is_source=bench.toolchain.is_source,
                is_test=bench.toolchain.is_protected,
                covered=critic.covered_lines,
                name="mined",
            )

        judging.run(make_source)
        self._newest.ended = judging.ended
        return judging.stored_examples


def _forwarding(bus: EventBus) -> EventBus:
    """A bus that passes on what is judged and kept, and not each commit's phases and warnings."""
    quiet = EventBus()
    quiet.subscribe(
        lambda event: (
            bus.publish(event) if isinstance(event, CandidateJudged | ExampleKept) else None
        )
    )
    return quiet
