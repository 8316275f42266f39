"""Correction: models mend stored bugs, the critic proves what they write, every answer is kept.

A conversation about a bug begins with its code and its error. An answer that mends it is a fix of
its own; one that fails is a bug of its own, and its error is the next turn. Who is asked, and how,
is the business of a corrector: a model in words, or a program.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flywheel.candidates import Form, Mended, Rejected, correction
from flywheel.core.ending import BUDGET, EXHAUSTED, INTERRUPTED, TIME_LIMIT
from flywheel.core.errors import (
    BudgetError,
    CriticError,
    FlywheelError,
    LMError,
)
from flywheel.core.events import EventBus, Warned
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.records import Judged
from flywheel.core.settings import CorrectSettings, Settings
from flywheel.critic import Judge, Learned, changed_files
from flywheel.lm import OF_BATCHES, OF_REQUESTS, Failure, Reply, Role
from flywheel.orchestrator.corrector import Corrector, Programmed, Prompted, Talk, check_program
from flywheel.orchestrator.figures import correct_figures
from flywheel.orchestrator.models import Models
from flywheel.orchestrator.stored import by_baseline, set_up_again
from flywheel.orchestrator.workbench import Workbench, jobs_of, learn_baseline
from flywheel.store import (
    FAILED,
    FIXED,
    REJECTED,
    SUSPECT,
    UNKNOWN,
    Attempt,
    Buffer,
    Fix,
    Mendable,
    Run,
    Store,
    failure_of,
    forget,
    known_verdicts,
    record_attempts,
    record_figures,
    record_run,
    whole_runs,
    wilson,
)
from flywheel.workspace import Workspace

AHEAD = 8
"""Conversations that wait for an answer at once."""
POLL_SECONDS = 0.1
"""How long the loop waits for something to come before it looks at its limits."""
HOPELESS = 5
"""Questions that fail, before any is answered, after which it is no matter of the question."""
SAME_BYTECODE = "same-bytecode"
"""Why the critic does not judge what is the base in other words."""


@dataclass(slots=True)
class Tally:
    """What a correction has done so far."""

    examples: int = 0
    """Examples that were to be mended."""
    asked: set[str] = field(default_factory=set)
    """Examples that a model was asked about."""
    done: int = 0
    """Conversations that are over."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> examples that were not asked about."""
    attempts: Counter[str] = field(default_factory=Counter)
    """What came of an attempt -> attempts."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why answers were no code, or not known -> attempts."""
    by_turn: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Turn -> what came of the attempts in it."""
    mended: set[str] = field(default_factory=set)
    """Examples that some attempt mended."""
    restored: int = 0
    """Attempts that are the base's own code again."""
    fixes: int = 0
    """Fixes stored that were not there before."""
    bugs: int = 0
    """Failing attempts stored as examples that were not there before."""
    overfitted: int = 0
    """Attempts that pass what they were shown and fail what was held back."""


@dataclass(frozen=True, slots=True)
class _Failing:
    """How an attempt fails."""

    text: str
    """The first failure, as a model reads it."""
    test_id: str
    """The test that it is of."""
    every: tuple[str, ...]
    """All tests that fail."""


class Correction:
    """The loop over the examples of one commit, with what it counts."""

    def __init__(
        self,
        bench: Workbench,
        learned: Learned,
        critic: Judge,
        store: Store,
        models: Models,
        corrector: Corrector,
        wanted: CorrectSettings,
        tally: Tally,
        *,
        baseline_id: str,
        run_id: str,
        limit: Callable[[], str],
        on_progress: Callable[[Tally], None],
    ) -> None:
        """`limit` names the limit that is reached, empty when none is.

        `baseline_id` is that of the examples: an environment that had to be made again has another
        name, and its baseline, too.
        """
        self.ended = EXHAUSTED
        self._bench, self._critic, self._store = bench, critic, store
        self._tests, self._sources = set(learned.suite.ids), set(learned.suite.lines.files)
        self._models, self._corrector = models, corrector
        self._wanted, self._tally = wanted, tally
        self._baseline_id, self._run_id = baseline_id, run_id
        self._limit, self._on_progress = limit, on_progress
        self._form: Form = wanted.answer
        self._known = known_verdicts(store, baseline_id)
        self._whole = whole_runs(store, baseline_id, len(learned.suite.ids))
        self._done: dict[str, Judged] = {}
        self._buffer = Buffer(store, baseline_id=baseline_id)
        self._to_ask: deque[Talk] = deque()
        self._asked: dict[concurrent.futures.Future[Reply], Talk] = {}
        self._to_judge: deque[tuple[Talk, Reply, Mended]] = deque()
        self._judging: dict[str, list[tuple[Talk, Reply, Mended]]] = {}
        self._written: list[Attempt] = []
        self._fixes: list[Fix] = []
        self._proven = False
        self._in_vain = self._answers = 0

    def run(self, rows: Sequence[Mendable]) -> None:
        """Mend what can be shown as one definition. What is done is kept, however it ends."""
        for row in rows:
            self._open(row)
        if self._to_ask and (self._wanted.estimate or not self._models.in_batches):
            self._corrector.expect(self._to_ask, buy=False)
        if self._wanted.estimate:
            self._to_ask.clear()
        try:
            while self._to_ask or self._asked or self._to_judge or self._critic.busy:
                if reason := self._limit():
                    self.ended = reason
                    return
                self._ask()
                self._listen()
                self._submit()
                for judged in self._critic.collect(timeout=POLL_SECONDS):
                    self._take(judged)
                self._on_progress(self._tally)
        except KeyboardInterrupt:
            self.ended = INTERRUPTED
        finally:
            if self.ended == INTERRUPTED:
                for future in self._asked:
                    future.cancel()
            # Else what is under way is left to who ends the models: it may be paid for.
            self._keep()

    # --- asking ----------------------------------------------------------------------------------

    def _open(self, row: Mendable) -> None:
        tree = self._bench.environment.tree
        path = row.candidate.path
        try:
            sources = {one.path: (tree / one.path).read_bytes() for one in row.candidate.changes}
        except OSError:
            sources = {}
        if any(bytes_hash(sources.get(c.path, b"")) != c.base_hash for c in row.candidate.changes):
            self._tally.skipped["another-file"] += 1
            return
        if not set(row.failing) <= self._tests or not sources.keys() <= self._sources:
            # Without the tests that tell the bug nothing would be proven.
            self._tally.skipped["tests-gone"] += 1
            return
        bad = changed_files(row.candidate, sources)[path]
        found = correction.broken(row.candidate, sources[path], bad)
        if isinstance(found, str):
            self._tally.skipped[found] += 1
            return
        opening = self._corrector.opening(row, found)
        for sample in range(self._wanted.samples):
            request = replace(opening, seed=self._wanted.seed + sample, sample=sample)
            self._to_ask.append(Talk(row, found, sample, request, {row.test_id}))

    def _ask(self) -> None:
        ahead = AHEAD
        if self._models.in_batches and self._to_ask:
            # A batch is as slow as its slowest, so all that may be asked goes in together.
            if self._asked or self._to_judge or self._critic.busy:
                return
            self._corrector.expect(self._to_ask)
            ahead = len(self._to_ask)
        while self._to_ask and len(self._asked) < ahead and self.ended == EXHAUSTED:
            talk = self._to_ask.popleft()
            self._asked[self._corrector.ask(talk)] = talk
            self._tally.asked.add(talk.row.example_id)

    def _listen(self) -> None:
        """Take the answers that are there; wait for one where there is nothing else to do."""
        if not self._asked:
            return
        wait = 0.0 if self._critic.busy or self._to_judge else POLL_SECONDS
        ready, _ = concurrent.futures.wait(
            self._asked, timeout=wait, return_when=concurrent.futures.FIRST_COMPLETED
        )
        # In the order of asking: what is done must not depend on which thread was faster.
        for future in [one for one in self._asked if one in ready]:
            talk = self._asked.pop(future)
            try:
                reply = future.result()
            except BudgetError:
                self.ended = BUDGET
                self._to_ask.clear()
            except LMError as error:
                self._unanswered(talk, error)
            else:
                self._answers += 1
                self._answered(talk, reply)

    def _unanswered(self, talk: Talk, error: LMError) -> None:
        # What fails in a batch says nothing of the model, however often.
        self._in_vain += Failure(error.failure) not in OF_BATCHES
        hopeless = self._in_vain >= HOPELESS and not self._answers
        if hopeless or Failure(error.failure) not in OF_REQUESTS | OF_BATCHES:
            raise error
        self._tally.reasons[error.failure] += 1
        self._tally.done += 1

    def _answered(self, talk: Talk, reply: Reply) -> None:
        made = self._corrector.mended(talk, reply)
        if isinstance(made, str):
            self._settle(talk, reply, None, REJECTED, reason=str(made))
        elif made.candidate is None:
            self._tally.restored += 1
            self._settle(talk, reply, made, FIXED, reason="restored")
        else:
            self._to_judge.append((talk, reply, made))

    # --- judging ---------------------------------------------------------------------------------

    def _submit(self) -> None:
        while self._to_judge and (not self._proven or self._critic.hungry):
            talk, reply, made = self._to_judge.popleft()
            assert made.candidate is not None
            name = made.candidate.candidate_id
            if name in self._done:
                self._told(self._done[name], talk, reply, made)
                continue
            if name in self._judging:
                self._judging[name].append((talk, reply, made))
                continue
            known = self._known.get(name)
            if known is not None and known.verdict == "survived":
                if name in self._whole:
                    self._passed(talk, reply, made)
                    continue
                # It was judged by a part of the suite: the proof of a fix takes its place.
                forget(self._store, candidate_id=name, baseline_id=self._baseline_id)
            if known is not None and known.verdict in ("valid", "breaks-everything"):
                said = failure_of(self._store, name, self._baseline_id)
                if said is not None:
                    self._settle(talk, reply, made, FAILED, failing=_Failing(*said))
                    continue
            if not self._proven:
                self._critic.prove()
                self._proven = True
            self._judging[name] = [(talk, reply, made)]
            self._critic.submit(made.candidate)

    def _take(self, judged: Judged) -> None:
        ingested = self._buffer.add(judged)
        if ingested is not None:
            self._tally.bugs += len(ingested.examples)
        name = judged.candidate.candidate_id
        self._done[name] = judged
        for talk, reply, made in self._judging.pop(name, ()):
            self._told(judged, talk, reply, made)

    def _told(self, judged: Judged, talk: Talk, reply: Reply, made: Mended) -> None:
        """What a verdict means for one conversation."""
        trial = judged.confirmation or judged.trial
        said = _Failing("", "", trial.failing)
        if trial.failures:
            first = trial.failures[0]
            said = _Failing(correction.told(first), first.test_id, trial.failing)
        match judged.verdict:
            case "survived":
                self._passed(talk, reply, made)
            case "valid" | "breaks-everything":
                self._settle(talk, reply, made, FAILED, failing=said)
            case "pruned" if judged.reason == SAME_BYTECODE:
                # The base's own code in other words.
                self._settle(talk, reply, made, FIXED, reason=judged.reason)
            case "pruned":
                # What parses need not compile, and not for the Python of the repository.
                self._settle(talk, reply, made, REJECTED, reason=Rejected.NOT_PYTHON.value)
            case _:
                self._settle(talk, reply, made, UNKNOWN, reason=judged.reason)

    def _passed(self, talk: Talk, reply: Reply, made: Mended) -> None:
        evidence = "\n".join([talk.row.error, *(one.error for one in talk.attempts)])
        evidence += talk.row.test_source or ""
        if values := correction.special_cases(made.code, talk.broken, evidence):
            listed = ", ".join(map(repr, values))
            self._settle(talk, reply, made, SUSPECT, reason=f"special-cases {listed}"[:200])
            return
        self._settle(talk, reply, made, FIXED)

    def _settle(
        self,
        talk: Talk,
        reply: Reply,
        made: Mended | None,
        verdict: str,
        *,
        reason: str = "",
        failing: _Failing | None = None,
    ) -> None:
        """Write an attempt down, and go on with its conversation where there is more to say."""
        held_back = set(talk.row.failing) - talk.shown
        failed = set(failing.every) if failing is not None else set()
        candidate = made.candidate if made is not None else None
        prompt = self._corrector.prompt(reply)
        attempt = Attempt(
            attempt_id=content_hash(
                "attempt", talk.row.example_id, self._baseline_id, reply.profile, reply.model,
                prompt, self._wanted.show_tests, self._wanted.seed, talk.sample, talk.turn,
                talk.request.messages[-1].text, reply.response.text,
            ),
            example_id=talk.row.example_id,
            baseline_id=self._baseline_id,
            run_id=self._run_id,
            model=reply.model,
            prompt=prompt,
            call_id=reply.call_id,
            seed=self._wanted.seed,
            show_tests=self._wanted.show_tests,
            sample=talk.sample,
            turn=talk.turn,
            question=talk.request.messages[-1].text,
            answer=reply.response.text,
            code=made.code if made is not None else None,
            verdict=verdict,
            reason=reason,
            candidate_id=candidate.candidate_id if candidate is not None else None,
            error=failing.text if failing is not None else "",
            held_back=len(held_back),
            held_back_failing=len(held_back & failed),
        )  # fmt: skip
        talk.attempts.append(attempt)
        self._written.append(attempt)
        tally = self._tally
        tally.attempts[verdict] += 1
        tally.by_turn[talk.turn][verdict] += 1
        if reason and verdict not in (FIXED, SUSPECT):
            tally.reasons[reason] += 1
        if not talk.shown & failed and held_back & failed:
            tally.overfitted += 1
        if verdict == FIXED:
            tally.mended.add(talk.row.example_id)
            if candidate is not None and made is not None and not reason:
                self._fixes.append(self._fix(talk, attempt, made, candidate.candidate_id))
        goes_on = talk.turn < self._wanted.turns and self.ended == EXHAUSTED
        if verdict in (FAILED, REJECTED) and goes_on:
            self._follow_up(talk, reply, failing or Rejected(reason))
        else:
            tally.done += 1
        self._corrector.settled(talk, reply, verdict, reason)
        if len(self._written) >= 50:
            self._keep()

    def _follow_up(self, talk: Talk, reply: Reply, why: _Failing | Rejected) -> None:
        said = why.text if isinstance(why, _Failing) else why
        more = correction.again(talk.broken, self._form, reply.response.text, said)
        talk.request = correction.continued(talk.request, more)
        if isinstance(why, _Failing):
            talk.shown.add(why.test_id)
        talk.turn += 1
        self._to_ask.append(talk)

    def _fix(self, talk: Talk, attempt: Attempt, made: Mended, candidate_id: str) -> Fix:
        return Fix(
            example_id=talk.row.example_id,
            bug_id=talk.row.candidate.candidate_id,
            candidate_id=candidate_id,
            baseline_id=self._baseline_id,
            origin=f"{attempt.model} {attempt.prompt} turn {attempt.turn}",
            code=made.code,
            patch=made.patch,
        )

    def _keep(self) -> None:
        self._tally.bugs += len(self._buffer.flush().examples)
        self._tally.fixes += record_attempts(self._store, self._written, self._fixes)
        self._written, self._fixes = [], []


def correct(
    rows: Sequence[Mendable],
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> dict[str, Any]:
    """Have models mend examples; returns the summary.

    Raises `LMError` when no model can be asked; what was done until then is kept.
    """
    wanted = settings.correct
    if wanted.program is not None:
        check_program(wanted)
        wanted = wanted.model_copy(update={"turns": 1})
    started, clock = datetime.now(UTC), time.monotonic()
    run_id = content_hash("run", "correct", started.isoformat())
    tally = Tally(examples=len(rows))
    deadline = clock + wanted.time_limit if wanted.time_limit is not None else None

    def limit() -> str:
        return TIME_LIMIT if deadline is not None and time.monotonic() > deadline else ""

    ended = EXHAUSTED
    versions: tuple[str, ...] = ()
    with ExitStack() as held:
        models = held.enter_context(
            Models(
                Role.CORRECTOR if wanted.program is None else Role.STUDENT,
                settings,
                workspace,
                store,
                bus,
                chosen=wanted.corrector,
                wanted=wanted,
                run_id=run_id,
            )
        )
        corrector: Corrector = Prompted(models, wanted, "correct")
        if wanted.program is not None:
            from flywheel.optimize.quiet import quiet  # noqa: PLC0415  it comes with DSPy

            held.enter_context(quiet(workspace.programs_log))
            programmed = Programmed(wanted.program, models, settings, workspace, store, bus)
            corrector = held.enter_context(programmed)
            versions = programmed.versions
        for members in by_baseline(rows):
            try:
                bench = set_up_again(members[0], settings, workspace, store, bus)
                learned, _ = learn_baseline(bench, settings, bus)
            except FlywheelError as error:
                bus.publish(Warned("not-corrected", f"{members[0].repo}: {error.message}"))
                tally.skipped["no-environment"] += len(members)
                continue
            critic = whole_critic(bench, learned, settings)
            try:
                loop = Correction(
                    bench,
                    learned,
                    critic,
                    store,
                    models,
                    corrector,
                    wanted,
                    tally,
                    baseline_id=members[0].baseline_id,
                    run_id=run_id,
                    limit=limit,
                    on_progress=on_progress,
                )
                loop.run(members)
                ended = loop.ended
            except CriticError as error:
                bus.publish(Warned("not-corrected", f"{members[0].repo}: {error.message}"))
                tally.skipped["no-critic"] += len(members)
            finally:
                critic.close()
            if ended != EXHAUSTED:
                break
    summary = {
        **_summary(tally, models, wanted, ended),
        "versions": list(versions),
        "seconds": round(time.monotonic() - clock, 2),
    }
    record_run(
        store,
        Run(
            run_id,
            ", ".join(sorted({row.repo for row in rows})),
            started,
            datetime.now(UTC),
            summary,
        ),
    )
    repos = {row.example_id: row.repo for row in rows}
    record_figures(
        store, correct_figures(run_id, repos, tally.asked, tally.mended, model=summary["model"])
    )
    return summary


def whole_critic(bench: Workbench, learned: Learned, settings: Settings) -> Judge:
    """What judges fixes: one that passes has passed the whole suite twice."""
    tree = bench.environment.tree
    sources = {path: (tree / path).read_bytes() for path in learned.suite.lines.files}
    return bench.judge(learned, sources=sources, jobs=jobs_of(settings), whole=True)


def _summary(tally: Tally, models: Models, wanted: CorrectSettings, ended: str) -> dict[str, Any]:
    return {
        "command": "correct",
        **models.summary(),
        "turns": wanted.turns,
        "samples": wanted.samples,
        "answer": wanted.answer,
        "show_tests": wanted.show_tests,
        "examples": tally.examples,
        "asked": len(tally.asked),
        "skipped": dict(tally.skipped),
        "mended": len(tally.mended),
        "rate": asdict(wilson(len(tally.mended), len(tally.asked))),
        "attempts": dict(tally.attempts),
        "by_turn": {str(turn): dict(counts) for turn, counts in sorted(tally.by_turn.items())},
        "reasons": dict(tally.reasons),
        "restored": tally.restored,
        "overfitted": tally.overfitted,
        "fixes": {"new": tally.fixes},
        "bugs": {"new": tally.bugs},
        "ended": ended,
    }
