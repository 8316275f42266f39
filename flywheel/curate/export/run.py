"""Write a version in a format: what is asked for is checked, then everything is written or nothing.

The hold-out goes out when it is asked for by name, and not otherwise: what was published once can
measure nothing any more.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flywheel.core.errors import DatasetError, UsageError
from flywheel.curate.export.output import SHARD_BYTES, OnProgress, Output, name_of, placed
from flywheel.curate.export.registry import FORMATS, NEEDS, Format
from flywheel.curate.split import TRAIN, VALIDATION
from flywheel.curate.version import SPLITS, Version

USUAL = (TRAIN, VALIDATION)
"""The splits that are exported when none is named."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    format: str
    """Its format."""
    folder: Path
    """Where it stands."""
    rows: Mapping[str, int]
    """Rows by split, as the export calls it: the hold-out is `test`."""
    left_out: Mapping[str, int]
    """Rows that the format cannot hold, by reason."""
    files: tuple[str, ...]
    """Its files, relative to the folder."""
    bytes: int
    """Their size together."""
    seconds: float
    """What it took."""


def format_named(name: str, version: Version) -> Format:
    """The format of a name, that can hold a version's rows; raises `UsageError` for any other."""
    task = version.manifest.rules.task
    fit = ", ".join(one.name for one in FORMATS.values() if task in one.tasks)
    found = FORMATS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"Did you mean {near[0]}?" if near else None
        raise UsageError(f"There is no format {name!r}.", cause=f"there are: {fit}", hint=hint)
    if task not in found.tasks:
        raise UsageError(
            f"{version.id} cannot be written as {name}.",
            cause=f"its task is {task}, and the format needs {NEEDS[found.tasks]}",
            hint=f"these fit: {fit}",
        )
    return found


def splits_named(names: Iterable[str], version: Version) -> tuple[str, ...]:
    """The splits asked for, in their order; none: those that are usual, as far as they have rows.

    Raises `UsageError` for one that the version has not.
    """
    wanted = tuple(names) or tuple(one for one in USUAL if one in version.splits)
    for name in wanted:
        if name not in version.splits:
            near = difflib.get_close_matches(name, version.splits, n=1)
            raise UsageError(
                f"{version.id} has no split {name!r}.",
                cause=f"it has: {', '.join(version.splits)}",
                hint=f"Did you mean {near[0]}?" if near else None,
            )
    if not wanted:
        raise UsageError(
            f"{version.id} has no rows to train with or to choose by.",
            hint="--split names others: " + ", ".join(version.splits) if version.splits else None,
        )
    return tuple(one for one in SPLITS if one in wanted)


def export(
    version: Version,
    to: str,
    folder: Path,
    *,
    splits: Iterable[str] = (),
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
    body: str | None = None,
    pictures: Mapping[str, bytes] | None = None,
    on_progress: OnProgress | None = None,
) -> Exported:
    """Write a version to `folder` in the format `to`; without `splits`, all but the hold-out.

    The folder appears when all of it is written; with `force` it takes the place of what is there.
    `body` and `pictures` are the card's, for the format that has one. Raises `UsageError` for what
    cannot be asked for, `DatasetError` when writing fails or none of the rows fits the format.
    """
    started = time.monotonic()
    form = format_named(to, version)
    named = splits_named(splits, version)
    with placed(folder, force=force, keep=[version.folder]) as made:
        output = Output(version, named, made, shard_bytes, body, pictures or {}, on_progress)
        form.write(output)
        if not output.rows.total():
            told = ", ".join(f"{n} {reason}" for reason, n in output.left_out.most_common())
            raise DatasetError(
                f"No row of {version.id} can be written as {to}.",
                cause=told or None,
                hint="flywheel dataset export --formats says what each is for",
            )
        files = sorted(path for path in made.rglob("*") if path.is_file())
        names = tuple(path.relative_to(made).as_posix() for path in files)
        size = sum(path.stat().st_size for path in files)
    return Exported(
        to,
        folder,
        {name_of(split): output.rows[name_of(split)] for split in named},
        dict(sorted(output.left_out.items())),
        names,
        size,
        time.monotonic() - started,
    )
