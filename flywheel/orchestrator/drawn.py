"""Rows of a dataset that are evaluated: all of a split, or so many of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.core.errors import UsageError
from flywheel.curate import SPLITS, VALIDATION
from flywheel.curate import Version as Dataset
from flywheel.optimize.gate import LEAST, require
from flywheel.programs import Row, rows_of
from flywheel.registry import Registry, Version


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows that are evaluated."""

    dataset: Dataset
    """The dataset."""
    split: str
    """Its split."""
    rows: tuple[Row, ...]
    """The rows, those that were proven in the same place one after the other."""
    baselines: Mapping[str, str]
    """What each was proven in, by example id."""
    of: int
    """Examples of the whole split."""
    seed: int
    """Seed of the draw, where there are fewer rows than examples."""

    @property
    def name(self) -> str:
        """Which rows these are, for people and figures."""
        told = f"{self.split} of {self.dataset.id}"
        return told if len(self.rows) == self.of else f"{len(self.rows)} rows of {told}"

    @property
    def definitions(self) -> int:
        """Definitions that the rows are bugs of."""
        return len({row.definition for row in self.rows})

    def require(self) -> None:
        """Refuse rows on which no difference could ever be significant.

        Raises `UsageError` where too few of them were asked for, `DatasetError` where there are no
        more.
        """
        if self.definitions < LEAST <= self.of and len(self.rows) < self.of:
            raise UsageError(
                f"{len(self.rows)} rows are too few to compare versions on:"
                f" bugs of {LEAST} definitions are the least that can show anything.",
                hint=f"ask for more: {self.split} of {self.dataset.id} has {self.of:,}",
            )
        require(len(self.rows), definitions=self.definitions)


def draw(dataset: Dataset, split: str, *, rows: int | None, seed: int) -> Drawn:
    """Rows of a split: all, or so many; more of them hold the fewer.

    Raises `UsageError` where the dataset has no such split.
    """
    if split not in dataset.splits:
        raise UsageError(
            f"{dataset.id} has no split {split!r}.",
            cause=f"it has {', '.join(dataset.splits)}",
            hint=f"splits are {', '.join(SPLITS)}; a recipe says how large each is",
        )
    places: dict[str, tuple[str, str]] = {}
    for batch in dataset.batches(split, ("example_id", "repo", "baseline_id")):
        for line in batch.to_pylist():
            places[line["example_id"]] = line["repo"], line["baseline_id"]
    ids = sorted(places)
    random.Random(seed).shuffle(ids)
    chosen = set(ids[:rows])
    found = [row for row in rows_of(dataset, split) if row.id in chosen]
    found.sort(key=lambda row: (places[row.id], row.id))
    baselines = {key: places[key][1] for key in chosen}
    return Drawn(dataset, split, tuple(found), baselines, len(places), seed)


def learnt_of(dataset: Dataset, registry: Registry, start: Version) -> frozenset[str]:
    """Examples of the validation that speak for a version: it has learnt from them, or beside them.

    More bugs may put what hangs together into another split: then all of that has been seen.
    """
    roles = registry.seen(start, dataset.ids(VALIDATION))
    return dataset.beside(VALIDATION, [key for key, role in roles.items() if role != VALIDATION])
