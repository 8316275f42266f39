"""The command lane: each fork runs the toolchain's own test command in the changed tree.

The server holds nothing of the target and knows nothing of tests: it puts the changed files in the
fork's overlay, runs the command there, and hands back what it printed and the report that it wrote.
What an earlier build left in the tree is in the overlay too, so only what changed is built anew.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
from typing import Any, Dict

from flywheel_runner import isolate
from flywheel_runner.wire import Wire

ROOT = "/repo/"
MOST = 64 << 20
"""Bytes of a report that are read."""


class Server(Wire):
    """The loop between the critic's socket and the forks, one fork at a time."""

    def __init__(
        self, connection: socket.socket, config: Dict[str, Any], isolation: isolate.Isolation
    ) -> None:
        super().__init__(connection)
        self.environment = config["environment"]  # type: Dict[str, str]
        self.isolation = isolation

    def serve(self) -> None:
        """Until the critic hangs up."""
        self.isolation.join()
        for request in self.requests():
            self.run(request)

    def run(self, request: Dict[str, Any]) -> None:
        """Fork for one request and report what came of it."""
        began = time.monotonic()
        said = bytearray()

        def work(descriptor: int) -> None:
            for path, content in request["files"].items():
                with open(ROOT + path, "wb") as file:
                    file.write(base64.b64decode(content))
            place = request["report"]
            if os.path.isfile(place):
                # Of an older run, or of the repository: it would speak for one that writes none.
                os.unlink(place)
            code = subprocess.call(
                request["argv"], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL
            )
            report = b""
            if os.path.isfile(place):
                with open(place, "rb") as file:
                    report = file.read(MOST)
            with os.fdopen(descriptor, "wb", closefd=False) as out:
                out.write(json.dumps({"code": code}).encode() + b"\n" + report)

        try:
            ended = self.isolation.spawn(work).wait(request["wall"], said.extend)
        except isolate.IsolationError as error:
            self.send({"id": request["id"], "status": "infrastructure", "reason": str(error)})
            return
        head, _, report = bytes(said).partition(b"\n")
        status = "ran" if ended.cause == "exited" and head else ended.cause
        self.send(
            {
                "id": request["id"],
                "status": "died" if status == "exited" else status,
                "reason": ended.detail,
                "code": json.loads(head)["code"] if status == "ran" else ended.status,
                "seconds": time.monotonic() - began,
                "printed": len(ended.output),
            },
            ended.output + report,
        )


def main(connection: socket.socket, config: Dict[str, Any], isolation: isolate.Isolation) -> None:
    """Serve until the critic hangs up."""
    server = Server(connection, config, isolation)
    server.send({"id": 0, "status": "ready", "threads": isolate.threads()})
    server.serve()
