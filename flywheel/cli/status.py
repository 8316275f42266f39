"""`flywheel status`: how fresh the store is, and the next command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session
from flywheel.core.ending import EXHAUSTED, MAX_CANDIDATES
from flywheel.core.wording import number

if TYPE_CHECKING:
    from flywheel.orchestrator import RepositoryStatus


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(status)


def status(
    context: typer.Context,
    as_json: Json = False,
) -> None:
    """Show how fresh the store is.

    For each repository: the commit that was harvested last, the newest one, and what is held.
    Runs no test and asks no network.
    """
    from flywheel.orchestrator import status as look
    from flywheel.store import Store

    session = Session.of(context)
    settings = session.configuration().settings
    found = look(settings, session.workspace, Store(session.workspace.store_path))
    if as_json:
        session.print_json([_as_json(one) for one in found])
        return
    if not found:
        session.out.print("The store is empty.")
        session.next_step("harvest", "--repo", "PATH")
        return
    for one in found:
        _print(session, one)
    behind = (command for one in found if (command := _next(one)))
    session.next_step(*next(behind, ["examples", "--limit", "5"]))


def _next(one: RepositoryStatus) -> list[str]:
    """The command that brings a repository up to date, empty when it is."""
    if one.fresh and one.held.since is None and one.held.ended in (EXHAUSTED, MAX_CANDIDATES):
        return []
    if one.head is None and Path(one.held.repo).is_absolute():
        return []  # a folder that could not be read; a remote repository was only not asked
    from flywheel.core.settings import HarvestSettings

    usual = HarvestSettings().source
    sources = one.held.sources or usual
    option = ["--source", ",".join(sources)] if sources != usual else []
    return ["harvest", "--repo", one.held.repo, *option]


def _as_json(one: RepositoryStatus) -> dict[str, Any]:
    held, command = one.held, _next(one)
    return {
        "repo": held.repo,
        "harvested_commit": held.commit,
        "head": one.head,
        "fresh": one.fresh,
        "behind": one.behind,
        "environment_changed": one.environment_changed,
        "examples": {
            "live": sum(held.live.values()),
            "retired": sum(held.retired.values()),
            "live_by_source": dict(held.live),
            "retired_by_source": dict(held.retired),
        },
        "survivors": held.survivors,
        "last_run": {"at": held.harvested_at.isoformat(), "ended": held.ended, "since": held.since},
        "toolchain": held.toolchain,
        "note": one.note,
        "next": shlex.join(["flywheel", *command]) if command else None,
    }


def _print(session: Session, one: RepositoryStatus) -> None:
    from rich.markup import escape

    held, out = one.held, session.out
    if one.fresh:
        state = "fresh"
    elif one.behind is not None:
        commits = number(one.behind, "commit")
        state = f"{commits} behind {one.head and one.head[:12]}"
    else:
        state = "newest commit not known" if one.head is None else f"HEAD is {one.head[:12]}"
    out.print(f"[bold]{escape(held.repo)}[/bold]  {state}")
    out.print(
        f"  harvested    {held.commit[:12]}, {held.harvested_at:%Y-%m-%d %H:%M} UTC,"
        f" ended: {escape(held.ended)}"
        + (f", only what changed since {escape(held.since)}" if held.since else "")
    )
    sources = ", ".join(f"{count} {escape(name)}" for name, count in held.live.most_common())
    out.print(
        f"  examples     {sum(held.live.values())} live ({sources or 'none'}),"
        f" {sum(held.retired.values())} retired; {held.survivors} survivors"
    )
    if one.environment_changed is not None:
        said = "changed since: all is judged again" if one.environment_changed else "unchanged"
        out.print(f"  environment  {said}")
    if one.note:
        out.print(f"  [yellow]![/yellow] {escape(one.note)}")
