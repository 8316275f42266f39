"""Reads the text of `python -m unittest -v`, which unittest writes to standard error.

Ids are what unittest takes on its command line: `package.module.Class.test`. Its subtests are no
tests: they are named only when they fail, so they count as their test's failure. A test that was
expected to fail proves nothing either way and counts as skipped; one that succeeds unexpectedly has
failed. Modules that cannot be imported, and classes or modules whose set-up fails, are `broken`.

A test's result stands at the end of its line, after whatever the test printed without a newline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from flywheel.critic.reports.excerpt import decode, plain
from flywheel.critic.reports.python import Raised, read_traceback
from flywheel.critic.reports.report import Gathering

_NAMED = re.compile(r"^(?P<name>[^\s()]+) \((?P<where>[^\s()]+)\)(?P<rest>.*)$")
_RESULT = re.compile(
    r"(?P<said>ok|FAIL|ERROR|expected failure|unexpected success|skipped ['\"].*['\"]|skipped '')$"
)
_SECTION = re.compile(r"^(?P<kind>ERROR|FAIL|UNEXPECTED SUCCESS): (?P<title>.*)$")
_RAN = re.compile(r"^Ran \d+ tests? in ")
_DIED = re.compile(r"^(?:Fatal Python error: .*|Segmentation fault.*)$")
_BAR, _RULE = "=" * 70, "-" * 70
_LIMITS = ("setUpClass", "tearDownClass", "setUpModule", "tearDownModule")


@dataclass(slots=True)
class _Test:
    said: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what unittest said; False when nothing of it is unittest's."""
    lines = plain(decode(output), gathering.root).splitlines()
    # A bar alone may be a banner that a test prints.
    begin = next(
        (
            n
            for n, (line, below) in enumerate(pairwise(lines))
            if line == _BAR and _SECTION.match(below)
        ),
        len(lines),
    )
    ran = next((n for n, line in enumerate(lines) if _RAN.match(line)), -1)
    if 0 <= ran < begin:
        begin = ran
    tests: dict[str, _Test] = {}
    last = _results(lines[:begin], tests)
    titles = _sections(lines[begin:], tests, gathering)
    if not tests and not titles and ran < 0:
        return _no_start(lines, gathering)
    finished = ran >= 0 or begin < len(lines)
    for test_id, test in tests.items():
        _add(test_id, test, finished, gathering)
    died = next((line for line in lines if _DIED.match(line)), "")
    if died and ran < 0:
        text = "\n".join(lines[lines.index(died) :])
        gathering.broke("ProcessDied", died, text)
    if last and not finished:
        gathering.begun.append(last)
    gathering.incomplete = ran < 0
    return True


def _id(name: str, where: str) -> str:
    # Since 3.11 the name is part of what stands in parentheses.
    return where if where.endswith(f".{name}") else f"{where}.{name}"


def _results(lines: list[str], tests: dict[str, _Test]) -> str:
    """Read the lines of results; the id of the test that is still running at their end."""
    current = ""
    for line in lines:
        named = _NAMED.match(line)
        if named and named["name"] not in _LIMITS and "_FailedTest" not in named["where"]:
            rest = named["rest"]
            if rest and not rest.startswith(" ... "):
                continue
            current = _id(named["name"], named["where"])
            while current in tests and tests[current].said:
                current += " again"
            tests.setdefault(current, _Test())
            line = rest.removeprefix(" ... ")
        elif named:
            continue
        if not current:
            continue
        said = _RESULT.search(line)
        if said and not line.startswith("  "):
            tests[current].said = said["said"]
            current = ""
    return current


def _sections(lines: list[str], tests: dict[str, _Test], gathering: Gathering) -> int:
    """Read the failures' sections; how many there are."""
    count = 0
    place = 0
    while place < len(lines):
        match = _SECTION.match(lines[place])
        place += 1
        if match is None:
            continue
        count += 1
        if match["kind"] == "UNEXPECTED SUCCESS":
            continue
        while place < len(lines) and lines[place] != _RULE:
            place += 1
        place += 1
        text: list[str] = []
        while place < len(lines) and lines[place] not in (_BAR, _RULE):
            text.append(lines[place])
            place += 1
        _section(match["kind"], match["title"], "\n".join(text).strip("\n"), tests, gathering)
    return count


def _section(
    kind: str, title: str, text: str, tests: dict[str, _Test], gathering: Gathering
) -> None:
    named = _NAMED.match(title)
    if named is None:
        return
    name, where = named["name"], named["where"]
    if "_FailedTest" in where or name in _LIMITS:
        error = read_traceback(text)
        place = where if name in _LIMITS else name
        gathering.broke(error.kind, f"{place}: {error.message}", f"{place}:\n{error.text}")
        return
    tests.setdefault(_id(name, where), _Test()).sections.append((kind, text))


def _add(test_id: str, test: _Test, finished: bool, gathering: Gathering) -> None:
    test_id = test_id.replace(" again", "")
    if test.sections or test.said in ("FAIL", "ERROR"):
        errors = [(kind, read_traceback(text)) for kind, text in test.sections]
        kind, error = errors[0] if errors else (test.said, Raised("", "", "", ()))
        # unittest calls every exception but an assertion's an error, wherever it was raised.
        name = test_id.rpartition(".")[2]
        inside = kind == "FAIL" or name in error.functions or not errors
        failure = gathering.failure(
            type=error.kind,
            message=error.message,
            assertion=error.message if error.kind.endswith("AssertionError") else "",
            traceback="\n\n".join(entry.text for _, entry in errors),
            phase="call" if inside else "setup",
        )
        gathering.add(test_id, "failed" if inside else "error", failure=failure)
    elif test.said == "unexpected success":
        failure = gathering.failure(
            type="UnexpectedSuccess", message="the test was expected to fail and did not"
        )
        gathering.add(test_id, "failed", failure=failure)
    elif test.said.startswith(("skipped", "expected failure")):
        gathering.add(test_id, "skipped")
    elif test.said == "ok" or finished:
        # No result that can be read and no failure: it printed over its own line.
        gathering.add(test_id, "passed")


def _no_start(lines: list[str], gathering: Gathering) -> bool:
    """Note an exception that kept unittest from loading any test; True when there is one."""
    error = read_traceback("\n".join(lines))
    if not error.kind:
        return False
    gathering.broke(error.kind, error.message, error.text)
    return True
