"""Several bugs at once: two to four proven ones of a file or a folder, in one candidate.

Each bug takes one turn as the first of a combination, in an order that only the seed and the bugs
decide, and others join it that stand apart from it, are told apart by tests, and were made
otherwise. Nothing is invented: the parts are bugs that the same tests have proven one by one.

It knows no store and no critic: bugs come as records, and whether the tests tell the parts apart
when all are there at once, only running them says.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from flywheel.candidates.language import Language, PythonLanguage
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import PARTED, dedented, titled
from flywheel.candidates.prune import Pruned
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.patch import unified_patch
from flywheel.core.records import Candidate, Change, Part, Span

NAME = "combined"
"""What the candidates say they come from."""
SIZES = {2: 0.6, 3: 0.3, 4: 0.1}
"""Bugs of a combination, and the share of combinations that are to have so many. Where too few
bugs fit together it has fewer, two at least."""
SHARE = 0.5
"""Combinations for each proven bug: one for every two. Pairs alone would be a square."""
MAX_USES = 3
"""Combinations that one bug may be part of."""
IN_ONE_FILE = 0.5
"""Share of combinations that look for their bugs in one file; the others look in its folder."""
APART = 3
"""Unchanged lines that must lie between two bugs of one definition; one line elsewhere."""
LOOKED_AT = 64
"""Bugs that are looked at to join one combination."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A candidate that was proven to be a bug."""

    candidate: Candidate
    """The change."""
    failing: frozenset[str]
    """Ids of all tests that fail for it."""
    proven_as: str
    """Id of the candidate that was judged: another one where the same change was proven at an
    earlier commit and stands at this one. A combination names its parts so."""


class CombinedSource:
    """Candidates of several proven bugs each."""

    def __init__(
        self,
        contents: Mapping[str, bytes],
        *,
        bugs: Callable[[], Sequence[Bug]],
        known: Callable[[], Iterable[Sequence[str]]] = tuple,
        seed: int,
        language: Language | None = None,
    ) -> None:
        """`contents` are the files that may change; a bug of any other is left alone.

        `bugs` are asked for once, at the first draw; `known` are the parts of combinations that
        were judged before, by the ids that combinations name, first part first. `language` is that
        of the contents, Python when not given.
        """
        self.made = 0
        self.pruned: Counter[str] = Counter()
        self.bugs = 0
        """Proven bugs there are to combine; 0 before the first draw."""
        self._contents = contents
        self._ask = bugs
        self._ask_known = known
        self._seed = seed
        self._language = language or PythonLanguage()
        self._drawing = self._candidates()

    def draw(self) -> Candidate | None:
        """The next combination; None when each bug had its turn or there are enough."""
        return next(self._drawing, None)

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Nothing is learned: a combination is as good as its parts."""

    def _candidates(self) -> Iterator[Candidate]:
        bugs = {bug.candidate.candidate_id: bug for bug in self._ask() if self._fits(bug)}
        self.bugs = len(bugs)
        here = {bug.proven_as: key for key, bug in bugs.items()}
        known = [tuple(here.get(part, part) for part in parts) for parts in self._ask_known()]
        turns = {parts[0] for parts in known}
        uses = Counter(part for parts in known for part in parts)
        seen = {frozenset(parts) for parts in known}
        by_folder: dict[str, list[str]] = {}
        for key, bug in sorted(bugs.items()):
            by_folder.setdefault(_folder(bug), []).append(key)
        left = int(len(bugs) * SHARE) - len(known)
        for first in sorted(bugs, key=lambda key: content_hash("turn", self._seed, key)):
            if left <= 0:
                return
            if first in turns or uses[first] >= MAX_USES:
                continue
            chance = random.Random(f"{NAME} {self._seed} {first}")
            keys = self._chosen(bugs, by_folder[_folder(bugs[first])], first, uses, chance)
            if len(keys) < 2 or frozenset(keys) in seen:
                continue
            seen.add(frozenset(keys))
            self.made += 1
            found = self._combined([bugs[key] for key in keys])
            if found is None:
                self.pruned[Pruned.UNPARSABLE.value] += 1
                continue
            uses.update(keys)
            left -= 1
            yield found

    def _fits(self, bug: Bug) -> bool:
        """Whether a bug is one, of one place or more, of files that may change and have not."""
        return not bug.candidate.parts and all(
            change.path in self._contents
            and bytes_hash(self._contents[change.path]) == change.base_hash
            for change in bug.candidate.changes
        )

    def _chosen(
        self,
        bugs: Mapping[str, Bug],
        near: Sequence[str],
        first: str,
        uses: Counter[str],
        chance: random.Random,
    ) -> list[str]:
        """Candidate ids of a combination, the one whose turn it is first."""
        size = chance.choices(list(SIZES), list(SIZES.values()))[0]
        one_file = chance.random() < IN_ONE_FILE
        path = bugs[first].candidate.path
        pool = [key for key in near if key != first and uses[key] < MAX_USES]
        chance.shuffle(pool)
        # The folder's other bugs stand in where the file has too few.
        pool.sort(key=lambda key: one_file and bugs[key].candidate.path != path)
        pool = pool[:LOOKED_AT]
        chosen = [first]
        while len(chosen) < size:
            operators = {bugs[key].candidate.operator for key in chosen}
            sources = {bugs[key].candidate.source for key in chosen}
            # Those made otherwise go first, in the shuffled order; a sort keeps it among equals.
            pool.sort(
                key=lambda key: (
                    bugs[key].candidate.operator in operators,
                    bugs[key].candidate.source in sources,
                )
            )
            members = [bugs[key] for key in chosen]
            joining = next((key for key in pool if _joins(bugs[key], members)), None)
            if joining is None:
                break
            pool.remove(joining)
            chosen.append(joining)
        return chosen

    def _combined(self, bugs: Sequence[Bug]) -> Candidate | None:
        """All of them as one candidate; None when no file can be parsed with them."""
        by_path: dict[str, list[Change]] = {}
        for bug in bugs:
            for change in bug.candidate.changes:
                by_path.setdefault(change.path, []).append(change)
        changes: list[Change] = []
        good, bad, patches, symbol = [], [], [], ""
        for path in sorted(by_path):
            source = self._contents[path]
            made = sorted(by_path[path], key=lambda change: change.span.start)
            changed = _applied(source, made, Span(0, len(source)))
            if not self._language.parses(path, changed):
                return None
            changes += made
            patches.append(unified_patch(path, changed, source))
            for name, extent, inside in self._definitions(path, source, made):
                symbol = symbol or name
                texts = dedented(
                    source[extent.start : extent.end].decode(),
                    _applied(source, inside, extent).decode(),
                )
                good.append(titled(path, name, texts[0]))
                bad.append(titled(path, name, texts[1]))
        own = changes[0]
        return Candidate(
            path=own.path,
            symbol=symbol,
            span=own.span,
            before=own.before,
            after=own.after,
            line=own.line,
            end_line=own.end_line,
            source=NAME,
            operator=f"{NAME}-{len(bugs)}",
            good=PARTED.join(good),
            bad=PARTED.join(bad),
            base_hash=own.base_hash,
            patch="".join(patches),
            others=tuple(changes[1:]),
            parts=tuple(
                Part(bug.proven_as, tuple(sorted(tests)))
                for bug, tests in zip(bugs, _telling(bugs), strict=True)
            ),
        )

    def _definitions(
        self, path: str, source: bytes, changes: Sequence[Change]
    ) -> list[tuple[str, Span, list[Change]]]:
        """Name, extent and changes of each definition touched, in file order.

        Of nested ones the outer stands for both.
        """
        sites = [
            (self._language.site_of(path, source, Edit(change.span, change.after), NAME), change)
            for change in changes
        ]
        found: list[tuple[str, Span, list[Change]]] = []
        for site, change in sorted(sites, key=lambda one: _outermost_first(one[0].extent)):
            if found and site.extent.start < found[-1][1].end:
                name, outer, inside = found[-1]
                whole = Span(outer.start, max(outer.end, site.extent.end))
                inside.append(change)
                inside.sort(key=lambda one: one.span.start)
                found[-1] = (name, whole, inside)
            else:
                found.append((site.symbol, site.extent, [change]))
        return found


def _outermost_first(extent: Span) -> tuple[int, int]:
    return extent.start, -extent.end


def _folder(bug: Bug) -> str:
    return str(PurePosixPath(bug.candidate.path).parent)


def _joins(bug: Bug, members: Sequence[Bug]) -> bool:
    """Whether a bug stands apart from others, and each then has a test of its own."""
    return all(_apart(bug, member) for member in members) and all(_telling([*members, bug]))


def _apart(one: Bug, other: Bug) -> bool:
    for first in one.candidate.changes:
        for second in other.candidate.changes:
            if first.path != second.path:
                continue
            same = one.candidate.symbol == other.candidate.symbol
            early, late = sorted((first, second), key=lambda change: change.span.start)
            between = late.line - early.end_line - 1
            if early.span.end >= late.span.start or between < (APART if same else 1):
                return False
    return True


def _telling(bugs: Sequence[Bug]) -> list[frozenset[str]]:
    """For each bug, the tests that fail for it and for none of the others."""
    return [
        bug.failing.difference(*(other.failing for other in bugs if other is not bug))
        for bug in bugs
    ]


def _applied(source: bytes, changes: Sequence[Change], region: Span) -> bytes:
    """A region of the source with these changes, in file order, made."""
    pieces, position = [], region.start
    for change in changes:
        pieces += [source[position : change.span.start], change.after.encode()]
        position = change.span.end
    return b"".join([*pieces, source[position : region.end]])
