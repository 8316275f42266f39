"""Ctrl-C that comes where Python ignores errors."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, sys, time
from flywheel.cli.interrupt import keep_interrupts

keep_interrupts()

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

def hook():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)

try:
    if sys.argv[1] == "finalizer":
        held = Finalized()
        del held
    else:
        os.register_at_fork(after_in_parent=hook)
        if os.fork() == 0:
            os._exit(0)
    time.sleep(20)
except KeyboardInterrupt:
    sys.exit(130)
"""


def _run(place: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, place], capture_output=True, text=True, timeout=15
    )


def test_an_interrupt_in_a_finalizer_is_raised_again():
    ran = _run("finalizer")
    assert ran.returncode == 130
    assert not ran.stderr


def test_an_interrupt_in_a_hook_of_fork_is_raised_again():
    ran = _run("fork")
    assert ran.returncode == 130
    assert not ran.stderr
