"""Real bugs again: what a fix in the history changed is changed back in the newest code.

The fix's own change is merged backwards into the newest content of each file it touched, whole or,
where the file has moved on too far, hunk by hunk. Nothing of the old code is checked out, and the
tests of today judge it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath

from flywheel.candidates.fixes import Fix, Passed, look
from flywheel.candidates.hunk import Hunk, hunks
from flywheel.candidates.language import Language, PythonLanguage
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import Site, candidate, joined
from flywheel.candidates.prune import Pruned
from flywheel.candidates.statement import statement
from flywheel.core.patch import unified_patch
from flywheel.core.records import Candidate, FixCommit
from flywheel.git import Commit, merge

COMMIT, FILE, HUNK = "revert-commit", "revert-file", "revert-hunk"
"""Operators: all that a fix changed in several files, or in one file, or one hunk of it."""
MAX_HUNKS = 12
"""Hunks of one file tried one by one."""
MAX_MIXED_HUNKS = 60
"""The same for a release, which holds many fixes."""
_VERSION = re.compile(rb"^\s*_*version\w*\s*=", re.IGNORECASE)
"""A line that only says which version it is."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Reverted:
    """One way to bring a bug back."""

    fix: Fix
    """The fix that is undone."""
    operator: str
    """`COMMIT`, `FILE` or `HUNK`."""
    contents: Mapping[str, bytes]
    """File of the newest commit -> its content with the fix undone."""


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
        covered: Callable[[str], Set[int] | None] | None,
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
        self._look = partial(look, is_source=is_source, is_test=is_test)
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
            found = self._look(commit)
            if isinstance(found, Passed):
                self.passed[found.value] += 1
            else:
                self.fixes += 1
                ways = 0
                reasons: list[Passed] = []
                for way in self._ways(found, today, reasons):
                    ways += 1
                    yield way
                if ways:
                    self.applied += 1
                else:
                    self.passed[reasons[0].value] += 1
            # Older commits know a file by the name it had then.
            today |= {
                change.old_path: today.get(change.path, change.path)
                for change in commit.changes
                if change.status == "R"
            }

    def _ways(
        self, fix: Fix, today: Mapping[str, str], reasons: list[Passed]
    ) -> Iterator[Reverted]:
        """The whole fix; or, where a file has moved on too far, what can be undone of it."""
        undone: dict[str, bytes] = {}
        moved_on: list[_Moved] = []
        for change in fix.sources:
            path = today.get(change.path, change.path)
            now = self._contents.get(path)
            before, after = self._read(change.old), self._read(change.new)
            if now is None:
                reasons.append(Passed.FILE_GONE)
            elif before is None or after is None or b"\0" in before + after:
                reasons.append(Passed.UNREADABLE)
            elif fix.mixed or (content := merge(now, after, before)) is None:
                reasons.append(Passed.CONFLICT)
                moved_on.append(_Moved(path, now, before, after))
            elif content == now:
                reasons.append(Passed.UNDONE)
            else:
                undone[path] = content
        if len(undone) > 1 and not moved_on:
            yield Reverted(fix, COMMIT, undone)
            return
        for path, content in undone.items():
            yield Reverted(fix, FILE, {path: content})
        if fix.signals.chore_words or fix.signals.feature:
            # A piece of such a change is rarely what repairs.
            return
        # One hunk alone is the whole, which was tried; of a release nothing was.
        least, most = (1, MAX_MIXED_HUNKS) if fix.mixed else (2, MAX_HUNKS)
        for moved in moved_on:
            for content in moved.parts(least, most):
                yield Reverted(fix, HUNK, {moved.path: content})

    def _candidate(self, reverted: Reverted) -> Candidate | None:
        self.made += 1
        reasons: list[Pruned | None] = []
        parts: list[Candidate] = []
        contents: list[tuple[str, bytes, bytes]] = []
        for path, undone in sorted(reverted.contents.items()):
            source = self._contents[path]
            try:
                content = self._language.with_tests_kept(path, source, undone)
                reason = self._reason(path, source, content, reverted.operator)
            except (SyntaxError, ValueError, RecursionError):
                reason = Pruned.UNPARSABLE
            reasons.append(reason)
            if reason in _SPOILING:
                self.pruned[reason.value] += 1
                return None
            if reason not in _NOTHING:
                contents.append((path, source, content))
                sites = self._sites(path, source, content, reverted.operator)
                parts += [candidate(path, source, site, made_by=self._name) for site in sites]
        if all(reasons):
            self.pruned[str(reasons[0])] += 1
            return None
        patch = "".join(unified_patch(path, content, source) for path, source, content in contents)
        origin = _origin(
            reverted.fix,
            parts,
            good="\n".join(change.before for one in parts for change in one.changes),
            bad="\n".join(content.decode(errors="replace") for _, _, content in contents),
        )
        return replace(joined(parts, patch), origin=origin)

    def _reason(self, path: str, source: bytes, content: bytes, operator: str) -> Pruned | None:
        """Why a changed file is turned away; raises what `Language.sites` raises."""
        if content == source:
            return Pruned.SAME_TREE
        site = self._language.site_of(path, source, _edit(source, content), operator)
        covered = self._covered(path) if self._covered is not None else None
        reason = self._pruner.reason(path, source, site, covered)
        if reason is None and self._pruner.incomplete(path, source, content):
            return Pruned.INCOMPLETE
        return reason

    def _sites(self, path: str, source: bytes, content: bytes, operator: str) -> list[Site]:
        """The changes that lead from one content to the other, one a definition."""
        old, new = source.splitlines(keepends=True), content.splitlines(keepends=True)
        found: list[tuple[Hunk, Site]] = []
        for hunk in hunks(old, new):
            whole = hunk
            site = self._language.site_of(path, source, whole.edit(old, new), operator)
            while found and found[-1][1].extent.end > site.extent.start:
                whole = found.pop()[0].until(whole)
                site = self._language.site_of(path, source, whole.edit(old, new), operator)
            found.append((whole, site))
        return [site for _, site in found]


_SPOILING = (Pruned.UNPARSABLE, Pruned.INCOMPLETE, Pruned.PROTECTED)
"""What is wrong with one file is wrong with the whole."""
_NOTHING = (Pruned.SAME_BYTECODE, Pruned.SAME_TREE)
"""A file that does not change is left out of the whole."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """A file that has moved on since a fix."""

    path: str
    now: bytes
    before: bytes
    after: bytes

    def parts(self, least: int, most: int) -> Iterator[bytes]:
        """What the file is with one hunk of the fix undone, for each that can be.

        Nothing where the fix has fewer than `least` or more than `most`.
        """
        new, old = self.after.splitlines(keepends=True), self.before.splitlines(keepends=True)
        found = hunks(new, old)
        if not least <= len(found) <= most:
            return
        for hunk in found:
            lines = [*new[hunk.start : hunk.end], *old[hunk.new_start : hunk.new_end]]
            if all(_VERSION.match(line) or not line.strip() for line in lines):
                continue
            kept = [*new[: hunk.start], *old[hunk.new_start : hunk.new_end], *new[hunk.end :]]
            content = merge(self.now, self.after, b"".join(kept))
            if content is not None and content != self.now:
                yield content


def _origin(fix: Fix, parts: Sequence[Candidate], *, good: str, bad: str) -> FixCommit:
    commit = fix.commit
    message = f"{commit.subject}\n\n{commit.body}"
    if fix.mixed and fix.signals.repairs:
        # Of all that a release repairs, what names the code that changes; else all of it.
        names = {
            name for one in parts for name in (*one.symbol.split("."), PurePosixPath(one.path).stem)
        }
        named = [one for one in fix.signals.repairs if names & set(_WORD.findall(one))]
        message = "\n".join(
            (commit.subject, "", *(f"- {one}" for one in named or fix.signals.repairs))
        )
    return FixCommit(
        commit=commit.oid,
        committed_at=datetime.fromtimestamp(commit.committed_at, UTC),
        statement=statement(message, good=good, bad=bad),
        signals=asdict(fix.signals),
    )


def _edit(before: bytes, after: bytes) -> Edit:
    """The smallest run of whole lines that leads from one content to the other."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    found = hunks(old, new)
    return found[0].until(found[-1]).edit(old, new)
