"""Reads the text of `python -m doctest -v FILE`.

Ids are doctest's own: the names of the objects whose documentation holds the examples,
`module.Class.method`. All examples of an object are one test. That an object's examples passed is
said in the summary at the end alone, so a run that was cut short tells of failures only.
"""

from __future__ import annotations

import re
from textwrap import dedent

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, plain
from flywheel.critic.reports.python import read_traceback
from flywheel.critic.reports.report import Gathering

_STARS = "*" * 70
_PLACE = re.compile(r'^File "(?P<file>[^"]+)", line (?P<line>\d+|\?), in (?P<name>.+)$')
_PASSED = re.compile(r"^\d+ items? passed all tests:$")
_COUNTED = re.compile(r"^ +\d+ tests? in (?P<name>.+)$")
_END = re.compile(r"^\d+ tests? in \d+ items?\.$")
_ENDS_FAILURE = re.compile(
    r"^(?:Trying:|\d+ items? (?:had|passed)|\d+ tests? in \d+ items?\.|\*\*\*Test Failed\*\*\*)"
)


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what doctest said; False when nothing of it is doctest's."""
    lines = plain(decode(output), gathering.root).splitlines()
    failures: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    passed: list[str] = []
    known = ended = passing = False
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        known = known or line == "Trying:"
        ended = ended or bool(_END.match(line))
        counted = _COUNTED.match(line) if passing else None
        passing = bool(_PASSED.match(line)) or counted is not None
        if counted:
            passed.append(counted["name"])
        at = _PLACE.match(lines[place]) if line == _STARS and place < len(lines) else None
        if at is None:
            continue
        end = place + 1
        while end < len(lines) and lines[end] != _STARS and not _ENDS_FAILURE.match(lines[end]):
            end += 1
        text = "\n".join(lines[place:end])
        failures.setdefault(at["name"], []).append(text)
        paths.setdefault(at["name"], at["file"])
        place = end
    if not (known or ended or failures):
        error = read_traceback("\n".join(lines))
        if not error.kind:
            return False
        gathering.broke(error.kind, error.message, error.text)
        return True
    for name, texts in failures.items():
        failure = _failure(texts, gathering)
        gathering.add(name, "failed", path=paths[name], failure=failure)
    for name in passed:
        gathering.add(name, "passed")
    gathering.incomplete = not ended
    return True


def _failure(texts: list[str], gathering: Gathering) -> TestFailure:
    first = texts[0]
    trace = "\n\n".join(_folded(text) for text in texts)
    head, _, raised = first.partition("\nException raised:\n")
    example = dedent(head.partition("Failed example:\n")[2].partition("\nExpected")[0]).strip()
    if raised:
        error = read_traceback(dedent(raised))
        return gathering.failure(type=error.kind, message=error.message, traceback=trace)
    wanted = first.partition("\nExpected:\n")[2].partition("\nGot")
    nothing = "nothing"
    expected = dedent(wanted[0]).strip() or nothing
    got = dedent(wanted[2].removeprefix(":\n").removeprefix(" nothing")).strip() or nothing
    if "\nExpected nothing\n" in first:
        expected = nothing
        got = dedent(first.partition("\nGot:\n")[2]).strip() or nothing
    return gathering.failure(
        type="DocTestFailure",
        message=f"{example.splitlines()[0] if example else 'the example'} gave another output",
        assertion=f"{example}\nexpected: {expected}\ngot: {got}",
        traceback=trace,
    )


def _folded(text: str) -> str:
    head, mark, raised = text.partition("\nException raised:\n")
    return head + mark + read_traceback(dedent(raised)).text if mark else text
