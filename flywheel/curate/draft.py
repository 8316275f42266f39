"""Drafts: a version while it is written, in a folder that has no name yet.

Nobody reads a draft. When all its rows are there it gets its hash, and with it its name, in one
step; what was left of one that was stopped is written anew.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import flywheel
from flywheel.core.patch import changed_lines
from flywheel.curate.funnel import Funnel
from flywheel.curate.recipe import AGAIN, ANSWER, CARD, FILE, PROMPT, Recipe
from flywheel.curate.version import (
    BASELINES,
    FORMAT,
    MANIFEST,
    PROVEN_IN,
    REPORTS,
    ROWS,
    SPLITS,
    Digest,
    HoldoutName,
    Manifest,
    SplitCounts,
    StageCounts,
    Version,
    identity,
    load_version,
    rows_hash,
)

GROUP = 8192
"""Rows of a Parquet row group: what a reader holds in memory at the least."""
COUNTED = ("repo", "license", "language", "source", "operator", "fix_origin", "difficulty")
"""Columns whose values are counted."""
RARE = 60
"""Values of a column that are counted by name; the rest are counted together."""
REST = "(others)"
"""The rest."""


class Draft:
    """A version under way; use it in a `with` block, which removes it where it was not finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where it is written; made anew, beside the place where it will stand."""
        self._open = ExitStack()
        self._files: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[dict[str, object]]] = defaultdict(list)
        self._digests: dict[str, Digest] = defaultdict(Digest)
        self._rows: Counter[str] = Counter()
        self._examples: Counter[str] = Counter()
        self._last: dict[str, object] = {}
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self._sizes: dict[str, list[int]] = {name: [] for name in _MEASURED}

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, split: str, row: Mapping[str, object]) -> None:
        """Put a row, with the columns of `ROWS`, at the end of a split.

        The rows of one example follow one another.
        """
        whole = {name: row[name] for name in ROWS.names}
        self._digests[split].add(whole)
        self._rows[split] += 1
        if self._last.get(split) != whole["example_id"]:
            self._last[split] = whole["example_id"]
            self._examples[split] += 1
        for name in COUNTED:
            self._counts[name][str(whole[name] or "none")] += 1
        for name, size in _MEASURED.items():
            self._sizes[name].append(size(whole))
        waiting = self._waiting[split]
        waiting.append(whole)
        if len(waiting) == GROUP:
            self._write(split)

    def report(self, name: str) -> Path:
        """Where a report of the build is to be written."""
        folder = self.folder / REPORTS
        folder.mkdir(exist_ok=True)
        return folder / name

    def finish(
        self,
        root: Path,
        recipe: Recipe,
        *,
        code: str,
        funnel: Funnel,
        holdout: HoldoutName | None,
        baselines: Sequence[Mapping[str, object]],
    ) -> Version:
        """Give the draft its name under `root`; one that is there already is the same, and stays.

        `baselines` are rows of `PROVEN_IN`, in the order of their ids.
        """
        for split in list(self._waiting):
            self._write(split)
        self._open.close()
        pq.write_table(
            pa.Table.from_pylist([dict(one) for one in baselines], PROVEN_IN),
            self.folder / BASELINES,
            compression="zstd",
        )
        for file in (FILE, PROMPT, ANSWER, AGAIN, CARD):
            if (recipe.folder / file).exists():
                shutil.copyfile(recipe.folder / file, self.folder / file)
        splits = {
            split: SplitCounts(
                rows=self._rows[split],
                examples=self._examples[split],
                sha256=self._digests[split].hex,
            )
            for split in SPLITS
            if self._rows[split]
        }
        stages = tuple(
            StageCounts(name=one.name, rows=one.rows, dropped=one.dropped) for one in funnel.stages
        )
        manifest = Manifest(
            format=FORMAT,
            name=recipe.name,
            hash="",
            flywheel=flywheel.__version__,
            code=code,
            recipe=recipe.hash,
            rules=recipe.rules,
            splits=splits,
            baselines=rows_hash(baselines),
            holdout=holdout,
            funnel=stages,
            statistics={name: _most(counts) for name, counts in self._counts.items()},
            quantiles={name: _quantiles(sizes) for name, sizes in self._sizes.items()},
        )
        said = manifest.model_dump(mode="json")
        said["hash"] = identity(said)
        text = json.dumps(said, indent=2, ensure_ascii=False)
        (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        place = root / f"{recipe.name}@{said['hash']}"
        if not place.exists():
            self.folder.rename(place)
        return load_version(place)

    def _write(self, split: str) -> None:
        rows = self._waiting.pop(split)
        if split not in self._files:
            self._files[split] = self._open.enter_context(
                pq.ParquetWriter(self.folder / f"{split}.parquet", ROWS, compression="zstd")
            )
        self._files[split].write_table(pa.Table.from_pylist(rows, ROWS), row_group_size=GROUP)


def _characters(name: str, row: Mapping[str, object]) -> int:
    return len(str(row[name] or ""))


def _said(name: str, row: Mapping[str, object]) -> int:
    turns = row[name]
    return sum(len(turn["content"]) for turn in turns) if isinstance(turns, list) else 0


_MEASURED: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "definition_lines": lambda row: str(row["bad"]).count("\n") + 1,
    "changed_lines": lambda row: changed_lines(str(row["patch"])),
    "error_characters": lambda row: _characters("error", row),
    "prompt_characters": lambda row: _said("prompt", row),
    "completion_characters": lambda row: _said("completion", row),
    "failing_tests": lambda row: len(row["failing_tests"]),
}
"""What is measured of each row."""


def _most(counts: Counter[str]) -> dict[str, int]:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    named = dict(ordered[:RARE])
    if rest := sum(n for _, n in ordered[RARE:]):
        named[REST] = rest
    return named


def _quantiles(sizes: Sequence[int]) -> dict[str, float]:
    if not sizes:
        return {}
    cuts = np.quantile(np.array(sizes), [0, 0.1, 0.5, 0.9, 1], method="nearest").tolist()
    return dict(zip(("least", "p10", "median", "p90", "most"), map(float, cuts), strict=True))
