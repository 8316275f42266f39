"""A source of candidates: what a harvest draws from and reports back to.

A source yields whole `Candidate` records, one at a time, and learns from verdicts. Mutation is one,
the history another; whatever else makes candidates joins by the same methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

from flywheel.candidates.language import Language, PythonLanguage
from flywheel.candidates.mutate import candidate
from flywheel.candidates.operator import Described
from flywheel.candidates.sample import Draw, NotReady, Sampler
from flywheel.core.records import Candidate


class Source(Protocol):
    """What a harvest asks of whatever makes candidates.

    `draw` raises `RepositoryError` where a history that it draws from cannot be read to its end.
    """

    @property
    def made(self) -> int:
        """Candidates made so far, pruned ones included."""
        ...

    @property
    def pruned(self) -> Counter[str]:
        """Reason -> candidates dropped before any test."""
        ...

    def draw(self) -> Candidate | NotReady | None:
        """The next candidate; `NotReady` until an earlier one is reported, None at the end."""
        ...

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Say what came of a candidate, in any order, once."""
        ...


class MutationSource:
    """Candidates made by mutation operators, drawn by the sampler, pruned before they are told."""

    def __init__(
        self,
        contents: Mapping[str, bytes],
        *,
        operators: Sequence[Described],
        covered: Callable[[str], Set[int] | None],
        seed: int,
        language: Language | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """`operators` are some of `language`'s, which is Python when not given.

        `covered` gives the lines of a file that some test runs, None when not known; `weights`
        are as in `Sampler`.
        """
        self.made = 0
        self.drawn: Counter[str] = Counter()
        """Operator -> candidates made, pruned ones included."""
        self.pruned: Counter[str] = Counter()
        self._contents = contents
        self._covered = covered
        language = language or PythonLanguage()
        self._pruner = language.pruner()
        self._sampler = Sampler(
            sorted(contents),
            contents.__getitem__,
            operators,
            seed=seed,
            language=language,
            lines=covered,
            weights=weights,
        )
        self._draws: dict[str, Draw] = {}

    def draw(self) -> Candidate | NotReady | None:
        """The next candidate that no rule prunes."""
        while True:
            drawn = self._sampler.draw()
            if drawn is None or isinstance(drawn, NotReady):
                return drawn
            self.made += 1
            self.drawn[drawn.site.operator] += 1
            source = self._contents[drawn.path]
            reason = self._pruner.reason(drawn.path, source, drawn.site, self._covered(drawn.path))
            if reason is not None:
                self.pruned[reason.value] += 1
                self._sampler.report(drawn, "pruned")
                continue
            made = candidate(drawn.path, source, drawn.site)
            self._draws[made.candidate_id] = drawn
            return made

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Tell the sampler what came of a candidate."""
        self._sampler.report(self._draws.pop(drawn.candidate_id), verdict, seconds)


class Sources:
    """Several sources as one: each is drawn to its end, in the order given.

    One of them may live on what came of the others: it has its turn when they are at their end or
    have had their ration, and not before all their candidates are reported.
    """

    def __init__(
        self, sources: Mapping[str, Source], *, fed: str | None = None, ration: int | None = None
    ) -> None:
        """`sources` by the name that their candidates carry.

        `fed` names the one that lives on the others, `ration` how many candidates they may draw
        before its turn, None for all there are. They go on after it.
        """
        self._sources = sources
        self._waiting = list(sources)
        self._fed = fed
        self._ration = ration
        self._drawn = 0
        self._unreported = 0

    @property
    def made(self) -> int:
        """Candidates made so far, pruned ones included."""
        return sum(source.made for source in self._sources.values())

    @property
    def pruned(self) -> Counter[str]:
        """Reason -> candidates dropped before any test."""
        return sum((source.pruned for source in self._sources.values()), Counter())

    def draw(self) -> Candidate | NotReady | None:
        """The next candidate of the first source that has one left and whose turn it is."""
        while (name := self._turn()) is not None:
            if name == self._fed and self._unreported:
                return NotReady(self._drawn - 1)
            drawn = self._sources[name].draw()
            if drawn is None:
                self._waiting.remove(name)
                continue
            if isinstance(drawn, Candidate):
                self._drawn += 1
                # What the fed one draws itself need not be known for its next draw.
                self._unreported += name != self._fed
            return drawn
        return None

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Tell the source that made it."""
        self._unreported -= drawn.source != self._fed
        self._sources[drawn.source].report(drawn, verdict, seconds)

    def _turn(self) -> str | None:
        feeding = [name for name in self._waiting if name != self._fed]
        rationed = self._ration is not None and self._drawn >= self._ration
        if self._fed in self._waiting and (rationed or not feeding):
            return self._fed
        return feeding[0] if feeding else None
