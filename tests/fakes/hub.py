"""A Hub on loopback: repositories, commits, large files, tags, as the real one answers.

Real sockets, real HTTP. It keeps what it is sent, and fails on order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """One dataset."""

    private: bool
    head: str = "0" * 40
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    """Paths that each commit put or took."""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Hub:
    """The server, with what it holds and what it was asked."""

    address: str
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Content of large files, by SHA-256."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of requests, in order of arrival."""
    tokens: set[str] = field(default_factory=set)
    """What clients said of who they are."""
    failing: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and words of every answer to a path that holds such a text."""

    def puts(self) -> int:
        """Large files that were sent."""
        return sum(method == "PUT" for method, _ in self.asked)


def is_large(path: str) -> bool:
    """The Hub's own choice, by what its .gitattributes say."""
    return path.endswith(".parquet")


def blob(data: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub() -> Iterator[Hub]:
    """Serve until the block ends."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self, status: int, said: Any = None, code: str | None = None) -> None:
            data = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            self.wfile.write(data)

        def _handle(self) -> None:
            body = self._body()
            path = unquote(urlsplit(self.path).path)
            with lock:
                made.asked.append((self.command, path))
                if token := self.headers.get("authorization"):
                    made.tokens.add(token)
                for part, (status, words) in made.failing.items():
                    if part in path:
                        return self._answer(status, {"error": words})
                return self._serve(path, body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle  # noqa: N815  as the library calls them

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def _serve(self, path: str, body: bytes) -> None:
            match path.strip("/").split("/"):
                case ["api", "repos", "create"]:
                    self._create(json.loads(body))
                case ["api", "validate-yaml"]:
                    self._answer(200, {"errors": [], "warnings": []})
                case ["_large", oid]:
                    made.large[oid] = body
                    self._answer(200)
                case ["_verify"]:
                    self._answer(200, {})
                case ["datasets", owner, name, "info", "lfs", "objects", "batch"]:
                    assert f"{owner}/{name.removesuffix('.git')}" in made.repos
                    self._batch(json.loads(body))
                case ["api", "datasets", owner, name, *rest]:
                    if repo := made.repos.get(f"{owner}/{name}"):
                        self._of(repo, f"{owner}/{name}", rest, body)
                    else:
                        self._answer(404, {"error": "Repository not found"}, "RepoNotFound")
                case _:
                    self._answer(404, {"error": f"no {path}"})

        def _create(self, asked: dict[str, Any]) -> None:
            key = f"{asked['organization']}/{asked['name']}"
            if key in made.repos:
                return self._answer(409, {"error": "You already created this dataset repo"})
            made.repos[key] = Repo(private=asked.get("visibility") == "private")
            return self._answer(200, {"url": f"{made.address}/datasets/{key}"})

        def _batch(self, asked: dict[str, Any]) -> None:
            objects = []
            for one in asked["objects"]:
                told = {"oid": one["oid"], "size": one["size"]}
                if one["oid"] not in made.large:
                    told["actions"] = {
                        "upload": {"href": f"{made.address}/_large/{one['oid']}"},
                        "verify": {"href": f"{made.address}/_verify"},
                    }
                objects.append(told)
            self._answer(200, {"transfer": "basic", "objects": objects})

        def _of(self, repo: Repo, key: str, rest: list[str], body: bytes) -> None:
            match rest:
                case []:
                    said = {"id": key, "sha": repo.head, "private": repo.private, "siblings": []}
                    self._answer(200, {**said, "tags": [], "downloads": 0, "likes": 0})
                case ["tree", "main"]:
                    self._answer(200, [_listed(*one) for one in sorted(repo.files.items())])
                case ["preupload", "main"]:
                    files = [_known(repo, one["path"]) for one in json.loads(body)["files"]]
                    self._answer(200, {"files": files})
                case ["commit", "main"]:
                    self._commit(repo, key, [json.loads(line) for line in body.splitlines()])
                case ["tag", commit]:
                    name = json.loads(body)["tag"]
                    if name in repo.tags:
                        return self._answer(409, {"error": "Tag reference exists already"})
                    repo.tags[name] = commit
                    self._answer(200)
                case _:
                    self._answer(404, {"error": f"no {rest}"})
            return None

        def _commit(self, repo: Repo, key: str, lines: list[dict[str, Any]]) -> None:
            parent = lines[0]["value"].get("parentCommit")
            if parent not in (None, repo.head):
                return self._answer(412, {"error": "A commit has happened since"})
            for line in lines[1:]:
                said = line["value"]
                match line["key"]:
                    case "file":
                        repo.files[said["path"]] = base64.b64decode(said["content"])
                    case "lfsFile":
                        repo.files[said["path"]] = made.large[said["oid"]]
                    case "deletedFile":
                        del repo.files[said["path"]]
            repo.commits.append([line["value"]["path"] for line in lines[1:]])
            repo.head = hashlib.sha1(json.dumps([repo.head, lines]).encode()).hexdigest()
            address = f"{made.address}/datasets/{key}/commit/{repo.head}"
            return self._answer(200, {"commitUrl": address, "commitOid": repo.head})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listed(path: str, data: bytes) -> dict[str, Any]:
    """A file as the tree of a repository lists it."""
    told: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
    if not is_large(path):
        return told | {"oid": blob(data)}
    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return told | {"oid": blob(b"pointer"), "lfs": large}


def _known(repo: Repo, path: str) -> dict[str, Any]:
    """How a file is to be sent, and what is there in its place."""
    large = is_large(path)
    told = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    data = repo.files.get(path)
    if data is None:
        return told
    return told | {"oid": hashlib.sha256(data).hexdigest() if large else blob(data)}
