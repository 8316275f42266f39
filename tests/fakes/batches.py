"""Anthropic's Message Batches on loopback, in a process of its own that outlives whoever asks it.

`batches()` starts it and gives a handle: `plan` says how it misbehaves from now on, `state` what it
was asked. It answers items by a function of the request's body, named as `module:function`.
Questions asked one by one are answered too, and counted.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.provider import Behaviour, _message

PLAN: dict[str, Any] = {
    "create": "",
    "results": [],
    "looks": 1,
    "fail_looks": 0,
    "fail_status": 500,
    "hold_after": None,
    "cut_after": None,
    "page": 2,
    "gone": [],
}
"""`create`: what becomes of a new batch: taken, "lost" (never taken, never answered), "unsaid"
(taken, never answered), "broken" (taken, the connection breaks), or an HTTP status. `results`:
rules for items that hold a text, each for so many items. `looks`: times a batch is looked at before
it has ended. `fail_looks`: looks that fail first. `hold_after`, `cut_after`: results that are sent
before it holds, or breaks off, once. `page`: the most batches of one page of the list. `gone`:
batches that nobody knows any more."""
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass
class Batches:
    """The server as a test sees it."""

    address: str
    process: subprocess.Popen[str]

    def plan(self, **changes: Any) -> None:
        """How it behaves from now on."""
        self._post("/_plan", changes)

    def send(self, *texts: str) -> None:
        """A batch that somebody else sends."""
        items = [
            {
                "custom_id": f"other-{number}",
                "params": {"model": "other", "messages": [{"role": "user", "content": text}]},
            }
            for number, text in enumerate(texts)
        ]
        self._post("/v1/messages/batches", {"requests": items})

    def _post(self, path: str, body: dict[str, Any]) -> None:
        asked = urllib.request.Request(self.address + path, json.dumps(body).encode())
        with urllib.request.urlopen(asked) as answer:
            answer.read()

    @property
    def state(self) -> dict[str, Any]:
        """`asked` (texts of all items ever taken), `single`, `batches`, `usage`, `requests`."""
        with urllib.request.urlopen(f"{self.address}/_state") as answer:
            return json.loads(answer.read())

    def wait(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 60) -> None:
        """Until its state is such."""
        until = time.monotonic() + seconds
        while not condition(state := self.state):
            assert time.monotonic() < until, state
            time.sleep(0.05)


@contextmanager
def batches(answer: str = "tests.fakes.batches:echo") -> Iterator[Batches]:
    """Serve until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.batches", answer], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Batches(process.stdout.readline().strip(), process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def echo(body: dict[str, Any]) -> Behaviour:
    """What was asked, said again."""
    return Behaviour()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[dict[str, Any]], Behaviour]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.answer = answer
        self.lock = threading.RLock()
        self.plan = json.loads(json.dumps(PLAN))
        self.batches: dict[str, dict[str, Any]] = {}
        self.single = 0
        self.usage = {"input_tokens": 0, "output_tokens": 0, "answered": 0}
        self.requests: list[str] = []

    def take(self, requests: list[dict[str, Any]]) -> str:
        """Keep a new batch, and decide what becomes of its items."""
        with self.lock:
            name = f"msgbatch_{len(self.batches):04d}"
            now = datetime.now(UTC)
            results = {one["custom_id"]: self._result(one["params"]) for one in requests}
            texts = [one["params"]["messages"][-1]["content"] for one in requests]
            self.batches[name] = {
                "name": name, "at": now, "results": results, "texts": texts, "looks": 0,
                "whole": [one["params"] for one in requests],
            }  # fmt: skip
            return name

    def _result(self, params: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(params)
        for rule in self.plan["results"]:
            if rule["match"] in text and rule["times"] > 0:
                rule["times"] -= 1
                if rule["type"] != "errored":
                    return {"type": rule["type"]}
                error = {"type": rule["kind"], "message": rule.get("message", "no")}
                return {"type": "errored", "error": {"type": "error", "error": error}}
        message = _message(params, self.answer(params))
        usage = message["usage"]
        self.usage["answered"] += 1
        self.usage["output_tokens"] += usage["output_tokens"]
        self.usage["input_tokens"] += (
            usage["input_tokens"]
            + usage["cache_read_input_tokens"]
            + usage["cache_creation_input_tokens"]
        )
        return {"type": "succeeded", "message": message}

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch as the protocol shows it."""
        ended = batch["looks"] >= self.plan["looks"]
        kinds = [one["type"] for one in batch["results"].values()]
        names = ("succeeded", "errored", "canceled", "expired")
        counts = {name: kinds.count(name) if ended else 0 for name in names}
        return {
            "id": batch["name"],
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {**counts, "processing": 0 if ended else len(kinds)},
            "ended_at": batch["at"].isoformat() if ended else None,
            "created_at": batch["at"].isoformat(),
            "expires_at": (batch["at"] + timedelta(days=1)).isoformat(),
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.address}/v1/messages/batches/{batch['name']}/results"
            if ended
            else None,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        served, path = self.server, urlsplit(self.path).path
        if path == "/_plan":
            with served.lock:
                served.plan |= body
            self._send({})
        elif path == "/v1/messages/batches":
            self._create(body["requests"])
        elif path.endswith("/cancel"):
            self._cancel(path.split("/")[-2])
        else:
            with served.lock:
                served.single += 1
            self._send(_message(body, served.answer(body)))

    def do_GET(self) -> None:
        served, parts = self.server, urlsplit(self.path)
        if parts.path == "/_state":
            with served.lock:
                known = served.batches.values()
                self._send(
                    {
                        "asked": [text for batch in known for text in batch["texts"]],
                        "params": [one for batch in known for one in batch["whole"]],
                        "batches": [batch["name"] for batch in known],
                        "single": served.single,
                        "usage": served.usage,
                        "requests": served.requests,
                    }
                )
            return
        with served.lock:
            served.requests.append(f"GET {parts.path}")
        if parts.path.endswith("/results"):
            self._results(parts.path.split("/")[-2])
        elif parts.path == "/v1/messages/batches":
            self._list(parse_qs(parts.query))
        else:
            self._look(parts.path.rsplit("/", 1)[1])

    def _create(self, requests: list[dict[str, Any]]) -> None:
        served = self.server
        with served.lock:
            served.requests.append("POST batch")
            how = served.plan["create"]
            if isinstance(how, int):
                served.plan["create"] = ""
                self._refuse(how)
                return
            names = [one["custom_id"] for one in requests]
            if len(set(names)) < len(names) or any(len(name) > 64 for name in names):
                self._refuse(400)
                return
            name = served.take(requests) if how != "lost" else ""
        if how == "broken":
            with served.lock:
                served.plan["create"] = ""
            self.close_connection = True
            return
        if how in ("lost", "unsaid"):
            time.sleep(3600)
        self._send(served.shown(served.batches[name]))

    def _look(self, name: str) -> None:
        served = self.server
        with served.lock:
            if served.plan["fail_looks"] > 0:
                served.plan["fail_looks"] -= 1
                self._refuse(served.plan["fail_status"])
                return
            if name not in served.batches or name in served.plan["gone"]:
                self._refuse(404)
                return
            batch = served.batches[name]
            batch["looks"] += 1
            self._send(served.shown(batch))

    def _list(self, query: dict[str, list[str]]) -> None:
        served = self.server
        with served.lock:
            names = list(reversed(served.batches))
            if after := query.get("after_id"):
                names = names[names.index(after[0]) + 1 :]
            limit = min(int(query.get("limit", ["20"])[0]), served.plan["page"])
            page = [served.shown(served.batches[name]) for name in names[:limit]]
            # Nobody has to look at a batch for it to end.
            for name in names[:limit]:
                served.batches[name]["looks"] += 1
        ids = [one["id"] for one in page] or [None]
        more = len(names) > limit
        self._send({"data": page, "has_more": more, "first_id": ids[0], "last_id": ids[-1]})

    def _cancel(self, name: str) -> None:
        served = self.server
        with served.lock:
            batch = served.batches[name]
            if batch["looks"] < served.plan["looks"]:
                batch["results"] = {one: {"type": "canceled"} for one in batch["results"]}
            self._send({**served.shown(batch), "processing_status": "canceling"})

    def _results(self, name: str) -> None:
        served = self.server
        with served.lock:
            found = list(reversed(served.batches[name]["results"].items()))
            hold, cut = served.plan["hold_after"], served.plan["cut_after"]
            served.plan["cut_after"] = None
        lines = [json.dumps({"custom_id": one, "result": result}) for one, result in found]
        body = "".join(f"{line}\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-jsonl")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        for number, line in enumerate(lines):
            if number == hold:
                with served.lock:
                    served.requests.append("held")
                time.sleep(3600)
            if number == cut:
                self.wfile.write(line[:9].encode())
                self.close_connection = True
                return
            self.wfile.write(f"{line}\n".encode())
            self.wfile.flush()

    def _refuse(self, status: int) -> None:
        error = {"type": _KINDS.get(status, "api_error"), "message": "no"}
        self._send({"type": "error", "error": error}, status)

    def _send(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until killed; the address is the first line that it prints."""
    module, _, function = sys.argv[1].partition(":")
    served = _Server(getattr(importlib.import_module(module), function))
    sys.stdout.write(f"{served.address}\n")
    sys.stdout.flush()
    served.serve_forever(0.05)


if __name__ == "__main__":
    main()
