"""Reads `go test -json`, standard output and standard error together.

The output is JSON, an event a line, with plain text between: what the compiler and `go vet` say
(`# package`, then lines, and far below `FAIL package [build failed]`). Newer versions of Go put
that text into events of its own (`build-output`).

Ids are `directory::TestName/subtest`, the directory relative to the module (`.` for its root). A
test with subtests is a folder of tests and no test itself: it fails whenever one of them does.
So leaves are reported, and a parent only when it failed and none of its subtests did: then it
failed on its own account. (Whether a parent whose subtest failed has failed by itself as well
cannot be told from the output.)

A panic ends the tests of its package at once. The test in whose output it stands has failed;
those not begun are missing, and the report's `broken` says why. The file of a test is not said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, dedent_block, plain
from flywheel.critic.reports.fields import number, word
from flywheel.critic.reports.report import Gathering
from flywheel.critic.text import folded

_ENDS = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_ACTIONS = {"start", "run", "pause", "cont", "output", "bench", *_ENDS}
_FAIL = re.compile(r"^FAIL\t(?P<package>\S+) \[(?P<kind>build|setup) failed\]$")
_HEADING = re.compile(r"^# (?P<package>\S+)(?: \[(?P<tests>\S+)\])?$")
_MARK = re.compile(r"^\s*(?:=== (?:RUN|PAUSE|CONT|NAME|ATTR)\b|--- (?:PASS|FAIL|SKIP|BENCH): )")
_LOGGED = re.compile(r"^\s{4,}(?P<place>[^\s:]+\.go:\d+): ?(?P<text>.*)$")
_PANIC = re.compile(r"^(?P<kind>panic|fatal error): (?P<text>.*)$")
_TELLING = re.compile(
    r"\b(got|want|expect\w*|unexpected|error|fail\w*|mismatch|should|must)\b|[!=]="
)
_FRAME_FILE = re.compile(r"^\t(?P<file>\S+\.(?:go|s)):(?P<line>\d+)(?: \+0x[0-9a-f]+)?$")
_TESTIFY = re.compile(r"^\s*(?P<key>expected|actual)\s*: ?(?P<value>.*)$")
_TROUBLE = re.compile(r"^(?:go: |# |\S+\.go:\d+|pattern |package |no Go files|FAIL\t|ok  \t)")


@dataclass(slots=True)
class _Test:
    output: list[str] = field(default_factory=list)
    outcome: str = ""
    seconds: float = 0.0
    paused: bool = False


@dataclass(slots=True)
class _Package:
    tests: dict[str, _Test] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    outcome: str = ""
    build_failed: bool = False
    panicked: bool = False
    unfinished: list[str] = field(default_factory=list)
    """Tests that began and neither ended, nor panicked, nor wait for others."""


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what `go test -json` said; False when nothing of it is Go's."""
    packages: dict[str, _Package] = {}
    text: list[str] = []
    text_of: dict[str, list[str]] = {}
    cut = bool(output) and not output.endswith(b"\n")
    for event in _events(decode(output)):
        if isinstance(event, str):
            text.append(event)
            failed = _FAIL.match(event)
            if failed:
                packages.setdefault(failed["package"], _Package()).build_failed = True
            continue
        action = event["Action"]
        if action.startswith("build-"):
            text_of.setdefault(word(event, "ImportPath"), []).append(word(event, "Output"))
            continue
        package = packages.setdefault(word(event, "Package"), _Package())
        _note(package, event, action)
    for name, lines in text_of.items():
        text.extend([f"# {name}", *"".join(lines).splitlines()])
    recognised = bool(packages) or any(_TROUBLE.match(line) for line in text)
    if not recognised:
        return False
    _compiler(text, packages, gathering)
    # Packages run at the same time: by name they come the same every time.
    for name, package in sorted(packages.items()):
        _package(_short(name, gathering.module), package, gathering)
    gathering.incomplete = cut or any(
        not package.outcome and not package.build_failed for package in packages.values()
    )
    return True


def _events(text: str) -> Iterator[dict[str, Any] | str]:
    """Events as dicts, all else line by line as text."""
    for line in text.split("\n"):
        # The end of what a test printed without a newline may stand before an event.
        start = line.find('{"')
        if start >= 0:
            try:
                event = json.loads(line[start:])
            except (ValueError, RecursionError):
                event = None
            if isinstance(event, dict) and _is_event(event):
                if line[:start].strip():
                    yield line[:start]
                yield event
                continue
        yield line


def _is_event(event: dict[str, Any]) -> bool:
    action = event.get("Action")
    if not isinstance(action, str):
        return False
    if action in ("build-output", "build-fail"):
        return isinstance(event.get("ImportPath"), str)
    return action in _ACTIONS and isinstance(event.get("Package"), str)


def _note(package: _Package, event: dict[str, Any], action: str) -> None:
    name = word(event, "Test")
    if not name:
        if action == "output":
            package.output.append(word(event, "Output"))
        elif action in _ENDS:
            package.outcome = _ENDS[action]
            package.build_failed |= bool(word(event, "FailedBuild"))
        return
    test = package.tests.setdefault(name, _Test())
    if action == "output":
        test.output.append(word(event, "Output"))
    elif action in ("pause", "cont"):
        test.paused = action == "pause"
    elif action in _ENDS:
        test.outcome = _ENDS[action]
        test.seconds = number(event.get("Elapsed"))


def _short(package: str, module: str) -> str:
    if module and package == module:
        return "."
    return package.removeprefix(module + "/") if module else package


def _compiler(text: list[str], packages: dict[str, _Package], gathering: Gathering) -> None:
    """What the compiler said; vet's complaints fail a build too."""
    lines = [line for line in text if line.strip() and not line.startswith(("FAIL", "ok  \t"))]
    failed = any(package.build_failed for package in packages.values())
    if not lines or not (failed or not packages):
        return
    lines = _sorted_blocks(lines)
    telling = [line for line in lines if _HEADING.match(line) is None and line[0] not in "{\t"]
    gathering.broke("CompileError", (telling or lines)[0], "\n".join(lines))


def _sorted_blocks(lines: list[str]) -> list[str]:
    """What the compiler said, by package: packages are compiled at the same time."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if _HEADING.match(line):
            blocks.append([])
        blocks[-1].append(line)
    return [line for block in sorted(blocks) for line in block]


def _package(name: str, package: _Package, gathering: Gathering) -> None:
    _tests(name, package, gathering)
    if not package.outcome:
        gathering.begun.extend(f"{name}::{test_name}" for test_name in package.unfinished)
    if package.outcome != "failed" or package.build_failed or package.panicked:
        return
    own = [line for line in "".join(package.output).splitlines() if not _is_summary(line)]
    if package.unfinished:
        _died(name, package, own, gathering)
    elif not any(test.outcome == "failed" for test in package.tests.values()):
        failure = _failure(own, gathering)
        kind = failure.type if failure.type != "Failed" else "SetupError"
        message = failure.message or f"the tests of {name} failed outside of any test"
        gathering.broke(kind, message, f"{name}:\n{failure.traceback}")


def _tests(name: str, package: _Package, gathering: Gathering) -> None:
    """Add the tests of a package; notes whether it panicked, and what was still running."""
    parents = _above({test.rpartition("/")[0] for test in package.tests if "/" in test})
    for test_name, test in package.tests.items():
        panicked = test.outcome in ("", "failed") and _has_panic(test)
        if not test.outcome:
            if not panicked:
                if not test.paused:
                    package.unfinished.append(test_name)
                continue
            test.outcome = "failed"
        package.panicked |= panicked
        if test_name in parents:
            if test.outcome != "failed":
                continue
            below = (t for n, t in package.tests.items() if n.startswith(test_name + "/"))
            if any(t.outcome == "failed" or _has_panic(t) for t in below):
                continue
        failure = None
        if test.outcome == "failed":
            failure = _failure("".join(test.output).splitlines(), gathering)
            if panicked:
                gathering.broke(failure.type, failure.message, failure.traceback)
        gathering.add(f"{name}::{test_name}", test.outcome, seconds=test.seconds, failure=failure)


def _died(name: str, package: _Package, own: list[str], gathering: Gathering) -> None:
    """The process ended without a word: the deepest tests that were running are to blame."""
    for test_name in package.unfinished:
        if any(other.startswith(test_name + "/") for other in package.unfinished):
            continue
        lines = "".join(package.tests[test_name].output).splitlines() + own
        failure = gathering.failure(
            type="ProcessDied",
            message="the test process ended without reporting",
            traceback="\n".join(_own_lines(lines)),
        )
        gathering.add(f"{name}::{test_name}", "failed", failure=failure)
    gathering.broke("ProcessDied", f"the test process of {name} ended without reporting")


def _above(parents: Iterable[str]) -> set[str]:
    """Every test that has subtests, at any depth."""
    return {
        "/".join(parts[:depth])
        for parts in (parent.split("/") for parent in parents)
        for depth in range(1, len(parts) + 1)
    }


def _has_panic(test: _Test) -> bool:
    return any(_PANIC.match(line) for line in "".join(test.output).splitlines())


def _is_summary(line: str) -> bool:
    return line in ("FAIL", "PASS") or line.startswith(("FAIL\t", "exit status ", "coverage: "))


def _own_lines(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not _MARK.match(line) and not _is_summary(line)]


def _failure(lines: list[str], gathering: Gathering) -> TestFailure:
    """The columns of what a test printed: a panic, or what it logged."""
    own = _own_lines([plain(line, gathering.root) for line in lines])
    for place, line in enumerate(own):
        panic = _PANIC.match(line)
        if panic:
            text = panic["text"].removesuffix(" [recovered]").strip()
            return gathering.failure(
                type="panic" if panic["kind"] == "panic" else "fatal error",
                message=text,
                traceback="\n".join([*own[:place], *_stack(own[place:])]),
            )
    logged = list(_logged(own))
    example = _example(own)
    if example:
        return gathering.failure(
            type="Failed",
            message="the example's output is not what its comment says",
            assertion=example,
            traceback=example,
        )
    if not logged:
        return gathering.failure(type="Failed", traceback="\n".join(own))
    telling = [text for text in logged if _TELLING.search(text)]
    # What t.Log wrote looks the same as an error: without a telling word the last is likeliest.
    chosen = telling[0] if telling else logged[-1]
    values = [match for match in map(_TESTIFY.match, chosen.splitlines()) if match]
    if "Error Trace:" in chosen:
        chosen = chosen.partition("Error:")[2].partition("Test:")[0].strip() or chosen
    assertion = "\n".join(f"{match['key']}: {match['value']}" for match in values)
    return gathering.failure(
        type="Failed",
        message=chosen,
        assertion=assertion or chosen,
        traceback="\n".join(dedent_block(own)),
    )


def _logged(lines: list[str]) -> Iterator[str]:
    """The texts of t.Log and t.Error, each with the lines that belong to it."""
    text: list[str] = []
    for line in lines:
        begin = _LOGGED.match(line)
        if begin:
            if text:
                yield "\n".join(text).strip()
            text = [begin["text"]]
        elif text and line.startswith("        "):
            text.append(line[8:])
        elif text:
            yield "\n".join(text).strip()
            text = []
    if text:
        yield "\n".join(text).strip()


def _example(lines: list[str]) -> str:
    """What an example printed and should have, when that is what these lines say."""
    if "got:" in lines and "want:" in lines[lines.index("got:") :]:
        block = lines[lines.index("got:") :]
        middle = block.index("want:")
        got, want = "\n".join(block[1:middle]), "\n".join(block[middle + 1 :])
        return f"got: {got.strip()}\nwant: {want.strip()}"
    return ""


def _stack(lines: list[str]) -> list[str]:
    """A panic's text with the frames of the repository; those of libraries are counted.

    Of the goroutines, those without a frame of the repository are left out: a time-out lists
    all of them. Arguments of calls are addresses, and go.
    """
    head: list[str] = []
    kept: list[str] = []
    block: list[str] = []
    ours = False
    library = 0

    def close() -> None:
        nonlocal block, ours, library
        if library and ours:
            block.append(folded(library))
        if ours:
            kept.extend(block)
        block, ours, library = [], False, 0

    place = 0
    while place < len(lines) and not lines[place].startswith("goroutine "):
        head.append(lines[place])
        place += 1
    while place < len(lines):
        line = lines[place]
        following = lines[place + 1] if place + 1 < len(lines) else ""
        frame = _FRAME_FILE.match(following)
        if line.startswith("goroutine "):
            close()
            block = [re.sub(r"^goroutine \d+ \[([^,\]]*).*$", r"goroutine [\1]:", line)]
        elif frame:
            place += 1
            if frame["file"].startswith(("/", "<")) or frame["file"] == "_testmain.go":
                library += 1
            else:
                if library:
                    block.append(folded(library))
                    library = 0
                ours = True
                block.append(f"{frame['file']}:{frame['line']}: in {_called(line)}")
        place += 1
    close()
    return [line for line in head if line.strip()] + kept


def _called(line: str) -> str:
    """The function's name of a frame, without its arguments' addresses."""
    name = line.removeprefix("created by ").partition(" in goroutine ")[0]
    if name.endswith(")"):
        name = name[: name.rfind("(")]
    return name
