"""Choosing: which rows of a pool a recipe takes, stage by stage, and into which split each goes.

Only small columns are in memory; the texts stay in the pool. Each stage's drops are counted by
reason and noted row by row in the reports of the version, so that one can ask why a row is not in
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel.core.errors import DatasetError
from flywheel.core.identity import bytes_hash
from flywheel.curate.compose import NEEDS_WRONG
from flywheel.curate.contamination import Matcher
from flywheel.curate.difficulty import difficulty as level
from flywheel.curate.draft import Draft
from flywheel.curate.duplicates import families
from flywheel.curate.features import Features
from flywheel.curate.funnel import Funnel
from flywheel.curate.holdout import COLUMNS
from flywheel.curate.normal import shingles
from flywheel.curate.recipe import Recipe
from flywheel.curate.reviewed import entry, load_reviewed
from flywheel.curate.split import HOLDOUT, LINKS, NEAR, SHINGLE, part
from flywheel.curate.stages import (
    alike,
    balance,
    difficulty,
    duplicates,
    licence,
    quality,
    secrets,
    without_wrong_answer,
)
from flywheel.curate.version import DROPPED
from flywheel.curate.wrong import answered
from flywheel.store.pool import Pool

SECRETS, CONTAMINATION = "secrets.jsonl", "contamination.toml"
"""Reports: each secret that was found, masked, and each match with a benchmark, as an entry that a
person may copy into the reviewed ones."""

_SMALL = [
    *("example_id", "content", "definition", "repo", "path", "symbol", "language", "license"),
    *("source", "operator", "oracle_strength", "flake_rate", "files", "lineage", "mended"),
    *("attempted", "at"),
]
_ONE_LINE = dict.fromkeys((*range(32), 127), " ")
_TIME = "%Y-%m-%dT%H:%M:%S.%f"


class Choice:
    """The rows of one pool for one recipe; `held` is the hold-out, None where there is none yet."""

    def __init__(
        self,
        recipe: Recipe,
        pool: Pool,
        found: Features,
        *,
        held: pl.DataFrame | None,
        matcher: Matcher,
        draft: Draft,
    ) -> None:
        self.funnel = Funnel()
        """What each stage so far kept and dropped."""
        self.held_out = pl.DataFrame(schema=COLUMNS)
        """The rows that are held out, as a hold-out keeps them."""
        self._recipe = recipe
        self._rules = recipe.rules
        self._pool = pool
        self._found = found
        self._held = held
        self._matcher = matcher
        self._draft = draft
        self._dropped: list[pl.DataFrame] = []

    def rows(self) -> pl.DataFrame:
        """What is taken, in the order of `example_id`, with its `split`.

        Raises `DatasetError` where no row is left, naming the stage that dropped the last.
        """
        rules = self._rules
        rows = self._small()
        self.funnel.add(
            "select", self._pool.stored, ["not-selected"] * (self._pool.stored - rows.height)
        )
        if not rows.height:
            raise self._empty()
        rows = self._passed("quality", rows, quality(rows, rules.quality))
        rows = self._passed("licence", rows, licence(rows, rules.licence))
        self._report_secrets(rows)
        rows = self._passed("secrets", rows, secrets(rows, rules.secrets))
        rows = self._with_families(rows)
        reasons = duplicates(rows, rules.duplicates)
        rows = rows.with_columns(alike(rows, reasons).alias("alike"))
        rows = self._passed("duplicates", rows, reasons)
        rows = self._passed("contamination", rows, self._contaminated(rows))
        rows = self._passed("difficulty", rows, difficulty(rows, rules.difficulty))
        rows = self._passed("balance", rows, balance(rows, rules.balance))
        if rules.task in NEEDS_WRONG:
            tried = answered(self._pool)
            rows = self._passed("wrong-answers", rows, without_wrong_answer(rows, tried))
        rows = self._parted(rows)
        self.held_out = self._kept_of(rows.filter(pl.col("split") == HOLDOUT))
        if rules.task in NEEDS_WRONG:
            # The split may have dropped the other bug of a definition.
            rows = self._passed("left-alone", rows, without_wrong_answer(rows, tried))
        dropped = pl.concat(self._dropped).sort("example_id")
        dropped.write_parquet(self._draft.report(DROPPED), compression="zstd")
        return rows

    def _kept_of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows as a hold-out keeps them."""
        normals = self._found.definitions.select(pl.col("definition").alias("text"), "normal")
        by = pl.lit(self._rules.split.by).alias("by")
        return _linked(rows.join(normals, on="text", how="left")).with_columns(by)

    def _small(self) -> pl.DataFrame:
        """The rows of the pool as the stages look at them."""
        texts = pl.scan_parquet(self._pool.rows)
        sourced = pl.col("test_source").fill_null("") != ""
        rows = texts.select(*_SMALL, sourced.alias("has_test_source")).collect()
        rows = rows.sort("example_id").join(
            self._found.rows, on="content", how="left", maintain_order="left"
        )
        of_definition = self._found.definitions.select(
            pl.col("definition"),
            pl.col("key", "personal", "found").name.suffix("_in_definition"),
            pl.col("normal").hash(0).alias("normal_hash"),
        )
        rows = rows.join(of_definition, on="definition", how="left", maintain_order="left")
        held = pl.Series([], dtype=pl.String) if self._held is None else self._held["example_id"]
        rows = rows.rename({"definition": "text"}).with_columns(
            # Another version of a package is no other repository: most of its code is the same.
            pl.col("repo").str.replace(r"^(pypi:[^=]+)==.*$", "$1").alias("repository"),
            pl.col("example_id").is_in(held.implode()).alias("frozen"),
            level().alias("difficulty"),
        )
        return rows.with_columns(
            pl.concat_str("repository", "path", "symbol", separator="\0").alias("place")
        )

    def _passed(self, name: str, rows: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
        """The rows without a reason; the others are counted and noted."""
        dropped = reasons.is_not_null()
        self.funnel.add(name, rows.height, reasons.drop_nulls().to_list())
        noted = rows.select("example_id", pl.lit(name).alias("stage"), reasons.alias("reason"))
        self._dropped.append(noted.filter(dropped))
        if dropped.all():
            raise self._empty()
        return rows.filter(~dropped)

    def _empty(self) -> DatasetError:
        told = []
        for stage in self.funnel.stages:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in stage.dropped.items())
            told.append(f"{stage.name}: {stage.rows:,} came" + (f", {reasons}" if reasons else ""))
        last = self.funnel.emptied
        if last is None:
            return DatasetError(
                f"{self._recipe.name}: the store has no example.",
                hint="flywheel harvest --repo PATH makes some",
            )
        return DatasetError(
            f"{self._recipe.name}: no row is left after {last.name}.",
            cause="; ".join(told),
            hint=f"look at [{last.name}] in {self._recipe.folder / 'recipe.toml'}",
        )

    def _report_secrets(self, rows: pl.DataFrame) -> None:
        """Note where something was found that must not be published, by its masked beginning."""
        where = ["example_id", "repo", "path", "symbol"]
        kept = {"row": "found", "definition": "found_in_definition"}
        some = rows.filter(pl.any_horizontal(pl.col(*kept.values()).is_not_null()))
        lines = (
            {name: row[name] for name in where} | finding | {"in": place}
            for row in some.select(*where, *kept.values()).iter_rows(named=True)
            for place, column in kept.items()
            for finding in json.loads(row[column] or "[]")
        )
        _write_lines(self._draft, SECRETS, lines)

    def _with_families(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with the family of their definition, those of the hold-out among them.

        What is near for a split is not for a recipe to say; by its own measure rows are in a
        `cluster`, of which one is kept.
        """
        rules = self._rules.duplicates
        here = self._definitions(rows)
        texts = here["normal"].to_list()
        if self._held is not None:
            texts += self._held["normal"].to_list()
        names = [bytes_hash(text.encode(errors="replace")) for text in texts]
        family = _named(names, families(shingles(texts, SHINGLE), min(rules.near, NEAR)))
        alike = family
        if (rules.shingle, rules.near) != (SHINGLE, min(rules.near, NEAR)):
            alike = _named(names, families(shingles(texts, rules.shingle), rules.near))
        if self._held is not None:
            self._held = self._held.with_columns(family.slice(here.height).alias("family"))
        of_text = here.select(
            pl.col("definition").alias("text"),
            family.slice(0, here.height).alias("family"),
            alike.slice(0, here.height).alias("cluster"),
        )
        return rows.join(of_text, on="text", how="left", maintain_order="left")

    def _contaminated(self, rows: pl.DataFrame) -> pl.Series:
        """The benchmark that a row's definition is of; each match is noted for a person to see."""
        here = self._definitions(rows)
        first = rows.unique("text", keep="first", maintain_order=True)
        shown = {row["text"]: row for row in first.iter_rows(named=True)}
        reviewed = load_reviewed(self._rules.contamination, self._recipe.folder)
        forms = here["normal"].to_list()
        of: dict[str, str] = {}
        with self._draft.report(CONTAMINATION).open("w", encoding="utf-8") as file:
            for match in self._matcher.match(forms):
                form, text = forms[match.text], here["definition"][match.text]
                false = reviewed.lets_pass(match, form)
                if not false:
                    of.setdefault(text, match.benchmark)
                where = " ".join(str(shown[text][name]) for name in ("repo", "path", "symbol"))
                said = "let pass, as reviewed" if false else "dropped"
                file.write(f"# {where.translate(_ONE_LINE)}: {said}\n{entry(match, form)}\n")
        return pl.Series("reason", [of.get(text) for text in rows["text"]], pl.String)

    def _definitions(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The definitions of some rows, each once."""
        texts = rows["text"].unique().implode()
        return self._found.definitions.filter(pl.col("definition").is_in(texts))

    def _parted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with their split and the first row that they hang together with."""
        columns = ["example_id", "repo", "at", *LINKS]
        held = None if self._held is None else self._held.select(columns)
        parted = part(_linked(rows).select(columns), self._rules.split, held)
        placed = rows.with_columns(
            pl.Series("split", parted.split, pl.String),
            rows["example_id"].gather(parted.component).alias("component"),
        )
        return self._passed("split", placed, pl.Series("reason", parted.reason, pl.String))


def _named(names: list[str], roots: NDArray[np.int64]) -> pl.Series:
    """Families by the least hash of their normal forms, whatever order those come in."""
    least: dict[int, str] = {}
    for root, name in zip(roots.tolist(), names, strict=True):
        least[root] = min(name, least.get(root, name))
    return pl.Series([least[root] for root in roots.tolist()], dtype=pl.String)


def _linked(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with what they hang together by."""
    return rows.with_columns(
        pl.col("repository").alias("repo"),
        pl.col("at").dt.strftime(_TIME).alias("at"),
        pl.col("place").alias("definition"),
        # A path is of a repository: two may have one of the same name.
        pl.struct("repository", "files")
        .map_elements(
            lambda one: [f"{one['repository']}\0{path}" for path in one["files"]],
            return_dtype=pl.List(pl.String),
        )
        .alias("files"),
    )


def _write_lines(draft: Draft, name: str, lines: Iterable[dict[str, Any]]) -> None:
    with draft.report(name).open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
