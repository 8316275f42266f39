"""Content: files a user may add to or replace without touching the package.

Toolchain profiles, metrics and dataset recipes are content. Each kind is mounted from up to
three places, and a name found in an earlier place hides the same name in a later one:

1. the folder a setting names (`paths.critics`);
2. the workspace's own folder (`critics/`);
3. what is packaged with flywheel: `flywheel/_content/critics` of an installed wheel, or the
   folder of the checkout flywheel runs from.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import flywheel
from flywheel.core.errors import UsageError
from flywheel.workspace.place import Workspace

ContentKind = Literal["critics", "metrics", "datasets"]
"""The kinds of content, named as their folders."""

_SUFFIX: dict[ContentKind, str] = {"critics": "", "metrics": ".py", "datasets": ""}
"""What an item of each kind ends in; the empty suffix means a folder."""


@dataclass(frozen=True, slots=True)
class Content:
    """One item of content."""

    name: str
    """Its name: the file's or folder's name without the suffix."""
    path: Path
    """Absolute path of the file or folder."""
    origin: str
    """Which place it was found in: `setting`, `workspace` or `packaged`."""


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    origin: str


def content(
    kind: ContentKind, workspace: Workspace, *, configured: Path | None = None
) -> tuple[Content, ...]:
    """Every item of a kind, sorted by name; the user's own hides the packaged one.

    `configured` is the folder a setting names, None when none does. Raises `UsageError` when a
    configured folder does not exist, or when no place holds any item.
    """
    if configured is not None and not configured.is_dir():
        raise UsageError(
            f"The folder {configured} does not exist (setting paths.{kind}).",
            hint="Create it, or remove the setting: flywheel config show --origin",
        )
    places = _places(kind, workspace, configured)
    found: dict[str, Content] = {}
    for place in places:
        for item in _items(kind, place):
            found.setdefault(item.name, item)
    if not found:
        raise UsageError(
            f"No {kind} were found.",
            cause=_tried(places),
            hint=f"Put one into {places[0].path}, or install flywheel again.",
        )
    return tuple(found[name] for name in sorted(found))


def find_content(
    kind: ContentKind, name: str, workspace: Workspace, *, configured: Path | None = None
) -> Content:
    """The item of a kind with that name.

    Raises `UsageError`, listing every place tried and the nearest name, when there is none.
    """
    items = {item.name: item for item in content(kind, workspace, configured=configured)}
    if name in items:
        return items[name]
    near = difflib.get_close_matches(name, items, n=1)
    raise UsageError(
        f"There is no {name!r} among the {kind}.",
        cause=_tried(_places(kind, workspace, configured)),
        hint=f"Did you mean {near[0]}?" if near else "There are: " + ", ".join(items) + ".",
    )


def _places(kind: ContentKind, workspace: Workspace, configured: Path | None) -> tuple[_Place, ...]:
    places = [_Place(workspace.root / kind, "workspace"), _Place(_packaged(kind), "packaged")]
    if configured is not None:
        places.insert(0, _Place(configured.absolute(), "setting"))
    return tuple(places)


def _packaged(kind: ContentKind) -> Path:
    package = Path(flywheel.__file__).parent
    checkout = package.parent
    # Beside an installed package lie other people's packages, one of them called `datasets`;
    # only a folder that holds our own project file is a checkout.
    if not (package / "_content").is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout / kind
    return package / "_content" / kind


def _items(kind: ContentKind, place: _Place) -> list[Content]:
    if not place.path.is_dir():
        return []
    return [
        Content(path.stem if _SUFFIX[kind] else path.name, path, place.origin)
        for path in place.path.iterdir()
        if not path.name.startswith((".", "_")) and _is_item(kind, path)
    ]


def _is_item(kind: ContentKind, path: Path) -> bool:
    if suffix := _SUFFIX[kind]:
        return path.suffix == suffix
    # A repository that is its own workspace may have a package of that name, with others in it.
    return path.is_dir() and (kind != "critics" or any(path.glob("*.toml")))


def _tried(places: tuple[_Place, ...]) -> str:
    return "Tried: " + ", ".join(f"{place.path} ({place.origin})" for place in places) + "."
