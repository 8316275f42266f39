"""Claims: which process does a piece of work, of many pieces, so that no two do the same.

A claim is the kernel's lock of one byte of a file (open file description locks): any number of
pieces share a file, and a claim ends with the process that holds it, whatever ends it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

_PLACES = 1 << 62
"""Bytes that may be locked: the file itself stays empty."""
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of Linux: type, whence, start, length, pid."""


class Claims:
    """The claims of one holder on pieces of work, named by hex digits."""

    def __init__(self, path: Path) -> None:
        """`path` is the file that all who share the work name; it is made where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def take(self, name: str) -> bool:
        """Claim a piece, at once or not at all. Who has it may claim it again."""
        try:
            self._lock(name, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True

    def drop(self, name: str) -> None:
        """Give a piece back."""
        self._lock(name, fcntl.F_UNLCK)

    def close(self) -> None:
        """Give all back; what is given back already stays so."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self, name: str, kind: int) -> None:
        wanted = _FLOCK.pack(kind, os.SEEK_SET, int(name, 16) % _PLACES, 1, 0)
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, wanted)
