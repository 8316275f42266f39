"""Scores by content: the same answer to the same example is measured once, whoever asks.

Of threads that ask at the same time one measures and the others wait for it; of runs the later
ones find what the earlier ones have stored. What is not known is never kept: it is asked once more,
and then told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from flywheel.orchestrator.tools import Measurement, Toolbox
from flywheel.programs import Answer, Case, Metric, Score
from flywheel.store import Scored, Store, record_scores, scores_of, usd_of

KEEP_SECONDS = 2.0
"""Age of the oldest score not stored yet after which all are stored."""


class Scoring:
    """A metric's scores of answers to some examples, kept in the store."""

    def __init__(self, metric: Metric, tools: Toolbox, store: Store, ids: Sequence[str]) -> None:
        """`ids` are the examples that answers will be to."""
        self._metric, self._tools, self._store = metric, tools, store
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._known = {
            key: Score(one.value, one.reason, one.parts)
            for key, one in scores_of(store, metric.hash, tools.judge, ids).items()
        }
        self._flying: dict[tuple[str, str], Future[Score]] = {}
        self._waiting: list[tuple[Scored, tuple[str, ...]]] = []
        self._since = 0.0
        self.measured = self.spared = 0
        """Answers that were measured here, and those whose score was there or on its way."""

    def __call__(self, case: Case, answer: Answer) -> Score:
        """What an answer is worth. Raises what `Metric.score` raises."""
        key = (case.example_id, answer.hash)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self.spared += 1
                return known
            flying = self._flying.get(key)
            mine = flying is None
            if flying is None:
                flying = self._flying[key] = Future()
            self.spared += not mine
        if not mine:
            return flying.result()
        try:
            score = self._measure(case, answer, key)
        except BaseException as error:
            with self._lock:
                del self._flying[key]
            flying.set_exception(error)
            flying.exception()  # nobody may be waiting
            raise
        with self._lock:
            del self._flying[key]
            if score.value is not None:
                self._known[key] = score
        flying.set_result(score)
        return score

    def keep(self) -> None:
        """Store the scores that wait, with what they cost."""
        with self._keeping:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            record_scores(self._store, priced(waiting, self._tools, self._store))

    def _measure(self, case: Case, answer: Answer, key: tuple[str, str]) -> Score:
        began = time.monotonic()
        found = self._tools.measure(case, answer)
        if found.score.value is None:
            found = self._tools.measure(case, answer)
        self._take(found, key, time.monotonic() - began)
        return found.score

    def _take(self, found: Measurement, key: tuple[str, str], seconds: float) -> None:
        score, metric = found.score, self._metric
        scored = Scored(
            metric=metric.name,
            version=metric.version,
            metric_hash=metric.hash,
            judge=self._tools.judge,
            example_id=key[0],
            answer_hash=key[1],
            value=score.value,
            reason=score.reason,
            parts=dict(score.parts),
            seconds=seconds,
        )
        with self._lock:
            self.measured += 1
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append((scored, found.calls))
            due = time.monotonic() - self._since > KEEP_SECONDS
        if due:
            self.keep()


def priced(
    waiting: Sequence[tuple[Scored, Sequence[str]]], tools: Toolbox, store: Store
) -> list[Scored]:
    """Scores with what their calls have cost; the calls, by their ids, are settled for that."""
    calls = [key for _, keys in waiting for key in keys]
    prices: dict[str, float | None] = {}
    if calls:
        tools.settle()
        prices = usd_of(store, calls)
    return [replace(one, usd=sum_of([prices.get(key) for key in keys])) for one, keys in waiting]


def sum_of(values: Sequence[float | None]) -> float | None:
    """The sum, None where one of them is not known."""
    known = [one for one in values if one is not None]
    return sum(known) if len(known) == len(values) else None
