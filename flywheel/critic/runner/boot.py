"""Start of a fork server: isolation first, while the process is still small.

The nursery that makes the sandboxes is a copy of this process as it is now, so nothing large
may be imported before it exists.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import sys

from flywheel_runner import isolate


def main() -> None:
    """`lane descriptor` on the command line; the first line on the socket is the configuration."""
    lane, descriptor = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 20)
        if not part:
            return
        data += part
    config = json.loads(data)
    settings = dict(config["isolation"])
    settings["seccomp"] = base64.b64decode(settings.get("seccomp", ""))
    settings["cgroup_fds"] = tuple(settings.get("cgroup_fds", ()))
    isolation = isolate.Isolation(isolate.Config(**settings))

    if lane == "cold":
        from flywheel_runner import command

        command.main(connection, config, isolation)
        return

    from flywheel_runner import server

    server.main(lane, connection, config, isolation)
