"""What a run of a test suite said, in whatever language it was written.

A reader of one format hands what it finds to a `Gathering`, which numbers the ids that come
twice, cleans every text and joins what kept parts of the suite from running into one failure.
It knows no format.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import WIDEST_RAW, excerpt, first_line, plain
from flywheel.critic.text import clean

OUTCOMES = ("passed", "failed", "error", "skipped")
"""What a test can say. An error happened outside the test's own call: setup, import, compile."""

MOST_LINES = 40
"""Lines of a failure's text that are kept."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one test said."""

    test_id: str
    """Stable and unique in its report; each format's module says how it is made."""
    path: str
    """Repository-relative file that holds the test, empty when the report does not say."""
    outcome: str
    """One of `OUTCOMES`."""
    seconds: float
    """Duration, 0.0 when not said."""
    failure: TestFailure | None
    """How it failed; None for a test that passed or was skipped."""


@dataclass(frozen=True, slots=True)
class Report:
    """What all tests of one run said."""

    results: tuple[Result, ...]
    """In the report's order; of equal ids the second ends in ` #2`, the third in ` #3`."""
    broken: TestFailure | None
    """What kept tests from running, so that some may be missing above: a compile error, a file
    that could not be loaded, a process that died. Its test id is empty, its phase `collect`."""
    unfinished: tuple[str, ...]
    """Ids of tests that had begun when an incomplete output ends, where the format says so: of a
    run that was killed for its time, those that hung."""
    complete: bool
    """False when the output ends before the tool had said all: the runner was killed."""


@dataclass(slots=True)
class Gathering:
    """Results on their way to a report."""

    root: str
    """Absolute path of the repository where the tool ran; it is taken out of every text."""
    module: str = ""
    """Name the language gives to the repository's root, empty when not known."""
    results: list[Result] = field(default_factory=list)
    """What was added so far."""
    reasons: list[TestFailure] = field(default_factory=list)
    """What kept tests from running, first met first."""
    begun: list[str] = field(default_factory=list)
    """Ids of tests that began and did not end; they count only when the output was cut short."""
    incomplete: bool = False
    """Set by a reader that sees that the output was cut short."""

    def add(
        self,
        test_id: str,
        outcome: str,
        *,
        path: str = "",
        seconds: float = 0.0,
        failure: TestFailure | None = None,
    ) -> None:
        """Add one test's result; a failing test without details gets a failure that says so."""
        if outcome in ("passed", "skipped"):
            failure = None
        elif failure is None:
            failure = self.failure(phase="call" if outcome == "failed" else "setup")
        self.results.append(
            Result(
                test_id=plain(test_id, self.root),
                path=plain(path, self.root),
                outcome=outcome,
                seconds=seconds if 0.0 <= seconds < 1e9 else 0.0,
                failure=failure,
            )
        )

    def failure(
        self,
        *,
        type: str = "Failed",  # noqa: A002 - the record's own name
        message: str = "",
        assertion: str = "",
        traceback: str = "",
        phase: str = "call",
    ) -> TestFailure:
        """The columns of a failure, made relative, trimmed and free of run-to-run noise."""
        return TestFailure(
            test_id="",
            phase=phase,
            type=plain(type, self.root).strip() or "Failed",
            message=first_line(clean(first_line(plain(message, self.root), WIDEST_RAW))),
            assertion=self._cleaned(assertion),
            traceback=self._cleaned(traceback),
        )

    def _cleaned(self, text: str) -> str:
        # Cut first, since cleaning takes its time, and again: what it replaced was wider.
        raw = excerpt(plain(text, self.root), MOST_LINES, WIDEST_RAW)
        return excerpt(clean(raw), MOST_LINES)

    def broke(self, kind: str, message: str, traceback: str = "") -> None:
        """Note what kept tests from running; the same thing said twice is noted once."""
        reason = self.failure(type=kind, message=message, traceback=traceback, phase="collect")
        if reason not in self.reasons:
            self.reasons.append(reason)

    def report(self) -> Report:
        """What was gathered, with every id made unique."""
        given = {result.test_id for result in self.results}
        seen: Counter[str] = Counter()
        unique: list[Result] = []
        taken: set[str] = set()
        for result in self.results:
            test_id = result.test_id
            seen[test_id] += 1
            while seen[test_id] > 1 or test_id in taken:
                numbered = f"{result.test_id} #{seen[result.test_id]}"
                if numbered not in given and numbered not in taken:
                    test_id = numbered
                    break
                seen[result.test_id] += 1
            taken.add(test_id)
            failure = result.failure and replace(result.failure, test_id=test_id)
            unique.append(replace(result, test_id=test_id, failure=failure))
        begun = {plain(test_id, self.root): None for test_id in self.begun}
        return Report(
            results=tuple(unique),
            broken=self._broken(),
            unfinished=tuple(begun) if self.incomplete else (),
            complete=not self.incomplete,
        )

    def _broken(self) -> TestFailure | None:
        if not self.reasons:
            return None
        first, *others = self.reasons
        if not others:
            return first
        texts = [reason.traceback or reason.message for reason in self.reasons]
        # Each gets its share, so that one long text does not hide the other files.
        share = max(4, MOST_LINES // len(texts))
        joined = "\n\n".join(excerpt(text, share) for text in texts)
        return replace(first, traceback=excerpt(joined, MOST_LINES))
