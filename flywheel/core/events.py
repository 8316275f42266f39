"""What happens, told as it happens: frozen typed events and a small synchronous bus.

A use-case publishes; progress bars, the event log and live views subscribe. A subscriber runs in
the publisher's thread, so it must be quick; when it raises, that is logged and the work goes on.
The bus keeps nothing and knows nothing of other processes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    kind: ClassVar[str] = "event"
    """Name of the event in the log, kebab-case."""


@dataclass(frozen=True, slots=True)
class HarvestStarted(Event):
    """A harvest begins."""

    kind: ClassVar[str] = "harvest-started"

    run_id: str
    """Identity of this run."""
    repo: str
    """Repository, as shown to people."""
    commit: str
    """Full hash of the base commit."""


@dataclass(frozen=True, slots=True)
class HarvestEnded(Event):
    """A harvest is over; everything it acknowledged is stored."""

    kind: ClassVar[str] = "harvest-ended"

    run_id: str
    """Identity of this run."""
    judged: int
    """Candidates judged in this run."""
    kept: int
    """Examples kept in this run."""
    seconds: float
    """Wall time of the whole run."""
    reason: str
    """Why it ended: `done`, `max-candidates`, `max-examples`, `time-limit`, `interrupted`."""


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """A phase of the work begins."""

    kind: ClassVar[str] = "phase-started"

    phase: str
    """`fetch`, `environment`, `baseline`, `candidates`, `judge` …"""
    total: int | None = None
    """How many steps it will take, None when that is not known."""
    detail: str = ""
    """What a person may want to read beside the name."""


@dataclass(frozen=True, slots=True)
class PhaseProgressed(Event):
    """A phase got further."""

    kind: ClassVar[str] = "phase-progressed"

    phase: str
    """The phase that was started."""
    done: int
    """Steps finished so far."""
    detail: str = ""
    """What a person may want to read beside the number."""


@dataclass(frozen=True, slots=True)
class PhaseEnded(Event):
    """A phase is over."""

    kind: ClassVar[str] = "phase-ended"

    phase: str
    """The phase that was started."""
    seconds: float
    """Wall time it took."""
    detail: str = ""
    """Its result, in a few words."""


@dataclass(frozen=True, slots=True)
class CandidateJudged(Event):
    """The critic came to a verdict on one candidate."""

    kind: ClassVar[str] = "candidate-judged"

    candidate_id: str
    """Identity of the candidate."""
    path: str
    """Repository-relative path of the changed file."""
    operator: str
    """What made it."""
    verdict: str
    """`valid`, `survived`, `unknown`, `breaks-everything`, `pruned`."""
    reason: str
    """Why, for anything but `valid` and `survived`."""
    lane: str
    """How it was judged; empty when no test was run."""
    seconds: float
    """Wall time of all its trials."""


@dataclass(frozen=True, slots=True)
class ExampleKept(Event):
    """A proven (bad, error, good) row is in the store."""

    kind: ClassVar[str] = "example-kept"

    example_id: str
    """Identity of the example."""
    candidate_id: str
    """Identity of the candidate it was made of."""
    path: str
    """Repository-relative path of the changed file."""
    test_id: str
    """The first of the tests that fail."""


@dataclass(frozen=True, slots=True)
class StudyStarted(Event):
    """An optimiser begins to look for a better state of a program."""

    kind: ClassVar[str] = "study-started"

    study_id: str
    """Its fingerprint: the same work has the same."""
    module: str
    """Name of the program."""
    optimizer: str
    """Name of the optimiser."""
    metric: str
    """What it goes by."""
    train: int
    """Rows that it may learn from."""
    validation: int
    """Rows that trials are scored on."""
    trials: int | None
    """Trials that it will make about, None where that is not known."""
    instructions: dict[str, str]
    """What the program says to its models now, by step."""


@dataclass(frozen=True, slots=True)
class TrialProgressed(Event):
    """One more row of a trial is measured, or of the work between two trials."""

    kind: ClassVar[str] = "trial-progressed"

    study_id: str
    """The study."""
    number: int
    """The trial that is under way; the one to come where none is."""
    phase: str
    """`full`, `minibatch`, `train`: a trial; `bootstrap`, `sample`, `propose`, `tune`: between."""
    done: int
    """Rows measured of it; of a training its steps."""
    total: int
    """All of them, 0 where that is not known."""
    detail: str = ""
    """What a person may want to read beside the numbers."""
    left_seconds: float | None = None
    """Wall time that the study will take yet about, where it is better known than by its trials."""


@dataclass(frozen=True, slots=True)
class TrialEnded(Event):
    """One state of a program is scored."""

    kind: ClassVar[str] = "trial-ended"

    study_id: str
    """The study."""
    number: int
    """Its number; 0 is the program as it was."""
    phase: str
    """`full`: on all of the validation; `minibatch`: on some; `train`: on rows learnt from."""
    value: float | None
    """The mean, from 0 to 1; None of nothing."""
    n: int
    """Rows with a known value."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end."""
    best: bool
    """Whether it is the best so far."""
    instructions: dict[str, str]
    """What the program says to its models, by step."""
    demos: int
    """Examples that it shows them, of all steps."""
    usd: float | None
    """US dollars of the whole study so far, None where a price is not known."""
    tokens: dict[str, int]
    """Tokens read and written so far, by role."""
    seconds: float
    """Wall time of the trial."""
    left_seconds: float | None
    """Wall time that the rest will take about, None where that is not known."""


@dataclass(frozen=True, slots=True)
class StudyEnded(Event):
    """An optimiser is done, or was stopped."""

    kind: ClassVar[str] = "study-ended"

    study_id: str
    """The study."""
    reason: str
    """`done`, `interrupted`, `budget`, `time-limit` or `failed`."""
    trials: int
    """Trials that were scored."""
    best: int | None
    """Number of the best trial, None where none is better than nothing."""
    seconds: float
    """Wall time of this run of it."""


@dataclass(frozen=True, slots=True)
class RowEvaluated(Event):
    """A version of a program was tried on one row of a dataset."""

    kind: ClassVar[str] = "row-evaluated"

    run_id: str
    """Identity of this run."""
    version_id: str
    """The version, as `MODULE@HASH`."""
    example_id: str
    """The row's example."""
    value: float | None
    """From 0 to 1, None where it is not known."""
    reason: str
    """Why, in a few words."""


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A stage of a round of a spin begins."""

    kind: ClassVar[str] = "stage-started"

    spin_id: str
    """The spin's fingerprint."""
    number: int
    """The round, from 1."""
    stage: str
    """`harvested`, `composed`, `studied`, `gated` or `attempted`."""


@dataclass(frozen=True, slots=True)
class StageEnded(Event):
    """A stage of a round of a spin is done, and is not done again."""

    kind: ClassVar[str] = "stage-ended"

    spin_id: str
    """The spin's fingerprint."""
    number: int
    """The round, from 1."""
    stage: str
    """The stage that was started."""
    seconds: float
    """Wall time it took."""
    detail: str
    """Its result, in a few words."""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something a person should know that does not stop the work."""

    kind: ClassVar[str] = "warned"

    code: str
    """Short stable name, kebab-case: `sandbox-soft`, `flaky-tests`."""
    message: str
    """What is the matter."""
    hint: str | None = None
    """What to do about it, None when there is nothing to do."""


Subscriber = Callable[[Event], None]
"""Called with every event, in the order they were published."""


class EventBus:
    """Hands each published event to every subscriber, at once and in order."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every later event; the returned function ends that."""
        self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell every subscriber; a subscriber that raises is logged and skipped."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:  # a view that breaks must not stop the work
                logger.exception("a subscriber failed on %s", event.kind)


def as_record(event: Event, *, at: datetime) -> dict[str, object]:
    """One line of the event log: `at` (ISO 8601), `event` (its kind), then its fields."""
    return {"at": at.isoformat(), "event": event.kind, **dataclasses.asdict(event)}


class EventLog:
    """A subscriber that appends each event to a JSONL file, one flushed line each.

    Makes the file's folder where there is none. Use it as a context manager, or call `close`.
    Raises `OSError` when the file cannot be opened for appending.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The file, appended to when it exists."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        """Append one line."""
        record = as_record(event, at=datetime.now(UTC))
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()
