"""`examples`, `show`, `survivors`, `sql`: what is in the store, for a person or a program.

A terminal gets tables and colour, a pipe gets tab-separated lines, `--json` gets one document.
Text that came out of a stranger's tests never reaches a terminal with control characters in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.options import Json, Where
from flywheel.cli.session import Session, visible

if TYPE_CHECKING:
    import polars as pl

    from flywheel.store import Attempt, Example, Store

SHOWN = 20
"""Rows of a table when `--limit` is not given; `--json` then prints them all."""
WIDE = 120
"""Columns of a terminal in which a table of examples fits."""
NAMES_SHOWN = 10
"""Names of tests that fail besides, as `show` prints them."""

_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(examples)
    app.command()(show)
    app.command()(survivors)
    app.command()(sql)


def examples(
    context: typer.Context,
    where: Where = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="At most this many rows, oldest first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List proven examples: (bad, error, good)."""
    from flywheel.store import examples as read

    session = Session.of(context)
    store = _store(session)
    if as_json:
        _print_array(read(store, where=where, limit=limit).iter_rows(named=True))
        return
    cap = SHOWN if limit is None else limit
    frame = read(store, where=where, limit=cap + 1)  # one more tells whether there are more
    if frame.is_empty():
        session.say("No example matches." if where else "The store holds no example yet.")
        session.next_step(*(["examples"] if where else ["harvest", "--repo", "PATH"]))
        return
    rows = [
        (
            row["example_id"],
            f"{row['path']}:{row['line']}",
            row["symbol"],
            row["operator"],
            _short(row["error_type"], row["error_message"]),
            len(row["failing_tests"]),
        )
        for row in frame.head(cap).iter_rows(named=True)
    ]
    if session.out.is_terminal and session.out.width < WIDE:
        _print_pairs(session, rows)
    else:
        _print_table(session, ("id", "path", "symbol", "operator", "error", "failing"), rows)
    if frame.height > cap and limit is None:
        session.say(f"There are more than these {cap}: --limit N, --where SQL or --json.")
    if cap:
        session.next_step("show", frame["example_id"][0])


def show(
    context: typer.Context,
    example: Annotated[str, typer.Argument(metavar="ID", help="Its id; a prefix will do.")],
    as_json: Json = False,
) -> None:
    """Show one example: the fix, the error, and how it was proven."""
    from flywheel.store import attempts_on
    from flywheel.store import example as find

    session = Session.of(context)
    store = _store(session)
    found = find(store, example)
    attempts = attempts_on(store, found.example_id)
    if as_json:
        more = {"attempts": [asdict(one) for one in attempts]}
        session.print_json(_plain({**asdict(found), **more}))
    else:
        _print_example(session, found)
        _print_attempts(session, found, attempts)
        session.next_step("replay", found.example_id)


def survivors(
    context: typer.Context,
    as_json: Json = False,
) -> None:
    """List code whose tests did not notice that it was changed."""
    from flywheel.store import survivors as read

    session = Session.of(context)
    groups = read(_store(session))
    if as_json:
        _print_array(asdict(group) for group in groups)
        return
    if not groups:
        session.say("No change survived its tests in this store.")
        session.next_step("harvest", "--repo", "PATH")
        return
    _print_table(
        session,
        ("survivors", "path", "symbol", "tests", "operators"),
        [
            (
                group.count,
                f"{group.path}:{group.line}",
                group.symbol,
                group.tests,
                ", ".join(f"{name} {count}" for name, count in group.operators.items()),
            )
            for group in groups
        ],
    )
    session.next_step("sql", "FROM survivors LIMIT 5")


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="SELECT, FROM, DESCRIBE, SHOW TABLES …")],
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the store anything, in SQL; it can only be read.

    Views: examples, survivors, rewrites, retired, lineage. Tables: candidates, trials, verdicts,
    fixes, attempts, oracles, wrong_fixes, figures, scores, judged_answers, carried, fix_commits,
    versions, version_rows, gates, deployments, traffic, live_outcomes, outcomes, studies,
    study_trials, mined_commits, calls, baselines, tests, revisions, environments, runs.
    """
    from flywheel.core.errors import UsageError
    from flywheel.store import sql as ask

    session = Session.of(context)
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other.", hint="Give one of them.")
    frame = ask(_store(session), query)
    if as_json:
        _print_array(frame.iter_rows(named=True))
    elif as_csv:
        _print_csv(frame)
    else:
        _print_table(session, frame.columns, frame.iter_rows())
        if frame.is_empty():
            session.say("No rows.")


def _store(session: Session) -> Store:
    from flywheel.store import Store

    return Store(session.workspace.store_path)


def _print_example(session: Session, found: Example) -> None:
    from rich.text import Text

    def heading(text: str) -> None:
        session.out.print(Text(f"\n{text}", style="bold"))

    def fact(name: str, value: str) -> None:
        session.out.print(Text.assemble((f"{name:<12}", "dim"), visible(value)))

    session.out.print(
        Text.assemble(
            (found.example_id, "bold"), f"  {visible(found.path)}  {visible(found.symbol)}"
        )
    )
    heading("The fix, from bad to good")
    for line in found.patch.splitlines():
        session.out.print(Text(visible(line), style=_DIFF_STYLES.get(line[:1], "")))
    heading("The error")
    session.out.print(Text(visible(_shortened(found.error))))
    if found.parts:
        heading(f"The {len(found.parts)} bugs in it, and the tests that tell each from the others")
        for part in found.parts:
            name = part.example_id or f"candidate {part.candidate_id}"
            where = f"{part.path}:{part.line}  {part.symbol}  {part.operator}"
            session.out.print(Text.assemble((name, "bold"), f"  {visible(where)}"))
            for test in _first(part.tests):
                session.out.print(Text(f"    {visible(test)}"))
    if found.statement:
        heading("What the commit said that fixed it")
        session.out.print(Text(visible(found.statement)))
    heading("Where it comes from")
    fact("repository", found.repo)
    fact("commit", found.commit)
    fact("license", found.license or "none found")
    fact("made by", f"{found.operator} ({found.source}); the fix is {found.fix_origin}")
    if found.origin:
        fact("taken from", found.origin)
    fact("environment", f"{found.environment_hash}, {found.toolchain}")
    heading("How it was proven")
    names = {"judge": "bad, judged", "confirm": "bad, again", "good": "good"}
    for proof in found.proofs:
        fact(
            names.get(proof.kind, proof.kind),
            f"{proof.outcome}: {proof.failing} of {proof.selected} tests fail"
            f" ({proof.lane}, {proof.sandbox_level or 'no sandbox'}, {proof.seconds:.2f} s)",
        )
    _print_oracle(fact, found)
    if found.flake_rate is not None:
        fact("flake rate", f"{found.flake_rate:.1%} of the base runs of {found.test_id}")


def _print_attempts(session: Session, found: Example, attempts: Sequence[Attempt]) -> None:
    """The conversations that models had about an example, turn by turn."""
    from itertools import groupby

    from rich.text import Text

    styles = {"fixed": "green", "failed": "red", "suspect": "yellow"}
    for (model, prompt, shown, seed, sample), talk in groupby(
        attempts, key=lambda one: (one.model, one.prompt, one.show_tests, one.seed, one.sample)
    ):
        told = ", shown the test" if shown else ""
        title = f"\n{model}, asked to mend it{told} ({prompt}, conversation {seed + sample + 1})"
        session.out.print(Text(visible(title), style="bold"))
        for one in talk:
            said = f": {one.reason}" if one.reason else ""
            judged = one.code is not None and one.verdict != "unknown"
            unseen = f", of {one.held_back} tests not shown {one.held_back_failing} fail"
            session.out.print(
                Text.assemble(
                    (f"turn {one.turn}  ", "dim"),
                    (one.verdict, styles.get(one.verdict, "")),
                    visible(said + (unseen if one.held_back and judged else "")),
                )
            )
            if one.code is None:
                session.out.print(Text(visible(_indented(one.answer, 10))))
            else:
                for line in _changed(found.bad, one.code):
                    style = _DIFF_STYLES.get(line[:1], "")
                    session.out.print(Text(f"    {visible(line)}", style=style))
            if one.error:
                session.out.print(Text(visible(_indented(one.error, 12)), style="dim"))


def _changed(before: str, after: str) -> list[str]:
    """What an answer changes, as the lines of a diff without its head."""
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _indented(text: str, most: int) -> str:
    """The first lines of a text, set in; `--json` has them all."""
    lines = text.splitlines() or [""]
    more = [f"… and {len(lines) - most} more lines"] if len(lines) > most else []
    return "\n".join(f"    {line}" for line in [*lines[:most], *more])


def _print_oracle(fact: Callable[[str, str], None], found: Example) -> None:
    """What wrong fixes say of its tests; nothing where none was tried."""
    from flywheel.store import wilson

    if found.oracle_tried is None:
        return
    if found.oracle_strength is None:
        fact("oracle", f"not known: only {found.oracle_tried} wrong fixes could be tried")
    else:
        rejected = round(found.oracle_strength * found.oracle_tried)
        interval = wilson(rejected, found.oracle_tried)
        weak = "WEAK, " if found.weak else ""
        fact(
            "oracle",
            f"{weak}{found.oracle_strength:.2f}: the tests reject {rejected} of"
            f" {found.oracle_tried} wrong fixes (95 %: {interval.low:.2f} to {interval.high:.2f})",
        )
    through = [f"{one.operator} in {one.path}:{one.line}" for one in found.let_through]
    for text in _first(through):
        fact("let through", text)


def _first(tests: Sequence[str]) -> list[str]:
    """The first of some tests; `--json` has them all."""
    more = len(tests) - NAMES_SHOWN
    return [*tests[:NAMES_SHOWN], *([f"… and {more} more"] if more > 0 else [])]


def _shortened(error: str) -> str:
    """The error with the first of the tests that fail besides; `--json` has them all."""
    head, besides, names = error.partition("\n\nalso failing:\n")
    return head + besides + "\n".join(_first(names.split("\n")))


def _print_table(session: Session, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    if not session.out.is_terminal:
        for row in (names, *rows):
            # A cell stays in its cell: what would break the line is spelled out.
            cells = (_cell(value).replace("\t", "\\t").replace("\n", "\\n") for value in row)
            sys.stdout.write("\t".join(cells) + "\n")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        # An id is there to be copied; only the other columns give way to a narrow window.
        table.add_column(visible(name), no_wrap=name in ("id", "example_id"), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    session.out.print(table)


def _print_pairs(session: Session, rows: Iterable[Sequence[object]]) -> None:
    """Two lines an example, for windows in which a table would fold every cell."""
    from rich.text import Text

    for key, place, symbol, operator, error, failing in rows:
        first = Text.assemble((_cell(key), "bold"), f"  {_cell(place)}  {_cell(symbol)}")
        tests = "test fails" if failing == 1 else "tests fail"
        second = Text(f"  {_cell(operator)}, {failing} {tests}: {_cell(error)}", "dim")
        for line in (first, second):
            session.out.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _print_array(rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON array, written a row at a time."""
    separator = "["
    for row in rows:
        text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)
        sys.stdout.write(f"{separator}\n{text}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_csv(frame: pl.DataFrame) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.iter_rows():
        writer.writerow("" if value is None else _flat(value) for value in row)


def _flat(value: object) -> str:
    """A value as one cell of text."""
    if isinstance(value, str):
        return value
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _cell(value: object) -> str:
    return "" if value is None else visible(_flat(value))


def _short(*parts: str) -> str:
    text = ": ".join(part for part in parts if part)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _plain(value: Any) -> Any:
    """A value as JSON can say it: times in ISO 8601, no NaN, bytes in hex."""
    if isinstance(value, float):
        return value if value - value == 0 else None  # neither infinite nor NaN
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.hex() if isinstance(value, bytes) else str(value)
