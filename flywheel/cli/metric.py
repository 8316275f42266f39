"""`flywheel metric`: what metrics there are, and what they say of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.ending import exit_code
from flywheel.cli.options import AnswersAtOnce, Json, LMJudge, MaxTokens, MaxUsd, Where
from flywheel.cli.session import Session, visible
from flywheel.core.ending import EXHAUSTED

if TYPE_CHECKING:
    from flywheel.orchestrator import Measured
    from flywheel.programs import Agreement, Estimate

SHOWN = 5
"""Reasons and failures named; `--json` has them all."""

metric_app = typer.Typer(help="Measure answers: list the metrics, run one.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(metric_app, name="metric")


@metric_app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> int:
    """List every metric there is: yours, and those of flywheel.

    A file that is no metric is listed with what is wrong with it.
    """
    from rich.markup import escape
    from rich.table import Table

    from flywheel.orchestrator import list_metrics

    session = Session.of(context)
    found = list_metrics(session.configuration().settings, session.workspace)
    wrong = any(one.problem for one in found)
    if as_json:
        session.print_json(
            [
                {
                    "name": one.name,
                    "origin": one.origin,
                    "id": one.metric.id if one.metric else None,
                    "version": one.metric.version if one.metric else None,
                    "needs": sorted(one.metric.all_needs) if one.metric else None,
                    "uses": sorted(one.metric.uses) if one.metric else None,
                    "description": one.metric.description if one.metric else None,
                    "problem": one.problem or None,
                }
                for one in found
            ]
        )
        return 1 if wrong else 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("metric", "version", "needs", "from", "what it says"):
        table.add_column(name, overflow="fold")
    for one in found:
        if one.metric is None:
            told = f"[red]✗[/red] {escape(visible(one.problem))}"
            table.add_row(escape(one.name), "", "", one.origin, told)
            continue
        metric = one.metric
        needs = ", ".join(sorted(metric.all_needs - {"metrics"})) or "nothing"
        told = escape(visible(metric.description))
        table.add_row(escape(one.name), escape(metric.version), needs, one.origin, told)
    session.out.print(table)
    return 1 if wrong else 0


@metric_app.command("run")
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The metric: flywheel metric list.")],
    answers: Annotated[
        str,
        typer.Option(
            "--answers",
            metavar="good|bad|attempts|FILE",
            help="The fixes, the bugs, what models answered, or JSON lines of your own.",
        ),
    ] = "good",
    where: Where = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many examples.")
    ] = None,
    judge: LMJudge = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    jobs: AnswersAtOnce = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the interval and of the models.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Measure answers to stored examples.

    Prints the mean with its sample and its 95 % interval, and what is not known, with reasons. Run
    it again to go on: what has a score of this metric is not measured again. A judge on attempts is
    compared with what the tests said of them: whether it may drive anything.
    """
    from flywheel.cli.display import display
    from flywheel.core.errors import FlywheelError, UsageError
    from flywheel.core.events import EventBus
    from flywheel.orchestrator import choose, find_metric, measure, summary_of
    from flywheel.store import Store

    session = Session.of(context)
    settings = session.configuration(
        {
            "metric.judge": judge,
            "metric.max_usd": max_usd,
            "metric.max_tokens": max_tokens,
            "metric.seed": seed,
            "harvest.jobs": jobs,
        }
    ).settings
    metric = find_metric(name, settings, session.workspace)
    store = Store(session.workspace.store_path)
    chosen = choose(store, answers, where=where, limit=limit)
    if not chosen.ids:
        raise UsageError(
            "no example fits the condition, or has such an answer"
            if where or answers != "good"
            else "the store holds no example",
            hint="flywheel correct makes attempts"
            if answers == "attempts"
            else "flywheel examples lists them; flywheel harvest --repo PATH makes some",
        )
    bus = EventBus()
    with display(session, total=len(chosen.ids)) as shown:
        bus.subscribe(shown.event)

        def progress(done: Measured) -> None:
            told = f"{done.now} measured · {done.known} known"
            if unknown := done.unknown.total():
                told += f" · {unknown} unknown"
            total = None if answers == "attempts" else len(chosen.ids)
            shown.status(told, done.now + done.known + len(done.failed), total)

        done = measure(
            metric, chosen, settings, session.workspace, store, bus, where=where,
            on_progress=progress,
        )  # fmt: skip
    if as_json:
        session.print_json(summary_of(done))
    else:
        _print(session, done)
    if code := exit_code(done.ended):
        return code
    return FlywheelError.exit_code if done.failed or not done.estimate.n else 0


def _print(session: Session, done: Measured) -> None:
    title = f"{done.metric.name} of {done.answers}: {_told(done.estimate)}"
    session.out.print(visible(title), markup=False, style="bold")
    session.line(
        "answers", f"{done.answered}: {done.now} measured now, {done.known} known from before"
    )
    for name, one in done.parts.items():
        session.line(name, _told(one))
    if unknown := done.unknown.total():
        session.line("unknown", f"{unknown}, in no figure")
        for reason, count in done.unknown.most_common(SHOWN):
            session.line("", f"{count} × {reason}")
    for failed in done.failed[:SHOWN]:
        session.line("failed", f"{failed.message}: {failed.cause}")
    if len(done.failed) > SHOWN:
        session.line("", f"and {len(done.failed) - SHOWN} more")
    if done.strange:
        session.line(
            "strange", f"{len(done.strange)} examples of the file are not among those chosen"
        )
    if done.agreement is not None:
        _print_agreement(session, done.agreement)
    if done.uncompared:
        session.line("the tests", f"not compared with them: {done.uncompared}")
    if done.judge:
        usd = "price not known" if done.usd is None else f"${done.usd:.4f}"
        session.line("spent", f"{usd} by {done.judge}")
    session.line("time", f"{done.seconds:.1f} s")
    if done.ended != EXHAUSTED:
        session.line("ended", f"{done.ended}; run it again to go on")
    session.next_step("trends", "--metric", done.metric.name)


def _told(one: Estimate) -> str:
    if one.value is None:
        return "not known"
    told = f"{one.value:.3f} (n {one.n}"
    if one.low is None or one.high is None:
        return told + ", too few for an interval)"
    return told + f", {one.low:.3f} to {one.high:.3f} with 95 % confidence)"


def _print_agreement(session: Session, both: Agreement) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("the judge")
    table.add_column("the tests pass", justify="right")
    table.add_column("the tests fail", justify="right")
    table.add_row("accepts", str(both.both_accept), str(both.judge_alone))
    table.add_row("turns down", str(both.tests_alone), str(both.both_reject))
    session.out.print(table)
    rows: dict[str, Any] = {"agree": f"{both.agree} of {both.n}"}
    if both.kappa is not None:
        between = "" if both.low is None else f" ({both.low:.2f} to {both.high:.2f})"
        rows["kappa"] = f"{both.kappa:.2f}{between}"
    for name, text in rows.items():
        session.line(name, text)
    session.out.print(both.sentence, markup=False)
