"""Judging by a command: what a report, a hang or a broken build comes to."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from flywheel.core.errors import CriticError
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Change, Judged, Span
from flywheel.critic.command import CommandCritic, Tester, changed_files
from flywheel.critic.critic import Suite
from flywheel.critic.profile import CommandProfile
from flywheel.critic.select import LineIndex

SOURCE = b"low = 3\nhigh = 9\n"
PROFILE = CommandProfile.model_validate(
    {
        "name": "toy",
        "language": "toy",
        "report": "tap",
        "detect": {"files": ["*.toy"]},
        "sources": {"include": ["*.toy"], "exclude": [], "protected": []},
        "tools": {"programs": ["sh"], "version": [["sh"]], "hint": "sh"},
        "build": {"definition": []},
        "test": {"command": ["sh", "check.sh"]},
    }
)
SUITE = Suite(
    ids=("low", "high", "both"),
    paths=("", "", ""),
    seconds=(0.0, 0.0, 0.0),
    whole_seconds=0.1,
    lines=LineIndex({}),
)
Answer = Callable[[dict[str, bytes]], dict[str, Any] | str | tuple[str, int]]
"""Files -> what is printed, with the exit status where it is not 0, or how the run was ended."""


def tap(**outcomes: bool) -> str:
    """A report of tests, which pass or not."""
    lines = [f"1..{len(outcomes)}"]
    for number, (name, passes) in enumerate(outcomes.items(), 1):
        lines.append(f"{'ok' if passes else 'not ok'} {number} - {name}")
    return "\n".join(["TAP version 13", *lines, ""])


class Server:
    """A server of the cold lane, as far as the critic sees it: it answers by a function."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.dies = False
        """Whether it has died when the next candidate comes."""
        self.ours, self.theirs = socket.socketpair()
        self.waiting: list[tuple[dict[str, Any], bytes]] = []

    def submit(self, request: dict[str, Any]) -> int:
        if self.dies:
            raise CriticError("the server died")
        files = {path: base64.b64decode(text) for path, text in request["files"].items()}
        said = self.answer(files)
        header: dict[str, Any] = {"status": "ran", "seconds": 0.1}
        body = b""
        if isinstance(said, tuple):
            said, header["code"] = said
        if isinstance(said, str):
            body = said.encode()
        else:
            header |= said
        self.waiting.append(({**header, "printed": len(body)}, body))
        self.theirs.send(b"x")
        return 1

    def frames(self) -> list[tuple[dict[str, Any], bytes]]:
        self.ours.recv(1)
        return [self.waiting.pop(0)]

    def fileno(self) -> int:
        return self.ours.fileno()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def _text(files: dict[str, bytes]) -> bytes:
    return files.get("a.toy", SOURCE)


def honest(files: dict[str, bytes]) -> str:
    """Tests that read the file, and a compiler that refuses what it cannot read."""
    text = _text(files)
    if b"flywheel plants" in text:
        return "Bail out! cannot read a.toy\n"
    low, high = b"low = 3" in text, b"high = 9" in text
    return tap(low=low, high=high, both=low or high)


@pytest.fixture
def critic() -> Iterator[Callable[..., CommandCritic]]:
    made: list[CommandCritic] = []

    def make(answer: Answer = honest) -> CommandCritic:
        tester = Tester(
            PROFILE,
            lambda: Server(answer),  # type: ignore[arg-type, return-value]  # what is asked of one
        )
        one = CommandCritic(SUITE, tester=tester, jobs=1, sources={"a.toy": SOURCE}, level="S3")
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def candidate(before: str, after: str) -> Candidate:
    """A change of the source."""
    start = SOURCE.index(before.encode())
    return Candidate(
        path="a.toy",
        symbol="low",
        span=Span(start, start + len(before)),
        before=before,
        after=after,
        line=1,
        end_line=1,
        source="mutated",
        operator="toy",
        good="",
        bad="",
        base_hash=bytes_hash(SOURCE),
    )


def judged(critic: CommandCritic, one: Candidate) -> Judged:
    """What becomes of one candidate."""
    critic.prove()
    critic.submit(one)
    found: list[Judged] = []
    while not found:
        found = critic.collect(timeout=1)
    return found[0]


def test_what_fails_twice_alike_beside_a_base_that_passes_is_valid(critic) -> None:
    one = judged(critic(), candidate("low = 3", "low = 4"))
    assert (one.verdict, one.trial.failing) == ("valid", ("low",))
    assert one.confirmation is not None
    assert one.confirmation.failing == ("low",)
    assert one.good is not None
    assert (one.good.outcome, one.good.passing) == ("passes", 3)
    assert one.trial.failures[0].test_id == "low"


def test_a_command_that_fails_where_no_test_does_says_nothing(critic) -> None:
    def strict(files: dict[str, bytes]) -> tuple[str, int]:
        return honest(files), 1 if b"\n\nhigh" in _text(files) else 0

    one = judged(critic(strict), candidate("\n", "\n\n"))
    assert (one.verdict, one.reason) == ("unknown", "exit-status")


def test_a_command_that_always_fails_says_no_more_by_that(critic) -> None:
    one = judged(critic(lambda files: (honest(files), 1)), candidate("\n", "\n\n"))
    assert (one.verdict, one.reason) == ("survived", "")


def test_several_changes_of_a_file_are_made_together(critic) -> None:
    one = candidate("low = 3", "low = 44")
    second = candidate("high = 9", "high = 8")
    change = Change(second.path, second.span, second.before, second.after, 2, 2, second.base_hash)
    both = replace(one, others=(change,))
    assert changed_files(both, {"a.toy": SOURCE}) == {"a.toy": b"low = 44\nhigh = 8\n"}
    assert judged(critic(), both).verdict == "breaks-everything"


def test_a_change_that_no_test_notices_survives(critic) -> None:
    assert judged(critic(), candidate("\nhigh", "\n\nhigh")).verdict == "survived"


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        ({"status": "wall"}, "unknown", "timeout"),
        ({"status": "memory"}, "unknown", "out-of-memory"),
        ({"status": "infrastructure"}, "unknown", "infrastructure"),
        ("no report at all", "unknown", "no-report"),
        (tap(low=False, high=True, both=True) + "1..9\n", "unknown", "incomplete-report"),
        # A test that is not reported has not passed.
        (tap(low=True, high=True), "valid", ""),
        (tap(low=False, high=False, both=False), "breaks-everything", ""),
    ],
)
def test_only_a_whole_report_is_a_verdict(critic, answer, verdict, reason) -> None:
    def says(files: dict[str, bytes]) -> Any:
        return answer if b"low = 4" in _text(files) else honest(files)

    one = judged(critic(says), candidate("low = 3", "low = 4"))
    assert (one.verdict, one.reason) == (verdict, reason)


def test_runs_that_never_agree_are_no_verdict(critic) -> None:
    said = iter(
        [
            tap(low=False, high=True, both=True),
            tap(low=True, high=False, both=True),
            tap(low=True, high=True, both=False),
            tap(low=False, high=False, both=True),
        ]
    )

    def says(files: dict[str, bytes]) -> str:
        return next(said) if b"low = 4" in _text(files) else honest(files)

    one = judged(critic(says), candidate("low = 3", "low = 4"))
    assert (one.verdict, one.reason) == ("unknown", "runs-disagree")


def test_a_failure_that_does_not_come_again_is_none(critic) -> None:
    said = iter([tap(low=False, high=True, both=True)])

    def says(files: dict[str, bytes]) -> str:
        if b"low = 4" in _text(files):
            return next(said, tap(low=True, high=True, both=True))
        return honest(files)

    one = judged(critic(says), candidate("low = 3", "low = 4"))
    assert (one.verdict, one.reason) == ("unknown", "not-confirmed")


def test_a_critic_that_sees_no_nonsense_is_refused(critic) -> None:
    blind = critic(lambda files: tap(low=True, high=True, both=True))
    with pytest.raises(CriticError, match="went unnoticed"):
        blind.prove()


@pytest.mark.parametrize("status", ["wall", "memory", "died", "infrastructure"])
def test_a_run_that_was_ended_has_noticed_no_nonsense(critic, status) -> None:
    def says(files: dict[str, bytes]) -> Any:
        return {"status": status} if b"flywheel plants" in _text(files) else honest(files)

    with pytest.raises(CriticError, match="went unnoticed"):
        critic(says).prove()


def test_nonsense_that_leaves_no_report_is_noticed(critic) -> None:
    critic(lambda files: "" if b"flywheel plants" in _text(files) else honest(files)).prove()


def test_a_server_that_died_before_a_candidate_came_is_replaced(critic) -> None:
    one = critic()
    one.prove()
    one._servers[0].dies = True
    one.submit(candidate("low = 3", "low = 4"))
    found: list[Judged] = []
    while not found:
        found = one.collect(timeout=1)
    assert found[0].verdict == "valid"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "does-not-build"),
        ("write /tmp/x.o: no space left on device\n", "infrastructure"),
        ("compile: signal: killed\n", "infrastructure"),
    ],
)
def test_what_is_not_built_for_want_of_room_says_nothing_of_the_code(said, reason) -> None:
    profile = PROFILE.model_copy(update={"report": "go-json"})
    tester = Tester(profile, lambda: pytest.fail("no server is needed"))
    printed = f"# toy\n./a.go:1:1: syntax error\n{said}FAIL\ttoy [build failed]\n".encode()
    tested = tester.tested({"status": "ran", "printed": len(printed)}, printed)
    assert tested.does_not_build(("toy::low",)) == (reason == "does-not-build")
    assert tested.reason == (reason if said else "")


def test_what_is_printed_does_not_stand_in_for_a_report_file() -> None:
    test = PROFILE.test.model_copy(update={"file": "report.tap"})
    tester = Tester(PROFILE.model_copy(update={"test": test}), lambda: pytest.fail("no server"))
    printed = tap(low=True).encode()
    header = {"status": "ran", "printed": len(printed)}
    assert tester.tested(header, printed).reason == "no-report"
    assert list(tester.tested(header, printed + tap(high=True).encode()).results) == ["high"]


def test_a_clean_suite_that_fails_is_refused(critic) -> None:
    failing = critic(lambda files: tap(low=False, high=True, both=True))
    with pytest.raises(CriticError, match="does not pass any more"):
        failing.prove()
