"""Rows in another form: columns made of columns, many rows at a time, no Python for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import polars as pl
import pyarrow as pa

from flywheel.curate.export.output import Output, name_of

PREFERENCE = "preference"
"""The task whose rows have a wrong answer beside the right one."""


class Rows(Enum):
    """Which rows of an example a format takes; a version has them one after the other."""

    EVERY = "every row"
    ANSWERS = "of pairs, which have one right answer beside several wrong ones, the first"
    EXAMPLES = "the first"


@dataclass(frozen=True, slots=True)
class Form:
    """How rows of a version become rows of a format."""

    columns: tuple[str, ...]
    """Columns of the version that it is made of."""
    schema: pa.Schema
    """What comes of it."""
    turn: Callable[[pl.DataFrame], pl.DataFrame]
    """Rows with those columns in that form; `first` says whether one is its example's first."""
    rows: Rows = Rows.EVERY
    """Which rows it takes."""


def turned(output: Output, split: str, form: Form) -> Iterator[pl.DataFrame]:
    """The rows of a split in a form, some at a time; they are counted."""
    task = output.version.manifest.rules.task
    once = form.rows is Rows.EXAMPLES or (form.rows is Rows.ANSWERS and task == PREFERENCE)
    for frame in output.frames(split, form.columns):
        rows = form.turn(frame.filter("first") if once else frame).select(form.schema.names)
        output.rows[name_of(split)] += rows.height
        yield rows
