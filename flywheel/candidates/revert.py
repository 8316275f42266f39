"""Real bugs again: what a fix in the history changed is changed back in the newest code.

The fix's own change is merged backwards into the newest content of each file it touched, whole or,
where the file has moved on too far, hunk by hunk. Nothing of the old code is checked out, and the
tests of today judge it.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from flywheel.candidates.fixes import Fix, Passed, look
from flywheel.candidates.language import Language, PythonLanguage
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import candidate
from flywheel.candidates.prune import Pruned
from flywheel.core.patch import LARGEST_COMPARED
from flywheel.core.records import Candidate, FixCommit, Span
from flywheel.git import Commit, FileChange, merge

WHOLE, HUNK = "revert-file", "revert-hunk"
"""Operators: all that a fix changed in one file, or one hunk of it."""
MAX_HUNKS = 12
"""Hunks of one file tried one by one."""
_NEAR = 3
"""Unchanged lines that part two hunks."""
HIDDEN = "[…]"
"""Stands in a statement for a word that gives the fix away."""

_TRAILER = re.compile(
    r"^(?:signed-off-by|co-authored-by|reviewed-by|acked-by|change-id|git-svn-id|\(cherry picked)"
    r".*$",
    re.IGNORECASE | re.MULTILINE,
)
_BLOCK = re.compile(r"^```.*?^```\s*?$|^(?:[-+@]{1,3}|>>>|\$) .*$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Reverted:
    """One way to bring a bug back."""

    fix: Fix
    """The fix that is undone."""
    path: str
    """File of the newest commit that changes."""
    operator: str
    """`WHOLE` or `HUNK`."""
    content: bytes
    """The file's content with the fix undone."""


class RevertSource:
    """Candidates that undo the repository's own bug fixes, newest first."""

    def __init__(
        self,
        history: Iterable[Commit],
        contents: Mapping[str, bytes],
        *,
        read: Callable[[str], bytes | None],
        is_source: Callable[[str], bool],
        is_test: Callable[[str], bool],
        covered: Callable[[str], Set[int]] | None,
        name: str = "reverted",
        language: Language | None = None,
    ) -> None:
        """`contents` are the files that may change, `read` gives a content by its git hash.

        Without `covered`, whether tests run the changed lines is not asked. `name` is what the
        candidates say they come from. `language` is that of the contents, Python when not given.
        """
        self.made = 0
        self.pruned: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        """Reason -> commits passed over."""
        self.commits = 0
        """Commits looked at."""
        self.fixes = 0
        """Commits that read like bug fixes."""
        self.applied = 0
        """Fixes that could be undone at least in part."""
        self._history = history
        self._contents = contents
        self._read = read
        self._rules = (is_source, is_test)
        self._covered = covered
        self._name = name
        self._language = language or PythonLanguage()
        self._pruner = self._language.pruner()
        self._drawing = self._candidates()

    def draw(self) -> Candidate | None:
        """The next candidate that no rule prunes; None at the end of the history."""
        return next(self._drawing, None)

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Nothing is learned: there are few fixes, and each is tried."""

    def _candidates(self) -> Iterator[Candidate]:
        for reverted in self.reverted():
            found = self._candidate(reverted)
            if found is not None:
                yield found

    def reverted(self) -> Iterator[Reverted]:
        """Every way to undo a fix, unpruned, counting what is passed over."""
        today: dict[str, str] = {}
        for commit in self._history:
            self.commits += 1
            found = look(commit, is_source=self._rules[0], is_test=self._rules[1])
            if isinstance(found, Passed):
                self.passed[found.value] += 1
            else:
                self.fixes += 1
                ways = 0
                reasons: list[Passed] = []
                for change in found.sources:
                    path = today.get(change.path, change.path)
                    for way in self._ways(found, change, path, reasons):
                        ways += 1
                        yield way
                if ways:
                    self.applied += 1
                else:
                    self.passed[reasons[0].value] += 1
            # Older commits know a file by the name it had then.
            for change in commit.changes:
                if change.status == "R":
                    today[change.old_path] = today.get(change.path, change.path)

    def _ways(
        self, fix: Fix, change: FileChange, path: str, reasons: list[Passed]
    ) -> Iterator[Reverted]:
        now = self._contents.get(path)
        if now is None:
            reasons.append(Passed.FILE_GONE)
            return
        before, after = self._read(change.old), self._read(change.new)
        if before is None or after is None or b"\0" in before + after:
            reasons.append(Passed.UNREADABLE)
            return
        whole = merge(now, after, before)
        if whole is not None:
            if whole == now:
                reasons.append(Passed.UNDONE)
            else:
                yield Reverted(fix, path, WHOLE, whole)
            return
        reasons.append(Passed.CONFLICT)
        hunks = _hunks(after, before)
        if not 1 < len(hunks) <= MAX_HUNKS:
            return
        for start, end, lines in hunks:
            kept = after.splitlines(keepends=True)
            kept[start:end] = lines
            part = merge(now, after, b"".join(kept))
            if part is not None and part != now:
                yield Reverted(fix, path, HUNK, part)

    def _candidate(self, reverted: Reverted) -> Candidate | None:
        self.made += 1
        path = reverted.path
        source = self._contents[path]
        try:
            content = self._language.with_tests_kept(path, source, reverted.content)
            edit = _edit(source, content)
            site = self._language.site_of(path, source, edit, reverted.operator)
        except (SyntaxError, ValueError, RecursionError):
            self.pruned[Pruned.UNPARSABLE.value] += 1
            return None
        covered = self._covered(path) if self._covered is not None else None
        reason = self._pruner.reason(path, source, site, covered)
        if reason is not None:
            self.pruned[reason.value] += 1
            return None
        if self._pruner.incomplete(path, source, content):
            self.pruned[Pruned.INCOMPLETE.value] += 1
            return None
        origin = _origin(reverted.fix, edit, source)
        return candidate(path, source, site, made_by=self._name, origin=origin)


def _origin(fix: Fix, edit: Edit, source: bytes) -> FixCommit:
    commit = fix.commit
    return FixCommit(
        commit=commit.oid,
        committed_at=datetime.fromtimestamp(commit.committed_at, UTC),
        statement=statement(
            f"{commit.subject}\n\n{commit.body}",
            good=source[edit.span.start : edit.span.end].decode(errors="replace"),
            bad=source[: edit.span.start].decode(errors="replace")
            + edit.text
            + source[edit.span.end :].decode(errors="replace"),
        ),
        signals=asdict(fix.signals),
    )


def statement(message: str, *, good: str, bad: str) -> str:
    """A commit's message as a description of the bug, without what gives the fix away.

    Trailers, code blocks and lines of diffs go; words of code that the fix brings (they stand in
    `good`, the fixed text, and nowhere in `bad`, the whole broken file) are hidden, unless they are
    plain lower-case English, which says nothing of code.
    """
    text = _BLOCK.sub("", _TRAILER.sub("", message))
    brought = set(_WORD.findall(good)) - set(_WORD.findall(bad))
    telling = {word for word in brought if not (word.isalpha() and word.islower())}

    def shown(found: re.Match[str]) -> str:
        return HIDDEN if found.group() in telling else found.group()

    return re.sub(r"\n{3,}", "\n\n", _WORD.sub(shown, text)).strip()


def _hunks(after: bytes, before: bytes) -> list[tuple[int, int, list[bytes]]]:
    """Lines `start:end` of `after`, and what stood there before, for each change of its own."""
    new, old = after.splitlines(keepends=True), before.splitlines(keepends=True)
    if max(len(new), len(old)) > 2 * LARGEST_COMPARED:
        return []
    found: list[tuple[int, int, int, int]] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, new, old, False).get_opcodes():
        if tag == "equal":
            continue
        if found and i1 - found[-1][1] < _NEAR:
            found[-1] = (found[-1][0], i2, found[-1][2], j2)
        else:
            found.append((i1, i2, j1, j2))
    return [(i1, i2, old[j1:j2]) for i1, i2, j1, j2 in found]


def _edit(before: bytes, after: bytes) -> Edit:
    """The smallest run of whole lines that leads from one content to the other."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    start = sum(map(len, old[:head]))
    end = len(before) - sum(map(len, old[len(old) - tail :]))
    return Edit(Span(start, end), b"".join(new[head : len(new) - tail]).decode())
