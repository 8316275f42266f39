"""A provider on loopback, of Anthropic's Messages and OpenAI's chat, that misbehaves on order.

Real sockets, real HTTP. What it does to each request comes from a script: one behaviour a request,
the last one for all that follow.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """What becomes of one request."""

    text: str | None = None
    """The answer; None: what was asked, said again."""
    status: int = 200
    kind: str = "api_error"
    """Type of the error, as the protocol calls it."""
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before anything is sent."""
    raw: bytes | None = None
    """A body in place of the protocol's."""
    cut: bool = False
    """Whether the connection is closed in the midst of the answer."""
    pause: float = 0.0
    """Seconds between the words of a stream."""
    stop_reason: str = "end_turn"
    output_tokens: int = 5


OK = Behaviour()
Beside = Callable[[str, str, dict[str, str], bytes], Behaviour | None]
"""Of a method, a path, headers and a body: what becomes of it, None where it is a question."""


@dataclass
class Provider:
    """The server, with what it was asked."""

    address: str
    script: list[Behaviour | Callable[[dict[str, Any]], Behaviour]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of requests, in order of arrival."""
    headers: list[dict[str, str]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    """When each arrived, monotonic."""
    most: int = 0
    """The most requests that were under way at once."""
    beside: Beside | None = None
    """Answers what is no question to a model."""

    def behaviour(self, body: dict[str, Any], number: int) -> Behaviour:
        one = self.script[min(number, len(self.script) - 1)]
        return one(body) if callable(one) else one


@contextmanager
def provider(
    *script: Behaviour | Callable[[dict[str, Any]], Behaviour],
) -> Iterator[Provider]:
    """Serve until the block ends."""
    lock, numbers, under_way = threading.Lock(), itertools.count(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self._beside(b"")

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            sent = self.rfile.read(length)
            if self._beside(sent):
                return
            body = json.loads(sent or b"{}")
            with lock:
                number = next(numbers)
                found.asked.append(body)
                found.headers.append(self._headers())
                found.at.append(time.monotonic())
                under_way[0] += 1
                found.most = max(found.most, under_way[0])
            try:
                self._answer(body, found.behaviour(body, number))
            except OSError:
                self.close_connection = True
            finally:
                with lock:
                    under_way[0] -= 1

        def _beside(self, sent: bytes) -> bool:
            does = None
            if found.beside is not None:
                does = found.beside(self.command, self.path, self._headers(), sent)
            if does is None and self.command == "POST":
                return False
            self._answer({}, does or Behaviour(status=404, message="no such path"))
            return True

        def _headers(self) -> dict[str, str]:
            return {name.lower(): value for name, value in self.headers.items()}

        def _answer(self, body: dict[str, Any], does: Behaviour) -> None:
            time.sleep(does.delay)
            if does.raw is not None:
                self._send(does.status, does.raw, does.headers)
            elif does.status != 200:
                error = {"type": does.kind, "message": does.message}
                self._send(does.status, _json({"type": "error", "error": error}), does.headers)
            elif self.path.endswith("/messages") and body.get("stream"):
                self._stream(body, does)
            elif self.path.endswith("/messages"):
                self._whole(_message(body, does), does)
            else:
                self._whole(_chat(body, does), does)

        def _whole(self, answer: dict[str, Any], does: Behaviour) -> None:
            text = _json(answer)
            if does.cut:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text[: len(text) // 2])
                self.close_connection = True
                return
            self._send(200, text, does.headers)

        def _stream(self, body: dict[str, Any], does: Behaviour) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            message = _message(body, does)
            text, usage = message["content"][0]["text"], message["usage"]
            empty = {**message, "content": [], "stop_reason": None}
            self._event("message_start", message=empty)
            self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            for number, word in enumerate(text.split(" ")):
                if does.cut and number:
                    return
                time.sleep(does.pause if number else 0.0)
                piece = {"type": "text_delta", "text": (" " if number else "") + word}
                self._event("content_block_delta", index=0, delta=piece)
            self._event("content_block_stop", index=0)
            ended = {"stop_reason": does.stop_reason, "stop_sequence": None}
            self._event("message_delta", delta=ended, usage=usage)
            self._event("message_stop")

        def _event(self, name: str, **more: Any) -> None:
            line = _json({"type": name, **more})
            self.wfile.write(b"event: " + name.encode() + b"\ndata: " + line + b"\n\n")
            self.wfile.flush()

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    found = Provider(f"http://127.0.0.1:{server.server_address[1]}", list(script) or [OK])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _said(body: dict[str, Any], does: Behaviour) -> str:
    last = body["messages"][-1]["content"]
    asked = last if isinstance(last, str) else last[0]["text"]
    return asked if does.text is None else does.text


def _message(body: dict[str, Any], does: Behaviour) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": _said(body, does)}],
        "stop_reason": does.stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "output_tokens": does.output_tokens,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 1,
        },
    }


def _chat(body: dict[str, Any], does: Behaviour) -> dict[str, Any]:
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": _said(body, does)},
            }
        ],
        "usage": {"prompt_tokens": 15, "completion_tokens": 5, "total_tokens": 20},
    }
