"""`flywheel harvest` and `flywheel replay`: options in, progress on stderr, one summary out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli.display import display, estimated
from flywheel.cli.ending import exit_code
from flywheel.cli.options import (
    Batch,
    CandidatesAtOnce,
    Estimate,
    Json,
    MaxTokens,
    MaxUsd,
    TimeLimit,
    Where,
)
from flywheel.cli.session import Session, visible
from flywheel.core.ending import MAX_CANDIDATES


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(harvest)
    app.command()(replay)


def harvest(
    context: typer.Context,
    repo: Annotated[
        str,
        typer.Option(
            "--repo", metavar="REPO", help="A path, a git URL, or pypi:NAME or pypi:NAME==VERSION."
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="SOURCES",
            help="Where from: mutated, reverted, combined, mined, written; several with commas.",
        ),
    ] = None,
    modes: Annotated[
        list[str] | None,
        typer.Option(
            "--modes",
            metavar="MODES",
            help="insert, reimplement, refactor, feature, attempt; else the first four.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", help="How often a model is asked for each; else once."),
    ] = None,
    shared: Annotated[
        int | None,
        typer.Option(
            "--context",
            help="Tokens of the repository's outline that a model is shown with each question.",
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option("--generator", metavar="PROFILE", help="The language model that writes."),
    ] = None,
    batch: Batch = None,
    estimate: Estimate = False,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    history: Annotated[
        int | None,
        typer.Option("--history", help="With pypi:NAME, its last N releases as its history."),
    ] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option("--paths", metavar="PATHS", help="Only these folders, files or globs."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATHS", help="Not these folders, files or globs."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="REV",
            help="Only definitions that changed since the history left this revision.",
        ),
    ] = None,
    operators: Annotated[
        list[str] | None,
        typer.Option(
            "--operators",
            metavar="NAMES",
            help="Only these operators or families; !NAME leaves one out.",
        ),
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Draw operators as often as the repository's own fixes suggest; the default.",
        ),
    ] = None,
    max_candidates: Annotated[
        int | None,
        typer.Option("--max-candidates", help="Stop after this many; 0 goes on to the end."),
    ] = None,
    max_examples: Annotated[
        int | None, typer.Option("--max-examples", help="Stop after this many valid candidates.")
    ] = None,
    time_limit: TimeLimit = None,
    jobs: CandidatesAtOnce = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the sampling.")] = None,
    toolchain: Annotated[
        str | None,
        typer.Option(
            "--toolchain", help="Toolchain to use: pytest, go, cargo, mix, node, vitest …"
        ),
    ] = None,
    test_command: Annotated[
        str | None,
        typer.Option("--test-command", help="Your own command that runs the tests."),
    ] = None,
    test_report: Annotated[
        str | None,
        typer.Option("--test-report", help="How its results are read: tap, junit:FILE …"),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option("--python", metavar="FILE", help="Interpreter of the test environment."),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option("--install", help="What to install, as arguments of `uv pip install`."),
    ] = None,
    isolation: Annotated[
        str | None, typer.Option("--isolation", help="The least to judge in: S3 or S3-soft.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at a candidate's first failing test.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Turn a repository into proven examples.

    Makes candidates, judges them by the repository's own tests in a sandbox, and keeps what is
    proven. Needs no configuration: the environment is found from the repository's metadata. Run
    it again to go on where it stopped; what was judged is not judged again.
    """
    from flywheel.core.errors import UsageError
    from flywheel.core.events import EventBus, EventLog
    from flywheel.orchestrator import harvest as run
    from flywheel.store import Store
    from flywheel.workspace import init

    session = Session.of(context)
    settings = session.configuration(
        {
            "harvest.source": source,
            "harvest.modes": modes,
            "harvest.samples": samples,
            "harvest.context": shared,
            "harvest.generator": generator,
            "harvest.batch": batch,
            "harvest.estimate": estimate or None,
            "harvest.max_usd": max_usd,
            "harvest.max_tokens": max_tokens,
            "harvest.history": history,
            "harvest.paths": paths,
            "harvest.exclude": exclude,
            "harvest.since": since,
            "harvest.operators": operators,
            "harvest.calibrate": calibrate,
            "harvest.max_candidates": max_candidates,
            "harvest.max_examples": max_examples,
            "harvest.time_limit": time_limit,
            "harvest.jobs": jobs,
            "harvest.seed": seed,
            "harvest.toolchain": toolchain,
            "harvest.test_command": test_command,
            "harvest.test_report": test_report,
            "harvest.python": python,
            "harvest.install": install,
            "harvest.isolation": isolation,
            "harvest.fail_fast": fail_fast or None,
        }
    ).settings
    if batch and "written" not in settings.harvest.source:
        raise UsageError("--batch is for what models write", hint="--source written --batch")
    # A settings file is for who asks for one; git ignores the rest.
    workspace = init(session.workspace.root, settings=False).workspace
    store = Store(workspace.store_path)
    bus = EventBus()
    with EventLog(workspace.logs / "harvest.jsonl") as log, display(session) as shown:
        bus.subscribe(log)
        bus.subscribe(shown.event)
        summary = run(repo, settings, workspace, store, bus, on_progress=shown.progress)
    if as_json:
        session.print_json(summary)
    else:
        _print_summary(session, summary)
    return exit_code(summary["ended"])


def replay(
    context: typer.Context,
    example: Annotated[
        str | None, typer.Argument(metavar="ID", help="Example to prove again; a prefix will do.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Prove this many again, drawn at random.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Prove every row again.")] = False,
    where: Where = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Rows proved at once.")] = None,
    as_json: Json = False,
) -> int:
    """Prove stored examples again, cold.

    From nothing but the store and the repository, each row in processes of its own: the bad code
    must fail in just the tests that the row names, the good code must pass them.
    """
    import random

    from rich.markup import escape

    from flywheel.core.errors import UsageError
    from flywheel.core.events import EventBus
    from flywheel.orchestrator import replay as run
    from flywheel.store import Store, replayable
    from flywheel.store import example as find

    session = Session.of(context)
    if (example is not None) + (sample is not None) + everything != 1:
        raise UsageError(
            "say which rows: an ID, --sample N, or --all", hint="flywheel examples lists them"
        )
    if example is not None and where is not None:
        raise UsageError(
            "--where chooses among several rows, and an ID names one",
            hint="leave one of them out, or use --all --where SQL",
        )
    settings = session.configuration({"harvest.jobs": jobs}).settings
    store = Store(session.workspace.store_path)
    ids = [find(store, example).example_id] if example is not None else None
    rows = list(replayable(store, ids=ids, where=where))
    if sample is not None:
        rows = random.Random(seed).sample(rows, min(sample, len(rows)))
    if not rows:
        raise UsageError(
            "no example fits the condition" if where else "the store holds no example",
            hint="flywheel examples lists them" if where else "flywheel harvest --repo PATH",
        )
    bus = EventBus()
    with display(session, total=len(rows)) as shown:
        bus.subscribe(shown.event)
        results = run(rows, settings, session.workspace, store, bus, on_done=shown.replayed)
    proven = sum(result.proven for result in results)
    if as_json:
        session.print_json(
            {
                "rows": len(results),
                "proven": proven,
                "failed": [
                    {"example_id": result.example_id, "reason": result.reason}
                    for result in results
                    if not result.proven
                ],
            }
        )
    else:
        for result in results:
            if not result.proven:
                session.out.print(
                    f"[red]✗[/red] {result.example_id}  {escape(visible(result.reason))}"
                )
        session.out.print(f"[bold]{proven} of {len(results)}[/bold] proven again")
    return 0 if proven == len(results) else 1


def _print_summary(session: Session, summary: dict[str, Any]) -> None:
    from rich.table import Table

    out = session.out
    if since := summary["since"]:
        out.print(
            f"since {since['revision']} ({since['base'][:12]}): {since['definitions']} definitions"
            f" of {since['files']} source files changed, {since['tests_changed']} files of tests",
            markup=False,
        )
        if summary["ended"] == "nothing-changed":
            out.print("No code that a candidate could change is different: nothing to judge.")
            return
        if since["not_executed"]:
            out.print(
                f"  not executed by any test: {', '.join(since['not_executed'])}", markup=False
            )
    candidates, baseline = summary["candidates"], summary["baseline"]
    out.print(
        f"[bold]{summary['examples']['new']} new examples[/bold]"
        f" ({summary['examples']['total']} of this commit in the store)"
    )
    out.print(
        f"  baseline    {baseline['judging']} of {baseline['tests']} tests judge"
        f" ({baseline['flaky']} flaky), suite {baseline['seconds']:.2f} s"
    )
    out.print(
        f"  candidates  {candidates['made']} made, {candidates['pruned']} pruned;"
        f" {candidates['judged']} judged now, {candidates['known']} known from before"
    )
    out.print(
        f"  verdicts    {candidates['valid']} valid, {candidates['survived']} survived,"
        f" {candidates['breaks_everything']} break everything, {candidates['unknown']} unknown"
    )
    seconds = summary["seconds"]
    out.print(
        f"  speed       {summary['judged_per_second']} judged/s, {seconds['total']:.0f} s in all"
        f" (environment {seconds['environment']:.0f}, baseline {seconds['baseline']:.0f},"
        f" judging {seconds['judging']:.0f})"
    )
    written = summary["written"]
    if written and written["estimate"]:
        out.print(f"  asked       {estimated(written)}", markup=False)
    realism = summary["realism"]
    if realism["distance_uniform"] is not None:
        out.print(
            f"  realism     {realism['classified']} of {realism['fixes']} fixes classified;"
            f" mutants are {realism['distance']:.2f} away from them,"
            f" {realism['distance_uniform']:.2f} without calibration"
        )
    elif summary["by_source"].get("mutated"):
        out.print(f"  realism     not calibrated: {realism['reason'] or 'nothing was drawn'}")
    carried = summary["carried"]
    if any(carried[state] for state in ("kept", "judged_again", "retired")):
        out.print(
            f"  earlier     {carried['kept']} verdicts kept unchanged, {carried['judged_again']}"
            f" judged again, {carried['retired']} retired"
        )
    if history := summary["history"]:
        out.print(
            f"  history     {history['commits']} commits, {history['fix_like']} read like fixes,"
            f" {history['applied']} can be undone today"
        )
    if mined := summary["mined"]:
        out.print(
            f"  mined       {mined['commits']} commits, {mined['fix_like']} fixes that touch tests,"
            f" {mined['judged']} judged at their own commit in"
            f" {mined['environments']['used']} environments, {mined['kept']} kept"
        )
    out.print(f"  sandbox     {summary['sandbox_level']}; ended: {summary['ended']}")
    table = Table(title="Yield by operator", title_justify="left", box=None, pad_edge=False)
    for column in ("operator", "verdicts", "valid", "yield"):
        table.add_column(column, justify="left" if column == "operator" else "right")
    rows = sorted(summary["by_operator"].items(), key=lambda item: -item[1].get("valid", 0))
    for name, counts in rows[:12]:
        judged = counts.get("judged", 0) + counts.get("known", 0)
        valid = counts.get("valid", 0)
        table.add_row(name, str(judged), str(valid), f"{valid / judged:.0%}" if judged else "")
    if rows:
        out.print(table)
    if written and written["by_mode"]:
        _print_answers(session, written["by_mode"])
    if summary["ended"] == MAX_CANDIDATES:
        session.say(
            "[dim]It stopped at --max-candidates. With --max-candidates 0 it goes on to the end;"
            " nothing is judged twice.[/dim]"
        )
    if summary["examples"]["total"]:
        session.next_step("examples", "--limit", "5")
    elif candidates["survived"]:
        session.next_step("survivors")
    elif summary["history"] is not None:
        session.next_step("history", "--repo", summary["repo"])


def _print_answers(session: Session, by_mode: dict[str, dict[str, int]]) -> None:
    """What became of a model's answers: bugs, code that passes, and why the rest is neither."""
    from rich.table import Table

    table = Table(title="Answers by mode", title_justify="left", box=None, pad_edge=False)
    for column in ("mode", "asked", "answered", "bugs", "pass"):
        table.add_column(column, justify="left" if column == "mode" else "right")
    table.add_column("else", overflow="fold")
    for mode, counts in by_mode.items():
        bugs, passing = counts.get("valid", 0), counts.get("survived", 0) + counts.get("fixed", 0)
        named = {"asked", "answered", "drawn", "valid", "survived", "fixed"}
        rest = sorted((-n, reason) for reason, n in counts.items() if reason not in named)
        table.add_row(
            mode,
            *(str(n) for n in (counts.get("asked", 0), counts.get("answered", 0), bugs, passing)),
            ", ".join(f"{-n} {reason}" for n, reason in rest),
        )
    session.out.print(table)
