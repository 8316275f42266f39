"""Players: versions of programs, ready to answer with the model that plays them."""

from __future__ import annotations

from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.core.events import EventBus, Warned
from flywheel.optimize.finetune import find_adapter
from flywheel.orchestrator.models import Models
from flywheel.programs import Program, find_program
from flywheel.registry import Registry, Version

if TYPE_CHECKING:
    import dspy


@dataclass(frozen=True, slots=True)
class Player:
    """A version, ready to answer."""

    version: Version
    """The version."""
    program: Program
    """Its program, as its code is now."""
    module: dspy.Module
    """The program in the version's state."""
    identity: str
    """That of what answers: of a model, with its adapter, and of the settings by which it does."""
    context: Context
    """DSPy's settings, with the model that answers; a thread enters a copy of it."""


def ready(version: Version, registry: Registry, models: Models, bus: EventBus) -> Player:
    """A version with the models that play it; what is not as it was made is told on the bus.

    Raises `UsageError` where the program is gone, and `RegistryError` where the version's state or
    its weights do not fit.
    """
    from flywheel.lm.bridge import dspy  # noqa: PLC0415  a second, when something is to be run

    said = version.manifest
    program = find_program(said.module.spec, registry.workspace.root)
    program.check()
    module = program.make()
    profile = ""
    if version.folder is not None:
        # What a provider tuned is reached as the model that it is of.
        base = models.weights if said.tuned is None else models.server()
        registry.load(version, module, base=base)
        if said.adapter is not None:
            trained = find_adapter(registry.workspace.adapters, said.adapter.hash)
            profile = models.with_adapter(trained.gguf)
        if said.tuned is not None:
            profile = models.with_tuned(said.tuned.model)
        _warn(version, program, models, bus)
    with dspy.context(lm=models.for_programs(f"program:{said.module.name}", profile)):
        context = copy_context()
    return Player(version, program, module, models.player(profile), context)


def _warn(version: Version, program: Program, models: Models, bus: EventBus) -> None:
    """Say where a version is not run as it was made."""
    said = version.manifest
    if said.module.hash != program.hash:
        told = f"the code of {program.spec} is not what {version.id} was made of"
        bus.publish(Warned("program-changed", told))
    if said.lm is not None and said.lm.server != models.server():
        told = f"{version.id} was made for {said.lm.model}, and another model answers"
        bus.publish(Warned("other-model", told))
