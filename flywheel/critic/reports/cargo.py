"""Reads the text of `cargo test --no-fail-fast`, standard output and standard error together.

The output is a section a target: cargo's line that names it, libtest's lines of results, and
below them a block of text for each failure. The two streams are merged, so what a program prints
may stand between, or on the line of a result.

Ids are `target::module::test`. The target is the library's crate name, `bin/NAME` for a program,
the file's name for an integration test, and `CRATE doc` for the examples in documentation; those
carry no line number, since every edit above them would make other tests of them, and are
numbered by line instead. Two packages of a workspace may have targets of one name: the format
does not say whose they are, and their equal ids are numbered in cargo's order, which is stable.
The path is the target's root file, relative to its package.

Run with `-- --test-threads=1`: results then come in one order, and when a process dies, the test
that began and did not end is the one to blame. Without it, nothing says which test it was.

Compiler errors are `broken`; so is a target whose process died, or that did not end by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, plain
from flywheel.critic.reports.report import MOST_LINES, Gathering

_RUNNING = re.compile(
    r"^ +Running (?:(?P<unit>unittests) )?(?P<path>\S.*?) ?\((?P<binary>[^()]+)\)$"
)
_DOC = re.compile(r"^ +Doc-tests (?P<crate>\S+)$")
_COUNT = re.compile(r"^running (?P<count>\d+) tests?$")
_TEST = re.compile(r"^test (?P<name>\S.*?)(?P<panics> - should panic| - compile fail| - compile)?$")
_SAID = re.compile(r"^(?P<said>ok|FAILED|ignored)(?:, .*)?(?: <\d+\.\d+s>)?$")
_BLOCK = re.compile(r"^---- (?P<name>.+) (?:stdout|stderr) ----$")
_SUMMARY = re.compile(r"^test result: (?:ok|FAILED)\. \d+ passed;")
_DIED = re.compile(
    r"^  process didn't exit successfully: .*\((?P<how>[^()]*(?:\([^()]*\))?[^()]*)\)$"
)
_ERROR = re.compile(r"^error(?:\[(?P<code>E\d+)\])?: (?P<text>.*)$")
_SUMMED_UP = re.compile(
    r"(?:test|doctest|bench) failed, to rerun|could not compile|aborting due to|\d+ targets? failed"
    r"|Recipe|build failed|process didn't exit"
)
_DOC_LINE = re.compile(r"^(?P<name>.+) \(line (?P<line>\d+)\)$")
_HASH = re.compile(r"-[0-9a-f]{16}(?:\.exe)?$")
_THREAD = re.compile(r"^thread '(?P<thread>.*?)'(?: \(\d+\))? panicked at (?P<rest>.*)$")
_OLD_PANIC = re.compile(r"^'(?P<text>.*)', (?P<place>\S+:\d+:\d+)$", re.DOTALL)
_LEFT = re.compile(r"^ *left: (?P<value>.*?),?$")
_RIGHT = re.compile(r"^ *right: (?P<value>.*)$")
_NOISE = re.compile(
    r"^(?:note: run with `RUST_BACKTRACE=|note: Some details are omitted, run with `RUST_BACKTRACE"
    r"|note: test exited abnormally)"
)
_CARGO_LINE = re.compile(r"^ {0,11}(?:Compiling|Finished|Running|Doc-tests|Fresh|Blocking) ")


@dataclass(slots=True)
class _Case:
    name: str
    panics: str = ""
    said: str = ""
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Target:
    name: str
    path: str
    cases: dict[str, _Case] = field(default_factory=dict)
    expected: int | None = None
    open_case: str = ""
    ended: bool = False
    died: str = ""
    other: list[str] = field(default_factory=list)


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what `cargo test` said; False when nothing of it is cargo's."""
    lines = plain(decode(output), gathering.root).split("\n")
    targets: list[_Target] = []
    before: list[str] = []
    block: _Case | None = None
    known = False
    for line in lines:
        started = _start(line)
        if started is None and targets and line.startswith("test "):
            # A test that ends its process leaves its line open, and cargo writes on.
            begun, mark, rest = line.rpartition(" ... ")
            started = _start(rest)
            if started is not None:
                _take(targets[-1], begun + mark, block)
        if started is not None:
            targets.append(started)
            block = None
            continue
        if not targets:
            known = known or bool(_CARGO_LINE.match(line) or _ERROR.match(line))
            before.append(line)
            continue
        block = _take(targets[-1], line, block)
    if not targets and not known:
        return False
    _errors(before, gathering)
    for target in targets[:-1]:
        if target.expected is not None and not (target.ended or target.died):
            # cargo went on: a test ended the process, with an exit status of no failure.
            target.died = "it ended with tests still to run"
    for target in targets:
        _finish(target, gathering)
    last = targets[-1] if targets else None
    gathering.incomplete = not (last is None or last.ended or last.died)
    if last is None and not gathering.reasons:
        gathering.incomplete = True
    return True


def _start(line: str) -> _Target | None:
    running = _RUNNING.match(line)
    if running:
        binary = _HASH.sub("", running["binary"].replace("\\", "/").rpartition("/")[2])
        path = running["path"].replace("\\", "/")
        if path == "src/main.rs" or path.startswith("src/bin/") or "/bin/" in path:
            binary = f"bin/{binary}"
        return _Target(name=binary, path=path)
    doc = _DOC.match(line)
    return _Target(name=f"{doc['crate'].replace('-', '_')} doc", path="") if doc else None


def _take(target: _Target, line: str, block: _Case | None) -> _Case | None:
    """Note one line of a target's section; the failure block it belongs to from here on."""
    begins = _BLOCK.match(line)
    if begins and begins["name"] in target.cases:
        return target.cases[begins["name"]]
    if _SUMMARY.match(line):
        _close(target)
        target.ended = True
        return None
    died = _DIED.match(line)
    if died:
        target.died = died["how"]
        return None
    if block is not None:
        if line in ("failures:", "successes:"):
            return None
        block.text.append(line)
        return block
    count = _COUNT.match(line)
    if count and target.expected is None:
        target.expected = int(count["count"][:9])
        return None
    if _result(target, line):
        return None
    target.other.append(line)
    return None


def _result(target: _Target, line: str) -> bool:
    """True when `line` says how a test ended, or that one began."""
    if target.expected is None or target.ended:
        return False
    if line.startswith("test ") and " ... " in line:
        head, _, tail = line.rpartition(" ... ")
        said = _SAID.match(tail)
        if said is None:
            # What followed was cut off, or is what the test printed.
            head, _, tail = line.partition(" ... ")
        match = _TEST.match(head)
        if match is None:
            return False
        _close(target)
        case = target.cases.setdefault(match["name"], _Case(match["name"]))
        case.panics = (match["panics"] or "").removeprefix(" - ")
        if said:
            case.said = said["said"]
            target.open_case = ""
        else:
            target.open_case = case.name
            if tail.strip():
                case.text.append(tail)
        return True
    if target.open_case:
        # One thread: what a test wrote stands between its name and its result.
        case = target.cases[target.open_case]
        said = _SAID.match(line)
        if said:
            case.said = said["said"]
            target.open_case = ""
            return True
        if _ERROR.match(line) is None:
            case.text.append(line)
            return True
    return False


def _close(target: _Target) -> None:
    """End the test that is open: its result may stand after words it did not end with a newline."""
    if target.open_case:
        case = target.cases[target.open_case]
        said = re.search(r"(ok|FAILED)$", case.text[-1]) if case.text else None
        if said:
            case.said = said[1]
        target.open_case = ""


def _finish(target: _Target, gathering: Gathering) -> None:
    cases = list(target.cases.values())
    if target.name.endswith(" doc"):
        cases.sort(key=_doc_place)
    for case in cases:
        name, path = case.name, target.path
        if target.name.endswith(" doc"):
            place = _DOC_LINE.match(name)
            name = place["name"] if place else name
            path = name.partition(" - ")[0]
        test_id = f"{target.name}::{name}"
        if case.said == "ok":
            gathering.add(test_id, "passed", path=path)
        elif case.said == "ignored":
            gathering.add(test_id, "skipped", path=path)
        elif case.said == "FAILED":
            gathering.add(test_id, "failed", path=path, failure=_failure(case, gathering))
        elif target.died and case.name == target.open_case:
            failure = _died(target, _without_cargo(case.text), gathering)
            gathering.add(test_id, "failed", path=path, failure=failure)
    if target.open_case and not target.died:
        gathering.begun.append(f"{target.name}::{target.open_case}")
    counted = sum(bool(case.said) for case in cases)
    missing = target.expected is not None and counted < target.expected
    if target.died and not target.ended and (missing or target.expected is None):
        texts = [line for case in cases if case.name == target.open_case for line in case.text]
        reason = _died(target, _without_cargo([*texts, *target.other]), gathering)
        where = f"{target.name}: " if target.name else ""
        gathering.broke(reason.type, where + reason.message, where + reason.traceback)
    else:
        _errors(target.other, gathering)


def _doc_place(case: _Case) -> tuple[str, int]:
    place = _DOC_LINE.match(case.name)
    return (place["name"], int(place["line"][:9])) if place else (case.name, 0)


def _without_cargo(lines: list[str]) -> list[str]:
    kept = []
    for line in lines:
        if _ERROR.match(line) and _SUMMED_UP.search(line):
            break
        if not _NOISE.match(line) and line.strip() and line != "Caused by:":
            kept.append(line)
    return kept


def _died(target: _Target, lines: list[str], gathering: Gathering) -> TestFailure:
    telling = [line for line in lines if "overflowed its stack" in line or "fatal" in line]
    return gathering.failure(
        type="ProcessDied",
        message=telling[0] if telling else f"the test process died: {target.died}",
        traceback="\n".join([*lines, f"the test process died: {target.died}"]),
    )


def _failure(case: _Case, gathering: Gathering) -> TestFailure:
    """The columns of a failure's block: the panic of the test's own thread, where there is one."""
    text = [line for line in case.text if not _NOISE.match(line)]
    while text and not text[0].strip():
        text.pop(0)
    panics = [(number, match) for number, line in enumerate(text) if (match := _THREAD.match(line))]
    note = next((line for line in text if line.startswith("note: test did not panic")), "")
    unlike = next((line for line in text if line.startswith("note: panic did not contain")), "")
    trace = "\n".join(text)
    if unlike:
        wanted = text[text.index(unlike) + 1 :][:2]
        return gathering.failure(
            type="panic",
            message=unlike.removeprefix("note: "),
            assertion="\n".join(line.strip() for line in wanted),
            traceback=trace,
        )
    if note:
        message = "test did not panic as expected"
        return gathering.failure(type="Failed", message=message, traceback=trace)
    if panics:
        # Threads that the test started panic first; its own panic is the one that fails it.
        own = [pair for pair in panics if pair[1]["thread"] == case.name]
        number, match = (own or panics)[0]
        ends = next((n for n, _ in panics if n > number), len(text))
        message, assertion = _panic(match["rest"], text[number + 1 : ends])
        return gathering.failure(
            type="panic", message=message, assertion=assertion, traceback=trace
        )
    compiled = [line for line in text if _ERROR.match(line)]
    if compiled and case.name.endswith(")"):
        return gathering.failure(
            type="CompileError", message=compiled[0], traceback=trace, phase="call"
        )
    said = [line for line in text if line.startswith("Error: ")] or text
    return gathering.failure(
        type="Error" if said and said[0].startswith("Error: ") else "Failed",
        message=said[0].removeprefix("Error: ") if said else "",
        traceback=trace,
    )


def _panic(rest: str, following: list[str]) -> tuple[str, str]:
    """Message and assertion of a panic, in the form of Rust 1.73 and later or the one before."""
    text: list[str] = []
    if rest.startswith("'"):
        joined = "\n".join([rest, *following])
        for end in range(1, min(len(following), MOST_LINES) + 2):
            old = _OLD_PANIC.match("\n".join([rest, *following][:end]))
            if old:
                text = old["text"].split("\n")
                break
        else:
            text = joined.split("\n")
    else:
        for line in following:
            if line.startswith("stack backtrace:"):
                break
            text.append(line)
    while text and not text[-1].strip():
        text.pop()
    message = text[0] if text else ""
    left = next((m["value"] for line in text if (m := _LEFT.match(line))), None)
    right = next((m["value"] for line in text if (m := _RIGHT.match(line))), None)
    if left is not None and right is not None:
        left, right = left.strip("`"), right
        if right.startswith("`"):
            # Before Rust 1.73 the assertion's own words follow the right value.
            right, _, words = right[1:].rpartition("`")
            if words.startswith(": "):
                message = f"{message}{words}"
        return message, f"left: {left}\nright: {right}"
    if message.startswith("assertion failed: "):
        return message, message.removeprefix("assertion failed: ")
    return message, ""


def _errors(lines: list[str], gathering: Gathering) -> None:
    """Note errors of the compiler, or of cargo itself, with the text that belongs to each."""
    blocks: list[list[str]] = []
    inside = False
    for line in lines:
        match = _ERROR.match(line)
        if match:
            inside = not _SUMMED_UP.search(match["text"])
            if inside:
                blocks.append([line])
        elif inside and (
            line.startswith(("warning:", "Some errors have detailed")) or _CARGO_LINE.match(line)
        ):
            inside = False
        elif inside and not line.startswith("For more information about"):
            blocks[-1].append(line)
    if not blocks and any(
        (match := _ERROR.match(line)) and "could not compile" in match["text"] for line in lines
    ):
        blocks.append([line for line in lines if line.startswith("error")])
    whole: list[str] = []
    seen: set[str] = set()
    for block in blocks:
        text = "\n".join(block).strip()
        # The library is compiled twice, for its tests and for those of others.
        if text not in seen:
            seen.add(text)
            whole.append(_short(block))
    # Targets are compiled at the same time; within a file the compiler's order is kept.
    whole.sort(key=_place)
    if whole:
        gathering.broke("CompileError", whole[0], "\n\n".join(whole))


def _place(error: str) -> str:
    place = re.search(r"^ *--> (?P<path>.+?):\d+:\d+$", error, re.MULTILINE)
    return place["path"] if place else ""


def _short(block: list[str]) -> str:
    """One error without the compiler's tour through the standard library."""
    kept: list[str] = []
    tour = elsewhere = False
    for line in block:
        stripped = line.strip()
        if "the following other types implement" in stripped:
            tour = True
        elif tour and (not stripped or stripped.startswith(("help:", "note:"))):
            tour = False
        if stripped.startswith(("-->", ":::")):
            elsewhere = "/rustc/" in stripped or "/.cargo/registry/" in stripped
        elif not stripped or stripped.startswith(("= ", "help:", "note:")):
            elsewhere = False
        if not (tour or elsewhere):
            kept.append(line)
    return "\n".join(kept).strip()
