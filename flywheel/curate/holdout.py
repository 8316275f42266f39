"""Hold-outs: rows that no program is trained on or chosen by, for as long as the workspace lives.

A hold-out belongs to the workspace and not to one dataset, so two datasets cannot leak into one
another's. It is a file that is written once, with all that is needed to see what hangs together
with it, whatever becomes of the rows in the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from flywheel.core.errors import DatasetError, UsageError
from flywheel.core.identity import content_hash
from flywheel.curate.recipe import Split
from flywheel.curate.version import MANIFEST, HoldoutName

FOLDER = "holdouts"
"""Folder of the hold-outs, beside the versions."""
COLUMNS: dict[str, pl.DataType] = {
    "example_id": pl.String(),
    "repo": pl.String(),
    "at": pl.String(),
    "definition": pl.String(),
    "files": pl.List(pl.String()),
    "lineage": pl.List(pl.String()),
    "normal": pl.String(),
    "by": pl.String(),
}
"""What is kept of a row: what it hangs together by, the normal form of its definition, and by what
the split was that held it out."""


def frozen(root: Path, name: str) -> pl.DataFrame | None:
    """The rows of a hold-out, None where it was not made yet; `DatasetError` for a damaged one."""
    path = _path(root, name)
    if not path.exists():
        return None
    try:
        return pl.read_parquet(path).select(list(COLUMNS)).cast(pl.Schema(COLUMNS))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DatasetError(
            f"The hold-out {name} cannot be read.",
            cause=str(error).partition("\n")[0][:300],
            hint=f"put a copy of {path} back: a new one would hold other rows",
        ) from error


def fits(rows: pl.DataFrame, name: str, rules: Split) -> None:
    """Raise `UsageError` where a hold-out was made by another kind of split."""
    made_by = rows["by"].unique().to_list()
    if rows.height and made_by != [rules.by]:
        raise UsageError(
            f"The hold-out {name!r} was made by {made_by[0]}, and the recipe splits by {rules.by}.",
            cause="what hangs together with it would be in no split, which may be all there is",
            hint="name one of its own: [split] holdout_name",
        )


@contextmanager
def freezing(root: Path, name: str, rows: pl.DataFrame) -> Iterator[None]:
    """Write a hold-out for as long as the block goes well; then it stays for ever.

    It is there before the version that it was made with: a hold-out without a version does no
    harm, a version without its hold-out would be trained on by the next.
    """
    path = _path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.new")
    rows.select(list(COLUMNS)).sort("example_id").write_parquet(made, compression="zstd")
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(path)
    try:
        yield
    except BaseException:
        # An end may come right after the version got its name: then it needs what it was made with.
        if not _published(root, named(name, rows)):
            path.unlink(missing_ok=True)
        raise


def named(name: str, rows: pl.DataFrame) -> HoldoutName:
    """What a version says of the hold-out that it was built with."""
    ids = sorted(rows["example_id"].to_list())
    return HoldoutName(name=name, hash=content_hash(ids), rows=len(ids))


def _published(root: Path, holdout: HoldoutName) -> bool:
    # Any may be damaged, which is not what is to be told here.
    said = (one.read_text(errors="replace") for one in root.glob(f"*@*/{MANIFEST}"))
    return any(holdout.hash in one for one in said)


def _path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{name}.parquet"
