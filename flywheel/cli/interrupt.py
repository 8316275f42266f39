"""Ctrl-C that is not lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. Where that is a hook whose
errors are ignored (of a fork, a finalizer, a weak reference's callback), it is printed as an
ignored exception and forgotten, and the program goes on as if nobody had pressed a key.
"""

from __future__ import annotations

import signal
import sys

_AGAIN_SECONDS = 0.05
"""Long enough to be out of the hook that swallowed it, too short for a person to notice."""


def keep_interrupts() -> None:
    """Raise an interrupt again that was swallowed, until code hears it; the main thread's call."""
    otherwise = sys.unraisablehook

    def heard(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        else:
            otherwise(unraisable)

    def again(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, again)
    sys.unraisablehook = heard
