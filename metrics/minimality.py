"""Whether an answer changes no more than the known fix does."""

import difflib

from flywheel.programs import Answer, Case, Score

VERSION = "1"


def minimality(case: Case, answer: Answer) -> Score:
    """Lines that the known fix changes over those that the answer changes, 1 at the most.

    Lines taken away and lines added count, blank ones and white space at their ends do not. It
    says nothing of whether the answer is right.
    """
    if answer.code is None:
        return Score(0.0, "the answer holds no code")
    fix, own = _changed(case.bad, case.good), _changed(case.bad, answer.code)
    parts = {"fix": float(fix), "answer": float(own)}
    if not own:
        return Score(0.0, "it changes nothing", parts)
    if not fix:
        return Score(None, "the known fix changes blank lines only", parts)
    return Score(min(1.0, fix / own), f"{own} lines changed, {fix} by the known fix", parts)


def _changed(before: str, after: str) -> int:
    old, new = (
        [line.rstrip() for line in text.splitlines() if line.strip()] for text in (before, after)
    )
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return sum(
        (i2 - i1) + (j2 - j1) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal"
    )
