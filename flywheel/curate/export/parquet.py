"""Plain Parquet: every column of the version, as it is."""

from __future__ import annotations

from flywheel.curate.export.output import Output
from flywheel.curate.export.shards import write_shards


def write(output: Output) -> None:
    """Write the rows as they are."""
    write_shards(output)
