"""The model that is tuned: a GGUF file, or a folder of safetensors; and what it is made of.

Only models of the Llama family: their weights have one set of names, and one way in which a GGUF
file turns the rows of queries and keys.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.lm import identity_of, read_head

ARCHITECTURE = "llama"
"""What both forms of a file call the family."""
LIBRARIES = ("torch", "transformers", "peft", "gguf", "safetensors")
"""What the extra `train` brings."""
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Base:
    """A model as it is before it is tuned."""

    path: Path
    """A GGUF file, or a folder with config.json and safetensors."""
    identity: str
    """Of its content."""
    heads: int
    """Of attention."""
    key_heads: int
    """Of attention's keys and values, which several heads may share."""

    @property
    def gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return self.path.is_file()


def base_of(path: Path) -> Base:
    """The model of a file or folder.

    Raises `UsageError` for what is no model, and for one that cannot be tuned.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise UsageError(
            f"there is no model {path}", hint="a GGUF file, or a folder of safetensors"
        )
    head = read_head(path)
    if head.adapter:
        raise UsageError(f"{path} is an adapter, and no model", hint="name the model it is for")
    _see_family(path, head.architecture)
    heads = _count(head.said, f"{ARCHITECTURE}.attention.head_count", path)
    key_heads = _count(head.said, f"{ARCHITECTURE}.attention.head_count_kv", path)
    return Base(path.resolve(), identity_of(path), heads, key_heads)


def check_libraries() -> None:
    """See that what trains is installed. Raises `UsageError` where it is not."""
    missing = [one for one in LIBRARIES if importlib.util.find_spec(one) is None]
    if missing:
        raise UsageError(
            "training needs the extra `train`, which is not installed",
            cause=f"missing: {', '.join(missing)}",
            hint="in flywheel's checkout: make train",
        )


def _of_folder(path: Path) -> Base:
    config = path / _CONFIG
    weights = sorted(path.glob("*.safetensors"))
    if not config.is_file() or not weights:
        raise UsageError(
            f"{path} holds no model",
            cause=f"a model is {_CONFIG} and files *.safetensors",
            hint="name the folder that has them, or a GGUF file",
        )
    try:
        said: Any = json.loads(config.read_bytes())
        if not isinstance(said, dict):
            raise ValueError("it is no table")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{config} cannot be read",
            cause=str(error),
            hint="take it from the model's source again",
        ) from error
    _see_family(path, str(said.get("model_type", "")))
    heads = _count(said, "num_attention_heads", config)
    key_heads = _count({"num_key_value_heads": heads, **said}, "num_key_value_heads", config)
    identity = content_hash(
        bytes_hash(config.read_bytes()), [(one.name, identity_of(one)) for one in weights]
    )
    return Base(path.resolve(), identity, heads, key_heads)


def _see_family(path: Path, architecture: str) -> None:
    if architecture != ARCHITECTURE:
        raise UsageError(
            f"{path} cannot be tuned here",
            cause=f"it is of the family {architecture or 'that it does not name'!r};"
            f" models of the family {ARCHITECTURE!r} can be",
            hint="a hosted model is tuned by its provider: a profile of openai/…",
        )


def _count(said: Mapping[str, Any], name: str, path: Path) -> int:
    value = said.get(name)
    if not isinstance(value, int) or value < 1:
        raise UsageError(
            f"{path} does not say {name}, which tuning needs",
            cause=f"it says {value!r}",
            hint="take it from the model's source again, or name another model",
        )
    return value
