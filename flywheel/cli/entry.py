"""The first step and the last: no Ctrl-C is lost, and nothing that hangs keeps a command alive."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import NoReturn

_PATIENCE = 2.0
"""Seconds that threads are given to end when everything else has."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        from flywheel.cli.interrupt import keep_interrupts

        keep_interrupts()
        from flywheel.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        _leave(130)  # as `errors.Interrupted`, which may be what was being imported
    except SystemExit as ended:
        _leave(ended.code)
    _leave(0)


def _leave(code: object) -> NoReturn:
    """Exit; where a program of the user's hangs in a thread, without waiting for it.

    Python joins the threads of pools at its end, and what they keep is kept by then.
    """
    deadline = time.monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code if isinstance(code, int) else 0 if code is None else 1)
    sys.exit(code)  # type: ignore[arg-type]  # as it was given
