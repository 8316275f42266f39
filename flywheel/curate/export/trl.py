"""TRL: the four types of dataset that its trainers tell apart by their columns.

Conversations throughout, so that the model's own chat template puts them into text. Parquet, for
JSON Lines lose types where a column is empty. No column is called `image`, `images`, `tools` or
`chat_template_kwargs`, nor `messages` beside `prompt`: each makes a trainer take another path.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from flywheel.curate.export.form import Form, Rows
from flywheel.curate.export.output import Output, name_of
from flywheel.curate.export.shards import write_shards
from flywheel.curate.version import MESSAGES

READ_ME = """\
# {version} for TRL

`{columns}` in every row, and its `row_id`. In the folder of this file:

```python
from datasets import load_dataset

rows = load_dataset(".", split="{split}")
```

TRL's trainers cut what is longer than `max_length`, which is 1024 tokens unless it is set: a
question that fills it has nothing left to learn. The questions have {question:,.0f} characters in
the median, {longest:,.0f} at the most.
"""
"""What lies beside the rows."""
_ROW = ("row_id", pa.string())


def _sft(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def _chat(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(messages=pl.concat_list("prompt", "completion"))


def _dpo(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.rename({"completion": "chosen"})


def _kto(frame: pl.DataFrame) -> pl.DataFrame:
    """Each answer by itself; a right one once, though several wrong ones stand beside it."""
    rows = frame.with_row_index("row")
    right = rows.filter("first").with_columns(label=True)
    wrong = rows.with_columns(completion="rejected", label=False)
    names = ["row", "label", "row_id", "prompt", "completion"]
    both = pl.concat([right.select(names), wrong.select(names)])
    return both.sort("row", "label", descending=[False, True])


SFT = Form(
    ("row_id", "prompt", "completion"),
    pa.schema([_ROW, ("prompt", MESSAGES), ("completion", MESSAGES)]),
    _sft,
    Rows.ANSWERS,
)
CHAT = Form(
    ("row_id", "prompt", "completion"),
    pa.schema([_ROW, ("messages", MESSAGES)]),
    _chat,
    Rows.ANSWERS,
)
DPO = Form(
    ("row_id", "prompt", "completion", "rejected"),
    pa.schema([_ROW, ("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES)]),
    _dpo,
)
KTO = Form(
    ("row_id", "prompt", "completion", "rejected"),
    pa.schema([_ROW, ("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_())]),
    _kto,
)


def write_sft(output: Output) -> None:
    """Prompt and completion: the loss is on the completion alone."""
    _write(output, SFT)


def write_chat(output: Output) -> None:
    """Whole conversations."""
    _write(output, CHAT)


def write_dpo(output: Output) -> None:
    """A right and a wrong answer to each question."""
    _write(output, DPO)


def write_kto(output: Output) -> None:
    """Answers by themselves, each said to be right or wrong."""
    _write(output, KTO)


def _write(output: Output, form: Form) -> None:
    write_shards(output, form)
    asked = output.version.manifest.quantiles["prompt_characters"]
    text = READ_ME.format(
        version=output.version.id,
        columns="`, `".join(name for name in form.schema.names if name != "row_id"),
        split=name_of(output.splits[0]),
        question=asked["median"],
        longest=asked["most"],
    )
    output.write("README.md", text)
