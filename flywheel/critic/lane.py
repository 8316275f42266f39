"""One lane of the critic: a fork server in a box, and the conversation with it.

A `LaneServer` starts the runner inside the sandbox, sends requests and hands back typed
replies. It knows nothing of verdicts: what a reply means is the critic's business.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.core.errors import CriticError
from flywheel.core.records import Lane
from flywheel.sandbox import Box, Limits, Slot, kill, seccomp

RUNNER = Path(__file__).parent / "runner"
"""The code that runs in the box, mounted as the package `flywheel_runner`."""
RUNNER_TARGET = "/flywheel/flywheel_runner"
"""Where the box sees it."""
MAX_TESTS = 1 << 18
"""Tests a suite may have while their ids are not yet known to the server."""
_BOOT = "import sys; sys.path.insert(0, '/flywheel'); from flywheel_runner.boot import main; main()"


@dataclass(slots=True)
class Reply:
    """What one fork reported, untyped parts still as the runner sent them."""

    request_id: int
    """The request it answers."""
    status: str
    """`ran`, or how it ended: `died`, `oom`, `wall`, `test-wall`, `output`, `infrastructure`."""
    outcomes: str
    """One character a selected test (see the runner's `session`)."""
    position: int
    """Position of the last test begun, -1 when none was."""
    code: int
    """Exit status of the fork; negative is the signal that killed it."""
    seconds: float
    """Wall time of the fork."""
    grown: int = 0
    """Bytes of memory the fork held at its most beyond what its server does."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase: fork, patch, tests, reap."""
    failures: dict[int, dict[str, str]] = field(default_factory=dict)
    """Details of failures, by position in the selection."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Other messages by name: collected, imported, times, exit, canary, refused …"""
    lines: dict[int, dict[int, list[int]]] = field(default_factory=dict)
    """Position -> file index -> lines executed, when the line map was asked for."""
    shared: list[tuple[list[int], dict[int, list[int]]]] = field(default_factory=list)
    """Positions -> file index -> lines executed by a fixture that these tests share."""
    stack: str = ""
    """Stack dumped when a time limit struck, empty otherwise."""
    output: str = ""
    """End of what the fork printed."""


class LaneServer:
    """A running fork server. Use `start`, then `submit` and `receive`; `close` kills it."""

    def __init__(
        self,
        lane: Lane,
        box: Box,
        *,
        python: str,
        args: Sequence[str],
        pythonpath: Sequence[str],
        isolation: Mapping[str, Any],
        pass_fds: Sequence[int] = (),
        on_close: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is that of the commands that a server of the cold lane runs."""
        self.lane = lane
        self._box = box
        self._python = python
        self._config = {
            "args": list(args),
            "pythonpath": list(pythonpath),
            "isolation": dict(isolation),
            "max_tests": MAX_TESTS,
            "environment": dict(environment or {}),
        }
        self._pass_fds = tuple(pass_fds)
        self._on_close = on_close
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._next_id = 1
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the server)
        self.items: tuple[str, ...] = ()
        """Ids of the collected tests, once started (warm lane only)."""
        self.threads = 0
        """Threads the server had when it was ready; more than one cannot be forked safely."""
        self.plain = 0
        """Tests of the warm lane that can be called without pytest's protocol."""
        self.imported: frozenset[str] = frozenset()
        """Files of the repository that the server itself imported (fresh lane only): pytest is
        made of them, so no fork imports them anew."""

    def start(self, *, timeout: float) -> None:
        """Boot the server and wait until it is ready.

        Raises `CriticError` with the server's own output when it does not get there.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        argv = [self._python, "-c", _BOOT, self.lane.value, str(theirs.fileno())]
        self._process = self._box.popen(
            argv,
            pass_fds=(theirs.fileno(), *self._pass_fds),
            stdout=self._output.fileno(),
            stderr=self._output.fileno(),
        )
        theirs.close()
        self._socket = ours
        try:
            ours.sendall(json.dumps(self._config).encode() + b"\n")
            while not (frames := list(self._frames())):
                self._fill()
        except OSError as error:
            raise self._failed(f"no answer within {timeout:g} s ({error})") from error
        header, body = frames[0]
        if header["status"] != "ready":
            raise self._failed(f"pytest ended with code {header.get('code')}")
        self.threads = header["threads"]
        self.plain = header.get("plain", 0)
        self.imported = frozenset(header.get("imported", ()))
        self.items = tuple(json.loads(body)) if body else ()
        ours.settimeout(None)

    def fileno(self) -> int:
        """For `select`: readable when a reply waits."""
        assert self._socket is not None
        return self._socket.fileno()

    def submit(self, request: dict[str, Any]) -> int:
        """Send one request; returns the id its reply will carry. Raises `CriticError`."""
        request_id = self._next_id
        self._next_id += 1
        assert self._socket is not None
        try:
            self._socket.sendall(json.dumps({**request, "id": request_id}).encode() + b"\n")
        except OSError as error:
            raise self._failed(f"it stopped listening ({error})") from error
        return request_id

    def tell(self, ids: Sequence[str], paths: Sequence[str], seconds: Sequence[float]) -> None:
        """Give the server the numbering of the tests; waits until it has it."""
        self._ask({"op": "tests", "ids": list(ids), "paths": list(paths), "seconds": list(seconds)})

    def compile_patterns(self, patterns: Sequence[Any]) -> None:
        """Have the server compile these regular expressions once, for all its forks; waits."""
        self._ask({"op": "patterns", "patterns": list(patterns)})

    def receive(self) -> list[Reply]:
        """Replies that have arrived; blocks for at least some bytes. Raises `CriticError`."""
        return [_reply(header, body) for header, body in self.frames()]

    def frames(self) -> list[tuple[dict[str, Any], bytes]]:
        """The same as the runner sent them, for a lane whose replies are of another kind."""
        try:
            self._fill()
        except OSError as error:
            raise self._failed(str(error)) from error
        return list(self._frames())

    def close(self) -> None:
        """Kill the server and everything it started."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            kill(self._process)
            self._process = None
        if self._on_close is not None:
            self._on_close()
            self._on_close = None
        self._output.close()

    def output(self) -> str:
        """The end of what the server printed, for error messages; empty once it is closed."""
        if self._output.closed:
            return ""
        size = self._output.seek(0, 2)
        self._output.seek(max(0, size - 4000))
        return self._output.read().decode(errors="replace").strip()

    def _ask(self, request: dict[str, Any]) -> None:
        self.submit(request)
        while not self.receive():
            continue

    def _fill(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionResetError("the server ended")
        self._buffer += data

    def _frames(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                return
            header = json.loads(bytes(self._buffer[:end]))
            whole = end + 1 + header["bytes"]
            if len(self._buffer) < whole:
                return
            body = bytes(self._buffer[end + 1 : whole])
            del self._buffer[:whole]
            yield header, body

    def _failed(self, what: str) -> CriticError:
        said = self.output()
        self.close()
        return CriticError(
            f"the {self.lane.value} test server failed: {what}",
            cause=said or None,
            hint="flywheel doctor",
        )


def isolation_of(limits: Limits, slot: Slot | None) -> dict[str, Any]:
    """Limits of one candidate as the runner's `isolate` takes them."""
    settings: dict[str, Any] = {
        "overlay_bytes": limits.overlay_mb << 20,
        "overlay_inodes": limits.overlay_inodes,
        "tmp_bytes": limits.tmp_mb << 20,
        "shm_bytes": limits.shm_mb << 20,
        "processes": limits.processes,
        "open_files": limits.open_files,
        "file_bytes": limits.file_mb << 20,
        "output_bytes": limits.output_bytes,
        "seccomp": base64.b64encode(seccomp.build()).decode(),
    }
    if slot is None:
        settings["soft_memory_bytes"] = limits.memory_mb << 20
    else:
        settings["cgroup_fds"] = list(slot.join_fds)
        settings["oom_fd"] = slot.oom_fd
    return settings


def _reply(header: dict[str, Any], body: bytes) -> Reply:
    reply = Reply(
        request_id=header["id"],
        status=header["status"],
        outcomes=header.get("outcomes", ""),
        position=header.get("position", -1),
        code=header.get("code", 0),
        seconds=header.get("ended", 0.0) - header.get("began", 0.0),
        grown=header.get("grown", 0),
        output=header.get("output", ""),
    )
    stack: list[str] = []
    marks: dict[str, float] = {}
    for raw in body.splitlines():
        if not raw.startswith(b'{"'):
            stack.append(raw.decode(errors="replace"))
            continue
        try:
            message = json.loads(raw)
        except ValueError:
            # A killed fork may leave half a line; what it says is not used.
            continue
        if "failure" in message:
            reply.failures[message.pop("failure")] = message
        elif "lines" in message:
            lines = reply.lines.setdefault(message["lines"], {})
            for name, found in message["files"].items():
                lines.setdefault(int(name), []).extend(found)
        elif "shared" in message:
            files = {int(name): found for name, found in message["files"].items()}
            reply.shared.append((message["shared"], files))
        else:
            for name, value in message.items():
                if name in ("ready", "patched", "collected_at", "done"):
                    marks[name] = value
                else:
                    reply.fields[name] = value
    reply.stack = "\n".join(stack)
    if "ready" in marks:
        # The clock is the system's, so times of both sides of the namespaces compare.
        loaded = marks.get("patched", marks.get("collected_at", marks["ready"]))
        done = marks.get("done", header["ended"])
        reply.phases = {
            "fork": marks["ready"] - header["began"],
            "patch": loaded - marks["ready"],
            "tests": done - loaded,
            "reap": header["ended"] - done,
        }
    return reply
