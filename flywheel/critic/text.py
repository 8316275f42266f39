"""Text of failures, free of what differs from run to run.

The same failure must give the same text: addresses, temporary names, times and process ids go,
paths become relative to the repository.
"""

from __future__ import annotations

import re

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/repo/"), ""),
    (re.compile(r"/env/lib/python3\.\d+/site-packages/"), "<site-packages>/"),
    (re.compile(r"/\S*/lib/python3\.\d+/"), "<python>/"),
    (re.compile(r"\b0x[0-9a-fA-F]{6,16}\b"), "0x..."),
    (re.compile(r"/tmp/pytest-of-[\w-]+/pytest-\d+"), "<tmp>"),
    (re.compile(r"/tmp/tmp[a-z0-9_]{8}"), "<tmp>"),
    (re.compile(r"\btmp[a-z0-9_]{8}\b"), "tmp..."),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+"), "<time>"),
    (re.compile(r"\b(pid|PID)([ =:]+)\d+"), r"\1\2..."),
)


_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$')


def trim_stack(dump: str) -> str:
    """The stack that `faulthandler` dumped, as our tracebacks are: oldest first, library folded.

    What lies above the first frame of the repository is the test framework and is left out.
    """
    lines: list[str] = []
    folded = 0
    for raw in reversed(dump.splitlines()):
        frame = _FRAME.match(raw)
        if frame is None:
            continue
        if not frame["file"].startswith("/repo/"):
            folded += bool(lines)
            continue
        if folded:
            lines.append(f"    [{folded} library frame{'' if folded == 1 else 's'}]")
            folded = 0
        path = frame["file"].removeprefix("/repo/")
        lines.append(f"{path}:{frame['line']}: in {frame['name']}")
    if folded:
        lines.append(f"    [{folded} library frame{'' if folded == 1 else 's'}]")
    return "\n".join(lines)


_ADDRESS = "0x..."
_MARKED = re.compile(rf"^(?P<line>.*{re.escape(_ADDRESS)}.*)\n[E ]*\? [ +^-]+$", re.MULTILINE)
"""A line of a diff with an address in it, and below it the marks of where the lines differ."""


def clean(text: str) -> str:
    """`text` with run-to-run noise taken out; the same input gives the same output."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _MARKED.sub(r"\g<line>", text) if _ADDRESS in text else text
