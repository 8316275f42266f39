"""Wrong answers: definitions that the tests reject, for rows whose task needs one.

What models answered in vain comes first; then other bugs of the same definition, each proven by its
own row, which hangs together with this one and so is in no other split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from flywheel.curate.compose import Wrong
from flywheel.curate.secrets import screened
from flywheel.curate.version import AT_ONCE
from flywheel.store.pool import Pool, companions


class WrongAnswers:
    """The wrong answers to rows, asked for in the order of their ids.

    `wanted` is how many are wanted at the most; a task of several turns has them of one
    conversation, or one of another bug.
    """

    def __init__(self, pool: Pool, rows: pl.DataFrame, wanted: int, task: str) -> None:
        self._wanted = wanted
        self._one_talk = task == "multiturn"
        others = companions(pool, siblings(rows, 1 if self._one_talk else wanted))
        self._attempts = _Beside(_safe(pool.attempts))
        self._others = _Beside(_rows(others))

    def of(self, example: str) -> list[Wrong]:
        """The wrong answers to an example, as many as are wanted where there are."""
        tried = self._attempts.of(example)
        others = [Wrong(one["bad"], one["error"]) for one in self._others.of(example)]
        if self._one_talk and tried:
            tried = [one for one in tried if one["sample"] == tried[0]["sample"]]
            others = []
        found = [Wrong(one["code"], one["error"]) for one in tried]
        return list(dict.fromkeys([*found, *others]))[: self._wanted]


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
    ids = dict.fromkeys(row["example_id"] for row in _safe(pool.attempts))
    return pl.Series("example_id", list(ids), pl.String)


def _rows(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE):
                yield from batch.to_pylist()


def _safe(path: Path) -> Iterator[dict[str, Any]]:
    """Answers of models without secrets: the stages before have not looked at them."""
    answers = _rows([path])
    while rows := list(islice(answers, AT_ONCE)):
        found = screened([f"{row['code']}\n{row['error']}" for row in rows])
        for place, row in enumerate(rows):
            if all(one.placeholder for one in found.get(place, ())):
                yield row


def siblings(rows: pl.DataFrame, wanted: int) -> pl.DataFrame:
    """For each row, others of the same definition: `example_id`, `place`, `other`.

    The next ones in the order of ids, round from the last to the first.
    """
    ordered = rows.select("text", "example_id").sort("text", "example_id").rows()
    pairs: list[tuple[str, int, str]] = []
    for _, group in groupby(ordered, key=itemgetter(0)):
        ids = [example for _, example in group]
        pairs += [
            (one, step, ids[(place + step) % len(ids)])
            for place, one in enumerate(ids)
            for step in range(1, min(wanted, len(ids) - 1) + 1)
        ]
    schema = {"example_id": pl.String, "place": pl.Int32, "other": pl.String}
    return pl.DataFrame(pairs, schema=schema, orient="row")
