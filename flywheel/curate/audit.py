"""Audits: whether anything of one split of a version is in another.

This is another program than the one that made the splits: it reads the finished files, knows
nothing of components, and finds near duplicates exactly, where the build sketches them. Two sets
with a share `t` in common have one of their rarest elements in common, so only pairs that share
one of the first `n - ceil(t n) + 1` are compared, and no pair is missed.

Source: Chaudhuri, Ganti and Kaushik, A primitive operator for similarity joins (2006).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl

from flywheel.core.errors import UsageError
from flywheel.core.patch import hunks
from flywheel.curate.holdout import frozen, named
from flywheel.curate.normal import normal, shingles
from flywheel.curate.recipe import FILE, load_recipe
from flywheel.curate.split import HOLDOUT, NEAR, SHINGLE
from flywheel.curate.version import (
    BASELINES,
    MANIFEST,
    Digest,
    Version,
    identity,
    rows_hash,
)

SHOWN = 20
"""Leaks of one kind that are named; the rest are counted."""

_RANK = {split: rank for rank, split in enumerate(("train", "validation", "holdout"))}


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that is where it may not be."""

    split: str
    """The split it is in."""
    row: str
    """The row, or what else it is."""
    other_split: str
    """The other split."""
    other: str
    """The row there, or what it is compared with."""
    detail: str
    """What both have."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question that was asked of a version."""

    name: str
    """`same-example`, `near-duplicate` …"""
    looked: int
    """Rows, definitions or pairs that were looked at."""
    unit: str
    """Which of them."""
    found: int
    """Leaks, of which some are named."""
    leaks: tuple[Leak, ...]
    """The first of them."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit found."""

    version: str
    """`NAME@HASH`."""
    checks: tuple[Check, ...]
    """Every question, whatever was found."""

    @property
    def leaks(self) -> int:
        """Leaks of all kinds."""
        return sum(check.found for check in self.checks)


def audit(version: Version, root: Path) -> Audited:
    """Look for leaks in a version; `root` is the folder with the workspace's hold-outs."""
    rows = _Rows(version)
    rules = version.manifest.rules
    held = frozen(root, rules.split.holdout_name)
    checks = [_altered(version, rows), _of_holdout(version, held, rows)]
    if held is not None:
        rows.add_held(held)
    for name, keys in (
        ("same-example", rows.table["example_id"]),
        ("same-bug", rows.table["candidate_id"]),
        ("same-definition", rows.table["definition"]),
        ("same-file", rows.table["file"]),
        ("same-wrong-code", rows.table["wrong"]),
        ("same-right-code", rows.table["right"]),
    ):
        checks.append(_shared(name, rows.table, keys))
    if rules.split.by == "repository":
        checks.append(_shared("same-repository", rows.table, rows.table["repository"]))
    if rules.split.by == "time":
        checks.append(_later(rows.table))
    checks.append(_near(rows, min(rules.duplicates.near, NEAR)))
    checks.append(_told(rows))
    return Audited(version.id, tuple(checks))


class _Rows:
    """What is compared, of every row of a version."""

    def __init__(self, version: Version) -> None:
        self.digests: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []
        """Rows whose question holds their answer."""
        self.normals: dict[str, str] = {}
        """Normal form of each different right definition, by its hash."""
        self._known: dict[str, str] = {}
        columns: dict[str, list[object]] = defaultdict(list)
        answers = version.manifest.rules.task not in ("insertion", "explanation")
        for split in version.splits:
            digest = Digest()
            for batch in version.batches(split):
                for row in batch.to_pylist():
                    digest.add(row)
                    bad, good = row["bad"] or "", row["good"] or ""
                    right = self._normal(good, row["language"])
                    package = row["repo"].split("==")[0]
                    columns["split"].append(split)
                    columns["row_id"].append(row["row_id"])
                    columns["example_id"].append(row["example_id"])
                    columns["candidate_id"].append(row["candidate_id"])
                    columns["repository"].append(package)
                    columns["definition"].append(f"{package} {row['path']} {row['symbol']}")
                    columns["file"].append(f"{package} {row['path']}")
                    columns["wrong"].append(_hash("".join(bad.split())))
                    columns["right"].append(right)
                    columns["at"].append(row["at"])
                    if answers and _holds(row["prompt"] or [], bad, good, row["patch"] or ""):
                        self.told.append((split, row["row_id"]))
            self.digests[split] = digest.hex
        self.table = pl.DataFrame(columns, schema_overrides={"at": pl.Datetime("us", "UTC")})

    def add_held(self, held: pl.DataFrame) -> None:
        """Add the rows of the hold-out that the version has not: they are held out all the same."""
        absent = held.filter(~pl.col("example_id").is_in(self.table["example_id"].implode()))
        added: dict[str, list[object]] = {name: [] for name in self.table.columns}
        for row in absent.iter_rows(named=True):
            right = _hash(row["normal"])
            self.normals.setdefault(right, row["normal"])
            keys = {
                "split": HOLDOUT,
                "row_id": row["example_id"],
                "example_id": row["example_id"],
                "candidate_id": row["lineage"][0],
                "repository": row["repo"],
                "definition": row["definition"].replace("\0", " "),
                "file": row["files"][0].replace("\0", " "),
                "wrong": row["example_id"],
                "right": right,
                "at": None,
            }
            for name, value in keys.items():
                added[name].append(value)
        self.table = pl.concat([self.table, pl.DataFrame(added, schema=self.table.schema)])

    def _normal(self, good: str, language: str) -> str:
        key = _hash(f"{language}\0{good}")
        if key not in self._known:
            text = normal(good, language)
            self._known[key] = _hash(text)
            self.normals.setdefault(self._known[key], text)
        return self._known[key]


def _hash(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _holds(prompt: list[dict[str, str]], bad: str, good: str, patch: str) -> bool:
    """Whether a question holds the right code elsewhere than within the wrong one, or the change.

    A bug may be a line too many at the end. What the assistant said is wrong code too.
    """
    asked = [turn["content"].replace(bad, "") for turn in prompt if turn["role"] == "user"]
    changes = [
        "\n".join(sign + text for sign, text in hunk if sign != " ") for hunk in hunks(patch)
    ]
    told = [good, *(change for change in changes if change.startswith("-"))]
    return any(one in text for one in told for text in asked)


def _altered(version: Version, rows: _Rows) -> Check:
    """Whether the files are those that were built."""
    found = [
        Leak(split, f"{split}.parquet", split, counts.sha256, "they are not the rows of the build")
        for split, counts in version.manifest.splits.items()
        if rows.digests[split] != counts.sha256
    ]
    manifest = version.manifest
    said = identity(manifest.model_dump(mode="json"))
    if not said == manifest.hash == version.folder.name.rpartition("@")[2]:
        found.append(Leak(MANIFEST, manifest.hash, MANIFEST, said, "it was written otherwise"))
    try:
        recipe = load_recipe(manifest.name, version.folder)
        same = (recipe.hash, recipe.rules) == (manifest.recipe, manifest.rules)
    except UsageError:
        same = False
    if not same:
        found.append(Leak(FILE, manifest.recipe, FILE, manifest.name, "the recipe is another"))
    proven_in = rows_hash(list(version.baselines().values()))
    if proven_in != manifest.baselines:
        found.append(Leak(BASELINES, manifest.baselines, BASELINES, proven_in, "it is another"))
    return Check("altered", len(rows.digests) + 3, "files", len(found), tuple(found))


def _of_holdout(version: Version, held: pl.DataFrame | None, rows: _Rows) -> Check:
    """Whether the hold-out is the workspace's, and in no other split."""
    name = version.manifest.rules.split.holdout_name
    said = version.manifest.holdout
    found: list[Leak] = []
    if held is None:
        if said is not None:
            detail = "this workspace has no such hold-out: audit it where it was built"
            found.append(Leak(HOLDOUT, version.id, HOLDOUT, name, detail))
        return Check("frozen-holdout", 0, "rows", len(found), tuple(found))
    ids = set(held["example_id"].to_list())
    if said is not None and named(name, held) != said:
        found.append(Leak(HOLDOUT, version.id, HOLDOUT, name, "it was built with another one"))
    for split, row, example in rows.table.select("split", "row_id", "example_id").iter_rows():
        if (split == HOLDOUT) != (example in ids):
            detail = "is held out" if example in ids else "is not in the frozen hold-out"
            found.append(Leak(split, row, HOLDOUT, example, detail))
    return Check("frozen-holdout", len(ids), "rows", len(found), tuple(found[:SHOWN]))


def _shared(name: str, table: pl.DataFrame, keys: pl.Series) -> Check:
    """Values that rows of two splits have; two questions of one example are one row."""
    frame = table.select("split", "row_id", keys.alias("key")).unique(["split", "key"], keep="any")
    several = frame.group_by("key").agg(
        pl.col("split").sort_by(pl.col("split").replace_strict(_RANK, return_dtype=pl.Int8)),
        pl.col("row_id").sort_by(pl.col("split").replace_strict(_RANK, return_dtype=pl.Int8)),
    )
    leaks = several.filter(pl.col("split").list.len() > 1).sort("key")
    found = [
        Leak(splits[-1], ids[-1], splits[0], ids[0], key)
        for key, splits, ids in leaks.head(SHOWN).iter_rows()
    ]
    return Check(name, keys.n_unique(), "values", leaks.height, tuple(found))


def _later(table: pl.DataFrame) -> Check:
    """Rows of a lesser split that are not older than all of the greater ones."""
    found: list[Leak] = []
    count = 0
    for lesser, greater in (
        ("train", "validation"),
        ("validation", "holdout"),
        ("train", "holdout"),
    ):
        first = table.filter(pl.col("split") == greater)["at"].min()
        if first is not None:
            late = table.filter((pl.col("split") == lesser) & (pl.col("at") >= first))
            count += late.height
            found += [
                Leak(lesser, row, greater, str(first), f"it is of {at}")
                for row, at in late.select("row_id", "at").head(SHOWN).iter_rows()
            ]
    return Check("not-older", table.height, "rows", count, tuple(found[:SHOWN]))


def _near(rows: _Rows, near: float) -> Check:
    """Pairs of right definitions of different splits that are near duplicates, all of them."""
    placed = rows.table.select("right", "split", "row_id").unique(
        ["right", "split"], keep="first", maintain_order=True
    )
    names = list(rows.normals)
    number = {name: place for place, name in enumerate(names)}
    where: dict[int, dict[str, str]] = defaultdict(dict)
    for name, split, row in placed.iter_rows():
        where[number[name]][split] = row
    found: list[Leak] = []
    compared = count = 0
    sets = shingles([rows.normals[name] for name in names], SHINGLE)
    for one, other in _pairs(sets.values, sets.starts, near):
        # Equal ones are told by the check for the same code.
        apart = [(a, b) for a in where[one] for b in where[other] if a != b]
        if not apart:
            continue
        compared += 1
        share = sets.similarity(one, other)
        if share >= near:
            count += 1
            if len(found) < SHOWN:
                a, b = max(apart, key=lambda pair: (_RANK[pair[0]], _RANK[pair[1]]))
                found.append(Leak(a, where[one][a], b, where[other][b], f"{share:.2f} alike"))
    return Check("near-duplicate", compared, "pairs", count, tuple(found))


def _pairs(
    values: np.ndarray[tuple[int], np.dtype[np.uint64]],
    starts: np.ndarray[tuple[int], np.dtype[np.int64]],
    near: float,
) -> Iterator[tuple[int, int]]:
    """Pairs of sets that have one of their rarest elements in common, each once."""
    different, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    rarity = np.empty(len(different), dtype=np.int64)
    rarity[np.argsort(counts, kind="stable")] = np.arange(len(different))
    ranks = rarity[codes]
    postings: dict[int, list[int]] = defaultdict(list)
    for place in range(len(starts) - 1):
        mine = np.sort(ranks[starts[place] : starts[place + 1]])
        # Less a little: a product that should be whole may be a hair above.
        first = mine[: len(mine) - math.ceil(near * len(mine) - 1e-9) + 1].tolist()
        seen: set[int] = set()
        for rank in first:
            seen.update(postings[rank])
            postings[rank].append(place)
        for other in sorted(seen):
            yield other, place


def _told(rows: _Rows) -> Check:
    """Questions that hold their answer."""
    found = [
        Leak(split, row, split, row, "the question holds the right code")
        for split, row in rows.told[:SHOWN]
    ]
    return Check("answer-in-question", rows.table.height, "rows", len(rows.told), tuple(found))
