"""Census: what the card says of a version's rows beyond what its manifest has counted.

One reading of every split, some rows at a time; what is kept grows with the repositories and not
with the rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import polars as pl

from flywheel.curate.split import TRAIN
from flywheel.curate.version import Version

TOKENS = 1024
"""Tokens to which TRL's trainers cut a row where they are not told otherwise."""
CHARACTERS = 4
"""Characters that are taken for a token; code in English has some three to four."""

_COUNTED = ("row_id", "prompt", "completion", "rejected", "repo", "commit", "license")
_PROOF = (
    "sandbox_level",
    "toolchain",
    "environment_hash",
    "oracle_strength",
    "flake_rate",
    "solved",
)
_EXAMPLE = ("example_id", "path", "symbol", "language", "source", "operator", "error")


@dataclass(slots=True)
class Work:
    """A repository that rows were taken from."""

    licenses: Counter[str | None] = field(default_factory=Counter)
    """Rows by SPDX expression; None: no licence was found."""
    commits: set[str] = field(default_factory=set)
    """Commits of the good code."""

    @property
    def rows(self) -> int:
        """Rows that are from it."""
        return self.licenses.total()


@dataclass(slots=True)
class Census:
    """What was counted, over all splits."""

    rows: int = 0
    """All rows."""
    works: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))
    """By repository."""
    levels: Counter[str] = field(default_factory=Counter)
    """Rows by level of isolation of their proof."""
    toolchains: Counter[str] = field(default_factory=Counter)
    """Rows by `profile@hash`."""
    environments: set[str] = field(default_factory=set)
    """Hashes of the environments that rows were proven in."""
    strengths: Counter[float] = field(default_factory=Counter)
    """Rows by oracle strength, those without one left out."""
    flakes: Counter[float] = field(default_factory=Counter)
    """Rows by flake rate, those of which it is not known left out."""
    tried: int = 0
    """Rows that models have tried to mend."""
    long_questions: int = 0
    """Rows whose question alone is longer than `TOKENS` times `CHARACTERS`."""
    long_rows: int = 0
    """Rows whose question and answer together are longer than that."""
    shortest: dict[str, object] | None = None
    """The shortest row of the train split, None where that is empty."""
    _least: list[int | str] | None = None


def take_census(version: Version) -> Census:
    """Read a version once; raises `DatasetError` for a file that is damaged."""
    found = Census()
    columns = [*_COUNTED, *_PROOF, *_EXAMPLE]
    for split in version.splits:
        for batch in version.batches(split, columns):
            _add(found, pl.DataFrame(batch), shown=split == TRAIN)
    return found


def quantile(counts: Counter[float], share: float) -> float:
    """The value below which that share of the counted lies, the nearest that there is."""
    wanted = share * (counts.total() - 1)
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen > wanted:
            return value
    raise ValueError("nothing was counted")


def _add(found: Census, rows: pl.DataFrame, *, shown: bool) -> None:
    found.rows += rows.height
    by_work = rows.group_by("repo", "commit", "license", maintain_order=True).len()
    for repo, commit, license_, count in by_work.iter_rows():
        found.works[repo].licenses[license_] += count
        found.works[repo].commits.add(commit)
    found.levels.update(rows["sandbox_level"].to_list())
    found.toolchains.update(rows["toolchain"].to_list())
    found.environments.update(rows["environment_hash"].unique())
    found.strengths.update(rows["oracle_strength"].drop_nulls().to_list())
    found.flakes.update(rows["flake_rate"].drop_nulls().to_list())
    found.tried += rows.height - rows["solved"].null_count()
    sizes = rows.select(
        "row_id",
        question=_said("prompt"),
        row=_said("prompt") + _said("completion"),
        whole=_said("prompt")
        + _said("completion")
        + _said("rejected")
        + pl.col("error").fill_null("").str.len_chars(),
    )
    found.long_questions += int((sizes["question"] > TOKENS * CHARACTERS).sum())
    found.long_rows += int((sizes["row"] > TOKENS * CHARACTERS).sum())
    if shown and rows.height:
        *least, at = min(zip(sizes["whole"], sizes["row_id"], range(rows.height), strict=True))
        if found._least is None or least < found._least:
            found._least = least
            found.shortest = rows.row(at, named=True)


def _said(name: str) -> pl.Expr:
    """Characters of a conversation; none where there is no conversation."""
    content = pl.element().struct.field("content").str.len_chars()
    return pl.col(name).list.eval(content).list.sum().fill_null(0).cast(pl.Int64)
