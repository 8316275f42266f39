"""Opening the store: short sessions on one DuckDB file, so that nobody meets a lock error.

DuckDB lets no other process open the file while one has it open for writing. A session is
therefore short (one batch in, or one answer out) and waits its turn at an advisory lock beside
the file; see `lock`. A writing session is one transaction. It appends to the write-ahead log and
leaves the file alone until the log is `LOG_LIMIT` long: a checkpoint costs more than a batch, a
long log costs every opening.

A reading session can read the store and nothing else: no file, no network, no setting.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb

from flywheel.core.errors import StoreBusyError, StoreError
from flywheel.core.identity import content_hash
from flywheel.store.lock import LockTimeoutError, alone, session
from flywheel.store.migrate import (
    Migration,
    migrate,
    migrations,
    newest,
    refuse_newer,
    version_of,
)

logger = logging.getLogger(__name__)

LOG_LIMIT = 2 * 1024 * 1024
"""Bytes of write-ahead log after which a writing session checkpoints: every opening reads the
whole log, so a long one costs each batch and each read more than the checkpoint it saves."""

ROW_GROUP = 8192
"""Rows that are rewritten together. A checkpoint rewrites the last group of every column; at
DuckDB's usual 122,880 that took two seconds, at 8192 it takes 50 ms and the file is no larger."""

FREE_SHARE = 0.25
"""Share of the file's blocks that may be free when a harvest has ended; beyond it the file is
written anew. Checkpoints write elsewhere what they rewrite, and the file never shrinks."""

TIMEOUT = 60.0
"""Seconds a session waits for its turn."""

_Config = dict[str, str | bool | int | float | list[str]]

_COMMON: _Config = {
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_READING: _Config = {**_COMMON, "enable_external_access": "false"}
_WRITING: _Config = {
    **_COMMON,
    "threads": "1",  # a batch is too small to share, and the cores are busy judging
    "wal_autocheckpoint": "1TB",  # the session decides
    # A small store is many short columns, each filling at least a block: a quarter of DuckDB's
    # usual size on disk, and cheaper checkpoints.
    "default_block_size": "16384",
    "zstd_min_string_length": "24",  # so that text inside lists and structs is compressed too
}

_LOCKING = threading.Lock()


class Store:
    """One store file. Making one opens nothing; the first writing session creates the file."""

    def __init__(
        self, path: Path, *, timeout: float = TIMEOUT, steps: tuple[Migration, ...] | None = None
    ) -> None:
        self.path = path
        """The database file."""
        self.timeout = timeout
        """Seconds a session waits for its turn before `StoreBusyError`."""
        self._steps = migrations() if steps is None else steps
        self._thread = threading.local()

    @property
    def log(self) -> Path:
        """What was written since the last checkpoint; there is none where nothing was."""
        return _log_of(self.path)

    @property
    def exists(self) -> bool:
        """True once something was written."""
        return self.path.exists()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that can only read the store; fetch all you need, then leave.

        A store that does not exist reads as an empty one. Raises `StoreBusyError` after
        `timeout`, `StoreVersionError`, and `StoreError` for a file that cannot be read.
        """
        with self._session(exclusive=False, doing="reading the store"):
            connection = self._readable()
            if connection is not None:
                with self._closing(connection, "read"):
                    yield connection
                return
        # Written by an older flywheel: bring it up to date, then read.
        with self.writing():
            pass
        with self._session(exclusive=False, doing="reading the store"):
            connection = self._readable()
            if connection is None:
                raise StoreError(f"The store {self.path} changed while it was upgraded.")
            with self._closing(connection, "read"):
                yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction, committed on leaving, rolled back on any error.

        What was left normally is on the disk, whatever happens later. Raises `StoreBusyError`
        after `timeout`, `StoreVersionError`, and `StoreError` when it cannot be written (a full
        disk, a damaged file); nothing is half written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error
        with self._session(exclusive=True, doing="writing to the store"):
            if not self.path.exists():
                self._create()
            connection = self._connect(read_only=False)
            with self._closing(connection, "write to"):
                connection.execute("PRAGMA disable_checkpoint_on_shutdown")
                connection.execute("SET TimeZone = 'UTC'")
                quiet(connection)
                refuse_newer(version_of(connection), self._steps, str(self.path))
                migrate(connection, self._steps)
                connection.begin()
                try:
                    yield connection
                except BaseException:
                    with suppress(duckdb.Error):
                        connection.rollback()
                    raise
                connection.commit()
                self._shorten_log(connection)

    def copy(self, to: Path) -> None:
        """Copy the store's file and its log while nobody writes; of one that is not there, nothing.

        Raises `StoreBusyError` after `timeout`, and `StoreError` where there is no room.
        """
        with self._session(exclusive=False, doing="copying the store"):
            for path in (self.path, _log_of(self.path)):
                if path.exists():
                    made = to if path == self.path else _log_of(to)
                    try:
                        shutil.copyfile(path, made)
                    except OSError as error:
                        raise _unusable(made, error) from error

    @contextmanager
    def exporting(self, folder: Path, *, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that reads the store and may write files; for SQL that no user wrote.

        What does not fit into `memory` (as DuckDB writes sizes) goes through files in `folder`.
        Meant for a copy: it holds the session for as long as it takes.
        """
        with self._session(exclusive=False, doing="exporting from the store"):
            config: _Config = {
                **_COMMON,
                "memory_limit": memory,
                "temp_directory": str(folder),
                "preserve_insertion_order": "true",
            }
            try:
                if self.path.exists():
                    connection = duckdb.connect(self.path, read_only=True, config=config)
                else:
                    connection = duckdb.connect(config=config)
                    migrate(connection, self._steps)
            except duckdb.Error as error:
                raise _translated(error, self.path, "open") from error
            with self._closing(connection, "export from"):
                connection.execute("SET TimeZone = 'UTC'")
                quiet(connection)
                yield connection

    def tidy(self) -> None:
        """Fold the write-ahead log into the file, and drop what of the file is free."""
        if not self.exists:
            return
        with self._session(exclusive=True, doing="tidying the store"):
            connection = self._connect(read_only=False)
            with self._closing(connection, "tidy"):
                connection.execute("CHECKPOINT store")
                total, free = connection.execute(
                    "SELECT total_blocks, free_blocks FROM pragma_database_size()"
                    " WHERE database_name = 'store'"
                ).fetchall()[0]
                if free <= FREE_SHARE * total or version_of(connection) != newest(self._steps):
                    return
                try:
                    self._rewrite(connection)
                except (duckdb.Error, OSError) as error:
                    # Every row is safe where it was.
                    logger.warning(
                        "The store %s could not be written anew: %s", self.path, _first_line(error)
                    )
                    self._new_file()

    @contextmanager
    def harvest_lock(self, repo: str) -> Iterator[None]:
        """Be the only harvest of `repo` into this store; `StoreBusyError` at once otherwise."""
        path = self.path.parent / f"harvest-{content_hash(repo)}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with alone(path, doing=f"harvest of {repo}"):
                yield
        except LockTimeoutError as error:
            raise StoreBusyError(
                f"{repo} is being harvested into {self.path} already.",
                cause=f"Held by {error.holder or 'another process'}.",
                hint="Wait for it to end, or stop it: what it stored is kept and the next"
                " harvest goes on from there.",
            ) from error

    @contextmanager
    def _session(self, *, exclusive: bool, doing: str) -> Iterator[None]:
        if getattr(self._thread, "busy", False):
            # It would wait for itself: for the whole timeout, then blame another process.
            raise StoreError("A session of the store was opened inside another one.")
        if not exclusive and not self.path.parent.is_dir():
            yield
            return
        self._thread.busy = True
        try:
            with ExitStack() as held:
                try:
                    held.enter_context(
                        session(
                            self.path.parent, exclusive=exclusive, timeout=self.timeout, doing=doing
                        )
                    )
                except LockTimeoutError as error:
                    raise StoreBusyError(
                        f"The store {self.path} stayed busy for {self.timeout:g} s.",
                        cause=f"Held by {error.holder or 'other processes that read it'}.",
                        hint="Try again when it is done.",
                    ) from error
                except OSError as error:
                    # A folder that cannot be written has no writer to wait for.
                    if exclusive or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                        raise _unusable(self.path, error) from error
                yield
        finally:
            self._thread.busy = False

    def _readable(self) -> duckdb.DuckDBPyConnection | None:
        """A hardened connection, or None when the store must be brought up to date first."""
        if self.path.exists():
            connection = self._connect(read_only=True)
        else:
            connection = duckdb.connect(config=_READING)
            migrate(connection, self._steps)
        try:
            version = version_of(connection)
            refuse_newer(version, self._steps, str(self.path))
            if version < newest(self._steps):
                connection.close()
                return None
            _lock(connection)
        except duckdb.Error as error:
            connection.close()
            raise _translated(error, self.path, "read") from error
        except StoreError:
            connection.close()
            raise
        return connection

    def _rewrite(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Copy all rows into a new file, which takes the name when it is whole."""
        made = self._new_file()
        connection.execute(_attach(made, "fresh"))
        connection.execute("USE fresh")
        migrate(connection, self._steps)
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'fresh'"
        ).fetchall()
        connection.begin()
        for (table,) in tables:
            connection.execute(f"DELETE FROM fresh.{table}")
            connection.execute(f"INSERT INTO fresh.{table} BY NAME FROM store.{table}")
        connection.commit()
        connection.execute("CHECKPOINT fresh")
        connection.close()
        self._put_in_place(made)

    def _new_file(self) -> Path:
        """Where a file is made that will take the store's name; what was left there is removed."""
        made = self.path.with_name(f"{self.path.name}.new")
        for left in (made, _log_of(made)):
            left.unlink(missing_ok=True)
        return made

    def _put_in_place(self, made: Path) -> None:
        """Give a whole file its name; the logs of both files must hold nothing any more."""
        for path in (made, self.path):
            # A log without its file would be replayed into the new one.
            _log_of(path).unlink(missing_ok=True)
        made.replace(self.path)

    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                if read_only:
                    return duckdb.connect(self.path, read_only=True, config=_READING)
                return _writable(self.path)
            except duckdb.Error as error:
                # A program that knows nothing of our lock, such as DuckDB's own shell, has it.
                if "set lock on file" not in str(error) or time.monotonic() > deadline:
                    raise _translated(error, self.path, "open") from error
            time.sleep(0.05)

    def _create(self) -> None:
        """Make the file whole and only then give it its name."""
        try:
            made = self._new_file()
            connection = _writable(made)
            with self._closing(connection, "create"):
                migrate(connection, self._steps)
                connection.execute("CHECKPOINT")
            self._put_in_place(made)
        except OSError as error:
            raise _unusable(self.path, error) from error
        except duckdb.Error as error:
            raise _translated(error, self.path, "create") from error

    @contextmanager
    def _closing(self, connection: duckdb.DuckDBPyConnection, doing: str) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise _translated(error, self.path, doing) from error
        finally:
            with suppress(duckdb.Error):
                connection.close()

    def _shorten_log(self, connection: duckdb.DuckDBPyConnection) -> None:
        log = _log_of(self.path)
        try:
            if log.stat().st_size < LOG_LIMIT:
                return
            connection.execute("CHECKPOINT")
        except FileNotFoundError:
            return
        except duckdb.Error as error:
            # The rows are committed and safe in the log; the next session tries again.
            logger.warning("The store %s could not be tidied: %s", self.path, _first_line(error))


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Fix the settings of a connection that reads."""
    # Connections of one process to one file share a database, and so its settings: where another
    # thread is reading, they are as they should be, and cannot be set any more.
    with _LOCKING:
        setting = connection.execute("SELECT current_setting('lock_configuration')").fetchall()
        if not setting[0][0]:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            quiet(connection)
            connection.execute("SET lock_configuration = true")


def _writable(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config=_WRITING)
    try:
        connection.execute(_attach(path, "store"))
        connection.execute("USE store")
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(path: Path, name: str) -> str:
    # Only ATTACH takes the size of a row group, and it is asked at every opening.
    quoted = str(path).replace("'", "''")
    return f"ATTACH '{quoted}' AS {name} (ROW_GROUP_SIZE {ROW_GROUP})"


def quiet(connection: duckdb.DuckDBPyConnection) -> None:
    """Let no progress be drawn into what a program prints."""
    # In a notebook without widgets nothing can draw it, and DuckDB refuses the setting.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:500]


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"The store {path} cannot be used.",
        cause=str(error),
        hint="Check that the folder can be written and has room.",
    )


def _translated(error: duckdb.Error, path: Path, doing: str) -> StoreError:
    """What DuckDB says, as an error of ours: busy, full, damaged, or something else."""
    text = str(error)
    cause = _first_line(error)
    if "set lock on file" in text:
        return StoreBusyError(
            f"The store {path} is open in another program.",
            cause=cause,
            hint="Close the other program (a DuckDB shell, a notebook), then try again.",
        )
    if any(sign in text for sign in ("No space left", "File too large", "Disk quota")):
        return StoreError(
            f"There is no room to {doing} the store {path}.",
            cause=cause,
            hint="Free some space and run the same command again: everything acknowledged"
            " before is kept.",
        )
    damaged = isinstance(
        error, duckdb.SerializationException | duckdb.InternalException | duckdb.FatalException
    )
    signs = ("not a valid DuckDB", "orrupt", "hecksum", "deserializ", "Could not read", "magic")
    if damaged or any(sign in text for sign in signs):
        return StoreError(
            f"The store {path} is damaged and cannot be used.",
            cause=cause,
            hint=f"Put a copy back in its place, or move it away (mv {path} {path}.damaged) and"
            " harvest again.",
        )
    return StoreError(
        f"Could not {doing} the store {path}.",
        cause=cause,
        hint="Run the command again; if it stays, check the folder's permissions.",
    )
