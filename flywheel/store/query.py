"""Typed reads. Each is one short session that takes all it needs and leaves.

SQL a user wrote runs on a connection that can read the store and nothing else; what is wrong
with it becomes a `UsageError` that names the columns there are.

Knows nothing of terminals: it hands back records and data frames.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

import duckdb
import polars as pl

from flywheel.core.errors import UsageError
from flywheel.core.records import Baseline, BaselineTest, Candidate, EnvironmentLock
from flywheel.store.candidates import CANDIDATE_COLUMNS, candidate_of
from flywheel.store.oracles import LetThrough, let_through
from flywheel.store.store import Store


class KnownVerdict(NamedTuple):
    """What the store knows of a candidate under one baseline."""

    verdict: str
    """`valid`, `survived`, `unknown`, `breaks-everything`, `pruned`."""
    seconds: float
    """Wall time of all its trials."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One trial behind an example."""

    kind: str
    """`judge`, `confirm` or `good`."""
    status: str
    """Did it run."""
    outcome: str
    """What the tests said."""
    lane: str
    """How it was run: `warm`, `fresh`, `cold`."""
    selected: int
    """Tests asked for."""
    passing: int
    """Tests that passed."""
    failing: int
    """Tests that failed or errored."""
    seconds: float
    """Wall time."""
    sandbox_level: str
    """Isolation in force."""


@dataclass(frozen=True, slots=True)
class ExamplePart:
    """One of several bugs that an example holds."""

    candidate_id: str
    """The candidate that is this bug alone."""
    example_id: str | None
    """Its own example; None where that is not in the store any more."""
    path: str
    """Repository-relative path of the file it changes."""
    line: int
    """First line it changes in the base file."""
    symbol: str
    """Qualified name of the definition it changes."""
    operator: str
    """What made it."""
    tests: tuple[str, ...]
    """Tests that fail for it and for none of the other parts."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the view `examples`, with its proof."""

    example_id: str
    """Identity: candidate and fix."""
    repo: str
    """Repository, as shown to people."""
    commit: str
    """Full hash of the base commit."""
    path: str
    """Repository-relative path of the changed file."""
    symbol: str
    """Qualified name of the changed definition."""
    language: str
    """Language of the file."""
    license: str | None
    """SPDX expression, None when none was found."""
    source: str
    """Where the bad code came from: `mutated` …"""
    operator: str
    """What made it."""
    bad: str
    """The definition that fails."""
    good: str
    """The definition that passes."""
    patch: str
    """Unified diff of the file from bad to good, for `git apply`."""
    error: str
    """The failure as a model reads it: message and traceback of the first tests, ids of all."""
    error_type: str
    """Exception class of the first failure."""
    error_message: str
    """First line of its message."""
    assertion: str
    """The failed assertion with both values, empty when it was none."""
    traceback: str
    """Trimmed traceback of the first failure."""
    test_id: str
    """The first failing test."""
    test_source: str | None
    """Its source, None when not known."""
    failing_tests: tuple[str, ...]
    """All that fail, as confirmed."""
    passing_tests: int
    """How many tests pass with the good code, of those that were run."""
    seconds: float
    """Wall time of all trials behind it."""
    flake_rate: float | None
    """Share of base runs in which the first failing test was not itself, None when not known."""
    sandbox_level: str
    """Isolation of the confirmation."""
    environment_hash: str
    """Environment it was proven in."""
    toolchain: str
    """`profile@hash`."""
    fix_origin: str
    """Where the good code came from: `original` …"""
    origin: str | None
    """Full hash of the commit the bug was taken from, None for one that was made up."""
    statement: str | None
    """That commit's message without what gives the fix away."""
    line: int
    """First changed line of the base file."""
    end_line: int
    """Last changed line of the base file."""
    candidate_id: str
    """The candidate it was made of."""
    baseline_id: str
    """The baseline it was judged by."""
    created_at: datetime
    """When it was stored, UTC."""
    proofs: tuple[Proof, ...]
    """The trials, in the order they were run."""
    parts: tuple[ExamplePart, ...] = ()
    """The bugs it is made of; empty for one that is one."""
    oracle_strength: float | None = None
    """Share of wrong fixes that its tests reject, None where too few were tried, or none."""
    oracle_tried: int | None = None
    """Wrong fixes that were tried, its own change left out; None when none ever was."""
    weak: bool | None = None
    """Whether its tests let too many through, None where that is not known."""
    let_through: tuple[LetThrough, ...] = ()
    """The wrong fixes that they let through."""


@dataclass(frozen=True, slots=True)
class SurvivorGroup:
    """Changes of one definition that its tests did not notice."""

    repo: str
    """Repository, as shown to people."""
    path: str
    """Repository-relative path."""
    symbol: str
    """Qualified name of the definition."""
    line: int
    """First line of the first such change."""
    count: int
    """How many changes survived."""
    tests: int
    """The most tests that ran for one of them."""
    operators: dict[str, int]
    """How many by operator, most first."""


@dataclass(frozen=True, slots=True)
class Replayable:
    """Everything needed to judge an example again."""

    example_id: str
    """Identity of the example."""
    candidate: Candidate
    """The change."""
    failing: tuple[str, ...]
    """Tests that failed when it was confirmed."""
    erroring: tuple[str, ...]
    """Those of them that failed outside the test's call."""
    repo: str
    """Repository, as shown to people."""
    commit: str
    """Full hash of the base commit."""
    environment_hash: str
    """Environment it was proven in."""
    toolchain: str
    """`profile@hash`."""
    baseline_id: str
    """The baseline it was judged by."""
    sandbox_level: str
    """Isolation of the confirmation."""
    fix: Candidate | None
    """The fix as a change of the base; None where the base is the fix."""


def known_verdicts(store: Store, baseline_id: str) -> dict[str, KnownVerdict]:
    """What need not be judged again, by candidate id.

    That is what the baseline's commit has verdicts of, and what stands there unchanged.
    """
    with store.reading() as connection:
        rows = connection.execute(
            """
            SELECT k.here, v.verdict, v.seconds
            FROM carried k JOIN verdicts v USING (candidate_id, baseline_id)
            WHERE k.at_baseline = $baseline AND k.state = 'kept' AND k.here IS NOT NULL
            UNION ALL
            SELECT candidate_id, verdict, seconds FROM verdicts WHERE baseline_id = $baseline
            """,
            {"baseline": baseline_id},
        ).fetchall()
    return {key: KnownVerdict(verdict, seconds) for key, verdict, seconds in rows}


def baseline(
    store: Store, revision_id: str, environment_hash: str, toolchain: str
) -> Baseline | None:
    """The stored baseline, None when there is none."""
    with store.reading() as connection:
        found = connection.execute(
            "SELECT baseline_id, runs, suite_seconds, created_at FROM baselines"
            " WHERE revision_id = ? AND environment_hash = ? AND toolchain = ?",
            [revision_id, environment_hash, toolchain],
        ).fetchall()
        if not found:
            return None
        baseline_id, runs, suite_seconds, created_at = found[0]
        tests = connection.execute(
            "SELECT test_id, path, line, outcome, seconds, flake_rate, reason, source"
            " FROM tests WHERE baseline_id = ? ORDER BY position",
            [baseline_id],
        ).fetchall()
    return Baseline(
        revision_id=revision_id,
        environment_hash=environment_hash,
        toolchain=toolchain,
        runs=runs,
        tests=tuple(BaselineTest(*row) for row in tests),
        suite_seconds=suite_seconds,
        created_at=created_at,
    )


def environment_lock(store: Store, environment_hash: str) -> EnvironmentLock | None:
    """What a stored environment was made of, None when the store does not know it."""
    with store.reading() as connection:
        found = connection.execute(
            "SELECT details FROM environments WHERE environment_hash = ?", [environment_hash]
        ).fetchall()
    if not found:
        return None
    details = json.loads(found[0][0])
    return EnvironmentLock(environment_hash, details["python"], tuple(details["lock"]))


def examples(store: Store, *, where: str | None = None, limit: int | None = None) -> pl.DataFrame:
    """Rows of the view `examples`, oldest first; `where` is an SQL condition on its columns.

    Raises `UsageError` for a condition DuckDB does not accept.
    """
    with store.reading() as connection:
        ids = example_ids(connection, where, limit)
        frame: pl.DataFrame = connection.sql(
            "SELECT * FROM examples WHERE example_id IN ? ORDER BY created_at, example_id",
            params=[ids],
        ).pl()
    return frame


def example(store: Store, id_prefix: str) -> Example:
    """The one example whose id starts with the prefix; `UsageError` for none or several."""
    prefix = id_prefix.strip().lower()
    with store.reading() as connection:
        ids = connection.execute(
            "SELECT example_id, path, symbol FROM proven JOIN candidates USING (candidate_id)"
            " WHERE starts_with(example_id, ?) ORDER BY example_id LIMIT 6",
            [prefix],
        ).fetchall()
        if len(ids) != 1 or not prefix:
            raise _not_one(connection, id_prefix, ids)
        cursor = connection.execute("SELECT * FROM examples WHERE example_id = ?", [ids[0][0]])
        names = [column[0] for column in cursor.description or ()]
        row = dict(zip(names, cursor.fetchall()[0], strict=True))
        fix_id = row["fix_candidate_id"]
        proofs = connection.execute(
            "SELECT kind, status, outcome, lane, selected, passing,"
            " json_array_length(failing), seconds, sandbox_level"
            " FROM trials WHERE baseline_id = $baseline AND candidate_id = $bug"
            " AND (kind <> 'good' OR $fix IS NULL)"
            " ORDER BY array_position(['judge', 'confirm', 'good'], kind)",
            {"baseline": row["baseline_id"], "bug": row["candidate_id"], "fix": fix_id},
        ).fetchall()
        # A fix of its own was proven by a run of its own.
        proofs += connection.execute(
            "SELECT 'good', status, outcome, lane, selected, passing,"
            " json_array_length(failing), seconds, sandbox_level"
            " FROM trials WHERE baseline_id = ? AND candidate_id = ? AND kind <> 'good'"
            " ORDER BY kind = 'judge' LIMIT 1",
            [row["baseline_id"], fix_id],
        ).fetchall()
        through = let_through(connection, row["candidate_id"], row["baseline_id"])
        parts = row["parts"] or []
        alone = connection.execute(
            "SELECT c.candidate_id, p.example_id, c.path, c.line, c.symbol, c.operator"
            " FROM candidates c LEFT JOIN proven p ON p.candidate_id = c.candidate_id"
            " AND p.fix_candidate_id IS NULL"
            " WHERE c.candidate_id IN (SELECT unnest(?::VARCHAR[]))",
            [[part["candidate_id"] for part in parts]],
        ).fetchall()
    row["failing_tests"] = tuple(row["failing_tests"])
    row["proofs"] = tuple(Proof(*proof) for proof in proofs)
    row["let_through"] = through
    by_id = {part[0]: part for part in alone}
    row["parts"] = tuple(
        ExamplePart(*(*by_id[part["candidate_id"]], tuple(part["tests"]))) for part in parts
    )
    known = {field.name for field in fields(Example)}
    return Example(**{name: value for name, value in row.items() if name in known})


def survivors(store: Store) -> tuple[SurvivorGroup, ...]:
    """Covered changes that no test noticed, by definition, most first."""
    with store.reading() as connection:
        rows = connection.execute(
            """
            WITH once AS (
                SELECT * FROM survivors
                QUALIFY row_number() OVER (PARTITION BY candidate_id ORDER BY created_at DESC) = 1
            ),
            by_operator AS (
                SELECT repo, path, symbol, operator, count(*) AS n, min(line) AS line,
                       max(tests) AS tests
                FROM once GROUP BY ALL
            )
            SELECT repo, path, symbol, min(line), sum(n)::BIGINT, max(tests),
                   list(operator ORDER BY n DESC, operator), list(n ORDER BY n DESC, operator)
            FROM by_operator GROUP BY repo, path, symbol
            ORDER BY sum(n) DESC, repo, path, min(line), symbol
            """
        ).fetchall()
    return tuple(
        SurvivorGroup(repo, path, symbol, line, count, tests, dict(zip(names, counts, strict=True)))
        for repo, path, symbol, line, count, tests, names, counts in rows
    )


def replayable(
    store: Store,
    *,
    ids: Sequence[str] | None = None,
    where: str | None = None,
    limit: int | None = None,
) -> tuple[Replayable, ...]:
    """Examples with all that judging them again needs.

    `ids` are whole example ids, and take the place of `where` and `limit`.
    """
    with store.reading() as connection:
        chosen = list(ids) if ids is not None else example_ids(connection, where, limit)
        rows = connection.execute(
            f"""
            SELECT e.example_id, k.failing, k.erroring, e.repo, e."commit", e.environment_hash,
                   e.toolchain, e.baseline_id, e.sandbox_level, e.fix_candidate_id,
                   {CANDIDATE_COLUMNS}, {_FIX_COLUMNS}
            FROM examples e
            JOIN candidates c ON c.candidate_id = e.candidate_id
            LEFT JOIN candidates x ON x.candidate_id = e.fix_candidate_id
            JOIN confirmations k ON k.candidate_id = e.candidate_id
                AND k.baseline_id = e.baseline_id
            WHERE e.example_id IN ?
            ORDER BY e.created_at, e.example_id
            """,
            [chosen],
        ).fetchall()
    return tuple(
        Replayable(
            example_id=row[0],
            candidate=candidate_of(row[10 : 10 + _WIDTH]),
            failing=tuple(row[1]),
            erroring=tuple(row[2]),
            repo=row[3],
            commit=row[4],
            environment_hash=row[5],
            toolchain=row[6],
            baseline_id=row[7],
            sandbox_level=row[8],
            fix=candidate_of(row[10 + _WIDTH :]) if row[9] is not None else None,
        )
        for row in rows
    )


_WIDTH = CANDIDATE_COLUMNS.count(",") + 1
_FIX_COLUMNS = CANDIDATE_COLUMNS.replace("c.", "x.")

READ_ONLY = frozenset({"SELECT", "EXPLAIN"})
"""Kinds of statement `sql` runs (DESCRIBE, SHOW, SUMMARIZE and FROM count as SELECT)."""


def sql(store: Store, query: str) -> pl.DataFrame:
    """Run a query that only reads; of several statements, the last one's rows come back.

    Raises `UsageError` for anything but reading, and for what DuckDB does not accept.
    """
    with store.reading() as connection:
        try:
            statements = connection.extract_statements(query)
            for statement in statements:
                kind = statement.type.name
                if kind not in READ_ONLY:
                    raise UsageError(
                        f"`flywheel sql` only reads; this is a {kind} statement.",
                        hint="Begin with SELECT, FROM, DESCRIBE or SHOW TABLES.",
                    )
            frame = pl.DataFrame()
            for statement in statements:
                frame = connection.sql(statement).pl()
        except duckdb.FatalException:
            raise
        except duckdb.Error as error:
            raise _wrong_sql(connection, error, "query", query) from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise UsageError(
                "The answer has a type that cannot be shown.",
                cause=str(error).partition("\n")[0][:300],
                hint="Cast the column to text: column::VARCHAR",
            ) from error
        return frame


def example_ids(
    connection: duckdb.DuckDBPyConnection, where: str | None, limit: int | None
) -> list[str]:
    """Ids first: the long columns of rows that a limit leaves out are never read."""
    given = bool(where and where.strip())
    source = f"examples WHERE (\n{where}\n)" if given else "proven"
    cap = f"LIMIT {int(limit)}" if limit is not None else ""
    query = f"SELECT example_id FROM {source} ORDER BY created_at, example_id {cap}"
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type.name != "SELECT":
            raise UsageError(
                "The condition must be one SQL expression.",
                hint="For example: --where \"error_type = 'KeyError' AND len(failing_tests) = 1\"",
            )
        return [row[0] for row in connection.execute(statements[0]).fetchall()]
    except duckdb.FatalException:
        raise
    except duckdb.Error as error:
        raise _wrong_sql(connection, error, "condition", f"examples {where}") from error


def ids_of(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    """The column `example_id` of a query that a user wrote; `UsageError` where it gives none."""
    hint = 'For example: "SELECT example_id FROM examples WHERE weak IS NOT TRUE"'
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type.name != "SELECT":
            raise UsageError("A query of examples is one SELECT statement.", hint=hint)
        found = connection.execute(statements[0])
        names = [column[0] for column in found.description or ()]
        if "example_id" not in names:
            raise UsageError(
                "A query of examples has a column example_id.",
                cause=f"This one has: {', '.join(names)}.",
                hint=hint,
            )
        place = names.index("example_id")
        return [str(row[place]) for row in found.fetchall() if row[place] is not None]
    except duckdb.FatalException:
        raise
    except duckdb.Error as error:
        raise _wrong_sql(connection, error, "query", query) from error


def _not_one(
    connection: duckdb.DuckDBPyConnection, asked: str, found: list[tuple[str, str, str]]
) -> UsageError:
    if found and asked.strip():
        listed = ", ".join(f"{key} ({path} {symbol})" for key, path, symbol in found[:5])
        more = ", …" if len(found) > 5 else ""
        return UsageError(
            f"Several examples begin with {asked}: {listed}{more}.", hint="Give more of the id."
        )
    total = connection.execute("SELECT count(*) FROM proven").fetchall()[0][0]
    return UsageError(
        f"No example begins with {asked!r}; the store has {total}.",
        hint="flywheel examples lists them." if total else "flywheel harvest makes some.",
    )


def _wrong_sql(
    connection: duckdb.DuckDBPyConnection, error: duckdb.Error, what: str, query: str
) -> UsageError:
    text = str(error).strip()
    if isinstance(error, duckdb.PermissionException) or "disabled" in text.partition("\n")[0]:
        return UsageError(
            "A query reads the store and nothing else: no files, no network, no settings.",
            cause=text.partition("\n")[0][:300],
            hint="Export with --json or --csv, and join elsewhere.",
        )
    missing = re.search(r'(?:column|Table with name) "?([A-Za-z_]\w*)"?', text)
    every = _names(connection, "SHOW TABLES")
    there = {"Tables": every}
    if "Table with name" not in text:
        named = {word.lower() for word in re.findall(r"\w+", query)}
        read = [one for one in every if one.lower() in named]
        there = {
            f"Columns of {one}": _names(connection, f"SELECT column_name FROM (DESCRIBE {one})")
            for one in read or ["examples"]
        }
    names = [name for some in there.values() for name in some]
    near = difflib.get_close_matches(missing[1], names, n=1) if missing else []
    guess = f"Did you mean {near[0]}? " if near else ""
    listed = ". ".join(f"{kind}: {', '.join(some)}" for kind, some in there.items())
    return UsageError(
        f"DuckDB does not accept the {what}.", cause=text[:1000], hint=f"{guess}{listed}"
    )


def _names(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    return [row[0] for row in rows]
