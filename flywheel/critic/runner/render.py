"""A failure as columns, rendered cheaply.

pytest's own tracebacks cost 8 ms a failure and more; walking the frames and taking the message
costs a tenth of a millisecond. Frames of the repository are shown with their line of source,
runs of library frames are folded to one line. Everything is capped and guarded, for mutated
code may break `repr` and `str` themselves.
"""

from __future__ import annotations

import linecache
from typing import Any, Dict, List, Optional

ROOT = "/repo/"
"""Where the tree is mounted; paths below it are shown relative."""
MESSAGE_LIMIT = 2000
"""Characters kept of a message."""
FRAME_LIMIT = 24
"""Frames of the repository kept: the first half and the last half."""
COUNTED_FRAMES = 100
"""Of more frames left out the number is not told: how deep a recursion went depends on where it
began, and the same failure must give the same text."""


def text_of(value: object) -> str:
    """`str(value)`, capped, or what went wrong in taking it."""
    try:
        text = str(value)
    except Exception as error:  # the code under test may have broken __str__ itself
        text = "<str() raised %s>" % type(error).__name__
    if len(text) > MESSAGE_LIMIT:
        text = text[:MESSAGE_LIMIT] + "..."
    return text


def failure(value: BaseException, tb: Any, phase: str) -> Dict[str, str]:
    """Columns of one failure: type, message, assertion, traceback."""
    doctest = _doctest(value)
    if doctest is not None:
        return dict(doctest, phase=phase)
    kind = type(value).__name__
    text = text_of(value)
    lines = text.splitlines() or [""]
    parts = []
    chain = _chain(value)
    for earlier, joint in chain:
        parts.extend(_frames(earlier.__traceback__))
        parts.append("E   " + _headline(type(earlier).__name__, text_of(earlier).splitlines()))
        parts.append(joint)
    parts.extend(_frames(tb))
    parts.append("E   " + _headline(kind, lines))
    parts.extend("E   " + line for line in lines[1:12])
    return {
        "phase": phase,
        "type": kind,
        "message": lines[0],
        "assertion": text if isinstance(value, AssertionError) else "",
        "traceback": "\n".join(parts),
    }


def _headline(kind: str, lines: List[str]) -> str:
    first = lines[0] if lines else ""
    return "%s: %s" % (kind, first) if first else kind


def _chain(value: BaseException) -> List[Any]:
    """Up to two earlier exceptions, oldest first, each with the words that join it to the next."""
    found = []  # type: List[Any]
    current = value
    while len(found) < 2:
        cause = current.__cause__
        if cause is not None:
            found.append((cause, "which was the direct cause of:"))
            current = cause
        elif current.__context__ is not None and not current.__suppress_context__:
            found.append((current.__context__, "during whose handling came:"))
            current = current.__context__
        else:
            break
    found.reverse()
    return found


def _frames(tb: Any) -> List[str]:
    entries = []  # type: List[Any]
    while tb is not None:
        code = tb.tb_frame.f_code
        entries.append((code.co_filename, tb.tb_lineno, code.co_name))
        tb = tb.tb_next
    return frames(entries)


def frames(entries: List[Any]) -> List[str]:
    """Lines for (file, line, function) entries, oldest first, library frames folded."""
    lines = []  # type: List[str]
    folded = 0
    seen_own = False
    for filename, line, name in entries:
        if not filename.startswith(ROOT):
            # What lies above the first frame of the repository is the test framework.
            folded += seen_own
            continue
        seen_own = True
        if folded:
            lines.append("    [%d library frame%s]" % (folded, "" if folded == 1 else "s"))
            folded = 0
        shown = "%s:%d: in %s" % (filename[len(ROOT) :], line, name)
        source = linecache.getline(filename, line).strip()
        lines.append(shown + ("\n    " + source if source else ""))
    if folded:
        lines.append("    [%d library frame%s]" % (folded, "" if folded == 1 else "s"))
    if len(lines) > FRAME_LIMIT:
        half = FRAME_LIMIT // 2
        left_out = len(lines) - 2 * half
        told = str(left_out) if left_out <= COUNTED_FRAMES else "more than %d" % COUNTED_FRAMES
        lines[half:-half] = ["    [%s frames]" % told]
    return lines


def _doctest(value: BaseException) -> Optional[Dict[str, str]]:
    """A doctest's failure has no frame of its own: the example, wanted and got are the text."""
    failures = getattr(value, "failures", None)
    if type(value).__name__ == "MultipleDoctestFailures" and failures:
        value = failures[0]
    if type(value).__name__ == "DocTestFailure":
        example = value.example  # type: ignore[attr-defined]
        got = text_of(value.got)  # type: ignore[attr-defined]
        line = (value.test.lineno or 0) + example.lineno + 1  # type: ignore[attr-defined]
        path = str(value.test.filename).replace(ROOT, "")  # type: ignore[attr-defined]
        shown = "Expected:\n%sGot:\n%s" % (example.want, got)
        return {
            "type": "DocTestFailure",
            "message": "doctest output differs",
            "assertion": shown,
            "traceback": "%s:%d: in doctest\n    %s\nE   %s"
            % (path, line, example.source.strip(), shown.replace("\n", "\nE   ")),
        }
    if type(value).__name__ == "UnexpectedException":
        inner = value.exc_info  # type: ignore[attr-defined]
        return failure(inner[1], inner[2], "call")
    return None
