"""Where two contents differ: runs of lines, and what stands in their place."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.candidates.module import Edit
from flywheel.core.patch import LARGEST_COMPARED
from flywheel.core.records import Span

_NEAR = 3
"""Unchanged lines that part two hunks."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of one content and what stands in their place in another, counted from 0."""

    start: int
    """First line."""
    end: int
    """One past the last line."""
    new_start: int
    """First line in the other content."""
    new_end: int
    """One past the last line there."""

    def until(self, later: Hunk) -> Hunk:
        """This hunk, a later one, and all between."""
        return Hunk(self.start, later.end, self.new_start, later.new_end)

    def edit(self, old: Sequence[bytes], new: Sequence[bytes]) -> Edit:
        """The change as an edit of the first content."""
        start = sum(map(len, old[: self.start]))
        end = start + sum(map(len, old[self.start : self.end]))
        return Edit(Span(start, end), b"".join(new[self.new_start : self.new_end]).decode())


def hunks(old: Sequence[bytes], new: Sequence[bytes]) -> list[Hunk]:
    """Where two contents differ, line by line; what lies close together is one hunk."""
    found: list[Hunk] = []
    for hunk in differing(old, new):
        near = found and hunk.start - found[-1].end < _NEAR
        found.append(found.pop().until(hunk) if near else hunk)
    return found


def differing(old: Sequence[bytes], new: Sequence[bytes]) -> list[Hunk]:
    """Where two sequences differ, item by item.

    All from the first difference to the last is one where it is too long to be compared.
    """
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(len(before), len(after)) > LARGEST_COMPARED:
        return [Hunk(head, len(old) - tail, head, len(new) - tail)]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return [
        Hunk(head + i1, head + i2, head + j1, head + j2)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]
