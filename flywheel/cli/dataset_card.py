"""`flywheel dataset card`: the card of a version, to be read or to be published."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(card)


def card(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="NAME@HASH", help="A version; NAME alone is the newest of it.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write it here, with its pictures."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a version is, how it was proven, and its limits.

    Prints Markdown, or writes README.md and pictures/ into a folder.
    """
    from rich.markup import escape

    from flywheel.curate import card as of
    from flywheel.curate import find_version

    session = Session.of(context)
    found = find_version(session.workspace.datasets, version)
    made = of(found)
    written = () if out is None else made.write(out)
    if as_json:
        session.print_json(
            {
                "version": found.id,
                "text": made.text,
                "pictures": {path: svg.decode() for path, svg in made.pictures.items()},
                "written": [str(path) for path in written],
            }
        )
    elif out is None:
        sys.stdout.write(made.text)
    else:
        session.say(f"Wrote {escape(str(written[-1]))} and {len(written) - 1} pictures.")
