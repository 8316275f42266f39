"""The commits behind one commit: who changed which files, streamed newest first.

Nothing is checked out and nothing is kept: ten thousand commits pass through in the memory of one.
Renames are followed by git; a commit that git shows no parent of (a root, or the edge of a shallow
clone) is said to be one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from flywheel.core.errors import RepositoryError
from flywheel.git.checkout import commit_time, git_environment, run_git
from flywheel.git.release import AUTHOR_MAIL

_FIELDS = "%x01%H%x02%P%x02%ct%x02%ce%x02%s%x02%b"
_SUBMODULE = "160000"


@dataclass(frozen=True, slots=True)
class FileChange:
    """What one commit did to one file."""

    path: str
    """Path after it, repository-relative and POSIX; before it for a file that was deleted."""
    old_path: str
    """Path before it: another one where the file was renamed or copied."""
    status: str
    """Git's letter: `A`dded, `M`odified, `D`eleted, `R`enamed, `C`opied, `T`ype changed."""
    old: str
    """Hash of the content before it, all zeros for none."""
    new: str
    """Hash of the content after it, all zeros for none."""
    added: int
    """Lines added."""
    removed: int
    """Lines removed."""
    binary: bool
    """True where git sees no lines."""
    submodule: bool
    """True where it is another repository's commit."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit with what it changed."""

    oid: str
    """Full hash."""
    parents: tuple[str, ...]
    """Full hashes; none for a root and for the edge of a shallow clone."""
    committed_at: int
    """Seconds since 1970, 0 for none."""
    subject: str
    """First paragraph of the message, in one line."""
    body: str
    """The rest of the message."""
    changes: tuple[FileChange, ...]
    """Its files, against its only parent; empty for a merge."""
    release: str | None = None
    """The version, where it is a release that was laid down as a commit (`release_history.py`)."""


def log(git_dir: Path, commit: str) -> Generator[Commit]:
    """Every commit that `commit` holds, itself first, children before parents.

    Raises `RepositoryError` where git cannot go on (a damaged or partial clone).
    """
    command = ["git", "--git-dir", str(git_dir), "log", "-z", "--topo-order", "--no-abbrev"]
    command += ["--raw", "--numstat", "--find-renames", "--no-ext-diff", "--no-textconv"]
    command += ["--no-show-signature", "--no-notes", "--no-mailmap", "--encoding=UTF-8"]
    command += [f"--format={_FIELDS}", commit, "--"]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=git_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield from _commits(_tokens(process.stdout))
            said = process.stderr.read().decode(errors="replace").strip()
            if process.wait() != 0:
                raise RepositoryError(
                    "the history cannot be read to its end", cause=said[:500], hint="git fsck"
                )
        finally:
            process.kill()


def is_shallow(git_dir: Path) -> bool:
    """Whether the clone holds but the newest commits."""
    # Asked of git: the mark stands in the repository, which a linked work tree only points to.
    return run_git(["rev-parse", "--is-shallow-repository"], cwd=git_dir).strip() == b"true"


class Blobs:
    """Contents of files by their hash, from one git process; use it as a context manager."""

    def __init__(self, git_dir: Path) -> None:
        self._process = subprocess.Popen(
            ["git", "--git-dir", str(git_dir), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=git_environment(),
        )

    def read(self, oid: str) -> bytes | None:
        """One content; None where the repository lacks it, as a partial clone may."""
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        sink.write(f"{oid}\n".encode())
        sink.flush()
        head = source.readline().split()
        if len(head) != 3:
            return None
        data = source.read(int(head[2]))
        source.read(1)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()


def _tokens(stream: IO[bytes]) -> Iterator[bytes]:
    """What stands between the NULs."""
    rest = b""
    while piece := stream.read(1 << 16):
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole
    if rest:
        yield rest


def _commits(tokens: Iterable[bytes]) -> Iterator[Commit]:
    head: list[bytes] = []
    raw: list[tuple[list[bytes], str, str]] = []
    lines: dict[str, tuple[bytes, bytes]] = {}
    pending = iter(tokens)
    for token in pending:
        plain = token.lstrip(b"\n")
        if token.startswith(b"\x01"):
            if head:
                yield _commit(head, raw, lines)
            head, raw, lines = token[1:].split(b"\x02", 5), [], {}
        elif plain.startswith(b":"):
            fields = plain[1:].split(b" ")
            old = new = os.fsdecode(next(pending, b""))
            if fields[-1][:1] in (b"R", b"C"):
                new = os.fsdecode(next(pending, b""))
            raw.append((fields, old, new))
        elif plain.count(b"\t") >= 2:
            added, removed, path = plain.split(b"\t", 2)
            if not path:
                next(pending, b"")
                path = next(pending, b"")
            lines[os.fsdecode(path)] = (added, removed)
    if head:
        yield _commit(head, raw, lines)


def _commit(
    head: list[bytes],
    raw: list[tuple[list[bytes], str, str]],
    lines: dict[str, tuple[bytes, bytes]],
) -> Commit:
    oid, parents, seconds, committer, subject, body = head
    _, _, version = subject.decode(errors="replace").rpartition(" ")
    return Commit(
        oid=oid.decode(),
        parents=tuple(parents.decode().split()),
        committed_at=commit_time(seconds),
        subject=subject.decode(errors="replace"),
        body=body.decode(errors="replace").strip(),
        changes=tuple(_change(fields, old, new, lines) for fields, old, new in raw),
        release=version if committer.decode(errors="replace") == AUTHOR_MAIL else None,
    )


def _change(
    fields: list[bytes], old_path: str, path: str, lines: dict[str, tuple[bytes, bytes]]
) -> FileChange:
    old_mode, new_mode, old, new, status = (field.decode() for field in fields)
    added, removed = lines.get(path, (b"0", b"0"))
    binary = added == b"-"
    return FileChange(
        path=path,
        old_path=old_path,
        status=status[:1],
        old=old,
        new=new,
        added=0 if binary else int(added),
        removed=0 if binary else int(removed),
        binary=binary,
        submodule=_SUBMODULE in (old_mode, new_mode),
    )
