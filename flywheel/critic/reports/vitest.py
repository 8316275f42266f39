"""Reads the JSON of `vitest run --reporter=json` and of `jest --json`, which share a shape.

Ids are `path/to/file.test.js::suite > name`. A file that could not be loaded has no tests in the
report; it is `broken`. Both tools write the report at their end, so a run that was killed leaves
nothing or a cut file: of a cut file, the tests of every file that is told in full are read.

A failing hook is no test. jest says so in each test of its suite; vitest skips them, says nothing
of the hook, and calls the file failed: `broken` then says that one of its hooks must have failed.
vitest does not say that a test ran out of time either: its message is `STACK_TRACE_ERROR`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, plain
from flywheel.critic.reports.fields import number, word
from flywheel.critic.reports.javascript import fold_stack, is_assertion, sides, split_error
from flywheel.critic.reports.report import Gathering

_OUTCOMES = {
    "passed": "passed",
    "failed": "failed",
    "skipped": "skipped",
    "pending": "skipped",
    "todo": "skipped",
    "disabled": "skipped",
}
_TIME_OUT = re.compile(r"^thrown: \"Exceeded timeout of")
_DETAILS = re.compile(r"^\s*Details:\s*$", re.MULTILINE)


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what the report says; False when there is none in the output."""
    text = decode(output)
    # What was printed to standard output may stand before the report.
    start = text.find('{"num')
    if start < 0:
        start = text.find("{")
    if start < 0:
        return False
    files: Iterator[Any]
    try:
        report, _ = json.JSONDecoder().raw_decode(text[start:])
    except (ValueError, RecursionError):
        if '"testResults"' not in text:
            return False
        gathering.incomplete = True
        files = _whole_files(text[start:])
    else:
        if not isinstance(report, dict) or not isinstance(report.get("testResults"), list):
            return False
        gathering.incomplete = report.get("wasInterrupted") is True
        files = iter(report["testResults"])
    # Files run at the same time and are told as they end: by name they come the same every time.
    told = [file for file in files if isinstance(file, dict)]
    for file in sorted(told, key=lambda file: word(file, "name")):
        _file(file, gathering)
    return True


def _whole_files(text: str) -> Iterator[Any]:
    """The entries of `testResults` that stand in a cut report in full."""
    decoder = json.JSONDecoder()
    place = text.index('"testResults"')
    place = text.find("[", place) + 1
    while place > 0:
        match = re.compile(r"[\s,]*(?=\{)").match(text, place)
        if match is None:
            return
        try:
            entry, place = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return
        yield entry


def _list(entry: dict[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _file(file: dict[str, Any], gathering: Gathering) -> None:
    path = plain(word(file, "name"), gathering.root)
    failing = 0
    for test in _list(file, "assertionResults"):
        if not isinstance(test, dict):
            continue
        outcome = _OUTCOMES.get(word(test, "status"))
        if outcome is None:
            continue
        failing += outcome == "failed"
        suites = [name for name in _list(test, "ancestorTitles") if isinstance(name, str) and name]
        name = " > ".join([*suites, word(test, "title")])
        gathering.add(
            f"{path}::{name}",
            outcome,
            path=path,
            seconds=number(test.get("duration")) / 1000,
            failure=_failure(test, gathering) if outcome == "failed" else None,
        )
    if word(file, "status") == "failed" and not failing:
        _broken(path, file, gathering)


def _failure(test: dict[str, Any], gathering: Gathering) -> TestFailure:
    said = [entry for entry in _list(test, "failureMessages") if isinstance(entry, str)]
    texts = [plain(entry, gathering.root) for entry in said]
    first = texts[0] if texts else ""
    kind, message = split_error(first)
    details = [entry for entry in _list(test, "failureDetails") if isinstance(entry, dict)]
    matcher = details[0].get("matcherResult") if details else None
    assertion = sides(message)
    if isinstance(matcher, dict) or is_assertion(kind, message):
        kind = "AssertionError"
        assertion = assertion or message
    elif _TIME_OUT.match(message):
        kind, message = "Timeout", message.removeprefix('thrown: "')
    elif message.strip() == "STACK_TRACE_ERROR":
        kind, message = "Timeout", "the test or its hook ran out of time"
    return gathering.failure(
        type=kind,
        message=message,
        assertion=assertion,
        traceback="\n\n".join(fold_stack(text) for text in texts),
    )


def _broken(path: str, file: dict[str, Any], gathering: Gathering) -> None:
    message = plain(word(file, "message"), gathering.root)
    if not message.strip():
        if not _list(file, "assertionResults"):
            return
        message = "no test failed, and the file did: a hook of it must have failed"
        gathering.broke("HookError", f"{path}: {message}", f"{path}: {message}")
        return
    # jest explains at length before it says what it found.
    detail = _DETAILS.search(message)
    told = message[detail.end() :] if detail else message
    told = re.sub(r"^\s*● Test suite failed to run\s*", "", told).strip()
    lines = [line.removeprefix("    ") for line in told.splitlines()]
    kind, text = split_error("\n".join(lines))
    if kind == "Error" and text.startswith(("Parse failure", "Transform failed")):
        kind = "SyntaxError"
    text = text.partition("\n")[0]
    trace = fold_stack("\n".join(lines))
    gathering.broke(kind, text if path in text else f"{path}: {text}", f"{path}:\n{trace}")
