"""`flywheel trends`: figures over time, as they are stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session, visible

if TYPE_CHECKING:
    from flywheel.store import Figure

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24
"""Figures drawn of one trend, the newest."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(trends)


def trends(
    context: typer.Context,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Only this figure, or what begins so.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only subjects that hold this text.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw what runs have measured over time.

    One line a figure and subject: its course, the last value with its sample and its 95 % interval,
    and the change since the one before. Figures of different versions are different lines.
    """
    import difflib

    from flywheel.core.errors import UsageError
    from flywheel.store import Store, figures

    session = Session.of(context)
    every = figures(Store(session.workspace.store_path))
    found = [
        one
        for one in every
        if one.metric.startswith(metric or "") and (subject or "") in one.subject
    ]
    if every and not found:
        names = sorted({one.metric for one in every})
        near = difflib.get_close_matches(metric or "", names, n=1)
        raise UsageError(
            "no figure fits",
            cause=f"there are {', '.join(names)}",
            hint=f"did you mean {near[0]}?" if near else "flywheel trends  shows all",
        )
    if as_json:
        session.print_json([asdict(one) for one in found])
    elif not found:
        session.out.print("Nothing was measured yet.")
        session.next_step("harvest", "--repo", "PATH")
    else:
        _print(session, found)


def _print(session: Session, found: Sequence[Figure]) -> None:
    from rich.markup import escape
    from rich.table import Table

    lines: dict[tuple[str, str, str, str], list[Figure]] = {}
    for one in found:
        lines.setdefault((one.kind, one.metric, one.version, one.subject), []).append(one)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("figure", "of", "course"):
        table.add_column(name, overflow="fold")
    for name in ("last", "n", "95 %", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for (_, metric, version, subject), course in sorted(lines.items()):
        last = course[-1]
        named = metric if not version else f"{metric} {_short(version)}"
        table.add_row(
            escape(visible(named)),
            escape(visible(_brief(subject))),
            sparkline([one.value for one in course[-WIDTH:]]),
            _number(last.value),
            str(last.n),
            "–" if last.low is None else f"{_number(last.low)} to {_number(last.high)}",
            _change(course),
        )
    session.out.print(table)


def sparkline(values: Sequence[float | None]) -> str:
    """The course of some values, from their least to their most; a dot for one not known."""
    known = [value for value in values if value is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    step = (most - least) / (len(BARS) - 1)
    return "".join(
        "·" if value is None else BARS[round((value - least) / step) if step else 3]
        for value in values
    )


def _change(course: Sequence[Figure]) -> str:
    known = [one.value for one in course if one.value is not None]
    if len(known) < 2 or course[-1].value is None:
        return "–"
    return f"{known[-1] - known[-2]:+.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _brief(subject: str) -> str:
    """What was measured, with hashes as short as a person tells them apart."""
    return re.sub(r"@([0-9a-f]{8})[0-9a-f]{8}\b", r"@\1", subject)


def _short(version: str) -> str:
    """A version with the hash as short as a person tells it apart."""
    name, at, rest = version.partition("@")
    digits, by, model = rest.partition(" by ")
    return f"{name}{at}{digits[:6]}{by}{model}"
