"""`flywheel dataset export` and `push`: a version goes to those who train with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session, visible
from flywheel.core.wording import number

if TYPE_CHECKING:
    from flywheel.cli.display import Display
    from flywheel.curate import Version
    from flywheel.curate.export import Exported, OnProgress
    from flywheel.curate.push import Pushed

Splits = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        metavar="SPLIT",
        help="Only this split; several may be given. Else all but the hold-out: it is `holdout`.",
    ),
]
SHOWN = 12
"""Files of a push that are named; `--json` has them all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(export)
    app.command()(push)


def export(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME@HASH", help="The version; NAME: its newest.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="FORMAT", help="Its form; several may be given."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where; of several formats one folder each."),
    ] = None,
    split: Splits = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the folder if it is there and not empty.")
    ] = False,
    formats: Annotated[
        bool, typer.Option("--formats", help="Only say what formats there are, and what for.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a version for what reads it: a trainer, a hub, a harness.

    The folder is there when all of it is written. The hold-out stays here unless `--split holdout`
    asks for it; it is then called `test`.
    """
    from flywheel.cli.display import display
    from flywheel.core.errors import UsageError
    from flywheel.curate import find_version
    from flywheel.curate.export import export as write
    from flywheel.curate.export import format_named, splits_named

    session = Session.of(context)
    if formats:
        _print_formats(session, as_json)
        return
    if name is None or not to or out is None:
        raise UsageError(
            "What is to be exported, in which form, and where?",
            hint="flywheel dataset export NAME@HASH --to FORMAT --out FOLDER; --formats lists them",
        )
    version = find_version(session.workspace.datasets, name)
    wanted = [format_named(one, version).name for one in dict.fromkeys(to)]
    splits = splits_named(split or (), version)
    done: list[Exported] = []
    with display(session) as shown:
        for one in wanted:
            folder = out if len(wanted) == 1 else out / one
            progress = _progress(shown, one)
            found = write(version, one, folder, splits=splits, force=force, on_progress=progress)
            done.append(found)
    if as_json:
        session.print_json([_summary(version, one) for one in done])
        return
    for one_done in done:
        _print_exported(session, one_done)
    _say_held(session, version, splits)


def push(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME@HASH", help="The version; NAME: its newest.")
    ],
    repo: Annotated[str, typer.Option("--repo", metavar="OWNER/NAME", help="The Hub's dataset.")],
    split: Splits = None,
    public: Annotated[
        bool, typer.Option("--public", help="It may be read by everyone; else it is private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", metavar="URL", help="Another Hub; else HF_ENDPOINT, else hf.co."
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", help="Message of the commit; else the version.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a version to a Hub, as one commit, tagged by its hash.

    Only what changed is sent. The token is the one of `hf auth login` or of HF_TOKEN. The hold-out
    stays here unless `--split holdout` asks for it.
    """
    import tempfile
    from dataclasses import asdict

    from flywheel.cli.display import display
    from flywheel.curate import find_version
    from flywheel.curate.export import export as write
    from flywheel.curate.export import splits_named
    from flywheel.curate.push import push as send

    session = Session.of(context)
    version = find_version(session.workspace.datasets, name)
    splits = splits_named(split or (), version)
    local = [one for one in version.manifest.statistics["repo"] if Path(one).is_absolute()]
    if local:
        told = f"the column `repo` names folders of this machine, such as {local[0]}"
        session.warn(told, "a repository harvested by its address is named by that")
    place = session.workspace.datasets
    with display(session) as shown, tempfile.TemporaryDirectory(prefix=".push.", dir=place) as made:
        progress = _progress(shown, "huggingface")
        folder = Path(made) / "export"
        write(version, "huggingface", folder, splits=splits, on_progress=progress)
        found = send(
            folder,
            repo,
            tag=version.manifest.hash,
            message=message or version.id,
            public=public,
            dry_run=dry_run,
            endpoint=endpoint,
            on_status=shown.status,
        )
    if as_json:
        session.print_json({"version": version.id, "dry_run": dry_run} | asdict(found))
        return
    _print_pushed(session, found, dry_run)
    _say_held(session, version, splits)


def _progress(shown: Display, label: str) -> OnProgress:
    def told(done: int, total: int) -> None:
        shown.status(f"{label}: {done:,} of {total:,} rows", done, total)

    return told


def _print_formats(session: Session, as_json: bool) -> None:
    from flywheel.curate.export import FORMATS

    if as_json:
        session.print_json(
            [
                {"format": one.name, "purpose": one.purpose, "tasks": sorted(one.tasks)}
                for one in FORMATS.values()
            ]
        )
        return
    for one in FORMATS.values():
        session.out.print(f"{one.name:<13} {one.purpose}", markup=False)


def _summary(version: Version, found: Exported) -> dict[str, Any]:
    return {
        "version": version.id,
        "format": found.format,
        "folder": str(found.folder),
        "rows": dict(found.rows),
        "left_out": dict(found.left_out),
        "files": len(found.files),
        "bytes": found.bytes,
        "seconds": round(found.seconds, 3),
    }


def _print_exported(session: Session, found: Exported) -> None:
    rows = ", ".join(f"{name} {n:,}" for name, n in found.rows.items())
    session.out.print(f"{found.format:<13} {visible(str(found.folder))}", markup=False)
    session.out.print(
        f"  {rows} rows; {number(len(found.files), 'file')}, {_size(found.bytes)},"
        f" {found.seconds:.1f} s",
        markup=False,
    )
    if found.left_out:
        left = ", ".join(f"{n:,} {reason}" for reason, n in found.left_out.items())
        session.warn(f"{found.format} cannot hold some rows: {left}")


def _say_held(session: Session, version: Version, splits: tuple[str, ...]) -> None:
    from flywheel.curate import HOLDOUT

    if HOLDOUT in version.splits and HOLDOUT not in splits:
        n = version.manifest.splits[HOLDOUT].rows
        rows = number(n, "row")
        session.say(f"[dim]The hold-out ({rows}) stays here: --split {HOLDOUT} asks for it.[/dim]")


def _print_pushed(session: Session, found: Pushed, dry_run: bool) -> None:
    out = session.out
    who = "private" if found.private else "public"
    made = ", new" if found.created else ""
    out.print(f"{found.address}  ({who}{made})", markup=False)
    verb = "would send" if dry_run else "sent"
    counts = f"{verb} {len(found.sent)} files, {_size(found.bytes)}; {found.unchanged} unchanged"
    out.print(f"  {counts}; {len(found.deleted)} deleted", markup=False)
    named = [*(f"+ {one}" for one in found.sent), *(f"- {one}" for one in found.deleted)]
    for line in named[:SHOWN]:
        out.print(f"    {visible(line)}", markup=False)
    if len(named) > SHOWN:
        out.print(f"    and {len(named) - SHOWN} more", markup=False)
    if found.commit is not None and not dry_run:
        kept = "" if found.tagged else ", which was there before"
        out.print(f"  commit {found.commit[:12]}, tag {found.tag}{kept}", markup=False)


def _size(n: int) -> str:
    """Bytes as people read them."""
    size = float(n)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
