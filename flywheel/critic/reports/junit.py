"""Reads JUnit's XML, which no standard describes and very many tools write.

The elements are read with `junitparser`. They are built here, one test case at a time, by an
expat parser that refuses every document type: without one no entity can be declared, so none is
expanded and nothing is fetched. What XML does not allow (control characters, and references to
them) is taken out beforehand, since tools copy what tests print.

Ids are `class::name`, or `file::name` where no class is said. Node's own runner says neither
(newer ones the file): there the names of the suites around a test are part of its name, `suite >
test`, and equal names in two files are told apart by their order only. Prefer `node.mjs`.

`failure` and `error` differ from tool to tool: most call any exception but an assertion's an
error. Here a test is in error when the report says that it failed outside its call: its setup or
teardown (pytest), its class (`initializationError`), a hook, or a file that could not be run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree
from xml.parsers import expat

from junitparser import Error, Failure, Skipped, TestCase

from flywheel.core.errors import ReportError
from flywheel.core.records import TestFailure
from flywheel.critic.reports.excerpt import decode, first_line, fold, plain
from flywheel.critic.reports.fields import number
from flywheel.critic.reports.javascript import OUTSIDE, SCRIPT, fold_stack, sides, split_error
from flywheel.critic.reports.report import Gathering

_DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")
_ENCODING = re.compile(rb"^\s*<\?xml\b[^>]*\bencoding\s*=\s*[\"']([\w.-]+)[\"']")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCE = re.compile(r"&#(x[0-9a-fA-F]+|[0-9]+);")
_DEEPEST = 200
"""Elements within each other; no report comes near it."""
_OUTSIDE = re.compile(r"^failed on (?P<phase>setup|teardown) with|^collection failure$")
_NODE_CAUSE = re.compile(r"^  cause: (?P<text>.*)$", re.MULTILINE)
_NODE_SIDE = re.compile(r"^    (?P<key>actual|expected): (?P<value>.*?),?$", re.MULTILINE)
_JAVA_FRAME = re.compile(r"^\s*at [\w$.<>/@ -]+\(.*\)$")
_JAVA_LIBRARY = re.compile(
    r"^\s*at (?:java\.base/|jdk\.|java\.|sun\.|javax\.|org\.junit|junit\.|org\.gradle|worker\.org"
    r"|org\.apache\.maven|org\.testng|org\.assertj|org\.hamcrest|com\.sun\.proxy|kotlin\.|scala\.)"
)
_NAMED = re.compile(
    r"^(?P<kind>[A-Za-z_][\w.$\\]*(?:Error|Exception|Failure|Failed|Warning|Exit))(?:: |$)"
)
_PYTEST_ERROR_LINE = re.compile(r"^E   (?P<text>.*)$", re.MULTILINE)


class _Stop(Exception):
    """The document holds what no report does."""


def gather(output: bytes, gathering: Gathering) -> bool:
    """Add what the XML says; False when it is none of JUnit's.

    Raises ReportError when the document declares a type.
    """
    document = _Document()
    cases = list(document.cases(_text(output)))
    if document.refused:
        raise ReportError("This XML is refused: it declares a document type.", cause="<!DOCTYPE")
    if not document.is_junit:
        return False
    for suites, element in cases:
        case: TestCase = TestCase.fromelem(element)  # type: ignore[no-untyped-call]
        _case(case, element, suites, gathering)
    gathering.incomplete = not document.ended
    return True


def _text(output: bytes) -> str:
    """The document as text that expat takes, without its declaration."""
    declared = _ENCODING.match(output[:200])
    if output.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = output.decode("utf-16", errors="replace")
    elif declared and declared[1].lower() in (b"iso-8859-1", b"latin-1", b"windows-1252"):
        text = output.decode("cp1252", errors="replace")
    else:
        text = decode(output)
    start = text.find("<")
    text = _DECLARATION.sub("", text[start:] if start > 0 else text, count=1)
    return _FORBIDDEN.sub("", plain(_REFERENCE.sub(_allowed, text), root=""))


def _allowed(reference: re.Match[str]) -> str:
    digits = reference[1]
    if len(digits) > 8:
        return ""
    point = int(digits[1:], 16) if digits.startswith("x") else int(digits)
    if point == 0x1B:
        return "\x1b"  # the beginning of a colour, which goes as a whole
    legal = point in (9, 10, 13) or 0x20 <= point <= 0xD7FF or 0xE000 <= point <= 0xFFFD
    return reference[0] if legal or 0x10000 <= point <= 0x10FFFF else ""


class _Document:
    """Test cases of a document, whole ones only; the rest of the tree is never built."""

    def __init__(self) -> None:
        self.is_junit = False
        self.ended = False
        self.refused = False
        self._path: list[str] = []
        self._suites: list[str] = []
        self._builder: ElementTree.TreeBuilder | None = None
        self._inside = 0
        self._done: list[tuple[tuple[str, ...], ElementTree.Element]] = []

    def cases(self, text: str) -> Iterator[tuple[tuple[str, ...], ElementTree.Element]]:
        """Every test case with the names of the suites around it."""
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        try:
            parser.Parse(text.encode("utf-8", errors="replace"), True)
        except (expat.ExpatError, _Stop):
            self.ended = self.ended and not self.refused
        yield from self._done

    def _refuse(self, *_: object) -> None:
        self.refused = True
        raise _Stop

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._path:
            if tag not in ("testsuites", "testsuite"):
                raise _Stop
            self.is_junit = True
        self._path.append(tag)
        if len(self._path) > _DEEPEST:
            raise _Stop
        if self._builder is not None:
            self._builder.start(tag, attributes)
            self._inside += 1
        elif tag == "testcase":
            self._builder = ElementTree.TreeBuilder()
            self._builder.start(tag, attributes)
            self._inside = 1
        elif tag == "testsuite":
            self._suites.append(attributes.get("name", ""))

    def _end(self, tag: str) -> None:
        self._path.pop()
        self.ended = not self._path
        if self._builder is not None:
            self._builder.end(tag)
            self._inside -= 1
            if not self._inside:
                self._done.append((tuple(self._suites), self._builder.close()))
                self._builder = None
        elif tag == "testsuite":
            self._suites.pop()

    def _data(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)


def _case(
    case: TestCase, element: ElementTree.Element, suites: tuple[str, ...], gathering: Gathering
) -> None:
    name = _unescaped(case.name or "")
    group = case.classname or element.get("class") or ""
    path = plain(element.get("file") or "", gathering.root)
    from_node = group in ("", "test") and not element.get("class")
    if from_node:
        name = plain(" > ".join([*(_unescaped(suite) for suite in suites), name]), gathering.root)
        # A file that could not be run is reported as a test with the file's name.
        whole_file = not suites and bool(SCRIPT.search(name))
        test_id = f"{path}::{name}" if path and not whole_file else name
        path = path or (name if whole_file else "")
    else:
        whole_file = False
        test_id = f"{group}::{name}"
    skipped = [entry for entry in case.result if isinstance(entry, Skipped)]
    failing = [entry for entry in case.result if isinstance(entry, Failure | Error)]
    seconds = number((element.get("time") or "").replace(",", ""))
    # Of a test marked as to do, Node says both that it is skipped and how it failed.
    if skipped or not failing:
        outcome = "skipped" if skipped else "passed"
        gathering.add(test_id, outcome, path=path, seconds=seconds)
        return
    failure, collected = _failure(failing[0], name, from_node, gathering)
    if whole_file or collected:
        label = path or (case.name or "" if collected else name)
        told = failure.message if label in failure.message else f"{label}: {failure.message}"
        kind = "FileError" if whole_file else failure.type
        gathering.broke(kind, told, f"{label}:\n{failure.traceback}")
        if collected:
            return
    if whole_file:
        failure = replace(failure, phase="collect", type="FileError")
    outcome = "error" if failure.phase != "call" else "failed"
    gathering.add(test_id, outcome, path=path, seconds=seconds, failure=failure)


def _unescaped(name: str) -> str:
    """Node 20 escapes quotes in names twice."""
    return name.replace("&quot;", '"')


def _failure(
    entry: Failure | Error, name: str, from_node: bool, gathering: Gathering
) -> tuple[TestFailure, bool]:
    """The columns of a failure, and whether it was one of collecting the tests of a file."""
    said = plain(entry.message or "", gathering.root)
    text = plain(entry.text or "", gathering.root).strip("\n").rstrip()
    kind = entry.type or ""
    outside = _OUTSIDE.match(said)
    phase = "setup" if name in ("initializationError", "") or outside else "call"
    if outside and outside["phase"]:
        phase = outside["phase"]
        said = first_line(said.partition("with ")[2].strip(' "'))
    collected = bool(outside) and not (outside and outside["phase"])
    if from_node and "ERR_TEST_FAILURE" in text:
        return _node(kind, said, text, gathering), False
    lines = _PYTEST_ERROR_LINE.findall(text)
    if collected and lines:
        said = next((line for line in lines if _NAMED.match(line)), lines[-1])
    named = _NAMED.match(said) or _NAMED.match(first_line(text))
    if not kind and named:
        kind = named["kind"]
    # PHPUnit's text begins with the name of the test.
    body = text.partition("\n")[2] if not said and f"::{name}" in first_line(text) else text
    message = said or first_line(body)
    if named and message.startswith(f"{named['kind']}: "):
        message = message.removeprefix(f"{named['kind']}: ")
    short = re.split(r"[.\\$]", kind)[-1] or "Failed"
    assertion = ""
    if "Assert" in short or "Comparison" in short or "Expectation" in short:
        assertion = message
    return (
        gathering.failure(
            type=short,
            message=message,
            assertion=assertion,
            traceback=fold(text, _is_java_library),
            phase="collect" if collected else phase,
        ),
        collected,
    )


def _node(kind: str, said: str, text: str, gathering: Gathering) -> TestFailure:
    """The cause that Node wraps into an error of its own."""
    cause = _NODE_CAUSE.search(text)
    phase = "setup" if kind in OUTSIDE else "call"
    if cause is None:
        if kind == "testTimeoutFailure":
            kind = "Timeout"
        return gathering.failure(type=kind, message=said, traceback=fold_stack(text), phase=phase)
    inner = "\n".join(
        line.removeprefix("  ") for line in text[cause.start("text") :].splitlines()
    ).rstrip("}\n")
    error, message = split_error(inner)
    found = {match["key"]: match["value"] for match in _NODE_SIDE.finditer(text)}
    assertion = sides(message)
    if not assertion and len(found) == 2:
        assertion = f"expected: {found['expected']}\nactual: {found['actual']}"
    return gathering.failure(
        type=error,
        message=message,
        assertion=assertion if error == "AssertionError" else "",
        traceback=fold_stack(inner),
        phase=phase,
    )


def _is_java_library(line: str) -> bool:
    return bool(_JAVA_FRAME.match(line) and _JAVA_LIBRARY.match(line))
