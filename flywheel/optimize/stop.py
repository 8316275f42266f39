"""What ends a study before its optimiser does: an outage, a budget, the time, a person.

DSPy takes an exception in a program or a metric for a bad answer, and goes on. `Stopped` is no
`Exception`, so it is not taken; but each thread must meet it. All of them ask here.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flywheel.core.ending import BUDGET, DONE, FAILED, INTERRUPTED, TIME_LIMIT
from flywheel.core.errors import BudgetError, FlywheelError, Interrupted
from flywheel.optimize.run import Stopped

GRACE = 30.0
"""Seconds beyond the time limit that what is under way may take to come by here."""


class Stop:
    """Whether a study is to end, and why; any thread may ask or tell."""

    def __init__(self, *, seconds: float | None = None) -> None:
        """`seconds` is how long it may take, None for no limit."""
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._error: FlywheelError | None = None
        self.ended = DONE
        """Why it ended: `done` until something stops it."""

    @property
    def error(self) -> FlywheelError | None:
        """What stopped it, None while nothing has."""
        return self._error

    @property
    def left(self) -> float | None:
        """Seconds until the time limit, None where there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def because(self, error: FlywheelError, ended: str | None = None) -> Stopped:
        """Stop everybody for this reason; the first reason counts. Gives what is to be raised."""
        with self._lock:
            if self._error is None:
                self._error = error
                self.ended = ended or _ENDED.get(type(error), FAILED)
            return Stopped(self._error)

    def check(self) -> None:
        """Go on, or raise `Stopped`."""
        if self._error is not None:
            raise Stopped(self._error)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise self._over()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Interrupt the main thread's block where the limit is long over: a program may hang."""
        ended = threading.Event()

        def watch() -> None:
            left = self.left
            if left is not None and not ended.wait(left + GRACE):
                self._over()
                _thread.interrupt_main()

        if self._deadline is not None and threading.current_thread() is threading.main_thread():
            threading.Thread(target=watch, name="flywheel-deadline", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _over(self) -> Stopped:
        return self.because(FlywheelError("the time limit is reached"), TIME_LIMIT)


_ENDED: dict[type[FlywheelError], str] = {BudgetError: BUDGET, Interrupted: INTERRUPTED}
