"""Push: an exported folder becomes a dataset of a Hub, in one commit, of what changed alone.

What the Hub has is asked for first, file by file with its hash, so a plan is there before anything
is sent. The Hub may be any server that speaks its protocol.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.core.errors import UsageError

if TYPE_CHECKING:
    from flywheel.curate.hub import Known, State

OWNED = "data/"
"""Folder of a repository in which nothing stays that the export has not."""

OnStatus = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, or would do."""

    repo: str
    """`OWNER/NAME`."""
    address: str
    """Where a browser finds it."""
    created: bool
    """Whether the repository was not there before."""
    private: bool
    """Whether only its owner's people see it."""
    sent: tuple[str, ...]
    """Files that are new or other than the Hub's."""
    deleted: tuple[str, ...]
    """Files of the rows that are no more."""
    unchanged: int
    """Files that the Hub has as they are."""
    bytes: int
    """Size of what was sent."""
    commit: str | None
    """The commit that has it all, None when it was not made: a dry run, of what changed."""
    tag: str
    """Name of the version's tag."""
    tagged: bool
    """Whether the tag was put now; one that was there stays where it was."""


def push(
    folder: Path,
    repo: str,
    *,
    tag: str,
    message: str,
    public: bool = False,
    dry_run: bool = False,
    endpoint: str | None = None,
    on_status: OnStatus | None = None,
) -> Pushed:
    """Make the dataset `repo` of a Hub what `folder` is, and tag it.

    One that is not there is made, for its owner's people alone unless it is to be `public`; one
    that is public already is not pushed to without that word. With `dry_run` nothing is changed.
    Raises `UsageError` for a name that is none, `DatasetError` for what the Hub refuses.
    """
    from flywheel.curate.hub import Hub  # noqa: PLC0415  its library takes a second to import

    told = on_status or _silent
    hub = Hub(repo, endpoint)
    told(f"asking {hub.server}")
    state = hub.state()
    _refuse(repo, state, public)
    there = {} if state is None else hub.files()
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    files = {name: path for name, path in files.items() if path.is_file()}
    sent = {name: path for name, path in files.items() if not _is(path, there.get(name))}
    deleted = tuple(sorted(one for one in there if one.startswith(OWNED) and one not in files))
    head = None if state is None else state.head
    commit = None if sent or deleted else head
    tagged = False
    if not dry_run:
        if state is None:
            hub.create(private=not public)
        if commit is None:
            told(f"sending {len(sent)} files")
            # After the commit that was looked at: where another push came between, it is refused.
            commit = hub.commit([*sent.items()], deleted, message=message, parent=head)
        tagged = hub.tag(tag, commit)
    return Pushed(
        repo,
        hub.address,
        created=state is None,
        private=not public if state is None else state.private,
        sent=tuple(sent),
        deleted=deleted,
        unchanged=len(files) - len(sent),
        bytes=sum(path.stat().st_size for path in sent.values()),
        commit=commit,
        tag=tag,
        tagged=tagged,
    )


def _silent(text: str) -> None:
    """Tell nobody."""


def _refuse(repo: str, state: State | None, public: bool) -> None:
    if state is not None and not state.private and not public:
        raise UsageError(
            f"{repo} is public.",
            cause="what is pushed there can be read by everyone",
            hint="--public if it is to be, or name another repository",
        )


def _is(path: Path, known: Known | None) -> bool:
    """Is a file what the Hub has? It knows large files by SHA-256, others by git's own hash."""
    if known is None or known.size != path.stat().st_size:
        return False
    with path.open("rb") as file:
        if known.sha256 is not None:
            return hashlib.file_digest(file, "sha256").hexdigest() == known.sha256
        digest = hashlib.sha1(b"blob %d\0" % known.size, usedforsecurity=False)
        digest.update(file.read())
        return digest.hexdigest() == known.blob
