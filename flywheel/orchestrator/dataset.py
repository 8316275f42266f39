"""Datasets: the recipes of a workspace, and the builds of them."""

from __future__ import annotations

from dataclasses import dataclass

from flywheel.core.errors import FlywheelError
from flywheel.core.events import EventBus
from flywheel.core.settings import Settings
from flywheel.curate import Built, Recipe, build, load_recipe
from flywheel.store import Store
from flywheel.workspace import Workspace, content, find_content


@dataclass(frozen=True, slots=True)
class Known:
    """A recipe that can be built."""

    name: str
    """Its name."""
    origin: str
    """Which place it was found in: `setting`, `workspace` or `packaged`."""
    recipe: Recipe | None
    """What it says, None where it cannot be read."""
    problem: str | None
    """Why not."""


def recipes(settings: Settings, workspace: Workspace) -> tuple[Known, ...]:
    """Every recipe there is, those that cannot be read among them."""
    found = []
    for item in content("datasets", workspace, configured=settings.paths.datasets):
        try:
            found.append(Known(item.name, item.origin, load_recipe(item.name, item.path), None))
        except FlywheelError as error:
            found.append(Known(item.name, item.origin, None, error.cause or error.message))
    return tuple(found)


def build_dataset(
    name: str, settings: Settings, workspace: Workspace, store: Store, bus: EventBus
) -> Built:
    """Build the dataset of that name.

    Raises `UsageError` where there is no such recipe, and what `build` does.
    """
    return build(recipe_of(name, settings, workspace), store, workspace.datasets, bus)


def recipe_of(name: str, settings: Settings, workspace: Workspace) -> Recipe:
    """The recipe of that name. Raises `UsageError` where there is none, or it is not right."""
    item = find_content("datasets", name, workspace, configured=settings.paths.datasets)
    return load_recipe(item.name, item.path)
