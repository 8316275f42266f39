"""Near duplicates are found as comparing all with all finds them."""

from __future__ import annotations

import random
from itertools import combinations

from flywheel.curate.duplicates import CROWD, families, pairs
from flywheel.curate.forest import Forest
from flywheel.curate.normal import Shingles, shingles

NEAR = 0.85
WORDS = [f"word{n}" for n in range(400)]


def texts(count: int, copies: int, draw: random.Random) -> list[str]:
    """Texts of their own, and of some of them copies with a few words changed."""
    made: list[str] = []
    while len(made) < count:
        words = [draw.choice(WORDS) for _ in range(draw.randrange(5, 160))]
        made.append(" ".join(words))
        for _ in range(draw.randrange(copies + 1)):
            other = list(words)
            for _ in range(draw.randrange(4)):
                other[draw.randrange(len(other))] = draw.choice(WORDS)
            made.append(" ".join(other))
    return made


def near(runs: Shingles) -> set[tuple[int, int]]:
    """Comparing all with all."""
    every = combinations(range(len(runs)), 2)
    return {(one, other) for one, other in every if runs.similarity(one, other) >= NEAR}


def test_pairs_that_are_near_are_candidates_and_families_are_what_they_make() -> None:
    runs = shingles(texts(700, 3, random.Random(1)), 5)
    truth = near(runs)
    assert len(truth) > 200
    found = set(pairs(runs))
    assert len(truth & found) / len(truth) >= 0.99
    forest = Forest(len(runs))
    forest.link_pairs(truth)
    assert families(runs, NEAR).tolist() == forest.roots.tolist()


def test_a_crowd_of_copies_is_one_family_and_is_not_compared_all_with_all() -> None:
    copies = 4 * CROWD
    alone = " ".join(WORDS[:50])
    runs = shingles([alone] * copies + [" ".join(WORDS[100:150])], 5)
    assert set(families(runs, NEAR).tolist()) == {0, copies}
    assert len(set(pairs(runs))) < copies * 5


def test_texts_without_any_tokens_are_near_to_nothing() -> None:
    runs = shingles(["", "a b c d e f", ""], 5)
    assert families(runs, NEAR).tolist() == [0, 1, 2]
    assert families(shingles([], 5), NEAR).tolist() == []
