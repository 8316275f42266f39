"""Audit: how many wrong fixes the tests behind examples let through.

Every definition that an example fixes is changed for the worse in several ways, and the critic says
which of them the tests reject. What a harvest has judged is not judged again, and what is judged
here is kept as it comes, so an audit that is stopped goes on where it was. It adds no example.

Not to be confused with the critic's own audits, which run the whole suite to check a selection.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flywheel.candidates import Edit, WrongFix, WrongKind, wrong_fixes
from flywheel.core.errors import FlywheelError, StoreError
from flywheel.core.events import EventBus, Warned
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.records import Change, Judged
from flywheel.core.settings import Settings
from flywheel.critic import Judge, Learned
from flywheel.orchestrator.figures import audit_figures
from flywheel.orchestrator.stored import by_baseline, set_up_again
from flywheel.orchestrator.workbench import Workbench, jobs_of, learn_baseline, phase
from flywheel.store import (
    Oracle,
    Replayable,
    Score,
    Store,
    Tried,
    Written,
    known_verdicts,
    record_figures,
    record_oracles,
    record_tried,
    scores,
    tried_before,
    written,
)
from flywheel.workspace import Workspace

POLL_SECONDS = 0.5
"""How long to wait for a verdict before looking at what else there is to do."""
KEEP_SECONDS = 2.0
"""Age of the oldest verdict not stored yet after which all are stored."""
WARM_FROM = 12
"""Wrong fixes that pay for holding the suite in a warm process."""
REJECTED = frozenset({"valid", "breaks-everything"})
"""Verdicts on a wrong fix that the tests do not let through."""
_PLANTED = "insert:"
"""How the operator of what a model was told to break begins; the rest it meant to be right."""


@dataclass(frozen=True, slots=True)
class NotAudited:
    """An example whose tests could not be tried."""

    example_id: str
    """The example."""
    reason: str
    """Why not."""


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """A look at an audit under way."""

    judged: int
    """Wrong fixes judged of this commit's."""
    wanted: int
    """Those that are to be judged there."""
    rows: int
    """Examples done with, of all commits."""
    total: int
    """All examples."""


@dataclass(slots=True)
class Audited:
    """What came of an audit."""

    scores: tuple[Score, ...] = ()
    """What is known of each example now, those that could not be audited left out."""
    failed: list[NotAudited] = field(default_factory=list)
    """The examples that could not be audited."""
    oracles: list[Oracle] = field(default_factory=list)
    """What was found of each definition."""
    judged: int = 0
    """Wrong fixes judged in this run."""
    known: int = 0
    """Wrong fixes whose verdict the store had."""
    seconds: float = 0.0
    """Wall time."""


def audit(
    rows: Sequence[Replayable],
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_progress: Callable[[AuditProgress], None] = lambda progress: None,
) -> Audited:
    """Try the tests behind some examples with wrong fixes, and store what they are worth.

    An example that cannot be set up is not audited, with the reason.
    """
    started, began = datetime.now(UTC), time.monotonic()
    done = Audited()
    finished = 0
    for members in by_baseline(rows):

        def told(judged: int, wanted: int) -> None:
            on_progress(AuditProgress(judged, wanted, finished, len(rows)))  # noqa: B023  called in this turn only

        left = {row.example_id for row in members}
        try:
            group = _set_up(members, settings, workspace, store, bus)
            try:
                group.run(told)
            finally:
                done.oracles += group.oracles
                done.failed += group.failed
                done.judged += group.judged
                done.known += group.known
                left -= group.settled
        except StoreError:
            raise
        except FlywheelError as error:
            done.failed += [NotAudited(key, error.message) for key in sorted(left)]
        finished += len(members)
        told(0, 0)
    failed = {one.example_id for one in done.failed}
    audited = [row.example_id for row in rows if row.example_id not in failed]
    done.scores = scores(store, audited)
    done.seconds = time.monotonic() - began
    run_id = content_hash("run", "audit", started.isoformat())
    record_figures(store, audit_figures(run_id, rows, done.oracles, done.scores))
    return done


def _set_up(
    rows: Sequence[Replayable],
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
) -> _Group:
    """The workbench of some examples of one baseline, as it was; raises where it cannot be had."""
    bench = set_up_again(rows[0], settings, workspace, store, bus)
    learned, _ = learn_baseline(bench, settings, bus)
    return _Group(rows, bench, learned, settings, store, bus)


@dataclass(frozen=True, slots=True)
class _Place:
    """A definition of a state of a file."""

    path: str
    symbol: str
    base_hash: str


@dataclass(slots=True, eq=False)
class _Subject:
    """What an oracle is for: a definition, or those that one example changes together."""

    place: _Place
    candidate_id: str | None
    places: tuple[_Place, ...]
    examples: list[str] = field(default_factory=list)
    fixes: dict[str, WrongFix] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)


class _Group:
    """The examples of one baseline."""

    def __init__(
        self,
        rows: Sequence[Replayable],
        bench: Workbench,
        learned: Learned,
        settings: Settings,
        store: Store,
        bus: EventBus,
    ) -> None:
        self.oracles: list[Oracle] = []
        self.failed: list[NotAudited] = []
        self.settled: set[str] = set()
        """Examples that are done with."""
        self.judged = self.known = 0
        self._rows = rows
        self._bench = bench
        self._learned = learned
        self._settings = settings
        self._store = store
        self._bus = bus
        # An environment that had to be made again has another name, and its baseline, too.
        self._baseline_id = rows[0].baseline_id
        self._language = bench.toolchain.language()
        self._contents: dict[str, bytes] = {}
        self._attempts: tuple[Written, ...] = ()
        self._verdicts: dict[str, tuple[str, float]] = {}
        """Verdict and seconds by candidate id."""
        self._of: dict[str, list[_Subject]] = defaultdict(list)
        """Subjects that wait for a candidate."""
        self._waiting: list[Tried] = []
        self._ready: list[_Subject] = []
        self._since = 0.0

    def run(self, told: Callable[[int, int], None]) -> None:
        """Judge what is not known; whatever ends it, what was judged is stored."""
        subjects = self._subjects()
        harvested = known_verdicts(self._store, self._baseline_id)
        verdicts = [(key, (one.verdict, one.seconds)) for key, one in harvested.items()]
        verdicts += tried_before(self._store, self._baseline_id).items()
        self._verdicts = {key: one for key, one in verdicts if one[0] != "unknown"}
        self._attempts = written(self._store, self._baseline_id)
        subjects = self._make(subjects)
        wanted: dict[str, WrongFix] = {}
        for subject in subjects:
            for key, fix in subject.fixes.items():
                if key not in self._verdicts:
                    wanted[key] = fix
                    subject.open.add(key)
                    self._of[key].append(subject)
            if not subject.open:
                self._ready.append(subject)
        self.known = len({key for one in subjects for key in one.fixes}) - len(wanted)
        try:
            if wanted:
                self._judge(wanted, told)
        finally:
            self._keep()

    # --- what there is to judge -----------------------------------------------------------

    def _subjects(self) -> list[_Subject]:
        """What the examples' oracles are for; an example whose files are others now has none."""
        found: dict[tuple[_Place, str | None], _Subject] = {}
        judging = frozenset(self._learned.suite.ids)
        for row in self._rows:
            candidate = row.candidate
            if judging.isdisjoint(row.failing):
                self._fail([row.example_id], "none of the tests that fail for it can judge now")
                continue
            place = _Place(candidate.path, candidate.symbol, candidate.base_hash)
            several = candidate.candidate_id if candidate.others else None
            try:
                places = dict.fromkeys([place, *map(self._place, candidate.changes[1:])])
                self._content(place.path, place.base_hash)
            except (SyntaxError, ValueError, RecursionError, OSError) as error:
                self._fail([row.example_id], str(error))
                continue
            subject = _Subject(place, several, tuple(places))
            subject = found.setdefault((place, several), subject)
            subject.examples.append(row.example_id)
        return list(found.values())

    def _place(self, change: Change) -> _Place:
        source = self._content(change.path, change.base_hash)
        edit = Edit(change.span, change.after)
        site = self._language.site_of(change.path, source, edit, "")
        return _Place(change.path, site.symbol, change.base_hash)

    def _content(self, path: str, base_hash: str) -> bytes:
        if path not in self._contents:
            file = self._bench.environment.tree / path
            if not file.is_file() or bytes_hash(file.read_bytes()) != base_hash:
                raise ValueError(f"{path} is another file now")
            self._contents[path] = file.read_bytes()
        return self._contents[path]

    def _make(self, subjects: Sequence[_Subject]) -> list[_Subject]:
        """Give each subject its wrong fixes; those in a file that cannot be parsed fail."""
        mutants = self._settings.audit.mutants
        symbols: dict[str, set[str]] = defaultdict(set)
        for subject in subjects:
            for place in subject.places:
                symbols[place.path].add(place.symbol)
        made: dict[tuple[str, str], tuple[WrongFix, ...]] = {}
        unreadable: dict[str, str] = {}
        for path, names in symbols.items():
            try:
                of_file = wrong_fixes(
                    path,
                    self._contents[path],
                    sorted(names),
                    language=self._language,
                    mutants=mutants,
                    seed=self._settings.harvest.seed,
                    lines=self._lines(path),
                )
            except (SyntaxError, ValueError, RecursionError) as error:
                unreadable[path] = f"{path} cannot be read: {error}"
                continue
            made.update({(path, name): fixes for name, fixes in of_file.items()})
        kept = []
        for subject in subjects:
            if reasons := [
                unreadable[one.path] for one in subject.places if one.path in unreadable
            ]:
                self._fail(subject.examples, reasons[0])
                continue
            kept.append(subject)
            share = math.ceil(mutants / len(subject.places))
            for place in subject.places:
                drawn = 0
                for fix in made[place.path, place.symbol]:
                    drawn += fix.kind is WrongKind.MUTANT
                    if fix.kind is not WrongKind.MUTANT or drawn <= share:
                        subject.fixes[fix.candidate.candidate_id] = fix
        return kept

    def _lines(self, path: str) -> set[int] | None:
        """Lines that some test runs, None where that is not known."""
        if self._bench.tester is not None:
            return None
        file = self._learned.suite.lines.files.get(path)
        return file.executed if file is not None else None

    # --- judging --------------------------------------------------------------------------

    def _judge(self, wanted: dict[str, WrongFix], told: Callable[[int, int], None]) -> None:
        tree = self._bench.environment.tree
        executed = {path: (tree / path).read_bytes() for path in self._learned.suite.lines.files}
        critic = self._bench.judge(
            self._learned,
            sources=executed | self._contents,
            jobs=jobs_of(self._settings),
            fail_fast=True,
            warm=len(wanted) >= WARM_FROM,
        )
        try:
            with phase(self._bus, "prove"):
                critic.prove()
            if critic.not_warm_reason:
                self._bus.publish(Warned("not-warm", f"judging fresh: {critic.not_warm_reason}"))
            with phase(self._bus, "judge"):
                self._judge_all(critic, wanted, told)
        finally:
            critic.close()

    def _judge_all(
        self, critic: Judge, wanted: dict[str, WrongFix], told: Callable[[int, int], None]
    ) -> None:
        waiting = deque(wanted.values())
        while waiting or critic.busy:
            while waiting and critic.hungry:
                critic.submit(waiting.popleft().candidate)
            for judged in critic.collect(timeout=POLL_SECONDS):
                self._take(judged, wanted[judged.candidate.candidate_id])
            if self._waiting and time.monotonic() - self._since > KEEP_SECONDS:
                self._keep()
            told(self.judged, len(wanted))

    def _take(self, judged: Judged, fix: WrongFix) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        candidate = judged.candidate
        key = candidate.candidate_id
        trials = (judged.trial, judged.confirmation, judged.good)
        seconds = sum(trial.seconds for trial in trials if trial is not None)
        self.judged += 1
        self._verdicts[key] = judged.verdict, seconds
        self._waiting.append(
            Tried(
                key,
                candidate.path,
                candidate.symbol,
                candidate.line,
                fix.kind.value,
                candidate.operator,
                candidate.patch,
                judged.verdict,
                judged.reason,
                seconds,
            )
        )
        for subject in self._of.pop(key, ()):
            subject.open.discard(key)
            if not subject.open:
                self._ready.append(subject)

    def _keep(self) -> None:
        """Store verdicts, and the oracles that are complete with them."""
        record_tried(self._store, self._waiting, baseline_id=self._baseline_id)
        self._waiting.clear()
        oracles = [self._oracle(subject) for subject in self._ready]
        record_oracles(self._store, oracles)
        self.oracles += oracles
        self.settled.update(key for subject in self._ready for key in subject.examples)
        self._ready.clear()

    def _oracle(self, subject: _Subject) -> Oracle:
        by_kind: dict[str, Counter[str]] = {}
        sides: dict[str, list[str]] = {"rejected": [], "through": []}
        seconds = 0.0

        def count(key: str, kind: WrongKind, side: str) -> None:
            by_kind.setdefault(kind.value, Counter())[side] += 1
            if side in sides:
                sides[side].append(key)

        for key, fix in subject.fixes.items():
            verdict, took = self._verdicts[key]
            seconds += took
            count(key, fix.kind, _side(verdict))
        for one in self._attempts:
            place = _Place(one.path, one.symbol, one.base_hash)
            if place not in subject.places or one.candidate_id in subject.fixes:
                continue
            side = _side(one.verdict)
            # What was meant to be right and passes may well be right.
            right = side == "through" and not one.operator.startswith(_PLANTED)
            count(one.candidate_id, WrongKind.ATTEMPT, "passed" if right else side)
        return Oracle(
            baseline_id=self._baseline_id,
            path=subject.place.path,
            symbol=subject.place.symbol,
            base_hash=subject.place.base_hash,
            candidate_id=subject.candidate_id,
            by_kind=by_kind,
            rejected=tuple(sides["rejected"]),
            let_through=tuple(sides["through"]),
            least=self._settings.audit.least,
            weak_below=self._settings.audit.weak,
            seconds=seconds,
        )

    def _fail(self, examples: Sequence[str], reason: str) -> None:
        self.failed += [NotAudited(key, reason) for key in examples]
        self.settled.update(examples)


def _side(verdict: str) -> str:
    """What a verdict on a wrong fix says of the tests: what does not build says nothing."""
    if verdict in REJECTED:
        return "rejected"
    return "through" if verdict == "survived" else verdict
