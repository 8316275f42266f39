"""Pictures are well-formed, the same each time, and hold nothing but text of what they show."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from flywheel.curate.funnel import Stage
from flywheel.curate.picture import MOST, WIDTH, draw_bars, draw_funnel, printable, share

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '"><script>alert(1)</script>&amp;\x1b[31m\u202e\ufeff<!--'


def texts(picture: bytes) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def bars(picture: bytes) -> list[float]:
    found = ElementTree.fromstring(picture).iter(f"{SVG}rect")
    return [float(one.attrib["width"]) for one in found if one.find(f"{SVG}title") is not None]


def test_bars_are_as_long_as_their_numbers() -> None:
    picture = draw_bars("Rows", {"one": 300, "other": 100, "none": 0})
    longest, third, nothing = bars(picture)
    assert longest == pytest.approx(3 * third, abs=0.2)
    assert nothing == 0
    assert texts(picture) == [
        *("Rows", "one", "300  75.0 %", "other", "100  25.0 %", "none", "0  0.0 %"),
    ]


def test_what_has_rows_can_be_seen_however_few() -> None:
    assert min(bars(draw_bars("Rows", {"many": 1_000_000, "one": 1}))) > 1
    assert share(1, 1_000_000) == "< 0.1 %"
    assert share(999_999, 1_000_000) == "> 99.9 %"
    assert share(0, 0) == "–"


def test_values_beyond_the_most_are_a_number_without_a_bar() -> None:
    counts = {f"operator {number}": 100 - number for number in range(60)}
    picture = draw_bars("Rows", counts, rest=7)
    assert len(bars(picture)) == MOST
    others = sum(counts.values()) + 7 - sum(100 - number for number in range(MOST))
    *_, label, said = texts(picture)
    assert label == "all others"
    assert said.startswith(f"{others:,}  ")


def test_the_order_given_is_the_order_drawn() -> None:
    shown = texts(draw_bars("Rows", {"easy": 1, "medium": 5, "hard": 3}))
    assert [one for one in shown if one in {"easy", "medium", "hard"}] == ["easy", "medium", "hard"]


@pytest.mark.parametrize("name", ["x" * 500, "字" * 80, "a" * 30 + "字" * 30])
def test_nothing_is_drawn_outside_the_picture(name: str) -> None:
    reasons = {f"{name} {number}": 5 for number in range(40)}
    stages = [Stage(name, 1_000_000, reasons), Stage("then", 999_800, {})]
    for picture in (draw_bars("Rows", {name: 1_000_000, "b": 7}), draw_funnel("Rows", stages)):
        for one in ElementTree.fromstring(picture).iter(f"{SVG}text"):
            cells = sum(2 if letter == "字" else 1 for letter in one.text or "")
            size = float(one.attrib["font-size"])
            assert float(one.attrib["x"]) + cells * size * 0.6 <= WIDTH


def test_a_funnel_says_what_was_kept_and_why_the_rest_was_not() -> None:
    stages = [Stage("select", 10, {}), Stage("quality", 10, {"flaky": 3, "long-error": 1})]
    picture = draw_funnel("From the store", stages)
    assert {"10 of 10", "none dropped", "6 of 10", "dropped: flaky 3, long-error 1"} < set(
        texts(picture)
    )
    whole, kept, flaky, long = bars(picture)
    assert kept + flaky + long == pytest.approx(whole, abs=0.3)
    assert flaky == pytest.approx(3 * long, abs=0.3)


def test_no_rows_and_no_stages_are_said() -> None:
    assert "no rows" in texts(draw_bars("Rows", {}))
    assert "no stages" in texts(draw_funnel("Rows", []))
    assert "0 of 0" in texts(draw_funnel("Rows", [Stage("select", 0, {})]))


def test_hostile_names_stay_text() -> None:
    drawn = draw_bars(HOSTILE, {HOSTILE: 1}), draw_funnel("x", [Stage(HOSTILE, 2, {HOSTILE: 1})])
    for picture in drawn:
        tags = {one.tag for one in ElementTree.fromstring(picture).iter()}
        assert tags == {f"{SVG}{tag}" for tag in ("svg", "rect", "text", "title")}
        assert b"\x1b" not in picture
        assert "\u202e" not in picture.decode()


def test_what_cannot_be_seen_is_spelled_out() -> None:
    assert printable("a\x1b[0m\n\u202eb") == "a\\x1b[0m\\x0a\\u202eb"
    assert printable("a\n\tb\x07", lines=True) == "a\n\tb\\x07"


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert draw_bars("Rows", {"a": 1, "b": 2}) == draw_bars("Rows", {"a": 1, "b": 2})
