"""The records that travel through the house, all frozen.

Two questions are asked of every run and kept in two enums: did it run (`Status`), and what
did the tests say (`Outcome`). An infrastructure failure has a status and no outcome, so it
can never be mistaken for a verdict.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flywheel.core.identity import content_hash


class Status(enum.StrEnum):
    """Did the run itself work?"""

    RAN = "ran"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    INFRASTRUCTURE = "infrastructure"


class Outcome(enum.StrEnum):
    """What did the tests say? UNKNOWN never becomes data."""

    FAILS = "fails"
    PASSES = "passes"
    UNKNOWN = "unknown"


class Lane(enum.StrEnum):
    """How a trial was run: which of the critic's ways judged it."""

    WARM = "warm"
    """Forked from a process that holds the imported, collected suite."""
    FRESH = "fresh"
    """Forked from a process that holds only the test framework; imports and collects anew."""
    COLD = "cold"
    """A process of its own from start to end."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of one repository."""

    repo: str
    """Name shown to people: a path, a URL or `pypi:NAME==VERSION`."""
    commit: str
    """Full commit hash."""
    tree: str
    """Full tree hash; equal trees are the same code."""
    license: str | None
    """SPDX expression found in the repository, None when not found."""

    @property
    def revision_id(self) -> str:
        """Identity: repository name and tree."""
        return content_hash("revision", self.repo, self.commit)


@dataclass(frozen=True, slots=True)
class EnvironmentLock:
    """What makes a test environment the same again."""

    environment_hash: str
    """Identity of the environment."""
    python: str
    """Version of its Python, such as `3.12.1`."""
    packages: tuple[str, ...]
    """Exact packages, as `uv pip freeze` prints them."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open region of a file, in UTF-8 byte offsets."""

    start: int
    """First byte of the region."""
    end: int
    """One past the last byte."""


@dataclass(frozen=True, slots=True)
class FixCommit:
    """A commit of the repository's history that a candidate was taken from."""

    commit: str
    """Full hash."""
    committed_at: datetime
    """With time zone."""
    statement: str
    """Its message, without what gives the fix away."""
    signals: Mapping[str, object]
    """Why it was taken for a bug fix: anything JSON can say."""


@dataclass(frozen=True, slots=True)
class Change:
    """One region of one file, and what takes its place."""

    path: str
    """Repository-relative POSIX path."""
    span: Span
    """Region of the base file that is replaced."""
    before: str
    """Text of that region."""
    after: str
    """Text that takes its place."""
    line: int
    """First changed line in the base file, 1-based."""
    end_line: int
    """Last changed line in the base file, 1-based, inclusive."""
    base_hash: str
    """`bytes_hash` of the base file the span refers to."""


@dataclass(frozen=True, slots=True)
class Part:
    """A proven bug that a candidate holds beside others."""

    candidate_id: str
    """The candidate that is this bug alone."""
    tests: tuple[str, ...]
    """Sorted ids of the tests that fail for this bug and for none of the others."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change, of one place or of several, that may or may not break a test."""

    path: str
    """Repository-relative POSIX path of the changed file."""
    symbol: str
    """Qualified name of the smallest enclosing definition, `<module>` at module level."""
    span: Span
    """Region of the base file that is replaced."""
    before: str
    """Text of that region."""
    after: str
    """Text that takes its place."""
    line: int
    """First changed line in the base file, 1-based."""
    end_line: int
    """Last changed line in the base file, 1-based, inclusive."""
    source: str
    """Where it came from: `mutated`, later also `reverted`, `mined`, `written`, `combined`."""
    operator: str
    """Name of the operator, or of the model and prompt, that made it."""
    good: str
    """The smallest enclosing definition, whole, before the change."""
    bad: str
    """The same definition after the change."""
    base_hash: str
    """`bytes_hash` of the base file the span refers to."""
    patch: str = ""
    """Unified diff of the file, from changed to base: what a fix does (`core.patch`); empty when
    not made."""
    origin: FixCommit | None = None
    """The commit it was taken from; None for one that was made up."""
    others: tuple[Change, ...] = ()
    """Further changes that come with it, in this file or in others; most candidates have none.
    `good`, `bad` and `patch` are then of all changes, the other fields of the first."""
    parts: tuple[Part, ...] = ()
    """The proven bugs that it is made of; empty for a bug that is one."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change it makes, its own first."""
        own = Change(
            self.path, self.span, self.before, self.after, self.line, self.end_line, self.base_hash
        )
        return (own, *self.others)

    @property
    def candidate_id(self) -> str:
        """Identity: the files' content, where the changes are, and what replaces what."""
        identity = [
            [one.path, one.base_hash, one.span.start, one.span.end, one.after]
            for one in self.changes
        ]
        return content_hash("candidate", *identity[0], *identity[1:])


@dataclass(frozen=True, slots=True)
class TestFailure:
    """How one test failed, as columns; repository-relative and free of run-to-run noise."""

    __test__ = False  # the name is the field's own; pytest must not collect it

    test_id: str
    """Id of the failing test, as the framework prints it."""
    phase: str
    """`setup`, `call`, `teardown` or `collect`; anything but `call` is an error, not a failure."""
    type: str
    """Exception class name, such as `AssertionError`."""
    message: str
    """First line of the exception's message."""
    assertion: str
    """The failed assertion with both values, empty when it was no assertion."""
    traceback: str
    """Trimmed traceback, empty when only the id was kept (see `critic`)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What happened when one candidate (or the base itself) was run against a set of tests."""

    status: Status
    """Did the run work."""
    outcome: Outcome
    """What the tests said; UNKNOWN unless status is RAN, or TIMEOUT that was confirmed."""
    reason: str
    """Typed reason for anything but a plain pass or fail (`same-bytecode`, `worker-died` …)."""
    lane: Lane
    """Which way it was judged."""
    selected: int
    """Number of tests that were asked for."""
    passing: int
    """Number of those that passed."""
    failing: tuple[str, ...]
    """Sorted ids of tests that failed or errored, complete."""
    erroring: tuple[str, ...]
    """Those of `failing` that failed outside the test's call (fixture, import, collection)."""
    failures: tuple[TestFailure, ...]
    """Details of the first few failures, in suite order."""
    seconds: float
    """Wall time from dispatch to report."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase: fork, patch, tests, reap."""
    sandbox_level: str = ""
    """Isolation in force: S3, S3-soft, S2."""


@dataclass(frozen=True, slots=True)
class BaselineTest:
    """One test of the base commit, over all baseline runs."""

    test_id: str
    """Id as the framework prints it."""
    path: str
    """Repository-relative path of the file that holds it."""
    line: int
    """1-based first line of the test, 0 when unknown."""
    outcome: str
    """`passed`, `failed`, `error`, `skipped`, `xfailed`, `flaky`, `unstable-id`."""
    seconds: float
    """Median duration over the runs."""
    flake_rate: float
    """Share of runs whose outcome differs from the commonest."""
    reason: str
    """Why it is excluded from judging; empty when it judges."""
    source: str
    """Source text of the test function, empty when not found."""

    @property
    def judges(self) -> bool:
        """True when this test's failure counts against a candidate."""
        return self.outcome == "passed" and not self.reason


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the suite says of the base commit."""

    revision_id: str
    """The revision it belongs to."""
    environment_hash: str
    """Identity of the environment it ran in."""
    toolchain: str
    """`profile@hash` of the toolchain."""
    runs: int
    """How many times the suite ran."""
    tests: tuple[BaselineTest, ...]
    """Every test seen, in suite order."""
    suite_seconds: float
    """Median wall time of one whole run."""
    created_at: datetime
    """UTC."""

    @property
    def baseline_id(self) -> str:
        """Identity: revision, environment, toolchain."""
        return content_hash("baseline", self.revision_id, self.environment_hash, self.toolchain)


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with every trial it went through; what the critic hands to the store."""

    candidate: Candidate
    trial: Trial
    """The verdict-giving trial (the warm one, or its fallback)."""
    confirmation: Trial | None
    """The independent second run of the bad code; None when the first found no failure."""
    good: Trial | None
    """The run of the good code on the confirmation's tests; None when not confirmed."""
    verdict: str
    """`valid`, `survived`, `unknown`, `breaks-everything`, `pruned`."""
    reason: str
    """Why, for anything but `valid` and `survived`."""
