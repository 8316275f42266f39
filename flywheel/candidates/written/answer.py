"""What comes back from a model, and the edit it stands for: confined to the target, or turned away.

Only the target's statements are ever replaced. Whatever else an answer says (another path, another
function, an order) is not looked at.
"""

from __future__ import annotations

import ast
import enum
import json
import re
import warnings

from flywheel.candidates.module import Edit, FunctionNode
from flywheel.candidates.written.mode import Mode
from flywheel.candidates.written.target import Target
from flywheel.core.records import Span
from flywheel.core.syntax import parse
from flywheel.lm import Response

LONGEST = 20_000
"""Characters of an answer that are read."""
_BLOCK = re.compile(
    r"^ {0,3}```[^`\n]*\n(?P<code>.*?)(?:^ {0,3}```[ \t]*$|(?P<open>\Z))", re.DOTALL | re.MULTILINE
)
"""A block of code as Markdown has it; `open` where its end is missing."""
_BARE = re.compile(r"(?:@|def |async def |class )")
"""How code begins that comes without a block."""


class Rejected(enum.StrEnum):
    """Why an answer makes no candidate."""

    REFUSED = "refused"
    """The model, or a filter, turned the question down."""
    TRUNCATED = "truncated"
    """It was cut at the limit of tokens."""
    EMPTY = "empty"
    """It says nothing."""
    NO_CODE = "no-code"
    """It holds no code in the form that was asked for."""
    NOT_PYTHON = "not-python"
    """Its code cannot be parsed."""
    WRONG_FUNCTION = "wrong-function"
    """It writes another function, or one with other arguments."""
    WRONG_LINE = "wrong-line"
    """It names a line that is not the function's."""
    NO_CHANGE = "no-change"
    """It writes what is there."""
    TOO_LONG = "too-long"
    """It is longer than anything that was asked for."""


def edit_of(response: Response, mode: Mode, target: Target, source: bytes) -> Edit | Rejected:
    """The edit that an answer stands for, or why there is none."""
    found = read(response)
    if isinstance(found, Rejected):
        return found
    line, code = found
    if mode.answer == "line":
        made = _line_edit(line, code, target, source)
    else:
        made = _function_edit(code, target, mode)
    if isinstance(made, Edit):
        before = source[made.span.start : made.span.end].decode()
        if made.text.rstrip() == before.rstrip():
            return Rejected.NO_CHANGE
    elif response.finish == "length":
        return Rejected.TRUNCATED
    return made


def read(response: Response) -> tuple[object, str] | Rejected:
    """The line that an answer names, where it names one, and its code; or why there is none."""
    if response.finish == "refused":
        return Rejected.REFUSED
    text = response.text.strip()
    if not text:
        return Rejected.EMPTY
    if len(text) > LONGEST:
        return Rejected.TOO_LONG
    found = _fields(text, cut=response.finish == "length")
    if found is None:
        return Rejected.TRUNCATED if response.finish == "length" else Rejected.NO_CODE
    try:
        found[1].encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no file can hold
        return Rejected.NOT_PYTHON
    return found


def _fields(text: str, *, cut: bool) -> tuple[object, str] | None:
    """What JSON says, bare or in a block, or a block of code, or code alone.

    Of an answer that was cut no code counts whose end is missing: it may parse all the same.
    """
    block = _BLOCK.search(text)
    for part in (text, block["code"] if block else ""):
        try:
            found = json.loads(part)
        except (ValueError, RecursionError):
            continue
        match found:
            case {"code": str(code)} if code.strip():
                inner = _BLOCK.search(code)
                return found.get("line"), inner["code"] if inner else code
            case _:
                return None
    if block is not None:
        return None if cut and block["open"] is not None else (None, block["code"])
    return (None, text) if _BARE.match(text) and not cut else None


def line_number(said: object) -> int:
    """The number of the line that an answer names, alone or before the line; 0 for none."""
    found = re.match(r"\s*(\d{1,9})\s*(?::|$)", str(said))
    return int(found[1]) if found else 0


def _line_edit(line: object, code: str, target: Target, source: bytes) -> Edit | Rejected:
    place = line_number(line)
    if place not in target.body_lines:
        return Rejected.WRONG_LINE
    written = code.strip("\r\n").splitlines()
    if len(written) != 1:
        return Rejected.NO_CODE
    new = re.sub(r"^\s*\d+:\s", "", written[0]).strip()
    start = target.body.start
    lines = source[start : target.body.end].splitlines(keepends=True)
    number = place - target.body_lines.start
    start += sum(map(len, lines[:number]))
    old = lines[number].decode()
    bare = old.rstrip("\r\n")
    indent = bare[: len(bare) - len(bare.lstrip())]
    if not new or new == bare.strip():
        return Rejected.NO_CHANGE
    return Edit(Span(start, start + len(bare.encode())), indent + new)


def _function_edit(code: str, target: Target, mode: Mode) -> Edit | Rejected:
    code = parsable(code.replace("\r\n", "\n").replace("\r", "\n").strip("\n") + "\n")
    whole = mode.answer == "definition"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parse(code)
            functions = [node for node in ast.walk(tree) if isinstance(node, FunctionNode)]
            function = next((node for node in functions if node.name == target.name), None)
            if function is None:
                return Rejected.WRONG_FUNCTION
            same = ast.dump(function.args) == target.arguments
            if not same and not (whole and _extends(function.args, target)):
                return Rejected.WRONG_FUNCTION
            described = ast.get_docstring(function) is not None
            statements = function.body[1:] if described else function.body
            if not statements:
                return Rejected.EMPTY
            if statements[0].lineno == function.lineno:
                return Rejected.NO_CODE
            written, indent, span = statements, target.indent, target.body
            if whole and not same:
                # What decorates it is not the model's business.
                function.decorator_list = []
                written, indent = [function], target.outer_indent
                span = Span(target.definition, target.body.end)
            body = moved(code.split("\n"), written, indent)
            # Moving lines must not change what they say.
            there = parse(f"if 1:\n{body}" if indent else body).body
            if indent and len(there) == 1 and isinstance(there[0], ast.If):
                there = there[0].body
            if _dumps(there) != _dumps(written):
                return Rejected.NOT_PYTHON
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Rejected.NOT_PYTHON
    return Edit(span, body.replace("\n", target.newline))


def _extends(arguments: ast.arguments, target: Target) -> bool:
    """Whether arguments are those of the target, and further ones that may be left out."""
    more = len(arguments.args) - target.positional
    if more < 0 or len(arguments.defaults) < more:
        return False
    kept = [
        (argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if argument.arg in target.keywords
    ]
    added = len(arguments.kwonlyargs) - len(kept)
    optional = sum(default is not None for default in arguments.kw_defaults)
    before = ast.arguments(
        arguments.posonlyargs,
        arguments.args[: len(arguments.args) - more],
        arguments.vararg,
        [argument for argument, _ in kept],
        [default for _, default in kept],
        arguments.kwarg,
        arguments.defaults[: len(arguments.defaults) - more],
    )
    return optional >= added and more + added > 0 and ast.dump(before) == target.arguments


def parsable(code: str) -> str:
    """Code that may be indented as a whole, made to parse; no line of it is changed.

    To dedent it would change texts over several lines.
    """
    lines = code.split("\n")
    first = next((line for line in lines if line.strip() and line.lstrip()[0] != "#"), "")
    return f"if 1:\n{code}" if first[:1] in (" ", "\t") else code


def _dumps(statements: list[ast.stmt]) -> list[str]:
    return [ast.dump(one) for one in statements]


def moved(lines: list[str], statements: list[ast.stmt], indent: str) -> str:
    """Lines of some statements, whole, at another indentation; texts stay as they are."""
    first = statements[0]
    start = min([first.lineno, *(one.lineno for one in getattr(first, "decorator_list", []))])
    end = statements[-1].end_lineno or start
    inside = {
        number
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for number in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
    }
    moved = []
    for number in range(start, end + 1):
        line = lines[number - 1]
        bare = line.lstrip(" \t")
        if number in inside:
            moved.append(line)
        elif bare:
            lead = line[: len(line) - len(bare)]
            moved.append(indent + lead[first.col_offset :] + bare)
        else:
            moved.append("")
    return "\n".join(moved) + "\n"
