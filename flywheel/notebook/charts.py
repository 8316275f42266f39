"""Charts: the pictures of the notebooks and of the documentation, each a question it answers.

Every share has its 95 % interval and the number it is a share of. The colours are those of Okabe
and Ito (2008), which people tell apart who do not see red from green. Where there is nothing to
draw there is a `Note`, which says so, and what makes some.

Needs the extra `notebook`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, TypeVar

import altair as alt
import polars as pl

from flywheel.notebook.door import Door
from flywheel.notebook.note import Note
from flywheel.notebook.page import DatasetPage
from flywheel.store import call_sums, errors, oracles, rows, survivors, wilson, yields

BLUE, ORANGE, GREEN, RED, VIOLET, SKY, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A"),
)
INK, QUIET, FAINT = "#303030", "#5A5A5A", "#E4E4E4"
_LINES = (BLUE, ORANGE, GREEN, RED, VIOLET, SKY)
WIDTH, ROW = 460, 17
"""Pixels: breadth of a picture without its labels, and height of one of its lines."""
FATES = ("proven", "survived", "breaks everything", "unknown")
"""What may become of a candidate that is run."""
_FATE_COLOURS = (BLUE, ORANGE, GREY, FAINT)

Layers = alt.LayerChart | alt.FacetChart
"""What altair's types say of a chart of several marks; none here has facets."""
Picture = Layers | alt.VConcatChart | Note
"""A chart, or why there is none."""
_Chart = TypeVar("_Chart", bound=Layers | alt.VConcatChart)
Spent = Literal["purpose", "model", "role", "day"]
"""What costs are summed up by."""


def draw_offline() -> None:
    """Draw every chart as a picture in the notebook itself: no script, no network."""
    alt.renderers.enable("svg")


# --- harvests ---------------------------------------------------------------------------------


def yield_by_operator(door: Door, *, most: int = 25, least: int = 5) -> Picture:
    """Which operators make proven examples?

    Shown are the `most` operators with the most candidates, of those with `least` and more.
    """
    frame = yields(door.snapshot()).group_by("operator").agg(pl.col("valid", "judged").sum())
    if frame.is_empty():
        return _no_harvest("No candidate was judged in this workspace yet.")
    enough = frame.filter(pl.col("judged") >= least).sort(
        "judged", "operator", descending=[True, False]
    )
    if enough.is_empty():
        return _no_harvest(f"No operator has {least} judged candidates yet.")
    whole = int(frame["valid"].sum()) / int(frame["judged"].sum())
    left_out = frame.height - min(most, enough.height)
    mean = (
        alt.Chart(pl.DataFrame({"whole": [whole]}))
        .mark_rule(color=GREY, strokeDash=[3, 3])
        .encode(x="whole:Q")
    )
    return _finished(
        alt.layer(
            mean, _shares(enough.head(most), "operator", "valid", "judged", "candidates proven")
        ),
        "Which operators make proven examples?",
        "Share of judged candidates that the tests catch, with its 95 % interval; right: judged.",
        f"Dashed: {whole:.0%}, all {int(frame['judged'].sum()):,} together."
        + (f" {left_out} operators with fewer candidates are left out." if left_out else ""),
    )


def fates(door: Door) -> Picture:
    """What became of the candidates, by where they came from?"""
    frame = yields(door.snapshot())
    if frame.is_empty():
        return _no_harvest("No candidate was judged in this workspace yet.")
    counts = (
        frame.rename({"valid": "proven", "breaks_everything": "breaks everything"})
        .group_by("source")
        .agg(pl.col(*FATES).sum())
        .with_columns(all=pl.sum_horizontal(*FATES))
        .unpivot(index=["source", "all"], variable_name="fate", value_name="n")
        .with_columns(
            share=pl.col("n") / pl.col("all"),
            order=pl.col("fate").replace_strict({name: k for k, name in enumerate(FATES)}),
            source=pl.format("{} ({})", "source", "all"),
        )
        .sort("source", "order")
    )
    ends = counts.with_columns(
        end=pl.col("share").cum_sum().over("source"),
    ).with_columns(middle=pl.col("end") - pl.col("share") / 2)
    base = alt.Chart(ends).encode(y=_names("source", "source (judged)"))
    bars = base.mark_bar().encode(
        x=alt.X("share:Q", title="share of judged candidates", axis=alt.Axis(format="%")),
        color=alt.Color(
            "fate:N",
            scale=alt.Scale(domain=list(FATES), range=list(_FATE_COLOURS)),
            legend=alt.Legend(orient="top", title=None, columns=4),
        ),
        order="order:Q",
    )
    text = (
        base.transform_filter("datum.share > 0.06")
        .mark_text(fontSize=11)
        .encode(
            x="middle:Q",
            text=alt.Text("share:Q", format=".0%"),
            color=alt.condition("datum.fate == 'proven'", alt.value("white"), alt.value(INK)),
        )
    )
    return _finished(
        alt.layer(bars, text),
        "What became of the candidates?",
        "Proven: the tests fail with the change and pass without it. Survived: no test noticed.",
        "Unknown is never data: it could not be decided.",
        rows=max(2, counts["source"].n_unique()),
        row=26,
    )


def gaps(door: Door, *, most: int = 15) -> Picture:
    """Where do the tests not notice a change?"""
    groups = survivors(door.snapshot())
    if not groups:
        return _no_harvest("No change survived its tests in this workspace.")
    shown = groups[:most]
    places = [f"{one.path}  {one.symbol}" for one in shown]
    frame = pl.DataFrame(
        {
            "place": [
                place if places.count(place) == 1 else f"{place}  {one.repo}"
                for place, one in zip(places, shown, strict=True)
            ],
            "n": [one.count for one in shown],
        }
    )
    return _finished(
        _bars(frame, "place", "n", "changes that no test noticed", colour=ORANGE),
        "Where do the tests not notice a change?",
        f"Definitions with the most survivors: {frame.height} of {len(groups):,} that have any.",
        "Each is covered: its tests ran, and passed all the same.",
    )


# --- examples ---------------------------------------------------------------------------------


def errors_by_type(door: Door, *, most: int = 15) -> Picture:
    """How do the examples fail?"""
    frame = _named(errors(door.snapshot())).group_by("error_type").agg(pl.col("n").sum())
    if frame.is_empty():
        return _no_harvest("There is no example in this workspace yet.")
    whole = int(frame["n"].sum())
    top = frame.sort("n", "error_type", descending=[True, False]).head(most)
    rest = whole - int(top["n"].sum())
    return _finished(
        _shares(
            top.with_columns(whole=pl.lit(whole)),
            "error_type",
            "n",
            "whole",
            "examples",
            bars=True,
        ),
        "How do the examples fail?",
        "Share of examples by the exception of their first failing test, with its 95 % interval;",
        f"beside it: examples, of {whole:,}."
        + (f" {rest:,} have one of {frame.height - most} rarer ones." if rest else ""),
    )


def errors_by_operator(door: Door, *, most: int = 20, types: int = 7) -> Picture:
    """Which operators give which errors?"""
    frame = _named(errors(door.snapshot()))
    if frame.is_empty():
        return _no_harvest("There is no example in this workspace yet.")
    by_type = frame.group_by("error_type").agg(pl.col("n").sum())
    kept = by_type.sort("n", "error_type", descending=[True, False]).head(types)["error_type"]
    cells = (
        frame.with_columns(
            error_type=pl.when(pl.col("error_type").is_in(kept.implode()))
            .then("error_type")
            .otherwise(pl.lit("others"))
        )
        .group_by("operator", "error_type")
        .agg(pl.col("n").sum())
        .with_columns(whole=pl.col("n").sum().over("operator"))
        .with_columns(share=pl.col("n") / pl.col("whole"))
    )
    top = (
        cells.select("operator", "whole")
        .unique()
        .sort("whole", "operator", descending=[True, False])
        .head(most)
    )
    shown = cells.join(top.select("operator"), on="operator").with_columns(
        label=pl.format("{} ({})", "operator", "whole")
    )
    order = [f"{name} ({n})" for name, n in top.iter_rows()]
    names = [*kept, *(["others"] if (shown["error_type"] == "others").any() else [])]
    base = alt.Chart(shown).encode(
        x=alt.X(
            "error_type:N",
            sort=names,
            title=None,
            axis=alt.Axis(orient="top", labelAngle=-35, labelAlign="left", domain=False),
        ),
        y=_names("label", "operator (examples)", sort=order),
    )
    cell = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            scale=alt.Scale(range=["#F3F7FA", BLUE], domain=[0, 1]),
            legend=alt.Legend(title="share", format="%", gradientLength=90),
        )
    )
    text = base.mark_text(fontSize=10).encode(
        text="n:Q",
        color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value(INK)),
    )
    return _finished(
        alt.layer(cell, text),
        "Which operators give which errors?",
        "Examples by operator and exception; a line's colours are shares of that operator.",
        rows=top.height,
        width=44 * len(names),
    )


def oracle_strength(door: Door) -> Picture:
    """How good are the tests behind the examples?"""
    frame = oracles(door.snapshot())
    known = frame.filter(pl.col("strength").is_not_null())
    if known.is_empty():
        return Note("No example's tests were tried with wrong fixes yet.", "flywheel audit")
    bins = (
        known.with_columns(low=((pl.col("strength") * 10).floor().clip(0, 9) / 10))
        .group_by("low")
        .agg(n=pl.len(), weak=pl.col("weak").any())
        .with_columns(high=pl.col("low") + 0.1)
        .sort("low")
    )
    base = alt.Chart(bins).encode(
        x=alt.X(
            "low:Q",
            bin="binned",
            title="wrong fixes that the tests reject",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format="%"),
        ),
        x2="high:Q",
        y=alt.Y("n:Q", title="examples", axis=alt.Axis(tickMinStep=1)),
    )
    bars = base.mark_bar(stroke="white").encode(
        color=alt.condition("datum.weak", alt.value(ORANGE), alt.value(BLUE))
    )
    text = (
        alt.Chart(bins.with_columns(middle=pl.col("low") + 0.05))
        .mark_text(dy=-6, color=INK)
        .encode(x="middle:Q", y="n:Q", text="n:Q")
    )
    return _finished(
        alt.layer(bars, text),
        "How good are the tests behind the examples?",
        f"Share of wrong fixes rejected, of {known.height:,} examples that were audited;"
        f" {frame.height - known.height:,} were not.",
        "Orange: among them are weak ones, whose tests let too many through.",
        rows=13,
    )


# --- figures ----------------------------------------------------------------------------------


def trends(door: Door, kind: str, *, subjects: int = 6, metrics: int = 6) -> Picture:
    """Is it getting better?

    `kind` is what kind of runs: `harvest`, `correct`, `audit`, `metric`, `evaluate`, `optimize` or
    `spin`. Shown are the `subjects` and the `metrics` with the most figures. A line ends where the
    version of what measures changes.
    """
    frame = rows(door.snapshot(), "figures").filter(
        (pl.col("kind") == kind) & pl.col("value").is_not_null()
    )
    if frame.is_empty():
        return Note(
            f"No figure of the kind {kind!r} was measured here yet.", _MEASURED_BY.get(kind)
        )
    for name, most in (("metric", metrics), ("subject", subjects)):
        counts = frame[name].value_counts().sort("count", name, descending=[True, False])
        frame = frame.filter(pl.col(name).is_in(counts[name].head(most).implode()))
    frame = frame.with_columns(
        line=pl.concat_str("subject", "version", separator="  "),
        start=pl.col("created_at").dt.strftime("%d %b %H:%M:%S"),
    )
    names = frame["subject"].unique(maintain_order=True).to_list()
    panels = [
        _trend(told, str(name), names)
        for (name,), told in frame.group_by("metric", maintain_order=True)
    ]
    return _styled(
        alt.vconcat(*panels, spacing=24),
        f"Is it getting better? ({kind})",
        "Each point is a run, the latest on the right, with its 95 % interval where there is one;",
        "beside it: the size of its sample.",
    )


# --- programs ---------------------------------------------------------------------------------


def study_course(door: Door, study_id: str | None = None) -> Picture:
    """Did the optimiser find anything? A study, the last one where none is named."""
    every = door.studies()
    if every.is_empty():
        return Note("No program was optimised in this workspace yet.", _OPTIMIZE)
    if study_id is not None:
        every = every.filter(pl.col("study_id").str.starts_with(study_id))
    if every.is_empty():
        return Note(f"There is no study {study_id!r}.", _OPTIMIZE)
    study = every.row(-1, named=True)
    trials = rows(door.snapshot(), "study_trials").filter(
        (pl.col("study_id") == study["study_id"]) & pl.col("value").is_not_null()
    )
    if trials.is_empty():
        return Note(f"The study {study['study_id']} has scored nothing yet.", _OPTIMIZE)
    whole = trials.filter(pl.col("kind") == "full")
    best = max((whole if whole.height else trials)["value"])
    base = alt.Chart(trials).encode(
        x=alt.X("number:O", title="trial; 0 is the program as it was", axis=_LEVEL),
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(domain=["full", "minibatch", "train"], range=[BLUE, SKY, GREY]),
            legend=alt.Legend(orient="top", title=None),
        ),
    )
    y = alt.Y("value:Q", title="score", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"))
    line = alt.Chart(pl.DataFrame({"best": [best]})).mark_rule(color=GREY, strokeDash=[3, 3])
    layers = alt.layer(
        line.encode(y="best:Q"),
        base.mark_rule().encode(y=alt.Y("low:Q", title="score"), y2="high:Q"),
        base.mark_circle(size=48, opacity=1).encode(y=y),
        base.mark_text(align="left", dx=5, dy=-6, fontSize=9).encode(
            y="value:Q", text=alt.Text("n:Q", format=","), color=alt.value(QUIET)
        ),
    )
    return _styled(
        layers.properties(width=WIDTH, height=180),
        f"Did {study['optimizer']} find a better {study['module']}?",
        "Each point is a state of the program, with its 95 % interval and the size of its sample.",
        f"Dashed: the best on all of the validation, {best:.0%}. Study {study['study_id']},"
        f" {study['status']}.",
    )


def study_costs(door: Door, *, most: int = 15) -> Picture:
    """What did each study take? The last `most` of them."""
    every = door.studies()
    if every.is_empty():
        return Note("No program was optimised in this workspace yet.", _OPTIMIZE)
    scored = door.study_trials().group_by("study_id").agg(pl.len())
    # The ledger knows what was asked for a study, in all its runs; what was kept is asked once.
    tokens = door.sql(
        "SELECT run_id AS study_id, sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))"
        "::BIGINT AS tokens FROM calls WHERE status = 'ok' GROUP BY run_id"
    )
    trials = pl.when(pl.col("len") == 1).then(pl.lit("trial")).otherwise(pl.lit("trials"))
    frame = (
        every.join(scored, on="study_id", maintain_order="left")
        .join(tokens, on="study_id", how="left", maintain_order="left")
        .tail(most)
        .with_columns(pl.col("tokens").fill_null(0))
        .with_columns(label=pl.format("{} by {} ({} {})", "module", "optimizer", "len", trials))
        .with_columns(label=pl.format("{} {}", "label", pl.col("study_id").str.slice(0, 6)))
    )
    if frame.is_empty():
        return Note("No study has scored anything yet.", _OPTIMIZE)
    return _finished(
        _bars(frame, "label", "tokens", "tokens read and written"),
        "What did each study take?",
        "Tokens that models read and wrote for a study in all its runs, the oldest study on top.",
    )


def gains(door: Door, *, most: int = 20) -> Picture:
    """Which versions beat the champion? The last `most` comparisons on a hold-out."""
    frame = door.gates("split = 'holdout'").tail(most)
    if frame.is_empty():
        return Note("No two versions were compared on a hold-out yet.", _EVALUATE)
    frame = frame.with_columns(
        label=pl.format(
            "{} beside {}", pl.col("challenger"), pl.col("champion").str.split("@").list.last()
        ),
        verdict=pl.when("better")
        .then(pl.lit("better"))
        .otherwise(pl.lit("not shown to be better")),
    ).with_row_index("place")
    frame = frame.with_columns(label=pl.format("{}. {}", pl.col("place") + 1, "label"))
    base = alt.Chart(frame).encode(
        y=_names("label", None, sort=frame["label"].to_list()),
        color=alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=[_BETTER, _NOT_BETTER], range=[GREEN, GREY]),
            legend=alt.Legend(orient="top", title=None),
        ),
    )
    zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[3, 3])
    layers = alt.layer(
        zero.encode(x="zero:Q"),
        base.mark_rule(strokeWidth=1.6).encode(
            x=alt.X("low:Q", title="challenger less champion", axis=alt.Axis(format="+%")),
            x2="high:Q",
        ),
        base.mark_circle(size=48, opacity=1).encode(x="difference:Q"),
        base.mark_text(align="left", dx=6, fontSize=10).encode(
            x="high:Q", text=alt.Text("n:Q", format=","), color=alt.value(QUIET)
        ),
    )
    return _finished(
        layers,
        "Which versions beat what was deployed?",
        "Difference on the same rows of a hold-out, with its 95 % interval; right: rows.",
        "An interval that reaches over the dashed line shows nothing.",
    )


def failures(door: Door, *, most: int = 12) -> Picture:
    """Why are answers of programs worth nothing? Of the last run of each version on each row."""
    frame = door.outcomes("value = 0")
    if frame.is_empty():
        return Note("No program was run on a dataset yet.", _EVALUATE)
    counted = (
        # How many of how many tests fail makes no reason of its own.
        frame.with_columns(
            reason=pl.col("reason")
            .str.split("\n")
            .list.first()
            .str.replace_all(r"\b\d+\b", "n")
            .str.slice(0, 60)
        )
        .group_by("reason")
        .agg(n=pl.len())
        .sort("n", "reason", descending=[True, False])
    )
    return _finished(
        _bars(counted.head(most), "reason", "n", "answers"),
        "Why are answers worth nothing?",
        f"Answers of value 0 by what the metric says of them, of {frame.height:,};"
        f" {max(0, counted.height - most)} rarer reasons are left out.",
    )


_OPTIMIZE, _EVALUATE = "flywheel optimize --module repair", "flywheel evaluate --module repair"
_BETTER, _NOT_BETTER = "better", "not shown to be better"
_LEVEL = alt.Axis(labelAngle=0, labelOverlap="greedy")

_MEASURED_BY = {
    "harvest": "flywheel harvest --repo PATH",
    "correct": "flywheel correct --sample 50",
    "audit": "flywheel audit",
    "metric": "flywheel metric",
    "evaluate": "flywheel evaluate --module repair",
    "optimize": "flywheel optimize --module repair",
    "spin": "flywheel spin --repo PATH --module repair",
}


def _trend(frame: pl.DataFrame, metric: str, subjects: Sequence[str]) -> Layers:
    """One figure over the runs, with a line and a colour for each subject."""
    share = frame["low"].count() > 0 and max(frame["high"].fill_null(0).to_list()) <= 1
    base = alt.Chart(frame).encode(
        x=alt.X(
            "start:O",
            title=None,
            sort=frame["start"].to_list(),
            axis=alt.Axis(labelAngle=0, labelOverlap="greedy"),
        ),
        y=alt.Y(
            "value:Q",
            title=metric,
            axis=alt.Axis(format="%" if share else ",.3~f", tickCount=5),
            scale=alt.Scale(zero=True),
        ),
        color=alt.Color(
            "subject:N",
            scale=alt.Scale(domain=list(subjects), range=list(_LINES[: len(subjects)])),
            legend=alt.Legend(orient="top", title=None, columns=2, labelLimit=260),
        ),
    )
    interval = base.mark_rule().encode(y="low:Q", y2="high:Q")
    text = base.mark_text(align="left", dx=3, dy=-8, fontSize=9).encode(
        text=alt.Text("n:Q", format=","), color=alt.value(QUIET)
    )
    layers = alt.layer(
        base.mark_line(strokeWidth=1).encode(detail="line:N"),
        interval.transform_filter("isValid(datum.low)"),
        base.mark_circle(size=48, opacity=1),
        text,
    )
    return layers.properties(width=WIDTH, height=150)


# --- datasets ---------------------------------------------------------------------------------

_NO_DATASET = Note("No dataset was built in this workspace yet.", "flywheel dataset build NAME")


def funnel(page: DatasetPage | None) -> Picture:
    """Where did the rows go? None: there is no dataset."""
    if page is None:
        return _NO_DATASET
    stages = page.version.manifest.funnel
    if not stages:
        return Note(f"{page.version.id} has no funnel.")
    frame = pl.DataFrame(
        [
            {
                "stage": one.name,
                "rows": one.rows,
                "kept": one.rows - sum(one.dropped.values()),
                "said": ", ".join(f"{n:,} {name}" for name, n in one.dropped.items())[:70],
            }
            for one in stages
        ]
    )
    base = alt.Chart(frame).encode(y=_names("stage", None, sort=frame["stage"].to_list()))
    came = base.mark_bar(color=FAINT).encode(x=alt.X("rows:Q", title="rows"))
    kept = base.mark_bar(color=BLUE).encode(x="kept:Q")
    count = base.mark_text(align="right", dx=-4, color="white").encode(
        x="kept:Q", text=alt.Text("kept:Q", format=",")
    )
    text = base.mark_text(align="left", dx=5, color=INK).encode(x="rows:Q", text="said:N")
    return _finished(
        alt.layer(came, kept, count, text),
        f"Where did the rows of {page.version.id} go?",
        "Rows that each stage kept; beside it, what it dropped, by reason.",
        rows=frame.height,
        row=22,
    )


def composition(page: DatasetPage | None, column: str, *, most: int = 12) -> Picture:
    """What is in it? `column` is one that the version has counted, as `repo` or `difficulty`."""
    if page is None:
        return _NO_DATASET
    counts = page.version.manifest.statistics.get(column)
    if not counts:
        return Note(f"{page.version.id} has not counted {column!r}.")
    frame = pl.DataFrame(
        {"value": list(counts), "n": list(counts.values())},
        schema={"value": pl.String, "n": pl.Int64},
    ).head(most)
    return _finished(
        _bars(frame, "value", "n", "rows"),
        f"Which {column} have the rows of {page.version.manifest.name}?",
        f"Rows by {column}, of {sum(counts.values()):,} rows with {len(counts)} different ones.",
    )


# --- costs ------------------------------------------------------------------------------------


def spent(door: Door, by: Spent = "purpose", *, most: int = 15) -> Picture:
    """What do language models cost?"""
    sums = call_sums(door.snapshot(), by)
    if not sums:
        return Note("No model was called in this workspace yet.", "flywheel cost")
    frame = pl.DataFrame([asdict(one) for one in sums], infer_schema_length=None)
    unpriced = int(frame["unpriced"].sum()) + int(frame["unsettled"].sum())
    frame = frame.with_columns(tokens=pl.col("input_tokens") + pl.col("output_tokens"))
    value, what = ("usd", "US dollars") if frame["usd"].sum() else ("tokens", "tokens")
    top = frame.sort(value, "key", descending=[True, False]).head(most)
    if by == "day":
        top = top.sort("key")
    calls = int(frame["calls"].sum())
    said = f"{calls:,} calls sent, {int(frame['spared'].sum()):,} spared by kept answers."
    if unpriced:
        said += f" The price of {unpriced:,} is not known, and they are in no sum."
    return _finished(
        _bars(top, "key", value, what, form=".2f" if value == "usd" else ",", sort=top["key"]),
        f"What do language models cost, by {by}?",
        said,
    )


def seconds_per_example(door: Door, *, most: int = 25, least: int = 5) -> Picture:
    """What does an example cost in time?

    Shown are the `most` operators with the most candidates, of those with `least` and more.
    """
    frame = (
        yields(door.snapshot()).group_by("operator").agg(pl.col("valid", "judged", "seconds").sum())
    )
    proven = frame.filter((pl.col("valid") > 0) & (pl.col("judged") >= least))
    if proven.is_empty():
        return _no_harvest(f"No operator has {least} judged candidates and an example yet.")
    whole = float(frame["seconds"].sum()) / int(frame["valid"].sum())
    top = (
        proven.sort("judged", "operator", descending=[True, False])
        .head(most)
        .with_columns(each=pl.col("seconds") / pl.col("valid"))
        .with_columns(label=pl.format("{} ({})", "operator", "valid"))
        .sort("each", "operator")
    )
    return _finished(
        _bars(top, "label", "each", "seconds of tests for each example", form=".2f"),
        "What does an example cost in time?",
        "Wall time of all trials, those of candidates that came to nothing included,",
        f"for each example; in brackets: examples. All together: {whole:.2f} s.",
    )


# --- how they are drawn -----------------------------------------------------------------------


def _no_harvest(message: str) -> Note:
    return Note(message, "flywheel harvest --repo PATH")


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    unnamed = pl.col("error_type") == ""
    return frame.with_columns(
        error_type=pl.when(unnamed).then(pl.lit("no exception named")).otherwise("error_type")
    )


def _with_interval(frame: pl.DataFrame, part: str, whole: str) -> pl.DataFrame:
    """The frame with `share`, and `low` and `high` of its 95 % interval."""
    intervals = [wilson(k, n) for k, n in frame.select(part, whole).iter_rows()]
    return frame.with_columns(
        share=pl.col(part) / pl.col(whole),
        low=pl.Series([one.low for one in intervals], dtype=pl.Float64),
        high=pl.Series([one.high for one in intervals], dtype=pl.Float64),
    )


def _shares(
    frame: pl.DataFrame, name: str, part: str, whole: str, what: str, *, bars: bool = False
) -> Layers:
    """Shares with their intervals, the greatest first; beside each what it is made of."""
    told = _with_interval(frame, part, whole).sort("share", name, descending=[True, False])
    label = part if bars else whole
    most = max(told["high"].to_list()) if bars else 1.0
    base = alt.Chart(told).encode(y=_names(name, None, sort=told[name].to_list()))
    scale = alt.Scale(domain=[0, min(1.0, most * 1.08)])
    axis = alt.Axis(format="%", tickCount=8 if bars else 10)
    x = alt.X("share:Q", title=f"share of {what}", axis=axis, scale=scale)
    mark = base.mark_bar(color=SKY) if bars else base.mark_circle(size=48, color=BLUE, opacity=1)
    interval = base.mark_rule(color=BLUE, strokeWidth=1.6).encode(
        x=alt.X("low:Q", title=f"share of {what}"), x2="high:Q"
    )
    count = base.mark_text(align="left", dx=6, color=QUIET, fontSize=10).encode(
        x="high:Q" if bars else alt.value(WIDTH), text=alt.Text(f"{label}:Q", format=",")
    )
    return alt.layer(mark.encode(x=x), interval, count)


def _bars(
    frame: pl.DataFrame,
    name: str,
    value: str,
    what: str,
    *,
    form: str = ",",
    colour: str = BLUE,
    sort: Sequence[str] | pl.Series | None = None,
) -> Layers:
    """Bars in the frame's order, each with its value."""
    order = list(frame[name] if sort is None else sort)
    base = alt.Chart(frame).encode(y=_names(name, None, sort=order))
    bar = base.mark_bar(color=colour).encode(
        x=alt.X(f"{value}:Q", title=what, axis=alt.Axis(tickMinStep=1 if form == "," else 0))
    )
    text = base.mark_text(align="left", dx=4, color=INK).encode(
        x=f"{value}:Q", text=alt.Text(f"{value}:Q", format=form)
    )
    return alt.layer(bar, text)


def _names(field: str, title: str | None, sort: Sequence[str] | None = None) -> alt.Y:
    return alt.Y(
        f"{field}:N",
        title=title,
        sort=list(sort) if sort is not None else None,
        axis=alt.Axis(labelLimit=330, ticks=False, domain=False, grid=False),
    )


def _finished(
    chart: Layers,
    title: str,
    *subtitle: str,
    rows: int = 0,
    row: int = ROW,
    width: int = WIDTH,
) -> Layers:
    """The chart with its title, its size and the manner of all; `rows` where it is not discrete."""
    height: int | alt.Step = rows * row if rows else alt.Step(row)
    return _styled(chart.properties(width=width, height=height), title, *subtitle)


def _styled(chart: _Chart, title: str, *subtitle: str) -> _Chart:
    """A chart of any kind with its title and the manner of all."""
    styled: _Chart = (
        chart.properties(title=alt.TitleParams(title, subtitle=list(subtitle)))
        .configure(font="sans-serif", padding=12)
        .configure_view(stroke=None)
        .configure_title(
            anchor="start",
            frame="group",
            fontSize=15,
            color=INK,
            subtitleColor=QUIET,
            subtitleFontSize=11,
            subtitlePadding=4,
            offset=12,
        )
        .configure_axis(
            labelColor=INK,
            titleColor=QUIET,
            titleFontWeight="normal",
            gridColor="#EEEEEE",
            domainColor="#BBBBBB",
            tickColor="#BBBBBB",
        )
        .configure_legend(labelColor=INK, titleColor=QUIET, titleFontWeight="normal")
    )
    return styled
