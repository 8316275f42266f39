"""Which site to judge next: a seeded, lazy sampler over many files that learns what pays.

An arm is an operator in a file. Each draw chooses an operator and then a file by Thompson
sampling (Thompson 1933): a yield, valid per judged, is drawn from the Beta posterior of each and
the highest wins. In an arm, the function drawn least so far goes first. Files are parsed only
when one is first drawn from, a few are open at a time, and a file rests after a quota of draws
while others wait, so memory does not grow with the repository.

The order is the same for the same seed whatever order results come back in: the n-th draw
knows the results of draws up to n - `lag`, folded in draw order, and no others; while one of
those is missing there is no draw yet (`NotReady`).

An arm is dead, and draws no more, when `patience` of its sites were judged and none was valid;
an operator is dead in all files when four times as many were. It does not prune, and it knows
neither tests nor the critic: a verdict is a word.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from flywheel.candidates.language import Language, PythonLanguage
from flywheel.candidates.mutate import Site
from flywheel.candidates.operator import Described

VALID = "valid"
"""The verdict that counts as yield."""

NOT_JUDGED = frozenset({"pruned", "unknown"})
"""Verdicts that say nothing of an arm's yield."""

_SHARED = 2.0
"""How many judgements an operator's yield elsewhere is worth as a prior for it in a new file."""

_NO_CHANCE = 1e-12
"""A rate in place of zero, which a drawn yield may be."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One site that was drawn."""

    number: int
    """0-based place in the order of draws."""
    path: str
    """The file, as given to the sampler."""
    site: Site
    """What to judge."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """No draw can be made until an earlier one is reported."""

    waiting_for: int
    """Number of the draw whose report is missing."""


@dataclass(slots=True)
class Figures:
    """What came of an operator, or of one in one file."""

    made: int = 0
    """Sites drawn."""
    judged: int = 0
    """Of those, judged by tests, as far as the results are folded in."""
    valid: int = 0
    """Of those, valid."""
    seconds: float = 0.0
    """Time spent judging."""

    def add(self, *, valid: bool, seconds: float) -> None:
        """Count one judgement."""
        self.judged += 1
        self.valid += valid
        self.seconds += seconds


@dataclass(slots=True, eq=False)
class _File:
    """A file that is drawn from: its sites left by operator, and what came of them."""

    path: str
    arms: dict[str, dict[str, list[Site]]] = field(default_factory=dict)
    """Sites left, by operator and by symbol; the next is last."""
    functions: dict[str, int] = field(default_factory=dict)
    """Draws by symbol."""
    figures: dict[str, Figures] = field(default_factory=dict)
    """What came of each operator here."""
    drawn: set[tuple[str, int, int, str]] = field(default_factory=set)
    """Sites drawn already, kept while the file rests."""
    draws: int = 0
    """Draws since it was opened."""


class Sampler:
    """Draws sites of many files, and learns from reports.

    `read` gives a file's bytes; the operators are those of `language`, Python's by default;
    `lines`, where given, the covered lines of a file (None: not known), outside which nothing is
    drawn. With `weights` (1 where not given, 0 never draws) an operator is drawn with a chance that
    is proportional to its weight times its drawn yield, so that shares follow weights; without, the
    highest drawn yield wins. With `by_cost`, yield is counted per second of judging; wall time
    differs from run to run, so the order then does too.
    """

    def __init__(
        self,
        paths: Sequence[str],
        read: Callable[[str], bytes],
        operators: Sequence[Described],
        *,
        seed: int,
        language: Language | None = None,
        lines: Callable[[str], Set[int] | None] | None = None,
        weights: Mapping[str, float] | None = None,
        lag: int = 64,
        patience: int = 16,
        open_files: int = 32,
        quota: int = 64,
        by_cost: bool = False,
    ) -> None:
        if lag < 1:
            raise ValueError("lag must be at least 1: a draw cannot know its own result")
        self.unreadable: dict[str, str] = {}
        """Files that could not be parsed, with the reason."""
        self._read = read
        self._language = language or PythonLanguage()
        self._lines = lines
        self._weights = dict(weights or {})
        self._operators = [op for op in operators if self._weights.get(op.name, 1.0) > 0]
        self._seed, self._lag, self._patience = seed, lag, patience
        self._open_files, self._quota, self._by_cost = open_files, quota, by_cost
        self._random = random.Random(f"draws {seed}")
        shuffled = sorted(set(paths))
        random.Random(f"files {seed}").shuffle(shuffled)
        self._waiting: deque[str | _File] = deque(shuffled)
        self._open: list[_File] = []
        self._fresh: _File | None = None
        self._figures: dict[str, Figures] = {op.name: Figures() for op in self._operators}
        self._pending: deque[tuple[int, str, Figures]] = deque()
        self._reports: dict[int, tuple[str, float]] = {}
        self._count = 0

    @property
    def exhausted(self) -> bool:
        """True when no site is left to draw; parses files until one with a site is open."""
        self._drop_spent()
        while not self._open and self._waiting:
            self._fresh = self._open_next()
        return not self._open

    @property
    def figures(self) -> dict[str, Figures]:
        """What came of each operator so far, by name; `judged` lags behind (see `lag`)."""
        return self._figures

    def draw(self) -> Draw | NotReady | None:
        """The next site; `NotReady` when a report is missing, None when nothing is left."""
        due = self._count - self._lag
        while self._pending and self._pending[0][0] <= due:
            if self._pending[0][0] not in self._reports:
                return NotReady(self._pending[0][0])
            self._fold()
        self._drop_spent()
        # A file that `exhausted` had to open is the one this draw would have opened.
        opened = self._fresh if self._fresh in self._open else None
        self._fresh = None
        if len(self._open) < self._open_files:
            while self._waiting and opened is None:
                opened = self._open_next()
        if not self._open:
            return None
        file, operator = self._choose(opened)
        site = self._take(file, operator)
        drawn = Draw(self._count, file.path, site)
        self._count += 1
        return drawn

    def report(self, drawn: Draw, verdict: str, seconds: float = 0.0) -> None:
        """Say what came of a draw, in any order, once. Raises `ValueError` for a second report."""
        folded = not self._pending or drawn.number < self._pending[0][0]
        if folded or drawn.number in self._reports or drawn.number >= self._count:
            raise ValueError(f"draw {drawn.number} is reported already or was never made")
        self._reports[drawn.number] = (verdict, seconds)

    def finish(self) -> None:
        """Fold in every report there is, for the last figures; no draw or report comes after."""
        for number, _, _ in list(self._pending):
            if number in self._reports:
                self._fold()
            else:
                self._pending.popleft()
        self._open.clear()
        self._waiting.clear()

    # --- results ------------------------------------------------------------------------

    def _fold(self) -> None:
        number, operator, here = self._pending.popleft()
        verdict, seconds = self._reports.pop(number)
        if verdict not in NOT_JUDGED:
            valid = verdict == VALID
            here.add(valid=valid, seconds=seconds)
            self._figures[operator].add(valid=valid, seconds=seconds)

    def _dead(self, operator: str, file: _File) -> bool:
        everywhere = self._figures[operator]
        if not everywhere.valid and everywhere.judged >= 4 * self._patience:
            return True
        here = file.figures.get(operator)
        return here is not None and not here.valid and here.judged >= self._patience

    # --- files --------------------------------------------------------------------------

    def _drop_spent(self) -> None:
        kept = []
        for file in self._open:
            for operator in [name for name in file.arms if self._dead(name, file)]:
                del file.arms[operator]
            if file.draws >= self._quota and self._waiting:
                file.arms, file.draws = {}, 0
                self._waiting.append(file)
            elif file.arms:
                kept.append(file)
        self._open = kept

    def _open_next(self) -> _File | None:
        """Parse the next waiting file; None when it has nothing to draw."""
        waiting = self._waiting.popleft()
        file = waiting if isinstance(waiting, _File) else _File(waiting)
        try:
            source = self._read(file.path)
            lines = self._lines(file.path) if self._lines is not None else None
            found = list(self._language.sites(file.path, source, self._figures, lines))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
            self.unreadable[file.path] = f"{type(error).__name__}: {error}"
            return None
        random.Random(f"sites {self._seed} {file.path}").shuffle(found)
        for site in found:
            if _key(site) in file.drawn or self._dead(site.operator, file):
                continue
            by_symbol = file.arms.setdefault(site.operator, {})
            by_symbol.setdefault(site.symbol, []).append(site)
        if not file.arms:
            return None
        self._open.append(file)
        return file

    # --- the choice ---------------------------------------------------------------------

    def _choose(self, opened: _File | None) -> tuple[_File, str]:
        files = self._open if opened is None else [opened]
        names = {name for file in files for name in file.arms}
        operator = max(
            (name for name in self._figures if name in names),  # in registry order: no ties by hash
            key=self._rank,
        )
        holders = [file for file in files if operator in file.arms]
        prior = self._mean(self._figures[operator], 0.5)
        best = max(
            holders,
            key=lambda file: self._sampled(file.figures.get(operator) or Figures(), prior),
        )
        return best, operator

    def _rank(self, operator: str) -> float:
        drawn = self._sampled(self._figures[operator], 0.5)
        if not self._weights:
            return drawn
        # The first of exponential arrivals: each wins with a chance proportional to its rate.
        rate = max(self._weights.get(operator, 1.0) * drawn, _NO_CHANCE)
        return -self._random.expovariate(rate)

    def _sampled(self, figures: Figures, prior: float) -> float:
        drawn = self._random.betavariate(
            _SHARED * prior + figures.valid,
            _SHARED * (1 - prior) + figures.judged - figures.valid,
        )
        if not self._by_cost:
            return drawn
        # One second more and one judgement more, so that an arm not yet judged has a cost.
        return drawn * (figures.judged + 1) / (figures.seconds + 1)

    def _mean(self, figures: Figures, prior: float) -> float:
        return (figures.valid + _SHARED * prior) / (figures.judged + _SHARED)

    def _take(self, file: _File, operator: str) -> Site:
        by_symbol = file.arms[operator]
        # The first of equals, in the shuffled order of the file's sites.
        symbol = min(by_symbol, key=lambda name: file.functions.get(name, 0))
        site = by_symbol[symbol].pop()
        if not by_symbol[symbol]:
            del by_symbol[symbol]
        if not by_symbol:
            del file.arms[operator]
        file.functions[symbol] = file.functions.get(symbol, 0) + 1
        file.drawn.add(_key(site))
        file.draws += 1
        here = file.figures.setdefault(operator, Figures())
        here.made += 1
        self._figures[operator].made += 1
        self._pending.append((self._count, operator, here))
        return site


def _key(site: Site) -> tuple[str, int, int, str]:
    return (site.operator, site.edit.span.start, site.edit.span.end, site.edit.text)
