"""The exit code of a run, by how it ended."""

from __future__ import annotations

from flywheel.core.ending import BUDGET, INTERRUPTED
from flywheel.core.errors import BudgetError, Interrupted

_CODES = {INTERRUPTED: Interrupted.exit_code, BUDGET: BudgetError.exit_code}


def exit_code(ended: str) -> int:
    """0, but for a run that a person stopped, or that may spend no more."""
    return _CODES.get(ended, 0)
