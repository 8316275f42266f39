"""`flywheel cost`: what language models have taken, by whatever one asks."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session

if TYPE_CHECKING:
    from flywheel.store import CallSum


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(cost)


def cost(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option("--by", help="Sum by role, model, profile, purpose, run, day or status."),
    ] = "role",
    run: Annotated[str | None, typer.Option("--run", help="Only the calls of this run.")] = None,
    as_json: Json = False,
) -> None:
    """Show what calls to language models have cost.

    Every call is a row, failed and spared ones too: table `calls` of `flywheel sql`.
    """
    from flywheel.core.errors import UsageError
    from flywheel.orchestrator import cost as look
    from flywheel.store import GROUPS, Store

    session = Session.of(context)
    if by not in GROUPS:
        raise UsageError(f"--by {by} is nothing to sum by", hint=f"--by {', '.join(GROUPS)}")
    found = look(
        session.workspace,
        Store(session.workspace.store_path),
        by=by,
        run_id=run,
        profiles=session.configuration({}).settings.lm,
    )
    if found.damaged:
        session.warn(
            f"{found.damaged} calls of the journal cannot be read, and are in no sum",
            hint=f"they are kept as they are: table damaged of {session.workspace.journal_path}",
        )
    if as_json:
        session.print_json(
            {
                "total": asdict(found.total) if found.total is not None else None,
                "by": by,
                "groups": [asdict(one) for one in found.groups],
                "saved_usd": {"batches": found.saved_by_batches, "cache": found.saved_by_cache},
                "examples": found.examples,
                "damaged": found.damaged,
                "usd_per_example": found.usd_per_example,
                "tokens_per_example": found.tokens_per_example,
            }
        )
        return
    if found.total is None:
        session.out.print("No language model was asked yet.")
        return
    _print(session, by, [*found.groups, found.total])
    if found.tokens_per_example is not None:
        usd = found.usd_per_example
        price = "price not known" if usd is None else f"${usd:.4f}"
        session.out.print(
            f"{found.examples} examples by models: {price} and"
            f" {found.tokens_per_example:,.0f} tokens each"
        )
    saved = []
    if found.saved_by_batches:
        saved.append(f"${found.saved_by_batches:.4f} by batches")
    if found.saved_by_cache is None:
        saved.append("by the provider's cache an amount whose price is not known")
    elif found.saved_by_cache:
        # Filling it may have cost more than it has given back so far.
        saved.append(f"${found.saved_by_cache:.4f} by the provider's cache")
    if saved:
        session.out.print("saved: " + ", ".join(saved), markup=False)
    if found.total.unsettled:
        session.out.print(
            f"{found.total.unsettled} calls failed or were given up; they may be charged still"
        )


def _print(session: Session, by: str, sums: list[CallSum]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(by, overflow="fold", min_width=max(len(one.key) for one in sums))
    for name in ("sent", "answered", "spared", "failed", "tokens in", "cached", "out", "USD"):
        table.add_column(name, justify="right")
    for one in sums:
        usd = f"{one.usd:.4f}" + (f" + {one.unpriced} unpriced" if one.unpriced else "")
        table.add_row(
            escape(one.key or "–"),
            *(f"{n:,}" for n in (one.calls, one.answered, one.spared, one.failed)),
            *(f"{n:,}" for n in (one.input_tokens, one.cache_read_tokens, one.output_tokens)),
            usd,
        )
    session.out.print(table)
