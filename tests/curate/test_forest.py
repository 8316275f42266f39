"""What hangs together, whatever the order in which it is said."""

from __future__ import annotations

import random

import numpy as np

from flywheel.curate.forest import Forest


def test_links_and_keys_make_components_named_by_their_least_number() -> None:
    forest = Forest(7)
    forest.link(5, 2)
    forest.link_equal(np.array(["a", "b", "c", "a", "d", "e", "b"]))
    assert forest.roots.tolist() == [0, 1, 2, 0, 4, 2, 1]


def test_a_thing_may_have_several_keys_or_none() -> None:
    forest = Forest(5)
    forest.link_equal(np.array([7, 8, 8, 9, 9]), of=np.array([0, 0, 2, 2, 4]))
    assert forest.roots.tolist() == [0, 1, 0, 3, 0]


def test_the_order_of_links_changes_nothing() -> None:
    draw = random.Random(7)
    links = [(draw.randrange(200), draw.randrange(200)) for _ in range(150)]
    said = []
    for _ in range(5):
        draw.shuffle(links)
        forest = Forest(200)
        forest.link_pairs(links)
        said.append(forest.roots.tolist())
    assert all(one == said[0] for one in said)
    assert len(set(said[0])) > 1


def test_nothing_at_all_has_no_components() -> None:
    forest = Forest(0)
    forest.link_equal(np.array([], dtype=np.int64))
    assert forest.roots.tolist() == []
