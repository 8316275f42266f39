"""Proving answers: code in the place of a bug, judged by the repository's own tests.

The port `Critic` of metrics. Whoever asks, from whichever thread, waits; one thread sets the
workbench of a baseline up as it was, feeds its critic, and goes on to the next baseline. A change
of the base is judged once: verdicts are kept in the store, apart from candidates, and of several
processes one judges it while the others wait for what it stores.

What keeps the tests from being run is an unknown proof with its reason, and is not kept.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from flywheel.candidates import Edit, Language, Rejected, changed_candidate, correction
from flywheel.core.claim import Claims
from flywheel.core.errors import FlywheelError, StoreError, ToolchainError
from flywheel.core.events import EventBus, Warned
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Judged
from flywheel.core.settings import Settings
from flywheel.critic import Judge, Learned, changed_files
from flywheel.lm import Response, Usage
from flywheel.orchestrator.correct import SAME_BYTECODE, whole_critic
from flywheel.orchestrator.stored import set_up_again
from flywheel.orchestrator.workbench import Workbench, learn_baseline, phase
from flywheel.programs import Case, Proof
from flywheel.store import (
    JudgedAnswer,
    Replayable,
    Store,
    judged_before,
    record_judged,
    replayable,
)
from flywheel.workspace import Workspace

POLL_SECONDS = 0.1
"""How long to wait for a verdict before looking at what else is asked."""
PATIENCE = 10.0
"""Seconds that closing waits for a workbench which is being set up."""
OPERATOR = "answer"
"""What the changes say that answers are."""
ENDED = "the run has ended"
"""Why an answer was not judged any more."""
RESTORED = "the repository's own code"
"""What is said of an answer that is the base again."""


@dataclass(eq=False, slots=True)
class _Asked:
    """One question, and who waits for the answer."""

    example_id: str
    code: str
    answer: Future[Proof]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A question whose answer is a change that is being judged."""

    asked: _Asked
    row: Replayable


class Prover:
    """Judges answers for any number of threads; leaving the block ends what it holds."""

    def __init__(
        self, settings: Settings, workspace: Workspace, store: Store, bus: EventBus
    ) -> None:
        """Nothing is set up before the first question."""
        self._settings, self._workspace, self._store, self._bus = settings, workspace, store, bus
        self._questions: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._open: set[_Asked] = set()
        """Questions that have no answer yet."""
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.judged = 0
        """Answers that were judged here, those known from before left out."""

    def prove(self, case: Case, code: str) -> Proof:
        """What the tests say of `code` in the place of the case's definition; see the port."""
        asked = _Asked(case.example_id, code, Future())
        with self._lock:
            if self._stopped.is_set():
                return Proof(None, ENDED)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="flywheel-prover", daemon=True
                )
                self._thread.start()
            self._open.add(asked)
            self._questions.put(asked)
        try:
            return asked.answer.result()
        finally:
            with self._lock:
                self._open.discard(asked)

    def close(self) -> None:
        """Stop; what is under way is not judged, and who waits for it gets an unknown proof."""
        with self._lock:
            self._stopped.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            self._questions.put(None)
            thread.join(PATIENCE)

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- the thread ------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Answer until it is stopped; an error that is no unknown proof goes to all who wait."""
        told: BaseException | None = None
        pending: dict[str, list[_Waiting]] = defaultdict(list)
        failed: dict[str, str] = {}
        try:
            while self._take(pending, wait=not pending):
                baseline_id = next(iter(pending))
                if reason := failed.get(baseline_id):
                    _give(pending.pop(baseline_id), Proof(None, reason))
                    continue
                try:
                    self._at(baseline_id, pending)
                except StoreError:
                    raise
                except FlywheelError as error:
                    failed[baseline_id] = error.message
                    self._bus.publish(Warned("not-proven", error.message, error.hint))
        except BaseException as error:  # noqa: BLE001  it is handed to whoever waits
            told = error
        finally:
            with self._lock:
                self._stopped.set()
                left = [one.answer for one in self._open if not one.answer.done()]
            for answer in left:
                if told is not None:
                    answer.set_exception(told)
                else:
                    answer.set_result(Proof(None, ENDED))

    def _take(self, pending: dict[str, list[_Waiting]], *, wait: bool) -> bool:
        """Sort what was asked by baseline; False where it is to stop."""
        asked: list[_Asked] = []
        while not self._stopped.is_set() and (wait or not self._questions.empty()):
            one = self._questions.get()
            wait = False
            if one is not None:
                asked.append(one)
        if self._stopped.is_set():
            return False
        if asked:
            ids = sorted({one.example_id for one in asked})
            rows = {row.example_id: row for row in replayable(self._store, ids=ids)}
            for one in asked:
                row = rows.get(one.example_id)
                if row is None:
                    one.answer.set_result(Proof(None, "the example is not in the store"))
                else:
                    pending[row.baseline_id].append(_Waiting(one, row))
        return True

    def _at(self, baseline_id: str, pending: dict[str, list[_Waiting]]) -> None:
        """Answer what is asked at one baseline until nothing is; others wait meanwhile."""
        row = pending[baseline_id][0].row
        bench = set_up_again(row, self._settings, self._workspace, self._store, self._bus)
        learned, _ = learn_baseline(bench, self._settings, self._bus)
        claimed = self._workspace.state / "claims" / f"{baseline_id}.lock"
        with Claims(claimed) as claims:
            session = _Session(
                bench, learned, self._settings, self._store, self._bus, claims, baseline_id
            )
            try:
                while self._take(pending, wait=not pending and not session.busy):
                    session.take(pending.pop(baseline_id, []))
                    if session.busy:
                        session.turn()
                    elif pending:
                        return
            finally:
                self.judged += session.judged
                if left := session.close():
                    pending[baseline_id] += left


class _Session:
    """The critic of one baseline, and what waits for it."""

    def __init__(
        self,
        bench: Workbench,
        learned: Learned,
        settings: Settings,
        store: Store,
        bus: EventBus,
        claims: Claims,
        baseline_id: str,
    ) -> None:
        self.judged = 0
        self._bench, self._learned, self._settings = bench, learned, settings
        self._store, self._bus, self._claims, self._baseline_id = store, bus, claims, baseline_id
        self._language = bench.toolchain.language()
        self._tests = frozenset(learned.suite.ids)
        self._executed = frozenset(learned.suite.lines.files)
        self._critic: Judge | None = None
        self._known: dict[str, JudgedAnswer] = {}
        self._wanted: dict[str, Candidate] = {}
        """Changes that nobody judges yet, or another process does."""
        self._judging: set[str] = set()
        self._waiting: dict[str, list[_Waiting]] = defaultdict(list)
        """Questions by the change that answers them."""

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._waiting)

    def take(self, asked: list[_Waiting]) -> None:
        """Take questions; what needs no run is answered at once."""
        made: dict[str, Candidate] = {}
        for one in asked:
            found = self._change(one.row, one.asked.code)
            if isinstance(found, Proof):
                one.asked.answer.set_result(found)
                continue
            key = found.candidate_id
            self._waiting[key].append(one)
            if key not in self._judging:
                made[key] = found
        self._recall([key for key in made if key not in self._known])
        for key, candidate in made.items():
            if key in self._known:
                self._answer(key, self._known[key])
            else:
                self._wanted[key] = candidate

    def turn(self) -> None:
        """Go on: claim and submit what may be, take verdicts, look for those of others."""
        self._submit()
        if self._critic is None or not self._critic.busy:
            # All that is wanted is another process's.
            time.sleep(POLL_SECONDS)
            self._recall(list(self._wanted))
            for key in [key for key in self._wanted if key in self._known]:
                del self._wanted[key]
                self._answer(key, self._known[key])
            return
        done = self._critic.collect(timeout=POLL_SECONDS)
        found = {one.candidate.candidate_id: (one, _verdict(one)) for one in done}
        kept = [verdict for _, verdict in found.values() if verdict is not None]
        record_judged(self._store, kept, baseline_id=self._baseline_id)
        for key, (judged, verdict) in found.items():
            self._judging.discard(key)
            self._claims.drop(key)
            self.judged += 1
            if verdict is None:
                _give(self._waiting.pop(key), Proof(None, f"judging: {judged.reason}"))
            else:
                self._known[key] = verdict
                self._answer(key, verdict)

    def close(self) -> list[_Waiting]:
        """End the critic; gives the questions that are left."""
        if self._critic is not None:
            self._critic.close()
        return [one for group in self._waiting.values() for one in group]

    def _submit(self) -> None:
        for key in list(self._wanted):
            if self._critic is not None and not self._critic.hungry:
                return
            if not self._claims.take(key):
                continue
            # Whoever had it may have stored the verdict since it was looked for.
            self._recall([key])
            candidate = self._wanted.pop(key)
            if key in self._known:
                self._claims.drop(key)
                self._answer(key, self._known[key])
                continue
            self._judging.add(key)
            self._ready().submit(candidate)

    def _ready(self) -> Judge:
        """The critic, proven; started by the first change that must be judged."""
        if self._critic is None:
            self._critic = whole_critic(self._bench, self._learned, self._settings)
            with phase(self._bus, "prove"):
                self._critic.prove()
        return self._critic

    def _recall(self, keys: list[str]) -> None:
        if keys:
            tests = len(self._tests)
            self._known.update(judged_before(self._store, self._baseline_id, keys, tests=tests))

    def _answer(self, key: str, verdict: JudgedAnswer) -> None:
        for one in self._waiting.pop(key, ()):
            one.asked.answer.set_result(self._proof(one.row, verdict))

    def _proof(self, row: Replayable, verdict: JudgedAnswer) -> Proof:
        failing, failed = frozenset(row.failing), frozenset(verdict.failing)
        passing = self._tests - failing
        if verdict.resolved:
            return Proof(True, verdict.reason or "every test passes", (), 1.0, 1.0)
        if not failed:
            # What does not compile was not run, and what hangs on import fails every test.
            return Proof(False, verdict.reason)
        told = f"{len(failing & failed)} of {len(failing)} tests still fail"
        if more := len(failed - failing):
            told += f", and {more} more"
        mended = len(failing - failed) / len(failing)
        kept = len(passing - failed) / len(passing) if passing else None
        return Proof(False, told, verdict.failing, mended, kept)

    # --- what an answer makes of the code --------------------------------------------------------

    def _change(self, row: Replayable, code: str) -> Candidate | Proof:
        """An answer as a change of the base, or what is known of it without one."""
        tree, bug = self._bench.environment.tree, row.candidate
        try:
            sources = {one.path: (tree / one.path).read_bytes() for one in bug.changes}
        except OSError as error:
            return Proof(None, str(error))
        if any(bytes_hash(sources[one.path]) != one.base_hash for one in bug.changes):
            return Proof(None, f"{bug.path} is another file now")
        if not (frozenset(row.failing) <= self._tests and sources.keys() <= self._executed):
            return Proof(None, "the tests that fail for it cannot judge now")
        if _same(code, bug.good):
            return Proof(True, RESTORED, (), 1.0, 1.0)
        if _same(code, bug.bad):
            return bug
        if row.fix is not None and _same(code, row.fix.bad):
            return row.fix
        if bug.path.endswith(".py"):
            return _python(bug, sources, code)
        return _spliced(bug, sources[bug.path], code, self._language)


def _python(bug: Candidate, sources: Mapping[str, bytes], code: str) -> Candidate | Proof:
    """The definition that the bug stands in, written anew, with the same name and arguments."""
    bad = changed_files(bug, sources)[bug.path]
    broken = correction.broken(bug, sources[bug.path], bad)
    if isinstance(broken, str):
        return Proof(None, f"the bug is not within one definition: {broken}")
    said = Response(json.dumps({"code": code}), "stop", Usage(), "")
    made = correction.mended(said, "definition", broken, OPERATOR)
    if made is Rejected.NO_CHANGE:
        return bug
    if isinstance(made, Rejected):
        return Proof(False, made.value)
    return made.candidate or Proof(True, RESTORED, (), 1.0, 1.0)


def _spliced(bug: Candidate, base: bytes, code: str, language: Language) -> Candidate | Proof:
    """The definition's text, of any language, replaced by the answer's."""
    if bug.others:
        return Proof(None, "the bug is not within one definition")
    try:
        site = language.site_of(bug.path, base, Edit(bug.span, bug.after), OPERATOR)
        text = base[site.extent.start : site.extent.end].decode()
        margin = text[: len(text) - len(text.lstrip(" \t"))]
        if bug.good.startswith(margin):
            margin = ""  # it could not be taken away, so it stands in the answer
        newline = "\r\n" if "\r\n" in text else "\n"
        lines = [
            margin + line if line.strip() else line for line in code.strip("\r\n").splitlines()
        ]
        end = text[len(text.rstrip("\r\n")) :]
        edit = Edit(site.extent, newline.join(lines) + end)
        return changed_candidate(
            bug.path, base, language.site_of(bug.path, base, edit, OPERATOR), made_by=OPERATOR
        )
    except (SyntaxError, ValueError, RecursionError, ToolchainError) as error:
        return Proof(None, f"{bug.path} cannot be read: {error}")


def _same(one: str, other: str) -> bool:
    return one.strip("\r\n") == other.strip("\r\n")


def _verdict(judged: Judged) -> JudgedAnswer | None:
    """What a verdict of the critic means for an answer, None where it is not known."""
    trials = [one for one in (judged.trial, judged.confirmation, judged.good) if one is not None]
    seconds = sum(trial.seconds for trial in trials)
    key = judged.candidate.candidate_id
    failing = (judged.confirmation or judged.trial).failing
    match judged.verdict:
        case "survived":
            return JudgedAnswer(key, True, "", (), seconds)
        case "valid" | "breaks-everything":
            return JudgedAnswer(key, False, "", failing, seconds)
        case "pruned":
            same = judged.reason == SAME_BYTECODE
            reason = RESTORED if same else f"it does not build: {judged.reason}"
            return JudgedAnswer(key, same, reason, (), seconds)
        case _:
            return None


def _give(waiting: list[_Waiting], proof: Proof) -> None:
    for one in waiting:
        one.asked.answer.set_result(proof)
