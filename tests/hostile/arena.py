"""A box with a warm process in it, as the critic starts one, that runs hostile candidates."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flywheel.sandbox import (
    Box,
    Level,
    Limits,
    Mount,
    Probe,
    Slot,
    give_to_box,
    kill,
    make_etc,
    make_slot,
    seccomp,
)
from flywheel.sandbox.probe import ISOLATE

MEMORY_MB = 64
PROCESSES = 24
MIB = 1 << 20


@dataclass(frozen=True)
class Ended:
    """What came of one candidate."""

    cause: str
    status: int
    detail: str
    output: str
    output_bytes: int
    seconds: float
    reports: list[Any]

    @property
    def report(self) -> Any:
        """The one thing that the candidate reported."""
        assert (self.cause, self.status) == ("exited", 0), self
        assert len(self.reports) == 1, self
        return self.reports[0]


class SetUpFailed(Exception):
    """The warm process could not isolate the candidate: (kind, why)."""


class Arena:
    """One warm process; candidates run in it one at a time."""

    def __init__(self, probe: Probe, folder: Path, *, threaded: bool = False) -> None:
        self.repo = folder / "repo"
        self.repo.mkdir(parents=True)
        (self.repo / "module.py").write_text("value = 'base'\n")
        (self.repo / "package").mkdir()
        (self.repo / "package" / "__init__.py").write_text("")
        (self.repo / "outside").symlink_to(folder / "host.txt")
        (folder / "host.txt").write_text("of the host")
        for part in (folder, *folder.parents[:2]):
            part.chmod(0o755)
        give_to_box(self.repo)
        self.slot: Slot | None = None
        if probe.level is Level.S3:
            self.slot = make_slot(memory_mb=MEMORY_MB, processes=PROCESSES + 8)
        # Another interpreter to attack from: FLYWHEEL_HOSTILE_PYTHON=/path/to/python3.8
        python = Path(os.environ.get("FLYWHEEL_HOSTILE_PYTHON", sys.executable)).resolve()
        prefix = python.parents[1]
        mounts = [
            Mount(self.repo, "/repo"),
            Mount(ISOLATE, "/flywheel_runner/isolate.py"),
            Mount(Path(__file__).with_name("warm_server.py"), "/warm_server.py"),
        ]
        if not prefix.is_relative_to("/usr"):
            mounts.append(Mount(prefix, str(prefix)))
        box = Box(
            probe.bwrap,
            mounts=tuple(mounts),
            environment={
                "PATH": "/usr/bin:/bin",
                "HOME": "/tmp",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            limits=replace(Limits(), tmp_mb=32, shm_mb=16),
            nested=True,
            etc=make_etc(folder / "etc"),
        )
        config = {
            "overlay_bytes": 8 * MIB,
            "overlay_inodes": 2000,
            "tmp_bytes": 40 * MIB,
            "shm_bytes": 8 * MIB,
            "processes": PROCESSES,
            "open_files": 64,
            "file_bytes": 4 * MIB,
            "output_bytes": MIB // 4,
            "result_bytes": MIB // 4,
            "seccomp": base64.b64encode(seccomp.build()).decode(),
            "cgroup_fds": self.slot.join_fds if self.slot else (),
            "oom_fd": self.slot.oom_fd if self.slot else -1,
            "soft_memory_bytes": 0 if self.slot else MEMORY_MB * MIB,
            "threaded": threaded,
        }
        self.python = str(python)
        self.process = box.popen(
            [self.python, "-I", "-S", "/warm_server.py", json.dumps(config)],
            pass_fds=self.slot.fds if self.slot else (),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
        )
        self.warm_pid = self._read()["ready"]

    def start(self, body: str, *, wall: float = 5.0) -> None:
        """Start a candidate and return while it runs."""
        self._send(body, wall, announce=True)
        assert "running" in self._read()

    def finish(self) -> Ended:
        """Wait for the candidate that was started."""
        message = self._read()
        if "error" in message:
            raise SetUpFailed(message["error"], message["why"])
        return Ended(**message)

    def run(self, body: str, *, wall: float = 5.0) -> Ended:
        """Run a candidate to its end."""
        self._send(body, wall, announce=False)
        return self.finish()

    def close(self) -> None:
        """Kill the box and all in it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        kill(self.process)
        if self.slot is not None:
            self.slot.close()

    def _send(self, body: str, wall: float, *, announce: bool) -> None:
        assert self.process.stdin is not None
        request = {"body": textwrap.dedent(body), "wall": wall, "announce": announce}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the warm process is gone"
        message: dict[str, Any] = json.loads(line)
        return message
