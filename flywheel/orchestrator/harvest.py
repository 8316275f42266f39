"""Harvest: candidates in, verdicts out, proven examples stored, over and over.

The one loop that joins a source of candidates, the critic and the store. Restarting it runs
what has no result: candidates whose verdict the store knows are told to the source and passed
over. It stops at a limit, at exhaustion or when it is interrupted, and then tells what it did.
"""

from __future__ import annotations

import fnmatch
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.candidates import (
    MutationSource,
    NotReady,
    RevertSource,
    Source,
    Sources,
    select_operators,
)
from flywheel.core.errors import BaselineError, UsageError
from flywheel.core.events import (
    CandidateJudged,
    EventBus,
    ExampleKept,
    HarvestEnded,
    HarvestStarted,
    Warned,
)
from flywheel.core.identity import content_hash
from flywheel.core.records import Candidate, Judged, Lane
from flywheel.core.settings import Settings
from flywheel.critic import (
    RUNNER,
    Critic,
    Learned,
    learn,
    load_learned,
    other_files,
    save_learned,
    sources,
)
from flywheel.orchestrator.history import funnel, revert_source
from flywheel.orchestrator.workbench import Workbench, jobs_of, phase, set_up
from flywheel.store import (
    Buffer,
    Ingested,
    Run,
    Store,
    known_verdicts,
    record_baseline,
    record_environment,
    record_revision,
    record_run,
    retire,
)
from flywheel.workspace import Workspace

SOURCES = ("reverted", "mutated")
"""Where candidates may come from, in the order in which they are drawn."""

POLL_SECONDS = 0.5
"""How long the loop waits for a verdict before it looks at its limits again."""


@dataclass(slots=True)
class Tally:
    """What one harvest has done so far."""

    made: int = 0
    """Candidates drawn."""
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


def harvest(
    repo: str,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Harvest one repository into the store; returns the summary.

    Raises `FlywheelError` subclasses for what cannot be harvested; a `KeyboardInterrupt` ends
    the loop early, keeps everything and is told in the summary's `ended`.
    """
    wanted = settings.harvest
    if unknown := set(wanted.source) - set(SOURCES):
        raise UsageError(
            f"unknown source: {', '.join(sorted(unknown))}", hint=f"--source {','.join(SOURCES)}"
        )
    operators = select_operators(wanted.operators)
    started = datetime.now(UTC)
    clock = time.monotonic()
    bench = set_up(repo, settings, workspace, bus)
    run_id = content_hash("run", bench.checkout.name, started.isoformat())
    bus.publish(HarvestStarted(run_id, bench.checkout.name, bench.checkout.commit))
    with store.harvest_lock(bench.checkout.name):
        learned, baseline_seconds = _baseline(bench, settings, bus)
        _record(store, bench, learned)
        loop = _Loop(bench, learned, settings, store, bus, on_progress, started_at=clock)
        loop.run(operators)
        summary = _summary(bench, learned, loop, baseline_seconds, time.monotonic() - clock)
        record_run(store, Run(run_id, bench.checkout.name, started, datetime.now(UTC), summary))
        store.tidy()
    bus.publish(
        HarvestEnded(
            run_id,
            loop.tally.judged,
            loop.tally.examples,
            time.monotonic() - clock,
            loop.ended,
        )
    )
    return summary


class _Loop:
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
    ) -> None:
        self.bench = bench
        self.learned = learned
        self.wanted = settings.harvest
        self.jobs = jobs_of(settings)
        self.bus = bus
        self.on_progress = on_progress
        self.tally = Tally()
        self.ended = "exhausted"
        self.seconds = 0.0
        self.mismatches = self.audits = 0
        self.widened: set[str] = set()
        self.stored_examples = 0
        self.history: RevertSource | None = None
        self._store = store
        self._buffer = Buffer(store, baseline_id=learned.baseline.baseline_id)
        self._known = known_verdicts(store, learned.baseline.baseline_id)
        self._deadline = (
            started_at + self.wanted.time_limit if self.wanted.time_limit is not None else None
        )
        self._began = 0.0
        self._drawn = 0
        self._proven = False
        self._widened: set[str] = set()
        self._again: set[str] = set()

    def run(self, operators: Sequence[Any]) -> None:
        """Judge until a limit, the end of the candidates, or an interruption."""
        paths = self._paths()
        tree = self.bench.environment.tree
        # The critic proves itself wherever tests reach, also where no candidate is wanted.
        executed = {path: (tree / path).read_bytes() for path in self.learned.suite.lines.files}
        contents = {path: executed[path] for path in paths}
        critic = Critic(
            self.learned.suite,
            start=self.bench.start,
            jobs=self.jobs,
            sources=executed,
            others=other_files(tree, watched=executed, tests=self.learned.suite.paths),
            level=self.bench.probe.level,
            fail_fast=self.wanted.fail_fast,
        )
        try:
            with ExitStack() as held:
                source = self._source(contents, operators, critic, held)
                with phase(self.bus, "judge"), _interruptible(self):
                    self._began = time.monotonic()
                    self._judge_all(critic, source)
        finally:
            critic.close()
            self.seconds = time.monotonic() - self._began if self._began else 0.0
            self.mismatches, self.audits = critic.mismatches, critic.audits
            self.widened = critic.widened
            self._stored(self._buffer.flush())
            settled = known_verdicts(self._store, self.learned.baseline.baseline_id)
            self.stored_examples = sum(one.verdict == "valid" for one in settled.values())

    def _source(
        self,
        contents: Mapping[str, bytes],
        operators: Sequence[Any],
        critic: Critic,
        held: ExitStack,
    ) -> Source:
        """All sources the user wants; what they keep open is closed with `held`."""
        chosen: dict[str, Source] = {}
        for name in SOURCES:
            if name not in self.wanted.source:
                continue
            if name == "mutated":
                chosen[name] = MutationSource(
                    contents,
                    operators=operators,
                    covered=critic.covered_lines,
                    seed=self.wanted.seed,
                )
            else:
                self.history = chosen[name] = revert_source(
                    self.bench.checkout,
                    self.bench.toolchain,
                    contents,
                    held=held,
                    covered=critic.covered_lines,
                )
        return Sources(chosen)

    def _judge_all(self, critic: Critic, source: Source) -> None:
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
                if reason := self._limit():
                    self.ended, drawing = reason, False
            for judged in critic.collect(timeout=POLL_SECONDS):
                self._take(judged, source)
            self._judge_again(critic)
            self.on_progress(
                Progress(self.tally, time.monotonic() - self._began, self.wanted.max_candidates)
            )
            if drawing and (reason := self._limit()):
                self.ended, drawing = reason, False
            if self.ended in ("max-examples", "time-limit"):
                return

    def _prove(self, critic: Critic) -> None:
        """Start the critic when there is something to judge, not before."""
        with phase(self.bus, "prove"):
            critic.prove()
        self._proven = True
        self._began = time.monotonic()
        if not critic.warm:
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
            if drawn is None or isinstance(drawn, NotReady):
                return drawn
            self.tally.made = source.made
            self.tally.pruned = source.pruned
            self._drawn += 1
            known = self._known.get(drawn.candidate_id)
            if known is None or known.verdict == "unknown":
                return drawn
            self.tally.known += 1
            self.tally.note(drawn, known.verdict, judged=False)
            source.report(drawn, known.verdict, known.seconds)
            if reason := self._limit():
                self.ended = reason
                return None

    def _judge_again(self, critic: Critic) -> None:
        """Take back what was stored of a file that an audit has shown to need a wider look."""
        for path in critic.widened - self._widened:
            self._widened.add(path)
            self._stored(self._buffer.flush())
            again = retire(self._store, baseline_id=self.learned.baseline.baseline_id, path=path)
            for candidate in again:
                self._again.add(candidate.candidate_id)
                self.tally.unnote(candidate, "valid")
                critic.submit(candidate)
            if again:
                self.bus.publish(
                    Warned(
                        "widened",
                        f"changes of {path} show beyond the tests that execute them:"
                        f" {len(again)} rows are judged again by the whole suite",
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
            self.bus.publish(
                ExampleKept(kept.example_id, kept.candidate_id, kept.path, kept.test_id)
            )

    def _limit(self) -> str:
        """Why to stop now, empty to go on."""
        wanted = self.wanted
        if wanted.max_candidates and self._drawn >= wanted.max_candidates:
            return "max-candidates"
        if wanted.max_examples is not None and self.tally.verdicts["valid"] >= wanted.max_examples:
            return "max-examples"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return "time-limit"
        return ""

    def _paths(self) -> list[str]:
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
def _interruptible(loop: _Loop) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        loop.ended = "interrupted"


def _baseline(bench: Workbench, settings: Settings, bus: EventBus) -> tuple[Learned, float]:
    """The baseline of the commit, from the cache or by running the suite."""
    started = time.monotonic()
    runs = settings.harvest.baseline_runs
    environment = bench.environment
    identity = content_hash(
        "learned",
        bench.revision.tree,
        environment.hash,
        bench.toolchain.id,
        runs,
        list(environment.pytest_args),
        _runner_hash(),
    )
    kept = bench.cache / "baselines" / f"{identity}.json.gz"
    learned = load_learned(kept, bench.revision.revision_id)
    if learned is not None:
        return learned, 0.0
    files = sources(environment.tree, bench.toolchain)
    for reason in ("syntax-error", "not-utf8"):
        if count := files.skipped.get(reason):
            bus.publish(Warned("sources", f"{count} source files left out: {reason}"))
    if not files.paths:
        raise BaselineError(
            "the repository has no Python source beside its tests",
            cause=", ".join(f"{n} {why}" for why, n in files.skipped.items()) or None,
        )
    with phase(bus, "baseline"):
        server = bench.start(Lane.FRESH)
        try:
            learned = learn(
                server,
                tree=environment.tree,
                files=files.paths,
                runs=max(2, runs),
                revision_id=bench.revision.revision_id,
                environment_hash=environment.hash,
                toolchain=bench.toolchain.id,
            )
        finally:
            server.close()
    save_learned(learned, kept)
    return learned, time.monotonic() - started


def _runner_hash() -> str:
    """Identity of the code that runs in the box: what it learns depends on it."""
    return content_hash("runner", [path.read_text() for path in sorted(Path(RUNNER).glob("*.py"))])


def _record(store: Store, bench: Workbench, learned: Learned) -> None:
    record_revision(store, bench.revision)
    environment = bench.environment
    record_environment(
        store,
        environment.hash,
        toolchain=bench.toolchain.id,
        details={
            "python": ".".join(map(str, environment.version)),
            "lock": environment.lock.splitlines(),
            "steps": [asdict(step) for step in environment.steps],
        },
    )
    record_baseline(store, learned.baseline)


def _summary(
    bench: Workbench, learned: Learned, loop: _Loop, baseline_seconds: float, total: float
) -> dict[str, Any]:
    """What the harvest did, as one object."""
    tally, tests = loop.tally, learned.baseline.tests
    left_out = Counter(test.reason for test in tests if not test.judges and test.reason)
    return {
        "repo": bench.checkout.name,
        "commit": bench.checkout.commit,
        "baseline": {
            "tests": len(tests),
            "judging": len(learned.suite.ids),
            "flaky": sum(test.outcome == "flaky" for test in tests),
            "excluded": sum(not test.judges for test in tests),
            "reasons": dict(left_out.most_common(20)),
            "seconds": round(learned.baseline.suite_seconds, 3),
        },
        "candidates": {
            "made": tally.made,
            "pruned": sum(tally.pruned.values()) + tally.verdicts["pruned"],
            "pruned_by_reason": dict(tally.pruned),
            "known": tally.known,
            "judged": tally.judged,
            "valid": tally.verdicts["valid"],
            "survived": tally.verdicts["survived"],
            "breaks_everything": tally.verdicts["breaks-everything"],
            "unknown": tally.verdicts["unknown"],
            "unknown_by_reason": dict(tally.reasons),
            "by_lane": dict(tally.lanes),
        },
        "examples": {"new": tally.examples, "total": loop.stored_examples},
        "judged_per_second": round(tally.judged / loop.seconds, 2) if loop.seconds else 0.0,
        "confirmation": {
            "audits": loop.audits,
            "mismatches": loop.mismatches,
            "widened": sorted(loop.widened),
        },
        "seconds": {
            "environment": round(bench.seconds, 2),
            "baseline": round(baseline_seconds, 2),
            "judging": round(loop.seconds, 2),
            "confirming": round(tally.confirming, 2),
            "total": round(total, 2),
        },
        "sandbox_level": bench.probe.level,
        "warm": tally.lanes["warm"] > 0,
        "ended": loop.ended,
        "by_operator": {
            name: dict(counts) for name, counts in sorted(loop.tally.by_operator.items())
        },
        "history": funnel(loop.history) if loop.history is not None else None,
        "by_source": {name: dict(counts) for name, counts in loop.tally.by_source.items()},
    }
