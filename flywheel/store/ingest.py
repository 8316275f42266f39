"""Putting records in: Arrow batches, in which what the store already has is left out.

Every record's identity is a hash of its content, so storing it twice is storing it once. Two
rows are not for ever: an `unknown` verdict gives way to a settled one, and a run is written
again when it ends. The caller batches; `Buffer` says when a batch is due.

Knows nothing of how a verdict is come by.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa

from flywheel.core.errors import StoreError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.records import (
    Baseline,
    Candidate,
    FixCommit,
    Judged,
    Revision,
    TestFailure,
    Trial,
)
from flywheel.store.store import Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BATCH_ROWS = 200
"""Rows after which a `Buffer` flushes."""
BATCH_SECONDS = 2.0
"""Age of its oldest row after which a `Buffer` flushes, at the next `add`."""

UNSETTLED = "unknown"
"""The one verdict that a later one may replace."""

LANGUAGES = {
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".erl": "erlang",
    ".ex": "elixir",
    ".exs": "elixir",
    ".go": "go",
    ".h": "c",
    ".hs": "haskell",
    ".java": "java",
    ".js": "javascript",
    ".jsx": "javascript",
    ".kt": "kotlin",
    ".php": "php",
    ".py": "python",
    ".pyi": "python",
    ".pyx": "cython",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".swift": "swift",
    ".ts": "typescript",
    ".tsx": "typescript",
}
"""Language of a file by its ending; the ending itself is the language of any other."""


@dataclass(frozen=True, slots=True)
class Run:
    """One harvest, for the record."""

    run_id: str
    """Identity of the run."""
    repo: str
    """Repository, as shown to people."""
    started_at: datetime
    """With time zone."""
    ended_at: datetime | None
    """With time zone; None while it goes on or when it was killed."""
    summary: Mapping[str, object]
    """Counts, rates, settings: anything JSON can say."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one batch changed."""

    stored: int
    """Verdicts that are new."""
    settled: int
    """Verdicts that replaced an unknown one."""
    known: int
    """Verdicts that were there before and were left as they are."""
    examples: tuple[KeptExample, ...]
    """The new examples."""


@dataclass(frozen=True, slots=True)
class KeptExample:
    """An example that is now in the store."""

    example_id: str
    """Identity of the example."""
    candidate_id: str
    """The candidate it was made of."""
    path: str
    """Repository-relative path of the changed file."""
    test_id: str
    """The first of the tests that fail."""


def example_id(candidate: Candidate) -> str:
    """Identity of the example whose fix is the candidate's original code."""
    return content_hash("example", candidate.candidate_id, _fix_id(candidate.good))


def is_example(judged: Judged) -> bool:
    """Whether it is an example: both runs of the bad code agree and the good code passes."""
    confirmation, good = judged.confirmation, judged.good
    return (
        judged.verdict == "valid"
        and judged.trial.outcome == "fails"
        and confirmation is not None
        and confirmation.outcome == "fails"
        and not set(judged.trial.failing).isdisjoint(confirmation.failing)
        and good is not None
        and good.outcome == "passes"
    )


def record_revision(store: Store, revision: Revision) -> None:
    """Store a revision, once."""
    row = {
        "revision_id": revision.revision_id,
        "repo": revision.repo,
        "commit": revision.commit,
        "tree": revision.tree,
        "license": revision.license,
        "created_at": datetime.now(UTC),
    }
    with store.writing() as connection:
        insert(connection, "revisions", [row], new_by=("revision_id",))


def record_environment(
    store: Store, environment_hash: str, *, toolchain: str, details: Mapping[str, object]
) -> None:
    """Store what defines an environment (interpreter, packages, platform), once."""
    row = {
        "environment_hash": environment_hash,
        "toolchain": toolchain,
        "details": _json(details),
        "created_at": datetime.now(UTC),
    }
    with store.writing() as connection:
        insert(connection, "environments", [row], new_by=("environment_hash", "toolchain"))


def record_baseline(store: Store, baseline: Baseline) -> None:
    """Store a baseline with its tests, once; its revision must be stored before."""
    row = {
        "baseline_id": baseline.baseline_id,
        "revision_id": baseline.revision_id,
        "environment_hash": baseline.environment_hash,
        "toolchain": baseline.toolchain,
        "runs": baseline.runs,
        "suite_seconds": baseline.suite_seconds,
        "created_at": baseline.created_at,
    }
    # A suite may give two tests one id; the first stands for both, as it does in a report.
    first: dict[str, int] = {}
    for position, test in enumerate(baseline.tests):
        first.setdefault(test.test_id, position)
    ledger = [
        {
            "baseline_id": baseline.baseline_id,
            "position": position,
            "test_id": test.test_id,
            "path": test.path,
            "line": test.line,
            "outcome": test.outcome,
            "seconds": test.seconds,
            "flake_rate": test.flake_rate,
            "reason": test.reason,
            "source": test.source,
        }
        for position, test in enumerate(baseline.tests)
        if first[test.test_id] == position
    ]
    with store.writing() as connection:
        _require(connection, "revisions", "revision_id", baseline.revision_id)
        insert(connection, "tests", ledger, new_by=("baseline_id",))
        insert(connection, "baselines", [row], new_by=("baseline_id",))


def record_run(store: Store, run: Run) -> None:
    """Store a run, in place of what was stored of it before."""
    row = {
        "run_id": run.run_id,
        "repo": run.repo,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "summary": _json(run.summary),
    }
    with store.writing() as connection:
        connection.execute("DELETE FROM runs WHERE run_id = ?", [run.run_id])
        insert(connection, "runs", [row])


def ingest(store: Store, judged: Sequence[Judged], *, baseline_id: str) -> Ingested:
    """Store a batch in one transaction; when this returns, it is on the disk.

    Verdicts the store has are left as they are, save unknown ones. Raises `StoreError` when the
    baseline was not stored before, and as `Store.writing` does.
    """
    batch: dict[str, Judged] = {}
    for one in judged:
        there = batch.get(one.candidate.candidate_id)
        if there is None or there.verdict == UNSETTLED:
            batch[one.candidate.candidate_id] = one
    if not batch:
        return Ingested(0, 0, 0, ())
    now = datetime.now(UTC)
    with store.writing() as connection:
        _require(connection, "baselines", "baseline_id", baseline_id)
        ids = pa.table({"candidate_id": list(batch)})
        connection.register("incoming", ids)
        before = dict(
            connection.execute(
                "SELECT candidate_id, verdict FROM verdicts"
                " WHERE baseline_id = ? AND candidate_id IN (SELECT candidate_id FROM incoming)",
                [baseline_id],
            ).fetchall()
        )
        settled = [
            key
            for key, verdict in before.items()
            if verdict == UNSETTLED and batch[key].verdict != UNSETTLED
        ]
        for table in ("verdicts", "trials", "fixes") if settled else ():
            connection.execute(
                f"DELETE FROM {table} WHERE baseline_id = ? AND candidate_id IN ?",
                [baseline_id, settled],
            )
        fresh = {key: one for key, one in batch.items() if key not in before or key in set(settled)}
        # What tells its parts apart is known of a candidate when it is settled, not before.
        if several := [key for key, one in fresh.items() if one.candidate.parts]:
            connection.execute(
                "DELETE FROM candidates WHERE candidate_id IN ? AND NOT EXISTS"
                " (SELECT 1 FROM verdicts v WHERE v.candidate_id = candidates.candidate_id"
                " AND v.verdict = 'valid')",
                [several],
            )
        candidates = [_candidate_row(key, one.candidate, now) for key, one in fresh.items()]
        insert(connection, "candidates", candidates, new_by=("candidate_id",))
        origins = {
            one.candidate.origin.commit: one.candidate.origin
            for one in fresh.values()
            if one.candidate.origin is not None
        }
        commits = [_commit_row(origin) for origin in origins.values()]
        insert(connection, "fix_commits", commits, new_by=("commit",))
        trials = [
            row for key, one in fresh.items() for row in _trial_rows(key, one, baseline_id, now)
        ]
        insert(connection, "trials", trials)
        verdicts = [_verdict_row(key, one, baseline_id, now) for key, one in fresh.items()]
        insert(connection, "verdicts", verdicts)
        fixes = [
            _fix_row(key, one, baseline_id, now)
            for key, one in fresh.items()
            if one.good is not None
        ]
        # A fix may be proven at its own commit and at the newest: that is one example.
        proofs = connection.execute(
            "SELECT DISTINCT example_id FROM fixes WHERE proven AND example_id IN ?",
            [[row["example_id"] for row in fixes]],
        ).fetchall()
        insert(connection, "fixes", fixes)
    earlier = {name for (name,) in proofs}
    examples = tuple(
        KeptExample(name, key, judged.candidate.path, _first_test(judged))
        for key, judged in fresh.items()
        if is_example(judged) and (name := example_id(judged.candidate)) not in earlier
    )
    return Ingested(
        stored=len(fresh) - len(settled),
        settled=len(settled),
        known=len(batch) - len(fresh),
        examples=examples,
    )


class Buffer:
    """Judged candidates on their way to the store, written a batch at a time.

    No thread: a batch that is due is written by the `add` that notices. Leaving the `with` block
    writes the rest, also when an error is passing through, so that no verdict is lost with it.
    """

    def __init__(
        self,
        store: Store,
        *,
        baseline_id: str,
        rows: int = BATCH_ROWS,
        seconds: float = BATCH_SECONDS,
    ) -> None:
        self._store = store
        self._baseline_id = baseline_id
        self._rows = rows
        self._seconds = seconds
        self._waiting: list[Judged] = []
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due(self) -> bool:
        """Whether the batch is large or old enough to be written."""
        return len(self._waiting) >= self._rows or (
            bool(self._waiting) and time.monotonic() - self._since >= self._seconds
        )

    def add(self, judged: Judged) -> Ingested | None:
        """Take one in; write the batch when it is due and say what that changed."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(judged)
        return self.flush() if self.due else None

    def flush(self) -> Ingested:
        """Write what is waiting. On an error everything keeps waiting, to be tried again."""
        done = ingest(self._store, self._waiting, baseline_id=self._baseline_id)
        self._waiting.clear()
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()


def _first_test(one: Judged) -> str:
    trial = one.confirmation or one.trial
    return trial.failures[0].test_id if trial.failures else trial.failing[0]


def _fix_id(code: str) -> str:
    return content_hash("fix", bytes_hash(code.encode("utf-8", "backslashreplace")))


def _candidate_row(key: str, candidate: Candidate, now: datetime) -> dict[str, Any]:
    ending = PurePosixPath(candidate.path).suffix
    return {
        "candidate_id": key,
        "path": candidate.path,
        "symbol": candidate.symbol,
        "span_start": candidate.span.start,
        "span_end": candidate.span.end,
        "before": candidate.before,
        "after": candidate.after,
        "line": candidate.line,
        "end_line": candidate.end_line,
        "source": candidate.source,
        "operator": candidate.operator,
        "language": LANGUAGES.get(ending, ending.lstrip(".")),
        "good": candidate.good,
        "bad": candidate.bad,
        "patch": candidate.patch,
        "base_hash": candidate.base_hash,
        "origin": candidate.origin and candidate.origin.commit,
        "others": _listed([asdict(one) for one in candidate.others]) if candidate.others else None,
        "parts": _listed([asdict(one) for one in candidate.parts]) if candidate.parts else None,
        "created_at": now,
    }


def _commit_row(origin: FixCommit) -> dict[str, Any]:
    return {
        "commit": origin.commit,
        "committed_at": origin.committed_at,
        "statement": origin.statement,
        "signals": _json(origin.signals),
    }


def _trial_rows(key: str, one: Judged, baseline_id: str, now: datetime) -> list[dict[str, Any]]:
    rows = []
    said = one.confirmation.failures if one.confirmation is not None else None
    for kind, trial in (("judge", one.trial), ("confirm", one.confirmation), ("good", one.good)):
        if trial is None or (kind == "judge" and one.verdict == "pruned"):
            continue  # nothing was run for a pruned candidate
        failures = () if kind == "judge" and trial.failures == said else trial.failures
        rows.append(_trial_row(key, kind, trial, failures, baseline_id, now))
    return rows


def _trial_row(
    key: str,
    kind: str,
    trial: Trial,
    failures: tuple[TestFailure, ...],
    baseline_id: str,
    now: datetime,
) -> dict[str, Any]:
    first = failures[0] if failures else None
    return {
        "candidate_id": key,
        "baseline_id": baseline_id,
        "kind": kind,
        "status": str(trial.status),
        "outcome": str(trial.outcome),
        "reason": trial.reason,
        "lane": str(trial.lane),
        "selected": trial.selected,
        "passing": trial.passing,
        "failing": _listed(trial.failing),
        "erroring": _listed(trial.erroring),
        "error_test": first and first.test_id,
        "error_phase": first and first.phase,
        "error_type": first and first.type,
        "error_message": first and first.message,
        "error_assertion": first and first.assertion,
        "error_traceback": first and first.traceback,
        "more_failures": _listed([asdict(failure) for failure in failures[1:]]),
        "phases": [(name, round(seconds, 6)) for name, seconds in trial.phases.items()],
        "seconds": round(trial.seconds, 6),
        "sandbox_level": trial.sandbox_level,
        "created_at": now,
    }


def _verdict_row(key: str, one: Judged, baseline_id: str, now: datetime) -> dict[str, Any]:
    trials = (one.trial, one.confirmation, one.good)
    return {
        "candidate_id": key,
        "baseline_id": baseline_id,
        "verdict": one.verdict,
        "reason": one.reason,
        "seconds": round(sum(trial.seconds for trial in trials if trial is not None), 6),
        "created_at": now,
    }


def _fix_row(key: str, one: Judged, baseline_id: str, now: datetime) -> dict[str, Any]:
    return {
        "fix_id": _fix_id(one.candidate.good),
        "example_id": example_id(one.candidate),
        "candidate_id": key,
        "baseline_id": baseline_id,
        "origin": "original",
        "code": None,
        "patch": None,
        "proven": is_example(one),
        "created_at": now,
        "fix_candidate_id": None,
    }


_TEXT, _REAL, _INT = pa.string(), pa.float64(), pa.int32()
_TIME = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    "span_start": _INT,
    "span_end": _INT,
    "line": _INT,
    "end_line": _INT,
    "position": _INT,
    "runs": _INT,
    "seed": _INT,
    "sample": _INT,
    "turn": _INT,
    "held_back": _INT,
    "held_back_failing": _INT,
    "examples": _INT,
    "selected": _INT,
    "passing": _INT,
    "seconds": _REAL,
    "suite_seconds": _REAL,
    "flake_rate": _REAL,
    "tried": _INT,
    "rejected": _INT,
    "least": _INT,
    "weak_below": _REAL,
    "value": _REAL,
    "low": _REAL,
    "high": _REAL,
    "n": _INT,
    "usd": _REAL,
    "number": _INT,
    "unknown": _INT,
    "demos": _INT,
    "tokens": _INT,
    "input_tokens": _INT,
    "output_tokens": _INT,
    "cache_read_tokens": _INT,
    "cache_write_tokens": _INT,
    "phases": pa.map_(_TEXT, _REAL),
    "proven": pa.bool_(),
    "resolved": pa.bool_(),
    "show_tests": pa.bool_(),
    "streamed": pa.bool_(),
    "created_at": _TIME,
    "committed_at": _TIME,
    "started_at": _TIME,
    "ended_at": _TIME,
}
"""Arrow type of each column that is not text; a name has one type in all tables."""


def insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: list[dict[str, Any]],
    *,
    new_by: tuple[str, ...] = (),
) -> None:
    """Append rows; with `new_by`, only those whose key columns no stored row has."""
    if not rows:
        return
    schema = pa.schema([(name, _TYPES.get(name, _TEXT)) for name in rows[0]])
    try:
        incoming = pa.Table.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:
        incoming = pa.Table.from_pylist([_encodable(row) for row in rows], schema=schema)
    connection.register("incoming", incoming)
    same = " AND ".join(f'known."{name}" = incoming."{name}"' for name in new_by)
    unless = f" WHERE NOT EXISTS (SELECT 1 FROM {table} known WHERE {same})" if new_by else ""
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming{unless}")
    connection.unregister("incoming")


def columns(record: type[DataclassInstance]) -> str:
    """The columns that a record is read from, in the order of its fields."""
    return ", ".join(one.name for one in fields(record))


def _require(connection: duckdb.DuckDBPyConnection, table: str, key: str, value: str) -> None:
    if not connection.execute(f"SELECT 1 FROM {table} WHERE {key} = ?", [value]).fetchall():
        raise StoreError(
            f"Nothing can be stored for {key} {value}: it is not in {table}.",
            hint=f"Record it first (record_{table.removesuffix('s')}).",
        )


def _encodable(value: Any) -> Any:
    """Spell out what UTF-8 cannot say: a test may print half a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_encodable(item) for item in value)
    return value


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _listed(values: Sequence[object]) -> str:
    """A list for a column of JSON: as text it is compressed with those of the rows beside it."""
    return json.dumps(_encodable(list(values)), ensure_ascii=False, separators=(",", ":"))
