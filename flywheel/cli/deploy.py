"""`flywheel deploy`, `rollback` and `traffic`: which version of a program answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session
from flywheel.cli.versions import Named, brief, price, registry_of

if TYPE_CHECKING:
    from flywheel.registry import Arm, Traffic

Module = Annotated[str, typer.Argument(metavar="MODULE", help="A module, such as repair.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (deploy, rollback, traffic):
        app.command(no_args_is_help=True)(command)


def deploy(
    context: typer.Context,
    version: Named,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Deploy what was not shown to be better than what is deployed."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a version answer, where it was shown to be better.

    What counts is the comparison of the two on a hold-out that has the most rows: flywheel evaluate
    makes one. Of several, each must show more.
    """
    from rich.markup import escape

    from flywheel.registry import deploy as put

    session = Session.of(context)
    registry = registry_of(session)
    found = registry.find(version)
    done = put(registry, found, force=force)
    if as_json:
        session.print_json({"version": found.id, "deployment": asdict(done) if done else None})
        return
    module = found.manifest.module.name
    if done is None:
        session.out.print(f"{found.id} is deployed already; nothing changed.")
        session.next_step("traffic", module)
        return
    if done.forced:
        session.warn(done.reason)
    if found.manifest.partial:
        session.warn("Its run was stopped before its end: it is the best until then.")
    session.out.print(
        f"[green]●[/green] [bold]{escape(done.version_id)}[/bold] is deployed,"
        f" in place of {escape(done.replaced)}."
    )
    if not done.forced:
        session.out.print(escape(done.reason))
    session.next_step("rollback", module)


def rollback(context: typer.Context, module: Module, as_json: Json = False) -> None:
    """Let the version answer again that did before."""
    from rich.markup import escape

    from flywheel.registry import rollback as take_back
    from flywheel.registry import traffic_of

    session = Session.of(context)
    registry = registry_of(session)
    shared = traffic_of(registry, module).shares
    done = take_back(registry, module)
    if as_json:
        session.print_json(asdict(done))
        return
    session.out.print(
        f"[green]●[/green] [bold]{escape(done.version_id)}[/bold] is deployed again,"
        f" in place of {escape(done.replaced)}."
    )
    if len(shared) > 1:
        told = ", ".join(f"{brief(one)} {percent:g} %" for one, percent in shared.items())
        session.out.print(f"It has all traffic: it was shared until now ({escape(told)}).")
    session.next_step("version", "diff", done.version_id, done.replaced)


def traffic(
    context: typer.Context,
    module: Module,
    shares: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VERSION=PERCENT …",
            help="Shares that sum to 100: base=90 4f2c=10. Without any, the shares that hold.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Share live traffic between versions, and show how each did.

    A key always gets the same version. The test may be looked at any time; a version that is shown
    to be worse than the deployed one gets no more traffic.
    """
    from flywheel.registry import arms, share, shares_of, traffic_of

    session = Session.of(context)
    registry = registry_of(session)
    if shares:
        share(registry, module, shares_of(registry, module, shares))
    else:
        registry.known(module)
    now = traffic_of(registry, module)
    found = arms(registry, now)
    if as_json:
        session.print_json(_told(now, found))
        return
    _print_traffic(session, now, found)


def _told(now: Traffic, found: Sequence[Arm]) -> dict[str, Any]:
    return {
        "module": now.module,
        "champion": now.champion,
        "experiment": now.experiment or None,
        "reason": now.reason or None,
        "versions": [
            {
                "version": one.version_id,
                "percent": one.percent,
                "champion": one.champion,
                "answers": one.count.answers,
                "unknown": one.count.unknown,
                "keys": one.count.keys,
                "good": one.count.successes,
                "rate": one.stream.rate,
                "low": one.low if one.count.keys else None,
                "high": one.high if one.count.keys else None,
                "p_worse": one.evidence.p_worse if one.evidence else None,
                "shown_worse": one.evidence.shown_worse if one.evidence else None,
                "shown_better": one.evidence.shown_better if one.evidence else None,
                "usd": one.count.usd,
                "seconds": one.count.seconds,
            }
            for one in found
        ],
    }


def _print_traffic(session: Session, now: Traffic, found: Sequence[Arm]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if now.rolled_back:
        session.warn(now.reason)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("version")
    for name in ("share", "good", "rate", "unknown", "cost", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        rate = one.stream.rate
        table.add_row(
            f"[bold]{escape(brief(one.version_id))}[/bold]",
            f"{one.percent:g} %",
            f"{one.count.successes:,} of {one.count.keys:,}",
            f"{rate:.1%}" if rate is not None else "–",
            f"{one.count.unknown:,}",
            price(one.count.usd),
            "–" if one.count.seconds is None else f"{one.count.seconds:.1f} s",
        )
    session.out.print(table)
    width = max(len(brief(one.version_id)) for one in found)
    for one in found:
        told = f"{brief(one.version_id):<{width}}  {_finding(one)}"
        session.out.print(told, markup=False)
    ahead = [one for one in found if one.evidence is not None and one.evidence.shown_better]
    if ahead:
        session.next_step("deploy", ahead[0].version_id)
    elif len(found) > 1:
        session.next_step("traffic", now.module)
    elif not registry_of(session).list(now.module):
        session.next_step("optimize", "--module", now.module)
    else:
        champion = now.champion.rpartition("@")[2]
        session.next_step("traffic", now.module, f"{champion}=90", "HASH=10")


def _finding(arm: Arm) -> str:
    if arm.evidence is None:
        return "deployed" + _between(arm)
    if arm.evidence.shown_better:
        return "shown to be better than the deployed" + _between(arm)
    if arm.evidence.shown_worse:
        return "shown to be worse than the deployed" + _between(arm)
    if not arm.count.keys:
        return "no answer of its own yet"
    return f"not decided (p of worse {arm.evidence.p_worse:.2g})" + _between(arm)


def _between(arm: Arm) -> str:
    """The interval of the rate, which holds however often it is looked at."""
    if not arm.count.keys:
        return ""
    return f"; {arm.low:.0%} to {arm.high:.0%} (95 %, at any time)"
