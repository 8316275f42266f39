"""Components: which of many things hang together, when some are linked in pairs or by a key.

Disjoint sets with path halving; the least number of a component stands for it, so that the answer
does not depend on the order of the links. Source: Tarjan, Efficiency of a good but not linear set
union algorithm (1975).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Forest:
    """`size` things, numbered from 0, each alone at first."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, thing: int) -> int:
        """The least number that hangs together with this one, as far as it is known."""
        parent = self._parent
        while parent[thing] != thing:
            parent[thing] = parent[parent[thing]]
            thing = parent[thing]
        return thing

    def link(self, one: int, other: int) -> None:
        """Let two hang together."""
        a, b = self.root(one), self.root(other)
        if a < b:
            self._parent[b] = a
        elif b < a:
            self._parent[a] = b

    def link_pairs(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let each pair hang together."""
        for one, other in pairs:
            self.link(one, other)

    def link_equal(self, keys: NDArray[np.generic], *, of: NDArray[np.int64] | None = None) -> None:
        """Let all hang together that have the same key.

        `of` are the things that have the keys, None where each has one, in their order.
        """
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        if of is not None:
            order = of[order]
        firsts, seconds = order[:-1][same].tolist(), order[1:][same].tolist()
        self.link_pairs(zip(firsts, seconds, strict=True))

    @property
    def roots(self) -> NDArray[np.int64]:
        """The least number of its component, for each thing."""
        root = self.root
        return np.fromiter((root(one) for one in range(len(self._parent))), dtype=np.int64)
