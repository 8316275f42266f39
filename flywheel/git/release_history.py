"""The releases of a package, laid down as a history: one commit a release, each on the one before.

Where a package index is all there is, its releases are the commits. Each is the tree of its source
archive (`release.py`), committed at the time it was published; its message is its version and what
its own change log says of it. What is before a release is the greatest lower version that was
published earlier: a line that is maintained beside a newer one is a branch of its own, and does not
go back and forth in the newer one's history.

A commit depends on the releases from the first of its history on and on nothing else, so the same
releases are the same commits everywhere. They lie in the package's repository in the cache, tagged
`since-FIRST/VERSION`. A history that was begun is added to: a new release is one commit more, and
the first release stays the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git.changelog import is_changelog, section
from flywheel.git.checkout import Checkout, run_git
from flywheel.git.index import IndexSettings, files_of, upload_times
from flywheel.git.release import (
    AUTHOR_MAIL,
    AUTHOR_NAME,
    Sdist,
    choose,
    commit_release,
    fetch_sdist,
    kept,
    parsed,
    repository_of,
    sdists,
    unpacked,
    usable,
    version_of,
)

FEWEST = 2
"""Releases that make a history: one has nothing before it."""
_SPAN = re.compile(r"(?P<name>[^<>=,]+)>=(?P<first>[^<>=,]+)(?:,<=(?P<last>[^<>=,]+))?")
_BEGUN = "refs/flywheel/begun"
"""Where is noted with which release a history of so many began."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

Report = Callable[[str], None]
"""Hears what is being done, as a line of text."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which releases of a package are to be its history."""

    name: str
    """Canonical package name."""
    first: str | None = None
    """The version that it begins with, None for `count` releases before the last."""
    last: str | None = None
    """The version that it ends with, None for the newest there is."""
    count: int | None = None
    """How many releases, None for all from `first` on."""

    def spelled(self, first: str) -> str:
        """How it is named once it is known where it begins: the same history, for good."""
        return f"{self.name}>={first}" + (f",<={self.last}" if self.last else "")


@dataclass(frozen=True, slots=True)
class ReleaseHistory:
    """Releases as a history."""

    spelled: str
    """`NAME>=FIRST`, with `,<=LAST` where it is bounded."""
    version: str
    """The last release's version."""
    git_dir: Path
    """Bare repository that holds it."""
    commit: str
    """Full hash of the last release's commit."""
    notes: tuple[str, ...]
    """What a user should know of how it was found."""


def wanted_history(text: str, count: int | None) -> Wanted | None:
    """What `NAME` or `NAME==VERSION` with a `count`, or `NAME>=FIRST[,<=LAST]`, asks for.

    None for a plain release. Raises `UsageError` for what cannot be meant.
    """
    span = _SPAN.fullmatch(text.replace(" ", ""))
    if span is not None:
        if count is not None:
            raise UsageError(
                f"pypi:{text} says by itself where its history begins", hint="leave --history out"
            )
        parsed(span["name"])
        for version in (span["first"], span["last"]):
            if version is not None and version_of(version) is None:
                raise UsageError(f"pypi:{text}: {version} is no version")
        if span["last"] is not None and Version(span["last"]) < Version(span["first"]):
            raise UsageError(f"pypi:{text} ends before it begins")
        return Wanted(canonicalize_name(span["name"]), span["first"], span["last"])
    if count is None:
        return None
    if count < FEWEST:
        raise UsageError(
            f"a history of {count} releases has nothing to compare", hint="--history 2, or more"
        )
    name, version = parsed(text)
    return Wanted(name, last=version or None, count=count)


def fetch_history(
    wanted: Wanted, cache: Path, settings: IndexSettings, *, report: Report = lambda text: None
) -> ReleaseHistory:
    """Download what is not kept yet, and lay the releases down; begun work is gone on with.

    Raises `RepositoryError`.
    """
    repository = repository_of(wanted.name, cache)
    begun = wanted.first or _begun(repository, wanted)
    laid = _laid(repository, begun) if begun else {}
    if begun and wanted.last and Version(wanted.last) in laid:
        return _history(wanted, begun, repository, laid[Version(wanted.last)], ())
    try:
        files = files_of(wanted.name, settings)
    except RepositoryError as error:
        if not begun or not laid or wanted.last:
            raise
        note = f"the package index cannot be reached ({error.cause}): the releases kept here"
        return _history(wanted, begun, repository, laid[max(laid)], (note,))
    last = choose(wanted.name, wanted.last or "", files)
    line = _line(_dated(wanted.name, sdists(wanted.name, files), settings), Version(last.version))
    notes: list[str] = []
    if begun:
        line = [sdist for sdist in line if Version(sdist.version) >= Version(begun)]
        there = Version(line[0].version) == Version(begun) if line else False
        if not there and Version(begun) not in laid:
            raise RepositoryError(
                f"pypi:{wanted.spelled(begun)}: there is no release {begun} before {last.version}",
                hint=f"pypi:{wanted.name} with --history N takes the last N",
            )
        if not line:
            note = f"pypi:{wanted.spelled(begun)} was withdrawn by its authors: what is kept here"
            return _history(wanted, begun, repository, laid[max(laid)], (note,))
    else:
        assert wanted.count is not None
        if len(line) < wanted.count:
            notes.append(
                f"pypi:{wanted.name} has {len(line)} releases with a source archive up to"
                f" {last.version}, not {wanted.count}: all of them are taken"
            )
        line = line[-wanted.count :]
        begun = line[0].version
    commits = _Laying(wanted.name, begun, repository, cache, settings, report, notes).lay(line)
    if wanted.count is not None:
        run_git(["update-ref", f"{_place(wanted)}/{begun}", commits[0][1]], cwd=repository)
    return _history(wanted, begun, repository, commits[-1], tuple(notes))


def _history(
    wanted: Wanted, first: str, repository: Path, last: tuple[str, str], notes: tuple[str, ...]
) -> ReleaseHistory:
    version, commit = last
    return ReleaseHistory(wanted.spelled(first), version, repository, commit, notes)


def _place(wanted: Wanted) -> str:
    return f"{_BEGUN}/{wanted.count}/{wanted.last or 'newest'}"


def _begun(repository: Path, wanted: Wanted) -> str | None:
    """The release that a history of so many began with, None where none was begun."""
    if wanted.count is None or not (repository / "HEAD").exists():
        return None
    found = run_git(
        ["for-each-ref", "--format=%(refname:lstrip=-1)", f"{_place(wanted)}/"], cwd=repository
    )
    return next(iter(found.decode().split()), None)


def _laid(repository: Path, first: str) -> dict[Version, tuple[str, str]]:
    """Releases laid down since that first one: version to its spelling and commit."""
    if not (repository / "HEAD").exists():
        return {}
    listing = run_git(
        [
            "for-each-ref",
            "--format=%(refname:lstrip=-1) %(objectname)",
            f"refs/tags/since-{first}/",
        ],
        cwd=repository,
    )
    pairs = (line.split() for line in listing.decode().splitlines())
    return {Version(text): (text, commit) for text, commit in pairs}


def _dated(name: str, found: dict[Version, Sdist], settings: IndexSettings) -> dict[Version, Sdist]:
    """The same, with the times of publication that the listing leaves out."""
    if all(sdist.file.uploaded is not None for sdist in found.values()):
        return found
    times = upload_times(name, settings)
    return {
        version: replace(
            sdist,
            file=replace(
                sdist.file, uploaded=sdist.file.uploaded or times.get(sdist.file.filename)
            ),
        )
        for version, sdist in found.items()
    }


def _line(found: dict[Version, Sdist], last: Version) -> list[Sdist]:
    """The releases that lead to one, itself last."""
    line = [found[last]]
    for version in reversed(usable(found)):
        before, after = found[version].file.uploaded, line[-1].file.uploaded
        early = before is None or after is None or before <= after
        if version < last and early:
            line.append(found[version])
    return line[::-1]


class _Laying:
    """Lays releases down, one on the other."""

    def __init__(
        self,
        name: str,
        first: str,
        repository: Path,
        cache: Path,
        settings: IndexSettings,
        report: Report,
        notes: list[str],
    ) -> None:
        self._name = name
        self._first = first
        self._repository = repository
        self._cache = cache
        self._settings = settings
        self._report = report
        self._notes = notes

    def lay(self, line: list[Sdist]) -> list[tuple[str, str]]:
        """Version and commit of each release, in order; one that cannot be read is left out."""
        laid = _laid(self._repository, self._first)
        there = kept(self._repository)
        done: list[tuple[str, str]] = []
        seconds = 0
        for number, sdist in enumerate(line, 1):
            version = Version(sdist.version)
            if version in laid:
                done.append(laid[version])
                continue
            if version in there:
                plain = there[version][1]
            else:
                try:
                    plain = self._fetched(sdist, f"release {number} of {len(line)}")
                except _UnusableError as error:
                    if number == len(line):
                        raise error.error from error
                    self._notes.append(f"{error.error.message}: it is left out")
                    continue
            before = done[-1] if done else self._before(laid, version)
            seconds = max(seconds, sdist.file.uploaded or self._seconds(plain))
            commit = self._commit(sdist.version, plain, before, seconds)
            done.append((sdist.version, commit))
        return done

    def _before(
        self, laid: dict[Version, tuple[str, str]], version: Version
    ) -> tuple[str, str] | None:
        """What was laid down before a release, and is on the index no more."""
        lower = [one for one in laid if one < version]
        return laid[max(lower)] if lower else None

    def _fetched(self, sdist: Sdist, said: str) -> str:
        """The plain commit of a release that is not kept yet."""
        label = f"{said}: {self._name} {sdist.version}"
        self._report(label)
        data = fetch_sdist(
            self._name,
            sdist,
            self._cache,
            self._settings,
            on_bytes=lambda count: self._report(f"{label}, {count / 1e6:.1f} MB"),
        )
        try:
            members = unpacked(self._name, sdist.version, data)
        except RepositoryError as error:
            raise _UnusableError(error) from error
        return commit_release(self._repository, self._name, sdist.version, members)

    def _seconds(self, commit: str) -> int:
        shown = run_git(["show", "--no-patch", "--format=%ct", commit, "--"], cwd=self._repository)
        return int(shown)

    def _commit(
        self, version: str, plain: str, before: tuple[str, str] | None, seconds: int
    ) -> str:
        tree = run_git(["rev-parse", f"{plain}^{{tree}}"], cwd=self._repository).decode().strip()
        checkout = Checkout(self._name, plain, tree, seconds, False, self._repository)
        said = section(_changelogs(checkout), version, before[0] if before else None)
        message = _CONTROL.sub("", f"{self._name} {version}\n\n{said}".strip())
        identity = {
            f"GIT_{role}_{field}": value
            for role in ("AUTHOR", "COMMITTER")
            for field, value in (
                ("NAME", AUTHOR_NAME),
                ("EMAIL", AUTHOR_MAIL),
                ("DATE", f"@{seconds} +0000"),
            )
        }
        parent = ["-p", before[1]] if before else []
        commit = run_git(
            # The user's encoding of commits would be another header, and so another hash.
            ["-c", "i18n.commitEncoding=UTF-8", "commit-tree", *parent, "-m", message, tree],
            cwd=self._repository,
            **identity,
        )
        oid = commit.decode().strip()
        run_git(
            ["update-ref", f"refs/tags/since-{self._first}/{version}", oid], cwd=self._repository
        )
        return oid


class _UnusableError(Exception):
    """A release whose archive will never be of use, unlike one that could not be downloaded."""

    def __init__(self, error: RepositoryError) -> None:
        super().__init__(error.message)
        self.error = error


def _changelogs(checkout: Checkout) -> Iterator[tuple[str, str]]:
    found = [
        entry
        for entry in checkout.entries()
        if entry.mode.startswith("100") and is_changelog(entry.path)
    ]
    for entry, data in zip(found, checkout.read_many(found), strict=True):
        yield entry.path, data.decode(errors="replace")
