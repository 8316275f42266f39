"""Versions: a program as it was made, a folder that never changes.

`MODULE/HASH/` holds `manifest.json` and `state.json`, DSPy's own form of a state. The hash is of
the state and of all that made it, not of what was measured of it, so the same run gives the same
version. `MODULE@base` is a module as its code has it now; it has no folder.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pydantic
from pydantic import BaseModel, ConfigDict, JsonValue

from flywheel.core.errors import RegistryError
from flywheel.core.identity import bytes_hash, content_hash

if TYPE_CHECKING:
    import dspy

FORMAT, TUNED_FORMAT = 1, 2
"""Layout of the folder, and that of a version which needs a model that a provider tuned. A reader
refuses a greater one."""
MANIFEST, STATE = "manifest.json", "state.json"
"""Files of a version."""
BASE = "base"
"""What stands for the hash of a module as its code has it."""


class Record(BaseModel):
    """What a version's files are made of: nothing more, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModuleName(Record):
    """The module that a version is of."""

    name: str
    """What its versions are filed under."""
    spec: str
    """How it is found: a name, `path.py:Class` or `package.module:Class`."""
    hash: str
    """Of its code."""


class Predictor(Record):
    """One step of a module that asks a model."""

    name: str
    """As DSPy calls it."""
    inputs: tuple[str, ...]
    """Names of the fields that it is given."""
    outputs: tuple[str, ...]
    """Names of those that it answers."""

    @property
    def fields(self) -> tuple[str, ...]:
        """All its fields, in the order of the state."""
        return (*self.inputs, *self.outputs)


class Optimizer(Record):
    """What made a version."""

    name: str
    """Name of the optimiser."""
    options: dict[str, JsonValue]
    """What it was told."""
    seed: int
    """Of everything that it drew."""


class VersionScore(Record):
    """What was measured of a version when it was made."""

    split: str
    """The rows that it was measured on."""
    metric: str
    """Name of the metric."""
    value: float | None
    """The mean, None where it is not known."""
    n: int
    """Rows whose value is known."""
    low: float | None
    """Lower end of the 95 % interval, None where there is none."""
    high: float | None
    """Upper end."""


class Model(Record):
    """The language model that a version was made for."""

    model: str
    """Its name, as profiles say it."""
    profile: str
    """The profile that it was played by."""
    server: str
    """Identity of what answered: of a local model, that of its weights."""


class Adapter(Record):
    """Trained weights that a version needs beside its model's own."""

    hash: str
    """Of its content, and its folder's name."""
    base: str
    """Identity of the weights that it was trained on: it fits no others."""


class Tuned(Record):
    """A model that its provider tuned, which a version needs in place of its own."""

    model: str
    """As a profile names it: `openai/ft:…`."""
    base: str
    """Identity of the model that it was tuned of, with its address."""
    job: str
    """The provider's name for the training."""


class Cost(Record):
    """What it took to make a version."""

    usd: float | None
    """US dollars, None where a price is not known."""
    tokens: int
    """Tokens that models have read and written."""
    seconds: float
    """Wall time of the run that ended it; answers of earlier ones were kept."""


class Environment(Record):
    """What a version was made with. It names no path, no person and no machine."""

    python: str
    """Its version."""
    flywheel: str
    """The same."""
    dspy: str
    """The same."""
    machine: str
    """System, architecture and number of processors."""

    @classmethod
    def here(cls) -> Self:
        """That of this process."""
        return cls(
            python=platform.python_version(),
            flywheel=importlib.metadata.version("flywheel"),
            dspy=importlib.metadata.version("dspy"),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        )


class Manifest(Record):
    """What a version says of itself."""

    format: int
    """Layout of the folder."""
    module: ModuleName
    """The module that it is of."""
    hash: str
    """Of the state and of all that made it: the folder's name."""
    state: str
    """Hash of `state.json`."""
    predictors: tuple[Predictor, ...]
    """Its steps, in the order of the state."""
    parent: str
    """Id of the version that it was made from, empty for the base."""
    optimizer: Optimizer | None
    """None where no optimiser made it."""
    study: str | None
    """The optimiser's run, None where there was none."""
    dataset: str
    """The dataset it learned from, `NAME@HASH`; empty for none."""
    metric: str
    """What was optimised, `NAME@HASH`; empty for none."""
    scores: tuple[VersionScore, ...]
    """What was measured of it when it was made."""
    lm: Model | None
    """The model it was made for, None where it is of no model in particular."""
    adapter: Adapter | None
    """Trained weights, None where there are none."""
    cost: Cost
    """What it took to make it."""
    environment: Environment
    """What it was made with."""
    partial: bool
    """Whether its run was stopped: it is the best until then."""
    trained_on: tuple[str, ...]
    """Ids of the examples it learned from."""
    validated_on: tuple[str, ...]
    """Ids of the examples by which it was chosen."""
    demos: tuple[str, ...]
    """Ids of the examples that are shown to the model."""
    trials: int
    """Trials of the run."""
    created_at: datetime
    """When it was made, UTC."""
    tuned: Tuned | None = None
    """Not written where there is none: versions are as they were before there was any."""

    @property
    def written(self) -> dict[str, Any]:
        """As its file has it."""
        return self.model_dump(mode="json", exclude=set() if self.tuned else {"tuned"})

    @property
    def identity(self) -> str:
        """The hash that it must have: of the state and of all that made it."""
        left_out = {"hash", "scores", "cost", "environment", "trials", "created_at"}
        return content_hash(
            {name: one for name, one in self.written.items() if name not in left_out}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftVersion:
    """A program that is to become a version."""

    module: ModuleName
    """The module that it is of."""
    program: dspy.Module
    """The module in its new state."""
    parent: str
    """Id of the version that it was made from."""
    optimizer: Optimizer | None
    """What made it, None where no optimiser did."""
    dataset: str
    """The dataset it learned from, `NAME@HASH`."""
    metric: str
    """What was optimised, `NAME@HASH`."""
    lm: Model | None
    """The model it was made for, None for none in particular."""
    cost: Cost
    """What it took."""
    scores: tuple[VersionScore, ...] = ()
    """What was measured of it."""
    adapter: Adapter | None = None
    """Trained weights, None where there are none."""
    tuned: Tuned | None = None
    """A model that its provider tuned, None where there is none."""
    study: str | None = None
    """The optimiser's run."""
    partial: bool = False
    """Whether the run was stopped."""
    trained_on: tuple[str, ...] = ()
    """Ids of the examples it learned from."""
    validated_on: tuple[str, ...] = ()
    """Ids of the examples by which it was chosen."""
    demos: tuple[str, ...] = ()
    """Ids of the examples that are shown to the model."""
    trials: int = 0
    """Trials of the run."""


@dataclass(frozen=True, slots=True)
class Version:
    """A program as it was made."""

    manifest: Manifest
    """What it says of itself."""
    written: str
    """Its state, as JSON. `registry.state.parse` checks and reads it."""
    folder: Path | None
    """Where it lies, None for the base."""

    @property
    def id(self) -> str:
        """`MODULE@HASH`, or `MODULE@base`."""
        return f"{self.manifest.module.name}@{self.manifest.hash if self.folder else BASE}"


def read_version(folder: Path) -> Version:
    """The version in a folder.

    Raises `RegistryError` for one that is damaged, was edited, or that a newer flywheel wrote.
    """
    path = folder / MANIFEST
    try:
        said: Any = json.loads(path.read_bytes())
        written = (folder / STATE).read_bytes()
    except (OSError, ValueError) as error:
        raise _damaged(folder, str(error)) from error
    if not isinstance(said, dict) or not isinstance(said.get("format"), int):
        raise _damaged(folder, f"{MANIFEST} is no manifest")
    if said["format"] > TUNED_FORMAT:
        raise RegistryError(
            f"The version {_named(folder)} was made by a newer flywheel.",
            cause=f"its layout is {said['format']}, and this one reads up to {TUNED_FORMAT}",
            hint="upgrade flywheel: in its checkout, git pull && make",
        )
    try:
        manifest = Manifest.model_validate(said)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(folder, f"{MANIFEST}: {where}: {first['msg']}") from error
    if bytes_hash(written) != manifest.state:
        raise _edited(folder, f"{STATE} is not what {MANIFEST} says it is")
    if not manifest.identity == manifest.hash == folder.name:
        raise _edited(folder, f"what {MANIFEST} says has another hash than {folder.name}")
    return Version(manifest, written.decode(), folder)


def _named(folder: Path) -> str:
    return f"{folder.parent.name}@{folder.name}"


def _edited(folder: Path, cause: str) -> RegistryError:
    return RegistryError(
        f"The version {_named(folder)} was edited after it was saved.",
        cause=cause,
        hint="a version never changes: put its files back, or remove the folder and optimise again",
    )


def _damaged(folder: Path, cause: str) -> RegistryError:
    return RegistryError(
        f"The version {_named(folder)} cannot be read.",
        cause=cause.partition("\n")[0][:500],
        hint=f"remove {folder} and optimise again: what was paid for is kept",
    )
