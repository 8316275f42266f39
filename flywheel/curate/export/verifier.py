"""Runs in the container of a task, as a plugin of pytest: do the tests that must pass, pass?

It needs nothing but the tests' own Python, of 3.8 or newer; `tests.json` lies beside it. It says 1
where all of them did, and else 0, in the file that Harbor reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

REWARD = Path("/logs/verifier/reward.txt")
"""Where Harbor looks for the result."""
_WANTED = json.loads(Path(__file__).with_name("tests.json").read_text(encoding="utf-8"))
_PASSED: set[str] = set()
_FAILED: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take down how a phase of a test ended; one that fails as it should has passed."""
    if report.failed:
        _FAILED.add(report.nodeid)
    elif report.when == "call" and (report.passed or hasattr(report, "wasxfail")):
        _PASSED.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Say whether all that must pass did."""
    wanted = {one for names in _WANTED.values() for one in names}
    REWARD.write_text("1\n" if wanted <= _PASSED - _FAILED else "0\n", encoding="utf-8")
