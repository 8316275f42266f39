"""`flywheel optimize`: a better version of a program, by an optimiser and a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.ending import exit_code
from flywheel.cli.options import (
    AnswersAtOnce,
    GoesBy,
    Json,
    MaxTokens,
    MaxUsd,
    Program,
    Student,
    TimeLimit,
)
from flywheel.cli.session import Session, visible
from flywheel.cli.versions import registry_of
from flywheel.core.ending import BUDGET, INTERRUPTED
from flywheel.core.wording import number

if TYPE_CHECKING:
    from flywheel.optimize.trial import Trial
    from flywheel.orchestrator import Evaluated
    from flywheel.orchestrator.optimized import Optimized

SHOWN = 5
"""Reasons named of each kind; `--json` has them all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(optimize)


def optimize(
    context: typer.Context,
    module: Program,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME@HASH", help="Dataset; else newest repair-sft."),
    ] = None,
    metric: GoesBy = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer",
            help="miprov2, bootstrap-finetune, bootstrap-fewshot, random-search, gepa, simba"
            " or better-together; else miprov2.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="HASH",
            help="Version to begin with, its weights included; else the program's code.",
        ),
    ] = None,
    student: Student = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="PROFILE",
            help="Its answers are learnt from; else what is known of the rows.",
        ),
    ] = None,
    proposer: Annotated[
        str | None, typer.Option("--proposer", metavar="PROFILE", help="Proposes instructions.")
    ] = None,
    auto: Annotated[
        str | None, typer.Option("--auto", help="light, medium or heavy: how much work.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="States that are scored, about; goes before --auto."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", help="Rows learnt from, and rows scored on, each.")
    ] = None,
    gate_rows: Annotated[
        int | None,
        typer.Option("--gate-rows", help="Held-out rows that the gate compares on; 0: no gate."),
    ] = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    time_limit: TimeLimit = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the draw of rows and of the optimiser.")
    ] = None,
    jobs: AnswersAtOnce = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go by a judge that may drive nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Look for a better version of a program.

    Learns from the training rows of a dataset, scores its trials on the validation, and never reads
    the hold-out. Run it again to go on: nothing is asked or tested twice. Stopped, it keeps the
    best so far as a version that says so. What it gives is then compared with what is deployed, on
    held-out rows: the gate, which --time-limit does not bound.
    """
    from flywheel.cli.evaluate import watched as watched_rows
    from flywheel.cli.study import watched
    from flywheel.core.events import EventBus, EventLog
    from flywheel.orchestrator.challenge import challenge, held_out
    from flywheel.orchestrator.optimize import optimize as run
    from flywheel.store import Store
    from flywheel.workspace import init

    session = Session.of(context)
    settings = session.configuration(
        {
            "optimize.dataset": dataset,
            "optimize.metric": metric,
            "optimize.optimizer": optimizer,
            "optimize.start": start,
            "optimize.student": student,
            "optimize.teacher": teacher,
            "optimize.proposer": proposer,
            "optimize.auto": auto,
            "optimize.trials": trials,
            "optimize.rows": rows,
            "optimize.gate_rows": gate_rows,
            "optimize.max_usd": max_usd,
            "optimize.max_tokens": max_tokens,
            "optimize.time_limit": time_limit,
            "optimize.seed": seed,
            "harvest.jobs": jobs,
        }
    ).settings
    workspace = init(session.workspace.root, settings=False).workspace
    store = Store(workspace.store_path)
    drawn, seed = held_out(module, settings, workspace, store), settings.optimize.seed
    with EventLog(workspace.logs / "optimize.jsonl") as log:
        bus = EventBus()
        bus.subscribe(log)
        with watched(session) as shown:
            bus.subscribe(shown)
            done = run(module, settings, workspace, store, bus, force=force)
        if not as_json:
            _print(session, done)
        gate, ended = None, done.studied.ended
        if drawn is not None and ended not in (INTERRUPTED, BUDGET):
            bus = EventBus()
            bus.subscribe(log)
            with watched_rows(session, bus, 2 * len(drawn.rows), seed) as progress:
                gate = challenge(done, drawn, settings, workspace, store, bus, on_progress=progress)
            ended = gate.ended if gate is not None else ended
    if as_json:
        session.print_json(summary_of(done, gate))
    else:
        _conclude(session, done, gate, seed)
    return exit_code(ended)


def summary_of(done: Optimized, gate: Evaluated | None) -> dict[str, Any]:
    """What came of it, and of the gate, as JSON can say it."""
    from flywheel.orchestrator import evaluated_summary

    studied = done.studied
    return {
        "study": done.study_id,
        "version": done.version,
        "module": done.program.name,
        "start": done.start or None,
        "optimizer": done.optimizer,
        "dataset": done.dataset.id,
        "metric": done.metric.id,
        "judge": done.judge or None,
        "ended": studied.ended,
        "partial": studied.partial,
        "forced": done.forced,
        "baseline": _trial(studied.baseline),
        "best": _trial(studied.best),
        "trials": [_trial(one) for one in studied.trials],
        "bootstraps": dict(studied.bootstraps),
        "proposals": dict(studied.proposals),
        "unknown": dict(studied.unknown),
        "demos": list(studied.demos),
        "trained_on": len(studied.trained_on),
        "validated_on": len(studied.validated_on),
        "measured": done.measured,
        "known": done.spared,
        "usd": done.usd,
        "tokens": done.tokens,
        "learned": done.learned or None,
        "seconds": round(studied.seconds, 2),
        "folder": str(done.folder),
        "gate": None if gate is None else evaluated_summary(gate, gate.drawn.seed),
    }


def _trial(one: Trial | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "number": one.number,
        "kind": one.kind,
        "value": one.estimate.value,
        "n": one.estimate.n,
        "low": one.estimate.low,
        "high": one.estimate.high,
        "unknown": one.unknown,
        "instructions": dict(one.state.instructions),
        "demos": one.state.shown,
        "reasons": dict(one.reasons.most_common()),
        "seconds": round(one.seconds, 2),
    }


def _print(session: Session, done: Optimized) -> None:
    from flywheel.cli.study import changes, told

    studied, out = done.studied, session.out

    title = f"{done.program.name} by {done.optimizer}"
    if studied.best is None:
        title += ": no other state was scored"
    out.print(visible(title), markup=False, style="bold")
    if done.start:
        session.line("begun with", done.start)
    best = "best" if studied.better else "best other"
    for name, trial in (("as it was", studied.baseline), (best, studied.best)):
        if trial is not None:
            session.line(name, f"{told(trial.estimate)}, trial {trial.number}")
    if studied.best is not None and studied.baseline is not None:
        if not studied.better:
            session.line("", "no trial was better than the program as it was")
        for text in changes(studied.baseline.state.instructions, studied.best.state.instructions):
            out.print(f"    {visible(text)}", markup=False)
        session.line("shows", f"{studied.best.state.shown} demonstrations")
    if done.weights.told:
        session.line("trained", done.weights.told)
    for name, counted in (("learnt from", studied.bootstraps), ("proposals", studied.proposals)):
        for reason, count in list(counted.items())[:SHOWN]:
            session.line(name, f"{count} × {reason}")
    if studied.unknown:
        session.line("left out", f"{number(len(studied.unknown), 'row')} whose value nobody knows")
    usd = "price not known" if done.usd is None else f"${done.usd:.4f}"
    tokens = ", ".join(f"{name} {count:,}" for name, count in sorted(done.tokens.items()))
    session.line("spent", f"{usd}; tokens: {tokens or 'none'}")
    session.line("answers", f"{done.measured} measured now, {done.spared} known")
    session.line("time", f"{studied.seconds:.1f} s")
    if studied.partial:
        session.line("ended", f"{studied.ended}; run it again to go on")
    if done.forced:
        session.line("judge", f"{done.judge} may drive nothing, and was gone by all the same")
    if done.again:
        session.line("version", f"none: the best is {done.start} again")
    if done.version is not None:
        session.line("version", done.version + (" (partial)" if studied.partial else ""))


def _conclude(session: Session, done: Optimized, gate: Evaluated | None, seed: int) -> None:
    """What the gate says, and the next command."""
    from flywheel.cli.evaluate import print_evaluated
    from flywheel.registry import verdict

    registry = registry_of(session)
    if done.version is None:
        if done.again:
            session.next_step("version", "show", done.start)
        return
    if gate is None:
        live = registry.deployed(done.program.name).version_id
        if live == done.version:
            session.next_step("traffic", done.program.name)
            return
        session.next_step(
            "evaluate", "--module", done.program.spec,
            "--versions", f"{live.rpartition('@')[2]},{done.version}",
            "--dataset", done.dataset.id, "--split", "holdout", "--metric", done.metric.name,
        )  # fmt: skip
        return
    session.out.print()
    print_evaluated(session, gate, seed)
    (compared,) = gate.compared
    found = compared.comparison
    if found is not None and found.better and not compared.refused:
        shown = verdict(registry, registry.version_of(done.program, done.version))
        if shown.allows:
            session.next_step("deploy", done.version)
            return
        session.out.print(visible(shown.sentence), markup=False)
    session.next_step("version", "diff", compared.champion, done.version)
