from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git import index_settings, resolve

FILES = {"PKG-INFO": b"Name: tiny\nVersion: 1.0\nLicense: MIT\n\n", "tiny.py": b"X = 1\n"}


def _tar(top: str = "tiny-1.0", extra: list[tarfile.TarInfo] | None = None) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        for number, (name, data) in enumerate(FILES.items()):
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size, info.mtime, info.mode = len(data), 1_500_000_000 + number, 0o644
            tar.addfile(info, io.BytesIO(data))
        for info in extra or []:
            tar.addfile(info)
    return sink.getvalue()


def _zip(compression: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as packed:
        for name, data in FILES.items():
            packed.writestr(f"tiny-2.0/{name}", data)
    return sink.getvalue()


@pytest.fixture
def publish(tmp_path, git, monkeypatch):
    """A package index in a folder."""
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "index"
    page = root / "simple" / "tiny" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("")
    monkeypatch.setenv("UV_DEFAULT_INDEX", (root / "simple").as_uri())

    def add(filename: str, data: bytes, *, digest: str | None = None, attributes: str = "") -> Path:
        (root / filename).write_bytes(data)
        digest = digest or hashlib.sha256(data).hexdigest()
        link = f'<a href="../../{filename}#sha256={digest}" {attributes}>{filename}</a>\n'
        page.write_text(page.read_text() + link)
        return root

    return add


def test_a_release_is_the_same_commit_in_every_cache(publish, tmp_path):
    publish("tiny-1.0.tar.gz", _tar())
    one = resolve("pypi:Tiny==1.0", tmp_path / "one")
    two = resolve("pypi:tiny", tmp_path / "two")
    assert one.name == two.name == "pypi:tiny==1.0"
    assert one.commit == two.commit == "7bdfbd4b3bd10071864fb5837d83c48c79793082"
    assert one.committed_at == 1_500_000_001
    assert one.license == "MIT"
    assert {entry.path for entry in one.entries()} == set(FILES)


def test_a_release_in_the_cache_needs_no_index(publish, cache, monkeypatch):
    root = publish("tiny-1.0.tar.gz", _tar())
    first = resolve("pypi:tiny==1.0", cache)
    (root / "tiny-1.0.tar.gz").unlink()
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    assert resolve("pypi:tiny==1.0", cache).commit == first.commit
    newest = resolve("pypi:tiny", cache)
    assert newest.commit == first.commit
    assert "cannot be reached" in newest.notes[0]


def test_the_newest_final_release_that_was_not_withdrawn_is_taken(publish, cache):
    publish("tiny-1.0.tar.gz", _tar())
    publish("tiny-2.0.zip", _zip())
    publish("tiny-3.0.tar.gz", _tar("tiny-3.0"), attributes='data-yanked=""')
    publish("tiny-4.0rc1.tar.gz", _tar("tiny-4.0rc1"))
    publish("tiny-5.0-py3-none-any.whl", b"")
    assert resolve("pypi:tiny", cache).version == "2.0"


def test_a_missing_release_lists_the_nearest(publish, cache):
    publish("tiny-1.0.tar.gz", _tar())
    publish("tiny-5.0-py3-none-any.whl", b"")
    with pytest.raises(RepositoryError, match=r"no release 1\.5") as caught:
        resolve("pypi:tiny==1.5", cache)
    assert "1.0" in caught.value.hint
    with pytest.raises(RepositoryError, match="only wheels"):
        resolve("pypi:tiny==5.0", cache)
    with pytest.raises(RepositoryError, match="no such package"):
        resolve("pypi:other", cache)


def test_a_wrong_checksum_is_refused(publish, cache):
    publish("tiny-1.0.tar.gz", _tar(), digest="0" * 64)
    with pytest.raises(RepositoryError, match="checksum"):
        resolve("pypi:tiny==1.0", cache)


def test_an_archive_that_reaches_outside_is_refused(publish, cache):
    publish("tiny-1.0.tar.gz", _tar(extra=[tarfile.TarInfo("tiny-1.0/../../evil")]))
    with pytest.raises(RepositoryError, match="unsafe path"):
        resolve("pypi:tiny==1.0", cache)


def _encrypted() -> bytes:
    data = bytearray(_zip())
    for flags in (data.find(b"PK\3\4") + 6, data.find(b"PK\1\2") + 8):
        data[flags] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("tiny-2.0.tar.gz", b"not an archive"),
        ("tiny-2.0.tar.gz", _tar("tiny-2.0")[:60]),
        ("tiny-2.0.zip", _zip(zipfile.ZIP_DEFLATED).replace(b"PKG-INFO\xf3", b"PKG-INFO\xff", 1)),
        ("tiny-2.0.zip", _encrypted()),
    ],
    ids=["other", "cut short", "damaged", "encrypted"],
)
def test_a_broken_archive_is_refused(publish, cache, filename, data):
    publish(filename, data)
    with pytest.raises(RepositoryError, match="cannot be read"):
        resolve("pypi:tiny==2.0", cache)


@pytest.mark.parametrize("text", ["", "==1", "a b", "tiny==not a version", "../x"])
def test_a_malformed_release_is_a_usage_error(text, git, cache):
    with pytest.raises(UsageError):
        resolve(f"pypi:{text}", cache)


def test_a_real_release_comes_from_the_index_of_this_machine(git, cache, tmp_path):
    checkout = resolve("pypi:inflection==0.5.1", cache)
    assert checkout.license == "MIT"
    assert checkout.commit.startswith("11833bcdb9")
    checkout.export(tmp_path / "out")
    assert (tmp_path / "out" / "inflection" / "__init__.py").is_file()


def test_index_settings_follow_the_ordinary_clients(tmp_path):
    home = tmp_path / "home"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = https://a.test/s\n")
    env = {"HOME": str(home)}
    assert index_settings(env).index == "https://a.test/s"
    (home / ".config" / "uv").mkdir()
    uv = home / ".config" / "uv" / "uv.toml"
    uv.write_text('[[index]]\nurl = "https://b.test/s"\ndefault = true\n')
    assert index_settings(env).index == "https://b.test/s"
    env |= {"UV_DEFAULT_INDEX": "corp=https://user:pw@c.test/s", "MY_SECRET": "x"}
    found = index_settings(env)
    assert found.index == "https://user:pw@c.test/s"
    assert "MY_SECRET" not in dict(found.variables)
