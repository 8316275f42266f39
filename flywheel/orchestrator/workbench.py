"""Everything needed to judge code of one commit: its tree, environment, sandbox and lanes.

Setting a workbench up is the part that `harvest` and `replay` share. It publishes its phases
as events and knows nothing of candidates.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from flywheel.core.errors import BaselineError, SandboxError, UsageError
from flywheel.core.events import EventBus, PhaseEnded, PhaseProgressed, PhaseStarted, Warned
from flywheel.core.identity import content_hash
from flywheel.core.records import EnvironmentLock, Lane, Revision
from flywheel.core.settings import Settings
from flywheel.critic import (
    RUNNER,
    RUNNER_TARGET,
    CommandCritic,
    Critic,
    Environment,
    Judge,
    LaneServer,
    Learned,
    PytestProfile,
    Tester,
    Toolchain,
    build,
    build_tree,
    definition_key,
    detect,
    discard_tree,
    isolation_of,
    learn,
    learn_by_command,
    load_learned,
    load_toolchains,
    module_of,
    other_files,
    save_learned,
    sources,
    tree_key,
)
from flywheel.git import Checkout, resolve
from flywheel.sandbox import (
    Box,
    Level,
    Limits,
    Mount,
    Probe,
    make_etc,
    make_slot,
    probe,
)
from flywheel.store import Store, record_baseline, record_environment, record_revision
from flywheel.workspace import Workspace, content

START_SECONDS = 120.0
"""Time a server may take to import and collect before it is given up."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """One commit, ready to be judged."""

    checkout: Checkout
    """The commit."""
    toolchain: Toolchain
    """How its tests are run."""
    environment: Environment
    """What they run in."""
    probe: Probe
    """The isolation in force."""
    revision: Revision
    """The commit as a record."""
    limits: Limits
    """What one candidate may use."""
    cache: Path
    """The cache folder."""
    seconds: float
    """Wall time of fetching and building."""

    def discard(self) -> None:
        """Remove the tree where it holds a build of its own, which takes more room than code."""
        if self.tester is not None:
            discard_tree(self.environment)

    @property
    def tester(self) -> Tester | None:
        """What runs the suite by its command; None where pytest's lanes do."""
        profile = self.toolchain.profile
        if isinstance(profile, PytestProfile):
            return None
        module = module_of(self.checkout, self.toolchain)
        return Tester(profile, lambda: self.start(Lane.COLD), module=module)

    def judge(
        self,
        learned: Learned,
        *,
        sources: Mapping[str, bytes],
        jobs: int,
        fail_fast: bool = False,
        warm: bool = True,
        whole: bool = False,
    ) -> Judge:
        """What judges candidates that change `sources`; the other arguments are `Critic`'s."""
        tester = self.tester
        if tester is not None:
            return CommandCritic(
                learned.suite,
                tester=tester,
                jobs=jobs,
                sources=sources,
                level=self.probe.level,
            )
        return Critic(
            learned.suite,
            start=self.start,
            jobs=jobs,
            sources=sources,
            others=other_files(self.environment.tree, watched=sources, tests=learned.suite.paths),
            level=self.probe.level,
            fail_fast=fail_fast,
            warm=warm,
            whole=whole,
        )

    def start(self, lane: Lane) -> LaneServer:
        """Start a server of one lane. Raises `CriticError`."""
        slot = None
        if self.probe.level == Level.S3:
            slot = make_slot(memory_mb=self.limits.memory_mb, processes=self.limits.processes)
        settings = isolation_of(self.limits, slot)
        server = LaneServer(
            lane,
            self._box(),
            python=self.environment.python,
            args=(*self.environment.pytest_args, "--capture=sys"),
            pythonpath=self.environment.pythonpath,
            isolation=settings,
            pass_fds=slot.fds if slot is not None else (),
            on_close=slot.close if slot is not None else None,
            environment=self.environment.variables,
        )
        server.start(timeout=START_SECONDS)
        return server

    def _box(self) -> Box:
        return Box(
            self.probe.bwrap,
            mounts=(
                *self.environment.mounts,
                Mount(self.environment.tree, "/repo"),
                Mount(RUNNER, RUNNER_TARGET),
            ),
            environment=self.environment.variables,
            cwd="/repo",
            limits=self.limits,
            nested=True,
            etc=make_etc(self.cache / "etc"),
        )


def set_up(
    repo: str,
    settings: Settings,
    workspace: Workspace,
    bus: EventBus,
    *,
    commit: str | None = None,
    history: int | None = None,
    checkout: Checkout | None = None,
    lock: EnvironmentLock | None = None,
    of_its_time: bool = False,
    check: Callable[[Toolchain], object] = lambda toolchain: None,
) -> Workbench:
    """Resolve a repository, probe the sandbox, build the environment.

    `commit` names another commit of the repository than its newest, `checkout` one that is
    resolved already, `history` so many releases of a package, `lock` an environment that was, to be
    made again. `of_its_time` prefers the Pythons and packages of an old commit's time. `check` is
    called with the toolchain before anything is built, and may raise.

    Raises `RepositoryError`, `SandboxError`, `ToolchainError`, `EnvironmentBuildError`.
    """
    started = time.monotonic()
    cache = settings.paths.cache or workspace.cache
    wanted = settings.harvest.isolation
    found = probe(None if wanted == "auto" else wanted)
    if found.level not in (Level.S3, Level.S3_SOFT):
        raise SandboxError(
            f"this machine gives isolation {found.level}, and judging needs S3 or S3-soft",
            cause=found.reason,
            hint="flywheel doctor  tells which part of the kernel refuses and what mends it",
        )
    if found.level is not Level.S3:
        bus.publish(
            Warned(
                "sandbox-level", f"isolation is {found.level}: {found.reason}", "flywheel doctor"
            )
        )
    if checkout is None:
        with phase(bus, "fetch", repo):
            checkout = resolve(
                repo,
                cache,
                commit=commit,
                history=history,
                report=lambda text: bus.publish(PhaseProgressed("fetch", 0, text)),
            )
    if checkout.dirty:
        bus.publish(
            Warned(
                "dirty-tree",
                f"{repo} has uncommitted changes; working on commit {checkout.commit[:12]}",
                "commit them to harvest them too",
            )
        )
    for note in checkout.notes:
        bus.publish(Warned("repository", note))
    toolchain = toolchain_of(checkout, settings, workspace)
    check(toolchain)
    with phase(bus, "environment", toolchain.id):
        environment = _environment(
            checkout, toolchain, cache, found, settings, bus, lock=lock, of_its_time=of_its_time
        )
    for note in environment.notes:
        bus.publish(Warned("environment", note))
    return Workbench(
        checkout=checkout,
        toolchain=toolchain,
        environment=environment,
        probe=found,
        revision=Revision(checkout.name, checkout.commit, checkout.tree, checkout.license),
        limits=_limits(toolchain, settings),
        cache=cache,
        seconds=time.monotonic() - started,
    )


def toolchain_of(checkout: Checkout, settings: Settings, workspace: Workspace) -> Toolchain:
    """The toolchain that fits a commit, or the one the user names. Raises `ToolchainError`."""
    profiles = content("critics", workspace, configured=settings.paths.critics)
    wanted = settings.harvest
    own = wanted.test_command
    found = detect(
        load_toolchains([(one.name, one.path) for one in profiles]),
        checkout,
        wanted=wanted.toolchain or ("generic" if own else None),
    )
    if own is None:
        return found
    if isinstance(found.profile, PytestProfile):
        raise UsageError(
            f"the toolchain {found.profile.name} runs pytest itself, not a command",
            hint="leave --toolchain out, or name one that runs a command: --toolchain generic",
        )
    return found.tested_by(own, wanted.test_report)


def _environment(
    checkout: Checkout,
    toolchain: Toolchain,
    cache: Path,
    found: Probe,
    settings: Settings,
    bus: EventBus,
    *,
    lock: EnvironmentLock | None,
    of_its_time: bool,
) -> Environment:
    box = Box(found.bwrap, etc=make_etc(cache / "etc"))

    def told(text: str) -> None:
        bus.publish(PhaseProgressed("environment", 0, text))

    if not isinstance(toolchain.profile, PytestProfile):
        return build_tree(checkout, toolchain, cache, box, on_progress=told)
    return build(
        checkout,
        toolchain,
        cache,
        box,
        python=str(settings.harvest.python) if settings.harvest.python else None,
        install=settings.harvest.install,
        lock=lock,
        of_its_time=of_its_time,
        on_progress=told,
    )


def definition_of(checkout: Checkout, toolchain: Toolchain, settings: Settings) -> str:
    """Identity of what defines the environment of an old commit; see `set_up`'s `of_its_time`."""
    if not isinstance(toolchain.profile, PytestProfile):
        return tree_key(checkout, toolchain)
    return definition_key(
        checkout,
        toolchain,
        python=str(settings.harvest.python) if settings.harvest.python else None,
        install=settings.harvest.install,
        of_its_time=True,
    )


def _limits(toolchain: Toolchain, settings: Settings) -> Limits:
    """What one run may use: the user's settings, or what a compiler needs where that is more."""
    sandbox = settings.sandbox
    limits = Limits(
        memory_mb=sandbox.memory_mb,
        processes=sandbox.pids,
        overlay_mb=sandbox.overlay_mb,
        tmp_mb=sandbox.tmp_mb,
        output_bytes=sandbox.output_mb << 20,
    )
    profile = toolchain.profile
    if isinstance(profile, PytestProfile):
        return limits
    needed = profile.limits
    return Limits(
        memory_mb=max(limits.memory_mb, needed.memory_mb),
        processes=max(limits.processes, needed.processes),
        open_files=max(limits.open_files, needed.open_files),
        file_mb=max(limits.file_mb, needed.file_mb),
        overlay_mb=max(limits.overlay_mb, needed.overlay_mb),
        tmp_mb=max(limits.tmp_mb, needed.tmp_mb),
        output_bytes=max(limits.output_bytes, needed.output_mb << 20),
    )


@contextmanager
def phase(bus: EventBus, name: str, detail: str = "") -> Iterator[None]:
    """Publish the beginning and end of a phase of the work."""
    started = time.monotonic()
    bus.publish(PhaseStarted(name, detail=detail))
    yield
    bus.publish(PhaseEnded(name, time.monotonic() - started))


def jobs_of(settings: Settings) -> int:
    """How many candidates are judged at once."""
    return settings.harvest.jobs or len(os.sched_getaffinity(0))


def learn_baseline(
    bench: Workbench, settings: Settings, bus: EventBus, *, reach: bool = True
) -> tuple[Learned, float]:
    """The baseline of the commit, from the cache or by running the suite.

    `reach` as in `critic.learn`.
    """
    started = time.monotonic()
    runs = settings.harvest.baseline_runs
    environment = bench.environment
    kept = _kept_baseline(bench, bench.revision.tree, runs, reach=reach)
    learned = load_learned(kept, bench.revision.revision_id)
    if learned is not None:
        return learned, 0.0
    files = sources(environment.tree, bench.toolchain)
    for reason in ("syntax-error", "not-utf8"):
        if count := files.skipped.get(reason):
            bus.publish(Warned("sources", f"{count} source files left out: {reason}"))
    if not files.paths:
        raise BaselineError(
            f"the repository has no {bench.toolchain.profile.language} source beside its tests",
            cause=", ".join(f"{n} {why}" for why, n in files.skipped.items()) or None,
        )
    with phase(bus, "baseline"):
        learned = _learn(bench, files.paths, runs=max(2, runs), reach=reach)
    save_learned(learned, kept)
    return learned, time.monotonic() - started


def _learn(bench: Workbench, files: Sequence[str], *, runs: int, reach: bool) -> Learned:
    if bench.tester is not None:
        return learn_by_command(
            bench.tester,
            files=files,
            runs=runs,
            revision_id=bench.revision.revision_id,
            environment_hash=bench.environment.hash,
            toolchain=bench.toolchain.id,
        )
    server = bench.start(Lane.FRESH)
    try:
        return learn(
            server,
            tree=bench.environment.tree,
            files=files,
            runs=runs,
            reach=reach,
            revision_id=bench.revision.revision_id,
            environment_hash=bench.environment.hash,
            toolchain=bench.toolchain.id,
        )
    finally:
        server.close()


def earlier_baseline(bench: Workbench, settings: Settings, checkout: Checkout) -> Learned | None:
    """What was learned of another commit in this very environment; None when it is not kept."""
    revision = Revision(checkout.name, checkout.commit, checkout.tree, checkout.license)
    kept = _kept_baseline(bench, checkout.tree, settings.harvest.baseline_runs, reach=True)
    return load_learned(kept, revision.revision_id)


def _kept_baseline(bench: Workbench, tree: str, runs: int, *, reach: bool) -> Path:
    identity = content_hash(
        "learned",
        tree,
        bench.environment.hash,
        bench.toolchain.id,
        runs,
        list(bench.environment.pytest_args),
        _runner_hash(),
        *([] if reach else ["no reach"]),
    )
    return bench.cache / "baselines" / f"{identity}.json.gz"


def _runner_hash() -> str:
    """Identity of the code that runs in the box: what it learns depends on it."""
    return content_hash("runner", [path.read_text() for path in sorted(Path(RUNNER).glob("*.py"))])


def record(store: Store, bench: Workbench, learned: Learned) -> None:
    """Store what verdicts refer to: the commit, its environment, its baseline."""
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
