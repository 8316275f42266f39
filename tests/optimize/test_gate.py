"""The gate: figures of textbooks, and error rates of draws whose truth is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from flywheel.core.errors import DatasetError, UsageError
from flywheel.optimize.gate import (
    ALPHA,
    BOOTSTRAP,
    LEAST,
    MCNEMAR,
    compare,
    level,
    mcnemar,
    needed,
    tango,
)


def values(*given: float | None) -> dict[str, float | None]:
    return {f"e{number:03}": value for number, value in enumerate(given)}


def test_the_exact_test_is_that_of_a_fair_coin() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 0) == 2 / 32
    assert mcnemar(6, 0) == mcnemar(0, 6) == 2 / 64
    # Of ten coins, two or fewer: 1 + 10 + 45 of 1024.
    assert mcnemar(2, 8) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(3000, 3000) == 1
    assert mcnemar(3300, 2700) < 1e-13


def test_the_exact_test_is_significant_of_equals_no_oftener_than_it_says() -> None:
    for differing in range(1, 60):
        ways = 2.0**-differing
        wrong = 0.0
        row = 1
        for gains in range(differing + 1):
            wrong += row * ways * (mcnemar(gains, differing - gains) < 0.05)
            row = row * (differing - gains) // (gains + 1)
        assert wrong < 0.05


def test_the_levels_of_all_looks_together_are_that_of_one() -> None:
    levels = [level(look) for look in range(1, 1000)]
    assert levels == sorted(levels, reverse=True)
    assert 0.99 * ALPHA < sum(levels) < ALPHA


def test_the_score_interval_is_that_of_a_published_table() -> None:
    # Airway hyper-responsiveness before and after a transplantation (Bentur et al., 2009), as in
    # Fagerland, Lydersen and Laake, Statistics in Medicine 33:2850-2875, 2014.
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    low, high = tango(7, 1, 21)
    assert (low, high) == pytest.approx((0.026, 0.517), abs=5e-4)


def test_the_score_interval_stays_within_what_can_be() -> None:
    for gains, regressions in combinations(range(9), 2):
        low, high = tango(gains, regressions, 8 + gains)
        assert -1 <= low <= (gains - regressions) / (8 + gains) <= high <= 1
    assert tango(20, 0, 20)[1] == 1
    low, high = tango(0, 0, 20)
    assert low == -high < -0.1


def test_rows_of_zeros_and_ones_are_compared_exactly_and_regressions_are_named() -> None:
    champion = values(0, 0, 0, 0, 0, 0, 0, 1, 1, None)
    challenger = values(1, 1, 1, 1, 1, 1, 1, 0, 1, 1)
    found = compare(champion, challenger)
    assert (found.test, found.n, found.unknown) == (MCNEMAR, 9, 1)
    assert found.regressions == ("e007",)
    assert len(found.gains) == 7
    assert found.difference == pytest.approx(6 / 9)
    assert found.p_value == mcnemar(7, 1)
    assert not found.better
    assert (found.champion.value, found.challenger.value) == (2 / 9, 8 / 9)
    assert "Not shown to be better" in found.sentence
    assert f"{needed(6 / 9, 8 / 9)} rows" in found.sentence


def test_a_row_that_only_one_has_is_in_no_figure() -> None:
    both = values(*[0.0] * 8)
    found = compare(both | {"x": 1.0}, both | {"y": 1.0, "z": None})
    assert (found.n, found.unknown) == (8, 3)
    assert (found.difference, found.p_value) == (0, 1)
    assert "6 are the least" in found.sentence


def test_rows_of_one_alone_are_taken_at_their_worst_before_it_is_called_better() -> None:
    weak, strong = values(*[0] * 8), values(*[1] * 8)
    # Of twelve more the champion is right, and what the challenger did is not known.
    right, lost = ({f"x{n}": one for n in range(12)} for one in (1.0, None))
    found = compare(weak | right, strong | lost)
    assert (found.n, found.unknown, found.difference) == (8, 12, 1)
    assert found.p_value == mcnemar(8, 0) < 0.05
    assert not found.better
    assert "Not shown to be better" in found.sentence
    assert "12 more are not known of both" in found.sentence
    # One of them leaves enough; so do any that the champion mended none of, or nobody knows.
    assert compare(weak | {"x": 1.0}, strong | {"x": None}).better is True
    assert compare(weak | dict.fromkeys(right, 0.0), strong | lost).better
    assert compare(weak | lost, strong | lost).better
    assert not compare(weak | lost, strong | dict.fromkeys(right, 0.5)).better
    assert compare(strong | lost, weak | right).worse


def of_one(found: dict[str, float | None], rows: int) -> dict[str, str]:
    """So many rows to a definition."""
    return {key: f"d{number // rows:02}" for number, key in enumerate(found)}


def test_bugs_of_one_definition_are_decided_by_one_coin() -> None:
    weak, strong = values(*[0] * 60), values(*[1] * 10, *[0] * 50)
    alone = compare(weak, strong)
    assert alone.better
    # All ten are of one definition, which a coin turns as a whole.
    found = compare(weak, strong, of=of_one(weak, 10))
    assert (found.p_value, found.better, found.differing, found.definitions) == (1, False, 1, 6)
    assert "on 60 rows of 6 definitions; the two differ on 1 definition," in found.sentence
    assert found.low < alone.low <= alone.difference == found.difference
    assert found.effect > 1
    # In pairs, five definitions are gained and one is lost: six coins.
    pairs = compare(
        values(*[0] * 10, 1, 1), values(*[1] * 10, 0, 0), of=of_one(values(*[0] * 12), 2)
    )
    assert pairs.p_value == mcnemar(5, 1)
    # A definition with a gain and a loss says nothing, one with three gains more than one with one.
    uneven = dict(zip(values(*[0] * 8), "aaabcdef", strict=True))
    lost = compare(values(*[0] * 7, 1), values(*[1] * 7, 0), of=uneven)
    # Of 3, 1, 1, 1, 1 up and 1 down: sums of 6 and more come with 8 to be had, or one 1 turned.
    assert lost.p_value == 2 * (1 + 5) / 64


def test_rows_of_a_definition_of_their_own_are_what_they_were() -> None:
    weak, strong = values(*[0] * 20, *[1] * 5), values(*[0] * 10, *[1] * 15)
    assert compare(weak, strong, of=of_one(weak, 1)) == compare(weak, strong)
    half = {key: (one or 0) / 2 for key, one in strong.items()}
    assert compare(weak, half, of=of_one(weak, 1)) == compare(weak, half)


@pytest.mark.parametrize("halves", [False, True])
def test_equals_differ_no_oftener_than_they_may_where_definitions_go_together(halves: bool) -> None:
    random = np.random.default_rng(3)
    of = of_one(values(*[0] * 120), 6)
    tries, alone, together = 100, 0, 0
    for _ in range(tries):
        champion, challenger = (
            {
                key: float(one)
                for key, one in zip(of, np.repeat(random.random(20) < 0.5, 6), strict=True)
            }
            for _ in range(2)
        )
        if halves:
            challenger = {key: (one + champion[key]) / 2 for key, one in challenger.items()}
        alone += compare(champion, challenger).p_value < 0.05
        together += compare(champion, challenger, of=of).p_value < 0.05
    # As lone rows equals would be told apart every second time.
    assert alone > 30
    # Beyond 11 of 100 lies less than 1 % of what a rate of 5 % gives.
    assert together <= 11


def test_better_and_worse_are_the_same_finding_from_both_sides() -> None:
    weak, strong = values(*[0] * 20, *[1] * 5), values(*[0] * 10, *[1] * 15)
    up, down = compare(weak, strong), compare(strong, weak)
    assert up.better
    assert not up.worse
    assert down.worse
    assert up.p_value == down.p_value
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low))
    assert up.sentence.startswith("Better: +40.0 points")
    assert down.sentence.startswith("Worse: -40.0 points")


def test_other_values_are_drawn_in_pairs_and_the_same_seed_says_the_same() -> None:
    random = np.random.default_rng(5)
    before = random.random(60)
    after = np.clip(before + random.normal(0.06, 0.1, 60), 0, 1)
    champion, challenger = values(*map(float, before)), values(*map(float, after))
    found = compare(champion, challenger, seed=3)
    assert found.test == BOOTSTRAP
    assert found == compare(champion, challenger, seed=3)
    assert found.better
    assert 0 < found.low < found.difference < found.high
    changes = [challenger[key] or 0 for key in found.gains]
    assert len(changes) + len(found.regressions) <= 60
    # A gain that cannot be missed passes at late looks, too.
    lifted = {key: min(1.0, (one or 0.0) + 0.5) for key, one in champion.items()}
    assert compare(champion, lifted, seed=3).p_value < level(30)
    # By shares the two are far from each other: only the pairs show it.
    spread = np.std(before) / np.sqrt(60)
    assert found.difference < 2 * spread


def test_the_interval_of_draws_holds_zero_exactly_where_the_test_finds_nothing() -> None:
    random = np.random.default_rng(11)
    for shift in np.linspace(0, 0.12, 25):
        change = random.normal(shift, 0.2, 30)
        found = compare(values(*[0.5] * 30), values(*map(float, np.clip(0.5 + change, 0, 1))))
        assert (found.low <= 0 <= found.high) == (found.p_value >= 0.05)


def test_draws_of_equals_differ_no_oftener_than_they_may() -> None:
    random = np.random.default_rng(7)
    tries, wrong = 200, 0
    for _ in range(tries):
        change = np.where(random.random(25) < 0.6, 0, random.normal(0, 0.3, 25))
        after = np.clip(0.5 + change, 0, 1)
        wrong += compare(values(*[0.5] * 25), values(*map(float, after))).p_value < 0.05
    # Beyond 19 of 200 lies less than 1 % of what a rate of 5 % gives.
    assert wrong <= 19


def test_a_change_that_is_the_same_everywhere_has_an_interval_all_the_same() -> None:
    found = compare(values(*[0.25] * 12), values(*[0.5] * 12))
    assert found.difference == 0.25
    assert found.low <= 0.25 <= found.high
    assert found.p_value == mcnemar(12, 0)
    # A tenth six times is no six tenths: the mean is a last digit off.
    assert compare(values(*[0.0] * 6), values(*[0.1] * 6)).p_value == mcnemar(6, 0)
    same = compare(values(*[0.25] * 12), values(*[0.25] * 12))
    assert (same.difference, same.p_value) == (0, 1)
    assert same.low < 0 < same.high


def test_a_split_that_can_show_nothing_is_refused_with_the_rows_it_needs() -> None:
    alike = values(*[0] * 40)
    with pytest.raises(DatasetError, match="40 rows of 4 definitions are too few") as caught:
        compare(alike, alike, of=of_one(alike, 10))
    assert "fewer than 6 definitions" in (caught.value.cause or "")
    few = values(*[0] * (LEAST - 1))
    with pytest.raises(DatasetError, match="5 rows are too few") as caught:
        compare(few, values(*[1] * (LEAST - 1), None))
    assert f"{needed()} rows are needed" in (caught.value.hint or "")
    assert "1 more are not known" in (caught.value.cause or "")
    assert compare(values(*[0] * LEAST), values(*[1] * LEAST)).better


def test_the_rows_that_are_needed_are_enough_and_hardly_more() -> None:
    random = np.random.default_rng(2)
    for difference, discordant in ((0.1, 0.2), (0.3, 0.4), (0.2, 0.2)):
        rows = needed(difference, discordant)
        share = {}
        for n in (rows, round(rows * 0.8)):
            draws = random.multinomial(
                n,
                [
                    (discordant + difference) / 2,
                    (discordant - difference) / 2,
                    1 - discordant,
                ],
                size=1500,
            )
            share[n] = np.mean([mcnemar(up, down) < 0.05 and up > down for up, down, _ in draws])
        assert share[rows] > 0.77
        assert share[round(rows * 0.8)] < 0.79


def test_what_cannot_be_needs_no_rows() -> None:
    assert needed(1, 1) == LEAST
    # The exact test asks for a little more than the normal approximation.
    assert 155 < needed(0.1, 0.2) < 175
    assert needed(-0.1, 0.2) == needed(0.1, 0.2)
    assert needed(0.001, 0.2) > 1_000_000
    for difference, discordant in ((0, 0.2), (0.3, 0.2), (0.5, 1.5)):
        with pytest.raises(UsageError, match="cannot be"):
            needed(difference, discordant)
