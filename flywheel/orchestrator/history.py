"""History: what of a repository's past could become candidates, and why the rest could not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from flywheel.candidates import RevertSource, is_generated
from flywheel.core.events import EventBus, PhaseProgressed, Warned
from flywheel.core.records import Candidate
from flywheel.core.settings import Settings
from flywheel.critic import Toolchain
from flywheel.git import Blobs, Checkout, is_shallow, log, resolve
from flywheel.orchestrator.workbench import phase, toolchain_of
from flywheel.workspace import Workspace


@dataclass(frozen=True, slots=True)
class History:
    """What a look through a repository's history found."""

    repo: str
    """Repository, as shown to people."""
    commit: str
    """The newest commit."""
    shallow: bool
    """True where the clone holds but the newest commits."""
    funnel: dict[str, Any]
    """See `funnel`."""
    candidates: tuple[Candidate, ...]
    """What undoes a fix in the newest code, newest fix first."""


def look_through(
    repo: str,
    settings: Settings,
    workspace: Workspace,
    bus: EventBus,
    *,
    limit: int = 0,
    on_commits: Callable[[int, int], None] = lambda commits, fixes: None,
) -> History:
    """Look through the history of a repository; runs no test and builds nothing.

    `limit` ends it after so many candidates, 0 goes through all. Raises `RepositoryError`,
    `ToolchainError`.
    """
    with phase(bus, "fetch", repo):
        checkout = resolve(
            repo,
            settings.paths.cache or workspace.cache,
            history=settings.harvest.history,
            report=lambda text: bus.publish(PhaseProgressed("fetch", 0, text)),
        )
    for note in checkout.notes:
        bus.publish(Warned("repository", note))
    toolchain = toolchain_of(checkout, settings, workspace)
    shallow = warn_if_shallow(checkout, bus)
    changeable = [one for one in checkout.entries() if toolchain.is_source(one.path)]
    read = zip(changeable, checkout.read_many(changeable), strict=True)
    contents = {one.path: data for one, data in read if not is_generated(data)}
    found: list[Candidate] = []
    with ExitStack() as held, phase(bus, "history"):
        source = revert_source(checkout, toolchain, contents, held=held, covered=None)
        while candidate := source.draw():
            found.append(candidate)
            on_commits(source.commits, source.fixes)
            if limit and len(found) >= limit:
                break
    return History(checkout.name, checkout.commit, shallow, funnel(source), tuple(found))


def warn_if_shallow(checkout: Checkout, bus: EventBus) -> bool:
    """Say so where a clone holds but the newest commits; True when it does."""
    if not is_shallow(checkout.git_dir):
        return False
    bus.publish(
        Warned(
            "shallow",
            f"{checkout.name} is a shallow clone: only its newest commits are there",
            "git fetch --unshallow",
        )
    )
    return True


def revert_source(
    checkout: Checkout,
    toolchain: Toolchain,
    contents: Mapping[str, bytes],
    *,
    held: ExitStack,
    covered: Callable[[str], Set[int] | None] | None,
) -> RevertSource:
    """The source that undoes fixes of a checkout's history in `contents`."""
    commits = held.enter_context(closing(log(checkout.git_dir, checkout.commit)))
    blobs = held.enter_context(Blobs(checkout.git_dir))
    return RevertSource(
        commits,
        contents,
        read=blobs.read,
        is_source=toolchain.is_source,
        is_test=toolchain.is_protected,
        covered=covered,
        language=toolchain.language(),
    )


def funnel(source: RevertSource) -> dict[str, Any]:
    """How many commits came how far, and why the others did not."""
    return {
        "commits": source.commits,
        "fix_like": source.fixes,
        "applied": source.applied,
        "passed_over": dict(source.passed.most_common()),
        "candidates": source.made - sum(source.pruned.values()),
        "pruned": dict(source.pruned.most_common()),
    }
