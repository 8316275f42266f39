"""A proxy on loopback that lets nothing through and remembers who was to be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Proxy:
    """The server, with what it was asked for."""

    address: str
    wanted: list[str] = field(default_factory=list)
    """Hosts with their ports, or whole addresses, in order of arrival."""


@contextmanager
def proxy() -> Iterator[Proxy]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            found.wanted.append(self.path)
            self.send_error(503)

        do_GET = do_POST = do_CONNECT  # noqa: N815  as the library calls them

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
