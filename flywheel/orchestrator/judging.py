"""Judging: candidates of one commit in, verdicts out, proven examples stored, over and over.

The one loop that joins a source of candidates, the critic and the store. Restarting it runs
what has no result: candidates whose verdict the store knows are told to the source and passed
over. It stops at a limit, at exhaustion or when it is interrupted, and then tells what it did.
"""

from __future__ import annotations

import fnmatch
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flywheel.candidates import NotReady, Source, is_generated
from flywheel.core.ending import EXHAUSTED, INTERRUPTED, MAX_CANDIDATES, MAX_EXAMPLES, TIME_LIMIT
from flywheel.core.errors import UsageError
from flywheel.core.events import CandidateJudged, EventBus, ExampleKept, Warned
from flywheel.core.records import Candidate, Judged
from flywheel.core.settings import Settings
from flywheel.core.wording import number
from flywheel.critic import Judge, Learned, real, told_apart
from flywheel.orchestrator.workbench import Workbench, jobs_of, phase
from flywheel.store import Buffer, Ingested, Store, known_verdicts, retire

POLL_SECONDS = 0.5
"""How long the loop waits for a verdict before it looks at its limits again."""

MakeSource = Callable[[Mapping[str, bytes], Judge], Source]
"""Makes a source of the contents that may change and of the critic that will judge."""


@dataclass(slots=True)
class Tally:
    """What one harvest has done so far."""

    made: int = 0
    """Candidates made, pruned ones included."""
    drawn: int = 0
    """Candidates drawn from a source, known ones included."""
    pruned: Counter[str] = field(default_factory=Counter)
    """Reason -> candidates dropped before any test ran."""
    judged: int = 0
    """Candidates judged in this run."""
    known: int = 0
    """Candidates whose verdict the store knew."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """Verdict -> candidates, known ones included."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why candidates stayed unknown."""
    lanes: Counter[str] = field(default_factory=Counter)
    """Lane -> candidates judged in it."""
    by_operator: dict[str, Counter[str]] = field(default_factory=dict)
    """Operator -> counts of judged and of each verdict."""
    by_source: dict[str, Counter[str]] = field(default_factory=dict)
    """Source -> counts of judged and of each verdict."""
    examples: int = 0
    """Examples kept in this run."""
    confirming: float = 0.0
    """Seconds of confirmation runs, summed over jobs."""
    judging: float = 0.0
    """Seconds of first runs, summed over jobs."""
    seconds: float = 0.0
    """Wall time from the first candidate to the last verdict."""
    audits: int = 0
    """Confirmations that ran the whole suite."""
    mismatches: int = 0
    """Confirmations that disagreed with the first run."""
    widened: set[str] = field(default_factory=set)
    """Files whose changes show beyond the tests that execute them."""
    baselines: set[str] = field(default_factory=set)
    """Baselines that were judged by."""

    def note(self, candidate: Candidate, verdict: str, *, judged: bool) -> None:
        """Count one verdict."""
        self.verdicts[verdict] += 1
        for table, key in (
            (self.by_operator, candidate.operator),
            (self.by_source, candidate.source),
        ):
            counts = table.setdefault(key, Counter())
            counts["judged" if judged else "known"] += 1
            counts[verdict] += 1

    def unnote(self, candidate: Candidate, verdict: str) -> None:
        """Take a verdict back before the candidate is judged again."""
        self.verdicts[verdict] -= 1
        for table, key in (
            (self.by_operator, candidate.operator),
            (self.by_source, candidate.source),
        ):
            counts = table.setdefault(key, Counter())
            counts["known"] -= 1
            counts[verdict] -= 1


@dataclass(frozen=True, slots=True)
class Progress:
    """A look at a harvest under way, for whoever shows it."""

    tally: Tally
    """Counts so far; do not change it."""
    seconds: float
    """Wall time since judging began."""
    limit: int
    """Candidates at which it stops, 0 when it goes on to the end."""


class Judging:
    """The loop itself, with what it counts."""

    def __init__(
        self,
        bench: Workbench,
        learned: Learned,
        settings: Settings,
        store: Store,
        bus: EventBus,
        on_progress: Callable[[Progress], None],
        *,
        started_at: float,
        tally: Tally | None = None,
    ) -> None:
        """`started_at` is the monotonic time that limits count from, `tally` one to go on with."""
        self.bench = bench
        self.learned = learned
        self.wanted = settings.harvest
        self.jobs = jobs_of(settings)
        self.bus = bus
        self.on_progress = on_progress
        self.tally = tally or Tally()
        self.started_at = started_at
        self.ended = EXHAUSTED
        self.met: set[str] = set()
        """Ids of the candidates drawn whose verdict was known."""
        self._store = store
        self._buffer = Buffer(store, baseline_id=learned.baseline.baseline_id)
        self._known = known_verdicts(store, learned.baseline.baseline_id)
        self._deadline = (
            started_at + self.wanted.time_limit if self.wanted.time_limit is not None else None
        )
        self._began = 0.0
        self._earlier = self.tally.made, self.tally.pruned.copy()
        self._proven = False
        self._widened: set[str] = set()
        self._kept: set[str] = set()
        self._again: set[str] = set()

    def run(self, make_source: MakeSource, *, warm: bool = True) -> None:
        """Judge until a limit, the end of the candidates, or an interruption.

        `warm` as in `Critic`.
        """
        paths = self.paths()
        tree = self.bench.environment.tree
        # The critic proves itself wherever tests reach, also where no candidate is wanted.
        executed = {path: (tree / path).read_bytes() for path in self.learned.suite.lines.files}
        contents = {path: executed[path] for path in paths if not is_generated(executed[path])}
        critic = self.bench.judge(
            self.learned,
            sources=executed,
            jobs=self.jobs,
            fail_fast=self.wanted.fail_fast,
            warm=warm,
        )
        try:
            source = make_source(contents, critic)
            with phase(self.bus, "judge"), _interruptible(self):
                self._began = time.monotonic()
                self._judge_all(critic, source)
        finally:
            critic.close()
            tally = self.tally
            tally.seconds += time.monotonic() - self._began if self._began else 0.0
            tally.mismatches += critic.mismatches
            tally.audits += critic.audits
            tally.widened |= critic.widened
            self._stored(self._buffer.flush())
            tally.baselines.add(self.learned.baseline.baseline_id)

    def _judge_all(self, critic: Judge, source: Source) -> None:
        drawing = True
        while drawing or critic.busy:
            while drawing and critic.hungry:
                candidate = self._next(source)
                if candidate is None:
                    drawing = False
                elif isinstance(candidate, NotReady):
                    break
                else:
                    if not self._proven:
                        self._prove(critic)
                    critic.submit(candidate)
                if reason := self.limit():
                    self.ended, drawing = reason, False
            for judged in critic.collect(timeout=POLL_SECONDS):
                self._take(real(told_apart(judged)), source)
            self._judge_again(critic)
            self.on_progress(
                Progress(self.tally, time.monotonic() - self._began, self.wanted.max_candidates)
            )
            if drawing and (reason := self.limit()):
                self.ended, drawing = reason, False
            if self.ended in (MAX_EXAMPLES, TIME_LIMIT):
                return

    def _prove(self, critic: Judge) -> None:
        """Start the critic when there is something to judge, not before."""
        with phase(self.bus, "prove"):
            critic.prove()
        self._proven = True
        self._began = time.monotonic()
        if critic.not_warm_reason:
            self.bus.publish(
                Warned(
                    "not-warm",
                    "the suite cannot be held in a warm process; judging fresh, more slowly: "
                    + critic.not_warm_reason,
                )
            )

    def _next(self, source: Source) -> Candidate | NotReady | None:
        """The next candidate with no verdict yet; None at the end."""
        while True:
            drawn = source.draw()
            made, pruned = self._earlier
            self.tally.made = made + source.made
            self.tally.pruned = pruned + source.pruned
            if drawn is None or isinstance(drawn, NotReady):
                return drawn
            self.tally.drawn += 1
            known = self._known.get(drawn.candidate_id)
            if known is None or known.verdict == "unknown":
                return drawn
            self.tally.known += 1
            self.met.add(drawn.candidate_id)
            self.tally.note(drawn, known.verdict, judged=False)
            source.report(drawn, known.verdict, known.seconds)
            if reason := self.limit():
                self.ended = reason
                return None

    def _judge_again(self, critic: Judge) -> None:
        """Take back what was stored of a file that an audit has shown to need a wider look."""
        for path in critic.widened - self._widened:
            self._widened.add(path)
            self._stored(self._buffer.flush())
            again = retire(self._store, baseline_id=self.learned.baseline.baseline_id, path=path)
            for candidate in again:
                self._again.add(candidate.candidate_id)
                self.tally.unnote(candidate, "valid")
                # It is counted once more when it is proven once more.
                self.tally.examples -= candidate.candidate_id in self._kept
                self._kept.discard(candidate.candidate_id)
                critic.submit(candidate)
            if again:
                self.bus.publish(
                    Warned(
                        "widened",
                        f"changes of {path} show beyond the tests that execute them:"
                        f" {number(len(again), 'row')} judged again by the whole suite",
                    )
                )

    def _take(self, judged: Judged, source: Source) -> None:
        tally, candidate = self.tally, judged.candidate
        again = candidate.candidate_id in self._again
        tally.judged += not again
        tally.note(candidate, judged.verdict, judged=not again)
        tally.lanes[judged.trial.lane.value] += 1
        tally.judging += judged.trial.seconds
        later = [trial for trial in (judged.confirmation, judged.good) if trial is not None]
        tally.confirming += sum(trial.seconds for trial in later)
        if judged.verdict == "unknown":
            tally.reasons[judged.reason] += 1
        seconds = judged.trial.seconds + sum(trial.seconds for trial in later)
        if again:
            self._again.discard(candidate.candidate_id)
        else:
            source.report(candidate, judged.verdict, seconds)
        self.bus.publish(
            CandidateJudged(
                candidate.candidate_id,
                candidate.path,
                candidate.operator,
                judged.verdict,
                judged.reason,
                judged.trial.lane.value,
                seconds,
            )
        )
        self._stored(self._buffer.add(judged))

    def _stored(self, ingested: Ingested | None) -> None:
        if ingested is None:
            return
        self.tally.examples += len(ingested.examples)
        for kept in ingested.examples:
            self._kept.add(kept.candidate_id)
            self.bus.publish(
                ExampleKept(kept.example_id, kept.candidate_id, kept.path, kept.test_id)
            )

    def settle(self) -> None:
        """Write what is judged so far, for whoever reads it from the store."""
        self._stored(self._buffer.flush())

    def limit(self) -> str:
        """Why to stop now, empty to go on."""
        wanted = self.wanted
        if wanted.max_candidates and self.tally.drawn >= wanted.max_candidates:
            return MAX_CANDIDATES
        if wanted.max_examples is not None and self.tally.verdicts["valid"] >= wanted.max_examples:
            return MAX_EXAMPLES
        if self._deadline is not None and time.monotonic() > self._deadline:
            return TIME_LIMIT
        return ""

    def paths(self) -> list[str]:
        """Files whose code the suite executes and the user wants."""
        executed = self.learned.suite.lines.files
        chosen = [
            path
            for path in executed
            if (not self.wanted.paths or _matches(path, self.wanted.paths))
            and not _matches(path, self.wanted.exclude)
        ]
        if not chosen:
            shown = ", ".join(sorted(executed)[:5])
            raise UsageError(
                "--paths and --exclude leave no file that the tests execute",
                cause=f"the tests execute {shown} …",
                hint="--paths takes folders, files or globs relative to the repository",
            )
        return sorted(chosen)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatch(path, pattern) or path.startswith(pattern.rstrip("/") + "/")
        for pattern in patterns
    )


@contextmanager
def _interruptible(loop: Judging) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        loop.ended = INTERRUPTED
