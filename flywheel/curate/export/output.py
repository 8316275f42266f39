"""What a format writes to: the rows it is given, the files it makes, and what is counted.

The folder has another name until all of it is there. Then it takes its place in one step, and
where anything fails before, it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from flywheel.core.errors import DatasetError, UsageError
from flywheel.curate.split import HOLDOUT
from flywheel.curate.version import Version

NAMES = {HOLDOUT: "test"}
"""What consumers call a split that has another name here."""
SHARD_BYTES = 2_000_000_000
"""Bytes from which a Parquet file is followed by another. Readers take a file of this size in row
groups, and a version's own file goes out as it lies as long as it is no larger."""

OnProgress = Callable[[int, int], None]
"""Told how many rows of how many were read."""


def name_of(split: str) -> str:
    """What a split is called in an export."""
    return NAMES.get(split, split)


@dataclass(slots=True)
class Output:
    """One export while it is written."""

    version: Version
    """What is exported."""
    splits: tuple[str, ...]
    """Which of its splits, in their order."""
    folder: Path
    """Where the files go; not yet where they will stand."""
    shard_bytes: int = SHARD_BYTES
    """Bytes from which a Parquet file is followed by another."""
    body: str | None = None
    """Markdown of the card, for a format that has one; None: the one that the version gives."""
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the body shows, by their path within the export."""
    on_progress: OnProgress | None = None
    """Told of the rows that were read."""
    rows: Counter[str] = field(default_factory=Counter)
    """Rows written, by the split's name in the export."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that the format cannot hold, by reason."""
    _read: int = 0

    def batches(self, split: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a split, some at a time."""
        for batch in self.version.batches(split, columns):
            yield batch
            self.told(batch.num_rows)

    def told(self, rows: int) -> None:
        """Tell that so many more rows were read."""
        self._read += rows
        if self.on_progress is not None:
            total = sum(self.version.manifest.splits[one].rows for one in self.splits)
            self.on_progress(self._read, total)

    def frames(self, split: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of a split, some at a time, with `first`: is it the first of its example?"""
        last: str | None = None
        for batch in self.batches(split, [*{"example_id": None, **dict.fromkeys(columns)}]):
            frame = pl.DataFrame(batch)
            before = pl.col("example_id").shift(1, fill_value=last)
            yield frame.with_columns(first=pl.col("example_id").ne_missing(before))
            last = frame["example_id"][-1]

    def path(self, name: str) -> Path:
        """Where a file of the export is to be written; its folder is made."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def write(self, name: str, text: str, *, executable: bool = False) -> None:
        """Write a small file of the export."""
        place = self.path(name)
        place.write_text(text, encoding="utf-8", newline="")
        if executable:
            place.chmod(0o755)


@contextlib.contextmanager
def placed(folder: Path, *, force: bool, keep: Sequence[Path] = ()) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when the block ends well.

    What is there already is replaced with `force` alone, and never when it holds one of `keep`.
    Raises `UsageError` for a place that cannot be taken, `DatasetError` when writing fails.
    """
    folder = folder.expanduser().absolute()
    _refuse(folder, force, keep)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made.", cause=str(error), hint="name a folder you may write"
        ) from error
    try:
        made.chmod(0o755)  # mkdtemp makes it for its owner alone
        yield made
        if folder.is_dir() and any(folder.iterdir()):
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            folder.rename(old / "old")
            try:
                made.rename(folder)
            except BaseException:
                (old / "old").rename(folder)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            made.rename(folder)  # in the place of one that is empty, too
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        raise DatasetError(
            f"The export to {folder} could not be written; nothing of it was kept.",
            cause=str(error),
            hint="make room, or choose a folder on another disk" if full else None,
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _refuse(folder: Path, force: bool, keep: Sequence[Path]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", hint="name a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise UsageError(
            f"{folder} is not empty.", hint="name another folder, or replace it with --force"
        )
    whole = folder.resolve()
    held = [
        path for path in (*keep, Path.cwd(), Path.home()) if path.resolve().is_relative_to(whole)
    ]
    if held or (folder / ".git").exists():
        what = str(held[0]) if held else "a git repository"
        raise UsageError(
            f"{folder} is not replaced, even with --force.",
            cause=f"it holds {what}",
            hint="name a folder for the export alone",
        )
