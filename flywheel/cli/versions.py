"""`flywheel versions`, and `flywheel version`: what there is of programs, seen and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session, visible

if TYPE_CHECKING:
    from flywheel.registry import (
        PredictorDifference,
        Registry,
        Traffic,
        Version,
        VersionDifference,
        VersionScore,
    )
    from flywheel.store import Gate

SHOWN = 3
"""Demonstrations shown of each predictor; `--json` has them all."""
LINES = 8
"""Lines shown of one value of a demonstration."""

Named = Annotated[
    str,
    typer.Argument(
        metavar="MODULE@HASH",
        help="A version, or its hash; MODULE@base is its code as it is, MODULE what is live.",
    ),
]

version_app = typer.Typer(help="Look into a version of a program, and compare two.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(versions)
    version_app.command()(show)
    version_app.command()(diff)
    version_app.command()(export)
    app.add_typer(version_app, name="version")


def versions(
    context: typer.Context,
    module: Annotated[
        str | None, typer.Option("--module", metavar="MODULE", help="Only this module's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the versions of programs, the newest first."""
    session = Session.of(context)
    registry = registry_of(session)
    damaged: list[str] = []
    found = registry.list(module, on_damaged=lambda error: damaged.append(error.message))
    if module is not None:
        registry.known(module)
    names = sorted({one.manifest.module.name for one in found})
    shared = {name: _traffic(registry, name) for name in names}
    for message in damaged:
        session.warn(message, "flywheel version show says why")
    if as_json:
        session.print_json([_summary(one, shared[one.manifest.module.name]) for one in found])
        return
    if not found and damaged:
        session.out.print("No version can be read.")
        return
    if not found:
        session.out.print("There are no versions yet.")
        session.next_step("optimize", "--module", module or "repair")
        return
    for name in names:
        mine = [one for one in found if one.manifest.module.name == name]
        _print_list(session, registry, mine, shared[name])
    session.next_step("version", "show", found[0].id)


def show(context: typer.Context, version: Named, as_json: Json = False) -> None:
    """Show what made a version, what it scored, what it tells the model."""
    from flywheel.core.errors import FlywheelError
    from flywheel.registry import demo_of, parse, verdict
    from flywheel.store import gates

    session = Session.of(context)
    registry = registry_of(session)
    found = registry.find(version)
    compared = gates(registry.store, challenger=found.id)
    state = parse(found.written)
    if as_json:
        session.print_json(
            _summary(found, _traffic(registry, found.manifest.module.name))
            | {
                **found.manifest.model_dump(mode="json"),
                "folder": str(found.folder) if found.folder else None,
                "compared": [asdict(one) for one in compared],
                "state": {
                    name: {
                        "instructions": one.signature.instructions,
                        "demos": [demo_of(demo) for demo in one.demos],
                    }
                    for name, one in state.items()
                },
            }
        )
        return
    live = _traffic(registry, found.manifest.module.name).shares.get(found.id, 0.0)
    _print_head(session, found, live)
    _print_gates(session, compared)
    _print_state(session, found)
    module = found.manifest.module.name
    if live:
        session.next_step("traffic", module)
        return
    try:
        shown = verdict(registry, found)
    except FlywheelError:  # its program is not there any more: nothing can be run
        return
    if shown.allows:
        session.next_step("deploy", found.id)
    elif shown.current:
        session.next_step("version", "diff", shown.champion, found.id)
    else:
        one, other = (key.rpartition("@")[2] for key in (shown.champion, found.id))
        dataset = ("--dataset", found.manifest.dataset) if found.manifest.dataset else ()
        session.next_step("evaluate", "--module", module, "--versions", f"{one},{other}", *dataset)


def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A version: MODULE@HASH.")],
    second: Annotated[
        str, typer.Argument(metavar="B", help="Another of its module; its hash alone will do.")
    ],
    as_json: Json = False,
) -> None:
    """Compare what two versions tell the model."""
    from flywheel.registry import difference

    session = Session.of(context)
    registry = registry_of(session)
    found = difference(*registry.pair(first, second))
    if as_json:
        session.print_json(asdict(found))
        return
    _print_difference(session, found)


def export(
    context: typer.Context,
    version: Named,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A file *.gguf, or a folder for safetensors.")
    ],
    as_json: Json = False,
) -> None:
    """Write the model of a version, for other servers.

    What was trained is worked into it. A file *.gguf is for llama.cpp and its kin, a folder of
    safetensors for transformers, vLLM and others. The server of this machine needs neither: it
    serves the base and its adapters.
    """
    from flywheel.orchestrator.merge import merged

    session = Session.of(context)
    found = registry_of(session).find(version)
    made = merged(found, out, session.configuration().settings, session.workspace)
    files = [made] if made.is_file() else [one for one in made.rglob("*") if one.is_file()]
    size = sum(one.stat().st_size for one in files)
    if as_json:
        session.print_json({"version": found.id, "path": str(made), "bytes": size})
    else:
        session.out.print(f"{made}  {size / 2**20:,.0f} MiB", markup=False)


def registry_of(session: Session) -> Registry:
    """The registry of the session's workspace."""
    from flywheel.registry import Registry
    from flywheel.store import Store

    return Registry(session.workspace, Store(session.workspace.store_path))


def _traffic(registry: Registry, module: str) -> Traffic:
    from flywheel.registry import traffic_of

    return traffic_of(registry, module)


def _summary(version: Version, shared: Traffic) -> dict[str, Any]:
    said = version.manifest
    return {
        "version": version.id,
        "module": said.module.name,
        "deployed": shared.champion == version.id,
        "percent": shared.shares.get(version.id, 0.0),
        "parent": said.parent or None,
        "optimizer": said.optimizer.name if said.optimizer else None,
        "partial": said.partial,
        "scores": [one.model_dump(mode="json") for one in said.scores],
        "usd": said.cost.usd,
        "seconds": said.cost.seconds,
        "created_at": said.created_at.isoformat(),
    }


def _print_list(
    session: Session, registry: Registry, found: Sequence[Version], shared: Traffic
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from flywheel.curate import HOLDOUT
    from flywheel.registry import BASE
    from flywheel.store import gates

    # Two lines a version: 80 characters hold them.
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "version", "score", "on the hold-out", "when"):
        table.add_column(name)
    for one in found:
        said = one.manifest
        compared = [g for g in gates(registry.store, challenger=one.id) if g.split == HOLDOUT]
        made = (said.optimizer.name if said.optimizer else "hand") + (
            " [yellow](partial)[/yellow]" if said.partial else ""
        )
        table.add_row(
            _mark(shared, one.id),
            f"[bold]{escape(brief(one.id))}[/bold]\n{made}",
            escape(_brief_score(said.scores[-1])) if said.scores else "–",
            _brief_gain(compared) if compared else "not compared",
            f"{said.created_at:%Y-%m-%d\n%H:%M}",
        )
    base = f"{shared.module}@{BASE}"
    table.add_row(_mark(shared, base), f"[bold]{base}[/bold]\nits code")
    session.out.print(table)


def _mark(shared: Traffic, version_id: str) -> str:
    percent = shared.shares.get(version_id, 0.0)
    if len(shared.shares) > 1 and percent:
        return f"[green]● {percent:g} %[/green]"
    return "[green]●[/green]" if percent else ""


def _print_head(session: Session, version: Version, live: float) -> None:
    from rich.markup import escape
    from rich.table import Table

    said = version.manifest
    state = f"  [green]● {live:g} % of the traffic[/green]" if live else ""
    partial = "  [yellow]partial: its run was stopped[/yellow]" if said.partial else ""
    session.out.print(f"[bold]{escape(version.id)}[/bold]{state}{partial}")
    rows: list[tuple[str, str]] = []
    if said.optimizer is not None:
        made = [said.optimizer.name, f"seed {said.optimizer.seed}", f"{said.trials} trials"]
        made += [f"from {said.parent}"] if said.parent else []
        # What was not asked for tells nothing; how many answers are under way changes none.
        made += [
            f"{key} {value}"
            for key, value in said.optimizer.options.items()
            if value and key not in ("seed", "threads", "trials", "forced")
        ]
        rows.append(("made by", ", ".join(made)))
        if said.optimizer.options.get("forced"):
            rows.append(("judge", "it may drive nothing, and was gone by all the same"))
        rows.append(("when", f"{said.created_at:%Y-%m-%d %H:%M} UTC, {said.cost.seconds:,.0f} s"))
        rows.append(("cost", f"{price(said.cost.usd)}, {said.cost.tokens:,} tokens"))
    if said.dataset:
        seen = (
            f"{len(said.trained_on):,} examples learned from, {len(said.validated_on):,} chosen by"
        )
        rows.append(("dataset", f"{said.dataset}: {seen}"))
    if said.lm is not None:
        rows.append(("model", f"{said.lm.model} (profile {said.lm.profile})"))
    if said.adapter is not None:
        rows.append(("adapter", f"{said.adapter.hash} of {said.adapter.base}"))
    if said.tuned is not None:
        rows.append(("tuned", f"{said.tuned.model} of {said.tuned.base}, by {said.tuned.job}"))
    env = said.environment
    rows.append(("with", f"flywheel {env.flywheel}, DSPy {env.dspy}, Python {env.python}"))
    rows += [("score", _score(one)) for one in said.scores]
    table = Table.grid(padding=(0, 2))
    for name, told in rows:
        table.add_row(f"[dim]{name}[/dim]", escape(visible(told)))
    session.out.print(table)


def _print_gates(session: Session, compared: Sequence[Gate]) -> None:
    from rich.markup import escape

    for one in compared:
        session.out.print(
            f"{'[green]✓[/green]' if one.better else '[yellow]–[/yellow]'}"
            f" {escape(one.metric.partition('@')[0])} {_gain(one)} on"
            f" {escape(brief(one.champion))}, p = {one.p_value:.2g},"
            f" {one.n:,} rows of {escape(one.dataset)} {one.split},"
            f" {one.regressions:,} worse and {one.gains:,} better"
        )


def _print_state(session: Session, version: Version) -> None:
    from rich.text import Text

    from flywheel.registry import demo_of, parse, shown

    state = parse(version.written)
    for predictor in version.manifest.predictors:
        said = state[predictor.name]
        session.out.print(Text(f"\n{predictor.name}", style="bold"))
        session.out.print(Text(visible(said.signature.instructions)))
        for name, told in shown(said, predictor).items():
            way = "in " if name in predictor.inputs else "out"
            session.out.print(Text.assemble((f"  {way} {name}  ", "dim"), visible(told)))
        for number, demo in enumerate(said.demos[:SHOWN], start=1):
            session.out.print(Text(f"  demonstration {number} of {len(said.demos)}", style="dim"))
            _print_demo(session, demo_of(demo), "    ")
        if len(said.demos) > SHOWN:
            session.out.print(f"  [dim]… {len(said.demos) - SHOWN} more: --json[/dim]")


def _print_demo(session: Session, demo: dict[str, str], before: str, style: str = "") -> None:
    from rich.text import Text

    for name, value in demo.items():
        lines = visible(value).splitlines() or [""]
        more = [f"… {len(lines) - LINES} more lines"] if len(lines) > LINES else []
        told = lines[:LINES] + more
        if len(told) == 1:
            session.out.print(Text(f"{before}{name}: {told[0]}", style=style))
        else:
            session.out.print(Text(f"{before}{name}:", style=style))
            for line in told:
                session.out.print(Text(f"{before}  {line}", style=style))


def _print_difference(session: Session, found: VersionDifference) -> None:
    from rich.markup import escape

    session.out.print(f"{escape(found.first)} -> {escape(found.second)}")
    if found.same:
        session.out.print("They tell the model the same.")
    for one in found.predictors:
        _print_predictor(session, one)
    if found.model is not None:
        session.out.print(escape(f"model: {found.model[0]} -> {found.model[1]}"))
    if found.adapter is not None:
        before, after = (one or "none" for one in found.adapter)
        session.out.print(escape(f"trained: {visible(before)} -> {visible(after)}"))
    if found.code:
        session.out.print("the module's code differs")
    session.next_step("version", "show", found.second)


def _print_predictor(session: Session, one: PredictorDifference) -> None:
    from rich.text import Text

    from flywheel.registry import demo_of

    alone = f"  only in {one.only_in}" if one.only_in else ""
    session.out.print(Text.assemble((f"\n{one.name}", "bold"), (alone, "yellow")))
    styles = {"+": "green", "-": "red", "@": "dim"}
    for line in one.instructions:
        session.out.print(Text(visible(line), style=styles.get(line[:1], "")))
    for field in one.fields:
        session.out.print(Text(f"field {field.name}", style="dim"))
        for sign, told in (("-", field.before), ("+", field.after)):
            if told is not None:
                session.out.print(Text(f"{sign}{visible(told)}", style=styles[sign]))
    total = len(one.demos_added) + one.demos_same
    if one.demos_added or one.demos_removed:
        counts = f"{len(one.demos_added)} new, {len(one.demos_removed)} gone, {one.demos_same} kept"
        session.out.print(Text(f"demonstrations: {total}; {counts}", style="dim"))
    for sign, demos in (("-", one.demos_removed), ("+", one.demos_added)):
        for demo in demos[:SHOWN]:
            _print_demo(session, demo_of(demo), f"{sign} ", styles[sign])
            session.out.print()
        if len(demos) > SHOWN:
            session.out.print(f"[dim]{sign} … {len(demos) - SHOWN} more: --json[/dim]")


def _score(score: VersionScore) -> str:
    if score.value is None:
        return f"{score.split} {score.metric.partition('@')[0]} not known"
    spread = "" if score.low is None else f" ({score.low:.1%} to {score.high:.1%})"
    name = score.metric.partition("@")[0]
    return f"{score.split} {name} {score.value:.1%}{spread}, n {score.n:,}"


def _brief_score(score: VersionScore) -> str:
    """A score with its sample, and its interval below."""
    name = score.metric.partition("@")[0]
    if score.value is None:
        return f"{name} not known"
    spread = "" if score.low is None else f"\n{score.low:.3f} to {score.high:.3f}"
    return f"{name} {score.value:.3f}, n {score.n:,}{spread}"


def _brief_gain(compared: Sequence[Gate]) -> str:
    """The comparison that counts beside the newest's champion: the one of the most rows."""
    mine = [one for one in compared if one.champion == compared[0].champion]
    gate = max(mine, key=lambda one: one.n + one.unknown)
    style = "green" if gate.better else "default"
    beside = brief(gate.champion).rpartition("@")[2]
    return (
        f"[{style}]{100 * gate.difference:+.1f} on {beside}\n"
        f"{100 * gate.low:+.1f} to {100 * gate.high:+.1f}[/{style}]"
    )


def _gain(gate: Gate) -> str:
    style = "green" if gate.better else ""
    told = f"{100 * gate.difference:+.1f} ({100 * gate.low:+.1f} to {100 * gate.high:+.1f})"
    return f"[{style}]{told}[/{style}]" if style else told


def price(usd: float | None) -> str:
    """US dollars, as far as they are known."""
    return "–" if usd is None else f"${usd:,.4f}" if usd else "$0"


def brief(version_id: str) -> str:
    """A version with as much of its hash as a person tells apart, and commands take."""
    module, at, digits = version_id.rpartition("@")
    return f"{module}{at}{digits[:8]}"
