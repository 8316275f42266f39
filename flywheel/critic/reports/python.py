"""Tracebacks as Python prints them; the formats of unittest and of doctest carry them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flywheel.critic.text import folded

_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line \d+(?:, in (?P<name>.+))?$')
_RAISED = re.compile(r"^(?P<kind>[^\W\d][\w.]*)(?:: (?P<text>.*))?$")
_HEAD = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that was raised, as its traceback tells it."""

    kind: str
    """Class name without its module; empty when there is no traceback."""
    message: str
    """Whole message, may have several lines."""
    text: str
    """The traceback, with frames outside the repository counted instead of shown."""
    functions: tuple[str, ...]
    """Names of the functions of its frames, outermost first."""


def read_traceback(text: str) -> Raised:
    """The exception that `text` ends with; absolute paths in it are taken for libraries'."""
    lines = text.splitlines()
    kept: list[str] = []
    functions: list[str] = []
    kind, message = "", ""
    inside = hidden = False
    count = 0
    for number, line in enumerate(lines):
        frame = _FRAME.match(line) if inside or not kept else None
        if line.strip() == _HEAD:
            inside = True
            hidden = False
            kind = ""
        elif inside and frame:
            functions.append(frame["name"] or "")
            hidden = frame["file"].startswith(("/", "<"))
            if hidden:
                count += 1
                continue
        elif inside and hidden and line.startswith("    "):
            continue
        elif inside and line and not line.startswith(" "):
            raised = _RAISED.match(line)
            hidden = False
            if raised:
                inside = False
                kind = raised["kind"].rpartition(".")[2]
                message = "\n".join([raised["text"] or "", *_rest(lines[number + 1 :])])
        if count:
            kept.append(folded(count))
            count = 0
        kept.append(line)
    return Raised(kind, message.strip("\n"), "\n".join(kept).strip("\n"), tuple(functions))


def _rest(lines: list[str]) -> list[str]:
    """The further lines of a message: all up to another traceback, or to what was captured."""
    rest: list[str] = []
    for line in lines:
        if line == _HEAD or line in ("Stdout:", "Stderr:") or line.startswith("During handling"):
            break
        rest.append(line)
    while rest and not rest[-1].strip():
        rest.pop()
    return rest
