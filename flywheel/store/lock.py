"""Advisory locks between processes: short shared and exclusive sessions that starve nobody.

The kernel's `flock` gives no turn to a writer while readers keep coming, so a session first
takes a turnstile: who waits for the lock holds the turnstile, and later comers queue behind.
The kernel frees both when a process dies, however it dies. The holder writes who it is into the
lock file; that text is for messages only and is never trusted as the lock itself.

Knows nothing of databases.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SHORTEST_WAIT = 0.0005
"""Seconds between the first two attempts; doubled up to `LONGEST_WAIT`."""
LONGEST_WAIT = 0.01
"""Seconds between attempts after a while."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, by its own account."""

    pid: int
    """Process id."""
    since: datetime
    """When it got the lock, UTC."""
    doing: str
    """What for, in a few words."""

    def __str__(self) -> str:
        """As a message says it."""
        return f"process {self.pid} ({self.doing}) since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class LockTimeoutError(Exception):
    """The lock was not free in time; `holder` is None when nobody wrote down who holds it."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.holder = holder


@contextmanager
def session(folder: Path, *, exclusive: bool, timeout: float, doing: str) -> Iterator[None]:
    """Hold `store.lock` in `folder`, shared or exclusive, once it is this session's turn.

    Raises `LockTimeoutError` after `timeout` seconds, `OSError` when the files cannot be made.
    """
    deadline = time.monotonic() + timeout
    path = folder / "store.lock"
    with ExitStack() as main:
        lock = main.enter_context(_opened(path))
        with _opened(folder / "store.turn") as turn:
            _acquire(turn, path, exclusive=True, deadline=deadline)
            _acquire(lock, path, exclusive=exclusive, deadline=deadline)
        if exclusive:
            _sign(lock, doing)
        try:
            yield
        finally:
            if exclusive:
                os.ftruncate(lock, 0)


@contextmanager
def alone(path: Path, *, doing: str) -> Iterator[None]:
    """Hold `path` exclusively, at once or not at all (`LockTimeoutError`)."""
    with _opened(path) as lock:
        _acquire(lock, path, exclusive=True, deadline=0.0)
        _sign(lock, doing)
        try:
            yield
        finally:
            os.ftruncate(lock, 0)


def read_holder(path: Path) -> Holder | None:
    """Who wrote itself into the lock file and still lives; None when nobody did."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        holder = Holder(int(data["pid"]), datetime.fromisoformat(data["since"]), str(data["doing"]))
        os.kill(holder.pid, 0)
    except PermissionError:
        return holder
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    # The descriptor is not inherited by programs that are started (PEP 446), so no child can
    # keep a lock that its dead parent took.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, *, exclusive: bool, deadline: float) -> None:
    operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
    wait = SHORTEST_WAIT
    while True:
        try:
            fcntl.flock(descriptor, operation)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        else:
            return
        if time.monotonic() >= deadline:
            raise LockTimeoutError(path, read_holder(path))
        time.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(wait * 2, LONGEST_WAIT)


def _sign(descriptor: int, doing: str) -> None:
    text = json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(), "doing": doing})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
