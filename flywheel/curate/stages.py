"""Stages: what each rule of a recipe says of each row, as a reason to drop it, or none.

Rows are a data frame of small columns: those of the pool that are no text, and the features. What
comes is a column of reasons beside it, null for a row that passes. Where rows are chosen among,
those of a frozen hold-out go first, then those with the least id: so a choice does not depend on
what else there is.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from flywheel.curate.compose import NO_WRONG_ANSWER
from flywheel.curate.difficulty import EASY, HARD, MEDIUM
from flywheel.curate.licence import refused
from flywheel.curate.recipe import Balance, Difficulty, Duplicates, Licence, Quality, Secrets

MODULE = "<module>"
"""The symbol of code that stands in no definition."""


def quality(rows: pl.DataFrame, rules: Quality) -> pl.Series:
    """What a row must be, by itself."""
    strength, flakes = pl.col("oracle_strength"), pl.col("flake_rate")
    checks: list[tuple[bool, pl.Expr, str]] = [
        (bool(rules.languages), ~pl.col("language").is_in(rules.languages), "other-language"),
        (rules.definition, pl.col("files").list.len() > 1, "several-places"),
        (rules.definition, pl.col("symbol") == MODULE, "no-definition"),
        (not rules.unaudited, strength.is_null(), "not-audited"),
        (
            rules.least_oracle_strength is not None,
            strength < (rules.least_oracle_strength or 0),
            "weak-oracle",
        ),
        (True, flakes.is_null(), "flake-rate-unknown"),
        (True, flakes > rules.most_flake_rate, "flaky"),
        (True, pl.col("changed_lines") > rules.most_changed_lines, "large-patch"),
        (True, pl.col("error_characters") == 0, "no-error"),
        (True, pl.col("error_characters") > rules.most_error, "long-error"),
        (True, pl.col("lines") < rules.least_lines, "short-definition"),
        (True, pl.col("lines") > rules.most_lines, "long-definition"),
        (rules.test_source, ~pl.col("has_test_source"), "no-test-source"),
    ]
    return _first(rows, [(check, reason) for asked, check, reason in checks if asked])


def licence(rows: pl.DataFrame, rules: Licence) -> pl.Series:
    """Whether its repository's licence is one of those allowed."""
    return _by_value(rows["license"], lambda one: refused(one, rules))


def secrets(rows: pl.DataFrame, rules: Secrets) -> pl.Series:
    """Whether it, or its good definition, holds what must not be published."""
    asked = [("key", rules.keys), ("personal", rules.personal)]
    checks = [
        (pl.col(kind) | pl.col(f"{kind}_in_definition"), kind) for kind, wanted in asked if wanted
    ]
    return _first(rows, checks)


def duplicates(rows: pl.DataFrame, rules: Duplicates) -> pl.Series:
    """Whether others make the same change to the same definition, or nearly the same."""
    place = pl.int_range(pl.len())
    exact, near = ["normal_hash", "change"], ["cluster", "change"]
    found = _ranked(rows).with_columns(place.over(exact).alias("exact") >= rules.keep)
    kept = found.filter(~pl.col("exact")).with_columns(place.over(near).alias("near") >= rules.keep)
    marked = found.join(kept.select("row", "near"), on="row", how="left")
    return _in_order(
        marked,
        pl.when(pl.col("exact")).then(pl.lit("exact")).when(pl.col("near")).then(pl.lit("near")),
    )


def difficulty(rows: pl.DataFrame, rules: Difficulty) -> pl.Series:
    """Whether it is of a level that is wanted."""
    levels = [level for level in (EASY, MEDIUM, HARD) if level not in rules.keep]
    return _first(rows, [(pl.col("difficulty") == level, level) for level in levels])


def balance(rows: pl.DataFrame, rules: Balance) -> pl.Series:
    """Whether there are enough of its like."""
    limits = [
        ("place", rules.per_definition, "definition"),
        ("operator", rules.per_operator, "operator"),
        ("source", rules.per_source, "source"),
        ("difficulty", rules.per_difficulty, "difficulty"),
        ("repository", rules.per_repository, "repository"),
    ]
    found = _ranked(rows).with_columns(pl.lit(None, pl.String).alias("reason"))
    for column, limit, reason in limits:
        if limit is not None:
            left = found.filter(pl.col("reason").is_null())
            over = left.filter(pl.int_range(pl.len()).over(column) >= limit)
            found = found.with_columns(
                pl.when(pl.col("row").is_in(over["row"].implode()))
                .then(pl.lit(f"enough-of-{reason}"))
                .otherwise(pl.col("reason"))
                .alias("reason")
            )
    return _in_order(found, pl.col("reason"))


def alike(rows: pl.DataFrame, reasons: pl.Series) -> pl.Series:
    """How many rows were dropped as duplicates, for each row that was kept in their place."""
    marked = rows.select("cluster", "change").with_columns(reasons.alias("reason"))
    dropped = pl.col("reason").is_not_null().sum()
    kept = pl.col("reason").is_null().sum()
    # Where several of them are kept, those dropped are shared out, the rest going to none.
    counts = marked.select((dropped // kept.clip(lower_bound=1)).over("cluster", "change"))
    return counts.to_series().cast(pl.Int32)


def without_wrong_answer(rows: pl.DataFrame, tried: pl.Series) -> pl.Series:
    """Whether neither a model answered it in vain (`tried`) nor its definition has another bug."""
    alone = (pl.len().over("text") == 1) & ~pl.col("example_id").is_in(tried.implode())
    return _first(rows, [(alone, NO_WRONG_ANSWER)])


def _first(rows: pl.DataFrame, checks: list[tuple[pl.Expr, str]]) -> pl.Series:
    """The reason of the first check that holds."""
    reasons = [pl.when(check).then(pl.lit(reason)) for check, reason in checks]
    reason = pl.coalesce(*reasons) if reasons else pl.lit(None, pl.String)
    # A literal alone would be one row long.
    return rows.with_columns(reason.alias("reason")).get_column("reason")


def _by_value(values: pl.Series, reason: Callable[[str | None], str | None]) -> pl.Series:
    """The reason of each value, asked once for a value."""
    known = {one: reason(one) for one in values.unique().to_list()}
    return pl.Series("reason", [known[one] for one in values.to_list()], pl.String)


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order in which they are chosen, `row` their place before."""
    return rows.with_row_index("row").sort(
        pl.col("frozen").not_(), pl.col("example_id"), maintain_order=True
    )


def _in_order(found: pl.DataFrame, reason: pl.Expr) -> pl.Series:
    return found.select("row", reason.alias("reason")).sort("row").get_column("reason")
