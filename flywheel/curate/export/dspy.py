"""DSPy: a trainset as JSON Lines, which of its fields are inputs, and how it is read.

An `Example` does not keep its input keys when it is written, so they stand beside the rows.
"""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa

from flywheel.curate.export.form import Form, Rows
from flywheel.curate.export.lines import write_lines
from flywheel.curate.export.output import Output, name_of

INPUTS = ("language", "path", "symbol", "bad", "error")
"""Fields that a program is given."""
LABELS = ("good",)
"""Fields that it is to find."""
FIELDS, LOADER = "fields.json", "load.py"
"""Files beside the rows: which fields are inputs, and a module that reads them."""

_LOADER = '''\
"""Rows of {version} as `dspy.Example`."""

import json
from pathlib import Path

import dspy

FOLDER = Path(__file__).parent


def load(split: str = "{split}") -> list[dspy.Example]:
    """The examples of a split, with their input keys."""
    inputs = json.loads((FOLDER / "{fields}").read_text(encoding="utf-8"))["inputs"]
    with (FOLDER / f"{{split}}.jsonl").open(encoding="utf-8", newline="\\n") as lines:
        return [dspy.Example(**json.loads(line)).with_inputs(*inputs) for line in lines]
'''


def _turn(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


FORM = Form(
    ("row_id", *INPUTS, *LABELS),
    pa.schema([(name, pa.string()) for name in ("row_id", *INPUTS, *LABELS)]),
    _turn,
    Rows.EXAMPLES,
)


def write(output: Output) -> None:
    """Write the rows, their input keys, and the module that reads both."""
    write_lines(output, FORM)
    keys = {"inputs": INPUTS, "labels": LABELS}
    output.write(FIELDS, json.dumps(keys, indent=2) + "\n")
    names = {"version": output.version.id, "split": name_of(output.splits[0]), "fields": FIELDS}
    output.write(LOADER, _LOADER.format(**names))
