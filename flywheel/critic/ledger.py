"""The baseline of a suite that a command runs: which of its tests judge, and why not the others."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from flywheel.core.errors import BaselineError
from flywheel.core.records import Baseline, BaselineTest
from flywheel.critic.baseline import Learned, suite_of
from flywheel.critic.command import Tested, Tester
from flywheel.critic.select import FileLines, LineIndex

_REASONS = {
    "failed": "fails at the base commit",
    "error": "errors at the base commit",
    "skipped": "skipped",
    "missing": "did not run every time",
}


def learn_by_command(
    tester: Tester,
    *,
    files: Sequence[str],
    runs: int,
    revision_id: str,
    environment_hash: str,
    toolchain: str,
) -> Learned:
    """Run the suite `runs` times; only a test that passed every time judges.

    `files` are the repository-relative sources; which test executes what is not known, so any may
    notice any change. Raises `BaselineError` when nothing runs or no test passes every time.
    """
    server = tester.start()
    said: list[Tested] = []
    try:
        for _ in range(runs):
            one = tester.run(server, {}, tester.profile.limits.test_seconds)
            if one.reason or not one.results:
                raise _nothing_ran(one, tester)
            said.append(one)
    finally:
        server.close()
    tests = tuple(_test(test_id, said) for test_id in _ids(said))
    baseline = Baseline(
        revision_id=revision_id,
        environment_hash=environment_hash,
        toolchain=toolchain,
        runs=runs,
        tests=tests,
        suite_seconds=statistics.median(one.seconds for one in said),
        created_at=datetime.now(UTC),
    )
    if not any(test.judges for test in tests):
        worst = next((one for one in said[0].results.values() if one.failure), None)
        raise BaselineError(
            f"none of the {len(tests)} tests passes every time at the base commit",
            cause=worst.failure.message if worst and worst.failure else None,
        )
    index = LineIndex({path: FileLines(tests={}, imported=set(), unsteady=set()) for path in files})
    return Learned(baseline, suite_of(baseline, index, {}))


def _ids(said: Sequence[Tested]) -> list[str]:
    return list(dict.fromkeys(test_id for one in said for test_id in one.results))


def _test(test_id: str, said: Sequence[Tested]) -> BaselineTest:
    results = [one.results.get(test_id) for one in said]
    outcomes = [one.outcome if one is not None else "missing" for one in results]
    commonest, count = Counter(outcomes).most_common(1)[0]
    outcome, reason = commonest, _REASONS.get(commonest, "")
    if len(set(outcomes)) > 1:
        outcome, reason = "flaky", f"outcomes differ between runs: {', '.join(outcomes)}"
    seconds = [one.seconds for one in results if one is not None]
    return BaselineTest(
        test_id=test_id,
        path=next((one.path for one in results if one is not None), ""),
        line=0,
        outcome=outcome,
        seconds=statistics.median(seconds),
        flake_rate=1 - count / len(outcomes),
        reason=reason,
        source="",
    )


def _nothing_ran(one: Tested, tester: Tester) -> BaselineError:
    command = " ".join(tester.profile.test.command)
    told = one.detail or (one.broken.traceback or one.broken.message if one.broken else "")
    return BaselineError(
        f"`{command}` ran no test at the base commit" + (f": {one.reason}" if one.reason else ""),
        cause=told[-2000:] or None,
        hint="does it work in a fresh clone without a network, once built? Its toolchain is"
        f" {tester.profile.name}; a copy of it in critics/ of the workspace may say otherwise",
    )
