"""What judges: the contract of the critics, as the loop that feeds them sees it."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from flywheel.core.records import Candidate, Judged


class Judge(Protocol):
    """Judges candidates against one suite in one environment.

    `prove` and `collect` raise `CriticError` when it cannot be trusted, or not any more.
    """

    @property
    def busy(self) -> int:
        """Candidates and runs under way."""
        ...

    @property
    def hungry(self) -> bool:
        """True when another candidate may be submitted without queueing in memory."""
        ...

    @property
    def mismatches(self) -> int:
        """Candidates whose confirmation found other failures than the first run."""
        ...

    @property
    def audits(self) -> int:
        """Confirmations that ran the whole suite to see that a selection misses nothing."""
        ...

    @property
    def widened(self) -> Set[str]:
        """Files whose changes were seen to show beyond the tests that execute them."""
        ...

    @property
    def not_warm_reason(self) -> str:
        """Why judging is slower than it could be, empty when it is not."""
        ...

    def covered_lines(self, path: str) -> Set[int] | None:
        """Lines of a file that the suite executes, None when not known."""
        ...

    def prove(self) -> None:
        """See that the clean tree passes and a planted error does not."""
        ...

    def submit(self, candidate: Candidate) -> None:
        """Take a candidate; its `Judged` comes out of `collect` some time later."""
        ...

    def collect(self, *, timeout: float | None = None) -> list[Judged]:
        """Judged candidates that are ready; waits up to `timeout` seconds for something."""
        ...

    def close(self) -> None:
        """Stop; what is under way is not judged."""
        ...
