"""A release on the package index, made a commit of a repository of our own.

The sdist is unpacked in memory and streamed to `git fast-import`: nothing is extracted to
disk, nothing of it is run. The commit depends on the archive's content alone (its date is the
newest file's), so a release has the same commit hash on every machine and from every mirror.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git.checkout import READ_ONLY, run_git
from flywheel.git.index import IndexFile, IndexSettings, download, files_of

_AUTHOR = b"flywheel <flywheel@localhost>"
_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LARGEST = 1 << 30
"""Bytes an sdist may unpack to."""
_SHOWN = 5
"""Versions listed when the one asked for does not exist."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release, as a commit."""

    name: str
    """Canonical package name."""
    version: str
    """Its version, as the index spells it."""
    git_dir: Path
    """Bare repository that holds it."""
    commit: str
    """Full commit hash."""
    notes: tuple[str, ...]
    """What a user should know of how it was found."""


@dataclass(frozen=True, slots=True)
class _Member:
    path: bytes
    mode: bytes
    data: bytes
    seconds: int


def fetch_release(text: str, cache: Path, settings: IndexSettings) -> Release:
    """The release that `NAME` or `NAME==VERSION` means; one in the cache needs no network.

    Raises `UsageError` for a malformed name, `RepositoryError` for everything else.
    """
    name, _, wanted = (part.strip() for part in text.partition("=="))
    if not _NAME.fullmatch(name) or (wanted and _version(wanted) is None):
        raise UsageError(f"pypi:{text} names no release", hint="pypi:NAME==VERSION, or pypi:NAME")
    name = canonicalize_name(name)
    repository = cache / "releases" / f"{name}.git"
    if wanted:
        kept = _kept(repository).get(Version(wanted))
        if kept:
            return Release(name, kept[0], repository, kept[1], ())
    try:
        files = files_of(name, settings)
    except RepositoryError as error:
        kept_all = _kept(repository)
        if wanted or not kept_all:
            raise
        version, commit = kept_all[max(kept_all)]
        note = f"the package index cannot be reached ({error.cause}): the newest release kept here"
        return Release(name, version, repository, commit, (note,))
    chosen, version = _choose(name, wanted, files)
    kept = _kept(repository).get(Version(version))
    if kept:
        return Release(name, kept[0], repository, kept[1], ())
    notes = ("this release was withdrawn by its authors (yanked)",) if chosen.yanked else ()
    data = _sdist(chosen, cache / "sdists", settings, f"pypi:{name}=={version}")
    return Release(name, version, repository, _commit(repository, name, version, data), notes)


def _choose(name: str, wanted: str, files: list[IndexFile]) -> tuple[IndexFile, str]:
    """The sdist of the version asked for, or of the newest one."""
    sdists: dict[Version, IndexFile] = {}
    spelled: dict[Version, str] = {}
    all_versions: set[Version] = set()
    for file in files:
        text = _version_of(name, file.filename)
        version = _version(text) if text else None
        if version is None or text is None:
            continue
        all_versions.add(version)
        suffix = _suffix(file.filename)
        if suffix and (
            version not in sdists
            or _SUFFIXES.index(suffix) < _SUFFIXES.index(_suffix(sdists[version].filename) or "")
        ):
            sdists[version], spelled[version] = file, text
    if not files:
        raise RepositoryError(f"pypi:{name}: the package index has no such package")
    if not wanted:
        good = [v for v in sdists if not sdists[v].yanked]
        final = [v for v in good if not v.is_prerelease] or good
        if not final:
            raise RepositoryError(
                f"pypi:{name}: none of its releases has a source archive",
                hint="name its git repository instead",
            )
        return sdists[max(final)], spelled[max(final)]
    version = Version(wanted)
    if version in sdists:
        return sdists[version], spelled[version]
    near = _nearest(version, sdists)
    if version in all_versions:
        raise RepositoryError(
            f"pypi:{name}=={wanted} has no source archive, only wheels",
            hint=f"releases with one: {near}" if near else "name its git repository instead",
        )
    raise RepositoryError(
        f"pypi:{name} has no release {wanted}",
        hint=f"nearest releases: {near}" if near else None,
    )


def _nearest(version: Version, others: dict[Version, IndexFile]) -> str:
    ordered = sorted(others)
    below = [v for v in ordered if v < version][-_SHOWN:]
    above = [v for v in ordered if v > version][:_SHOWN]
    return ", ".join(str(v) for v in [*below, *above][-2 * _SHOWN :])


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _suffix(filename: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if filename.lower().endswith(suffix)), None)


def _version_of(name: str, filename: str) -> str | None:
    """The version in a file's name; old sdists spell the package in many ways."""
    if filename.endswith(".whl"):
        parts = filename[:-4].split("-")
        return parts[1] if len(parts) >= 5 else None
    suffix = _suffix(filename)
    if suffix is None:
        return None
    stem = filename[: -len(suffix)]
    for match in re.finditer("-", stem):
        if canonicalize_name(stem[: match.start()]) == name:
            return stem[match.end() :]
    return None


def _kept(repository: Path) -> dict[Version, tuple[str, str]]:
    """Releases already in our repository: version to its spelling and commit."""
    if not (repository / "HEAD").exists():
        return {}
    listing = run_git(
        ["for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/tags"], cwd=repository
    ).decode()
    found = {}
    for line in listing.splitlines():
        text, _, commit = line.partition(" ")
        version = _version(text)
        if version is not None:
            found[version] = (text, commit)
    return found


def _sdist(file: IndexFile, folder: Path, settings: IndexSettings, name: str) -> bytes:
    """Content of the archive, checked against the index's checksum, kept in the cache."""
    kept = folder / file.filename
    if kept.is_file():
        data = kept.read_bytes()
        if file.sha256 in {None, hashlib.sha256(data).hexdigest()}:
            return data
    try:
        data = download(file.url, settings)
    except (OSError, ValueError) as error:
        raise RepositoryError(
            f"{name}: its source archive could not be downloaded", cause=str(error)
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if file.sha256 is not None and found != file.sha256:
        raise RepositoryError(
            f"{name}: its source archive does not match the index's checksum",
            cause=f"sha256 is {found}, the index says {file.sha256}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(kept)
    return data


def _commit(repository: Path, name: str, version: str, archive: bytes) -> str:
    """Write the archive's files as one commit, tagged with its version."""
    label = f"pypi:{name}=={version}"
    try:
        members = _stripped(list(_members(archive)), label)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise RepositoryError(
            f"{label}: its source archive cannot be read", cause=str(error)
        ) from error
    date = b"%d +0000" % max((member.seconds for member in members), default=0)
    repository.parent.mkdir(parents=True, exist_ok=True)
    if not (repository / "HEAD").exists():
        run_git(["init", "--quiet", "--bare", "--object-format=sha1", "--template=", "--",
                 str(repository)])  # fmt: skip
    stream = io.BytesIO()
    ref = f"refs/tags/{version}".encode()
    stream.write(b"commit %s\n" % ref)
    stream.write(b"author %s %s\ncommitter %s %s\n" % (_AUTHOR, date, _AUTHOR, date))
    message = f"{name} {version}\n".encode()
    stream.write(b"data %d\n%s\n" % (len(message), message))
    for member in members:
        stream.write(b"M %s inline %s\n" % (member.mode, _quoted(member.path)))
        stream.write(b"data %d\n" % len(member.data))
        stream.write(member.data)
        stream.write(b"\n")
    done = subprocess.run(
        ["git", "--git-dir", str(repository), "fast-import", "--quiet", "--force"],
        input=stream.getvalue(),
        capture_output=True,
        env={**os.environ, **READ_ONLY},
        check=False,
    )
    if done.returncode != 0:
        raise RepositoryError(
            f"{label}: its files could not be committed",
            cause=done.stderr.decode(errors="replace").strip()[-500:],
        )
    return run_git(["rev-parse", f"refs/tags/{version}"], cwd=repository).decode().strip()


def _members(archive: bytes) -> Iterator[_Member]:
    """Files and symbolic links of a tar or zip archive, in any order."""
    total = 0
    if archive[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            for item in packed.infolist():
                total += item.file_size
                _bounded(total)
                if item.is_dir():
                    continue
                unix = item.external_attr >> 16
                mode = b"120000" if unix & 0o170000 == 0o120000 else _mode(unix)
                seconds = calendar.timegm((*item.date_time, 0, 0, 0))
                yield _Member(os.fsencode(item.filename), mode, packed.read(item), seconds)
        return
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
        for entry in tar:
            total += entry.size
            _bounded(total)
            path, seconds = os.fsencode(entry.name), int(entry.mtime)
            if entry.issym():
                yield _Member(path, b"120000", os.fsencode(entry.linkname), seconds)
            elif entry.isfile() or entry.islnk():
                source = tar.extractfile(entry)
                if source is not None:
                    yield _Member(path, _mode(entry.mode), source.read(), seconds)


def _bounded(total: int) -> None:
    if total > _LARGEST:
        raise ValueError(f"it unpacks to more than {_LARGEST >> 20} MiB")


def _mode(bits: int) -> bytes:
    return b"100755" if bits & 0o100 else b"100644"


def _stripped(members: list[_Member], label: str) -> list[_Member]:
    """Members without the archive's one top folder, sorted; refuses paths that would escape."""
    found: dict[bytes, _Member] = {}
    tops = set()
    for member in members:
        parts = [part for part in member.path.split(b"/") if part not in {b"", b"."}]
        if b".." in parts or member.path.startswith(b"/"):
            raise RepositoryError(f"{label}: its archive holds an unsafe path: {member.path!r}")
        if b".git" in parts or len(parts) < 2:
            continue
        tops.add(parts[0])
        path = b"/".join(parts[1:])
        found[path] = _Member(path, member.mode, member.data, member.seconds)
    if len(tops) != 1:
        raise RepositoryError(
            f"{label}: its source archive has no single top folder",
            cause=f"found {len(tops)}",
            hint="name its git repository instead",
        )
    return [found[path] for path in sorted(found)]


def _quoted(path: bytes) -> bytes:
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
