"""Ctrl-C that is not lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. Where that is a hook whose
errors are ignored (of a fork, a finalizer, a weak reference's callback), it is printed as an
ignored exception and forgotten. Where it is an import, libraries take it for one that failed, and
go without, or are left half imported. The program goes on as if nobody had pressed a key.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from types import FrameType

from flywheel.core.errors import Interrupted

_AGAIN_SECONDS = 0.05
"""Long enough to be out of the hook that swallowed it, too short for a person to notice."""
_PATIENCE = 1.0
"""Seconds that an import may take to its end. After that it ends as if killed: nothing that is
kept is lost by that."""
_IMPORT = "<frozen importlib._bootstrap>"
"""File of the frames that an import has."""


def keep_interrupts() -> None:
    """Let an interrupt wait for an import, and raise it again where a hook swallowed it.

    The main thread's call, once.
    """
    otherwise = sys.unraisablehook
    since: float | None = None

    def heard(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        else:
            otherwise(unraisable)

    def pressed(number: int, frame: FrameType | None) -> None:
        nonlocal since
        now = time.monotonic()
        if not _imports(frame):
            since = None
            raise KeyboardInterrupt
        if since is None:
            since = now
        if now - since > _PATIENCE:
            os.write(sys.stderr.fileno(), b"Interrupted.\n")
            os._exit(Interrupted.exit_code)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    # At the very end nothing is left to raise it in, and its signal would kill.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, pressed)
    signal.signal(signal.SIGALRM, pressed)
    sys.unraisablehook = heard


def _imports(frame: FrameType | None) -> bool:
    """Whether an import is under way."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
