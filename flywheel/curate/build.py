"""Builds: from a store to a version of a dataset.

Rows are taken out of the store once; what was found out about them is kept, so a build that was
stopped goes on, and a second one looks at what is new. Between the pool and the version only small
columns are in memory; texts stream from file to file.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.core.errors import DatasetError, StoreBusyError
from flywheel.core.events import EventBus, PhaseEnded, PhaseProgressed, PhaseStarted
from flywheel.core.identity import content_hash
from flywheel.curate.choose import Choice
from flywheel.curate.compose import NEEDS_WRONG, Composer
from flywheel.curate.contamination import load_matcher
from flywheel.curate.draft import Draft
from flywheel.curate.features import code_hash, features
from flywheel.curate.funnel import Funnel
from flywheel.curate.holdout import fits, freezing, frozen, named
from flywheel.curate.recipe import Recipe
from flywheel.curate.split import HOLDOUT
from flywheel.curate.version import AT_ONCE, HoldoutName, Version
from flywheel.curate.wrong import WrongAnswers
from flywheel.store import Store
from flywheel.store.lock import LockTimeoutError, alone
from flywheel.store.pool import CODE as TAKING
from flywheel.store.pool import Pool, fingerprint, take

WORK, KEPT, LOCK = ".work", ".features", ".lock"
"""Folders and the lock of builds, beside the versions."""
CODE = (
    *("benchmarks.py", "build.py", "choose.py", "compose.py", "contamination.py"),
    *("difficulty.py", "draft.py", "duplicates.py", "features.py", "fingerprints.parquet"),
    *("fingerprints.py", "forest.py", "forms.py", "licence.py", "normal.py", "recipe.py"),
    *("reviewed.py", "secrets.py", "split.py", "stages.py", "version.py", "wrong.py"),
    "../core/patch.py",
)
"""What chooses and composes rows: a version names its hash."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made."""

    version: Version
    """The version, on the disk."""
    funnel: Funnel
    """What each stage kept and dropped."""
    new: bool
    """False where the same version was there already."""
    holdout_made: bool
    """Whether the hold-out was made now."""
    seconds: float
    """Wall time."""


def build(recipe: Recipe, store: Store, root: Path, bus: EventBus) -> Built:
    """Build a version of a dataset under `root`, the folder of versions.

    Raises `DatasetError` where no row is left, the hold-out is too small, another build is under
    way or there is no room; `UsageError` for a recipe that is not right; `StoreError`. Then no
    version and no hold-out was made, and what was found out about rows is kept. One that is killed
    at its very end may leave the hold-out, which the next build of the same inputs makes use of.
    """
    began = time.monotonic()
    composer = Composer(recipe)
    matcher = load_matcher(recipe.rules.contamination, recipe.folder)
    with _room(root), _alone(root, recipe.name):
        before = {one.name for one in root.glob("*@*")}
        held = frozen(root, recipe.rules.split.holdout_name)
        if held is not None:
            fits(held, recipe.rules.split.holdout_name, recipe.rules.split)
        work = root / WORK / recipe.name
        with _phase(bus, "select"):
            pool = _pool(recipe, store, work)
        with _phase(bus, "look"):
            found = features(
                pool,
                root / KEPT,
                lambda done, total: bus.publish(PhaseProgressed("look", done, f"{done}/{total}")),
            )
        with Draft(root / WORK / f"{recipe.name}.draft") as draft:
            choice = Choice(recipe, pool, found, held=held, matcher=matcher, draft=draft)
            with _phase(bus, "choose"):
                rows = choice.rows()
                _enough(recipe, rows)
            with _phase(bus, "write"):
                _write(rows, pool, composer, draft, recipe, bus)
                fresh = choice.held_out if held is None else held
                holdout = _named(recipe, fresh)
                with ExitStack() as stack:
                    if held is None and holdout is not None:
                        stack.enter_context(freezing(root, holdout.name, fresh))
                    version = draft.finish(
                        root,
                        recipe,
                        code=content_hash(code_hash(CODE), TAKING),
                        funnel=choice.funnel,
                        holdout=holdout,
                        baselines=_baselines(pool, rows),
                    )
        shutil.rmtree(work)
    return Built(
        version,
        choice.funnel,
        new=version.folder.name not in before,
        holdout_made=held is None and holdout is not None,
        seconds=time.monotonic() - began,
    )


def _pool(recipe: Recipe, store: Store, work: Path) -> Pool:
    """The pool of the store as it is; that of a build that was stopped where it is the same."""
    select = recipe.rules.select
    key = content_hash(select.model_dump(), fingerprint(store), TAKING)
    note = work / "pool.json"
    try:
        said = json.loads(note.read_bytes())
        pool = Pool(work, said["stored"])
        if said["key"] == key and said["sizes"] == _sizes(pool):
            return pool
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none, or it was not finished
    shutil.rmtree(work, ignore_errors=True)
    pool = take(store, work, where=select.where, sql=select.sql)
    note.write_text(json.dumps({"key": key, "stored": pool.stored, "sizes": _sizes(pool)}))
    return pool


def _sizes(pool: Pool) -> dict[str, int]:
    """Bytes of each file of a pool: one that was cut short is told from one that is whole."""
    return {one.name: one.stat().st_size for one in sorted(pool.folder.glob("*.parquet"))}


def _enough(recipe: Recipe, rows: pl.DataFrame) -> None:
    """Raise where the rows held out are too few to tell a better program from a worse one."""
    split = recipe.rules.split
    held = (rows["split"] == HOLDOUT).sum()
    if split.holdout and held < split.least_holdout:
        raise DatasetError(
            f"{recipe.name}: {held} rows would be held out, and {split.least_holdout} are needed.",
            cause=f"{rows.height} rows passed; they hang together in"
            f" {rows['component'].n_unique()} groups, of which none is divided",
            hint="harvest more repositories, or set [split] holdout, by or least_holdout",
        )


def _named(recipe: Recipe, rows: pl.DataFrame) -> HoldoutName | None:
    return named(recipe.rules.split.holdout_name, rows) if rows.height else None


def _write(
    rows: pl.DataFrame,
    pool: Pool,
    composer: Composer,
    draft: Draft,
    recipe: Recipe,
    bus: EventBus,
) -> None:
    """Put the rows into the draft, in their order, with question and answer."""
    task = recipe.rules.task
    small = rows.select(
        *("example_id", "split", "difficulty", "alike", "family", "component"),
        *("mended", "attempted"),
    ).iter_rows(named=True)
    kept = set(rows["example_id"].to_list())
    wrong = None
    if task in NEEDS_WRONG:
        wrong = WrongAnswers(pool, rows, recipe.rules.compose.pairs, task)
    written = 0
    for batch in _kept(pool.rows, kept):
        for row in batch.to_pylist():
            mine = next(small)
            tried = mine["attempted"]
            row |= mine | {"solved": mine["mended"] / tried if tried else None}
            answers = wrong.of(row["example_id"]) if wrong is not None else []
            composed = list(composer.compose(row, answers))
            if not composed:
                raise DatasetError(
                    f"{row['example_id']} was chosen and gives no question.",
                    hint="this is a mistake in flywheel: a row is counted as kept and is not there",
                )
            for number, one in enumerate(composed):
                row["row_id"] = row["example_id"] + (f"-{number}" if number else "")
                row["prompt"], row["completion"] = one.prompt, one.completion
                row["rejected"] = one.rejected
                draft.add(mine["split"], row)
        written += batch.num_rows
        bus.publish(PhaseProgressed("write", written, f"{written}/{rows.height}"))


def _kept(files: Sequence[Path], kept: set[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a pool with these ids, some at a time."""
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE):
                ids = batch["example_id"].to_pylist()
                some = batch.filter(pa.array([one in kept for one in ids], pa.bool_()))
                if some.num_rows:
                    yield some


def _baselines(pool: Pool, rows: pl.DataFrame) -> list[dict[str, object]]:
    """What the rows that were taken were proven in."""
    ids = rows.select("example_id")
    proven_in = (
        pl.scan_parquet(pool.rows)
        .select("example_id", "baseline_id")
        .join(ids.lazy(), on="example_id", how="semi")
        .select(pl.col("baseline_id").unique())
        .collect()["baseline_id"]
    )
    every = pl.read_parquet(pool.baselines)
    return every.filter(pl.col("baseline_id").is_in(proven_in.implode())).to_dicts()


@contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    """Be the only build under `root`."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        with alone(root / LOCK, doing=f"build of {name}"):
            yield
    except LockTimeoutError as error:
        raise StoreBusyError(
            f"Another dataset is being built in {root}.",
            cause=f"Held by {error.holder or 'another process'}.",
            hint="Wait for it to end, or stop it: the next build goes on from what it found out.",
        ) from error


@contextmanager
def _room(root: Path) -> Iterator[None]:
    """Tell a full disk as what it is."""
    try:
        yield
    except OSError as error:  # pyarrow's and polars' errors of files are ones too
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DatasetError(
                f"There is no room to build in {root}.",
                cause=str(error),
                hint="Free some space and build again: it goes on from what it found out.",
            ) from error
        raise DatasetError(f"{root} cannot be written.", cause=str(error)) from error


@contextmanager
def _phase(bus: EventBus, name: str) -> Iterator[None]:
    began = time.monotonic()
    bus.publish(PhaseStarted(name))
    yield
    bus.publish(PhaseEnded(name, time.monotonic() - began))
