"""Mending: a bug as a model is shown it, and what its answers make of the code.

A model gets the smallest definition around a bug, as it fails, and how it fails. It writes the
definition anew, or one line of it; nothing else of an answer is looked at. What comes of it is a
change of the base like any other, so the critic that proves bugs proves fixes as well.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from flywheel.candidates.hunk import differing
from flywheel.candidates.language import PythonLanguage
from flywheel.candidates.module import Definition, Edit, FunctionNode
from flywheel.candidates.mutate import MODULE_SYMBOL, candidate
from flywheel.candidates.written.answer import Rejected, line_number, moved, parsable, read
from flywheel.candidates.written.mode import ATTEMPT, Mode
from flywheel.candidates.written.target import documented
from flywheel.core.patch import unified_patch
from flywheel.core.records import Candidate, Span, TestFailure
from flywheel.core.syntax import parse
from flywheel.lm import Message, Request, Response

Form = Literal["definition", "line"]
"""What a model writes anew: the whole definition, or one line of it."""

LONGEST_ERROR = 4000
"""Characters of a failure that a model is shown."""
LONGEST_DEFINITION = 300
"""Lines of a definition that a model is asked to mend."""
SOURCE = "written"
"""What the candidates say they come from."""

MODES: Mapping[Form, Mode] = {
    "definition": ATTEMPT,
    "line": Mode("attempt-line", "line", mends=True),
}
"""The prompt of each form."""

_COMMON = frozenset({0, 1, -1, 2, "", None})
"""Values that any code compares with."""
_SAID = {
    Rejected.REFUSED: "there is no answer",
    Rejected.TRUNCATED: "the answer is cut off: it is too long",
    Rejected.EMPTY: "the answer is empty",
    Rejected.NO_CODE: "the answer is not in the form that was asked for",
    Rejected.NOT_PYTHON: "the code cannot be parsed",
    Rejected.WRONG_FUNCTION: "the code is not this definition, with these arguments",
    Rejected.WRONG_LINE: "there is no such line",
    Rejected.NO_CHANGE: "the code is as it was",
    Rejected.TOO_LONG: "the answer is far too long",
}
"""What a model is told of an answer that holds no code."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A definition with a bug, in its file."""

    bug: Candidate
    """The change of the base that is the bug."""
    base: bytes
    """The file without it."""
    bad: bytes
    """The file with it."""
    extent: Span
    """The definition in `base`, whole lines."""
    bad_extent: Span
    """The definition in `bad`."""
    name: str
    """The definition's own name."""
    arguments: tuple[str, ...]
    """Names of a function's arguments, empty for a class."""
    lines: range
    """Lines of the definition in `bad`, 1-based."""

    @property
    def code(self) -> str:
        """The definition as it fails, without the indentation of its first line."""
        return _flush(self.bad[self.bad_extent.start : self.bad_extent.end].decode())

    @property
    def numbered(self) -> str:
        """The same with the numbers of its lines in the file, as a traceback names them."""
        return "\n".join(self._numbered())

    @property
    def choices(self) -> list[str]:
        """The lines of it that may be wrong: all but blank ones and its docstring."""
        text = documented(parse(self.code).body[0])
        return [
            line
            for number, line in enumerate(self._numbered(), start=1)
            if number not in text and line.partition(": ")[2].strip()
        ]

    def _numbered(self) -> list[str]:
        first = self.lines.start
        return [f"{first + n}: {line}" for n, line in enumerate(self.code.split("\n"))]


@dataclass(frozen=True, slots=True)
class Mended:
    """What an answer makes of the code."""

    code: str
    """The definition as it is now, as `Broken.code` shows it."""
    patch: str
    """Unified diff of the file from the bug to this."""
    candidate: Candidate | None
    """The same as a change of the base; None where it is the base."""


def broken(bug: Candidate, base: bytes, bad: bytes) -> Broken | str:
    """The definition around a bug, or why it cannot be shown as one."""
    if len({change.path for change in bug.changes}) > 1:
        return "several-files"
    start = min(change.span.start for change in bug.changes)
    end = max(change.span.end for change in bug.changes)
    grown = len(bad) - len(base)
    text = bad[start : end + grown].decode(errors="replace")
    try:
        site = PythonLanguage().site_of(bug.path, base, Edit(Span(start, end), text), bug.operator)
    except (SyntaxError, ValueError, RecursionError):
        return "not-python"
    if site.symbol == MODULE_SYMBOL:
        return "several-definitions" if bug.others else "no-definition"
    bad_extent = Span(site.extent.start, site.extent.end + grown)
    node = _definition(bad[bad_extent.start : bad_extent.end].decode(errors="replace"))
    if node is None:
        return "not-python"
    first = bad.count(b"\n", 0, bad_extent.start) + 1
    count = len(bad[bad_extent.start : bad_extent.end].splitlines())
    if count > LONGEST_DEFINITION:
        return "too-long"
    lines = range(first, first + max(1, count))
    return Broken(bug, base, bad, site.extent, bad_extent, node.name, _arguments(node), lines)


def opening(found: Broken, form: Form, error: str, test: str | None) -> Request:
    """The first question about a bug; `test` is the source of the failing test, where wanted."""
    mode = MODES[form]
    said = f"The test:\n\n{textwrap.dedent(test).rstrip()}\n\n" if test else ""
    values = {
        "path": found.bug.path,
        "code": found.code,
        "numbered": found.numbered,
        "error": error[:LONGEST_ERROR].rstrip(),
        "test": said,
    }
    return Request(
        messages=mode.opening(values),
        system=mode.system,
        schema=mode.schema(found.choices),
        max_tokens=mode.tokens(found.code),
    )


def again(found: Broken, form: Form, answer: str, why: Rejected | str) -> tuple[Message, Message]:
    """What follows an answer that mends nothing: the answer, and why it does not."""
    mode = MODES[form]
    if isinstance(why, Rejected):
        said = f"That is no fix: {_SAID[why]}."
    else:
        said = f"That does not mend it. With it, a test fails:\n\n{why[:LONGEST_ERROR].rstrip()}"
    # A conversation may not hold an empty turn.
    answered = Message("assistant", answer.strip() or "(nothing)")
    return answered, Message("user", mode.follow_up({"why": said}))


def continued(request: Request, said: tuple[Message, ...]) -> Request:
    """The next question of a conversation."""
    return replace(request, messages=(*request.messages, *said))


def mended(response: Response, form: Form, found: Broken, operator: str) -> Mended | Rejected:
    """What an answer makes of the code, or why nothing."""
    fields = read(response)
    if isinstance(fields, Rejected):
        return fields
    line, code = fields
    write = _with_line if form == "line" else _with_definition
    written = write(line, _unix(code), found)
    if isinstance(written, Rejected):
        cut = response.finish == "length" and written is not Rejected.NO_CHANGE
        return Rejected.TRUNCATED if cut else written
    if _said(written) == _said(found.code):
        return Rejected.NO_CHANGE
    newline = "\r\n" if b"\r\n" in found.bad else "\n"
    if not found.bad[: found.bad_extent.end].endswith((b"\n", b"\r")):
        written = written.rstrip("\n")  # the file ends here, without one
    definition = written.replace("\n", newline).encode()
    whole = found.bad[: found.bad_extent.start] + definition + found.bad[found.bad_extent.end :]
    if whole == found.bad:
        return Rejected.NO_CHANGE
    shown = _flush(written)
    made: Candidate | None = None
    if whole != found.base:
        edit = _narrowed(found.base, whole)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # What parses need not compile: `break` outside a loop, two arguments of one name.
                compile(whole, found.bug.path, "exec", dont_inherit=True)
            site = PythonLanguage().site_of(found.bug.path, found.base, edit, operator)
            made = candidate(found.bug.path, found.base, site, made_by=SOURCE)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return Rejected.NOT_PYTHON
    return Mended(shown, unified_patch(found.bug.path, found.bad, whole), made)


def special_cases(fixed: str, found: Broken, evidence: str) -> tuple[object, ...]:
    """Values that a fix compares with, that the tests show and neither the bug nor the base knows.

    The known way to pass a test without mending anything.
    """
    base = _flush(found.base[found.extent.start : found.extent.end].decode())
    known = set(_constants(found.code)) | set(_constants(base)) | _COMMON
    shown = _numbers_and_texts(evidence)
    return tuple(
        value
        for value in dict.fromkeys(_compared(fixed))
        if value not in known and repr(value).strip("'\"") in shown
    )


def told(failure: TestFailure) -> str:
    """How a failure reads, for a model; as the store words it."""
    head = "FAILED " if failure.phase == "call" else f"ERROR ({failure.phase}) "
    text = head + failure.test_id
    if failure.type:
        text += f" - {failure.type}"
    if failure.message:
        text += f": {failure.message}"
    if more := failure.traceback.rstrip("\n") or failure.assertion:
        text += f"\n\n{more}"
    return text


def _with_line(line: object, code: str, found: Broken) -> str | Rejected:
    number = line_number(line)
    if number not in found.lines:
        return Rejected.WRONG_LINE
    text = _unix(found.bad[found.bad_extent.start : found.bad_extent.end].decode())
    lines = text.split("\n")
    number -= found.lines.start
    old = lines[number]
    new = [re.sub(r"^\s*\d+: ", "", one) for one in code.strip("\n").split("\n")]
    new = textwrap.dedent("\n".join(new)).split("\n")
    indent = old[: len(old) - len(old.lstrip())]
    lines[number : number + 1] = [indent + one if one.strip() else one for one in new]
    written = "\n".join(lines)
    if written == text:
        return Rejected.NO_CHANGE
    node = _definition(written)
    if node is None:
        return Rejected.NOT_PYTHON
    same = node.name == found.name and _arguments(node) == found.arguments
    return written if same else Rejected.WRONG_FUNCTION


def _with_definition(_: object, code: str, found: Broken) -> str | Rejected:
    code = parsable(code.strip("\n") + "\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parse(code)
            nodes = [one for one in ast.walk(tree) if isinstance(one, Definition)]
            node = next((one for one in nodes if one.name == found.name), None)
            if node is None or _arguments(node) != found.arguments:
                return Rejected.WRONG_FUNCTION
            first = found.bad[found.bad_extent.start : found.bad_extent.end].decode()
            indent = first[: len(first) - len(first.lstrip(" \t"))]
            written = moved(code.split("\n"), [node], indent)
            there = _definition(written)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Rejected.NOT_PYTHON
    if there is None or ast.dump(there) != ast.dump(node):
        return Rejected.NOT_PYTHON
    return written


def _flush(text: str) -> str:
    """A definition as it stands in its file, without the indentation it has there."""
    text = _unix(text)
    node = _definition(text)
    return (moved(parsable(text).split("\n"), [node], "") if node else text).rstrip("\n")


def _definition(text: str) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    """The definition that a text is, by the lines of `parsable`; None where it is not just one."""
    code = parsable(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if code != text and len(body) == 1 and isinstance(body[0], ast.If):
        body = body[0].body
    return body[0] if len(body) == 1 and isinstance(body[0], Definition) else None


def _said(text: str) -> str:
    """What a definition says, whatever its layout, comments and docstring are."""
    node = _definition(text)
    if node is None:
        return text
    for one in ast.walk(node):
        if isinstance(one, Definition) and ast.get_docstring(one) is not None:
            one.body[:1] = [] if len(one.body) > 1 else [ast.Pass()]
    return ast.dump(node)


def _arguments(node: ast.AST) -> tuple[str, ...]:
    if not isinstance(node, FunctionNode):
        return ()
    named = node.args
    every = [*named.posonlyargs, *named.args, named.vararg, *named.kwonlyargs, named.kwarg]
    return tuple(one.arg for one in every if one is not None)


def _narrowed(before: bytes, after: bytes) -> Edit:
    """From the first line in which two contents differ to the last, as an edit of the first."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    found = differing(old, new)
    return found[0].until(found[-1]).edit(old, new)


def _constants(code: str) -> Iterator[Any]:
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from (_value(node) for node in ast.walk(tree) if isinstance(node, ast.Constant))


def _compared(code: str) -> Iterator[Any]:
    """Values that code compares something with, or looks up."""
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            inside: ast.AST = node
        elif isinstance(node, ast.Dict):
            inside = ast.Tuple([key for key in node.keys if key is not None])
        else:
            continue
        for part in ast.walk(inside):
            if isinstance(part, ast.Constant):
                yield _value(part)


def _value(node: ast.Constant) -> Any:
    return node.value if isinstance(node.value, int | float | str | bytes) else repr(node.value)


def _numbers_and_texts(evidence: str) -> set[str]:
    """Numbers and quoted texts that stand in a failure or in a test."""
    numbers = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", evidence)
    texts = re.findall(r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"", evidence)
    # A negative number is a sign and a number to Python.
    unsigned = (number.lstrip("-") for number in numbers)
    return {*numbers, *unsigned, *(one or other for one, other in texts)}


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
