"""Bugs that share a candidate must each show: a verdict on all of them says nothing of one.

Knows nothing of how such candidates are put together.
"""

from __future__ import annotations

from dataclasses import replace

from flywheel.core.records import Judged, Part

MASKED = "masks-a-bug"
"""Reason of a verdict on several bugs of which one does not show beside the others."""


def told_apart(judged: Judged) -> Judged:
    """A verdict that also holds for each part of its candidate.

    Of each part's tests, those are kept that failed in both runs of the bad code. A part that is
    left without one is masked by the others, and the verdict is unknown.
    """
    parts, again = judged.candidate.parts, judged.confirmation
    if judged.verdict != "valid" or not parts or again is None:
        return judged
    failed = set(judged.trial.failing) & set(again.failing)
    shown = tuple(
        Part(part.candidate_id, tuple(test for test in part.tests if test in failed))
        for part in parts
    )
    if not all(part.tests for part in shown):
        return replace(judged, verdict="unknown", reason=MASKED)
    return replace(judged, candidate=replace(judged.candidate, parts=shown))
