"""The head of a GGUF file: what a model or an adapter says of itself, and its weights' shapes.

Read without a library: serving needs none but the server's own. Weights are not read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flywheel.core.errors import UsageError
from flywheel.core.identity import bytes_hash, content_hash

ARCHITECTURE, TYPE, ADAPTER_TYPE = "general.architecture", "general.type", "adapter.type"
"""What every file says of itself, and what an adapter says beside."""
BASE = "flywheel.base"
"""Where our adapters name the identity of the model that they were trained for."""
A, B = ".lora_a", ".lora_b"
"""What the two halves of an adapted weight's name end in."""

_EDGE = 1 << 20
"""Bytes of a model's file that are read at each end to tell it from another."""
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
"""How numbers of each type are packed."""
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 24
"""Bytes of a text, and items of a list, above which a file is not what it says."""

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file by its head."""

    path: Path
    """Where it lies."""
    said: Mapping[str, Value]
    """What it says of itself; lists, such as the vocabulary, are left out."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of each weight by its name, the fastest dimension (what goes in) first."""

    @property
    def architecture(self) -> str:
        """The family of models, such as `llama`."""
        return str(self.said.get(ARCHITECTURE, ""))

    @property
    def adapter(self) -> bool:
        """Whether it is an adapter, and no model."""
        return self.said.get(TYPE) == "adapter"


def identity_of(file: Path) -> str:
    """A model's size, its tables and the last of its weights, which training changes."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(_EDGE)
        opened.seek(max(0, size - _EDGE))
        return content_hash(size, bytes_hash(head), bytes_hash(opened.read(_EDGE)))


def read_head(path: Path) -> ModelFile:
    """Read a file's head. Raises `UsageError` for what is no GGUF file, or a broken one."""
    try:
        with path.open("rb") as file:
            return _head(path, file)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", cause=str(error)) from error
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no GGUF file", cause=str(error)) from error


def check_adapter(path: Path, base: Path) -> None:
    """See that a file is an adapter of a model. Raises `UsageError` where it is not."""
    adapter, model = read_head(path), read_head(base)
    if not adapter.adapter or adapter.said.get(ADAPTER_TYPE) != "lora":
        raise UsageError(
            f"{path} is no LoRA adapter",
            cause=f"it says that it is {_named(adapter)}",
            hint='adapter = "….gguf" names an adapter; model = "local/….gguf" names a model',
        )
    if why := _misfit(adapter, model):
        raise UsageError(
            f"the adapter {path} is for another model than {base.name}",
            cause=why,
            hint="name the model that it was trained for, or train an adapter for this one",
        )


def _misfit(adapter: ModelFile, model: ModelFile) -> str | None:
    """Why an adapter is none of a model's, None where it is."""
    if adapter.architecture != model.architecture:
        return f"it is for the architecture {adapter.architecture!r}, not {model.architecture!r}"
    if not adapter.shapes:
        return "it changes no weight"
    for name, shape in adapter.shapes.items():
        weight = name.removesuffix(A).removesuffix(B)
        of_model = model.shapes.get(weight)
        if of_model is None or weight == name:
            return f"it changes {weight}, which the model does not have"
        here, there = (shape[0], of_model[0]) if name.endswith(A) else (shape[-1], of_model[-1])
        if here != there:
            return f"{name} has {here} columns where the model's weight has {there}"
    trained_for = adapter.said.get(BASE)
    if trained_for is not None and trained_for != (mine := identity_of(model.path)):
        return f"it was trained for the model {trained_for}, and this one is {mine}"
    return None


def _named(file: ModelFile) -> str:
    return f"{file.said.get(TYPE, 'a model')} of the architecture {file.architecture or 'none'}"


def _head(path: Path, file: BinaryIO) -> ModelFile:
    magic = file.read(4)
    if magic != _MAGIC:
        raise ValueError(f"it begins with {magic!r}, not with {_MAGIC!r}")
    (version,) = _unpacked(file, "I")
    if version not in _VERSIONS:
        raise ValueError(f"it is of version {version}; known are {_VERSIONS}")
    weights, entries = _unpacked(file, "QQ")
    said: dict[str, Value] = {}
    for _ in range(entries):
        key = _text(file)
        (kind,) = _unpacked(file, "I")
        value = _value(file, kind)
        if value is not None:
            said[key] = value
    shapes: dict[str, tuple[int, ...]] = {}
    for _ in range(weights):
        name = _text(file)
        (count,) = _unpacked(file, "I")
        shapes[name] = _unpacked(file, f"{_bounded(count)}Q")
        _unpacked(file, "IQ")
    return ModelFile(path, said, shapes)


def _value(file: BinaryIO, kind: int) -> Value | None:
    """A value; None for a list, which is passed over."""
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        item, count = _unpacked(file, "IQ")
        if item in _NUMBERS:
            file.seek(struct.calcsize(f"<{_bounded(count)}{_NUMBERS[item]}"), 1)
        else:
            for _ in range(_bounded(count)):
                _value(file, item)
        return None
    if kind not in _NUMBERS:
        raise ValueError(f"a value is of the unknown type {kind}")
    value: Value = _unpacked(file, _NUMBERS[kind])[0]
    return value


def _text(file: BinaryIO) -> str:
    (length,) = _unpacked(file, "Q")
    return file.read(_bounded(length)).decode()


def _bounded(count: int) -> int:
    if count > _LONGEST:
        raise ValueError(f"a length of {count} is too large")
    return count


def _unpacked(file: BinaryIO, form: str) -> tuple[int, ...]:
    size = struct.calcsize(f"<{form}")
    return struct.unpack(f"<{form}", file.read(size))
