"""Snapshots: the store as it was at a moment, for reads that may take long.

The store's file is copied while nobody writes, the copy is opened, and its name is taken away: it
is gone when nobody reads it any more, however the process ends. A harvest waits for a copy of the
file, and never for what somebody asks of it.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import duckdb

from flywheel.core.errors import StoreError
from flywheel.store.store import Store


class Snapshot(Store):
    """A store that nobody writes to; threads may read it together, each as long as it likes."""

    def __init__(self, of: Store) -> None:
        folder = Path(tempfile.mkdtemp(prefix="flywheel-"))
        try:
            super().__init__(folder / of.path.name, timeout=of.timeout, steps=of._steps)
            of.copy(self.path)
            self._connection = self._opened()
        except StoreError:
            # What is wrong with the store itself is told of the store, and not of its copy.
            with of.reading():
                pass
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that can only read; what it is asked is of the moment of the copy."""
        cursor = self._connection.cursor()
        with self._closing(cursor, "read"):
            yield cursor

    def writing(self) -> NoReturn:
        """Refused: what is written to a copy is lost."""
        raise StoreError("A snapshot of a store is only read.")

    def _opened(self) -> duckdb.DuckDBPyConnection:
        connection = self._readable()
        if connection is None:  # an older flywheel wrote it: the copy is brought up to date
            with super().writing():
                pass
            connection = self._readable()
        if connection is None:
            raise StoreError(f"The copy of the store {self.path} changed while it was upgraded.")
        return connection


_State = tuple[int, int, int] | None
"""Identity, size and time of a file; None for one that is not there."""


class Snapshots:
    """The newest snapshot of a store, made anew when the store has changed since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._state: list[_State] = []
        self._newest: Snapshot | None = None

    def newest(self) -> Snapshot:
        """The store as it is now.

        Raises `StoreBusyError` and `StoreVersionError` as a session does, and `StoreError` where
        it cannot be copied: there is no room, or it is damaged.
        """
        with self._lock:
            state = [_state(path) for path in (self._store.path, self._store.log)]
            if self._newest is None or state != self._state:
                self._newest = Snapshot(self._store)
                self._state = state
            return self._newest


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
