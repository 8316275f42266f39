"""What fails for a name that only one side of a fix knows is no bug that ever was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flywheel.core.records import (
    Candidate,
    FixCommit,
    Judged,
    Lane,
    Outcome,
    Span,
    Status,
    TestFailure,
    Trial,
)
from flywheel.critic.half import HALF, real

GOOD = "def area(self):\n    return self.pi * self.r\n\ndef width(self):\n    return 2 * self.r\n"
BAD = "def area(self):\n    return self.tau * self.r\n"


def _judged(*failures: tuple[str, str], origin: bool = True, files: int = 1) -> Judged:
    fix = FixCommit("c", datetime(2026, 1, 1, tzinfo=UTC), "Fix area", {"source_files": files})
    candidate = Candidate(
        "a.py", "Circle", Span(0, 1), "", "", 1, 1, "reverted", "revert-file", GOOD, BAD, "h"
    )
    trial = Trial(
        Status.RAN,
        Outcome.FAILS,
        "",
        Lane.FRESH,
        3,
        1,
        ("t",),
        (),
        tuple(TestFailure("t", "call", kind, message, "", "") for kind, message in failures),
        0.1,
    )
    candidate = replace(candidate, origin=fix if origin else None)
    return Judged(candidate, trial, trial, trial, "valid", "")


@pytest.mark.parametrize(
    ("failure", "whole", "part"),
    [
        (("AttributeError", "'Circle' object has no attribute 'width'"), True, True),
        (("ImportError", "cannot import name 'width' from 'a'"), True, True),
        # Of a whole fix it is what was repaired; of a part, the other half.
        (("AttributeError", "'Circle' object has no attribute 'tau'"), False, True),
        (("TypeError", "'bool' object is not callable"), False, True),
        (("AttributeError", "'NoneType' object has no attribute 'r'"), False, False),
        (("AssertionError", "assert 'width' == 'tau'"), False, False),
        (("TypeError", "area() missing 1 required positional argument: 'self'"), False, False),
    ],
)
def test_a_failure_that_names_one_side_of_a_fix_is_half_a_change(failure, whole, part):
    for files, half in ((1, whole), (2, part)):
        found = real(_judged(failure, files=files))
        assert (found.verdict, found.reason) == (("unknown", HALF) if half else ("valid", ""))


def test_one_failure_of_another_kind_is_enough():
    mixed = _judged(("AttributeError", "no attribute 'width'"), ("AssertionError", "assert 1 == 2"))
    assert real(mixed).verdict == "valid"


def test_what_was_made_up_is_left_alone():
    made_up = _judged(("AttributeError", "no attribute 'width'"), origin=False)
    assert real(made_up).verdict == "valid"
