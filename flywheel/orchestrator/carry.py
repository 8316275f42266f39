"""Carrying verdicts from one commit to the next: what still stands is not judged again.

A verdict stands at a new commit when all that it rests on is there unchanged: the environment, the
changed definition, the tests that gave it, and whatever code these may come to (`critic.affected`).
Then the candidate that is the same change there is known without a run. Else it is retired, and
judged again if a source still makes it. The rule, and what it cannot see: docs/design/freshness.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import Any

from flywheel.core.ending import EXHAUSTED
from flywheel.core.errors import RepositoryError
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Change, Span
from flywheel.core.settings import Settings
from flywheel.critic import (
    CALLS_CHANGED,
    TEST_GONE,
    Affected,
    Learned,
    Unit,
    Version,
    compare,
    unit_at,
    units,
)
from flywheel.git import Checkout, at
from flywheel.orchestrator.judging import Judging
from flywheel.orchestrator.workbench import Workbench, earlier_baseline
from flywheel.store import (
    JUDGED_AGAIN,
    KEPT,
    RETIRED,
    Carried,
    KnownVerdict,
    Proven,
    Standing,
    Store,
    carried_at,
    carried_counts,
    known_verdicts,
    record_carried,
    restore,
    standing,
)

ENVIRONMENT = "environment-changed"
"""It was proven in another environment, or by another toolchain."""
CODE_GONE = "code-gone"
"""The changed definition is not there any more, under its name and path."""
CODE_CHANGED = "code-changed"
"""The changed definition is another one now."""
COMMIT_GONE = "commit-gone"
"""The repository lacks the commit it was proven at, so nothing can be compared."""
NOT_COMPARABLE = "no-line-map"
"""What tests executed at its commit is not kept any more."""
NEW_TESTS = "new-tests"
"""Tests execute a survivor's lines that did not before."""
NO_PASSING_TEST = "no-passing-test"
"""No test is left that surely passes, so it may break everything."""
EVERY_TEST = "rests-on-every-test"
"""It broke everything, so a test that is in doubt, or new, may say otherwise."""
NOT_MADE = "not-made"
"""A harvest of everything does not make this candidate any more."""
SUPERSEDED = "judged-here"
"""The same change has a verdict of this commit."""

_MADE_AGAIN = frozenset({"mutated", "reverted"})
"""Sources that make the same of the same code. What is combined depends on what else is proven,
what is written on a model: either is proven all the same when it is not made again."""
_OF_ITSELF = frozenset({CODE_GONE, CODE_CHANGED, SUPERSEDED})
"""Reasons that are sure without judging anything else."""


class Carrying:
    """The verdicts of a repository, brought to the commit that is harvested."""

    def __init__(
        self, bench: Workbench, learned: Learned, settings: Settings, store: Store
    ) -> None:
        """`learned` is of the new commit."""
        self._bench = bench
        self._learned = learned
        self._settings = settings
        self._store = store
        self._baseline_id = learned.baseline.baseline_id
        self._contents: dict[str, bytes] = {}
        """Git's hash of a file -> its content, for all commits that are compared."""
        self._before: dict[tuple[str, str], tuple[Unit, ...] | None] = {}
        """Commit and path -> units of the file there; None where it cannot be read."""

    def decide(self) -> None:
        """Say of each verdict that stands elsewhere whether it stands here, before judging.

        A harvest of a part of the code says nothing of what it does not look at: only what it
        keeps, and what is gone for sure.
        """
        restore(self._store, self._baseline_id)
        here = self._bench.checkout.commit
        groups: dict[tuple[str, str], list[Standing]] = defaultdict(list)
        for row in standing(self._store, self._bench.checkout.name):
            # Another environment's verdicts on this very commit are as fresh as can be.
            if row.at_commit != here:
                groups[row.at_baseline, row.at_commit].append(row)
        if not groups:
            return
        known = self._settled()
        decided: list[Carried] = []
        for (_, commit), rows in groups.items():
            rule = self._rule(commit, rows[0])
            for row in rows:
                carried = self._carried(row, rule, known)
                if self._settings.harvest.since is None or (
                    carried.state == KEPT or carried.reason in _OF_ITSELF
                ):
                    decided.append(carried)
        record_carried(self._store, decided)

    def settle(self, loop: Judging, *, operators: Collection[str]) -> None:
        """Say, after judging, which have a new verdict in their place or are made no more.

        `operators` are the names of those that were used.
        """
        known = self._settled()
        wanted = self._settings.harvest
        complete = loop.ended == EXHAUSTED and wanted.since is None
        paths = frozenset(loop.paths())
        changed = []
        for row in carried_at(self._store, self._baseline_id):
            one = row.carried
            if one.state == KEPT:
                made = row.source in wanted.source and row.source in _MADE_AGAIN
                made = made and row.path in paths
                made = made and (row.source != "mutated" or row.operator in operators)
                if complete and made and one.here not in loop.met:
                    changed.append(replace(one, state=RETIRED, reason=NOT_MADE))
            elif one.state == RETIRED and one.here is not None:
                if one.here in known:
                    changed.append(replace(one, state=JUDGED_AGAIN))
        record_carried(self._store, changed)
        if wanted.since is not None:
            self._settle_part(known)

    def _settle_part(self, known: Mapping[str, KnownVerdict]) -> None:
        """What was left undecided, and has been judged here all the same, is superseded."""
        done = []
        for row in standing(self._store, self._bench.checkout.name):
            if row.at_commit == self._bench.checkout.commit:
                continue
            match self._place(row):
                case Candidate() as here, _ if here.candidate_id in known:
                    done.append(self._row(row, JUDGED_AGAIN, SUPERSEDED, here.candidate_id))
                case _:
                    pass
        record_carried(self._store, done)

    def _settled(self) -> dict[str, KnownVerdict]:
        known = known_verdicts(self._store, self._baseline_id)
        return {key: one for key, one in known.items() if one.verdict != "unknown"}

    def summary(self) -> dict[str, Any]:
        """What became of earlier verdicts at this commit."""
        counts = carried_counts(self._store, self._baseline_id)
        return {
            "kept": counts.states[KEPT],
            "judged_again": counts.states[JUDGED_AGAIN],
            "retired": counts.states[RETIRED],
            "reasons": dict(counts.reasons.most_common()),
        }

    def bugs(self) -> tuple[Proven, ...]:
        """Proven bugs of earlier commits that stand at this one, as changes of its files."""
        found = []
        for row in self._standing_here():
            if row.verdict == "valid" and not row.candidate.parts:
                place = self._place(row)
                if not isinstance(place, str):
                    found.append(Proven(place[0], row.failing, row.candidate.candidate_id))
        return tuple(found)

    def combined(self) -> tuple[tuple[str, ...], ...]:
        """Combinations of earlier commits that stand at this one: ids here of each one's parts."""
        rows = [row for row in self._standing_here() if row.candidate.parts]
        if not rows:
            return ()
        here = {
            one.carried.candidate_id: one.carried.here
            for one in carried_at(self._store, self._baseline_id)
        }
        parts = [[part.candidate_id for part in row.candidate.parts] for row in rows]
        return tuple(tuple(here.get(key) or key for key in keys) for keys in parts)

    def _standing_here(self) -> Iterator[Standing]:
        for row in standing(self._store, self._bench.checkout.name):
            if row.at_baseline == self._baseline_id != row.baseline_id:
                yield row

    def _carried(self, row: Standing, rule: str | Rule, known: Collection[str]) -> Carried:
        found = self._place(row)
        if isinstance(found, str):
            return self._row(row, RETIRED, found, None)
        candidate, held = found
        if candidate.candidate_id in known:
            return self._row(row, JUDGED_AGAIN, SUPERSEDED, candidate.candidate_id)
        reason = rule if isinstance(rule, str) else rule.reason(row, candidate, held)
        return self._row(row, RETIRED if reason else KEPT, reason, candidate.candidate_id)

    def _row(self, row: Standing, state: str, reason: str, here: str | None) -> Carried:
        return Carried(
            row.candidate.candidate_id, row.baseline_id, self._baseline_id, state, reason, here
        )

    def _rule(self, commit: str, row: Standing) -> str | Rule:
        """How rows that stand at a commit are decided, or why none of them can stand here."""
        bench = self._bench
        if (row.environment_hash, row.toolchain) != (bench.environment.hash, bench.toolchain.id):
            return ENVIRONMENT
        if bench.tester is not None:
            # Which test executes what is not known: any may notice any change.
            return NOT_COMPARABLE
        try:
            checkout = at(bench.checkout, commit)
        except RepositoryError:
            return COMMIT_GONE
        learned = earlier_baseline(bench, self._settings, checkout)
        if learned is None:
            return NOT_COMPARABLE
        old = self._version(checkout, learned)
        return Rule(old, self._new, compare(old, self._new))

    def _place(self, row: Standing) -> tuple[Candidate, tuple[Unit | None, ...]] | str:
        """The same candidate in the new commit's files, and what holds each change; else why not.

        What it shows of code and patch stays as it was.
        """
        changes, held = [], []
        for change in row.candidate.changes:
            found = self._place_change(change, row.commit)
            if isinstance(found, str):
                return found
            changes.append(found[0])
            held.append(found[1])
        own, *others = changes
        placed = replace(
            row.candidate,
            span=own.span,
            line=own.line,
            end_line=own.end_line,
            base_hash=own.base_hash,
            others=tuple(others),
        )
        return placed, tuple(held)

    def _place_change(self, change: Change, commit: str) -> tuple[Change, Unit | None] | str:
        """The same change in the new commit's file, and the unit that holds it; else why not."""
        path, span, new = change.path, change.span, self._new
        content = new.read(path) if path in new.entries else None
        if content is None:
            return CODE_GONE
        if not path.endswith(".py"):
            same_file = bytes_hash(content) == change.base_hash
            return (change, None) if same_file else CODE_CHANGED
        there = new.units(path)
        if bytes_hash(content) == change.base_hash:
            held = unit_at(there or (), span.start, span.end)
            return change, held[0] if held else None
        before = self._units_before(commit, path)
        if before is None:
            return COMMIT_GONE
        held = unit_at(before, span.start, span.end)
        if held is None or there is None:
            return CODE_CHANGED
        unit, piece = held
        same = new.unit(path, unit.key)
        if same is None or _whole(before, unit) != _whole(there, same):
            return CODE_CHANGED if new.named(path, unit.name) else CODE_GONE
        lines = dict(zip(sorted(unit.lines), sorted(same.lines), strict=True))
        if not {change.line, change.end_line} <= lines.keys():
            return CODE_CHANGED
        shift = same.pieces[piece][0] - unit.pieces[piece][0]
        moved = replace(
            change,
            span=Span(span.start + shift, span.end + shift),
            line=lines[change.line],
            end_line=lines[change.end_line],
            base_hash=bytes_hash(content),
        )
        return moved, same

    def _units_before(self, commit: str, path: str) -> tuple[Unit, ...] | None:
        key = (commit, path)
        if key not in self._before:
            try:
                content = at(self._bench.checkout, commit).read(path) or b""
                self._before[key] = units(path, content, is_source=self._new.is_source(path))
            except (RepositoryError, SyntaxError, ValueError):
                self._before[key] = None
        return self._before[key]

    @cached_property
    def _new(self) -> Version:
        return self._version(self._bench.checkout, self._learned)

    def _version(self, checkout: Checkout, learned: Learned) -> Version:
        entries = {one.path: one for one in checkout.entries()}
        contents = self._contents

        def read(path: str) -> bytes | None:
            oid = entries[path].oid
            if oid not in contents:
                # Names are followed through all of the code, so it is read at once.
                more = [one for one in entries.values() if one.path.endswith(".py")]
                more = [one for one in (*more, entries[path]) if one.oid not in contents]
                wanted = [one.oid for one in more]
                contents.update(zip(wanted, checkout.read_many(more), strict=True))
            return contents[oid]

        same = {path: f"{one.mode} {one.oid}" for path, one in entries.items()}
        return Version(same, read, learned, self._bench.toolchain)


class Rule:
    """Whether a verdict that stood at one commit stands at another."""

    def __init__(self, old: Version, new: Version, affected: Affected) -> None:
        """`affected` is what lies between the two."""
        self._old = old
        self._new = new
        self._affected = affected
        self._both = old.judging & new.judging

    def reason(self, row: Standing, here: Candidate, held: Sequence[Unit | None]) -> str:
        """Why the verdict does not stand, empty when it does.

        `here` is the candidate at the newer commit and `held` what holds each of its changes there.
        """
        if self._affected.everything:
            return self._affected.everything
        if any(self._affected.mentions(change.after) for change in here.changes):
            # The bad code may come to what its tests never came to before.
            return CALLS_CHANGED
        match row.verdict:
            case "valid":
                return self._of_example(row)
            case "survived":
                reasons = (
                    self._of_survivor(change, unit)
                    for change, unit in zip(here.changes, held, strict=True)
                )
                return next(filter(None, reasons), "")
            case _:
                return self._of_what_breaks_all(row)

    def _of_example(self, row: Standing) -> str:
        for test_id in row.failing:
            if test_id not in self._both:
                return TEST_GONE
            if reason := self._affected.reason(test_id):
                return reason
        others = self._both.difference(row.failing)
        if not row.failing or not any(not self._affected.reason(one) for one in others):
            return NO_PASSING_TEST
        return ""

    def _of_what_breaks_all(self, row: Standing) -> str:
        """It breaks all again where no file of tests can be collected, as before.

        One test of a file that is not in doubt says so of the whole file: new tests too.
        """
        if row.phase != "collect" or not self._old.judging.issubset(row.failing):
            return EVERY_TEST
        sure = {
            test_id.partition("::")[0]
            for test_id in self._both
            if not self._affected.reason(test_id)
        }
        files = {test_id.partition("::")[0] for test_id in self._new.judging}
        return "" if files <= sure else EVERY_TEST

    def _of_survivor(self, here: Change, unit: Unit | None) -> str:
        old = self._old.unit(here.path, unit.key) if unit is not None else None
        if unit is not None and old is None:
            return CODE_CHANGED
        before = _noticing(self._old, here.path, old, here.span.start, unit)
        after = _noticing(self._new, here.path, unit, here.span.start, unit)
        for test_id in sorted(before):
            if reason := self._affected.reason(test_id):
                return reason
        return NEW_TESTS if after - before else ""


def _noticing(
    version: Version, path: str, unit: Unit | None, start: int, here: Unit | None
) -> Set[str]:
    """Ids of all tests that may notice a change of a unit, `start` bytes into the newer file.

    `here` is the unit there: offsets into it are the same at both commits.
    """
    if unit is not None and here is not None and unit.body_lines:
        inside = start - here.pieces[0][0] >= unit.body
        lines = version.learned.suite.lines
        if inside and not lines.ran_at_import(path, unit.body_lines):
            return version.covering(path, unit.lines)
    return version.reaching(path)


def _whole(found: Collection[Unit], unit: Unit) -> tuple[bytes, ...]:
    """What a candidate in a unit shows as its definition: of a class, its methods too."""
    if unit.is_function or not unit.name:
        return (unit.text,)
    own = unit.name, f"{unit.name}."
    return tuple(one.text for one in found if one.name == own[0] or one.name.startswith(own[1]))
