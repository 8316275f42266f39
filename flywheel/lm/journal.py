"""The journal: answers that were paid for, and every call, on disk the moment they are known.

One SQLite file, in its write-ahead mode; an answer and its call are one transaction, so that
whatever ends the process, what was paid is neither lost nor paid twice. Answers are found again by
the identity of the question and of the server. Calls wait here until the store has taken them; a
row that is damaged is set aside in a table of its own, and counted.

A call is noted before it goes out. Where its process is killed before it ends, who looks next finds
it and says that it is lost: it may have been charged for.

Knows no question: only its hash is kept.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from flywheel.core.claim import Claims
from flywheel.core.errors import StoreError
from flywheel.lm.records import Call, Response

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (request_key TEXT PRIMARY KEY, answer TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS calls (call_id TEXT PRIMARY KEY, call TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sent (
    call_id TEXT PRIMARY KEY, holder TEXT NOT NULL, call TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS damaged (call_id TEXT PRIMARY KEY, call TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS batches (
    intent TEXT PRIMARY KEY, server TEXT NOT NULL, made_at TEXT NOT NULL, batch_id TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS batch_items (
    custom_id TEXT PRIMARY KEY, intent TEXT NOT NULL, request_key TEXT NOT NULL,
    role TEXT NOT NULL, purpose TEXT NOT NULL, run_id TEXT NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS batch_items_of ON batch_items (intent);
"""
_CALL, _RESPONSE = TypeAdapter(Call), TypeAdapter(Response)
_PATIENCE = 30.0
"""Seconds that another process may hold the file."""


class Journal:
    """One journal; threads and processes may share it."""

    def __init__(self, path: Path) -> None:
        """The file is made when it is not there. Raises `StoreError` when it cannot be used."""
        self.path = path
        self._lock = threading.Lock()
        self._holder = uuid.uuid4().hex[:15]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._holders = Claims(path.with_name(f"{path.name}.holders"))
            self._holders.take(self._holder)
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error

    def answer(self, request_key: str) -> Response | None:
        """The answer that was given before, None where there is none or it cannot be read.

        Raises `StoreError` as `record` does.
        """
        with self.transaction("BEGIN") as connection:
            row = connection.execute(
                "SELECT answer FROM answers WHERE request_key = ?", [request_key]
            ).fetchone()
        if row is None:
            return None
        try:
            return _RESPONSE.validate_json(row[0])
        except ValidationError:
            return None

    def sent(self, lost: Call) -> None:
        """Note a call that goes out, as it is to be kept if this process is killed before its end.

        `record` takes the note back. Raises `StoreError` as `record` does.
        """
        with self.transaction() as connection:
            noted = [lost.call_id, self._holder, _written(lost)]
            connection.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", noted)

    def record(self, call: Call, answer: Response | None = None) -> None:
        """Keep a call, and the answer where it gave one that may be given again.

        Raises `StoreError` when the disk is full or the file damaged.
        """
        with self.transaction() as connection:
            put(connection, call, answer)

    def calls(self, limit: int = 10_000) -> tuple[Call, ...]:
        """Calls that wait, the oldest first, and those that were lost with their process.

        Damaged ones are set aside. Raises `StoreError` as `record` does.
        """
        found: list[Call] = []
        with self.transaction() as connection:
            self._find_lost(connection)
            while not found:
                rows = connection.execute(
                    "SELECT call_id, call FROM calls ORDER BY rowid LIMIT ?", [limit]
                ).fetchall()
                if not rows:
                    break
                for row in rows:
                    try:
                        found.append(_CALL.validate_json(row[1]))
                    except ValidationError:
                        connection.execute("INSERT OR REPLACE INTO damaged VALUES (?, ?)", row)
                        connection.execute("DELETE FROM calls WHERE call_id = ?", row[:1])
        return tuple(found)

    @property
    def damaged(self) -> int:
        """Calls that were set aside because they cannot be read: table `damaged` of the file."""
        with self.transaction("BEGIN") as connection:
            return int(connection.execute("SELECT count(*) FROM damaged").fetchone()[0])

    def forget(self, calls: Iterable[Call]) -> None:
        """Drop calls that the store has taken. Raises `StoreError` as `record` does."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM calls WHERE call_id = ?", [[call.call_id] for call in calls]
            )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()
            self._holders.close()

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """What the block does, all of it or nothing; threads and processes take turns.

        `BEGIN` is for one that only reads. Raises `StoreError` when the disk is full or the file
        damaged.
        """
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute(begin)
                    yield self._connection
            except (OSError, sqlite3.Error) as error:
                raise _unusable(self.path, error) from error

    def _find_lost(self, connection: sqlite3.Connection) -> None:
        """Make calls of what processes that are gone have sent."""
        others = connection.execute(
            "SELECT DISTINCT holder FROM sent WHERE holder <> ?", [self._holder]
        )
        for (holder,) in others.fetchall():
            if not self._holders.take(holder):
                continue
            connection.execute(
                "INSERT OR REPLACE INTO calls SELECT call_id, call FROM sent WHERE holder = ?",
                [holder],
            )
            connection.execute("DELETE FROM sent WHERE holder = ?", [holder])
            self._holders.drop(holder)


def put(connection: sqlite3.Connection, call: Call, answer: Response | None) -> None:
    """Write a call, and its answer where there is one, in the transaction that is open."""
    connection.execute("DELETE FROM sent WHERE call_id = ?", [call.call_id])
    connection.execute("INSERT OR REPLACE INTO calls VALUES (?, ?)", [call.call_id, _written(call)])
    if answer is not None:
        connection.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?)",
            [call.request_key, json.dumps(asdict(answer))],
        )


def _written(call: Call) -> str:
    return json.dumps(asdict(call), default=datetime.isoformat)


def _unusable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"The journal of language model calls {path} cannot be used.",
        cause=str(error),
        hint="Free space on its disk, or move the file away: it is made anew.",
    )
