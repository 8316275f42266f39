"""Stacks and errors as JavaScript prints them; several formats carry them."""

from __future__ import annotations

import re

from flywheel.critic.reports.excerpt import fold

SCRIPT = re.compile(r"\.[cm]?[jt]sx?$")
"""The end of a file's name."""
OUTSIDE = frozenset({"hookFailed", "cancelledByParent"})
"""What Node calls failures that happened outside the test's own call."""

_FRAME = re.compile(
    r"^\s*at .*(?::\d+:\d+\)?|<anonymous>\)|\(native\)|index \d+\))(?P<opens> \{)?$"
)
_BARE = re.compile(
    r"^\s*(?:async )?[^()\n]*\(?(?:node:|/|file:|[\w./@-]+\.[cm]?[jt]sx?:)\S*:\d+:\d+\)?$"
)
_LIBRARY = re.compile(r"node:|node_modules/|<anonymous>\)|\(native\)|index \d+\)|STACK_TRACE_ERROR")
_NAMED = re.compile(
    r"^(?:Uncaught )?(?P<kind>[A-Za-z_$][\w$.]*)(?: \[[^\]]*\])?(?:: (?P<text>.*))?$"
)
_VITEST_SIDES = re.compile(
    r"^expected (?P<actual>.+?) (?:to (?:deeply |strictly )?(?:be|equal|match|contain|include))"
    r" (?P<expected>.+?)(?: // .*)?$"
)
_JEST_SIDES = re.compile(r"^(?P<key>Expected|Received)[\w ]*: +(?P<value>.+)$", re.MULTILINE)


def fold_stack(text: str, *, bare: bool = False) -> str:
    """`text` with the frames of libraries and of Node itself counted instead of shown.

    `bare` frames stand without the word `at`, as TAP reporters print them.
    """

    def is_library(line: str) -> bool:
        frame = _FRAME.match(line) or (bare and _BARE.match(line))
        return bool(frame and _LIBRARY.search(line))

    return fold(text, is_library)


def split_error(text: str) -> tuple[str, str]:
    """Class and message of an error printed as `Class: message`.

    What follows the message's first line and is no frame belongs to it.
    """
    head = [text.splitlines()[0].strip()] if text.strip() else [""]
    for line in text.splitlines()[1:]:
        if _FRAME.match(line):
            break
        head.append(line)
    match = _NAMED.match(head[0])
    if match is None or not (match["text"] or match["kind"].endswith(("Error", "Exception"))):
        return "Error", "\n".join(head)
    return match["kind"], "\n".join([match["text"] or "", *head[1:]]).strip()


def sides(message: str) -> str:
    """Both values of a failed comparison, where the message says them; else empty."""
    pairs = [(match["key"], match["value"]) for match in _JEST_SIDES.finditer(message)]
    keys = {key for key, _ in pairs}
    if keys == {"Expected", "Received"}:
        return "\n".join(f"{key.lower()}: {value}" for key, value in pairs[:2])
    if "\n" in message and ("+ Received" in message or "+ actual - expected" in message):
        return message.partition("\n")[2].strip("\n")
    match = _VITEST_SIDES.match(message.partition("\n")[0])
    if match:
        return f"expected: {match['expected']}\nreceived: {match['actual']}"
    return ""


def is_assertion(kind: str, message: str) -> bool:
    """True for a failed assertion of the frameworks' own kinds."""
    return kind.endswith("AssertionError") or message.startswith("expect(")
