"""JSON Lines: one row a line, UTF-8, a file for each split."""

from __future__ import annotations

from flywheel.curate.export.form import Form, turned
from flywheel.curate.export.output import Output, name_of


def write_lines(output: Output, form: Form) -> None:
    """Write every split as `SPLIT.jsonl`."""
    for split in output.splits:
        with output.path(f"{name_of(split)}.jsonl").open("wb") as file:
            for rows in turned(output, split, form):
                file.write(rows.write_ndjson().encode())
