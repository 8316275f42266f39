"""`flywheel history`: what of a repository's past could become candidates."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session, visible

SHOWN = 20
"""Candidates that are listed without `--json`."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(history)


def history(
    context: typer.Context,
    repo: Annotated[
        str, typer.Option("--repo", help="A path, a git URL, or pypi:NAME with --history.")
    ],
    releases: Annotated[
        int | None,
        typer.Option("--history", help="With pypi:NAME, its last N releases as its history."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Stop after so many candidates; 0: all.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Show which bug fixes of the past can be undone today.

    Runs no test and builds nothing: it tells how many commits read like bug fixes, how many of
    those can be undone today, and why the others were passed over.
    """
    from rich.markup import escape
    from rich.table import Table

    from flywheel.core.events import EventBus, PhaseProgressed, Warned
    from flywheel.orchestrator import look_through

    session = Session.of(context)
    settings = session.configuration({"harvest.history": releases}).settings
    bus = EventBus()
    status = session.err.status("looking through the history")
    with contextlib.ExitStack() as showing:
        if not session.quiet:
            showing.enter_context(status)

        def told(event: object) -> None:
            match event:
                case Warned(message=message, hint=hint):
                    session.warn(message, hint)
                case PhaseProgressed(detail=detail):
                    status.update(escape(visible(detail)))
                case _:
                    pass

        bus.subscribe(told)
        found = look_through(
            repo,
            settings,
            session.workspace,
            bus,
            limit=limit,
            on_commits=lambda commits, fixes: status.update(f"{commits} commits, {fixes} fixes"),
        )
    if as_json:
        session.print_json(
            {
                "repo": found.repo,
                "commit": found.commit,
                "shallow": found.shallow,
                **found.funnel,
                "fixes": [
                    {
                        "commit": one.origin.commit,
                        "committed_at": one.origin.committed_at.isoformat(),
                        "statement": one.origin.statement,
                        "signals": one.origin.signals,
                        "path": one.path,
                        "symbol": one.symbol,
                        "operator": one.operator,
                        "patch": one.patch,
                    }
                    for one in found.candidates
                    if one.origin is not None
                ],
            }
        )
        return
    out, funnel = session.out, found.funnel
    out.print(f"{funnel['commits']} commits of {escape(found.repo)}")
    out.print(f"  {funnel['fix_like']} read like bug fixes")
    out.print(f"  {funnel['applied']} of those can be undone in the newest code")
    out.print(f"  {funnel['candidates']} candidates come of them")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("passed over")
    table.add_column("commits", justify="right")
    for reason, count in funnel["passed_over"].items():
        table.add_row(reason, str(count))
    out.print(table)
    for one in found.candidates[:SHOWN]:
        assert one.origin is not None
        said = one.origin.statement.partition("\n")[0]
        row = (one.origin.commit[:10], f"{one.path}:{one.line}", one.symbol, said)
        out.print(escape(visible("  ".join(row))), soft_wrap=True)
    if more := len(found.candidates[SHOWN:]):
        out.print(f"… and {more} more; --json has them all")
    step = ["harvest", "--repo", repo]
    if releases is not None:
        step += ["--history", str(releases)]
    session.next_step(*step, *(["--source", "reverted"] if found.candidates else []))
