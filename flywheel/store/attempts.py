"""What models made of examples: bugs to mend, attempts, and the fixes that were proven.

An attempt is kept whatever came of it. One that passes every test becomes a fix of its own, and the
view `examples` gets a row with it; one that fails is a candidate, and a bug of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.records import Candidate
from flywheel.store.candidates import CANDIDATE_COLUMNS, candidate_of
from flywheel.store.ingest import insert
from flywheel.store.query import example_ids
from flywheel.store.store import Store

FIXED, SUSPECT, FAILED, REJECTED, UNKNOWN = "fixed", "suspect", "failed", "rejected", "unknown"
"""What comes of an attempt: see the table `attempts`."""


@dataclass(frozen=True, slots=True)
class Mendable:
    """An example, with all that mending it needs."""

    example_id: str
    """Identity of the example."""
    candidate: Candidate
    """The bug."""
    failing: tuple[str, ...]
    """Tests that fail for it."""
    error: str
    """How the first of them fails."""
    error_type: str
    """Type of that failure, empty where it has none."""
    error_message: str
    """What it says, empty where it says nothing."""
    statement: str
    """The bug in the words of its report, empty where there is none."""
    language: str
    """Language of the code, such as `python`."""
    test_id: str
    """The first of them."""
    test_source: str | None
    """Its source, None when not known."""
    repo: str
    """Repository, as shown to people."""
    commit: str
    """Full hash of the base commit."""
    environment_hash: str
    """Environment it was proven in."""
    baseline_id: str
    """The baseline it was judged by."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer of a model that was asked to mend an example."""

    attempt_id: str
    """Identity: the example, the model, the prompt, and where in which conversation it stands."""
    example_id: str
    """The example."""
    baseline_id: str
    """The baseline it was judged by."""
    run_id: str
    """The run it was made in."""
    model: str
    """The model, with its provider."""
    prompt: str
    """The prompt, as `name@version`."""
    call_id: str
    """The call that answered."""
    seed: int
    """Seed of the sampling."""
    show_tests: bool
    """Whether the source of the failing test was shown."""
    sample: int
    """Number of the conversation about the example, from 0."""
    turn: int
    """Number of the answer in it, from 1."""
    question: str
    """What was said before the answer, in this turn."""
    answer: str
    """The answer, as it came."""
    code: str | None
    """The definition that it makes, None where it makes none."""
    verdict: str
    """`fixed`, `suspect`, `failed`, `rejected` or `unknown`."""
    reason: str
    """Why; empty for `failed`, and for a fix that is neither the base nor says the same."""
    candidate_id: str | None
    """It as a change of the base; None where there is none, or it is the base."""
    error: str
    """How it failed, empty where it did not."""
    held_back: int
    """Of the tests that fail for the bug, those that were not shown up to then."""
    held_back_failing: int
    """How many of them failed."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Code that mends a bug, proven, and not the base's own."""

    example_id: str
    """The example of the bug with the base's code."""
    bug_id: str
    """The candidate that is the bug."""
    candidate_id: str
    """The candidate that is the fix, as a change of the base."""
    baseline_id: str
    """The baseline that both were judged by."""
    origin: str
    """What wrote it: model, prompt and turn."""
    code: str
    """The definition."""
    patch: str
    """Unified diff of the file from the bug to the fix."""


def mendable(
    store: Store, *, ids: Sequence[str] | None = None, where: str | None = None
) -> tuple[Mendable, ...]:
    """Examples with the base's own code as their fix; `where` as in `examples`."""
    with store.reading() as connection:
        chosen = list(ids) if ids is not None else example_ids(connection, where, None)
        rows = connection.execute(
            f"""
            SELECT e.example_id, k.failing,
                   failure_text(k.error_test, k.error_phase, k.error_type, k.error_message,
                                k.error_assertion, k.error_traceback),
                   e.test_id, e.test_source, e.repo, e."commit", e.environment_hash,
                   e.baseline_id, e.error_type, e.error_message, e.statement, e.language,
                   {CANDIDATE_COLUMNS}
            FROM examples e
            JOIN candidates c ON c.candidate_id = e.candidate_id
            JOIN confirmations k ON k.candidate_id = e.candidate_id
                AND k.baseline_id = e.baseline_id
            WHERE e.example_id IN ? AND e.fix_candidate_id IS NULL
            ORDER BY e.created_at, e.example_id
            """,
            [chosen],
        ).fetchall()
    return tuple(
        Mendable(
            example_id=row[0],
            candidate=candidate_of(row[13:]),
            failing=tuple(row[1]),
            error=row[2],
            test_id=row[3],
            test_source=row[4] or None,
            repo=row[5],
            commit=row[6],
            environment_hash=row[7],
            baseline_id=row[8],
            error_type=row[9],
            error_message=row[10],
            statement=row[11] or "",
            language=row[12],
        )
        for row in rows
    )


def record_attempts(store: Store, attempts: Iterable[Attempt], fixes: Iterable[Fix]) -> int:
    """Store attempts and the fixes among them, each once; returns how many fixes are new.

    The candidates that they are must be stored before.
    """
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [{**asdict(one), "created_at": now} for one in attempts]
    made = {row["example_id"]: row for row in (_fix_row(fix, now) for fix in fixes)}
    with store.writing() as connection:
        # What nobody knew then may be known now.
        connection.execute(
            f"DELETE FROM attempts WHERE verdict = '{UNKNOWN}' AND attempt_id IN ?",
            [[row["attempt_id"] for row in rows]],
        )
        insert(connection, "attempts", rows, new_by=("attempt_id",))
        known = connection.execute(
            "SELECT DISTINCT example_id, baseline_id FROM fixes WHERE example_id IN ?",
            [list(made)],
        ).fetchall()
        for name, baseline_id in known:
            if name in made and made[name]["baseline_id"] == baseline_id:
                del made[name]
        insert(connection, "fixes", list(made.values()))
    return len(made)


def attempts_on(store: Store, example_id: str) -> tuple[Attempt, ...]:
    """What models made of an example, conversation by conversation."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT attempt_id, example_id, baseline_id, run_id, model, prompt, call_id, seed,"
            " show_tests, sample, turn, question, answer, code, verdict, reason, candidate_id,"
            " error, held_back, held_back_failing FROM attempts WHERE example_id = ?"
            " ORDER BY model, prompt, seed, show_tests, sample, turn, created_at",
            [example_id],
        ).fetchall()
    return tuple(Attempt(*row) for row in rows)


def failure_of(
    store: Store, candidate_id: str, baseline_id: str
) -> tuple[str, str, tuple[str, ...]] | None:
    """How a judged candidate fails first, in which test, and all tests that it fails.

    None where nothing of that is kept.
    """
    with store.reading() as connection:
        row = connection.execute(
            "SELECT failure_text(error_test, error_phase, error_type, error_message,"
            " error_assertion, error_traceback), error_test, from_json(failing, '[\"VARCHAR\"]')"
            " FROM trials WHERE candidate_id = ? AND baseline_id = ? AND error_test IS NOT NULL"
            " ORDER BY kind = 'judge' LIMIT 1",
            [candidate_id, baseline_id],
        ).fetchone()
    return (row[0], row[1], tuple(row[2])) if row is not None else None


def _fix_row(fix: Fix, now: datetime) -> dict[str, Any]:
    fix_id = content_hash("fix", bytes_hash(fix.code.encode()))
    return {
        "fix_id": fix_id,
        "example_id": content_hash("example", fix.bug_id, fix_id),
        "candidate_id": fix.bug_id,
        "baseline_id": fix.baseline_id,
        "origin": fix.origin,
        "code": fix.code,
        "patch": fix.patch,
        "proven": True,
        "created_at": now,
        "fix_candidate_id": fix.candidate_id,
    }


def whole_runs(store: Store, baseline_id: str, tests: int) -> frozenset[str]:
    """Candidates that every one of so many tests has passed in one run, apart from the first."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT candidate_id FROM trials WHERE baseline_id = ? AND kind = 'confirm'"
            " AND outcome = 'passes' AND passing >= ?",
            [baseline_id, tests],
        ).fetchall()
    return frozenset(name for (name,) in rows)


def forget(store: Store, *, candidate_id: str, baseline_id: str) -> None:
    """Take back what was judged of a candidate: a stricter verdict is on its way."""
    with store.writing() as connection:
        for table in ("trials", "verdicts"):
            connection.execute(
                f"DELETE FROM {table} WHERE candidate_id = ? AND baseline_id = ?",
                [candidate_id, baseline_id],
            )
