"""What a training leaves: a folder named by its adapter's content.

adapters/HASH/adapter.gguf               for the local server
              adapter_model.safetensors  for PEFT and what reads its form, with
              adapter_config.json
              losses.jsonl               the curve
              manifest.json              what it was trained of, how, and what that took
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flywheel.core.errors import UsageError
from flywheel.core.identity import bytes_hash
from flywheel.core.wording import number
from flywheel.optimize.finetune.base import Base
from flywheel.optimize.finetune.checkpoint import End
from flywheel.optimize.finetune.gguf import write_adapter
from flywheel.optimize.finetune.options import TrainOptions

GGUF, WEIGHTS, CONFIG = "adapter.gguf", "adapter_model.safetensors", "adapter_config.json"
LOSSES, MANIFEST = "losses.jsonl", "manifest.json"
"""Files of an adapter's folder."""

_AGAIN = "put its folder back, or train it again: flywheel optimize"

_ENDS: dict[End, str] = {
    "epochs": "it saw all",
    "patience": "more made the validation no better",
    "time": "its time was over: a longer --time-limit goes on with it",
}


class Manifest(BaseModel):
    """What an adapter was trained of, how, and what that took."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal[1] = 1
    """Of this file."""
    hash: str
    """Of adapter.gguf, and the folder's name."""
    base: str
    """Identity of the model it was trained for."""
    base_name: str
    """Its file's or folder's name."""
    fingerprint: str
    """Of the training: model, traces and options."""
    start: str = ""
    """Adapter that it began with, by its hash; empty for none."""
    options: dict[str, Any]
    """`TrainOptions`."""
    train_rows: int
    """Traces learned from."""
    validation_rows: int
    """Traces that the validation loss is of."""
    left_out: str
    """Why others were not learned from, with how many; empty where all were."""
    steps: int
    """Steps taken."""
    best_step: int
    """The step whose weights these are."""
    loss: float | None
    """Of the last step, in nats a token."""
    validation_loss: float | None
    """The lowest, in nats a token; None without traces to validate with."""
    end: End
    """Why it ended."""
    tokens: int
    """Tokens of the traces learned from, each as often as it was."""
    seconds: float
    """That training took, the loading of the model left out."""
    device: str
    """`cpu` or `cuda`."""
    threads: int
    """That torch computed with: another number gives other last digits."""
    products: str = "float32"
    """Numbers that products of matrices were computed in; the weights learned are float32."""
    libraries: dict[str, str]
    """Versions of what trained it."""

    @property
    def sentence(self) -> str:
        """What the training was, for a person."""
        kept = "" if self.best_step == self.steps else f", step {self.best_step:,} is kept"
        if self.start:
            kept = f" from {self.start[:8]} on{kept}"
        if self.validation_loss is not None:
            kept += f" with {self.validation_loss:.3f} nats a token on the validation"
        took = f"{number(self.steps, 'step')} in {self.seconds / 60:.1f} min"
        return f"on {number(self.train_rows, 'row')}, {took}{kept}; {_ENDS[self.end]}"


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter in its folder."""

    folder: Path
    """The folder."""
    manifest: Manifest
    """What it says of itself."""

    @property
    def hash(self) -> str:
        """Its identity."""
        return self.manifest.hash

    def tensors(self, base: Base) -> dict[str, Any]:
        """Its weights by PEFT's names. Raises `UsageError` where they are not those of its hash."""
        from safetensors import SafetensorError  # noqa: PLC0415  of the extra `train`
        from safetensors.torch import load_file  # noqa: PLC0415  with it

        try:
            found: dict[str, Any] = load_file(self.weights)
            arrays = {name: one.numpy() for name, one in found.items()}
            with tempfile.TemporaryDirectory(dir=self.folder.parent) as place:
                # The hash is that of the same weights as the server reads them.
                written = Path(place) / GGUF
                write_adapter(written, arrays, alpha=self.manifest.options["alpha"], base=base)
                same = bytes_hash(written.read_bytes()) == self.hash
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UsageError(
                f"{self.weights} cannot be read", cause=str(error), hint=_AGAIN
            ) from error
        if not same:
            raise UsageError(f"{self.weights} is not what was trained", hint=_AGAIN)
        return found

    def check(self, base: Base, options: TrainOptions) -> None:
        """See that a training of a base may begin with it. Raises `UsageError` where not."""
        said = self.manifest
        if said.base != base.identity:
            raise UsageError(
                f"the adapter {self.hash} is for another model than {base.path.name}",
                cause=f"it was trained on {said.base_name} ({said.base})",
                hint="name the profile of the model that it was trained on: --student",
            )
        shape = ("rank", "alpha", "targets")
        mine = {name: said.options.get(name) for name in shape}
        # As they come back from a file: a tuple is a list there.
        if mine != {name: json.loads(json.dumps(getattr(options, name))) for name in shape}:
            raise UsageError(
                f"the adapter {self.hash} has another form than the one that is to be trained",
                cause=", ".join(f"its {name} is {one}" for name, one in mine.items()),
                hint="begin without it, or with a version of this flywheel",
            )

    @property
    def gguf(self) -> Path:
        """The adapter for the local server: `adapter` of a profile."""
        return self.folder / GGUF

    @property
    def weights(self) -> Path:
        """The adapter in PEFT's form."""
        return self.folder / WEIGHTS

    @property
    def losses(self) -> Path:
        """The curve, as JSON lines."""
        return self.folder / LOSSES


def keep(
    adapters: Path,
    working: Path,
    weights: Mapping[str, Any],
    *,
    base: Base,
    options: TrainOptions,
    said: Mapping[str, Any],
) -> Trained:
    """Write an adapter's folder; `weights` are tensors by PEFT's names, `said` the manifest's rest.

    The folder is there whole or not at all. The same adapter trained again keeps its first folder,
    unless that is damaged.
    """
    from safetensors.torch import save_file  # noqa: PLC0415  of the extra `train`

    making = working / "adapter"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    tensors = {name: one.detach().float().cpu().contiguous() for name, one in weights.items()}
    arrays = {name: one.numpy() for name, one in tensors.items()}
    write_adapter(making / GGUF, arrays, alpha=options.alpha, base=base)
    save_file(tensors, making / WEIGHTS, metadata={"format": "pt"})
    (making / CONFIG).write_text(json.dumps(_config(base, options), indent=2) + "\n")
    shutil.copyfile(working / LOSSES, making / LOSSES)
    manifest = Manifest(
        hash=bytes_hash((making / GGUF).read_bytes()),
        base=base.identity,
        base_name=base.path.name,
        options=asdict(options),
        **said,
    )
    # What began with nothing is what it was before that could be told.
    written = manifest.model_dump_json(indent=2, exclude=None if manifest.start else {"start"})
    (making / MANIFEST).write_text(written + "\n")
    adapters.mkdir(parents=True, exist_ok=True)
    with suppress(UsageError):
        return whole(adapters, manifest.hash, base)
    folder = adapters / manifest.hash
    shutil.rmtree(folder, ignore_errors=True)
    making.replace(folder)
    return find(adapters, manifest.hash)


def find(adapters: Path, name: str) -> Trained:
    """An adapter by its hash.

    Raises `UsageError` where it is not there, cannot be read or is not what was trained.
    """
    folder = adapters / name
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        found = bytes_hash((folder / GGUF).read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"there is no adapter {name} in {adapters}", cause=str(error), hint=_AGAIN
        ) from error
    if not found == manifest.hash == name:
        raise UsageError(
            f"the adapter {name} in {adapters} is not what was trained",
            cause=f"the hash of its weights is {found}",
            hint=_AGAIN,
        )
    return Trained(folder, manifest)


def whole(adapters: Path, name: str, base: Base) -> Trained:
    """An adapter by its hash, of which every form is what was trained. Raises `UsageError`."""
    found = find(adapters, name)
    found.tensors(base)
    return found


def _config(base: Base, options: TrainOptions) -> dict[str, Any]:
    """PEFT's own description, so that its `from_pretrained` reads the folder."""
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": base.path.name,
        **options.lora,
        "inference_mode": True,
    }
