"""What was trained, in the form that the local server reads: a LoRA adapter as a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel.lm.model_file import BASE, A, B
from flywheel.optimize.finetune.base import ARCHITECTURE, Base

TARGETS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""A layer's weights that can be adapted: as transformers call them, and as GGUF does."""
_HALVES = {"lora_A": A, "lora_B": B}

Array = Any
"""A numpy array: at a wire of libraries without types."""


def name_of(weight: str) -> str:
    """A half of an adapted weight as GGUF calls it.

    `base_model.model.model.layers.0.mlp.up_proj.lora_A.weight` is `blk.0.ffn_up.weight.lora_a`.
    """
    _, _, rest = weight.partition(".layers.")
    layer, _, rest = rest.partition(".")
    module, _, half = rest.removesuffix(".weight").rpartition(".")
    return f"blk.{layer}.{TARGETS[module]}.weight{_HALVES[half]}"


def turned(rows: Array, heads: int) -> Array:
    """The rows of queries or keys in GGUF's order.

    Of each head the two halves that rotate together stand side by side there, one after the other
    in transformers.
    """
    out = rows.shape[0]
    split = rows.reshape(heads, 2, out // heads // 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def write_adapter(path: Path, weights: Mapping[str, Array], *, alpha: float, base: Base) -> None:
    """Write an adapter; `weights` by PEFT's names, as float32 arrays. The same gives the same file.

    An adapter of a GGUF file names its base, so that the server can refuse another.
    """
    import gguf  # noqa: PLC0415  of the extra `train`
    import numpy as np  # noqa: PLC0415  with it

    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    if base.gguf:
        writer.add_string(BASE, base.identity)
    for weight in sorted(weights):
        name, array = name_of(weight), weights[weight]
        if name.endswith(B) and ".attn_q." in name:
            array = turned(array, base.heads)
        elif name.endswith(B) and ".attn_k." in name:
            array = turned(array, base.key_heads)
        writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
