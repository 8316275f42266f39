"""Reads flywheel's own JSON lines, written by formatters that live beside this module.

Each line is an object. A test is `{"id", "path", "outcome", "seconds", "failure"}`, its failure
`{"type", "message", "assertion", "traceback", "phase"}` or null; every text may be missing. A line
`{"broken": {"type", "message", "traceback"}}` says what kept tests from running. The first line is
`{"start": true}`, `{"begin": ID}` says that a test has begun, and the last line, `{"end": true}`,
that the suite was finished: without it the report is incomplete.

`exunit.ex` writes it for ExUnit. Ids are `test/x_test.exs::description / test name`; in the
output of `mix` before or instead of a report, an error of the compiler is `broken`: hand over
what mix printed, followed by the report file, as one.

`node.mjs` writes it for Node's own runner, whose other reporters do not say which file a test is
in. Ids are `test/x.test.js::suite > test`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, plain
from flywheel.critic.reports.fields import number, word
from flywheel.critic.reports.report import OUTCOMES, Gathering

_MIX_ERROR = re.compile(r"^(?:== Compilation error in file |\*\* \([\w.]+\) |\s*error: )")
_KIND = re.compile(r"^\*\* \((?P<kind>[\w.]+)\) (?P<text>.*)$")


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what the lines say; False when none of them is ours and none is an error of mix."""
    text = decode(output)
    ended = False
    found = False
    other: list[str] = []
    # A name may hold what Unicode takes for the end of a line.
    for line in text.split("\n"):
        entry = _entry(line)
        if entry is None:
            other.append(line)
            continue
        found = True
        ended = ended or entry.get("end") is True
        broken = entry.get("broken")
        if isinstance(broken, dict):
            gathering.broke(
                word(broken, "type") or "Broken",
                word(broken, "message"),
                word(broken, "traceback"),
            )
        begun = entry.get("begin")
        if isinstance(begun, str):
            gathering.begun.append(begun)
        if "id" in entry:
            if entry["id"] in gathering.begun:
                gathering.begun.remove(entry["id"])
            _add(entry, gathering)
    if ended:
        return True
    # Of what is open, a suite is no test: it stands above another.
    known = [*gathering.begun, *(result.test_id for result in gathering.results)]
    gathering.begun = [
        test_id
        for test_id in gathering.begun
        if not any(other.startswith(f"{test_id} > ") for other in known)
    ]
    broke = _compiler(other, gathering)
    gathering.incomplete = not broke
    return found or broke


def _entry(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    ours = not entry.keys().isdisjoint(("start", "begin", "end", "broken"))
    if isinstance(entry.get("id"), str) and entry.get("outcome") in OUTCOMES:
        ours = True
    elif "id" in entry:
        return None
    return entry if ours else None


def _add(entry: dict[str, Any], gathering: Gathering) -> None:
    columns = entry.get("failure")
    failure: TestFailure | None = None
    if isinstance(columns, dict):
        failure = gathering.failure(
            type=word(columns, "type"),
            message=word(columns, "message"),
            assertion=word(columns, "assertion"),
            traceback=word(columns, "traceback"),
            phase=word(columns, "phase") or "call",
        )
    gathering.add(
        entry["id"],
        entry["outcome"],
        path=word(entry, "path"),
        seconds=number(entry.get("seconds")),
        failure=failure,
    )


def _compiler(lines: list[str], gathering: Gathering) -> bool:
    """Note what mix said of code that does not compile; True when it said so."""
    lines = [plain(line, gathering.root) for line in lines]
    first = next((n for n, line in enumerate(lines) if _MIX_ERROR.match(line)), None)
    if first is None:
        return False
    said = lines[first:]
    kind, message = "CompileError", ""
    for line in said:
        match = _KIND.match(line)
        if match:
            kind, message = match["kind"], match["text"]
            break
    gathering.broke(kind, message or said[0].strip(), "\n".join(said))
    return True
