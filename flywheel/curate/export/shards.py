"""Parquet files of a limited size, named as hubs and loaders have them: `train-00000-of-00003`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curate.export.form import Form, turned
from flywheel.curate.export.output import Output, name_of
from flywheel.curate.version import ROWS

GROUP = 8192
"""Rows of a row group: what a reader holds in memory at the least, and where a file may end."""


def write_shards(output: Output, form: Form | None = None, folder: str = "") -> None:
    """Write every split as Parquet in a form; None: with all its columns, as they are."""
    for split in output.splits:
        name = f"{folder}{name_of(split)}"
        if form is not None:
            _write(output, name, form.schema, _turned(output, split, form))
        elif _fits(output, split):
            _copy(output, split, f"{name}-00000-of-00001.parquet")
        else:
            _write(output, name, ROWS, _whole(output, split))


def _fits(output: Output, split: str) -> bool:
    """Is the version's own file what would be written? One that is damaged is not."""
    path, rows = output.version.file(split), output.version.manifest.splits[split].rows
    try:
        with pq.ParquetFile(path) as file:
            whole = file.metadata.num_rows == rows and file.schema_arrow.equals(ROWS)
        return whole and path.stat().st_size <= output.shard_bytes
    except (OSError, pa.ArrowException):
        return False


def _copy(output: Output, split: str, name: str) -> None:
    """Take over the version's file: unpacking rows to pack them again would take its time."""
    rows = output.version.manifest.splits[split].rows
    shutil.copyfile(output.version.file(split), output.path(name))
    output.rows[name_of(split)] += rows
    output.told(rows)


def _whole(output: Output, split: str) -> Iterator[pa.Table]:
    for batch in output.batches(split):
        output.rows[name_of(split)] += batch.num_rows
        yield pa.Table.from_batches([batch])


def _turned(output: Output, split: str, form: Form) -> Iterator[pa.Table]:
    for rows in turned(output, split, form):
        yield rows.to_arrow().cast(form.schema)  # the types that every reader knows


def _write(output: Output, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables one after the other; a file is named when it is known how many there are."""
    written: list[Path] = []
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for group in _groups(tables):
            if writer is None:
                written.append(output.path(f"{name}-{len(written):05}"))
                sink = stack.enter_context(written[-1].open("wb"))
                writer = stack.enter_context(pq.ParquetWriter(sink, schema, compression="zstd"))
            writer.write_table(group)
            if sink.tell() >= output.shard_bytes:
                stack.close()
                writer = None
    for path in written:
        path.rename(path.with_name(f"{path.name}-of-{len(written):05}.parquet"))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, so many at a time as a row group has."""
    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        waiting.append(table)
        held += table.num_rows
        while held >= GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, GROUP).combine_chunks()
            waiting = [whole.slice(GROUP)]
            held -= GROUP
    if held:
        yield pa.concat_tables(waiting).combine_chunks()
