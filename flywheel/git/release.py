"""A release on the package index, made a commit of a repository of our own.

The sdist is unpacked in memory and streamed to `git fast-import`: nothing is extracted to
disk, nothing of it is run. The commit depends on the archive's content alone (its date is the
newest file's), so a release has the same commit hash on every machine and from every mirror.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import lzma
import os
import re
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git.checkout import git_environment, run_git
from flywheel.git.index import IndexFile, IndexSettings, download, files_of

AUTHOR_NAME, AUTHOR_MAIL = "flywheel", "flywheel@localhost"
AUTHOR = f"{AUTHOR_NAME} <{AUTHOR_MAIL}>"
"""Author and committer of the commits made of releases."""
_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LARGEST = 1 << 30
"""Bytes an sdist may unpack to."""
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError),
    RuntimeError,  # of `zipfile`: encrypted, or packed in a way it does not know
)
"""What an archive raises that is none, or damaged."""
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
class Sdist:
    """The source archive of one release, as an index lists it."""

    version: str
    """The release's version, as the file's name spells it."""
    file: IndexFile
    """The archive."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file or symbolic link of a source archive."""

    path: bytes
    """Relative to the archive's top folder."""
    mode: bytes
    """Git's: 100644, 100755, 120000."""
    data: bytes
    """Content; the target, for a link."""
    seconds: int
    """When it was last changed, in seconds since 1970."""


def fetch_release(text: str, cache: Path, settings: IndexSettings) -> Release:
    """The release that `NAME` or `NAME==VERSION` means; one in the cache needs no network.

    Raises `UsageError` for a malformed name, `RepositoryError` for everything else.
    """
    name, wanted = parsed(text)
    repository = repository_of(name, cache)
    if wanted:
        there = kept(repository).get(Version(wanted))
        if there:
            return Release(name, there[0], repository, there[1], ())
    try:
        files = files_of(name, settings)
    except RepositoryError as error:
        all_kept = kept(repository)
        if wanted or not all_kept:
            raise
        version, commit = all_kept[max(all_kept)]
        note = f"the package index cannot be reached ({error.cause}): the newest release kept here"
        return Release(name, version, repository, commit, (note,))
    sdist = choose(name, wanted, files)
    there = kept(repository).get(Version(sdist.version))
    if there:
        return Release(name, there[0], repository, there[1], ())
    notes = ("this release was withdrawn by its authors (yanked)",) if sdist.file.yanked else ()
    data = fetch_sdist(name, sdist, cache, settings)
    commit = commit_release(repository, name, sdist.version, unpacked(name, sdist.version, data))
    return Release(name, sdist.version, repository, commit, notes)


def parsed(text: str) -> tuple[str, str]:
    """Canonical name and version, empty for none, of `NAME` or `NAME==VERSION`.

    Raises `UsageError` for what is neither.
    """
    name, _, wanted = (part.strip() for part in text.partition("=="))
    if not _NAME.fullmatch(name) or (wanted and version_of(wanted) is None):
        raise UsageError(f"pypi:{text} names no release", hint="pypi:NAME==VERSION, or pypi:NAME")
    return canonicalize_name(name), wanted


def repository_of(name: str, cache: Path) -> Path:
    """The bare repository in the cache that holds a package's releases."""
    return cache / "releases" / f"{name}.git"


def sdists(name: str, files: list[IndexFile]) -> dict[Version, Sdist]:
    """The source archive of each release that has one."""
    found: dict[Version, Sdist] = {}
    for file in files:
        suffix, text = _suffix(file.filename), _version_in(name, file.filename)
        version = version_of(text) if text else None
        if suffix is None or version is None or text is None:
            continue
        other = found.get(version)
        if other is None or _SUFFIXES.index(suffix) < _SUFFIXES.index(
            _suffix(other.file.filename) or ""
        ):
            found[version] = Sdist(text, file)
    return found


def usable(found: dict[Version, Sdist]) -> list[Version]:
    """Versions of the final releases that were not withdrawn; of all such, where none is final."""
    good = [version for version, sdist in found.items() if not sdist.file.yanked]
    return sorted([version for version in good if not version.is_prerelease] or good)


def choose(name: str, wanted: str, files: list[IndexFile]) -> Sdist:
    """The sdist of the version asked for, or of the newest one; `RepositoryError` without one."""
    found = sdists(name, files)
    if not files:
        raise RepositoryError(f"pypi:{name}: the package index has no such package")
    if not wanted:
        final = usable(found)
        if not final:
            raise RepositoryError(
                f"pypi:{name}: none of its releases has a source archive",
                hint="name its git repository instead",
            )
        return found[final[-1]]
    version = Version(wanted)
    if version in found:
        return found[version]
    near = _nearest(version, found)
    if any(version_of(_version_in(name, file.filename) or "") == version for file in files):
        raise RepositoryError(
            f"pypi:{name}=={wanted} has no source archive, only wheels",
            hint=f"releases with one: {near}" if near else "name its git repository instead",
        )
    raise RepositoryError(
        f"pypi:{name} has no release {wanted}",
        hint=f"nearest releases: {near}" if near else None,
    )


def _nearest(version: Version, others: dict[Version, Sdist]) -> str:
    ordered = sorted(others)
    below = [v for v in ordered if v < version][-_SHOWN:]
    above = [v for v in ordered if v > version][:_SHOWN]
    return ", ".join(str(v) for v in [*below, *above][-2 * _SHOWN :])


def version_of(text: str) -> Version | None:
    """A version as text, read; None for what is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _suffix(filename: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if filename.lower().endswith(suffix)), None)


def _version_in(name: str, filename: str) -> str | None:
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


def kept(repository: Path) -> dict[Version, tuple[str, str]]:
    """Releases already in our repository: version to its spelling and commit."""
    if not (repository / "HEAD").exists():
        return {}
    listing = run_git(
        ["for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/tags"], cwd=repository
    ).decode()
    found = {}
    for line in listing.splitlines():
        text, _, commit = line.partition(" ")
        version = version_of(text)
        if version is not None:
            found[version] = (text, commit)
    return found


def fetch_sdist(
    name: str,
    sdist: Sdist,
    cache: Path,
    settings: IndexSettings,
    *,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> bytes:
    """Content of the archive, checked against the index's checksum, kept in the cache.

    `on_bytes` hears how many bytes have come so far. Raises `RepositoryError`.
    """
    file, label = sdist.file, f"pypi:{name}=={sdist.version}"
    place = cache / "sdists" / file.filename
    if place.is_file():
        data = place.read_bytes()
        if file.sha256 in {None, hashlib.sha256(data).hexdigest()}:
            return data
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as sink:
            found = download(file.url, settings, sink, largest=_LARGEST, on_bytes=on_bytes)
        if file.sha256 is not None and found != file.sha256:
            raise RepositoryError(
                f"{label}: its source archive does not match the index's checksum",
                cause=f"sha256 is {found}, the index says {file.sha256}",
            )
        part.replace(place)
    except (OSError, ValueError) as error:
        raise RepositoryError(
            f"{label}: its source archive could not be downloaded", cause=str(error)
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return place.read_bytes()


def unpacked(name: str, version: str, archive: bytes) -> list[Member]:
    """The files of an archive, sorted; raises `RepositoryError` for one that cannot be trusted."""
    label = f"pypi:{name}=={version}"
    try:
        return _stripped(list(_members(archive)), label)
    except _UNREADABLE as error:
        raise RepositoryError(
            f"{label}: its source archive cannot be read", cause=str(error)
        ) from error


def commit_release(repository: Path, name: str, version: str, members: list[Member]) -> str:
    """Write an archive's files as one commit without a parent, tagged with its version."""
    date = b"%d +0000" % max((member.seconds for member in members), default=0)
    repository.parent.mkdir(parents=True, exist_ok=True)
    if not (repository / "HEAD").exists():
        run_git(["init", "--quiet", "--bare", "--object-format=sha1", "--template=", "--",
                 str(repository)])  # fmt: skip
    stream = io.BytesIO()
    ref = f"refs/tags/{version}".encode()
    stream.write(b"commit %s\n" % ref)
    author = AUTHOR.encode()
    stream.write(b"author %s %s\ncommitter %s %s\n" % (author, date, author, date))
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
        env=git_environment(),
        check=False,
    )
    if done.returncode != 0:
        raise RepositoryError(
            f"pypi:{name}=={version}: its files could not be committed",
            cause=done.stderr.decode(errors="replace").strip()[-500:],
        )
    return run_git(["rev-parse", f"refs/tags/{version}"], cwd=repository).decode().strip()


def _members(archive: bytes) -> Iterator[Member]:
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
                yield Member(os.fsencode(item.filename), mode, packed.read(item), seconds)
        return
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
        for entry in tar:
            total += entry.size
            _bounded(total)
            path, seconds = os.fsencode(entry.name), int(entry.mtime)
            if entry.issym():
                yield Member(path, b"120000", os.fsencode(entry.linkname), seconds)
            elif entry.isfile() or entry.islnk():
                source = tar.extractfile(entry)
                if source is not None:
                    yield Member(path, _mode(entry.mode), source.read(), seconds)


def _bounded(total: int) -> None:
    if total > _LARGEST:
        raise ValueError(f"it unpacks to more than {_LARGEST >> 20} MiB")


def _mode(bits: int) -> bytes:
    return b"100755" if bits & 0o100 else b"100644"


def _stripped(members: list[Member], label: str) -> list[Member]:
    """Members without the archive's one top folder, sorted; refuses paths that would escape."""
    found: dict[bytes, Member] = {}
    tops = set()
    for member in members:
        parts = [part for part in member.path.split(b"/") if part not in {b"", b"."}]
        if b".." in parts or member.path.startswith(b"/"):
            raise RepositoryError(f"{label}: its archive holds an unsafe path: {member.path!r}")
        if b".git" in parts or len(parts) < 2:
            continue
        tops.add(parts[0])
        path = b"/".join(parts[1:])
        found[path] = Member(path, member.mode, member.data, member.seconds)
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
