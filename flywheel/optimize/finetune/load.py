"""A base as transformers have it: its weights in full, and its tokenizer."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from flywheel.core.errors import TrainingError
from flywheel.lm import read_head
from flywheel.optimize.finetune.base import Base

_SPLITTING = "tokenizer.ggml.pre"
"""Where a GGUF file says how texts are parted before they become tokens."""
_EACH_DIGIT = "smollm"
"""What it says there where each digit stands alone."""


def model_of(base: Base, device: str) -> Any:
    """The model, of transformers. Raises `TrainingError`."""
    import torch  # noqa: PLC0415  of the extra `train`
    from transformers import AutoModelForCausalLM, GgufConfig  # noqa: PLC0415  with it

    # On a processor weights stay float32, products alone may be narrower; a GPU's own is bfloat16.
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    how = {"quantization_config": GgufConfig(dequantize=True)} if base.gguf else {}
    with quiet(), _loading(base):
        model = AutoModelForCausalLM.from_pretrained(**_place(base), dtype=dtype, **how)
    return model.to(device)


def tokenizer_of(base: Base) -> Any:
    """Its tokenizer, which gives the tokens that the server gives. Raises `TrainingError`."""
    from transformers import AutoTokenizer  # noqa: PLC0415  of the extra `train`

    with quiet(), _loading(base):
        tokenizer = AutoTokenizer.from_pretrained(**_place(base))
    if base.gguf:
        _part(tokenizer, read_head(base.path).said.get(_SPLITTING))
    return tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and no advice to authors of libraries: what goes wrong is raised."""
    from transformers.utils import logging as theirs  # noqa: PLC0415  of the extra `train`

    # Where it reads GGUF files it asks nobody whether a bar is wanted.
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    level, bars, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled(), reader.tqdm
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    reader.tqdm = partial(bar, disable=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        reader.tqdm = bar
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()


def _place(base: Base) -> dict[str, Any]:
    place: dict[str, Any] = {"local_files_only": True}
    if base.gguf:
        name = {"gguf_file": base.path.name}
        return {"pretrained_model_name_or_path": base.path.parent, **name, **place}
    return {"pretrained_model_name_or_path": base.path, **place}


@contextmanager
def _loading(base: Base) -> Iterator[None]:
    """Whatever the libraries raise, as a `TrainingError`."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise TrainingError(
            f"{base.path} cannot be loaded to be tuned",
            cause=f"{type(error).__name__}: {error}",
            hint="flywheel doctor shows what is installed; or name another model",
        ) from error


def _part(tokenizer: Any, splitting: object) -> None:
    """Let a tokenizer part texts as the server does.

    Transformers read the words of a GGUF file, but not how texts are parted before: theirs joins
    spaces otherwise where a number follows, as in a third of the questions about code.
    """
    from tokenizers.pre_tokenizers import (  # noqa: PLC0415  of the extra `train`
        ByteLevel,
        Digits,
        Sequence,
    )

    if splitting == _EACH_DIGIT:
        parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(parts)
