"""`flywheel audit`: how many wrong fixes the tests behind examples let through."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.options import Json, Where
from flywheel.cli.session import Session, visible

if TYPE_CHECKING:
    from flywheel.orchestrator import Audited
    from flywheel.store import Oracle

SHOWN = 5
"""Definitions named of each kind worth naming; `--json` has them all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(audit)


def audit(
    context: typer.Context,
    where: Where = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Only this many, drawn at random.")
    ] = None,
    mutants: Annotated[
        int | None, typer.Option("--mutants", help="Mutants tried of each definition; else 20.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the sample and of the mutants.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Wrong fixes judged at once.")] = None,
    as_json: Json = False,
) -> int:
    """Measure how good the tests behind examples are.

    Tries wrong fixes on them: empty bodies, early returns, mutants, what models wrote. The share
    that the tests reject is each row's `oracle_strength`; a row whose tests let too many through is
    `weak`. Run it again to go on where it stopped; what was judged is not judged again.
    """
    import random

    from rich.markup import escape

    from flywheel.cli.display import display
    from flywheel.core.errors import UsageError
    from flywheel.core.events import EventBus
    from flywheel.orchestrator import audit as run
    from flywheel.store import Store, replayable

    session = Session.of(context)
    settings = session.configuration(
        {"harvest.jobs": jobs, "harvest.seed": seed, "audit.mutants": mutants}
    ).settings
    store = Store(session.workspace.store_path)
    rows = list(replayable(store, where=where))
    if sample is not None:
        rows = random.Random(settings.harvest.seed).sample(rows, min(sample, len(rows)))
    if not rows:
        raise UsageError(
            "no example fits the condition" if where else "the store holds no example",
            hint="flywheel examples lists them" if where else "flywheel harvest --repo PATH",
        )
    bus = EventBus()
    with display(session) as shown:
        bus.subscribe(shown.event)
        found = run(rows, settings, session.workspace, store, bus, on_progress=shown.audited)
    summary = _summary(found, len(rows))
    if as_json:
        session.print_json(summary)
    else:
        _print_summary(session, summary)
        for one in found.failed:
            session.out.print(f"[red]✗[/red] {one.example_id}  {escape(visible(one.reason))}")
        if summary["weak"]:
            session.next_step("examples", "--where", "weak")
    return 1 if found.failed else 0


def _summary(found: Audited, rows: int) -> dict[str, Any]:
    oracles = sorted(found.oracles, key=lambda one: (one.path, one.symbol))
    strengths = sorted(one.strength for one in found.scores if one.strength is not None)
    by_kind: dict[str, Counter[str]] = {}
    for oracle in found.oracles:
        for kind, counts in oracle.by_kind.items():
            by_kind.setdefault(kind, Counter()).update(counts)
    return {
        "rows": rows,
        "audited": len(found.scores),
        "weak": sum(one.weak is True for one in found.scores),
        "untested": sum(one.strength is None for one in found.scores),
        "failed": [{"example_id": one.example_id, "reason": one.reason} for one in found.failed],
        "strength": _quantiles(strengths),
        "histogram": _histogram(strengths),
        "tried": sum(oracle.tried for oracle in found.oracles),
        "by_kind": {kind: dict(counts) for kind, counts in sorted(by_kind.items())},
        "judged": found.judged,
        "known": found.known,
        "seconds": round(found.seconds, 2),
        "definitions": [_definition(one) for one in oracles],
    }


def _definition(oracle: Oracle) -> dict[str, Any]:
    from flywheel.store import wilson

    interval = wilson(len(oracle.rejected), oracle.tried)
    return {
        "path": oracle.path,
        "symbol": oracle.symbol,
        "candidate_id": oracle.candidate_id,
        "strength": oracle.strength,
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "tried": oracle.tried,
        "rejected": len(oracle.rejected),
        "by_kind": {kind: dict(counts) for kind, counts in oracle.by_kind.items()},
        "let_through": list(oracle.let_through),
        "seconds": round(oracle.seconds, 3),
    }


def _quantiles(values: list[float]) -> dict[str, float] | None:
    """Least, quarters and most of sorted values, None where there is none."""
    if not values:
        return None
    names = ("least", "quarter", "half", "three_quarters", "most")
    return {
        name: round(values[round(part * (len(values) - 1) / 4)], 4)
        for part, name in enumerate(names)
    }


def _histogram(values: list[float]) -> list[int]:
    """How many values there are in each tenth from 0 to 1; 1 itself is in the last."""
    counts = [0] * 10
    for value in values:
        counts[min(9, int(value * 10))] += 1
    return counts


def _print_summary(session: Session, summary: dict[str, Any]) -> None:
    out = session.out
    definitions = summary["definitions"]
    out.print(
        f"[bold]{summary['weak']} of {summary['audited']} examples are weak[/bold],"
        f" {summary['untested']} cannot be told for too few wrong fixes"
    )
    out.print(
        f"  tried        {summary['tried']} wrong fixes of {len(definitions)} definitions;"
        f" {summary['judged']} judged now, {summary['known']} known from before"
    )
    for kind, counts in summary["by_kind"].items():
        more = "".join(
            f", {counts[side]} {side}" for side in ("passed", "unknown") if counts.get(side)
        )
        tried = counts.get("rejected", 0) + counts.get("through", 0)
        out.print(f"  {kind:<12} {counts.get('through', 0)} of {tried} let through{more}")
    if strength := summary["strength"]:
        out.print(
            "  strength     "
            + ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in strength.items())
        )
    out.print(f"  time         {summary['seconds']:.0f} s")
    scored = [one for one in definitions if one["strength"] is not None]
    weakest = sorted(scored, key=lambda one: (one["strength"], -one["tried"]))[:SHOWN]
    slowest = sorted(definitions, key=lambda one: -one["seconds"])[:SHOWN]
    _print_definitions(session, "weakest", [one for one in weakest if one["strength"] < 1])
    _print_definitions(session, "slowest", slowest)


def _print_definitions(session: Session, title: str, found: list[dict[str, Any]]) -> None:
    for one in found:
        strength = "   –" if one["strength"] is None else f"{one['strength']:.2f}"
        session.out.print(
            f"  {title}      {strength} of {one['tried']:>2}  {one['seconds']:6.1f} s"
            f"  {visible(one['path'])}  {visible(one['symbol'])}",
            markup=False,
        )
