"""What a server of the cold lane hands back of a command; the isolation is left out."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import flywheel.critic.runner


class End(NamedTuple):
    """How a fork ended, as `isolate` says it."""

    cause: str = "exited"
    status: int = 0
    output: bytes = b""
    detail: str = ""


class InProcess:
    """Runs what a fork would, in a process that is neither forked nor shut in."""

    def __init__(self) -> None:
        self.said = b""

    def spawn(self, work: Callable[[int], None]) -> InProcess:
        reading, writing = os.pipe()
        work(writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            self.said = pipe.read()
        return self

    def wait(self, seconds: float, on_result: Callable[[bytes], None]) -> End:
        on_result(self.said)
        return End()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Runs a shell script in a tree; the header and the report that come of it."""
    monkeypatch.setitem(sys.modules, "flywheel_runner", flywheel.critic.runner)
    command = importlib.import_module("flywheel_runner.command")
    monkeypatch.setattr(command, "ROOT", f"{tmp_path}/")

    def told(script: str) -> tuple[dict[str, Any], bytes]:
        ours, theirs = socket.socketpair()
        sent: list[tuple[dict[str, Any], bytes]] = []
        server = command.Server(theirs, {"environment": dict(os.environ)}, InProcess())
        server.send = lambda header, body=b"": sent.append((header, body))
        report = str(tmp_path / "report.tap")
        argv = ["sh", "-c", script]
        server.run({"id": 1, "files": {}, "argv": argv, "report": report, "wall": 9.0})
        ours.close()
        theirs.close()
        return sent[0]

    return told


def test_the_report_that_a_command_wrote_is_handed_back(run) -> None:
    header, report = run("echo 'ok 1' > report.tap; exit 3")
    assert (header["status"], header["code"], report) == ("ran", 3, b"ok 1\n")


def test_a_report_that_was_there_before_is_none_of_this_run(run, tmp_path) -> None:
    (tmp_path / "report.tap").write_text("1..1\nok 1 - stale\n")
    assert run("exit 1")[1] == b""
