"""Charts: each has its interval and its sample, or says what there is nothing of."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import vl_convert

import flywheel
from flywheel.notebook import Door, Note, charts
from flywheel.store import (
    Figure,
    KeptOutcome,
    Store,
    Trialled,
    record_calls,
    record_figures,
    record_outcomes,
)
from tests.fakes.programs import programs
from tests.fakes.stores import Filled
from tests.fakes.versions import version
from tests.store.test_calls import OK

DRAWN: dict[str, Callable[[Door], charts.Picture]] = {
    "yield_by_operator": charts.yield_by_operator,
    "fates": charts.fates,
    "gaps": charts.gaps,
    "errors_by_type": charts.errors_by_type,
    "errors_by_operator": charts.errors_by_operator,
    "oracle_strength": charts.oracle_strength,
    "seconds_per_example": charts.seconds_per_example,
}
NEEDS_MORE: dict[str, Callable[[Door], charts.Picture]] = {
    "spent": charts.spent,
    "trends": lambda door: charts.trends(door, "harvest"),
    "funnel": lambda door: charts.funnel(door.newest_dataset()),
    "composition": lambda door: charts.composition(door.newest_dataset(), "repo"),
}
OF_PROGRAMS: dict[str, Callable[[Door], charts.Picture]] = {
    "study_course": charts.study_course,
    "study_costs": charts.study_costs,
    "gains": charts.gains,
    "failures": charts.failures,
    "spin": lambda door: charts.trends(door, "spin"),
}


def drawn(picture: charts.Picture) -> str:
    """The picture as SVG, whole."""
    assert not isinstance(picture, Note)
    svg = vl_convert.vegalite_to_svg(picture.to_dict())
    ElementTree.fromstring(svg)
    return svg


@pytest.mark.parametrize("name", DRAWN)
def test_a_furnished_store_is_drawn_with_a_question_as_title(fw: Door, name: str) -> None:
    svg = drawn(DRAWN[name](fw))
    assert "?</text>" in svg
    assert "NaN" not in svg
    assert "undefined" not in svg


@pytest.mark.parametrize("name", [*DRAWN, *NEEDS_MORE, *OF_PROGRAMS])
def test_a_bare_store_gives_a_note_with_the_command_that_helps(bare: Path, name: str) -> None:
    note = {**DRAWN, **NEEDS_MORE, **OF_PROGRAMS}[name](flywheel.open(bare))
    assert isinstance(note, Note)
    assert (note.command or "").startswith("flywheel ")


@pytest.mark.parametrize("name", OF_PROGRAMS)
def test_what_was_found_of_programs_is_drawn(bare: Path, name: str) -> None:
    programs(Store(bare / ".flywheel" / "flywheel.duckdb"))
    svg = drawn(OF_PROGRAMS[name](flywheel.open(bare)))
    assert "?" in svg
    assert "NaN" not in svg


def test_a_study_is_drawn_with_the_trials_that_are_known(bare: Path) -> None:
    programs(Store(bare / ".flywheel" / "flywheel.duckdb"))
    fw = flywheel.open(bare)
    picture = charts.study_course(fw, "stu")
    assert not isinstance(picture, Note)
    drawn = [rows for rows in picture.to_dict()["datasets"].values() if "number" in rows[0]]
    # The one of which nothing is known is left out, and a minibatch is never the best.
    assert [one["number"] for one in drawn[0]] == [0, 1, 3]
    assert "the best on all of the validation, 40%" in str(picture.to_dict()["title"])
    assert isinstance(charts.study_course(fw, "other"), Note)


def test_what_a_study_took_is_by_the_ledger_each_answer_once(bare: Path) -> None:
    store = Store(bare / ".flywheel" / "flywheel.duckdb")
    programs(store)
    asked = replace(OK, run_id="study1", purpose="optimize:student")
    kept = {"ok": (900, 50), "cached": (900, 50), "overloaded": (None, None)}
    record_calls(
        store,
        [
            replace(asked, call_id=status, status=status, input_tokens=read, output_tokens=wrote)
            for status, (read, wrote) in kept.items()
        ],
    )
    picture = charts.study_costs(flywheel.open(bare))
    assert not isinstance(picture, Note)
    ((bar,),) = picture.to_dict()["datasets"].values()
    assert (bar["tokens"], bar["label"]) == (950, "repair by miprov2 (4 trials) study1")


def test_how_many_tests_fail_makes_no_reason_of_its_own(bare: Path) -> None:
    store = Store(bare / ".flywheel" / "flywheel.duckdb")
    record_outcomes(
        store,
        Trialled("repair@base", "repair", "a", "d@1", "holdout", "tests_pass", "h", ""),
        [
            KeptOutcome(
                example_id=f"e{n}", value=0.0, reason=f"{n} of {n + 4} tests still fail", parts={},
                failure="", answer="x", code=None, usd=None, seconds=1.0, input_tokens=5,
                output_tokens=5, run_id="r",
            )
            for n in range(3)
        ],
    )  # fmt: skip
    picture = charts.failures(flywheel.open(bare))
    assert not isinstance(picture, Note)
    ((bar,),) = picture.to_dict()["datasets"].values()
    assert (bar["reason"], bar["n"]) == ("n of n tests still fail", 3)


def test_a_share_has_its_interval_and_the_number_it_is_of(fw: Door, planted: Filled) -> None:
    picture = charts.yield_by_operator(fw, least=1)
    assert not isinstance(picture, Note)
    told = pl.concat(
        pl.DataFrame(rows) for rows in picture.to_dict()["datasets"].values() if "low" in rows[0]
    )
    assert told["valid"].sum() == planted.rows - len(planted.mended)
    assert told["judged"].sum() == planted.rows + planted.survived
    assert (told["share"] == told["valid"] / told["judged"]).all()
    assert ((told["low"] <= told["share"]) & (told["share"] <= told["high"])).all()
    assert (told["high"] - told["low"]).min() > 0


def test_figures_are_drawn_over_the_runs_each_on_its_scale(bare: Path) -> None:
    store = Store(bare / ".flywheel" / "flywheel.duckdb")
    began = datetime(2026, 5, 1, tzinfo=UTC)
    figures = [
        Figure(f"run{n}", "harvest", repo, metric, value, n + 5, low, high, created_at=at)
        for n in range(4)
        for repo in ("one", "two")
        for metric, value, low, high in (("yield", 0.5, 0.3, 0.7), ("pace", 90.0, None, None))
        for at in [began + timedelta(hours=n)]
    ]
    unknown = Figure("run9", "harvest", "one", "yield", None, 0, created_at=began)
    record_figures(store, [*figures, unknown])
    door = flywheel.open(bare)
    picture = charts.trends(door, "harvest")
    assert not isinstance(picture, Note)
    assert len(picture.to_dict()["vconcat"]) == 2
    svg = drawn(picture)
    for said in ("yield", "pace", "one", "two", "50%", "01 May 03:00"):
        assert said in svg
    assert isinstance(charts.trends(door, "audit"), Note)


def test_a_dataset_is_drawn_stage_by_stage(bare: Path) -> None:
    made = version(bare / ".flywheel" / "datasets")
    page = flywheel.open(bare).newest_dataset()
    svg = drawn(charts.funnel(page))
    for stage in made.manifest.funnel:
        assert stage.name in svg
    assert "pypi:package0==1.0" in drawn(charts.composition(page, "repo"))
    assert isinstance(charts.composition(page, "colour"), Note)
