"""Judging by a command: the repository's own test command, run for each candidate, its report read.

The way of every toolchain but pytest. Each run gets an overlay of its own over the built tree, in a
sandbox of its own, so candidates share the build and nothing else. All tests run each time; what
fails is run a second time before it is believed.
"""

from __future__ import annotations

import base64
import collections
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from flywheel.core.errors import CriticError, ReportError
from flywheel.core.records import (
    Candidate,
    Lane,
    Outcome,
    Status,
    TestFailure,
    Trial,
)
from flywheel.critic.critic import MAX_CONFIRMATIONS, Suite
from flywheel.critic.lane import LaneServer
from flywheel.critic.profile import CommandProfile
from flywheel.critic.reports import Result, read
from flywheel.critic.run import KEPT_FAILURES
from flywheel.critic.serving import ServingCritic
from flywheel.critic.text import tail

REPORTS = "/flywheel/reports"
"""Where the box sees the formatters of `critic.reports`."""
REPORT = "/tmp/flywheel-report"
"""Where a command writes its report, inside the box."""
REPO = "/repo"
"""Where the tree is inside the box."""
PLACES = {"{report}": REPORT, "{repo}": REPO, "{reports}": REPORTS}
"""What the placeholders of a profile stand for."""
WALL_FLOOR, WALL_FACTOR = 10.0, 4.0
"""Seconds a run may take, and times a run that builds and passes, where that is more."""
MAX_PLANTED = 12
"""Files into which nonsense is planted, one after the other, until a run notices."""
NONSENSE = b"\x01 ]} flywheel plants what nothing can read {[ \x01\n"
DOES_NOT_BUILD = "does-not-build"
"""Reason of a pruned candidate that no compiler takes."""

_ENDS = {"wall": "timeout", "memory": "out-of-memory", "output": "output", "died": "died"}
"""How a run was ended, as the runner says it, to its reason; any other is infrastructure."""
_STATUS = {"timeout": Status.TIMEOUT, "out-of-memory": Status.OUT_OF_MEMORY}
"""Status of a trial by its reason; any other is infrastructure."""
_COMPILING = frozenset({"CompileError", "SyntaxError"})
"""What a report calls code that could not be built."""
_WANTING = re.compile(
    r"(?i)no space left on device|cannot allocate memory|too many open files|file too large"
    r"|disk quota exceeded|resource temporarily unavailable|signal: (?:killed|9\b)"
)
"""What compilers, and the system through them, say when they lack memory, room or processes."""
FAILS_UNSAID = "exit-status"
"""Reason of a verdict on a change that no test noticed, though the command failed with it."""
_MUTE = frozenset({"no-report", "incomplete-report"})
"""Reasons of a run that came to its own end and did not say all."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What one run of the suite said."""

    __test__ = False  # pytest must not collect it

    results: Mapping[str, Result]
    """Test id -> what it reported, in report order."""
    broken: TestFailure | None
    """What kept tests from running, None when nothing did."""
    reason: str
    """Why the run says nothing, empty when it does: `timeout`, `out-of-memory`, `no-report` …"""
    detail: str
    """More of that, for a person."""
    seconds: float
    """Wall time."""
    code: int = 0
    """Exit status of the command."""

    def failing(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Those of the tests that did not pass: one that is not reported has not."""
        return tuple(
            sorted(
                one
                for one in ids
                if (result := self.results.get(one)) is None or result.outcome != "passed"
            )
        )

    def notices(self, ids: Sequence[str]) -> bool:
        """True when the command came to its own end and did not say that these tests pass.

        A run that was ended notices nothing.
        """
        if self.reason:
            return self.reason in _MUTE
        return self.broken is not None or bool(self.failing(ids))

    @property
    def fails_unsaid(self) -> bool:
        """True when the command failed and nothing in its report did."""
        said = self.broken is not None or any(
            one.outcome not in ("passed", "skipped") for one in self.results.values()
        )
        return self.code != 0 and not said

    def does_not_build(self, ids: Sequence[str]) -> bool:
        """True when code could not be compiled or parsed, so that some of the tests did not run.

        What compilers write alone says little: a test may run one.
        """
        broken = self.broken is not None and self.broken.type in _COMPILING
        return broken and any(one not in self.results for one in ids)


class Tester:
    """Runs the suite of one tree in a server of the cold lane."""

    __test__ = False  # pytest must not collect it

    def __init__(
        self, profile: CommandProfile, start: Callable[[], LaneServer], *, module: str = ""
    ) -> None:
        """`module` is what the language calls the repository, where its reports need it."""
        self.profile = profile
        self.start = start
        """Starts a server; raises `CriticError`."""
        self._module = module

    def request(self, files: Mapping[str, bytes], wall: float) -> dict[str, Any]:
        """The request of one run with these files changed, of at most `wall` seconds."""
        test = self.profile.test
        return {
            "op": "run",
            "files": {path: base64.b64encode(data).decode() for path, data in files.items()},
            "argv": [filled(word, PLACES) for word in test.command],
            "report": filled(test.file, PLACES),
            "wall": wall,
        }

    def tested(self, header: Mapping[str, Any], body: bytes) -> Tested:
        """What a server's reply says."""
        status, seconds = header["status"], header.get("seconds", 0.0)
        printed, report = body[: header.get("printed", 0)], body[header.get("printed", 0) :]
        if status != "ran":
            reason = _ENDS.get(status, "infrastructure")
            return Tested({}, None, reason, header.get("reason", ""), seconds)
        said = report if self.profile.test.file else printed
        if self.profile.report == "lines":
            # What a compiler printed stands in for the report that there is none of.
            said = printed + b"\n" + report
        try:
            found = read(
                self.profile.report,
                said,
                module=self._module,
                command=" ".join(self.profile.test.command),
            )
        except ReportError as error:
            detail = f"{error.message}\n{tail(printed.decode(errors='replace'))}".strip()
            return Tested({}, None, "no-report", detail, seconds)
        if not found.complete and found.broken is None:
            return Tested({}, None, "incomplete-report", "", seconds)
        if found.broken is not None and _exhausted(found.broken):
            return Tested({}, None, "infrastructure", found.broken.message, seconds)
        results = {one.test_id: one for one in found.results}
        return Tested(results, found.broken, "", "", seconds, header.get("code", 0))

    def run(self, server: LaneServer, files: Mapping[str, bytes], wall: float) -> Tested:
        """Run the suite once and wait for it."""
        server.submit(self.request(files, wall))
        while not (frames := server.frames()):
            continue
        return self.tested(*frames[0])


def _exhausted(broken: TestFailure) -> bool:
    """True when code was not built for want of room: that says nothing of the code."""
    if broken.type not in _COMPILING:
        return False
    return _WANTING.search(f"{broken.message}\n{broken.traceback}") is not None


def filled(text: str, values: Mapping[str, str]) -> str:
    """A word of a profile with its placeholders filled in."""
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def changed_files(candidate: Candidate, sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The content of each file that a candidate changes."""
    found: dict[str, bytes] = {}
    for change in sorted(candidate.changes, key=lambda one: -one.span.start):
        base = found.get(change.path, sources[change.path])
        found[change.path] = (
            base[: change.span.start] + change.after.encode() + base[change.span.end :]
        )
    return found


def trial_of(tested: Tested, suite: Suite, level: str) -> Trial:
    """The record of one run."""
    failing = () if tested.reason else tested.failing(suite.ids)
    failures = tuple(_failure(one, tested) for one in failing)
    status = Status.RAN
    if tested.reason:
        status = _STATUS.get(tested.reason, Status.INFRASTRUCTURE)
    outcome = Outcome.FAILS if failing else Outcome.PASSES
    erroring = tuple(one.test_id for one in failures if one.phase != "call")
    return Trial(
        status=status,
        outcome=Outcome.UNKNOWN if tested.reason else outcome,
        reason=tested.reason,
        lane=Lane.COLD,
        selected=len(suite.ids),
        passing=0 if tested.reason else len(suite.ids) - len(failing),
        failing=failing,
        erroring=erroring,
        failures=failures[:KEPT_FAILURES],
        seconds=tested.seconds,
        sandbox_level=level,
    )


def _failure(test_id: str, tested: Tested) -> TestFailure:
    result = tested.results.get(test_id)
    if result is not None and result.failure is not None:
        return result.failure
    if tested.broken is not None:
        return replace(tested.broken, test_id=test_id)
    what = "the test was skipped" if result is not None else "the test did not report"
    return TestFailure(test_id, "call", "NotPassed", what, "", "")


@dataclass(slots=True)
class _Case:
    """One candidate on its way."""

    candidate: Candidate
    files: Mapping[str, bytes]
    first: Trial | None = None
    said: list[tuple[str, ...]] = field(default_factory=list)
    """Failing tests of each confirmation."""
    restarts: int = 0


class CommandCritic(ServingCritic[_Case]):
    """Judges candidates by running the test command; the counterpart of `Critic`."""

    def __init__(
        self,
        suite: Suite,
        *,
        tester: Tester,
        jobs: int,
        sources: Mapping[str, bytes],
        level: str,
    ) -> None:
        """`sources` are the files that candidates may change."""
        super().__init__()
        self._suite = suite
        self._tester = tester
        self._jobs = jobs
        self._sources = sources
        self._level = level
        self._wall = tester.profile.limits.test_seconds
        """Seconds that one run may take; known better when a run has been seen to build."""
        self._servers: list[LaneServer] = []
        self._queue: collections.deque[_Case] = collections.deque()
        self._good: Trial | None = None
        self._fails_unsaid = False
        """Whether the command fails on the clean tree though no test does: of lint, of coverage."""
        self.mismatches = 0
        """Candidates whose second run found other failures than the first."""
        self.audits = 0
        """Always 0: every run is of the whole suite."""
        self.widened: frozenset[str] = frozenset()
        """Always empty, for the same reason."""
        self.not_warm_reason = ""
        """Empty: there is no warm lane to miss."""

    def prove(self) -> None:
        """The clean tree passes, and so does one with blank lines added; nonsense is noticed.

        The second run tells how long building and testing a change takes. Raises `CriticError`.
        """
        for _ in range(self._jobs):
            self._servers.append(self._tester.start())
        server = self._servers[0]
        # Large files first: they are likelier to be part of what is tested.
        paths = sorted(self._sources, key=lambda path: (-len(self._sources[path]), path))
        blank = {path: self._sources[path] + b"\n" for path in paths[:1]}
        for files in ({}, blank):
            ran = self._tester.run(server, files, self._tester.profile.limits.test_seconds)
            failing = ran.failing(self._suite.ids)
            if ran.reason or failing:
                raise CriticError(
                    "the suite passes with blank lines added no more"
                    if files
                    else "the clean suite does not pass any more",
                    cause=ran.reason or f"{len(failing)} tests fail: {', '.join(failing[:3])}",
                )
            self._fails_unsaid = ran.fails_unsaid
            self._good = self._good or trial_of(ran, self._suite, self._level)
            self._wall = max(WALL_FLOOR, WALL_FACTOR * ran.seconds)
        for path in paths[:MAX_PLANTED]:
            planted = self._tester.run(server, {path: NONSENSE + self._sources[path]}, self._wall)
            if planted.notices(self._suite.ids):
                return
        raise CriticError(
            f"nonsense planted in {len(paths[:MAX_PLANTED])} source files went unnoticed",
            cause="the tests run other code than the repository's files",
        )

    @property
    def busy(self) -> int:
        """Candidates under way."""
        return len(self._queue) + len(self._flying)

    @property
    def hungry(self) -> bool:
        """True when another candidate may be submitted without queueing in memory."""
        return self.busy < self._jobs + 1

    def covered_lines(self, path: str) -> Set[int] | None:
        """Lines that the suite executes: not known."""
        return None

    def submit(self, candidate: Candidate) -> None:
        """Take a candidate; its `Judged` comes out of `collect` some time later."""
        self._queue.append(_Case(candidate, changed_files(candidate, self._sources)))
        self._dispatch()

    def close(self) -> None:
        """Stop the servers; what is under way is not judged."""
        for server in self._servers:
            server.close()
        self._servers = []
        self._flying.clear()
        self._queue.clear()

    def _dispatch(self) -> None:
        for server in list(self._servers):
            if self._queue and server not in self._flying:
                case = self._flying[server] = self._queue.popleft()
                try:
                    server.submit(self._tester.request(case.files, self._wall))
                except CriticError as error:
                    self._revive(server, error)

    def _receive(self, server: LaneServer) -> None:
        for header, body in server.frames():
            self._answer(self._flying.pop(server), self._tester.tested(header, body))

    def _replace(self, server: LaneServer, running: _Case, error: CriticError) -> None:
        self._servers.remove(server)
        self._servers.append(self._tester.start())
        running.restarts += 1
        if running.restarts <= 1:
            self._queue.appendleft(running)
        else:
            self._answer(running, Tested({}, None, "infrastructure", error.message, 0.0))

    def _answer(self, case: _Case, tested: Tested) -> None:
        trial = trial_of(tested, self._suite, self._level)
        if case.first is None:
            self._first(case, tested, trial)
        else:
            self._again(case, case.first, trial)

    def _first(self, case: _Case, tested: Tested, trial: Trial) -> None:
        if tested.does_not_build(self._suite.ids):
            self._emit(case.candidate, trial, "pruned", DOES_NOT_BUILD)
        elif tested.reason:
            self._emit(case.candidate, trial, "unknown", tested.reason)
        elif not trial.failing and tested.fails_unsaid and not self._fails_unsaid:
            self._emit(case.candidate, trial, "unknown", FAILS_UNSAID)
        elif not trial.failing:
            self._emit(case.candidate, trial, "survived", "")
        elif len(trial.failing) == len(self._suite.ids):
            self._emit(case.candidate, trial, "breaks-everything", "")
        else:
            case.first = trial
            self._queue.appendleft(case)

    def _again(self, case: _Case, first: Trial, trial: Trial) -> None:
        if trial.reason:
            self._emit(case.candidate, first, "unknown", f"confirmation: {trial.reason}", trial)
            return
        agreed = trial.failing == first.failing or trial.failing in case.said
        self.mismatches += not agreed and not case.said
        case.said.append(trial.failing)
        if agreed and trial.failing:
            self._emit(case.candidate, first, "valid", "", trial, self._good)
        elif agreed:
            self._emit(case.candidate, first, "unknown", "not-confirmed", trial)
        elif len(case.said) >= MAX_CONFIRMATIONS:
            self._emit(case.candidate, first, "unknown", "runs-disagree", trial)
        else:
            self._queue.appendleft(case)
