"""How often which operators are drawn, learned from the repository's own bug fixes.

Every small piece of every fix is asked which operator of the mutation set would undo it: one that
makes exactly the earlier text of the fixed one, else the family that makes such a difference
(`differences`). What the fixes say is mixed with what the mutation set would do by itself, so that
few fixes change little, and bounded, so that no operator is starved or drawn alone.

Only Python is classified. The file a fix touched is never parsed whole: two versions are aligned by
their top-level statements, and only those that differ are looked at.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from flywheel.candidates.differences import differences
from flywheel.candidates.fixes import Fix, look
from flywheel.candidates.hunk import differing
from flywheel.candidates.module import Module
from flywheel.candidates.mutate import Table, by_node, edits
from flywheel.candidates.operator import AnyOperator, Described
from flywheel.candidates.operators import all_operators
from flywheel.candidates.sample import Draw, Sampler
from flywheel.core.patch import LARGEST_COMPARED
from flywheel.core.records import Span
from flywheel.git import Commit

VERSION = 1
"""Grows when fixes are classified otherwise: what was kept is then learned anew."""
MAX_COMMITS = 5_000
"""Commits that are looked at, newest first."""
MAX_FIXES = 300
"""Fixes that are classified, newest first."""
MAX_LINES = 12
"""Lines of one piece of a fix, before or after it: more is no small mistake."""
MAX_STATEMENT = 1_500
"""Lines of a top-level statement beyond which its differences are not looked at."""
PRIOR = 20.0
"""Fixes that the mutation set's own distribution counts as."""
LEAST, MOST = 0.25, 4.0
"""Bounds of an operator's weight; 1 is what it has without calibration."""

_STATEMENT = re.compile(
    rb"^(?=[A-Za-z_@])(?!(?:else|elif|except|finally)\b)(?<!\\\n)", re.MULTILINE
)
_NAME = re.compile(
    rb"^(?:async[ ]+)?(?:(?:def|class)[ ]+(?P<name>\w+)|(?P<target>\w+)[ ]*=)", re.MULTILINE
)
_PYTHON = (".py", ".pyi")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a history says of the mistakes that are made in a repository."""

    commits: int
    """Commits looked at."""
    fixes: int
    """Those that read like bug fixes and change Python."""
    classified: int
    """Those of which at least one piece could be classified."""
    exact: int
    """Pieces that an operator undoes to the letter, white space aside."""
    families: Mapping[str, float]
    """Family of operators -> fixes. Each classified fix counts as one, divided among its pieces."""
    operators: Mapping[str, float]
    """Operator -> fixes, as far as pieces are undone to the letter."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is known of one piece of a fix."""

    families: tuple[str, ...]
    operator: str
    """The one that undoes it to the letter, empty when none does."""


def learn_mistakes(
    history: Iterable[Commit],
    *,
    read: Callable[[str], bytes | None],
    is_source: Callable[[str], bool],
    is_test: Callable[[str], bool],
) -> Calibration:
    """Classify the fixes of a history, newest first; `read` gives a content by its git hash."""
    operators = by_node(all_operators())
    commits = fixes = classified = exact = 0
    families: defaultdict[str, float] = defaultdict(float)
    by_operator: defaultdict[str, float] = defaultdict(float)
    for commit in history:
        if commits >= MAX_COMMITS or fixes >= MAX_FIXES:
            break
        commits += 1
        found = look(commit, is_source=is_source, is_test=is_test)
        if not isinstance(found, Fix):
            continue
        changes = [change for change in found.sources if change.path.endswith(_PYTHON)]
        fixes += bool(changes)
        pieces: list[_Piece] = []
        for change in changes:
            before, after = read(change.old), read(change.new)
            if before is not None and after is not None:
                pieces += _pieces(before, after, operators)
        classified += bool(pieces)
        for piece in pieces:
            for family in piece.families:
                families[family] += 1 / len(pieces) / len(piece.families)
            if piece.operator:
                exact += 1
                by_operator[piece.operator] += 1 / len(pieces)
    return Calibration(commits, fixes, classified, exact, dict(families), dict(by_operator))


def weights(calibration: Calibration, operators: Sequence[Described]) -> dict[str, float]:
    """Operator -> how much more often than without calibration it is to be drawn.

    With n classified fixes, c of them of a family, and p the family's share of the N operators,
    its share is (c + PRIOR p) / (n + PRIOR). In the family, an operator that undoes e fixes to
    the letter gets (e + 1) of it, all of the family's together being one. A share of 1/N is the
    weight 1.
    """
    members = Counter(operator.family for operator in operators)
    counted = {family: calibration.families.get(family, 0.0) for family in members}
    total = sum(counted.values())
    undone = {one.name: 1 + calibration.operators.get(one.name, 0.0) for one in operators}
    sums: defaultdict[str, float] = defaultdict(float)
    for operator in operators:
        sums[operator.family] += undone[operator.name]
    found = {}
    for operator in operators:
        family = operator.family
        prior = members[family] / len(operators)
        share = (counted[family] + PRIOR * prior) / (total + PRIOR)
        weight = share * undone[operator.name] / sums[family] * len(operators)
        found[operator.name] = min(MOST, max(LEAST, weight))
    return found


def distance(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Jensen-Shannon distance of two distributions: 0 for the same, 1 for nothing in common.

    The square root of the divergence to base 2 (Endres and Schindelin 2003); the counts need not
    be normalised. None where one of them is empty.
    """
    sums = sum(one.values()), sum(other.values())
    if not all(sums):
        return None
    total = 0.0
    for key in sorted(one.keys() | other.keys()):
        p, q = one.get(key, 0.0) / sums[0], other.get(key, 0.0) / sums[1]
        middle = (p + q) / 2
        total += sum(part / 2 * math.log2(part / middle) for part in (p, q) if part)
    return math.sqrt(max(0.0, total))


def drawn_families(
    contents: Mapping[str, bytes],
    operators: Sequence[Described],
    *,
    seed: int,
    draws: int,
    covered: Callable[[str], Set[int] | None],
    weights: Mapping[str, float] | None = None,
) -> Counter[str]:
    """Families of what a sampler draws that is told no verdicts."""
    sampler = Sampler(
        sorted(contents),
        contents.__getitem__,
        operators,
        seed=seed,
        lines=covered,
        weights=weights,
        lag=draws + 1,
    )
    families = {operator.name: operator.family for operator in operators}
    found: Counter[str] = Counter()
    for _ in range(draws):
        drawn = sampler.draw()
        if not isinstance(drawn, Draw):
            break
        found[families[drawn.site.operator]] += 1
    return found


# --- one file of one fix ----------------------------------------------------------------


def _pieces(before: bytes, after: bytes, operators: Table) -> Iterator[_Piece]:
    """The small pieces of a fix of one file that can be classified."""
    for old, new in _statements(before, after):
        lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
        if max(map(len, lines)) > MAX_STATEMENT:
            continue
        try:
            yield from _between(old, new, lines, operators)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # written for older Pythons, or text that only looks like a statement


def _between(
    old: bytes,
    new: bytes,
    lines: tuple[list[bytes], list[bytes]],
    operators: Table,
) -> Iterator[_Piece]:
    """The pieces of one statement's two versions."""
    found = list(differences(old, new))
    if not found:
        return
    module: Module | None = None
    matcher = difflib.SequenceMatcher(None, *lines, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal" or max(i2 - i1, j2 - j1) > MAX_LINES:
            continue
        here = [one for one in found if i1 < one.old_line <= i2 or j1 < one.new_line <= j2]
        if not here:
            continue
        undoing: AnyOperator | None = None
        if j2 > j1:
            module = module or Module(new)
            start = sum(map(len, lines[1][:j1]))
            region = Span(start, start + sum(map(len, lines[1][j1:j2])))
            wanted = b"".join(lines[0][i1:i2])
            undoing = _undoing(module, operators, range(j1 + 1, j2 + 1), region, wanted)
        named = {one.family for one in here if one.family is not None}
        if undoing is not None:
            yield _Piece((undoing.family,), undoing.name)
        elif named:
            yield _Piece(tuple(sorted(named)), "")


def _undoing(
    module: Module,
    operators: Table,
    lines: range,
    region: Span,
    wanted: bytes,
) -> AnyOperator | None:
    """The first operator that makes `wanted` of a region; `lines` are the region's."""
    target = _squeezed(wanted)
    for node in module.mutable:
        first = getattr(node, "lineno", lines.start)
        last = getattr(node, "end_lineno", None) or first
        if last < lines.start or first >= lines.stop:
            continue
        for operator, edit in edits(node, module, operators):
            if edit.span.start < region.start or region.end < edit.span.end:
                continue
            text = module.source[region.start : edit.span.start] + edit.text.encode()
            if _squeezed(text + module.source[edit.span.end : region.end]) == target:
                return operator
    return None


def _squeezed(text: bytes) -> bytes:
    return b"".join(text.split())


def _statements(before: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Top-level statements that two versions have both and that differ, older first."""
    old, new = _top_level(before), _top_level(after)
    for hunk in differing(old, new):
        left = old[hunk.start : hunk.end]
        if max(len(left), hunk.new_end - hunk.new_start) > LARGEST_COMPARED:
            continue
        for one in new[hunk.new_start : hunk.new_end]:
            other = next((each for each in left if _name(each) == _name(one)), None)
            if other is not None:
                left.remove(other)
                yield other, one


def _top_level(source: bytes) -> list[bytes]:
    """The source cut where something begins in the first column, decorators with what they adorn.

    A guess that costs no parsing: what is cut wrongly cannot be parsed and is passed over.
    """
    found: list[bytes] = []
    adorned = False
    for text in _STATEMENT.split(source):
        if adorned:
            found[-1] += text
        else:
            found.append(text)
        adorned = text.startswith(b"@")
    return found


def _name(statement: bytes) -> bytes:
    """What a statement binds; its kind where it binds nothing by name."""
    found = _NAME.search(statement)
    if found is None:
        return statement.split(None, 1)[0] if statement.strip() else b""
    return found["name"] or found["target"]
