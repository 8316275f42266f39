"""Versions: a dataset as it was built, a folder that never changes.

`NAME@HASH/` holds `manifest.json`, one Parquet file a split, `baselines.parquet` (what the rows
were proven in), the recipe's own files, and the reports of the build. The hash is of the rows and
of what made them, so the same inputs give the same version, and one that was altered is known.

Rows are in the order of their `row_id`, which is a hash: a file is shuffled as it lies.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
from pydantic import BaseModel, ConfigDict

from flywheel.core.errors import DatasetError, UsageError
from flywheel.core.identity import content_hash
from flywheel.curate.recipe import Rules
from flywheel.curate.split import HOLDOUT, TRAIN, VALIDATION

FORMAT = 1
"""Layout of the folder. A reader refuses a greater one."""
MANIFEST, BASELINES, REPORTS = "manifest.json", "baselines.parquet", "reports"
"""Files and folders of a version beside its splits."""
DROPPED = "dropped.parquet"
"""Report with the stage and the reason of every example that is not in the version."""
SPLITS = (TRAIN, VALIDATION, HOLDOUT)
"""The splits in the order they are listed."""
AT_ONCE = 4096
"""Rows that are read or written together."""

_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())
MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
"""A conversation: who says what, in order; the roles are `system`, `user` and `assistant`."""

ROWS = pa.schema(
    [
        ("row_id", _TEXT),  # the example's id; with `-K` after it where one example gives several
        ("example_id", _TEXT),
        ("prompt", MESSAGES),  # ends with a user's turn
        ("completion", MESSAGES),  # one turn of the assistant
        ("rejected", MESSAGES),  # a wrong one in its place; null where the task has none
        ("repo", _TEXT),
        ("commit", _TEXT),  # of the good code; the bug is `patch` taken back
        ("path", _TEXT),
        ("symbol", _TEXT),
        ("line", pa.int32()),  # where the change begins in the good file
        ("end_line", pa.int32()),
        ("language", _TEXT),
        ("license", _TEXT),  # SPDX, null where none was found
        ("source", _TEXT),
        ("operator", _TEXT),
        ("fix_origin", _TEXT),
        ("statement", _TEXT),  # what a person said of the fix, null for bugs that were made
        ("bad", _TEXT),
        ("good", _TEXT),
        ("patch", _TEXT),  # from bad to good, for `git apply`
        ("error", _TEXT),
        ("error_type", _TEXT),
        ("error_message", _TEXT),
        ("test_id", _TEXT),
        ("test_source", _TEXT),
        ("failing_tests", _TEXTS),
        ("passing_tests", pa.int32()),
        ("oracle_strength", pa.float64()),  # null where it was not audited
        ("flake_rate", pa.float64()),
        ("difficulty", _TEXT),  # easy, medium, hard
        ("solved", pa.float64()),  # share of attempts that mended it, null where there were none
        ("alike", pa.int32()),  # rows that were dropped because this one says the same
        ("family", _TEXT),  # definitions that are near duplicates share it
        ("component", _TEXT),  # rows that hang together share it
        ("at", pa.timestamp("us", tz="UTC")),  # of the commit that mended it, else of the proof
        ("candidate_id", _TEXT),
        ("baseline_id", _TEXT),
        ("environment_hash", _TEXT),
        ("toolchain", _TEXT),
        ("sandbox_level", _TEXT),
    ]
)
"""Columns of a split's file."""

PROVEN_IN = pa.schema(
    [
        ("baseline_id", _TEXT),
        ("repo", _TEXT),
        ("commit", _TEXT),
        ("environment_hash", _TEXT),
        ("toolchain", _TEXT),
        ("python", _TEXT),  # version, null for other languages
        ("packages", _TEXTS),  # `name==version`, sorted
        ("tests", _TEXTS),  # that pass on the good code in every run
    ]
)
"""Columns of `baselines.parquet`."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageCounts(_Record):
    """One stage of the funnel."""

    name: str
    rows: int
    dropped: dict[str, int]


class SplitCounts(_Record):
    """One split."""

    rows: int
    examples: int
    sha256: str
    """Of the rows, whatever wrote them."""


class HoldoutName(_Record):
    """The hold-out that a version was built with."""

    name: str
    hash: str
    """Of the ids it holds."""
    rows: int


class Manifest(_Record):
    """What a version says of itself; no time, for the same inputs give the same bytes."""

    format: int
    name: str
    hash: str
    flywheel: str
    """Version of flywheel that built it."""
    code: str
    """Hash of the code that chose and composed the rows."""
    recipe: str
    """Hash of the recipe."""
    rules: Rules
    splits: dict[str, SplitCounts]
    baselines: str
    """SHA-256 of what the rows were proven in, as JSON."""
    holdout: HoldoutName | None
    funnel: tuple[StageCounts, ...]
    statistics: dict[str, dict[str, int]]
    """Rows by value, of each column that is counted (`repo`, `license`, `operator` …)."""
    quantiles: dict[str, dict[str, float]]
    """Of each column that is measured (`error_characters` …): least, p10, median, p90, most."""


def identity(said: Mapping[str, Any]) -> str:
    """The hash of a version, of what its manifest says of rows, recipe and code."""
    return content_hash({name: said[name] for name in _IDENTITY})


_IDENTITY = ("format", "name", "code", "recipe", "splits", "baselines", "holdout", "funnel")


def rows_hash(rows: Sequence[Mapping[str, object]]) -> str:
    """SHA-256 of rows that are few."""
    text = json.dumps([dict(row) for row in rows], sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Version:
    """A version on the disk."""

    folder: Path
    """Where it lies."""
    manifest: Manifest
    """What it says of itself."""

    @property
    def id(self) -> str:
        """`NAME@HASH`."""
        return f"{self.manifest.name}@{self.manifest.hash}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have rows, in their order."""
        return tuple(split for split in SPLITS if split in self.manifest.splits)

    def file(self, split: str) -> Path:
        """The Parquet file of a split."""
        return self.folder / f"{split}.parquet"

    def batches(self, split: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a split, some at a time; raises `DatasetError` for a file that is damaged."""
        try:
            with pq.ParquetFile(self.file(split)) as file:
                if not file.schema_arrow.equals(ROWS):
                    raise _damaged(self.file(split), "its columns are others")
                yield from file.iter_batches(AT_ONCE, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.file(split), str(error)) from error

    def ids(self, split: str) -> frozenset[str]:
        """The examples of a split; none where it has no such split. Raises as `batches` does."""
        parts = self.batches(split, ("example_id",)) if split in self.splits else ()
        return frozenset(one for part in parts for one in part["example_id"].to_pylist())

    def beside(self, split: str, ids: Collection[str]) -> frozenset[str]:
        """The examples of a split that hang together with some of its examples, and those."""
        if split not in self.splits:
            return frozenset()
        rows = self.scan(split).select("example_id", "component")
        some = rows.filter(pl.col("example_id").is_in(list(ids))).select("component")
        found = rows.join(some, on="component", how="semi").select("example_id")
        return frozenset(found.collect()["example_id"])

    def scan(self, split: str) -> pl.LazyFrame:
        """The rows of a split, not yet read."""
        return pl.scan_parquet(self.file(split))

    def baselines(self) -> dict[str, dict[str, object]]:
        """What the rows were proven in, by `baseline_id`; see `PROVEN_IN`."""
        try:
            rows = pq.read_table(self.folder / BASELINES).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.folder / BASELINES, str(error)) from error
        return {row["baseline_id"]: row for row in rows}


class Digest:
    """Hash of rows, one after the other, that does not depend on how they are stored."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, row: dict[str, object]) -> None:
        """Take one more row, its columns in the order of `ROWS`."""
        text = json.dumps(list(row.values()), separators=(",", ":"), default=str)
        self._hash.update(text.encode())
        self._hash.update(b"\n")

    @property
    def hex(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


def load_version(folder: Path) -> Version:
    """The version in a folder.

    Raises `DatasetError` for one that is damaged, or that a newer flywheel wrote.
    """
    path = folder / MANIFEST
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(said, dict) or not isinstance(said.get("format"), int):
        raise _damaged(path, "it is no manifest")
    if said["format"] > FORMAT:
        raise DatasetError(
            f"{folder.name} was built by a newer flywheel ({said.get('flywheel')}).",
            cause=f"its layout is {said['format']}, and this one reads up to {FORMAT}",
            hint="install that flywheel, or build the dataset again with this one",
        )
    try:
        manifest = Manifest.model_validate(said)
    except pydantic.ValidationError as error:
        raise _damaged(path, str(error.errors()[0]["msg"])) from error
    missing = [split for split in manifest.splits if not (folder / f"{split}.parquet").is_file()]
    if missing:
        raise _damaged(folder, f"{', '.join(missing)} is not there")
    return Version(folder, manifest)


def versions(root: Path) -> tuple[Version, ...]:
    """Every version in a folder of versions, by name and then the newest first.

    What is damaged is left out: naming it says why.
    """
    found = []
    for folder in root.glob("*@*"):
        try:
            version = load_version(folder)
        except DatasetError:
            continue
        found.append((version.manifest.name, -(folder / MANIFEST).stat().st_mtime_ns, version))
    return tuple(version for *_, version in sorted(found, key=lambda one: one[:2]))


def find_version(root: Path, asked: str) -> Version:
    """The version that is asked for: `NAME@HASH`, a beginning of the hash, or the newest of `NAME`.

    Raises `UsageError` where there is none, or several.
    """
    name, _, start = asked.rpartition("@") if "@" in asked else (asked, "", "")
    folders = sorted(root.glob("*@*"))
    exact = [one for one in folders if one.name.startswith(f"{name}@{start}")]
    if start and len(exact) == 1:
        return load_version(exact[0])
    if exact and not start:
        return load_version(max(exact, key=lambda one: (one / MANIFEST).stat().st_mtime_ns))
    if exact:
        listed = ", ".join(one.name for one in exact)
        raise UsageError(f"Several versions begin with {asked}: {listed}.", hint="give more of it")
    near = difflib.get_close_matches(asked, [one.name for one in folders], n=1, cutoff=0.4)
    there = f"there are: {', '.join(one.name for one in folders)}" if folders else None
    raise UsageError(
        f"There is no version {asked!r} of a dataset.",
        cause=there,
        hint=f"Did you mean {near[0]}?"
        if near
        else ("flywheel dataset list" if folders else f"flywheel dataset build {name}"),
    )


def find_row(version: Version, start: str) -> tuple[str, dict[str, Any]]:
    """The row whose id begins so, and its split; `UsageError` for none or several."""
    found: list[tuple[str, dict[str, Any]]] = []
    for split in version.splits:
        rows = version.scan(split).filter(pl.col("row_id").str.starts_with(start)).head(5)
        with _told(version.file(split)):
            found += [(split, row) for row in rows.collect().to_dicts()]
    exact = [one for one in found if one[1]["row_id"] == start]
    if exact or len(found) == 1:
        return (exact or found)[0]
    if found:
        listed = ", ".join(row["row_id"] for _, row in found[:5])
        raise UsageError(f"Several rows begin with {start}: {listed} …", hint="give more of it")
    raise UsageError(
        f"No row of {version.id} begins with {start!r}.",
        hint=f"flywheel dataset show {version.id} --why {start}",
    )


def whereabouts(version: Version, start: str) -> list[dict[str, str | None]]:
    """Where the examples are whose ids begin so, at the most ten.

    Each has `example_id`, and its `split`, or the `stage` and `reason` of its drop. Raises
    `UsageError` for an example that the build did not see.
    """
    begins = pl.col("example_id").str.starts_with(start)
    none = pl.lit(None, pl.String)
    frames = [
        version.scan(split)
        .filter(begins)
        .select("example_id", split=pl.lit(split), stage=none, reason=none)
        .unique()
        for split in version.splits
    ]
    dropped = pl.scan_parquet(version.folder / REPORTS / DROPPED).filter(begins)
    frames.append(dropped.select("example_id", "stage", "reason", split=none))
    with _told(version.folder):
        every = pl.concat(frames, how="diagonal").sort("example_id").head(10)
        found = every.collect().to_dicts()
    if not found:
        raise UsageError(
            f"The build of {version.id} saw no example that begins with {start!r}.",
            hint="it may not have been selected, or be newer: flywheel examples",
        )
    return found


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, cause: str) -> DatasetError:
    return DatasetError(
        f"{path} cannot be read as a part of a dataset.",
        cause=cause.partition("\n")[0][:500],
        hint="remove the version's folder and build it again: it will be the same",
    )
