"""One run of a set of tests, hang or crash notwithstanding.

A fork that runs out of time, crashes or is killed has still said which tests it ran. A `Run`
notes the test that brought it down as failing and asks for the rest in another fork, so the
list of failures is complete. After a few such ends it gives up: unknown, never data.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.core.records import Lane, Outcome, Status, TestFailure, Trial
from flywheel.critic.lane import Reply
from flywheel.critic.text import clean, trim_stack

MAX_ENDS = 3
"""Forks of one run that may end early before the run is given up as unknown."""
GROWN_BYTES = 64 << 20
"""A test that ran out of time and had taken this much memory may have been on its way to take
all: it is run again with `PATIENT`, to be told from a hang."""
KEPT_FAILURES = 5
"""Failures of a trial kept with their details; of the rest the id is kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time a test may take."""

    floor: float
    """Seconds of CPU every test may take."""
    factor: float
    """Times its baseline that it may take, where that is more."""
    wall: float = 6.0
    """Seconds of wall time it has for each of CPU: others may use the processor, too."""


PATIENT = Limits(floor=2.0, factor=10.0)
"""For a run that is to be believed, and for what needs a second look."""


@dataclass(slots=True)
class Run:
    """A set of tests being run against one state of the tree, over one fork or several."""

    lane: Lane
    """Where it runs."""
    selection: tuple[int, ...]
    """Positions of the tests in the baseline, in the order in which they run."""
    edit: Mapping[str, Any] | None
    """The change, as the runner takes it; None runs the base."""
    limits: Limits
    """Time limits of each test."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request: canary, fail_fast, by_function …"""
    remaining: tuple[int, ...] = ()
    """Tests not yet run; the selection at first."""
    outcomes: dict[int, str] = field(default_factory=dict)
    """Position in the baseline -> outcome character."""
    details: dict[int, dict[str, str]] = field(default_factory=dict)
    """Position in the baseline -> columns of its failure."""
    ends: list[str] = field(default_factory=list)
    """How forks ended early: `timeout`, `died`, `oom` …"""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase, summed."""
    seconds: float = 0.0
    """Wall time, summed."""
    forks: int = 0
    """Forks used."""
    refused: str = ""
    """Why the lane would not judge it: `structural`, `kind`, `same-bytecode`, `unparsable`."""
    reason: str = ""
    """Why the run gives no verdict, empty when it does."""
    restarts: int = 0
    """Times it was started over because its server died."""
    patterns: tuple[Any, ...] = ()
    """Regular expressions that the tests compiled, where they were asked for."""
    canary: bool | None = None
    """True when the planted failure was reported as one; None when none was planted."""
    leftovers: int = 0
    """Errors that destroying what the tests left behind gave, where they were asked for."""

    def __post_init__(self) -> None:
        self.remaining = self.remaining or self.selection

    def request(self, seconds: Sequence[float]) -> dict[str, Any]:
        """The next request; `seconds` are the baseline's times by position."""
        expected = sum(seconds[i] for i in self.remaining)
        return {
            "op": "run",
            "edit": self.edit,
            "tests": list(self.remaining),
            "floor": self.limits.floor,
            "factor": self.limits.factor,
            "wall_factor": self.limits.wall,
            "wall": 30.0 + 10 * self.limits.floor + 2 * self.limits.factor * expected,
            "collect_seconds": 60.0,
            "default_seconds": 6.0,
            **self.options,
        }

    def absorb(self, reply: Reply) -> bool:
        """Take one reply; True when another request is needed to finish the run."""
        self.forks += 1
        self.seconds += reply.seconds
        for name, value in reply.phases.items():
            self.phases[name] = self.phases.get(name, 0.0) + value
        if "refused" in reply.fields:
            self.refused = reply.fields["refused"]
            self.reason = reply.fields.get("why", "")
            return False
        if reply.status in ("infrastructure", "cancelled") or reply.status.startswith("structural"):
            self.reason = reply.status if reply.status != "infrastructure" else "infrastructure"
            if reply.status.startswith("structural"):
                self.refused = "structural"
            return False
        asked = self.remaining
        for place, mark in enumerate(reply.outcomes):
            if mark != " " and place < len(asked):
                self.outcomes[asked[place]] = mark
        for place, columns in reply.failures.items():
            if place < len(asked):
                self.details.setdefault(asked[place], columns)
        self.patterns = tuple(reply.fields.get("patterns", ()))
        self.leftovers += int(reply.fields.get("leftovers", 0))
        if "canary" in reply.fields and self.options.get("canary"):
            self.canary = bool(reply.fields["canary"])
        if reply.status == "ran":
            if not (self.options.get("fail_fast") and self.failed()):
                self._missing(asked, reply)
            self.remaining = ()
            return False
        return self._ended_early(asked, reply)

    def trial(self, test_ids: Sequence[str], level: str) -> Trial:
        """The record of what this run said."""
        failing = [i for i in self.selection if self.outcomes.get(i, " ") in "FET"]
        erroring = [i for i in failing if self.outcomes[i] == "E"]
        status = Status.RAN
        if self.reason:
            status = Status.INFRASTRUCTURE
        elif "oom" in self.ends:
            status = Status.OUT_OF_MEMORY
        elif "timeout" in self.ends:
            status = Status.TIMEOUT
        outcome = Outcome.UNKNOWN
        if not self.reason:
            outcome = Outcome.FAILS if failing else Outcome.PASSES
        failures = tuple(
            _failure(test_ids[i], self.details.get(i, {})) for i in failing[:KEPT_FAILURES]
        )
        return Trial(
            status=status,
            outcome=outcome,
            reason=self.reason,
            lane=self.lane,
            selected=len(self.selection),
            passing=sum(self.outcomes.get(i) == "." for i in self.selection),
            failing=tuple(sorted(test_ids[i] for i in failing)),
            erroring=tuple(sorted(test_ids[i] for i in erroring)),
            failures=failures,
            seconds=self.seconds,
            phases=dict(self.phases),
            sandbox_level=level,
        )

    @property
    def not_collected(self) -> bool:
        """True when a test failed before it began: its file or what that imports is broken."""
        return any(columns.get("phase") == "collect" for columns in self.details.values())

    def failed(self) -> frozenset[int]:
        """Positions of tests that did not pass."""
        return frozenset(i for i in self.selection if self.outcomes.get(i, " ") in "FET")

    def _missing(self, asked: Sequence[int], reply: Reply) -> None:
        """A test that was asked for and never reported has failed: it could not be collected."""
        errors = reply.fields.get("collect_errors") or []
        for position in asked:
            if position in self.outcomes:
                continue
            columns = errors[0] if errors else {}
            self._fail(
                position,
                "E",
                columns.get("type", "NotCollected"),
                columns.get("message", "the test is no longer collected"),
                columns.get("traceback", ""),
                phase="collect",
            )

    def _ended_early(self, asked: Sequence[int], reply: Reply) -> bool:
        kind = _END_KINDS.get(reply.status, "died")
        if kind == "died" and -reply.code in (signal.SIGPROF, signal.SIGALRM):
            kind = "timeout"
        self.ends.append(kind)
        stack = trim_stack(reply.stack)
        if reply.position < 0 or reply.position >= len(asked):
            # Nothing had begun: importing or collecting hung or crashed.
            for position in asked:
                self._fail(position, "E", *_END_TEXT[kind], stack, phase="collect")
            self.remaining = ()
            return False
        culprit = asked[reply.position]
        if kind == "timeout" and reply.grown > GROWN_BYTES and self.limits.floor < PATIENT.floor:
            self.ends.pop()
            self.limits = PATIENT
            self.remaining = tuple(asked[reply.position :])
            return True
        mark = "T" if kind == "timeout" else "F"
        if self.outcomes.get(culprit, " ") not in "FE":
            self._fail(culprit, mark, *_END_TEXT[kind], stack)
        self.remaining = tuple(asked[reply.position + 1 :])
        if not self.remaining or self.options.get("fail_fast"):
            return False
        if len(self.ends) >= MAX_ENDS:
            self.reason = f"{kind}-in-{MAX_ENDS}-tests"
            return False
        return True

    def _fail(
        self,
        position: int,
        mark: str,
        kind: str,
        message: str,
        trace: str = "",
        phase: str = "call",
    ) -> None:
        self.outcomes[position] = mark
        self.details.setdefault(
            position,
            {"type": kind, "message": message, "traceback": trace, "phase": phase, "assertion": ""},
        )


_END_KINDS = {
    "wall": "timeout",
    "test-wall": "timeout",
    "oom": "oom",
    "memory": "oom",
    "output": "output",
    "died": "died",
}
_END_TEXT = {
    "timeout": ("Timeout", "the test ran out of time"),
    "oom": ("OutOfMemory", "the test ran out of memory"),
    "output": ("OutputFlood", "the test printed too much"),
    "died": ("ProcessDied", "the test process ended without reporting"),
}


def _failure(test_id: str, columns: Mapping[str, str]) -> TestFailure:
    return TestFailure(
        test_id=test_id,
        phase=columns.get("phase", "call"),
        type=columns.get("type", "Failed"),
        message=clean(columns.get("message", "")),
        assertion=clean(columns.get("assertion", "")),
        traceback=clean(columns.get("traceback", "")),
    )
