"""The critic: judges candidates by the repository's own tests, fast and truly.

Each candidate is routed to a lane, run against every test that can tell, and what fails is run
again in the fresh lane against a wider selection before it is believed. The critic proves
itself first: the clean tree passes, a planted sabotage fails. It is driven by `submit` and
`collect`, holds no thread, and knows nothing of where candidates come from or go to.
"""

from __future__ import annotations

import collections
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.core.errors import CriticError
from flywheel.core.records import Candidate, Change, Lane, Trial
from flywheel.critic.lane import LaneServer, Reply
from flywheel.critic.names import NameIndex, Touch
from flywheel.critic.run import PATIENT, Limits, Run
from flywheel.critic.sabotage import sabotages
from flywheel.critic.select import Bits, Layout, LineIndex, Place, bits, edit_of, positions
from flywheel.critic.serving import ServingCritic

JUDGE_LIMITS = Limits(floor=0.25, factor=5.0, wall=3.0)
"""Time limits of the first run: tight, for a hang is confirmed later with more patience."""
MAX_PLANTED = 6
"""Planted errors to try where a lane refuses one; one that fails is proof enough."""
WHOLE_SUITE_SECONDS = 3.0
"""A suite that takes no longer than this is run whole where nothing says who may notice."""
MAX_CONFIRMATIONS = 3
"""Confirmations that may disagree before a candidate is given up as unknown."""
AUDIT_SHARE = 8
"""One confirmation in so many runs the whole suite, to see that the selection misses nothing."""
AUDIT_TIME = 0.1
"""Share of all time that audits may take; beyond it they wait."""
SLOW_TEST_FACTOR = 3.0
"""A test is slow that takes so many times as long as the suite's median."""
DEPTH = 2
"""Requests a server holds: the one it runs and the next, so that it never idles."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests that judge, as the critic needs them."""

    ids: tuple[str, ...]
    """Ids of every test that judges, in suite order."""
    paths: tuple[str, ...]
    """Repository-relative file of each."""
    seconds: tuple[float, ...]
    """Seconds each takes."""
    whole_seconds: float
    """Seconds a whole run takes."""
    lines: LineIndex
    """What each test executes; positions are those of `ids`."""
    reach: Mapping[str, Bits] = field(default_factory=dict)
    """Source -> tests of the files that load it when run by themselves: no other test can notice
    a change of it. Without an entry any test may."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """One of a candidate's changes, and where it stands."""

    change: Change
    place: Place | None
    layout: Layout


@dataclass(slots=True)
class _Case:
    """One candidate on its way."""

    candidate: Candidate
    spots: tuple[_Spot, ...]
    first: Trial | None = None
    first_failed: frozenset[int] = frozenset()
    by_function: bool = False
    confirmations: list[tuple[Bits, frozenset[int]]] = field(default_factory=list)
    confirmation: Trial | None = None
    leftovers: int = 0
    selection: Bits = 0
    importer: Bits = 0
    """Tests that run besides those that can notice, to tell whether the file can be imported."""
    whole: bool | None = None


class Critic(ServingCritic[dict[int, tuple[Run, _Case | None]]]):
    """Judges candidates against one suite in one environment."""

    def __init__(
        self,
        suite: Suite,
        *,
        start: Callable[[Lane], LaneServer],
        jobs: int,
        sources: Mapping[str, bytes],
        others: Mapping[str, bytes],
        level: str,
        fail_fast: bool = False,
        confirm: bool = True,
        warm: bool = True,
        whole: bool = False,
    ) -> None:
        """`sources` are the files that tests execute, `others` the code beside them.

        With `whole` nothing survives that the whole suite has not passed, as the proof of a fix
        needs; else a share of survivors is run by it.

        Without `warm` no suite is held: for a handful of candidates that costs more than it saves.
        """
        super().__init__()
        self._suite = suite
        self._start = start
        self._jobs = jobs
        self._sources = sources
        self._room = DEPTH * jobs
        self._servers: dict[Lane, list[LaneServer]] = {Lane.WARM: [], Lane.FRESH: []}
        self._level = level
        self._fail_fast = fail_fast
        self._confirm = confirm
        self._wants_warm = warm
        self._whole = whole
        self._layouts: dict[str, Layout] = {}
        self._queue: collections.deque[tuple[Run, _Case | None]] = collections.deque()
        self._all = bits(range(len(suite.ids)))
        self._by_path: dict[str, Bits] = {}
        for position, path in enumerate(suite.paths):
            self._by_path[path] = self._by_path.get(path, 0) | 1 << position
        self._others = others
        self._patterns: Sequence[Any] = ()
        """Regular expressions that the clean suite compiles, for every server to have ready."""
        self._names: NameIndex | None = None
        self._slow = SLOW_TEST_FACTOR * statistics.median(suite.seconds)
        """Seconds beyond which a test comes last where the first failure ends the run."""
        self._not_warm: Bits = 0
        self._not_plain: Bits = 0
        """Tests that fail when they are called without pytest's protocol."""
        self._base_trials: dict[Bits, tuple[Trial, int]] = {}
        self._base_waiting: dict[Bits, list[_Case]] = {}
        self.mismatches = 0
        """Candidates whose confirmation found other failures than the first run."""
        self._audited_paths: set[str] = set()
        self._run_seconds = self._audit_seconds = 0.0
        """Time that all runs took, and of it the audits."""
        self.audits = 0
        """Confirmations that ran the whole suite."""
        self.widened: set[str] = set()
        """Files whose changes show in tests beyond those that execute them: an audit found more
        failures than the selection. From then on they are confirmed by the whole suite."""
        self.not_warm_reason = ""
        """Why the warm lane is not in use, empty when it is."""

    # -- proving itself ------------------------------------------------------------------

    def prove(self) -> None:
        """The clean tree passes and a planted sabotage fails, in each lane.

        Tests that fail in the warm server without any change are noted: what they cover is
        judged in the fresh lane. Raises `CriticError` when a lane cannot be trusted.
        """
        for _ in range(self._jobs):
            self._add_server(Lane.FRESH)
        if self._wants_warm:
            self._open_warm()
        if self.warm:
            there = tuple(positions(self._all & ~self._not_warm))
            server = self._servers[Lane.WARM][0]
            options = {"plain": True, "patterns": True}
            run = self._run_now(server, Run(Lane.WARM, there, None, PATIENT, options))
            again = run
            if run.failed() and not run.reason:
                failed = tuple(sorted(run.failed()))
                again = self._run_now(server, Run(Lane.WARM, failed, None, PATIENT))
            if run.reason or again.reason:
                reason = run.reason or again.reason
                self.not_warm_reason = f"the clean suite did not run: {reason}"
                self._drop_warm()
            else:
                self._not_plain = bits(run.failed())
                self._not_warm |= bits(again.failed())
                self._patterns = run.patterns
                for server in [*self._servers[Lane.WARM], *self._servers[Lane.FRESH]]:
                    server.compile_patterns(self._patterns)
        planted = self._sabotages()
        if not planted:
            raise CriticError(
                "no test that judges executes a function of the repository's own code",
                cause="only functions can be seen to run, and an error planted in one must fail",
                hint="add a test that calls one",
            )
        imported = self._servers[Lane.FRESH][0].imported
        planted, unseen = [one for one in planted if one[0].path not in imported], planted
        if not planted:
            raise CriticError(
                f"pytest itself is made of {unseen[0][0].path}, so it cannot judge it",
                cause="it is imported before any change can be made",
            )
        for server in [*self._servers[Lane.WARM], *self._servers[Lane.FRESH]]:
            reason = self._blind(server, planted)
            if not reason:
                continue
            if server.lane is Lane.FRESH:
                raise CriticError(
                    f"a planted error in {planted[0][0].path}:{planted[0][0].line} went unnoticed",
                    cause=reason,
                    hint="is the installed package another copy than the repository's files?",
                )
            self.not_warm_reason = f"a planted error went unnoticed: {reason}"
            self._drop_warm()
            break
        self._names = self._index_names()

    def _blind(self, server: LaneServer, planted: Sequence[tuple[Candidate, Bits]]) -> str:
        """Why a server cannot see a planted error, empty when it can."""
        reason = ""
        for candidate, tests in planted:
            spot = self._spot(candidate.changes[0])
            edit = edit_of(candidate, spot.place, spot.layout)
            run = Run(server.lane, tuple(positions(tests)), edit, PATIENT)
            run = self._run_now(server, run)
            if run.failed():
                return ""
            reason = run.reason or "its tests passed"
            if run.refused:
                reason = f"the server refused the change ({run.refused})"
        return reason

    def _add_server(self, lane: Lane) -> LaneServer:
        server = self._start(lane)
        server.tell(self._suite.ids, self._suite.paths, self._suite.seconds)
        server.compile_patterns(self._patterns)
        self._servers[lane].append(server)
        self._flying[server] = {}
        return server

    def _open_warm(self) -> None:
        """Start the warm servers; a suite that cannot be held warm is judged without them."""
        try:
            for _ in range(self._jobs):
                server = self._add_server(Lane.WARM)
                if server.threads > 1:
                    raise CriticError(f"{server.threads} threads run after collection")
                missing = set(self._suite.ids).difference(server.items)
                self._not_warm |= bits(
                    i for i, test_id in enumerate(self._suite.ids) if test_id in missing
                )
        except CriticError as error:
            self.not_warm_reason = error.cause or error.message
            self._drop_warm()

    # -- the flow ------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Candidates and runs under way."""
        return len(self._queue) + sum(map(len, self._flying.values()))

    @property
    def hungry(self) -> bool:
        """True when another candidate may be submitted without queueing in memory."""
        return self.busy < self._room

    def covered_lines(self, path: str) -> set[int]:
        """Lines of a file that the suite executes, while testing or importing."""
        file = self._suite.lines.files.get(path)
        return file.executed if file is not None else set()

    def submit(self, candidate: Candidate) -> None:
        """Take a candidate; its `Judged` comes out of `collect` some time later."""
        case = _Case(candidate, tuple(self._spot(change) for change in candidate.changes))
        imported = self._servers[Lane.FRESH][0].imported
        if any(spot.change.path in imported for spot in case.spots):
            run = Run(Lane.FRESH, (), None, JUDGE_LIMITS, reason="imported-by-pytest")
            self._emit(
                case.candidate, run.trial(self._suite.ids, self._level), "unknown", run.reason
            )
            return
        self._judge(case)
        self._dispatch()

    def close(self) -> None:
        """Stop the servers; what is under way is not judged."""
        self._queue.clear()
        for server in self._flying:
            server.close()
        self._flying.clear()

    def _replace(
        self, server: LaneServer, running: dict[int, tuple[Run, _Case | None]], error: CriticError
    ) -> None:
        self._servers[server.lane].remove(server)
        self._add_server(server.lane)
        for run, case in running.values():
            run.restarts += 1
            if run.restarts <= 1:
                self._queue.append((run, case))
                continue
            run.reason = "infrastructure"
            self._finished(run, case)

    # -- routing -------------------------------------------------------------------------

    def _judge(self, case: _Case) -> None:
        warm = self.warm and len(case.spots) == 1
        noticing = case.importer = 0
        for spot in case.spots:
            found = self._inside(case, spot)
            if not found:
                warm = False
                found = self._structural(case, spot)
            noticing |= found
        case.importer &= ~noticing
        case.selection = (noticing | case.importer) & self._all
        if case.selection & self._not_warm:
            warm = False
        lane = Lane.WARM if warm else Lane.FRESH
        self._enqueue_case(case, lane, case.selection, JUDGE_LIMITS)

    def _inside(self, case: _Case, spot: _Spot) -> Bits:
        """Tests that execute a change in a function's body; none where that says too little."""
        path, place, lines = spot.change.path, spot.place, self._suite.lines
        if place is None or not place.inside_body or place.function is None:
            return 0
        if case.by_function:
            # A test that calls the function and never runs its body can tell its kind, too.
            found = self._neighbours(lines.covering(path, place.function))
            return 0 if lines.ran_at_import(path, _body(place)) else found & self._all
        if lines.ran_at_import(path, place.statement):
            return 0
        return lines.covering(path, place.statement) & self._all

    def _structural(self, case: _Case, spot: _Spot) -> Bits:
        """Tests that may notice a change of what runs at import."""
        lines, change, place = self._suite.lines, spot.change, spot.place
        assert self._names is not None
        touch: Touch | None = None
        if place is not None and place.inside_body and place.function is not None:
            found = lines.covering(change.path, place.function)
            if found and not lines.ran_at_import(change.path, _body(place)):
                return found
            touch = self._names.touch_body(spot.layout.tree, change)
        elif place is not None:
            source = self._sources[change.path]
            start, end = place.segment
            segment = source[start : change.span.start] + change.after.encode()
            segment += source[change.span.end : end]
            touch = self._names.touch(spot.layout.tree, segment, change)
        if touch is not None:
            # One test besides, that would notice if the file could not be imported any more.
            by_file = lines.whole_file(change.path) & self._all
            canaries = [by_file] if by_file else self._by_path.values()
            case.importer |= bits(map(self._quickest, canaries))
            return self._names.noticing(change.path, touch) & self._reaching(change.path)
        if self._suite.whole_seconds <= WHOLE_SUITE_SECONDS:
            return self._reaching(change.path)
        return self._neighbours(lines.whole_file(change.path)) or self._reaching(change.path)

    def _reaching(self, path: str) -> Bits:
        """Tests that load a file, whatever they do with it."""
        return self._suite.reach.get(path, 0) & self._all or self._all

    def _index_names(self) -> NameIndex:
        tests: dict[str, list[tuple[str, int]]] = {}
        for position, path in enumerate(self._suite.paths):
            tests.setdefault(path, []).append((self._suite.ids[position], position))
        return NameIndex(self._suite.lines, self._sources, self._others, tests)

    def _quickest(self, selection: Bits) -> int:
        """Of these tests the one that takes the least time."""
        return min(positions(selection), key=self._suite.seconds.__getitem__)

    def _neighbours(self, selection: Bits) -> Bits:
        """All tests of the files of these: one may look at what another executes."""
        total = 0
        for path in {self._suite.paths[position] for position in positions(selection)}:
            total |= self._by_path[path]
        return total

    def _wider(self, case: _Case) -> Bits:
        """The selection a confirmation runs: by function, or the whole suite to audit."""
        if case.whole is None:
            case.whole = self._audited(case.candidate)
        if case.whole or self._is_widened(case.candidate):
            return self._all
        wider = case.selection
        for spot in case.spots:
            if spot.place is not None and spot.place.function is not None:
                wider |= self._suite.lines.covering(spot.change.path, spot.place.function)
        return wider & self._all

    def _is_widened(self, candidate: Candidate) -> bool:
        return any(change.path in self.widened for change in candidate.changes)

    def _doubted(self, case: _Case) -> bool:
        """Whether the whole suite runs a survivor: all, or a share and those of widened files."""
        if self._whole:
            return True
        if case.selection == self._all:
            return False
        return self._is_widened(case.candidate) or self._drawn(case.candidate)

    def _audited(self, candidate: Candidate) -> bool:
        """Whether a candidate is confirmed by the whole suite: the first of its file, then some."""
        if candidate.path in self._audited_paths:
            return self._drawn(candidate)
        if self._audits_due:
            self._audited_paths.add(candidate.path)
            return True
        return False

    def _drawn(self, candidate: Candidate) -> bool:
        return self._audits_due and int(candidate.candidate_id, 16) % AUDIT_SHARE == 0

    @property
    def _audits_due(self) -> bool:
        """True while audits have taken no more than their share of the time."""
        return self._audit_seconds <= AUDIT_TIME * self._run_seconds

    def _enqueue_case(self, case: _Case, lane: Lane, selection: Bits, limits: Limits) -> None:
        options: dict[str, Any] = {}
        if self._fail_fast:
            options["fail_fast"] = True
        if case.by_function:
            options["by_function"] = True
        spot = case.spots[0]
        edit = edit_of(case.candidate, spot.place, spot.layout)
        if not selection & self._not_plain:
            options["plain"] = True
        if case.first is not None:
            # What is stored has failed by pytest's own protocol; an audit knows nothing else.
            options = (
                {} if selection == self._all else {**options, "protocol": sorted(case.first_failed)}
            )
            options["canary"] = options["leftovers"] = True
        chosen = tuple(positions(selection))
        if "fail_fast" in options:
            # Slow tests last: one failure is enough. Else in suite order, for fixtures' sake.
            chosen = tuple(sorted(chosen, key=lambda i: self._suite.seconds[i] > self._slow))
        self._queue.append((Run(lane, chosen, edit, limits, options), case))

    # -- answers -------------------------------------------------------------------------

    def _receive(self, server: LaneServer) -> None:
        for reply in server.receive():
            self._answer(server, reply)

    def _answer(self, server: LaneServer, reply: Reply) -> None:
        found = self._flying[server].pop(reply.request_id, None)
        if found is None:
            return
        run, case = found
        if run.absorb(reply):
            self._queue.appendleft((run, case))
            return
        self._finished(run, case)

    def _finished(self, run: Run, case: _Case | None) -> None:
        self._run_seconds += run.seconds
        if case is not None and case.whole:
            self._audit_seconds += run.seconds
        if case is None:
            self._base_done(run)
        elif case.first is None:
            self._first_done(case, run)
        else:
            self._confirmed(case, run)

    def _first_done(self, case: _Case, run: Run) -> None:
        if run.refused == "kind" and not case.by_function:
            case.by_function = True
            self._judge(case)
            return
        if run.refused in ("structural", "kind"):
            for spot in case.spots:
                case.selection |= self._structural(case, spot)
            case.importer &= ~case.selection
            case.selection = (case.selection | case.importer) & self._all
            self._enqueue_case(case, Lane.FRESH, case.selection, JUDGE_LIMITS)
            return
        surprising = run.not_collected or bits(run.failed()) & case.importer
        loading = case.selection
        for spot in case.spots:
            loading |= self._reaching(spot.change.path)
        if surprising and case.selection != loading and not self._fail_fast:
            # Whatever imports the file may fail.
            case.selection = loading
            self._enqueue_case(case, Lane.FRESH, loading, JUDGE_LIMITS)
            return
        trial = run.trial(self._suite.ids, self._level)
        if run.refused:
            self._emit(case.candidate, trial, "pruned", run.refused)
        elif run.reason:
            self._emit(case.candidate, trial, "unknown", run.reason)
        elif not run.failed():
            if self._confirm and self._doubted(case):
                # Seen by no test that executes it; the whole suite has the last word.
                case.first, case.whole = trial, True
                self._enqueue_confirmation(case)
            else:
                self._emit(case.candidate, trial, "survived", "")
        elif len(run.failed()) == len(self._suite.ids):
            self._emit(case.candidate, trial, "breaks-everything", "")
        elif not self._confirm:
            self._emit(case.candidate, trial, "valid", "unconfirmed")
        else:
            case.first, case.first_failed = trial, run.failed()
            self._enqueue_confirmation(case)

    def _enqueue_confirmation(self, case: _Case) -> None:
        self._enqueue_case(case, Lane.FRESH, self._wider(case), PATIENT)

    def _confirmed(self, case: _Case, run: Run) -> None:
        assert case.first is not None
        trial = run.trial(self._suite.ids, self._level)
        if run.reason or run.refused:
            reason = f"confirmation: {run.reason or run.refused}"
            self._emit(case.candidate, case.first, "unknown", reason, trial)
            return
        # A run that ends at its first failure has seen one, and does not come to the canary.
        if run.canary is False and not (run.options.get("fail_fast") and run.failed()):
            self._emit(case.candidate, case.first, "unknown", "canary-did-not-fail", trial)
            return
        failed, selection = run.failed(), bits(run.selection)
        whole = selection == self._all
        self.audits += whole
        if failed != case.first_failed:
            self.mismatches += not case.confirmations
            if failed - case.first_failed:
                self.widened.update(change.path for change in case.candidate.changes)
        agreed = failed == case.first_failed or (selection, failed) in case.confirmations
        case.confirmations.append((selection, failed))
        if not agreed:
            # The wider selection decides, once it has said the same twice.
            if len(case.confirmations) >= MAX_CONFIRMATIONS:
                self._emit(case.candidate, case.first, "unknown", "runs-disagree", trial)
            else:
                self._enqueue_confirmation(case)
            return
        if not failed and not case.first_failed:
            self._emit(case.candidate, case.first, "survived", "", trial)
        elif not failed:
            self._emit(case.candidate, case.first, "unknown", "not-confirmed", trial)
        elif len(failed) == len(self._suite.ids):
            self._emit(case.candidate, case.first, "breaks-everything", "", trial)
        else:
            case.confirmation, case.leftovers = trial, run.leftovers
            self._check_base(case, selection)

    def _check_base(self, case: _Case, selection: Bits) -> None:
        """The good code must pass the same tests in the same order."""
        known = self._base_trials.get(selection)
        if known is not None:
            self._keep(case, *known)
            return
        waiting = self._base_waiting.setdefault(selection, [])
        waiting.append(case)
        if len(waiting) == 1:
            plain = not selection & self._not_plain
            options = {"canary": True, "leftovers": True, "plain": plain}
            run = Run(Lane.FRESH, tuple(positions(selection)), None, PATIENT, options)
            self._queue.append((run, None))

    def _base_done(self, run: Run) -> None:
        selection = bits(run.selection)
        trial = run.trial(self._suite.ids, self._level)
        self._base_trials[selection] = trial, run.leftovers
        for case in self._base_waiting.pop(selection, []):
            self._keep(case, trial, run.leftovers)

    def _keep(self, case: _Case, good: Trial, leftovers: int) -> None:
        assert case.first is not None
        confirmation = case.confirmation
        if good.reason:
            self._emit(
                case.candidate, case.first, "unknown", f"base: {good.reason}", confirmation, good
            )
        elif good.failing:
            self._emit(
                case.candidate, case.first, "unknown", "base-fails-selection", confirmation, good
            )
        elif case.leftovers > leftovers:
            # When they are collected decides which test fails besides.
            self._emit(
                case.candidate, case.first, "unknown", "leftovers-fail-tests", confirmation, good
            )
        else:
            self._emit(case.candidate, case.first, "valid", "", confirmation, good)

    # -- talking to the lanes ------------------------------------------------------------

    def _dispatch(self) -> None:
        while self._queue:
            run, case = self._queue[0]
            if run.lane is Lane.WARM and not self.warm:
                run.lane = Lane.FRESH
            servers = self._servers[run.lane]
            server = min(servers, key=lambda server: len(self._flying[server]))
            if len(self._flying[server]) >= DEPTH:
                return
            busy = sum(bool(runs) for runs in self._flying.values())
            if busy >= self._jobs and not self._flying[server]:
                # Both lanes have a server for each job; together they run no more than the jobs.
                return
            try:
                request_id = server.submit(run.request(self._suite.seconds))
            except CriticError as error:
                self._revive(server, error)
                continue
            self._queue.popleft()
            self._flying[server][request_id] = (run, case)

    def _run_now(self, server: LaneServer, run: Run) -> Run:
        """Run to the end, with nothing else under way."""
        while True:
            server.submit(run.request(self._suite.seconds))
            replies: list[Reply] = []
            while not replies:
                replies = server.receive()
            if not run.absorb(replies[0]):
                return run

    def _drop_warm(self) -> None:
        for server in self._servers[Lane.WARM]:
            server.close()
            self._flying.pop(server, None)
        self._servers[Lane.WARM] = []

    @property
    def warm(self) -> bool:
        """True when the warm lane is in use."""
        return bool(self._servers[Lane.WARM])

    # -- places and edits ----------------------------------------------------------------

    def _layout(self, path: str) -> Layout:
        if path not in self._layouts:
            self._layouts[path] = Layout(self._sources[path])
        return self._layouts[path]

    def _spot(self, change: Change) -> _Spot:
        layout = self._layout(change.path)
        return _Spot(change, layout.place(change), layout)

    def _sabotages(self) -> list[tuple[Candidate, Bits]]:
        """Changes that must fail, those with the fewest tests first."""
        chance = random.Random(0)
        paths = sorted(self._suite.lines.files)
        chance.shuffle(paths)
        found: list[tuple[Candidate, Bits]] = []
        for path in paths:
            for candidate in sabotages(path, self._sources[path]):
                place = self._spot(candidate.changes[0]).place
                if place is None or place.function is None:
                    continue
                line = range(candidate.line, candidate.line + 1)
                if self._suite.lines.ran_at_import(path, line):
                    continue
                tests = self._suite.lines.covering(path, line) & ~self._not_warm
                if tests:
                    found.append((candidate, tests))
            if len(found) >= 40:
                break
        found.sort(key=lambda one: (one[0].operator, one[1].bit_count()))
        return found[:MAX_PLANTED]


def _body(place: Place) -> Sequence[int]:
    """Lines of a function past its first, which always runs at import."""
    assert place.function is not None
    return place.function[1:]
