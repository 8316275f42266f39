"""A bug of the history must be a bug: the absence of what its fix brought besides is none.

A fix that also adds a function fails, when it is undone, whichever test calls the function: the
failure names what only the fixed code has. Where a fix can be undone in part only, half of a
renaming fails wherever the other half is used: the failure names what only the broken code has.
They are true failures, and say nothing of a bug that ever was.
"""

from __future__ import annotations

import re
from dataclasses import replace

from flywheel.core.records import Judged, TestFailure

HALF = "half-a-change"
"""Reason of a verdict on what fails for a name that only one side of the fix knows."""

PART = "revert-hunk"
"""Operator of a candidate that undoes a part of what a fix did to a file."""
_NAMING = frozenset(
    {"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "TypeError"}
)
"""Exceptions of Python that say that a name, or an argument of that name, is not there."""
_QUOTED = re.compile(r"['\"`](\w+)['\"`]")
_WORD = re.compile(r"[A-Za-z_]\w*")
_OTHER_KIND = re.compile(r"object is not (?:callable|subscriptable|iterable)$")


def real(judged: Judged) -> Judged:
    """A verdict on a bug of the history that also holds for its being one.

    Unknown where each failure whose details are kept names what only the fixed code has; or, for a
    part of a fix, what only the broken code has, or is of a kind that the rest of the fix changed.
    """
    candidate = judged.candidate
    if judged.verdict != "valid" or candidate.origin is None or judged.confirmation is None:
        return judged
    good, bad = (set(_WORD.findall(text)) for text in (candidate.good, candidate.bad))
    files = candidate.origin.signals.get("source_files", 1)
    part = candidate.operator == PART or (files != 1 and not candidate.others)
    names = good ^ bad if part else good - bad
    failures = judged.confirmation.failures
    if failures and all(_tells_of(one, names, part=part) for one in failures):
        return replace(judged, verdict="unknown", reason=HALF)
    return judged


def _tells_of(failure: TestFailure, names: set[str], *, part: bool) -> bool:
    if failure.type not in _NAMING:
        return False
    if not names.isdisjoint(_QUOTED.findall(failure.message)):
        return True
    other_kind = _OTHER_KIND.search(failure.message)
    return part and failure.type == "TypeError" and other_kind is not None
