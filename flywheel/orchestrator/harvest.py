"""Harvest: one repository's candidates from all sources, judged, stored, and summed up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from flywheel.candidates import RevertSource, Source, Sources, choose_operators
from flywheel.core.ending import BUDGET, EXHAUSTED, INTERRUPTED
from flywheel.core.errors import UsageError
from flywheel.core.events import EventBus, HarvestEnded, HarvestStarted
from flywheel.core.identity import content_hash
from flywheel.core.settings import Settings
from flywheel.critic import Judge, Learned
from flywheel.orchestrator import combine, write
from flywheel.orchestrator.carry import Carrying
from flywheel.orchestrator.figures import harvest_figures
from flywheel.orchestrator.history import funnel, revert_source, warn_if_shallow
from flywheel.orchestrator.judging import Judging, Progress
from flywheel.orchestrator.mine import Mined, Miner
from flywheel.orchestrator.realism import Realism
from flywheel.orchestrator.since import Changed, find_changed
from flywheel.orchestrator.workbench import Workbench, learn_baseline, record, set_up
from flywheel.orchestrator.write import Writing
from flywheel.store import Run, Store, count_examples, record_figures, record_run
from flywheel.workspace import Workspace

SOURCES = ("reverted", "mutated", "written", "combined", "mined")
"""Where candidates may come from, in the order in which they are drawn. What is mined is proven at
commits of its own, so it cannot be combined with the rest."""
NOTHING_CHANGED = "nothing-changed"
"""How a harvest ends that was to look at what changed, where nothing did."""


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
    combine.check(wanted)
    write.check(wanted)
    started = datetime.now(UTC)
    clock = time.monotonic()
    changed: Changed | None = None
    if wanted.since is not None:
        changed = find_changed(repo, wanted.since, settings, workspace, bus)
        if not changed.definitions:
            return _nothing_changed(changed, wanted.source)
    bench = set_up(
        repo,
        settings,
        workspace,
        bus,
        checkout=changed.checkout if changed is not None else None,
        history=wanted.history,
        check=lambda found: choose_operators(wanted.operators, found.language().operators),
    )
    language = bench.toolchain.language()
    operators = choose_operators(wanted.operators, language.operators)
    if {"reverted", "mined"} & set(wanted.source):
        warn_if_shallow(bench.checkout, bus)
    run_id = content_hash("run", bench.checkout.name, started.isoformat())
    bus.publish(HarvestStarted(run_id, bench.checkout.name, bench.checkout.commit))
    with store.harvest_lock(bench.checkout.name):
        learned, baseline_seconds = learn_baseline(bench, settings, bus)
        record(store, bench, learned)
        began = time.monotonic()
        carrying = Carrying(bench, learned, settings, store)
        carrying.decide()
        carrying_seconds = time.monotonic() - began
        loop = Judging(bench, learned, settings, store, bus, on_progress, started_at=clock)
        realism = Realism(bench, settings, operators, bus)
        writing: Writing | None = None
        if write.NAME in wanted.source:
            writing = Writing(
                settings, workspace, store, bus, toolchain=bench.toolchain, run_id=run_id
            )
        history: RevertSource | None = None
        executed: Callable[[str], Set[int] | None] | None = None
        with ExitStack() as held:
            if writing is not None:
                held.enter_context(writing)

            def make_source(contents: Mapping[str, bytes], critic: Judge) -> Source:
                nonlocal history, executed
                covered: Callable[[str], Set[int] | None] = critic.covered_lines
                executed = covered
                if changed is not None:
                    contents = {path: contents[path] for path in contents.keys() & changed.paths}
                    covered = changed.within(covered)
                chosen: dict[str, Source] = {}
                if "reverted" in wanted.source:
                    history = chosen["reverted"] = revert_source(
                        bench.checkout,
                        bench.toolchain,
                        contents,
                        held=held,
                        covered=covered,
                    )
                if "mutated" in wanted.source:
                    chosen["mutated"] = realism.source(contents, covered)
                if writing is not None:
                    chosen[write.NAME] = writing.source(contents, covered)
                if combine.NAME in wanted.source:
                    chosen[combine.NAME] = combine.combined_source(
                        loop, carrying, store, contents, seed=wanted.seed
                    )
                return Sources(chosen, fed=combine.NAME, ration=combine.ration(wanted))

            loop.run(make_source)
            if writing is not None:
                writing.attempt(loop)
            if writing is not None and loop.ended == INTERRUPTED:
                writing.close()
            if writing is not None and writing.out_of_budget and loop.ended == EXHAUSTED:
                loop.ended = BUDGET
        carrying.settle(loop, operators={one.name for one in operators})
        mined: Mined | None = None
        if "mined" in wanted.source and loop.ended == EXHAUSTED:
            mined = Miner(loop, settings, workspace, store, bus, on_progress).run()
        total = time.monotonic() - clock
        summary = _summary(bench, learned, loop, history, mined, realism, baseline_seconds, total)
        summary["examples"]["total"] = count_examples(store, loop.tally.baselines)
        summary["carried"] = carrying.summary()
        summary["written"] = writing.summary() if writing is not None else None
        summary["seconds"]["carrying"] = round(carrying_seconds, 2)
        summary["since"] = changed.summary(executed) if changed is not None else None
        record_run(store, Run(run_id, bench.checkout.name, started, datetime.now(UTC), summary))
        record_figures(store, harvest_figures(run_id, bench.checkout.name, loop.tally))
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


def _nothing_changed(changed: Changed, sources: Sequence[str]) -> dict[str, Any]:
    """The summary of a harvest that found nothing to look at, and so built and ran nothing."""
    return {
        "repo": changed.checkout.name,
        "commit": changed.checkout.commit,
        "sources": list(sources),
        "candidates": {"made": 0, "judged": 0, "valid": 0, "survived": 0},
        "examples": {"new": 0, "total": 0},
        "ended": NOTHING_CHANGED,
        "since": changed.summary(),
    }


def _summary(
    bench: Workbench,
    learned: Learned,
    loop: Judging,
    history: RevertSource | None,
    mined: Mined | None,
    realism: Realism,
    baseline_seconds: float,
    total: float,
) -> dict[str, Any]:
    """What the harvest did, as one object."""
    tally, tests = loop.tally, learned.baseline.tests
    left_out = Counter(test.reason for test in tests if not test.judges and test.reason)
    return {
        "repo": bench.checkout.name,
        "commit": bench.checkout.commit,
        "sources": list(loop.wanted.source),
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
        "examples": {"new": tally.examples},
        "judged_per_second": round(tally.judged / tally.seconds, 2) if tally.seconds else 0.0,
        "confirmation": {
            "audits": tally.audits,
            "mismatches": tally.mismatches,
            "widened": sorted(tally.widened),
        },
        "seconds": {
            "environment": round(bench.seconds, 2),
            "baseline": round(baseline_seconds, 2),
            "judging": round(tally.seconds, 2),
            "confirming": round(tally.confirming, 2),
            "total": round(total, 2),
        },
        "sandbox_level": bench.probe.level,
        "warm": tally.lanes["warm"] > 0,
        "ended": loop.ended,
        "by_operator": {
            name: dict(counts) for name, counts in sorted(loop.tally.by_operator.items())
        },
        "history": funnel(history) if history is not None else None,
        "mined": mined.summary() if mined is not None else None,
        "realism": realism.summary(),
        "by_source": {name: dict(counts) for name, counts in loop.tally.by_source.items()},
    }
