"""`flywheel spin`: harvest, dataset, optimiser, gate and deployment, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.ending import exit_code
from flywheel.cli.options import (
    CandidatesAtOnce,
    GoesBy,
    Json,
    MaxTokens,
    MaxUsd,
    Program,
    Student,
    TimeLimit,
)
from flywheel.cli.session import Session, visible
from flywheel.core.ending import BUDGET, INTERRUPTED, TIME_LIMIT

if TYPE_CHECKING:
    from flywheel.cli.display import Display
    from flywheel.core.events import Event
    from flywheel.orchestrator.rounds import Round, Spun

STAGES = {
    "harvested": "harvest",
    "composed": "dataset",
    "studied": "optimise",
    "gated": "gate",
    "attempted": "attempts",
}
"""Stages of a round, as a person reads them."""
WHY = {
    "no-improvement": "the champion won the last rounds; --patience says how many it may",
    "nothing-new": "the repositories give nothing more: name more of them, or other sources",
    BUDGET: "the budget is spent; with a larger --max-usd or --max-tokens it goes on",
    TIME_LIMIT: "the time is over; run it again to go on",
    INTERRUPTED: "run it again to go on",
}
"""What the end of a spin means."""
COLUMNS = ("round", "new", "yield", "champion", "challenger", "p", "cost", "time")
"""Columns of the table, of those that the report has: 80 characters hold them."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(no_args_is_help=True)(spin)


def spin(
    context: typer.Context,
    repo: Annotated[
        list[str],
        typer.Option(
            "--repo",
            metavar="REPO",
            help="A path, a git URL, or pypi:NAME; several times for several.",
        ),
    ],
    module: Program,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Rounds, those done already among them.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe of the dataset; else repair-sft.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="As of flywheel optimize.")
    ] = None,
    metric: GoesBy = None,
    student: Student = None,
    max_candidates: Annotated[
        int | None,
        typer.Option("--max-candidates", help="Candidates that a round draws of a repository."),
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option("--attempts", help="Training examples that are tried in a round."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", help="Rows of the hold-out that the gate goes by.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Rounds in a row that may be lost.")
    ] = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    time_limit: TimeLimit = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every choice.")] = None,
    jobs: CandidatesAtOnce = None,
    as_json: Json = False,
) -> int:
    """Make a program better, round by round.

    Repositories and its own mistakes teach it. Each round harvests further, builds the dataset,
    optimises, and compares with what is deployed on the hold-out. What is better is deployed; what
    is deployed tries training examples, and its failures are new bugs. Nobody else deploys
    meanwhile. Run it again to go on where it stopped.
    """
    from flywheel.cli.display import display
    from flywheel.core.events import EventBus, EventLog
    from flywheel.orchestrator.spin import spin as run
    from flywheel.store import Store
    from flywheel.workspace import init

    session = Session.of(context)
    settings = session.configuration(
        {
            "spin.rounds": rounds,
            "spin.recipe": recipe,
            "spin.optimizer": optimizer,
            "spin.metric": metric,
            "spin.student": student,
            "spin.max_candidates": max_candidates,
            "spin.attempts": attempts,
            "spin.rows": rows,
            "spin.patience": patience,
            "spin.max_usd": max_usd,
            "spin.max_tokens": max_tokens,
            "spin.time_limit": time_limit,
            "spin.seed": seed,
            "harvest.jobs": jobs,
        }
    ).settings
    workspace = init(session.workspace.root, settings=False).workspace
    store = Store(workspace.store_path)
    bus = EventBus()
    with EventLog(workspace.logs / "spin.jsonl") as log, display(session) as shown:
        bus.subscribe(log)
        bus.subscribe(shown.event)
        bus.subscribe(Told(session, shown))
        done = run(repo, module, settings, workspace, store, bus)
    if as_json:
        session.print_json(summary_of(done))
    else:
        _print(session, done)
    return exit_code(done.ended)


class Told:
    """A subscriber: each stage is a line, and so is each trial of an optimiser."""

    def __init__(self, session: Session, shown: Display) -> None:
        from flywheel.cli.study import Shown

        self._session, self._shown = session, shown
        self._study = Shown(session, shown.line)
        self._rows, self._of = 0, 0

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        from rich.markup import escape

        from flywheel.core import events

        match event:
            case events.StageStarted(number=number, stage=stage):
                self._session.say(f"[bold]round {number}[/bold]: {STAGES[stage]}")
                self._shown.line.begin(STAGES[stage])
            case events.StageEnded(number=number, stage=stage, seconds=seconds, detail=detail):
                self._session.say(
                    f"[green]✓[/green] round {number}, {STAGES[stage]}: {escape(visible(detail))}"
                    f" [dim]{seconds:.0f} s[/dim]"
                )
            case events.PhaseStarted(phase="evaluate", total=total):
                self._rows, self._of = 0, total or 0
            case events.StudyStarted() | events.TrialProgressed() | events.TrialEnded():
                self._study(event)
            case events.RowEvaluated():
                self._rows += 1
                told = f"{self._rows} of {self._of} answers to held-out rows"
                self._shown.status(told, self._rows, self._of)
            case _:
                pass


def summary_of(done: Spun) -> dict[str, Any]:
    """What came of it, as JSON can say it."""
    return {
        "spin": done.spin_id,
        "module": done.module,
        "metric": done.metric,
        "repos": list(done.repos),
        "ended": done.ended,
        "deployed": done.deployed or None,
        "rounds": [
            one.model_dump(mode="json")
            | {
                "finished": one.finished,
                "deployed": one.deployed,
                "usd": one.usd,
                "tokens": one.tokens,
                "seconds": round(one.seconds, 2),
            }
            for one in done.rounds
        ],
        "usd": done.usd,
        "folder": str(done.folder),
        "report": str(done.report) if done.report.exists() else None,
    }


def _print(session: Session, done: Spun) -> None:
    from rich.markup import escape
    from rich.table import Table

    from flywheel.orchestrator.spin_report import verdict_of

    title = f"{done.module} by {done.metric}: {len(done.rounds)} rounds"
    session.out.print(visible(title), markup=False, style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for one in done.rounds:
        table.add_row(*(escape(cell) for cell in _cells(one)))
    session.out.print(table)
    for one in done.rounds:
        session.out.print(visible(f"round {one.number}: {verdict_of(one)}"), markup=False)
    if done.ended in WHY:
        session.out.print(f"ended: {done.ended}; {WHY[done.ended]}", markup=False)
    if done.report.exists():
        session.out.print(f"report: {visible(str(done.report))}", markup=False)
    if done.deployed:
        session.next_step("version", "show", done.deployed)


def _cells(one: Round) -> tuple[str, ...]:
    """A round as a line of the table: the report's, as far as a terminal has room."""
    from flywheel.orchestrator.spin_report import cells

    found = one.harvested
    short = {
        "yield": "–" if found is None or found.drawn.value is None else f"{found.drawn.value:.0%}",
        "cost": "–" if one.usd is None else f"${one.usd:.2f}",
    }
    told = cells(one) | short
    return tuple(told[name] for name in COLUMNS)
