"""Where a training stands: weights, optimiser, random numbers and counts, in one file.

Safetensors, and no pickle: a file that somebody else wrote can be read without running any of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flywheel.core.errors import TrainingError, UsageError

End = Literal["epochs", "patience", "time"]
"""Why a training ended: all was seen, validation got no better, or its time was over."""
_FILE = "checkpoint.safetensors"
_HEAD = "flywheel"
"""The one entry of the file's table of texts."""

Tensors = Mapping[str, Any]
"""Tensors of torch by name."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a training has done so far."""

    fingerprint: str
    """Of what is trained with what, and how: another one is another training."""
    step: int = 0
    """Steps taken."""
    seconds: float = 0.0
    """Spent, the loading of the model left out."""
    tokens: int = 0
    """Tokens of the traces that were learned from, each as often as it was."""
    best_step: int = 0
    """The step after which the validation loss was lowest."""
    best_loss: float | None = None
    """That loss, None before the first validation."""
    worse: int = 0
    """Validations since then."""
    loss: float | None = None
    """Of the last step, in nats a token."""
    end: End | None = None
    """Why it has ended, None where it has not."""
    allowed: float | None = None
    """Seconds that it was allowed in all, where its time ended it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training stands, with its tensors."""

    standing: TrainingState
    """The counts."""
    weights: Tensors
    """The adapter's."""
    best: Tensors
    """Those that the validation loss was lowest with."""
    optimiser: Tensors
    """Moments by `WEIGHT:MOMENT`."""
    random: Any
    """State of torch's generator."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in the place of the last one, at once."""
    from safetensors.torch import save_file  # noqa: PLC0415  of the extra `train`

    tensors = {"random": checkpoint.random}
    for kind in ("weights", "best", "optimiser"):
        part: Tensors = getattr(checkpoint, kind)
        tensors |= {f"{kind}/{name}": one.detach().cpu().clone() for name, one in part.items()}
    new = folder / f"{_FILE}.new"
    save_file(tensors, new, metadata={_HEAD: json.dumps(asdict(checkpoint.standing))})
    new.replace(folder / _FILE)


def load(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The last checkpoint of a folder, None where there is none.

    Raises `UsageError` where it is of another training, `TrainingError` where it cannot be read.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415  of the extra `train`

    parts: dict[str, dict[str, Any]] = {"weights": {}, "best": {}, "optimiser": {}}
    try:
        with safe_open(path, framework="pt") as file:
            standing = TrainingState(**json.loads((file.metadata() or {})[_HEAD]))
            for name in file.keys():  # noqa: SIM118  it is no mapping
                kind, _, weight = name.partition("/")
                if weight:
                    parts[kind][weight] = file.get_tensor(name)
            random = file.get_tensor("random")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} cannot be read", cause=str(error), hint=f"rm -r {folder} begins anew"
        ) from error
    if standing.fingerprint != fingerprint:
        raise UsageError(
            f"{folder} holds another training",
            cause="its model, its traces or its options are not those of this one",
            hint=f"another folder, or rm -r {folder} to begin anew",
        )
    return Checkpoint(standing, **parts, random=random)


def judged(standing: TrainingState, loss: float) -> TrainingState:
    """After a validation."""
    if standing.best_loss is None or loss < standing.best_loss:
        return replace(standing, best_step=standing.step, best_loss=loss, worse=0)
    return replace(standing, worse=standing.worse + 1)
