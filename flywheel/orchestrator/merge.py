"""Merging: the model of a version with the weights that were trained for it, in one piece."""

from __future__ import annotations

from pathlib import Path

from flywheel.core.errors import RegistryError, UsageError
from flywheel.core.settings import Settings
from flywheel.lm import LOCAL, Role, local_file, profile_of
from flywheel.optimize.finetune import find_adapter, merge_folder, merge_gguf
from flywheel.registry import Version
from flywheel.workspace import Workspace

GGUF = ".gguf"
"""What the name of a file ends with that a local server reads."""


def merged(version: Version, out: Path, settings: Settings, workspace: Workspace) -> Path:
    """Write the model that plays a version: a file *.gguf, or else a folder of safetensors.

    Raises `UsageError` where the version trained nothing here, its base is not at hand or there is
    something at `out`, and `RegistryError` where its weights are gone.
    """
    said = version.manifest
    if said.adapter is None:
        raise UsageError(
            f"{version.id} has no weights of its own to be merged",
            cause="it is instructions and demonstrations for a model as it is"
            if said.tuned is None
            else f"{said.tuned.model} is at its provider",
            hint="versions made by bootstrap-finetune with a local model have some",
        )
    if out.exists():
        raise UsageError(f"{out} is there already", hint="name another file or folder")
    try:
        trained = find_adapter(workspace.adapters, said.adapter.hash)
    except UsageError as error:
        raise RegistryError(
            f"the weights of {version.id} are gone",
            cause=error.cause,
            hint="train them again: the same study gives the same ones",
        ) from error
    profile = profile_of(Role.STUDENT, settings.lm, said.lm.profile if said.lm is not None else "")
    if profile.provider != LOCAL:
        raise UsageError(
            f"the profile {profile.name} is no local model, and {version.id} is of one",
            hint=f"[lm.{profile.name}] with the model that it was trained for:"
            f" {trained.manifest.base_name}",
        )
    base = local_file(profile)
    write = merge_gguf if out.suffix == GGUF else merge_folder
    return write(base, trained, out)
