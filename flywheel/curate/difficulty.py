"""Difficulty: how hard a row is to mend.

Where models have tried it often enough, their rate of success decides. For the others it is
guessed from the row: how much is changed, how long the definition is in which it must be found, and
whether the error says where. The guess is a rule of thumb, and says so in its weights; what models
achieve is the measure.
"""

from __future__ import annotations

import polars as pl

EASY, MEDIUM, HARD = "easy", "medium", "hard"
"""The levels."""
ENOUGH = 4
"""Attempts from which their rate of success decides."""
EASY_FROM, HARD_BELOW = 0.5, 0.1
"""Share of attempts that mend it, from which a row is easy, and below which it is hard."""
LONG, VERY_LONG = 12, 40
"""Lines of a definition in which a wrong one is not seen at once, and not seen soon."""
SMALL, LARGE = 2, 8
"""Lines that a fix changes: one in place of one, and more than a glance."""
MEDIUM_FROM, HARD_FROM = 2, 4
"""Points from which a row is guessed to be of a level."""


def difficulty() -> pl.Expr:
    """The level of rows with `mended`, `attempted`, `lines`, `changed_lines` and `shown`."""
    tried = pl.col("attempted").fill_null(0)
    rate = pl.col("mended").fill_null(0) / tried
    points = (
        (pl.col("lines") > LONG).cast(pl.Int32)
        + (pl.col("lines") > VERY_LONG).cast(pl.Int32)
        + (pl.col("changed_lines") > SMALL).cast(pl.Int32)
        + (pl.col("changed_lines") > LARGE).cast(pl.Int32)
        + (~pl.col("shown")).cast(pl.Int32)
    )
    return (
        pl.when((tried >= ENOUGH) & (rate >= EASY_FROM))
        .then(pl.lit(EASY))
        .when((tried >= ENOUGH) & (rate < HARD_BELOW))
        .then(pl.lit(HARD))
        .when(tried >= ENOUGH)
        .then(pl.lit(MEDIUM))
        .when(points >= HARD_FROM)
        .then(pl.lit(HARD))
        .when(points >= MEDIUM_FROM)
        .then(pl.lit(MEDIUM))
        .otherwise(pl.lit(EASY))
    )
