"""`flywheel correct`: models mend stored bugs, and the repository's tests say which fix is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.display import display, estimated
from flywheel.cli.ending import exit_code
from flywheel.cli.options import Batch, Estimate, Json, MaxTokens, MaxUsd, TimeLimit, Where
from flywheel.cli.session import Session, visible
from flywheel.core.ending import EXHAUSTED
from flywheel.core.wording import number

if TYPE_CHECKING:
    from flywheel.orchestrator import CorrectTally


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(correct)


def correct(
    context: typer.Context,
    example: Annotated[
        str | None, typer.Argument(metavar="ID", help="Example to mend; a prefix will do.")
    ] = None,
    where: Where = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="This many, drawn at random; else all.")
    ] = None,
    turns: Annotated[
        int | None,
        typer.Option("--turns", help="Answers a conversation may have; each gets the last error."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Conversations about one example.")
    ] = None,
    corrector: Annotated[
        str | None,
        typer.Option("--corrector", metavar="PROFILE", help="The language model that mends."),
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(
            "--program",
            metavar="MODULE[@HASH]",
            help="A program that mends instead, such as repair: what is deployed, or a version.",
        ),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option("--answer", help="What it writes: the whole definition, or one line."),
    ] = None,
    show_tests: Annotated[
        bool | None,
        typer.Option("--show-tests/--hide-tests", help="Show it the failing test's source too."),
    ] = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    batch: Batch = None,
    estimate: Estimate = False,
    time_limit: TimeLimit = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Attempts judged at once; else all cores.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the sample and of the models.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Have a language model mend stored bugs, and prove each fix.

    It is shown the definition as it fails and the error, never where the bug is. What passes every
    test is kept as a fix of its own; what fails is told its error and tried again, and kept as a
    bug of its own. With --program a program is asked, once: what is deployed of a module, as its
    traffic is shared, or one version. Run it again to go on: what was answered and judged is not
    paid for twice.
    """
    import random

    from flywheel.core.errors import FlywheelError, UsageError
    from flywheel.core.events import EventBus, EventLog
    from flywheel.orchestrator import correct as run
    from flywheel.store import Store, mendable
    from flywheel.store import example as find

    session = Session.of(context)
    if example is not None and (where is not None or sample is not None):
        raise UsageError(
            "--where and --sample choose among several examples, and an ID names one",
            hint="leave the ID or the options out",
        )
    if program is not None and turns is not None and turns > 1:
        raise UsageError(
            "a program has one turn: it is not told how its answer failed",
            hint="leave out --turns, or --program",
        )
    settings = session.configuration(
        {
            "correct.turns": turns,
            "correct.samples": samples,
            "correct.corrector": corrector,
            "correct.program": program,
            "correct.answer": answer,
            "correct.show_tests": show_tests,
            "correct.max_usd": max_usd,
            "correct.max_tokens": max_tokens,
            "correct.batch": batch,
            "correct.estimate": estimate or None,
            "correct.time_limit": time_limit,
            "correct.seed": seed,
            "harvest.jobs": jobs,
        }
    ).settings
    store = Store(session.workspace.store_path)
    ids = [find(store, example).example_id] if example is not None else None
    rows = list(mendable(store, ids=ids, where=where))
    if sample is not None:
        rows = random.Random(settings.correct.seed).sample(rows, min(sample, len(rows)))
    if not rows and ids is not None:
        raise UsageError(
            f"{ids[0]} is a model's fix already",
            hint="name the example of the bug with its original code: flywheel examples",
        )
    if not rows:
        raise UsageError(
            "no example fits the condition" if where else "the store holds no example to mend",
            hint="flywheel examples lists them" if where else "flywheel harvest --repo PATH",
        )
    bus = EventBus()
    conversations = len(rows) * settings.correct.samples
    with (
        EventLog(session.workspace.logs / "correct.jsonl") as log,
        display(session, total=conversations) as shown,
    ):
        bus.subscribe(log)
        bus.subscribe(shown.event)

        def progress(tally: CorrectTally) -> None:
            text = f"{len(tally.mended)} mended · {tally.attempts.total()} attempts"
            shown.status(text, tally.done + tally.skipped.total(), conversations)

        summary = run(rows, settings, session.workspace, store, bus, on_progress=progress)
    if as_json:
        session.print_json(summary)
    elif settings.correct.estimate:
        _print_estimate(session, summary)
    else:
        _print_summary(session, summary)
    if code := exit_code(summary["ended"]):
        return code
    in_vain = not summary["asked"] and summary["skipped"] and summary["estimate"] is None
    return FlywheelError.exit_code if in_vain else 0


def _print_estimate(session: Session, summary: dict[str, Any]) -> None:
    told = estimated(summary) if summary["estimate"] is not None else "nothing to ask"
    if summary["turns"] > 1:
        told += f"; that is the first of {summary['turns']} turns, and each goes on with its error"
    session.out.print(told, markup=False)


def _print_summary(session: Session, summary: dict[str, Any]) -> None:
    from flywheel.store import FAILED, FIXED, REJECTED, SUSPECT, UNKNOWN

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda i: -i[1]))

    low, high = summary["rate"]["low"], summary["rate"]["high"]
    rate = f" ({low:.0%} to {high:.0%} with 95 % confidence)" if summary["asked"] else ""
    session.out.print(
        f"[bold]{summary['mended']} of {summary['asked']}[/bold] examples mended{rate}"
        f" by {' and '.join(visible(one) for one in summary['versions']) or summary['model']}"
        f" ({summary['fixes']['new']} new fixes, {summary['bugs']['new']} new bugs)"
    )
    if summary["skipped"]:
        session.line("not asked", listed(summary["skipped"]))
    for turn, counts in summary["by_turn"].items():
        order = (FIXED, SUSPECT, FAILED, REJECTED, UNKNOWN)
        said = ", ".join(f"{counts[name]} {name}" for name in order if counts.get(name))
        session.line(f"turn {turn}", f"{number(sum(counts.values()), 'answer')}: {said}")
    if summary["reasons"]:
        session.line("reasons", listed(summary["reasons"]))
    if summary["restored"]:
        session.line(
            "restored", f"{number(summary['restored'], 'answer')} with the original code again"
        )
    if summary["overfitted"]:
        session.line(
            "overfitted", f"{summary['overfitted']} pass what was shown, fail what was not"
        )
    session.line(
        "spent", f"${summary['usd']:.4f}, {summary['tokens']:,} tokens, {summary['seconds']:.0f} s"
    )
    if summary["ended"] != EXHAUSTED:
        session.line("ended", f"{summary['ended']}; run it again to go on")
    session.next_step("sql", "SELECT example_id, turn, verdict, reason FROM attempts LIMIT 20")
