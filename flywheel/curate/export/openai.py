"""OpenAI's files for fine-tuning, which other vendors take too: chats, and pairs of answers."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from flywheel.curate.export.form import Form, Rows
from flywheel.curate.export.lines import write_lines
from flywheel.curate.export.output import Output
from flywheel.curate.version import MESSAGES


def _chat(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(messages=pl.concat_list("prompt", "completion"))


def _dpo(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        input=pl.struct(messages="prompt"),
        preferred_output="completion",
        non_preferred_output="rejected",
    )


CHAT = Form(("prompt", "completion"), pa.schema([("messages", MESSAGES)]), _chat, Rows.ANSWERS)
DPO = Form(
    ("prompt", "completion", "rejected"),
    pa.schema(
        [
            ("input", pa.struct([("messages", MESSAGES)])),
            ("preferred_output", MESSAGES),
            ("non_preferred_output", MESSAGES),
        ]
    ),
    _dpo,
)


def write_chat(output: Output) -> None:
    """Whole conversations."""
    write_lines(output, CHAT)


def write_dpo(output: Output) -> None:
    """A right and a wrong answer to each question; one turn each, as the format asks."""
    write_lines(output, DPO)
