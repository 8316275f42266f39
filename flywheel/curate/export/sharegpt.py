"""ShareGPT: conversations whose turns say `from` and `value`, as older trainers read them."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from flywheel.curate.export.form import Form, Rows
from flywheel.curate.export.lines import write_lines
from flywheel.curate.export.output import Output

SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
"""What it calls those who speak."""


def _turn(frame: pl.DataFrame) -> pl.DataFrame:
    said = pl.struct(
        pl.element().struct["role"].replace_strict(SPEAKERS).alias("from"),
        pl.element().struct["content"].alias("value"),
    )
    return frame.select(conversations=pl.concat_list("prompt", "completion").list.eval(said))


FORM = Form(
    ("prompt", "completion"),
    pa.schema(
        [("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())])))]
    ),
    _turn,
    Rows.ANSWERS,
)


def write(output: Output) -> None:
    """Whole conversations."""
    write_lines(output, FORM)
