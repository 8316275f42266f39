"""Releases laid down as a history, from a package index in a folder."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git import Checkout, at, index_settings, log, resolve
from flywheel.git.index import files_of, upload_times

CODE = "def half(n):\n    return n / 2\n\n\ndef twice(n):\n    return n * 2\n"
DAY = 86_400


class Index:
    """A package index in a folder: pages of links, and beside them the times of publication."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.page = root / "simple" / "tiny" / "index.html"
        self.page.parent.mkdir(parents=True)
        self.page.write_text("")
        self.releases: dict[str, list[dict[str, str]]] = {}

    def add(
        self,
        version: str,
        files: dict[str, str] | None = None,
        *,
        day: int | None = None,
        data: bytes | None = None,
        yanked: bool = False,
    ) -> None:
        """Publish one release, `day` days after the archives were made."""
        name = f"tiny-{version}.tar.gz"
        data = _archive(version, files or {}) if data is None else data
        (self.root / name).write_bytes(data)
        mark = ' data-yanked=""' if yanked else ""
        digest = hashlib.sha256(data).hexdigest()
        link = f'<a href="../../{name}#sha256={digest}"{mark}>{name}</a>\n'
        self.page.write_text(self.page.read_text() + link)
        if day is not None:
            when = datetime.fromtimestamp(1_500_000_000 + day * DAY, UTC).isoformat()
            self.releases[version] = [{"filename": name, "upload_time_iso_8601": when}]
        told = self.root / "pypi" / "tiny" / "json"
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps({"releases": self.releases}))


def _archive(version: str, files: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    metadata = f"Name: tiny\nVersion: {version}\nLicense: MIT\n\n"
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        for path, text in {"PKG-INFO": metadata, "tiny.py": CODE, **files}.items():
            info = tarfile.TarInfo(f"tiny-{version}/{path}")
            info.size, info.mtime, info.mode = len(text.encode()), 1_400_000_000, 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return sink.getvalue()


@pytest.fixture
def index(tmp_path: Path, git: object, monkeypatch: pytest.MonkeyPatch) -> Index:
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    made = Index(tmp_path / "index")
    monkeypatch.setenv("UV_DEFAULT_INDEX", (made.root / "simple").as_uri())
    return made


def _versions(checkout: Checkout) -> list[str | None]:
    return [commit.release for commit in log(checkout.git_dir, checkout.commit)][::-1]


def test_releases_are_commits_one_on_the_other(index: Index, tmp_path: Path) -> None:
    log_of = "Changes\n=======\n\n{}1.0\n---\n\n- First\n"
    index.add("1.0", {"CHANGES.rst": log_of.format("")}, day=1)
    fixed = "1.0.1 (2017-07-17)\n------------------\n\n- Fix half of odd numbers (#7)\n\n"
    index.add(
        "1.0.1",
        {"CHANGES.rst": log_of.format(fixed), "tiny.py": CODE.replace("/ 2", "// 2")},
        day=3,
    )
    index.add("1.1rc1", day=4)
    index.add("1.1", {"src/tiny.py": CODE.replace("/ 2", "// 2"), "tiny.py": ""}, day=5)
    index.add("1.2", day=6, yanked=True)
    found = resolve("pypi:Tiny", tmp_path / "one", history=3)
    assert found.name == "pypi:tiny>=1.0"
    assert (found.version, found.license) == ("1.1", "MIT")
    newest, second, first = log(found.git_dir, found.commit)
    assert (first.subject, second.subject, newest.subject) == ("tiny 1.0", "tiny 1.0.1", "tiny 1.1")
    assert second.body == "- Fix half of odd numbers (#7)"
    assert second.committed_at == 1_500_000_000 + 3 * DAY
    assert {change.path for change in second.changes} == {"CHANGES.rst", "PKG-INFO", "tiny.py"}
    assert resolve("pypi:tiny", tmp_path / "two", history=3).commit == found.commit
    assert at(found, second.oid).version == "1.0.1"


def test_the_name_of_a_history_finds_it_again(index: Index, tmp_path: Path) -> None:
    for day, version in enumerate(("1.0", "1.1", "1.2")):
        index.add(version, day=day)
    newest = resolve("pypi:tiny", tmp_path / "one", history=2)
    older = resolve("pypi:tiny==1.1", tmp_path / "one", history=2)
    assert (newest.name, older.name) == ("pypi:tiny>=1.1", "pypi:tiny>=1.0,<=1.1")
    for found in (newest, older):
        assert resolve(found.name, tmp_path / "two").commit == found.commit


def test_a_new_release_is_one_commit_more(index: Index, cache: Path) -> None:
    for day, version in enumerate(("1.0", "1.1", "1.2")):
        index.add(version, day=day)
    before = resolve("pypi:tiny", cache, history=2)
    for kept in index.root.glob("*.tar.gz"):
        kept.unlink()
    index.add("1.3", day=9)
    heard: list[str] = []
    after = resolve("pypi:tiny", cache, history=2, report=heard.append)
    assert after.name == before.name == "pypi:tiny>=1.1"
    assert _versions(after) == ["1.1", "1.2", "1.3"]
    assert next(iter(log(after.git_dir, after.commit))).parents == (before.commit,)
    assert all("1.3" in line for line in heard)
    assert "release 3 of 3: tiny 1.3" in heard


def test_what_was_begun_is_gone_on_with(
    index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("1.0", day=0)
    index.add("1.1", day=1)
    there = index.root / "tiny-1.1.tar.gz"
    data = there.read_bytes()
    there.unlink()
    with pytest.raises(RepositoryError, match="could not be downloaded"):
        resolve("pypi:tiny", cache, history=2)
    there.write_bytes(data)
    (index.root / "tiny-1.0.tar.gz").unlink()
    found = resolve("pypi:tiny", cache, history=2)
    assert _versions(found) == ["1.0", "1.1"]
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    kept = resolve("pypi:tiny", cache, history=2)
    assert kept.commit == found.commit
    assert "cannot be reached" in kept.notes[0]
    with pytest.raises(RepositoryError, match="cannot be reached"):
        resolve("pypi:tiny", cache, history=3)


def test_an_older_line_that_is_maintained_is_a_branch(index: Index, cache: Path) -> None:
    for day, version in enumerate(("1.0", "1.1", "2.0", "1.1.1", "2.1")):
        index.add(version, day=day)
    assert _versions(resolve("pypi:tiny", cache, history=9)) == ["1.0", "1.1", "2.0", "2.1"]
    older = resolve("pypi:tiny==1.1.1", cache, history=9)
    assert _versions(older) == ["1.0", "1.1", "1.1.1"]


def test_fewer_releases_than_wanted_are_all_taken_and_told(index: Index, cache: Path) -> None:
    index.add("1.0", day=0)
    index.add("1.1", day=1)
    found = resolve("pypi:tiny", cache, history=9)
    assert _versions(found) == ["1.0", "1.1"]
    assert "has 2 releases" in found.notes[0]


def test_without_times_versions_give_the_order_and_archives_the_dates(
    index: Index, cache: Path
) -> None:
    for version in ("1.10", "1.2"):
        index.add(version)
    found = resolve("pypi:tiny", cache, history=2)
    assert _versions(found) == ["1.2", "1.10"]
    assert found.committed_at == 1_400_000_000


def test_a_release_that_cannot_be_read_is_left_out_and_told(index: Index, cache: Path) -> None:
    index.add("1.0", day=0)
    index.add("1.1", day=1, data=b"not an archive")
    index.add("1.2", {"../../evil": "x"}, day=2)
    index.add("1.3", day=3)
    found = resolve("pypi:tiny", cache, history=9)
    assert _versions(found) == ["1.0", "1.3"]
    told = " ".join(found.notes)
    assert "1.1" in told
    assert "unsafe path" in told
    index.add("1.4", day=4, data=b"not an archive")
    with pytest.raises(RepositoryError, match="cannot be read"):
        resolve("pypi:tiny", cache, history=9)


@pytest.mark.parametrize(
    ("source", "count", "said"),
    [
        ("pypi:tiny", 1, "nothing to compare"),
        ("pypi:tiny>=1.0", 3, "where its history begins"),
        ("pypi:tiny>=word", None, "no version"),
        ("pypi:tiny>=1.0,<=0.9", None, "ends before it begins"),
        (".", 3, "history of its own"),
        ("https://example.org/x.git", 3, "history of its own"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    index: Index, cache: Path, source: str, count: int | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(source, cache, history=count)


def test_what_is_not_there_is_named(index: Index, cache: Path) -> None:
    with pytest.raises(RepositoryError, match="no such package"):
        resolve("pypi:other", cache, history=3)
    link = '<a href="../../tiny-9.0-py3-none-any.whl">tiny-9.0-py3-none-any.whl</a>'
    index.page.write_text(link)
    with pytest.raises(RepositoryError, match="none of its releases has a source archive"):
        resolve("pypi:tiny", cache, history=3)
    index.add("1.0", day=0)
    with pytest.raises(RepositoryError, match=r"no release 0\.5"):
        resolve("pypi:tiny>=0.5", cache)


def test_a_history_whose_releases_are_withdrawn_is_what_was_kept(index: Index, cache: Path) -> None:
    for day, version in enumerate(("1.0", "2.0", "2.1")):
        index.add(version, day=day)
    kept = resolve("pypi:tiny>=2.0", cache)
    index.page.write_text("")
    for day, version in enumerate(("1.0", "2.0", "2.1")):
        index.add(version, day=day, yanked=version > "1.0")
    found = resolve("pypi:tiny>=2.0", cache)
    assert (found.commit, found.version) == (kept.commit, "2.1")
    assert "withdrawn" in found.notes[0]


@contextmanager
def _serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(index: Index, tmp_path: Path) -> Iterator[str]:
    """The same index over HTTP, which answers in JSON."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            item = {
                "filename": "tiny-1.0.tar.gz",
                "url": "../../tiny-1.0.tar.gz",
                "hashes": {},
                "upload-time": "2017-07-14T02:40:00.123456Z",
            }
            body = json.dumps({"files": [item]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(functools.partial(Handler, directory=str(index.root))) as url:
        yield url


def test_times_of_publication_are_read_of_a_listing_that_has_them(served: str) -> None:
    (file,) = files_of("tiny", index_settings({"UV_DEFAULT_INDEX": served}))
    assert file.uploaded == 1_500_000_000


@pytest.mark.parametrize(
    ("body", "length"),
    [(b'{"files": [', 99), (b'{"error": "gone"}', 17), (b"[]", 2)],
    ids=["cut short", "an error", "a list"],
)
def test_an_answer_that_is_no_listing_is_an_index_out_of_reach(body: bytes, length: int) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as url:
        settings = index_settings({"UV_DEFAULT_INDEX": url})
        with pytest.raises(RepositoryError, match="cannot be reached"):
            files_of("tiny", settings)
        assert upload_times("tiny", settings) == {}
