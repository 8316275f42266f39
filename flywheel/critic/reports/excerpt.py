"""What is kept of a tool's words: no colours, no absolute paths, not too many lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby

from flywheel.critic.text import folded

WIDEST = 600
"""Characters of a line that are kept."""
WIDEST_RAW = 6000
"""Characters of a line that are looked at: the rules that clean it take long for a long one."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""Terminal sequences: colours and cursor moves (CSI), titles and links (OSC), single letters."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@lru_cache(maxsize=8)
def _inside(root: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-])(?:file://)?{re.escape(root.rstrip('/'))}/(?=\S)")


def plain(text: str, root: str) -> str:
    """`text` without terminal sequences and control characters, paths below `root` relative."""
    text = _CONTROL.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))
    return _inside(root).sub("", text) if root.strip("/") else text


def decode(output: bytes) -> str:
    """The text of a tool's output; what is no UTF-8 is replaced."""
    return output.decode("utf-8", errors="replace").removeprefix("\ufeff")


def first_line(text: str, widest: int = WIDEST) -> str:
    """The first line that says something, without what surrounds it."""
    for line in text.splitlines():
        if line.strip():
            return _narrow(line.strip(), widest)
    return ""


def excerpt(text: str, most: int, widest: int = WIDEST) -> str:
    """`text` cut to about `most` lines: the beginning, and the end where things are summed up."""
    lines = [_narrow(line.rstrip(), widest) for line in text.strip("\n").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > most + 1:
        tail = most // 4
        left = len(lines) - most
        lines = [*lines[: most - tail], f"[{left} more lines]", *lines[-tail:]]
    return "\n".join(lines)


def dedent_block(lines: list[str]) -> list[str]:
    """`lines` without the white space that all of them begin with."""
    margins = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    margin = min(margins, default=0)
    return [line[margin:] for line in lines]


def fold(text: str, is_library: Callable[[str], bool]) -> str:
    """`text` with the frames of libraries counted instead of shown."""
    kept: list[str] = []
    for library, run in groupby(text.splitlines(), is_library):
        lines = list(run)
        kept += [folded(len(lines))] if library else lines
    return "\n".join(kept)


def _narrow(line: str, widest: int) -> str:
    return line if len(line) <= widest else line[:widest] + "…"
