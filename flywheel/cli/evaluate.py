"""`flywheel evaluate`: versions of a program on the same rows of a dataset, side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.ending import exit_code
from flywheel.cli.options import (
    AnswersAtOnce,
    GoesBy,
    Json,
    LMJudge,
    MaxTokens,
    MaxUsd,
    Program,
    Student,
    TimeLimit,
)
from flywheel.cli.session import Session, visible
from flywheel.cli.versions import brief
from flywheel.core.ending import EXHAUSTED
from flywheel.core.wording import number

if TYPE_CHECKING:
    from flywheel.core.events import EventBus
    from flywheel.orchestrator import Compared, Evaluated
    from flywheel.programs import Estimate
    from flywheel.registry import Registry, Version

SHOWN = 10
"""Regressions, reasons and failures named; `--json` has them all."""
EVERY_SECONDS = 1.0
"""Time between two looks at the scores, whose intervals take a moment."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(no_args_is_help=True)(evaluate)


def evaluate(
    context: typer.Context,
    module: Program,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME@HASH", help="Dataset; else newest repair-sft."),
    ] = None,
    versions: Annotated[
        str | None,
        typer.Option(
            "--versions",
            metavar="A,B",
            help="Versions, the one to beat first; else base, and what is deployed.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Which rows: holdout, validation or train.")
    ] = "holdout",
    metric: GoesBy = None,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="Only so many rows, drawn by the seed.")
    ] = None,
    student: Student = None,
    judge: LMJudge = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    time_limit: TimeLimit = None,
    jobs: AnswersAtOnce = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the draw and of the intervals.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare versions of a program on the same rows.

    Prints each version's score with its sample and its 95 % interval, what a row costs and how long
    it takes; then each version beside the first, rows that got worse first. Run it again to go on:
    what has a result is not run again. flywheel deploy goes by what is found on the hold-out.
    """
    from flywheel.core.errors import FlywheelError
    from flywheel.core.events import EventBus
    from flywheel.curate import find_version
    from flywheel.orchestrator import draw, evaluated_summary, find_metric, outcome_rows
    from flywheel.orchestrator import evaluate as run
    from flywheel.registry import Registry
    from flywheel.store import Store

    session = Session.of(context)
    settings = session.configuration(
        {
            "optimize.dataset": dataset,
            "evaluate.metric": metric,
            "evaluate.student": student,
            "evaluate.max_usd": max_usd,
            "evaluate.max_tokens": max_tokens,
            "evaluate.time_limit": time_limit,
            "evaluate.seed": seed,
            "metric.judge": judge,
            "harvest.jobs": jobs,
        }
    ).settings
    store = Store(session.workspace.store_path)
    wanted = find_metric(settings.evaluate.metric, settings, session.workspace)
    drawn = draw(
        find_version(session.workspace.datasets, settings.optimize.dataset),
        split,
        rows=rows,
        seed=settings.evaluate.seed,
    )
    registry = Registry(session.workspace, store)
    chosen = _versions(registry, module, versions)
    bus = EventBus()
    seed = settings.evaluate.seed
    # What a program or a metric prints is not what is asked for.
    with (
        watched(session, bus, len(chosen) * len(drawn.rows), seed) as progress,
        redirect_stdout(sys.stderr),
    ):
        done = run(
            chosen, wanted, drawn, settings, session.workspace, store, bus, on_progress=progress
        )
    if as_json:
        session.print_json(evaluated_summary(done, seed) | {"outcomes": outcome_rows(done)})
    else:
        print_evaluated(session, done, seed)
        _next(session, done, registry)
    if code := exit_code(done.ended):
        return code
    known = done.ended != EXHAUSTED or all(one.n for one in done.standings)
    return FlywheelError.exit_code if done.failed or not known else 0


def _versions(registry: Registry, module: str, asked: str | None) -> list[Version]:
    """The versions that are asked for, each once; hashes may stand alone."""
    from flywheel.core.errors import UsageError

    program = registry.program(module)
    if asked is None:
        live = registry.deployed(program.name).version_id
        names = dict.fromkeys(("base", live.rpartition("@")[2]))
    else:
        names = dict.fromkeys(one.strip() for one in asked.split(",") if one.strip())
    if not names:
        raise UsageError("no version is named", hint="--versions base,HASH")
    found = {one.id: one for one in (registry.version_of(program, name) for name in names)}
    return list(found.values())


@contextmanager
def watched(
    session: Session, bus: EventBus, total: int, seed: int
) -> Iterator[Callable[[Evaluated], None]]:
    """What shows how far a run over so many outcomes is, for as long as the block runs."""
    from flywheel.cli.display import display

    with display(session, total=total) as shown:
        bus.subscribe(shown.event)
        live = _Live(seed)

        def progress(done: Evaluated) -> None:
            count = sum(len(one.outcomes) for one in done.standings)
            if (told := live.told(done)) is not None:
                shown.status(told, count, total)

        yield progress


class _Live:
    """What the line of progress says: the score of each version so far."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._at = 0.0

    def told(self, done: Evaluated) -> str | None:
        """The scores, None where it is too soon to say them again."""
        if time.monotonic() - self._at < EVERY_SECONDS:
            return None
        self._at = time.monotonic()
        parts = []
        for one in done.standings:
            mean = one.estimate(self._seed)
            part = f"{one.version.id.rpartition('@')[2][:6]} {_short(mean)}"
            if unknown := one.unknown.total():
                part += f", {unknown} unknown"
            parts.append(part)
        return " · ".join(parts)


def print_evaluated(session: Session, done: Evaluated, seed: int) -> None:
    """The scores, what is not known, and each comparison, rows that got worse first."""
    for compared in done.compared:
        _print_regressions(session, compared)
    _print_scores(session, done, seed)
    _print_unknown(session, done)
    for compared in done.compared:
        _print_verdict(session, compared)
    session.line("spent", f"${done.usd:.4f} and {done.tokens:,} tokens in this run")
    session.line("time", f"{done.seconds:.1f} s")
    if done.ended != EXHAUSTED:
        session.line("ended", f"{done.ended}; run it again to go on")


def _print_scores(session: Session, done: Evaluated, seed: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    title = f"{done.metric.name} on {done.drawn.name}"
    session.out.print(visible(title), markup=False, style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("version", overflow="fold")
    for name in ("score", "n", "95 %", "$ a row", "p50 / p90", "tokens", "new"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in done.standings:
        mean = one.estimate(seed)
        table.add_row(
            escape(visible(brief(one.version.id).rpartition("@")[2])),
            _number(mean.value, ".3f"),
            str(mean.n),
            "–" if mean.low is None else f"{mean.low:.3f} to {mean.high:.3f}",
            _number(one.usd, ".5f"),
            f"{_number(one.latency(50), '.1f')} / {_number(one.latency(90), '.1f')} s",
            "–" if one.tokens is None else f"{one.tokens[0]:.0f} + {one.tokens[1]:.0f}",
            str(one.now),
        )
    session.out.print(table)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _print_unknown(session: Session, done: Evaluated) -> None:
    for one in done.standings:
        said = f"{one.version.id}: " if len(done.standings) > 1 else ""
        if failures := one.failures:
            told = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
            session.line("no answer", f"{said}{told}; they are worth nothing")
        if unknown := one.unknown.total():
            session.line("unknown", f"{said}{unknown}, in no figure")
            for reason, count in one.unknown.most_common(SHOWN):
                session.line("", f"{count} × {reason}")
    for failed in done.failed[:SHOWN]:
        session.line("failed", f"{failed.message}: {failed.cause}")
    if len(done.failed) > SHOWN:
        session.line("", f"and {len(done.failed) - SHOWN} more")


def _print_regressions(session: Session, one: Compared) -> None:
    if not one.regressions:
        return
    from rich.markup import escape
    from rich.table import Table

    count = len(one.regressions)
    title = f"{number(count, 'row')} worse by {one.challenger}"
    session.out.print(visible(title), markup=False, style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("example", "of", "file", "error", "now", "why"):
        table.add_column(name, overflow="fold")
    for row in one.regressions[:SHOWN]:
        table.add_row(
            row.example_id,
            *(escape(visible(text)) for text in (row.repo, row.path, row.error)),
            f"{row.after:.2f}",
            escape(visible(row.reason.partition("\n")[0])),
        )
    session.out.print(table)
    if count > SHOWN:
        session.out.print(f"and {count - SHOWN} more: --json has them all", style="dim")
    session.out.print()


def _print_verdict(session: Session, one: Compared) -> None:
    title = f"{one.challenger} beside {one.champion}"
    session.out.print(visible(title), markup=False, style="bold")
    if one.comparison is not None:
        found = one.comparison
        session.out.print(visible(found.sentence), markup=False)
        gains = number(len(found.gains), "row")
        told = f"{gains} better, {len(found.regressions)} worse ({found.test})"
        if found.unknown:
            told += f"; {found.unknown} not known of both"
        session.out.print(told, markup=False)
    if one.refused:
        session.out.print(visible(f"This is no verdict: {one.refused}."), markup=False)


def _next(session: Session, done: Evaluated, registry: Registry) -> None:
    from flywheel.registry import verdict

    # What is deployed may be another than the first of them.
    live = registry.deployed(done.standings[0].version.manifest.module.name).version_id
    allowed = {
        one.version.id
        for one in done.standings
        if one.version.id != live and verdict(registry, one.version).allows
    }
    better = [
        (one.comparison.difference, one.challenger)
        for one in done.compared
        if one.comparison is not None and not one.refused and one.challenger in allowed
    ]
    if better and not done.failed:
        session.next_step("deploy", max(better)[1])
    else:
        session.next_step("trends", "--metric", done.metric.name)


def _short(mean: Estimate) -> str:
    if mean.value is None or mean.low is None or mean.high is None:
        return f"– of {mean.n}"
    return f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f}) of {mean.n}"
