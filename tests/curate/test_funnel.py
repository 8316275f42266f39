"""What went in is what came out and what was dropped."""

from __future__ import annotations

from flywheel.curate.funnel import Funnel


def test_stages_count_what_they_drop_by_reason_most_first() -> None:
    funnel = Funnel()
    stage = funnel.add("quality", 10, ["flaky", "long", "long"])
    assert stage.kept == funnel.kept == 7
    assert list(stage.dropped.items()) == [("long", 2), ("flaky", 1)]
    assert funnel.emptied is None


def test_the_stage_that_dropped_the_last_row_is_known() -> None:
    funnel = Funnel()
    funnel.add("quality", 3, ["flaky"])
    funnel.add("licence", 2, ["not-allowed", "unknown"])
    funnel.add("secrets", 0, [])
    assert funnel.emptied is not None
    assert funnel.emptied.name == "licence"
    assert Funnel().emptied is None
