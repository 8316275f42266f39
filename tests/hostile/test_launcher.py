"""What the host says when the box cannot be had."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.core.errors import SandboxError
from flywheel.sandbox import Probe, find_bwrap, probe


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the whole PATH, on a system without the wheel."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return tmp_path


def test_40_a_missing_bwrap_is_a_clear_error(only: Path) -> None:
    with pytest.raises(SandboxError, match=r"bubblewrap .* is missing") as caught:
        find_bwrap()
    assert caught.value.exit_code == 1
    assert "apt install bubblewrap" in str(caught.value.hint)


def test_40_a_bwrap_that_is_too_old_is_a_clear_error(only: Path) -> None:
    _script(only / "bwrap", "echo bubblewrap 0.4.1")
    with pytest.raises(SandboxError, match="no usable bubblewrap") as caught:
        find_bwrap()
    wanted = "version 0.4.1 is too old" if os.geteuid() == 0 else "not root's"
    assert wanted in str(caught.value.cause)


def test_40_a_program_that_is_not_bwrap_is_a_clear_error(only: Path) -> None:
    _script(only / "bwrap", "echo hello")
    with pytest.raises(SandboxError, match="no usable bubblewrap"):
        find_bwrap()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's bwrap is refused outright")
def test_40_a_bwrap_that_only_claims_to_be_one_is_a_clear_error(only: Path) -> None:
    _script(only / "bwrap", 'if [ "$1" = --version ]; then echo bubblewrap 0.9.0; else echo no; fi')
    with pytest.raises(SandboxError, match="cannot be started"):
        probe(refresh=True)


REFUSED = """
import ctypes, sys
from flywheel.core.errors import SandboxError
from flywheel.sandbox import probe, seccomp
libc = ctypes.CDLL(None)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
code = seccomp.build()
program = Program(len(code) // 8, code)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
try:
    print("level", probe().level)
except SandboxError as error:
    print(error.exit_code, error, "|", error.cause, "|", error.hint)
"""


def test_41_where_namespaces_are_refused_the_error_says_so_and_what_to_allow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.startswith("1 the sandbox cannot be started"), done.stdout
    assert "unprivileged user namespaces" in done.stdout


def test_41_a_level_that_this_machine_lacks_is_refused_and_never_replaced(
    found: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.sandbox.cgroup._own_paths", dict)
    try:
        assert probe(refresh=True).level != "S3"
        with pytest.raises(SandboxError, match="isolation S3 was asked for") as caught:
            probe("S3")
        assert "control group" in str(caught.value.cause)
        assert probe("S2").level == probe().level
    finally:
        monkeypatch.undo()
        probe(refresh=True)
    with pytest.raises(SandboxError, match="no isolation level 'S9'"):
        probe("S9")


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
