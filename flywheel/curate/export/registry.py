"""The formats there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flywheel.curate.export import (
    axolotl,
    dspy,
    harbor,
    huggingface,
    openai,
    parquet,
    sharegpt,
    swebench,
    trl,
)
from flywheel.curate.export.form import PREFERENCE
from flywheel.curate.export.output import Output

PAIRS = frozenset({PREFERENCE})
"""Tasks whose rows have a wrong answer beside the right one."""
REPAIRS = frozenset({"repair", "preference", "multiturn"})
"""Tasks of which every example is a bug that is to be mended."""
ANY = REPAIRS | {"insertion", "explanation"}
"""Every task."""
NEEDS = {PAIRS: "a wrong answer beside the right one", REPAIRS: "a bug that is to be mended"}
"""What the rows of such tasks have and others have not."""


@dataclass(frozen=True, slots=True)
class Format:
    """One way in which rows are written for a program that reads them."""

    name: str
    """What it is asked for by."""
    purpose: str
    """What reads it, and for what."""
    write: Callable[[Output], None]
    """Writes it."""
    tasks: frozenset[str] = ANY
    """Tasks whose rows it can hold."""


FORMATS = {
    one.name: one
    for one in (
        Format("huggingface", "a Hub dataset: Parquet, card, Croissant", huggingface.write),
        Format("parquet", "every column as it is, for any reader", parquet.write),
        Format("trl-sft", "TRL's SFT trainer: prompt and completion", trl.write_sft),
        Format("trl-chat", "TRL's SFT trainer: whole conversations", trl.write_chat),
        Format("trl-dpo", "TRL's DPO trainer: pairs of answers", trl.write_dpo, PAIRS),
        Format("trl-kto", "TRL's KTO trainer: answers said right or wrong", trl.write_kto, PAIRS),
        Format("openai-chat", "fine-tuning at OpenAI, Azure and others", openai.write_chat),
        Format("openai-dpo", "preference fine-tuning at the same", openai.write_dpo, PAIRS),
        Format("axolotl", "Axolotl, with the part of its configuration", axolotl.write),
        Format("sharegpt", "older trainers: turns with from and value", sharegpt.write),
        Format("dspy", "a DSPy trainset, with its input keys", dspy.write, REPAIRS),
        Format("swebench", "SWE-bench's harness: bugs for agents", swebench.write, REPAIRS),
        Format("harbor", "Harbor: a folder a task, for agents", harbor.write, REPAIRS),
    )
}
"""Every format, by its name."""
