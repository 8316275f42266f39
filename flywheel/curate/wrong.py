"""Wrong answers: definitions that the tests reject, for rows whose task needs one.

What models answered in vain comes first; then other bugs of the same definition, each proven by its
own row, which hangs together with this one and so is in no other split.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import polars as pl
import pyarrow.parquet as pq

from flywheel.curate.compose import Wrong
from flywheel.curate.secrets import screened
from flywheel.store.pool import Pool, companions


class WrongAnswers:
    """The wrong answers to rows, asked for in the order of their ids; use it in a `with` block."""

    def __init__(self, pool: Pool, rows: pl.DataFrame, wanted: int, task: str) -> None:
        self._wanted = wanted
        self._task = task
        self._open = ExitStack()
        if wanted:
            self._attempts = _Beside(_safe(self._open.enter_context(pq.ParquetFile(pool.attempts))))
            others = companions(pool, siblings(rows, wanted))
            self._others = _Beside(_rows(self._open.enter_context(pq.ParquetFile(others))))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def of(self, example: str) -> list[Wrong]:
        """The wrong answers to an example, as many as are wanted where there are."""
        if not self._wanted:
            return []
        tried = self._attempts.of(example)
        if tried and self._task == "multiturn":
            # One conversation, as it went.
            tried = [one for one in tried if one["sample"] == tried[0]["sample"]]
        others = [Wrong(one["bad"], one["error"]) for one in self._others.of(example)]
        found = [Wrong(one["code"], one["error"]) for one in tried]
        if found and self._task == "multiturn":
            others = []
        distinct = list(dict.fromkeys([*found, *others]))
        return distinct[: self._wanted]


class _Beside:
    """Rows in the order of `example_id`, read beside others in the same order."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._groups = groupby(rows, key=lambda row: row["example_id"])
        self._next = self._taken()

    def of(self, example: str) -> list[dict[str, Any]]:
        while self._next is not None and self._next[0] < example:
            self._next = self._taken()
        if self._next is None or self._next[0] != example:
            return []
        return self._next[1]

    def _taken(self) -> tuple[str, list[dict[str, Any]]] | None:
        found = next(self._groups, None)
        return None if found is None else (found[0], list(found[1]))


def answered(pool: Pool) -> pl.Series:
    """Ids of the examples that a model answered in vain, and without a secret."""
    with pq.ParquetFile(pool.attempts) as file:
        ids = dict.fromkeys(row["example_id"] for row in _safe(file))
    return pl.Series("example_id", list(ids), pl.String)


def _rows(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches():
        yield from batch.to_pylist()


def _safe(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """Answers of models without secrets: the stages before have not looked at them."""
    for batch in file.iter_batches():
        rows = batch.to_pylist()
        found = screened([f"{row['code']}\n{row['error']}" for row in rows])
        for place, row in enumerate(rows):
            if all(one.placeholder for one in found.get(place, ())):
                yield row


def siblings(rows: pl.DataFrame, wanted: int) -> pl.DataFrame:
    """For each row, others of the same definition: `example_id`, `place`, `other`.

    The next ones in the order of ids, round from the last to the first.
    """
    groups = rows.sort("text", "example_id").group_by("text", maintain_order=True)
    pairs: list[tuple[str, int, str]] = []
    for _, group in groups:
        ids = group["example_id"].to_list()
        pairs += [
            (one, step, ids[(place + step) % len(ids)])
            for place, one in enumerate(ids)
            for step in range(1, min(wanted, len(ids) - 1) + 1)
        ]
    schema = {"example_id": pl.String, "place": pl.Int32, "other": pl.String}
    return pl.DataFrame(pairs, schema=schema, orient="row")
