"""A base with its adapter worked into it: one model, for servers that take no adapters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.lm.model_file import A, B, check_adapter, read_head
from flywheel.optimize.finetune.adapter import Trained
from flywheel.optimize.finetune.base import base_of, check_libraries
from flywheel.optimize.finetune.gguf import Array
from flywheel.optimize.finetune.load import model_of, quiet, tokenizer_of

_BASE_ONLY = ("GGUF.", "general.architecture")
"""What the writer of a GGUF file says by itself."""


def merge_gguf(base: Path, trained: Trained, out: Path) -> Path:
    """Write a GGUF model with an adapter worked in.

    The weights that it changes are stored in 8 bits (Q8_0), the others and all that the file says
    of itself as they are. Raises `UsageError` where the base is no GGUF file, or another one.
    """
    check_libraries()
    if not base.is_file():
        raise UsageError(
            f"{base} is no GGUF file",
            cause="another form has no table of its words that a GGUF file could take over",
            hint="merge it as safetensors",
        )
    check_adapter(trained.gguf, base)
    import gguf  # noqa: PLC0415  of the extra `train`

    reader = gguf.GGUFReader(base)
    changes = dict(_changes(trained.gguf))
    new = out.with_name(f"{out.name}.new")
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(new, read_head(base).architecture)
    for field in reader.fields.values():
        if not field.name.startswith(_BASE_ONLY):
            kind, *items = field.types
            inner = items[-1] if items else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for tensor in reader.tensors:
        if tensor.name in changes:
            whole = gguf.quants.dequantize(tensor.data, tensor.tensor_type) + changes[tensor.name]
            writer.add_tensor(tensor.name, gguf.quants.quantize(whole, q8), raw_dtype=q8)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    new.replace(out)
    return out


def merge_folder(base: Path, trained: Trained, out: Path) -> Path:
    """Write a folder of safetensors with an adapter worked in, which transformers load.

    Raises `UsageError` where the adapter is for another model, or there is something at `out`.
    """
    check_libraries()
    of = base_of(base)
    if of.identity != trained.manifest.base:
        raise UsageError(
            f"the adapter {trained.hash} is for another model than {base.name}",
            cause=f"it was trained for {trained.manifest.base_name}, {trained.manifest.base}",
            hint="name the model that it was trained for",
        )
    if out.exists():
        raise UsageError(f"{out} is there already", hint="name another folder")
    from safetensors.torch import load_file  # noqa: PLC0415  of the extra `train`

    model, tokenizer = model_of(of, "cpu"), tokenizer_of(of)
    options, halves = trained.manifest.options, load_file(trained.weights)
    weights = dict(model.named_parameters())
    for name, first in halves.items():
        if ".lora_A." in name:
            second = halves[name.replace(".lora_A.", ".lora_B.")]
            weight = weights[name.removeprefix("base_model.model.").replace(".lora_A.", ".")]
            weight.data += (second @ first) * (options["alpha"] / options["rank"])
    # Read from a quantised file, it would say that it is one.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    new = out.with_name(f"{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    with quiet():
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
    new.replace(out)
    return out


def _changes(adapter: Path) -> Iterator[tuple[str, Array]]:
    """What an adapter adds to each weight, by GGUF's names and in its order of rows."""
    import gguf  # noqa: PLC0415  of the extra `train`
    import numpy as np  # noqa: PLC0415  with it

    reader = gguf.GGUFReader(adapter)
    alpha: Any = reader.fields["adapter.lora.alpha"].contents()
    tensors = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    for name, first in tensors.items():
        if name.endswith(A):
            second = tensors[name.removesuffix(A) + B]
            yield name.removesuffix(A), (second @ first) * (alpha / first.shape[0])
