"""The workbench of stored rows: the commit and the environment that they were proven in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol, TypeVar

from flywheel.core.errors import EnvironmentBuildError
from flywheel.core.events import EventBus
from flywheel.core.records import EnvironmentLock
from flywheel.core.settings import Settings
from flywheel.orchestrator.workbench import Workbench, set_up
from flywheel.store import Store, environment_lock
from flywheel.workspace import Workspace


class Proven(Protocol):
    """What a row says of where it was proven."""

    @property
    def repo(self) -> str:
        """Repository, as shown to people."""

    @property
    def commit(self) -> str:
        """Full hash of the base commit."""

    @property
    def environment_hash(self) -> str:
        """Environment it was proven in."""

    @property
    def baseline_id(self) -> str:
        """The baseline it was judged by."""


Row = TypeVar("Row", bound=Proven)


def by_baseline(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows of one baseline together, in the order they come; no list is empty."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.repo, row.commit, row.baseline_id].append(row)
    return list(groups.values())


def set_up_again(
    row: Proven, settings: Settings, workspace: Workspace, store: Store, bus: EventBus
) -> Workbench:
    """The workbench of a row, as it was.

    Raises `EnvironmentBuildError` where the environment is another one now, and what `set_up` does.
    """
    lock = environment_lock(store, row.environment_hash)
    bench = set_up(row.repo, settings, workspace, bus, commit=row.commit, lock=lock)
    if other := _difference(bench, row.environment_hash, lock):
        raise EnvironmentBuildError(other)
    return bench


def _difference(bench: Workbench, environment_hash: str, lock: EnvironmentLock | None) -> str:
    """How the environment at hand differs from the one wanted, empty when it does not."""
    environment = bench.environment
    if environment.hash == environment_hash:
        return ""
    if lock is None:
        return "its environment is not in the store"
    python = ".".join(map(str, environment.version))
    if python != lock.python:
        return f"it needs Python {lock.python}, and this is {python}"
    there = set(environment.lock.splitlines())
    gone = sorted(line for line in lock.packages if "==" in line and line not in there)
    return f"the environment is another one now: {', '.join(gone)} was there" if gone else ""
