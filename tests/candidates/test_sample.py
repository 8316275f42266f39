"""Sampling: the same order for the same seed, what pays drawn more, what does not no more."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from flywheel.candidates.operators import select
from flywheel.candidates.sample import Draw, NotReady, Sampler

FUNCTION = """def f{n}(a, b):
    if a < b and b != {n}:
        return [a + {n}, max(a, b)]
    return b - a
"""
FILES = {
    f"m{file}.py": "\n\n".join(FUNCTION.format(n=10 * file + n) for n in range(5)).encode()
    for file in range(12)
}
OPERATORS = select(["comparison", "boolean", "arithmetic", "return"])


def sampler(**settings: Any) -> Sampler:
    chosen: dict[str, Any] = {"seed": 1, "lag": 8, "open_files": 4, "quota": 10} | settings
    return Sampler(list(FILES), FILES.__getitem__, OPERATORS, **chosen)


def verdict(drawn: Draw) -> str:
    return "valid" if drawn.site.operator in ("min-max", "and-or") else "survived"


def run(source: Sampler, limit: int, *, shuffled_by: int | None = None) -> list[Draw]:
    """Draw up to `limit`, reporting in draw order or shuffled."""
    draws: list[Draw] = []
    unreported: list[Draw] = []
    order = random.Random(shuffled_by)
    while len(draws) < limit:
        drawn = source.draw()
        if drawn is None:
            break
        if isinstance(drawn, Draw):
            draws.append(drawn)
            unreported.append(drawn)
        if isinstance(drawn, NotReady) or shuffled_by is None or order.random() < 0.3:
            index = 0 if shuffled_by is None else order.randrange(len(unreported))
            if unreported:
                done = unreported.pop(index)
                source.report(done, verdict(done), 0.1)
    return draws


@pytest.mark.parametrize("shuffle", [2, 3, 4])
def test_the_draws_are_the_same_whatever_order_results_come_in(shuffle: int) -> None:
    assert run(sampler(), 200) == run(sampler(), 200, shuffled_by=shuffle)


def test_asking_whether_it_is_exhausted_changes_no_draw() -> None:
    asked, plain = sampler(open_files=1), sampler(open_files=1)
    for expected in run(plain, 150):
        assert not asked.exhausted
        drawn = asked.draw()
        assert isinstance(drawn, Draw)
        assert drawn == expected
        asked.report(drawn, verdict(drawn), 0.1)


def test_another_seed_gives_another_order() -> None:
    assert run(sampler(), 50) != run(sampler(seed=2), 50)


def test_no_site_is_drawn_twice_and_all_are_drawn_when_none_dies() -> None:
    source = sampler(patience=10_000)
    draws = run(source, 10_000)
    keys = {(d.path, d.site.operator, d.site.edit) for d in draws}
    assert len(keys) == len(draws)
    assert source.exhausted
    assert source.draw() is None
    assert Counter(d.path for d in draws).keys() == FILES.keys()


def test_it_waits_for_a_report_that_is_a_lag_behind() -> None:
    source = sampler(lag=3)
    drawn = [source.draw() for _ in range(3)]
    assert all(isinstance(one, Draw) for one in drawn)
    assert source.draw() == NotReady(waiting_for=0)
    first = drawn[0]
    assert isinstance(first, Draw)
    source.report(first, "valid", 1.0)
    assert isinstance(source.draw(), Draw)


def test_a_second_report_is_refused() -> None:
    source = sampler()
    drawn = source.draw()
    assert isinstance(drawn, Draw)
    source.report(drawn, "valid")
    with pytest.raises(ValueError, match="reported already"):
        source.report(drawn, "valid")


def test_an_operator_that_never_pays_dies_and_one_that_pays_is_drawn_to_the_end() -> None:
    source = sampler(patience=3)
    draws = run(source, 10_000)
    assert source.exhausted
    made = Counter(drawn.site.operator for drawn in draws)
    there = Counter(drawn.site.operator for drawn in run(sampler(patience=10_000), 10_000))
    assert made["min-max"] == there["min-max"]
    assert made["and-or"] == there["and-or"]
    dead = made.keys() - {"min-max", "and-or"}
    # Four times the patience, and what was under way when the last result came in.
    assert all(made[name] <= 3 * 4 + 8 for name in dead)


def test_what_pays_is_drawn_more_at_the_start() -> None:
    made = Counter(drawn.site.operator for drawn in run(sampler(open_files=12, quota=99), 100))
    paying = made["min-max"] + made["and-or"]
    assert paying > 40


def test_functions_of_a_file_are_drawn_evenly() -> None:
    first = Sampler(["m0.py"], FILES.__getitem__, OPERATORS, seed=1, lag=100)
    symbols = Counter(
        d.site.symbol for d in (first.draw() for _ in range(20)) if isinstance(d, Draw)
    )
    assert set(symbols) == {f"f{n}" for n in range(5)}
    assert max(symbols.values()) - min(symbols.values()) <= 2


def test_only_drawn_files_are_read_and_few_stay_open() -> None:
    read: list[str] = []

    def reader(path: str) -> bytes:
        read.append(path)
        return FILES["m0.py"]

    many = [f"p{n}.py" for n in range(50_000)]
    source = Sampler(many, reader, OPERATORS, seed=1, lag=1000, open_files=4)
    draws = [source.draw() for _ in range(20)]
    assert len(draws) == 20
    assert len(read) == 4


def test_a_file_rests_while_others_wait_and_goes_on_where_it_was() -> None:
    draws = run(sampler(open_files=1, quota=5, patience=10_000), 60)
    paths = [drawn.path for drawn in draws]
    assert all(len(set(paths[start : start + 5])) == 1 for start in range(0, 60, 5))
    assert len(set(paths)) == 12


def test_uncovered_lines_unparsable_files_and_zero_weights_give_no_draw() -> None:
    files = {"bad.py": b"def", "good.py": FILES["m0.py"]}
    source = Sampler(
        list(files),
        files.__getitem__,
        OPERATORS,
        seed=1,
        lines=lambda path: {2},
        weights={"and-or": 0},
    )
    draws = run(source, 1000)
    assert {drawn.path for drawn in draws} == {"good.py"}
    assert {drawn.site.line for drawn in draws} == {2}
    assert "and-or" not in {drawn.site.operator for drawn in draws}
    assert "SyntaxError" in source.unreadable["bad.py"]


def test_a_heavier_operator_is_drawn_more() -> None:
    def share(weights: dict[str, float]) -> int:
        source = sampler(weights=weights, open_files=12, quota=99, lag=1000)
        drawn = (source.draw() for _ in range(40))
        return sum(isinstance(d, Draw) and d.site.operator == "sum-difference" for d in drawn)

    assert share({"sum-difference": 100.0}) > share({}) + 5


def test_a_heavier_operator_is_drawn_more_often_and_not_to_its_end_first() -> None:
    weights = {"sum-difference": 4.0, "comparison-boundary": 4.0}
    source = sampler(weights=weights, open_files=12, quota=99, lag=1000)
    drawn = [source.draw() for _ in range(48)]
    names = Counter(one.site.operator for one in drawn if isinstance(one, Draw))
    heavy = names["sum-difference"] + names["comparison-boundary"]
    assert 48 * 0.2 < heavy < 48 * 0.7
    assert len(names) > 8


def test_figures_count_what_was_made_judged_and_valid() -> None:
    source = sampler()
    draws = run(source, 60)
    source.finish()
    figures = source.figures
    assert sum(one.made for one in figures.values()) == len(draws)
    assert figures["min-max"].valid == figures["min-max"].judged > 0
    pruned = sampler(lag=1)
    first = pruned.draw()
    assert isinstance(first, Draw)
    pruned.report(first, "pruned")
    pruned.finish()
    assert sum(one.judged for one in pruned.figures.values()) == 0
