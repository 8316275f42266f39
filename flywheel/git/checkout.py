"""One commit of one repository: what it holds, and its files on disk.

Blobs are read raw, through `git cat-file --batch`: unlike `git archive` and a checkout, that
leaves out nothing (`export-ignore` often hides the tests), rewrites nothing (`export-subst`,
line ends) and runs no filter that the repository or the user configured. The repository is
only ever read: no index is refreshed, no ref is written.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import git

from flywheel.core.errors import RepositoryError

READ_ONLY = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C",
}
"""Set for every git command: writes no index, asks nobody, sees the commit as it is."""
_ANOTHER = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
        *("GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_NAMESPACE"),
    }
)
"""Left out for every git command: git sets them for hooks, and they name another repository."""

_SYMLINK = "120000"
_SUBMODULE = "160000"
_EXECUTABLE = "100755"
_AHEAD = 512
"""Blobs asked for before the first is read: keeps git busy, and fits in a pipe's buffer."""
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""


def git_environment() -> dict[str, str]:
    """The environment of every git command."""
    inherited = {name: value for name, value in os.environ.items() if name not in _ANOTHER}
    return inherited | READ_ONLY


def run_git(arguments: Sequence[str], *, cwd: Path | None = None, **environment: str) -> bytes:
    """Run one git command and give its output.

    Raises `git.GitCommandError` when it fails, `git.GitCommandNotFound` without git.
    """
    # Not by GitPython: it hands on the whole environment.
    command = ["git", *(["-C", str(cwd)] if cwd else []), *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=git_environment() | environment,
        )
    except FileNotFoundError as error:
        raise git.GitCommandNotFound(command, error) from error
    if done.returncode != 0:
        raise git.GitCommandError(command, done.returncode, done.stderr, done.stdout)
    return done.stdout


def commit_of(git_dir: Path, name: str) -> str | None:
    """Full hash of the commit that a name means in a repository, None where it means none."""
    if name.startswith("-"):
        return None
    try:
        found = run_git(["rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"], cwd=git_dir)
    except git.GitCommandError:
        return None
    return found.decode().strip()


def commit_time(text: bytes) -> int:
    """A commit's time as git shows it (`%ct`); 0 where the commit has none, or one of no year."""
    seconds = int(text or 0)
    return seconds if seconds <= _LAST_SECOND else 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a commit's tree."""

    path: str
    """Repository-relative POSIX path; bytes that are not UTF-8 are surrogate-escaped."""
    mode: str
    """Git's: 100644, 100755, 120000 (symbolic link), 160000 (submodule)."""
    oid: str
    """Hash of its content: equal hashes are equal files."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One commit, ready to be read and exported."""

    name: str
    """What people know it by: an absolute path, a URL without credentials, `pypi:NAME==VERSION`."""
    commit: str
    """Full commit hash."""
    tree: str
    """Full tree hash."""
    committed_at: int
    """Commit time in seconds since 1970, 0 for none; every exported file carries it."""
    dirty: bool
    """True when tracked files differ from this commit in the user's work tree (not exported)."""
    git_dir: Path
    """The repository itself, bare or not."""
    license: str | None = None
    """SPDX expression found in the tree, None when unknown."""
    version: str | None = None
    """Version of the release or of the nearest tag, None when there is none."""
    notes: tuple[str, ...] = ()
    """What a user should know: submodules left empty, a cached copy that could not be refreshed."""

    def entries(self) -> tuple[Entry, ...]:
        """Every file of the tree, in git's order."""
        return _entries(self.git_dir, self.tree)

    def read(self, path: str) -> bytes | None:
        """Content of one file, None when the tree has no such file."""
        for entry in self.entries():
            if entry.path == path and entry.mode != _SUBMODULE:
                return self.read_many([entry])[0]
        return None

    def read_many(self, entries: Iterable[Entry]) -> list[bytes]:
        """Contents of files of the tree, in the order asked for."""
        return list(_blobs(self.git_dir, (entry.oid for entry in entries)))

    def export(self, dest: Path) -> None:
        """Write the tree into `dest`, a new or empty folder; submodules become empty folders.

        Files carry the commit's time, so compiled Python beside them stays valid. Symbolic
        links are written last and never followed, so no file can land outside `dest`.
        """
        dest.mkdir(parents=True, exist_ok=True)
        root = os.fspath(dest.resolve())
        entries = self.entries()
        files = [entry for entry in entries if entry.mode not in {_SYMLINK, _SUBMODULE}]
        links = [entry for entry in entries if entry.mode == _SYMLINK]
        made = {root}
        stamp = (self.committed_at, self.committed_at)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            for entry, data in zip(files, self._contents(files), strict=True):
                target = _place(root, entry.path, made)
                mode = 0o755 if entry.mode == _EXECUTABLE else 0o644
                descriptor = os.open(target, flags, mode)
                with os.fdopen(descriptor, "wb") as sink:
                    sink.write(data)
                os.utime(target, stamp)
            for entry in entries:
                if entry.mode == _SUBMODULE:
                    Path(_place(root, entry.path, made)).mkdir()
            for entry, data in zip(links, self._contents(links), strict=True):
                target = _place(root, entry.path, made)
                Path(target).symlink_to(os.fsdecode(data))
                os.utime(target, stamp, follow_symlinks=False)
        except OSError as error:
            raise RepositoryError(
                f"{self.name}: the tree of commit {self.commit[:12]} could not be written",
                cause=str(error),
            ) from error

    def _contents(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        return _blobs(self.git_dir, (entry.oid for entry in entries))


def _place(root: str, path: str, made: set[str]) -> str:
    """Absolute path of a file to write, its folders made; refuses to leave the root."""
    parts = path.split("/")
    if any(part in {"", ".", "..", ".git"} for part in parts):
        raise RepositoryError(f"the commit holds an unsafe path: {path!r}")
    folder = "/".join((root, *parts[:-1]))
    if folder not in made:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  (50,000 files: speed)
        made.add(folder)
    return f"{folder}/{parts[-1]}"


@cache
def _entries(git_dir: Path, tree: str) -> tuple[Entry, ...]:
    """A tree is named by its content, so one listing serves for good."""
    listing = run_git(["ls-tree", "-r", "-z", "--full-tree", tree], cwd=git_dir)
    found = []
    for record in listing.split(b"\0"):
        if record:
            head, _, path = record.partition(b"\t")
            mode, _, oid = head.decode().split(" ")
            found.append(Entry(os.fsdecode(path), mode, oid))
    return tuple(found)


def _blobs(git_dir: Path, oids: Iterable[str]) -> Iterator[bytes]:
    """Stream raw contents of blobs, in order."""
    wanted = iter(oids)
    first = list(islice(wanted, _AHEAD))
    if not first:
        return
    with subprocess.Popen(
        ["git", "--git-dir", str(git_dir), "cat-file", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=git_environment(),
    ) as process:
        source, sink = process.stdout, process.stdin
        assert source is not None
        assert sink is not None
        try:
            sink.write("".join(f"{oid}\n" for oid in first).encode())
            sink.flush()
            pending = len(first)
            while pending:
                head = source.readline().split()
                if len(head) != 3:
                    what = b" ".join(head).decode(errors="replace")
                    raise RepositoryError(
                        "an object of the commit cannot be read", cause=what, hint="git fsck"
                    )
                size = int(head[2])
                data = source.read(size)
                source.read(1)
                if len(data) != size:
                    raise RepositoryError("an object of the commit is cut short", hint="git fsck")
                pending -= 1
                following = next(wanted, None)
                if following is not None:
                    sink.write(f"{following}\n".encode())
                    sink.flush()
                    pending += 1
                yield data
        finally:
            with contextlib.suppress(OSError):
                sink.close()
            source.close()
            process.kill()
