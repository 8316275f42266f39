"""A unified diff of one file, made to be applied by `git apply`, and read back by its hunks.

Only the part of the file between its first and its last difference is compared, so a one-line
change in a file of a megabyte costs a millisecond. Knows nothing of git and reads no file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

CONTEXT = 3
"""Unchanged lines shown on each side of a change, as git shows."""

_HEAD = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")

LARGEST_COMPARED = 2_000
"""Lines between first and last difference above which they are shown as one replacement: a line
by line comparison takes quadratic time."""


def unified_patch(path: str, before: bytes, after: bytes) -> str:
    """The patch that turns `before` into `after`, with `a/` and `b/` paths and 3 lines of context.

    `path` is repository-relative and POSIX. Lines end at newlines only; a carriage return is
    content. Equal contents give the empty string. Bytes that are not UTF-8 become lone
    surrogates (`surrogateescape`), so encoding the result the same way gives them back.
    """
    if before == after:
        return ""
    start = _line_start(before, _common_prefix(before, after))
    tail = _common_suffix(before, after, start)
    first = _context_start(before, start)
    end = len(before) - tail
    old = _lines(before[first : _context_end(before, end)])
    new = _lines(after[first : _context_end(after, len(after) - tail)])
    leading = before.count(b"\n", first, start)
    trailing = len(old) - leading - len(_lines(before[start:end]))
    skipped = before.count(b"\n", 0, first)
    out = [f"--- {_quoted('a/' + path)}\n", f"+++ {_quoted('b/' + path)}\n"]
    for group in _groups(old, new, leading, trailing):
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        out.append(f"@@ -{_range(skipped + i1, i2 - i1)} +{_range(skipped + j1, j2 - j1)} @@\n")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                out.extend(_marked(" ", old[i1:i2]))
            else:
                out.extend(_marked("-", old[i1:i2]))
                out.extend(_marked("+", new[j1:j2]))
    return "".join(out)


def hunks(patch: str) -> Iterator[list[tuple[str, str]]]:
    """The hunks of a unified diff, each a list of lines: the sign (` `, `-`, `+`) and the text.

    The lengths that a hunk's head says are what counts, so a line that only looks like a head is
    a line. What is no part of a hunk is passed over.
    """
    lines = iter(patch.split("\n"))
    for line in lines:
        head = _HEAD.match(line)
        if head is None:
            continue
        old, new = (int(one) if one is not None else 1 for one in head.groups())
        found: list[tuple[str, str]] = []
        for row in lines:
            sign, text = row[:1], row[1:]
            if sign == "\\":  # no newline at the end of the file
                continue
            found.append((sign or " ", text))
            old -= sign != "+"
            new -= sign != "-"
            if old <= 0 and new <= 0:
                break
        yield found


def changed_lines(patch: str) -> int:
    """Lines that a unified diff takes away and adds, together."""
    return sum(sign != " " for hunk in hunks(patch) for sign, _ in hunk)


def _common_prefix(a: bytes, b: bytes) -> int:
    """Length of the common prefix, by bisection: comparing slices is a memcmp."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(a: bytes, b: bytes, start: int) -> int:
    """Length of the common suffix made of whole lines, not reaching back before `start`."""
    low, high = 0, min(len(a), len(b)) - start
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    if low == len(a) - start or low == len(b) - start:
        # One side ends where the other still has text: a whole line only if a line ends there.
        longer = a if len(a) > len(b) else b
        edge = len(longer) - low
        if edge == start or longer[edge - 1 : edge] == b"\n":
            return low
    cut = a.find(b"\n", len(a) - low)
    return 0 if cut < 0 else len(a) - cut - 1


def _line_start(text: bytes, position: int) -> int:
    return text.rfind(b"\n", 0, position) + 1


def _context_start(text: bytes, start: int) -> int:
    for _ in range(CONTEXT):
        if start == 0:
            break
        start = text.rfind(b"\n", 0, start - 1) + 1
    return start


def _context_end(text: bytes, end: int) -> int:
    for _ in range(CONTEXT):
        newline = text.find(b"\n", end)
        if newline < 0:
            return len(text)
        end = newline + 1
    return end


def _lines(text: bytes) -> list[str]:
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    last = lines.pop()
    lines = [line + "\n" for line in lines]
    return [*lines, last] if last else lines


_Opcode = tuple[str, int, int, int, int]


def _groups(old: list[str], new: list[str], head: int, tail: int) -> list[list[_Opcode]]:
    """Opcodes by hunk. The first `head` and last `tail` lines are context, equal by construction.

    They are kept from the comparison, which might pair them otherwise: a hunk would then lack
    context in the middle of a file, and `git apply` takes that for the file's first or last line.
    """
    i, j = len(old) - tail, len(new) - tail
    codes: list[_Opcode] = [("replace", head, i, head, j)]
    if max(i, j) - head <= LARGEST_COMPARED:
        matcher = difflib.SequenceMatcher(None, old[head:i], new[head:j], autojunk=False)
        codes = [
            (tag, i1 + head, i2 + head, j1 + head, j2 + head)
            for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        ]
    if head:
        codes.insert(0, ("equal", 0, head, 0, head))
    if tail:
        codes.append(("equal", i, len(old), j, len(new)))
    return [list(group) for group in _Compared(codes).get_grouped_opcodes(CONTEXT)]


class _Compared(difflib.SequenceMatcher[str]):
    """A comparison whose result is known; only its grouping into hunks is asked for."""

    def __init__(self, codes: list[_Opcode]) -> None:
        super().__init__()
        self._codes = codes

    def get_opcodes(self) -> list[_Opcode]:  # type: ignore[override]  # plain tuples will do
        return self._codes


def _range(start: int, length: int) -> str:
    """A hunk's range as POSIX writes it: 1-based, the line before when it is empty."""
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _marked(mark: str, lines: list[str]) -> list[str]:
    return [
        mark + line if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
        for line in lines
    ]


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _quoted(path: str) -> str:
    """The path as git writes it in a header: C-quoted when odd, tab-ended when it has a space."""
    if any(c in _ESCAPES or ord(c) < 32 or ord(c) == 127 for c in path):
        escaped = (
            _ESCAPES.get(c) or (f"\\{ord(c):03o}" if ord(c) < 32 or ord(c) == 127 else c)
            for c in path
        )
        return f'"{"".join(escaped)}"'
    return f"{path}\t" if " " in path else path
