"""How fast the critic judges, beside plain pytest on the same candidates in the same run.

    python tests/benchmarks/bench_critic.py [--package pypi:NAME==VERSION]... [--candidates N]

Not part of the test suite: see docs/benchmarks.md for what each figure is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import measure
from measure import Way

from flywheel.core.records import Candidate, Judged, Lane
from flywheel.critic import Layout
from flywheel.critic.select import positions


def measure_package(repo: str, options: argparse.Namespace) -> dict[str, Any]:
    prepared = measure.prepare(
        repo, candidates=options.candidates, seed=options.seed, paths=options.paths
    )
    drawn, budget, jobs = prepared.candidates, options.seconds, options.jobs
    suite = prepared.learned.suite
    print(
        f"\n## {repo}\n\n{len(suite.ids)} tests judge, whole suite"
        f" {prepared.learned.baseline.suite_seconds:.2f} s in the fresh lane; {len(drawn)}"
        f" candidates; isolation {prepared.bench.probe.level}; environment"
        f" {prepared.setup['environment']:.1f} s, baseline {prepared.setup['baseline']:.1f} s\n",
        flush=True,
    )

    def critic(name: str, some: Sequence[Candidate], jobs: int, *, fail_fast: bool = False) -> Way:
        way, found = measure.judge(
            name, prepared, some, jobs=jobs, seconds=budget, fail_fast=fail_fast
        )
        judged.extend(found)
        return way

    judged: list[Judged] = []
    full = critic("critic, full lists", drawn, jobs)
    lane_of = {one.candidate.candidate_id: one.trial.lane for one in judged}
    ways = [full, critic("critic, fail fast", drawn, jobs, fail_fast=True)]
    if jobs > 1:
        ways.append(critic("critic, full lists", drawn, 1))
    alone: dict[str, dict[int, Way]] = {}
    for lane in Lane:
        # A budget may have cut the draw: what has no lane yet is left out.
        some = [one for one in drawn if lane_of.get(one.candidate_id) is lane]
        if some:
            alone[lane.value] = {
                number: critic(f"critic, full lists, {lane.value} lane alone", some, number)
                for number in dict.fromkeys((jobs, 1))
            }
            ways += alone[lane.value].values()
    whole, _ = measure.judge_cold("cold, whole suite", prepared, jobs=jobs, seconds=budget)
    some_tests, _ = measure.judge_cold(
        "cold, covering tests", prepared, jobs=jobs, seconds=budget, covering=True
    )
    no_text, _ = measure.judge_cold(
        "cold, whole suite, no failure text",
        prepared,
        jobs=jobs,
        seconds=budget,
        options=("--tb=no",),
    )
    ways += [whole, no_text, some_tests]
    bound = bound_of(prepared, drawn)
    print(
        f"Tests that execute the change took {1000 * bound:.0f} ms a candidate in the baseline:"
        f" with {jobs} jobs nothing that runs them all judges more than {jobs / bound:.3g} a"
        " second, were nothing else to do.\n"
    )
    print(measure.table(ways, whole), flush=True)

    print("\nMedian milliseconds a candidate, each lane alone; overhead is all but the tests.\n")
    print("| lane | jobs | candidates | overhead | fork | patch | reap | tests | between |")
    print("|---|---|---|---|---|---|---|---|---|")
    for lane, by_jobs in alone.items():
        for number, way in by_jobs.items():
            found = way.notes["lanes"].get(lane)
            if found is None:
                continue
            names = ("overhead", "fork", "patch", "reap", "tests", "between")
            cells = " | ".join(f"{found[f'{name}_ms']:.2f}" for name in names)
            print(f"| {lane} | {number} | {found['candidates']} | {cells} |")
    print()
    scale = {
        lane: by_jobs[jobs].rate / by_jobs[1].rate
        for lane, by_jobs in alone.items()
        if jobs > 1 and by_jobs[1].rate
    }
    for lane, times in scale.items():
        print(f"{jobs} jobs give {times:.2f} times one, {lane} lane alone.")
    return {
        "repo": repo,
        "tests": len(suite.ids),
        "suite_seconds": prepared.learned.baseline.suite_seconds,
        "setup": prepared.setup,
        "ways": [measure.as_data(way) for way in ways],
        "jobs_scale": scale,
        "sandbox": sandbox_cost(
            prepared, [one for one in drawn if lane_of.get(one.candidate_id) is Lane.WARM], options
        ),
    }


def bound_of(prepared: measure.Prepared, drawn: Sequence[Candidate]) -> float:
    """Mean seconds that the tests that execute a change take, where tests execute it."""
    suite = prepared.learned.suite
    layouts = {path: Layout(text) for path, text in prepared.contents.items()}
    found = []
    for candidate in drawn:
        place = layouts[candidate.path].place(candidate)
        by_line = suite.lines.files[candidate.path].tests
        tests = 0
        for line in place.statement if place is not None else ():
            tests |= by_line.get(line, 0)
        if tests:
            found.append(sum(suite.seconds[i] for i in positions(tests)))
    return statistics.mean(found)


def sandbox_cost(
    prepared: measure.Prepared, warm: Sequence[Candidate], options: argparse.Namespace
) -> dict[str, Any] | None:
    """Judge the warm lane's candidates with and without a sandbox each, in turns, one job."""
    if not warm:
        print("Sandbox cost: no candidate was judged warm.")
        return None
    rates: dict[str, list[float]] = {"on": [], "off": []}
    forks: dict[str, list[float]] = {"on": [], "off": []}
    said: dict[str, str] = {}
    differ: set[str] = set()
    with measure.without_isolation(prepared.bench) as plain:
        for _ in range(options.rounds):
            for mode, start in (("on", None), ("off", plain)):
                seconds = options.seconds / options.rounds / 2
                way, found = measure.judge(
                    mode, prepared, warm, jobs=1, seconds=seconds, start=start
                )
                rates[mode].append(way.rate)
                for one in found:
                    if one.trial.phases:
                        forks[mode].append(one.trial.phases["fork"] + one.trial.phases["reap"])
                    outcome = f"{one.verdict} {sorted(one.trial.failing)}"
                    if said.setdefault(one.candidate.candidate_id, outcome) != outcome:
                        differ.add(one.candidate.candidate_id)
    on, off = statistics.median(rates["on"]), statistics.median(rates["off"])
    fork_on, fork_off = (1000 * statistics.median(forks[mode]) for mode in ("on", "off"))
    cost = 100 * (1 - on / off)
    print(
        f"Sandbox cost: {len(warm)} warm candidates, one job, {options.rounds} rounds in turns:"
        f" {on:.3g} a second with, {off:.3g} without, {cost:.1f} %; fork and reap"
        f" {fork_on:.2f} ms with, {fork_off:.2f} without; {len(differ)} verdicts differ.",
        flush=True,
    )
    return {
        "rates": rates,
        "cost_percent": cost,
        "fork_reap_ms": {"on": fork_on, "off": fork_off},
        "verdicts_differ": len(differ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", action="append", help="pypi:NAME==VERSION or a path")
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120.0, help="most for each way")
    parser.add_argument("--rounds", type=int, default=3, help="of the sandbox's cost")
    parser.add_argument("--paths", action="append", default=[], help="only files that begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {"machine": measure.machine(), "packages": []}
    print(found["machine"])
    for repo in options.package or measure.PACKAGES:
        found["packages"].append(measure_package(repo, options))
        measure.write_json(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
