"""Studies: optimisers at work, and the states of programs that they have scored.

A study that is run again is the same study: its row says how it ended last, its trials stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from flywheel.store.ingest import columns, insert
from flywheel.store.store import Store

_SCORED = ("value", "n", "low", "high", "unknown", "reasons")
"""What a trial was worth."""
RUNNING = "running"
"""Status of a study that goes on, or was killed."""


@dataclass(frozen=True, slots=True)
class Study:
    """One optimiser at work on one program."""

    study_id: str
    """Its fingerprint."""
    module: str
    """Name of the program."""
    module_hash: str
    """Identity of its code."""
    optimizer: str
    """Name of the optimiser."""
    dataset: str
    """The dataset, as `NAME@HASH`."""
    metric: str
    """The metric's identity, with the model that judges, where one does."""
    options: Mapping[str, Any]
    """What the optimiser was told, and who played which role."""
    seed: int
    """Seed of everything drawn."""
    status: str = RUNNING
    """`running`, `done`, `interrupted`, `budget`, `time-limit` or `failed`."""
    reasons: Mapping[str, Any] = field(default_factory=dict)
    """Why examples gave nothing to learn from, counted."""
    version_id: str | None = None
    """The version that it made, None for none."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was begun first, UTC."""
    ended_at: datetime | None = None
    """When it ended last, None while it goes on or when it was killed."""


@dataclass(frozen=True, slots=True)
class StudyTrial:
    """A state of a program that was scored."""

    study_id: str
    """The study."""
    number: int
    """In the order of the study; 0 is the program as it was."""
    kind: str
    """`full`, `minibatch` or `train`."""
    state_hash: str
    """Identity of instructions and demos."""
    value: float | None
    """Mean of the known values, None of none."""
    n: int
    """How many those are."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end."""
    unknown: int
    """Rows whose value is not known."""
    instructions: Mapping[str, str]
    """What the program says to its models, by step."""
    demos: int
    """Examples that it shows them."""
    reasons: Mapping[str, int]
    """Why rows were worth less than all, counted, the commonest first."""
    usd: float | None
    """US dollars that it cost when it was scored first, None where a price is not known."""
    tokens: int
    """Tokens that it took then."""
    seconds: float
    """Wall time that it took then."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was scored first, UTC."""


def record_study(store: Store, study: Study) -> None:
    """Store a study in place of what was stored of it; when it was begun first stays."""
    row = {
        **asdict(study),
        "options": json.dumps(study.options, sort_keys=True, default=str),
        "reasons": json.dumps(study.reasons, default=str),
    }
    with store.writing() as connection:
        began = connection.execute(
            "SELECT min(started_at) FROM studies WHERE study_id = ?", [study.study_id]
        ).fetchone()
        if began is not None and began[0] is not None:
            row["started_at"] = began[0]
        connection.execute("DELETE FROM studies WHERE study_id = ?", [study.study_id])
        insert(connection, "studies", [row])


def record_trials(store: Store, trials: Sequence[StudyTrial]) -> None:
    """Store trials; one that scores the same state again keeps what it cost first.

    Scored on fewer rows, for one of them turned out to be unknown, it has the new score.
    """
    if not trials:
        return
    rows = [
        {
            **asdict(one),
            "instructions": json.dumps(one.instructions),
            "reasons": json.dumps(one.reasons),
        }
        for one in trials
    ]
    with store.writing() as connection:
        for row in rows:
            # The same number with another state is of a run that went another way.
            connection.execute(
                "DELETE FROM study_trials WHERE study_id = ? AND number = ? AND state_hash <> ?",
                [row[name] for name in ("study_id", "number", "state_hash")],
            )
            connection.execute(
                f"UPDATE study_trials SET {', '.join(f'{name} = ?' for name in _SCORED)}"
                " WHERE study_id = ? AND number = ? AND n <> ?",
                [row[name] for name in (*_SCORED, "study_id", "number", "n")],
            )
        insert(connection, "study_trials", rows, new_by=("study_id", "number"))


def forget_trials(store: Store, study_id: str, *, first: int) -> None:
    """Drop the trials of a study from a number on: of a run that went further, another way."""
    with store.writing() as connection:
        connection.execute(
            "DELETE FROM study_trials WHERE study_id = ? AND number >= ?", [study_id, first]
        )


def studies(store: Store, *, module: str | None = None) -> tuple[Study, ...]:
    """Studies, the newest first; of one program where its name is given."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {columns(Study)} FROM studies"
            " WHERE ? IS NULL OR module = ? ORDER BY started_at DESC, study_id",
            [module, module],
        ).fetchall()
    found = (
        (*row[:6], json.loads(row[6]), *row[7:9], json.loads(row[9]), *row[10:]) for row in rows
    )
    return tuple(Study(*values) for values in found)


def trials_of(store: Store, study_id: str) -> tuple[StudyTrial, ...]:
    """The trials of a study, by number."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {columns(StudyTrial)} FROM study_trials WHERE study_id = ? ORDER BY number",
            [study_id],
        ).fetchall()
    found = (
        (*row[:9], json.loads(row[9]), row[10], json.loads(row[11]), *row[12:]) for row in rows
    )
    return tuple(StudyTrial(*values) for values in found)
