"""A source of candidates: what a harvest draws from, whatever makes them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set

from flywheel.candidates.mutate import candidate, sites
from flywheel.candidates.operator import AnyOperator
from flywheel.core.records import Candidate


class NotReady:
    pass


class MutationSource:
    def __init__(
        self,
        contents: Mapping[str, bytes],
        *,
        operators: Sequence[AnyOperator],
        covered: Callable[[str], Set[int]],
        seed: int,
    ) -> None:
        self.made = 0
        self.pruned: Counter[str] = Counter()
        self._all = [
            (path, site)
            for path in contents
            for site in sites(contents[path], operators, covered(path))
        ]
        random.Random(seed).shuffle(self._all)
        self._contents = contents

    def draw(self) -> Candidate | NotReady | None:
        if not self._all:
            return None
        self.made += 1
        path, site = self._all.pop()
        return candidate(path, self._contents[path], site)

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        pass
