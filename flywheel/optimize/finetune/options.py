"""How a model is trained."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import Any, Self

from flywheel.core.errors import UsageError
from flywheel.optimize.finetune.gguf import TARGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How a model is trained; the defaults are for a small model on two processors."""

    rank: int = 16
    """Columns of each half of an adapted weight."""
    alpha: float = 32.0
    """What the adapter's change is multiplied with, over the rank."""
    targets: tuple[str, ...] = tuple(TARGETS)
    """The weights of each layer that are adapted."""
    learning_rate: float = 1e-3
    """Highest, after the warm-up; it ends at a hundredth, along a cosine."""
    warmup: float = 0.05
    """Share of the training in which it rises."""
    epochs: int = 3
    """How often each trace is seen."""
    batch_rows: int = 4
    """Traces of one step."""
    batch_tokens: int = 2048
    """Tokens that go through the model at once; a step takes as many passes as it needs."""
    row_tokens: int = 2048
    """Tokens of a trace above which it is left out."""
    clip: float = 1.0
    """Longest gradient."""
    validations: int = 4
    """How often in an epoch the loss of what is not learned from is taken."""
    validation_rows: int = 64
    """Traces that it is taken of, at the most."""
    patience: int = 4
    """Validations without a better one after which it ends."""
    checkpoint_steps: int = 20
    """Steps between two checkpoints, at the most."""
    checkpoint_seconds: float = 60.0
    """Seconds between two, about: there may be fewer steps in that."""
    max_seconds: float | None = None
    """Seconds after which it ends, those before an interruption included; None: no limit."""
    time_limit: float | None = None
    """Seconds of the study that it is part of: with a longer one, what its time ended goes on."""
    seed: int = 0
    """Of the adapter's first weights and of the order of the traces."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for a value that cannot be."""
        for name in ("rank", "epochs", "batch_rows", "batch_tokens", "row_tokens", "validations",
                     "validation_rows", "patience", "checkpoint_steps"):  # fmt: skip
            if getattr(self, name) < 1:
                raise _wrong(name, getattr(self, name), "it is 1 at the least")
        for name in ("alpha", "learning_rate", "clip", "checkpoint_seconds"):
            if not getattr(self, name) > 0:
                raise _wrong(name, getattr(self, name), "it is more than 0")
        if not 0 <= self.warmup < 1:
            raise _wrong("warmup", self.warmup, "it is a share of the steps, from 0 to below 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise _wrong("max_seconds", self.max_seconds, "it is more than 0")
        for target in self.targets:
            if target not in TARGETS:
                raise _wrong("targets", target, f"there are {', '.join(TARGETS)}")
        if not self.targets:
            raise _wrong("targets", self.targets, f"there are {', '.join(TARGETS)}")

    @property
    def allowed(self) -> float:
        """Seconds that were asked for: those of the study, or those of the training alone."""
        limits = (self.time_limit, self.max_seconds)
        return next((one for one in limits if one is not None), math.inf)

    @property
    def lora(self) -> dict[str, Any]:
        """The adapter as PEFT describes one."""
        return {
            "task_type": "CAUSAL_LM",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "target_modules": [one.rpartition(".")[2] for one in self.targets],
            "bias": "none",
        }

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Those of a table, the others by default. Raises `UsageError` for an unknown name."""
        known = {one.name for one in fields(cls)}
        for name in said:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"training has no option {name!r}",
                    cause=f"there are {', '.join(sorted(known))}",
                    hint=f"did you mean {near[0]}?" if near else None,
                )
        return cls(**said)


def _wrong(name: str, value: object, cause: str) -> UsageError:
    return UsageError(f"the option {name} of training cannot be {value!r}", cause=cause)
