"""Ctrl-C that comes where an error is ignored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


IMPORTS = """
import sys, time
from flywheel.cli.interrupt import keep_interrupts

keep_interrupts()
try:
    import optional
    time.sleep(5)
    print("went on")
except KeyboardInterrupt:
    print("whole" if hasattr(sys.modules.get("optional"), "end") else "half")
    sys.exit(130)
"""
OPTIONAL = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({seconds})
except BaseException:
    pass  # as of a library that is not there
end = True
"""


def _imported(folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    (folder / "optional.py").write_text(OPTIONAL.format(seconds=seconds))
    return subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=15, cwd=folder
    )


def test_an_import_is_ended_before_an_interrupt_that_it_would_swallow(tmp_path: Path):
    ran = _imported(tmp_path, 0.3)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "whole\n", "")


def test_an_import_that_takes_long_is_not_waited_for(tmp_path: Path):
    ran = _imported(tmp_path, 10)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "Interrupted.\n")
