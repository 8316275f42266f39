"""A server's end of the conversation with the critic: lines of JSON come, frames go."""

from __future__ import annotations

import json
import socket
from typing import Any, Dict, Iterator


class Wire:
    """The socket that a server was started with."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, header: Dict[str, Any], body: bytes = b"") -> None:
        """One frame to the critic: a JSON line that says how many raw bytes follow."""
        header["bytes"] = len(body)
        self._connection.sendall(json.dumps(header).encode() + b"\n" + body)

    def requests(self) -> Iterator[Dict[str, Any]]:
        """Requests as they come, until the critic hangs up."""
        buffer = bytearray()
        while True:
            end = buffer.find(b"\n")
            if end < 0:
                data = self._connection.recv(1 << 20)
                if not data:
                    return
                buffer += data
                continue
            request = json.loads(bytes(buffer[:end]))
            del buffer[: end + 1]
            yield request
