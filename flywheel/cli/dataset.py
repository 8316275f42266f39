"""`flywheel dataset`: recipes become versions; what is in a version, and that nothing leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli import dataset_card, dataset_export
from flywheel.cli.options import Json
from flywheel.cli.session import Session, visible

if TYPE_CHECKING:
    from flywheel.curate import Stage, Version
    from flywheel.curate.version import StageCounts

SHOWN = 8
"""Values and rows that are named of each kind; `--json` has them all."""

Named = Annotated[
    str, typer.Argument(metavar="NAME@HASH", help="A version; of NAME alone, the newest.")
]

dataset_app = typer.Typer(help="Make datasets of proven examples, and look into them.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (build, list_, show, diff, audit):
        dataset_app.command(command.__name__.rstrip("_"))(command)
    for module in (dataset_export, dataset_card):
        module.register(dataset_app)
    app.add_typer(dataset_app, name="dataset")


def build(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A recipe: flywheel dataset list names them.")],
    as_json: Json = False,
) -> None:
    """Choose rows, split them, and put them into words: a version.

    The same store and recipe give the same version. A build that was stopped goes on; what was
    found out about a row is kept for the next.
    """
    from flywheel.cli.display import display
    from flywheel.core.events import EventBus
    from flywheel.orchestrator import build_dataset
    from flywheel.store import Store

    session = Session.of(context)
    settings = session.configuration({}).settings
    bus = EventBus()
    with display(session) as shown:
        bus.subscribe(shown.event)
        store = Store(session.workspace.store_path)
        made = build_dataset(name, settings, session.workspace, store, bus)
    if as_json:
        session.print_json(
            _told(made.version)
            | {"new": made.new, "holdout_made": made.holdout_made, "seconds": made.seconds}
        )
        return
    said = "new" if made.new else "it was there already"
    session.out.print(f"[bold]{made.version.id}[/bold]  {said}, {made.seconds:.1f} s")
    _print_funnel(session, made.funnel.stages)
    _print_splits(session, made.version)
    if made.holdout_made and made.version.manifest.holdout is not None:
        session.say(
            f"The hold-out {made.version.manifest.holdout.name!r} was made now; every later build"
            " in this workspace leaves it alone."
        )
    session.next_step("dataset", "audit", made.version.id)


def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the recipes there are, and the versions that were built."""
    from rich.markup import escape

    from flywheel.curate import versions
    from flywheel.orchestrator import recipes

    session = Session.of(context)
    settings = session.configuration({}).settings
    known = recipes(settings, session.workspace)
    built = versions(session.workspace.datasets)
    if as_json:
        session.print_json(
            {
                "recipes": [
                    {
                        "name": one.name,
                        "origin": one.origin,
                        "task": one.recipe.rules.task if one.recipe else None,
                        "title": one.recipe.rules.title if one.recipe else None,
                        "problem": one.problem,
                    }
                    for one in known
                ],
                "versions": [
                    {
                        "version": one.id,
                        "folder": str(one.folder),
                        "rows": {name: s.rows for name, s in one.manifest.splits.items()},
                    }
                    for one in built
                ],
            }
        )
        return
    for one in known:
        said = one.recipe.rules.description if one.recipe else f"cannot be read: {one.problem}"
        session.out.print(
            f"[bold]{escape(one.name)}[/bold] [dim]({one.origin})[/dim]  {escape(visible(said))}"
        )
        for version in built:
            if version.manifest.name == one.name:
                counts = ", ".join(
                    f"{split} {said.rows:,}" for split, said in version.manifest.splits.items()
                )
                session.out.print(f"  {version.id}  {counts}")
    if not built:
        session.next_step("dataset", "build", known[0].name)


def show(
    context: typer.Context,
    version: Named,
    row: Annotated[
        str | None, typer.Option("--row", metavar="ID", help="Show one row as it is trained on.")
    ] = None,
    why: Annotated[
        str | None,
        typer.Option("--why", metavar="ID", help="Say where an example is, or why it is not."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a version holds: its funnel, its splits, its rows."""
    from flywheel.curate import find_version

    session = Session.of(context)
    found = find_version(session.workspace.datasets, version)
    if row is not None:
        _show_row(session, found, row, as_json)
    elif why is not None:
        _show_why(session, found, why, as_json)
    elif as_json:
        session.print_json(_told(found))
    else:
        _show_version(session, found)


def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A version.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    as_json: Json = False,
) -> None:
    """Compare two versions: rows that came, went or moved, and rules."""
    from dataclasses import asdict

    from rich.markup import escape

    from flywheel.curate import difference, find_version

    session = Session.of(context)
    root = session.workspace.datasets
    one, other = find_version(root, first), find_version(root, second)
    found = difference(one, other)
    if as_json:
        session.print_json({"first": one.id, "second": other.id} | asdict(found))
        return
    session.out.print(f"{one.id} -> {other.id}")
    counts: list[tuple[str, tuple[str, ...]]] = [
        ("added", found.added),
        ("removed", found.removed),
        *((f"moved, {way}", rows) for way, rows in found.moved.items()),
        ("changed", found.changed),
    ]
    for what, rows in counts:
        if rows:
            more = f" … and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
            session.out.print(f"{len(rows):,} {what}: {' '.join(rows[:SHOWN])}{more}")
    session.out.print(f"{found.same:,} the same")
    for key, (before, after) in found.rules.items():
        session.out.print(f"recipe: {key} {escape(repr(before))} -> {escape(repr(after))}")
    if found.texts:
        session.out.print("recipe: the words of the question or the answer")
    if found.code:
        session.out.print("made by different code")


def audit(context: typer.Context, version: Named, as_json: Json = False) -> None:
    """Prove that nothing of one split is in another.

    Exits with 3 where something is. It reads the finished files and knows nothing of how they were
    split; near duplicates are found exactly.
    """
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from flywheel.core.errors import LeakError
    from flywheel.curate import audit as run
    from flywheel.curate import find_version

    session = Session.of(context)
    root = session.workspace.datasets
    found = run(find_version(root, version), root)
    if as_json:
        session.print_json(asdict(found) | {"leaks": found.leaks})
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("question")
        table.add_column("looked at", justify="right")
        table.add_column("leaks", justify="right")
        for check in found.checks:
            style = "red" if check.found else "green"
            looked = f"{check.looked:,} {check.unit}"
            table.add_row(check.name, looked, f"[{style}]{check.found:,}[/{style}]")
        session.out.print(table)
        for check in found.checks:
            for leak in check.leaks[:SHOWN]:
                told = f"{check.name}: {leak.split} {leak.row} and {leak.other_split} {leak.other}"
                session.out.print(escape(visible(f"{told}: {leak.detail}")))
    if found.leaks:
        raise LeakError(
            f"{found.version} leaks: {found.leaks:,} found.",
            hint="train nothing on it; build it again, and tell us where it was built so",
        )
    if not as_json:
        session.next_step("dataset", "export", found.version, "--to", "trl-sft", "--out", "FOLDER")


def _told(version: Version) -> dict[str, Any]:
    said = version.manifest.model_dump(mode="json")
    return {"version": version.id, "folder": str(version.folder)} | said


def _show_version(session: Session, version: Version) -> None:
    from rich.markup import escape

    said = version.manifest
    session.out.print(f"[bold]{version.id}[/bold]  {escape(visible(said.rules.title))}")
    session.out.print(escape(visible(said.rules.description)))
    session.out.print(f"[dim]{escape(str(version.folder))}[/dim]")
    _print_funnel(session, said.funnel)
    _print_splits(session, version)
    for name, counts in said.statistics.items():
        if counts:
            shown = ", ".join(f"{value} {n:,}" for value, n in list(counts.items())[:SHOWN])
            more = f", … {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
            session.out.print(f"[bold]{name}[/bold]  {escape(visible(shown + more))}")
    for name, cuts in said.quantiles.items():
        if cuts:
            shown = ", ".join(f"{cut} {value:,.0f}" for cut, value in cuts.items())
            session.out.print(f"[bold]{name.replace('_', ' ')}[/bold]  {shown}")


def _show_row(session: Session, version: Version, row: str, as_json: bool) -> None:
    from rich.text import Text

    from flywheel.curate import find_row

    split, found = find_row(version, row)
    if as_json:
        session.print_json({"split": split} | found)
        return
    session.out.print(f"[bold]{found['row_id']}[/bold]  {split}")
    talk = [
        *found["prompt"],
        *found["completion"],
        *({"role": "rejected", "content": one["content"]} for one in found["rejected"] or ()),
    ]
    for turn in talk:
        session.out.print(Text(f"\n{turn['role']}", style="bold"))
        session.out.print(Text(visible(turn["content"])))


def _show_why(session: Session, version: Version, example: str, as_json: bool) -> None:
    from flywheel.curate import whereabouts

    found = whereabouts(version, example)
    if as_json:
        session.print_json(found)
        return
    for one in found:
        if one["split"] is not None:
            session.out.print(f"{one['example_id']}  is in {one['split']}")
        else:
            session.out.print(f"{one['example_id']}  dropped at {one['stage']}: {one['reason']}")


def _print_funnel(session: Session, stages: list[Stage] | tuple[StageCounts, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("came", "kept"):
        table.add_column(name, justify="right")
    table.add_column("dropped, by reason")
    for one in stages:
        kept = one.rows - sum(one.dropped.values())
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in one.dropped.items())
        table.add_row(one.name, f"{one.rows:,}", f"{kept:,}", reasons)
    session.out.print(table)


def _print_splits(session: Session, version: Version) -> None:
    said = version.manifest
    counts = ", ".join(f"{name} {one.rows:,}" for name, one in said.splits.items())
    held = f"; hold-out {said.holdout.name}@{said.holdout.hash}" if said.holdout else ""
    session.out.print(f"[bold]splits[/bold]  {counts}{held}")
