"""Reads TAP 13 and 14: subtests by indentation, diagnostics in YAML or in comments.

No library is used: the one that is maintained (tap.py) knows no subtests.

Ids are the descriptions, of nested tests joined as `suite > test`; a test without a description
is called by its number. `prove --verbose` says which file it runs: the ids then begin with
`t/file.t::`. tape says the name of a test in a comment above its assertions, which are its tests:
there the comment takes the place of the suite. A test with subtests is reported only when it
failed and none of them did.

Node's own reporter says the file of a failing test only, so equal names in two files are told
apart by their order. Prefer `node.mjs`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, dedent_block, first_line, plain
from flywheel.critic.reports.fields import number
from flywheel.critic.reports.javascript import OUTSIDE, SCRIPT, fold_stack, sides
from flywheel.critic.reports.report import Gathering

_TEST = re.compile(
    r"^(?P<indent> *)(?P<not>not )?ok\b(?: +(?P<number>\d{1,9})\b)?(?P<dash> +-(?= |$))?"
    r"(?P<text>.*)$"
)
_PLAN = re.compile(r"^(?P<indent> *)1\.\.(?P<count>\d{1,9})(?: *# *(?P<why>.*))?$")
_DIRECTIVE = re.compile(r"(?<!\\)#\s*(?P<what>skip|todo)\S*(?:\s+(?P<why>.*))?$", re.IGNORECASE)
_PROVE = re.compile(r"^(?=\S*[./])(?P<file>\S+) \.{2,} ?(?:ok|skipped\b.*)?$")
_BAIL = re.compile(r"^(?:Bail out!|Bailout called\.\s+Further testing stopped:)\s*(?P<why>.*)$")
_DUBIOUS = re.compile(r"^Dubious, test returned (?P<code>\d+)")
_VERSION = re.compile(r"^TAP version 1[34]\s*$")
_COMMENT = re.compile(r"^(?P<indent> *)#(?: (?P<text>.*))?$")
_GOT = re.compile(r"^\s*(?P<key>got|expected): (?P<value>.*)$", re.MULTILINE)
_SUMMARY = ("Test Summary Report", "Files=", "All tests successful")
_DEEPEST = 40


@dataclass(slots=True)
class _Test:
    indent: int
    passed: bool
    name: str
    dashed: bool
    directive: str = ""
    group: str = ""
    diagnostics: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    below: list[_Test] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    """The tests of one TAP stream; `prove` runs many."""

    name: str = ""
    tests: list[_Test] = field(default_factory=list)
    open: list[_Test] = field(default_factory=list)
    planned: int | None = None
    heading: bool = False
    group: str = ""
    remarks: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    code: str = ""

    @property
    def is_whole(self) -> bool:
        """True when all planned tests were reported."""
        return self.planned is not None and len(self.tests) >= self.planned


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what the TAP stream says; False when there is no test and no plan in it."""
    lines = plain(decode(output), gathering.root).splitlines()
    files = [_File()]
    under_prove = known = summed_up = False
    bailed = ""
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        file = files[-1]
        if (header := _PROVE.match(line)) and (under_prove or not file.tests):
            # Before any test: a test may print a line that looks alike.
            under_prove = known = True
            files.append(_File(header["file"]))
        elif under_prove and line.startswith(_SUMMARY):
            summed_up = True
            break
        elif under_prove and line == "ok" and file.is_whole:
            pass  # of the file as a whole: prove says so below its last test
        elif bail := _BAIL.match(line):
            bailed = bail["why"] or "the suite was stopped"
            known = True
        elif (test := _TEST.match(line)) and len(test["indent"]) <= 4 * _DEEPEST:
            known = True
            place = _note(file, test, lines, place)
        elif plan := _PLAN.match(line):
            known = True
            if not plan["indent"]:
                file.planned = int(plan["count"])
        elif dubious := _DUBIOUS.match(line):
            file.code = dubious["code"]
        elif _VERSION.match(line):
            known = True
        else:
            _remark(file, line)
    if not known:
        return False
    for file in files:
        _place(file, gathering)
    if bailed:
        gathering.broke("BailOut", bailed)
    done = summed_up if under_prove else files[-1].is_whole
    gathering.incomplete = not (bailed or done)
    return True


def _note(file: _File, match: re.Match[str], lines: list[str], place: int) -> int:
    """Note a test line with the diagnostics below it; where to read on."""
    text = match["text"].strip()
    directive = _DIRECTIVE.search(text)
    name = text[: directive.start()].strip() if directive else text
    test = _Test(
        indent=len(match["indent"]),
        passed=not match["not"],
        name=re.sub(r"\\([\\#])", r"\1", name) or match["number"] or "?",
        dashed=bool(match["dash"]),
        directive=directive["what"].lower() if directive else "",
        group=file.group,
        before=file.remarks,
    )
    file.remarks = []
    file.heading = False
    while file.open and file.open[-1].indent > test.indent:
        test.below.insert(0, file.open.pop())
    if not test.indent:
        file.tests.append(test)
        file.open.clear()
    file.open.append(test)
    if place < len(lines) and _opens_yaml(lines[place], test.indent):
        end = place + 1
        margin = len(lines[place]) - len(lines[place].lstrip())
        while end < len(lines) and lines[end].strip() != "...":
            # A new test line that is no deeper ends a block whose end was lost.
            if lines[end].strip() and len(lines[end]) - len(lines[end].lstrip()) < margin:
                break
            end += 1
        test.diagnostics = _yaml([line[margin:] for line in lines[place + 1 : end]])
        closed = end < len(lines) and lines[end].strip() == "..."
        return end + 1 if closed else end
    return place


def _opens_yaml(line: str, indent: int) -> bool:
    return line.strip() == "---" and 1 <= len(line) - len(line.lstrip()) <= indent + 4


def _yaml(lines: list[str]) -> dict[str, str]:
    """Top-level keys of a YAML block with their values as text; what is nested stays as written."""
    lines = dedent_block(lines)
    found: dict[str, str] = {}
    place = 0
    while place < len(lines):
        match = re.match(r"^(?P<key>[A-Za-z_]\w*):(?: +(?P<value>.*))?$", lines[place])
        place += 1
        if match is None:
            continue
        nested: list[str] = []
        while place < len(lines) and (not lines[place].strip() or lines[place].startswith(" ")):
            nested.append(lines[place])
            place += 1
        value = (match["value"] or "").strip()
        if re.fullmatch(r"[|>][+-]?\d?", value) or (not value and nested):
            value = "\n".join(dedent_block(nested)).strip("\n")
        elif len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1].replace("''", "'") if value[0] == "'" else value[1:-1]
        found[match["key"]] = "" if value == "~" else value
    return found


def _remark(file: _File, line: str) -> None:
    """A comment may belong to the failing test above it, or name tape's next test."""
    comment = _COMMENT.match(line)
    if comment is None:
        if line.strip():
            file.said.append(line)
        return
    text = comment["text"] or ""
    last = file.open[-1] if file.open else None
    failing = last is not None and not last.passed and not last.diagnostics
    if text.startswith("Subtest:"):
        file.heading = True
    elif (
        last is not None
        and failing
        and not file.heading
        and (last.comments or text.lstrip().startswith("Failed "))
    ):
        if not text.startswith("Looks like you"):
            last.comments.append(text)
    elif text.startswith(("Looks like your test exited", "Looks like you planned")):
        file.said.append(line)
    elif text and not comment["indent"]:
        file.group = text
        file.remarks.append(text)


def _place(file: _File, gathering: Gathering) -> None:
    prefix = f"{file.name}::" if file.name else ""
    for test in file.tests:
        # Of tape alone the comment is the test's name: its lines have no dash, Node's all have one.
        names = (test.group,) if test.group and not test.dashed and not file.name else ()
        _walk(test, names, prefix, None, gathering)
    missing = file.planned is not None and len(file.tests) < file.planned
    if file.code and (missing or not file.tests):
        said = [line for line in file.said if line.strip()]
        message = said[0] if said else f"{file.name} ended with exit status {file.code}"
        kind = "ProcessDied" if file.tests else "CompileError"
        told = message if file.name in message else f"{file.name}: {message}"
        gathering.broke(kind, told, "\n".join([f"{file.name}:", *said]))


def _walk(
    test: _Test,
    above: tuple[str, ...],
    prefix: str,
    hook: TestFailure | None,
    gathering: Gathering,
) -> bool:
    """Add a test or what is below it; True when any of it failed."""
    names = (*above, test.name)
    failure = None if test.passed else _failure(test, gathering)
    if test.below:
        mine = failure if test.diagnostics.get("failureType") == "hookFailed" else hook
        failed = [_walk(child, names, prefix, mine, gathering) for child in test.below]
        if any(failed) or test.passed or test.directive:
            return any(failed)
    name = " > ".join(names)
    whole_file = not above and not test.below and bool(SCRIPT.search(test.name))
    path = prefix.removesuffix("::") or _file_of(test) or (test.name if whole_file else "")
    seconds = number(test.diagnostics.get("duration_ms")) / 1000
    if test.directive or failure is None:
        # A failure that is still to do is none, and a success of it proves nothing.
        outcome = "skipped" if test.directive else "passed"
        gathering.add(prefix + name, outcome, path=path, seconds=seconds)
        return False
    if hook is not None and test.diagnostics.get("failureType") == "cancelledByParent":
        failure = hook
    if whole_file:
        failure = replace(failure, phase="collect")
        status = test.diagnostics.get("signal") or test.diagnostics.get("exitCode") or ""
        why = f" (it ended with {status})" if status else ""
        # What the file's process wrote stands above, as comments.
        wrote = fold_stack("\n".join(test.before))
        message = f"{test.name}: {failure.message}{why}"
        gathering.broke("FileError", message, f"{test.name}:\n{wrote}")
    outcome = "failed" if failure.phase == "call" else "error"
    gathering.add(prefix + name, outcome, path=path, seconds=seconds, failure=failure)
    return True


def _file_of(test: _Test) -> str:
    """The file that Node names as the place of a failing test."""
    place = re.match(r"^(?P<path>[^:()]+):\d+:\d+$", test.diagnostics.get("location", ""))
    return place["path"] if place else ""


def _failure(test: _Test, gathering: Gathering) -> TestFailure:
    said = test.diagnostics
    if not said:
        text = "\n".join(dedent_block(test.comments))
        got = {match["key"]: match["value"] for match in _GOT.finditer(text)}
        assertion = "\n".join(f"{key}: {value}" for key, value in got.items())
        structure = text.partition("Structures begin differing at:")[2]
        if structure:
            assertion = "\n".join(line.strip() for line in structure.strip().splitlines())
        return gathering.failure(
            type="Failed", message=first_line(text), assertion=assertion, traceback=text
        )
    error = said.get("error") or said.get("message") or said.get("reason") or ""
    kind = said.get("name") or said.get("failureType") or "Failed"
    if kind == "testTimeoutFailure":
        kind = "Timeout"
    elif kind in ("testCodeFailure", *OUTSIDE):
        kind = "Error"
    expected = said.get("expected", said.get("wanted"))
    actual = said.get("actual", said.get("found"))
    assertion = sides(error)
    if not assertion and expected is not None and actual is not None:
        assertion = _pair("expected", expected) + "\n" + _pair("actual", actual)
    stack = fold_stack(said.get("stack", ""), bare=True)
    place = said.get("at", "") if not stack else ""
    text = "\n".join(part for part in (error, stack, place) if part)
    if "operator" in said and kind == "Failed":
        kind = "AssertionError"
    return gathering.failure(
        type=kind,
        message=error or test.name,
        assertion=assertion if "Assertion" in kind else "",
        traceback=text or "\n".join(f"{key}: {value}" for key, value in said.items()),
        phase="setup" if said.get("failureType") in OUTSIDE else "call",
    )


def _pair(key: str, value: str) -> str:
    return f"{key}:\n{value}" if "\n" in value else f"{key}: {value}"
