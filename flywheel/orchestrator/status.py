"""Status: how fresh the store is, and what brings it up to date. Runs no test, asks no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flywheel.core.errors import FlywheelError
from flywheel.core.settings import Settings
from flywheel.critic import Toolchain, definition_key, detect, load_toolchains
from flywheel.git import at, commits_behind, resolve
from flywheel.store import Held, Store, held
from flywheel.workspace import Workspace, content


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """One repository in the store, beside what it is now."""

    held: Held
    """What the store holds."""
    head: str | None
    """Full hash of the repository's newest commit, None where it was not asked or not found."""
    behind: int | None
    """Commits that the store has not seen, None where they cannot be counted."""
    environment_changed: bool | None
    """Whether what defines the test environment differs since; None where it is not known."""
    note: str
    """Why something is not known, empty when all is."""

    @property
    def fresh(self) -> bool | None:
        """Whether the newest commit is the one that was harvested; None where it is not known."""
        return None if self.head is None else self.head == self.held.commit


def status(settings: Settings, workspace: Workspace, store: Store) -> tuple[RepositoryStatus, ...]:
    """How fresh the store is, repository by repository, the last harvested first."""
    profiles = content("critics", workspace, configured=settings.paths.critics)
    toolchains = load_toolchains([(one.name, one.path) for one in profiles])
    return tuple(_status(one, settings, workspace, toolchains) for one in held(store))


def _status(
    one: Held, settings: Settings, workspace: Workspace, toolchains: Sequence[Toolchain]
) -> RepositoryStatus:
    known = RepositoryStatus(one, None, None, None, "")
    if one.repo.startswith("pypi:") and ("==" in one.repo or "<=" in one.repo):
        # A release never changes, nor does a line of releases that ends.
        return replace(known, head=one.commit, behind=0, environment_changed=False)
    if not Path(one.repo).is_absolute():
        return replace(known, note="a harvest asks whoever holds the newest; status does not")
    try:
        newest = resolve(one.repo, settings.paths.cache or workspace.cache)
    except FlywheelError as error:
        return replace(known, note=error.message)
    known = replace(known, head=newest.commit)
    if newest.commit == one.commit:
        return replace(known, behind=0, environment_changed=False)
    try:
        behind = commits_behind(newest.git_dir, one.commit, newest.commit)
        if behind is None:
            return replace(known, note=f"the repository has no commit {one.commit[:12]} any more")
        before = at(newest, one.commit)
        keys = {
            definition_key(
                checkout,
                detect(toolchains, checkout),
                python=str(settings.harvest.python) if settings.harvest.python else None,
                install=settings.harvest.install,
            )
            for checkout in (before, newest)
        }
        return replace(known, behind=behind, environment_changed=len(keys) > 1)
    except FlywheelError as error:
        return replace(known, note=error.message)
