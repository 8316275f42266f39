"""A source of candidates: what a harvest draws from and reports back to.

A source yields whole `Candidate` records, one at a time, and learns from verdicts. Mutation is one,
the history another; whatever else makes candidates joins by the same methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Protocol

from flywheel.candidates.language import Language, PythonLanguage
from flywheel.candidates.mutate import candidate
from flywheel.candidates.operator import Described
from flywheel.candidates.sample import Draw, NotReady, Sampler
from flywheel.core.patch import unified_patch
from flywheel.core.records import Candidate


class Source(Protocol):
    """What a harvest asks of whatever makes candidates. None of the methods raises."""

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
    ) -> None:
        """`operators` are some of `language`'s, which is Python when not given.

        `covered` gives the lines of a file that some test runs, None when not known.
        """
        self.made = 0
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
        )
        self._draws: dict[str, Draw] = {}

    def draw(self) -> Candidate | NotReady | None:
        """The next candidate that no rule prunes."""
        while True:
            drawn = self._sampler.draw()
            if drawn is None or isinstance(drawn, NotReady):
                return drawn
            self.made += 1
            source = self._contents[drawn.path]
            reason = self._pruner.reason(drawn.path, source, drawn.site, self._covered(drawn.path))
            if reason is not None:
                self.pruned[reason.value] += 1
                self._sampler.report(drawn, "pruned")
                continue
            made = candidate(drawn.path, source, drawn.site)
            edit = drawn.site.edit
            changed = source[: edit.span.start] + edit.text.encode() + source[edit.span.end :]
            made = replace(made, patch=unified_patch(drawn.path, changed, source))
            self._draws[made.candidate_id] = drawn
            return made

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Tell the sampler what came of a candidate."""
        self._sampler.report(self._draws.pop(drawn.candidate_id), verdict, seconds)


class Sources:
    """Several sources as one: each is drawn to its end, in the order given."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        """`sources` by the name that their candidates carry."""
        self._sources = sources
        self._waiting = list(sources.values())

    @property
    def made(self) -> int:
        """Candidates made so far, pruned ones included."""
        return sum(source.made for source in self._sources.values())

    @property
    def pruned(self) -> Counter[str]:
        """Reason -> candidates dropped before any test."""
        return sum((source.pruned for source in self._sources.values()), Counter())

    def draw(self) -> Candidate | NotReady | None:
        """The next candidate of the first source that has one left."""
        while self._waiting:
            drawn = self._waiting[0].draw()
            if drawn is not None:
                return drawn
            self._waiting.pop(0)
        return None

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Tell the source that made it."""
        self._sources[drawn.source].report(drawn, verdict, seconds)
