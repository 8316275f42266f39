"""Axolotl: conversations, or pairs of answers, and the part of its configuration that names them.

The configuration is a start and says so: the model is the user's to choose. Paths in it are
relative to the folder of the export, from where it is to be run.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from flywheel.curate.export.form import PREFERENCE, Form, Rows
from flywheel.curate.export.lines import write_lines
from flywheel.curate.export.output import Output
from flywheel.curate.split import TRAIN, VALIDATION
from flywheel.curate.version import MESSAGES

CONFIG = "axolotl.yaml"
"""File of the configuration."""

_TURN = MESSAGES.value_type
_HEAD = """\
# Rows of {version}.
# Name the model and what else the training needs, then, in this folder: axolotl train {file}
# Rows longer than sequence_len are dropped without a word.
base_model:
chat_template: tokenizer_default
sequence_len: 8192
"""
_CHAT = """\
  - path: {file}
    ds_type: json
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
"""
_PAIRS = """\
  - path: {file}
    ds_type: json
    type: chat_template.default
    field_messages: messages
    field_chosen: chosen
    field_rejected: rejected
"""


def _chat(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(messages=pl.concat_list("prompt", "completion"))


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        messages="prompt",
        chosen=pl.col("completion").list.last(),
        rejected=pl.col("rejected").list.last(),
    )


CHAT = Form(("prompt", "completion"), pa.schema([("messages", MESSAGES)]), _chat, Rows.ANSWERS)
PAIRS = Form(
    ("prompt", "completion", "rejected"),
    pa.schema([("messages", MESSAGES), ("chosen", _TURN), ("rejected", _TURN)]),
    _pairs,
)


def write(output: Output) -> None:
    """Pairs of answers where the rows have them, else conversations."""
    pairs = output.version.manifest.rules.task == PREFERENCE
    write_lines(output, PAIRS if pairs else CHAT)
    text = _HEAD.format(version=output.version.id, file=CONFIG)
    if pairs:
        text += "rl: dpo\n"
    for key, split in (("datasets", TRAIN), ("test_datasets", VALIDATION)):
        # Not by the hold-out: what chose between models by it could not be judged by it.
        files = [f"{one}.jsonl" for one in output.splits if one == split]
        if files:
            text += f"{key}:\n" + "".join(
                (_PAIRS if pairs else _CHAT).format(file=one) for one in files
            )
    output.write(CONFIG, text)
