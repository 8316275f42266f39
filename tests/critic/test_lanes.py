"""Hand-made candidates through the critic; the truth is plain pytest on the same changed tree."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hazards import CONFTEST, ENDINGS, HAZARDS
from target import Change, Target, Unaudited

from flywheel.core.errors import BaselineError, SandboxError
from flywheel.core.records import Judged, Lane, Status
from flywheel.critic import critic as rules
from flywheel.critic.interpreters import find_interpreters
from flywheel.critic.select import positions
from flywheel.sandbox import Level, probe

pytestmark = pytest.mark.slow

OTHERS = {(3, 12): 0, (3, 13): 1}
"""Pythons that stand beside the running one, each with its half of the changes."""
SETTINGS = "[pytest]\naddopts = --doctest-modules\n"
FILES = {
    "pytest.ini": SETTINGS,
    "conftest.py": CONFTEST,
    "zoo/__init__.py": "",
    **{f"zoo/{name}.py": one.module for name, one in [*HAZARDS.items(), *ENDINGS.items()]},
    **{f"tests/test_{name}.py": one.tests for name, one in [*HAZARDS.items(), *ENDINGS.items()]},
}
CHANGES = {
    f"{name}-{number}": Change(f"zoo/{name}.py", *change)
    for name, hazard in HAZARDS.items()
    for number, change in enumerate(hazard.changes)
}
SEEN_BY_LINES = [key for key in CHANGES if not HAZARDS[key.rsplit("-", 1)[0]].only_audit]
ENDING_CHANGES = {name: Change(f"zoo/{name}.py", *one.change) for name, one in ENDINGS.items()}


@dataclass(frozen=True)
class Zoo:
    """Every hazard judged, and its truth."""

    target: Target
    truths: dict[Change, frozenset[str]]
    judged: dict[Change, Judged]
    by_lines: dict[Change, Judged]
    """Judged by a critic that neither runs whole suites nor audits: only executed lines choose."""
    ended: dict[Change, Judged]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: the environment is built once an interpreter."""
    try:
        if probe().level is Level.S2:
            pytest.skip("no sandbox for each fork here")
    except SandboxError as error:
        pytest.skip(f"no isolation here: {error}")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def zoo(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return _zoo(sys.executable, list(CHANGES.values()), tmp_path_factory.mktemp("zoo"), cache)


@pytest.fixture(scope="module", params=OTHERS, ids=lambda of: "python{}.{}".format(*of))
def elsewhere(
    request: pytest.FixtureRequest, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Zoo:
    """Half of the zoo under another Python: a change that is judged otherwise there is rare."""
    found = {one.version[:2]: str(one.executable) for one in find_interpreters()}
    if request.param not in found:
        pytest.skip("it is not installed")
    half = list(CHANGES.values())[OTHERS[request.param] :: 2]
    return _zoo(found[request.param], half, tmp_path_factory.mktemp("zoo"), cache)


def _zoo(python: str, changes: Sequence[Change], folder: Path, cache: Path) -> Zoo:
    target = Target(FILES, folder=folder, cache=cache, python=python)
    with pytest.MonkeyPatch.context() as patch, target.critic() as critic:
        # The first change of each file is audited, however long that takes.
        patch.setattr(rules, "AUDIT_TIME", 100.0)
        assert critic.warm, critic.not_warm_reason
        judged = target.judge(critic, changes)
        ended = target.judge(critic, list(ENDING_CHANGES.values()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "WHOLE_SUITE_SECONDS", -1.0)
        with target.critic(Unaudited) as critic:
            by_lines = target.judge(critic, changes)
    files = {change: (change.path, f"tests/test_{Path(change.path).stem}.py") for change in changes}
    return Zoo(target, target.truths(files), judged, by_lines, ended)


def _told(judged: Judged) -> frozenset[str]:
    """The tests that a verdict says fail."""
    trial = judged.confirmation or judged.trial
    return frozenset(trial.failing)


def _agrees(judged: Judged, truth: frozenset[str], everything: int) -> None:
    expected = "valid" if truth else "survived"
    if len(truth) == everything:
        expected = "breaks-everything"
    if judged.verdict == "pruned":
        # The lane says that both compile to the same: then no test may tell them apart.
        assert judged.reason in ("same-bytecode", "unparsable")
        assert not truth or judged.reason == "unparsable"
        return
    assert (judged.verdict, sorted(_told(judged))) == (expected, sorted(truth)), judged.reason


def _all_judge(zoo: Zoo) -> None:
    left_out = {t.test_id: t.reason for t in zoo.target.learned.baseline.tests if not t.judges}
    assert set(left_out) == {
        "tests/test_skipping.py::test_expected",
        "tests/test_skipping.py::test_strict",
    }, left_out


def test_every_test_of_the_zoo_that_passes_judges(zoo: Zoo) -> None:
    _all_judge(zoo)


def test_most_tests_of_the_zoo_are_called_without_the_protocol(zoo: Zoo) -> None:
    server = zoo.target.bench.start(Lane.WARM)
    try:
        assert server.plain > len(server.items) / 2
    finally:
        server.close()


@pytest.mark.parametrize("name", CHANGES)
def test_the_verdict_is_that_of_plain_pytest(zoo: Zoo, name: str) -> None:
    change = CHANGES[name]
    _agrees(zoo.judged[change], zoo.truths[change], len(zoo.target.learned.suite.ids))


@pytest.mark.parametrize("name", SEEN_BY_LINES)
def test_the_lines_that_tests_execute_find_every_test_that_can_tell(zoo: Zoo, name: str) -> None:
    change = CHANGES[name]
    _agrees(zoo.by_lines[change], zoo.truths[change], len(zoo.target.learned.suite.ids))


@pytest.mark.parametrize("name", ENDINGS)
def test_a_test_that_ends_or_hangs_its_process_fails_and_the_rest_is_run(
    zoo: Zoo, name: str
) -> None:
    _ends(zoo, name)


def _ends(zoo: Zoo, name: str) -> None:
    ending, judged = ENDINGS[name], zoo.ended[ENDING_CHANGES[name]]
    assert judged.verdict == "valid", judged.reason
    assert judged.confirmation is not None
    wanted = {f"tests/test_{name}.py::{test}" for test in ending.failing}
    assert set(judged.trial.failing) == set(judged.confirmation.failing) == wanted
    assert judged.confirmation.failures[0].type == ending.kind


def test_other_pythons_give_the_verdicts_of_their_own_plain_pytest(elsewhere: Zoo) -> None:
    _all_judge(elsewhere)
    wrong, everything = [], len(elsewhere.target.learned.suite.ids)
    names = {change: name for name, change in CHANGES.items()}
    for change, truth in elsewhere.truths.items():
        try:
            _agrees(elsewhere.judged[change], truth, everything)
            if names[change] in SEEN_BY_LINES:
                _agrees(elsewhere.by_lines[change], truth, everything)
        except AssertionError as error:
            wrong.append(f"{names[change]}: {error}")
    assert len(elsewhere.truths) >= len(CHANGES) // 2
    assert not wrong, "\n".join(wrong)
    for name in ENDINGS:
        _ends(elsewhere, name)


COUNTED = {
    "zoo/__init__.py": "",
    "zoo/count.py": "def count(x):\n    return x + 1\n",
    "tests/test_count.py": "from zoo.count import count\n"
    "def test_one(): assert count(1) == 2\ndef test_idle(): assert True\n",
}
COUNT = Change("zoo/count.py", "x + 1", "x + 2")


def _target(files: dict[str, str], tmp_path: Path, cache: Path) -> Target:
    return Target(
        {**COUNTED, **files}, folder=tmp_path, cache=cache, python=sys.executable, baseline_runs=2
    )


def test_a_suite_with_a_thread_from_its_import_is_judged_fresh_and_truly(
    tmp_path: Path, cache: Path
) -> None:
    source = """
        import threading, time
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        def count(x):
            return x + 1
        """
    target = _target({"zoo/count.py": source}, tmp_path, cache)
    with target.critic(jobs=1) as critic:
        assert not critic.warm
        assert "2 threads" in critic.not_warm_reason
        judged = target.judge(critic, [COUNT])[COUNT]
    assert judged.trial.lane is Lane.FRESH
    _agrees(judged, target.truth(COUNT), 2)


FORGE = """
import pytest
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if {when}:
        report.outcome = "passed"
"""


def test_a_conftest_that_forges_every_report_is_refused(tmp_path: Path, cache: Path) -> None:
    target = _target({"conftest.py": FORGE.format(when="True")}, tmp_path, cache)
    with pytest.raises(BaselineError, match="reported as passing"):
        _ = target.learned


def test_a_change_that_makes_a_conftest_forge_reports_is_never_valid(
    tmp_path: Path, cache: Path
) -> None:
    # It spares one test, so that there is a failure to confirm.
    when = "count(5) != 6 and 'test_idle' not in item.nodeid"
    forge = "from zoo.count import count\n" + FORGE.format(when=when)
    files = {"conftest.py": forge, "tests/test_idle.py": COUNTED["tests/test_count.py"]}
    target = _target(files, tmp_path, cache)
    with target.critic(jobs=1) as critic:
        judged = target.judge(critic, [COUNT])[COUNT]
    assert (judged.verdict, judged.reason) in (
        ("unknown", "canary-did-not-fail"),
        ("survived", ""),
    )


def test_a_warning_that_the_configuration_makes_an_error_fails_the_import(
    tmp_path: Path, cache: Path
) -> None:
    target = _target({"pytest.ini": "[pytest]\nfilterwarnings = error\n"}, tmp_path, cache)
    change = Change("zoo/count.py", "return x + 1", "return x + 1 if x is not 1.5 else 0")
    with target.critic(jobs=1) as critic:
        judged = target.judge(critic, [change])[change]
    _agrees(judged, target.truth(change), 2)


APART = {
    "zoo/__init__.py": "",
    "zoo/early.py": "LIMIT = int('3')\ndef f(x):\n    return x + LIMIT\n",
    "zoo/late.py": "LIMIT = int('4')\ndef f(x):\n    return x + LIMIT\n",
    "zoo/other.py": "from zoo import early\nLIMIT = int('5')\ndef f(x):\n    return x\n",
    "tests/test_early.py": "from zoo.early import f\ndef test_early(): assert f(1) == 4\n",
    "tests/test_late.py": """
        def test_late():
            from zoo.late import f
            assert f(1) == 5
        """,
    "tests/test_other.py": "from zoo.other import f\ndef test_other(): assert f(1) == 1\n",
    "tests/test_child.py": """
        import subprocess, sys
        def test_child():
            subprocess.run([sys.executable, "-c", "import zoo.late"], check=True)
        """,
    "tests/test_text.py": """
        def test_text():
            with open("zoo/late.py") as file: assert "LIMIT" in file.read()
        """,
    "tests/test_idle.py": "def test_idle(): assert True\n",
}


def test_only_tests_of_files_that_load_a_module_are_asked_of_its_import(
    tmp_path: Path, cache: Path
) -> None:
    target = Target(APART, folder=tmp_path, cache=cache, python=sys.executable, baseline_runs=2)
    suite = target.learned.suite
    reach = {
        path: {Path(suite.paths[i]).stem[5:] for i in positions(found)}
        for path, found in suite.reach.items()
    }
    assert reach["zoo/early.py"] == {"early", "other", "child"}
    assert reach["zoo/late.py"] == {"late", "text", "child"}
    assert reach["zoo/other.py"] == {"other", "child"}
    changes = [
        Change("zoo/early.py", "int('3')", "int('x')"),
        Change("zoo/late.py", "int('4')", "int('x')"),
        Change("zoo/late.py", "LIMIT = int('4')\n", ""),
        Change("zoo/other.py", "int('5')", "int('6')"),
    ]
    with target.critic(jobs=1) as critic:
        judged = target.judge(critic, changes)
    for change in changes:
        _agrees(judged[change], target.truth(change), 6)
    assert judged[changes[0]].trial.selected == 3


WARY = """
import warnings
def count(x):
    return x + 1
class Thing:
    def __del__(self):
        pass
"""
WARY_TESTS = """
import threading
from zoo.wary import Thing, count
def test_one(): assert count(1) == 2
def test_thing(): Thing()
def test_thread():
    thread = threading.Thread(target=count, args=(1,))
    thread.start()
    thread.join()
def test_idle(): assert True
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return x + 1", "return warnings.warn('old') or x + 1"),
        ("        pass", "        raise ValueError('unraisable')"),
        ("return x + 1", "return 1 / 0"),
    ],
)
def test_a_warning_that_the_configuration_makes_an_error_fails_the_test(
    tmp_path: Path, cache: Path, before: str, after: str
) -> None:
    files = {
        "pytest.ini": "[pytest]\nfilterwarnings = error\n",
        "zoo/wary.py": WARY,
        "tests/test_wary.py": WARY_TESTS,
    }
    target = _target(files, tmp_path, cache)
    change = Change("zoo/wary.py", before, after)
    with target.critic(jobs=1) as critic:
        judged = target.judge(critic, [change])[change]
    assert set(judged.trial.failing) == target.truth(change)
    _agrees(judged, target.truth(change), len(target.learned.suite.ids))


LEAVING = """
class Box:
    def __init__(self, value):
        self.me, self.value = self, value
async def value():
    return 1
async def total():
    box = Box(value())
    return 1 + await box.value
"""
LEAVING_TESTS = """
import asyncio
from zoo.leaving import total
def test_total(): assert asyncio.run(total()) == 2
def test_idle(): assert True
def test_idle_too(): assert True
"""


@pytest.mark.parametrize(("filters", "left"), [("error", True), ("default", False)])
def test_a_change_whose_leftovers_fail_whatever_runs_then_never_becomes_data(
    tmp_path: Path, cache: Path, filters: str, left: bool
) -> None:
    files = {
        "pytest.ini": f"[pytest]\nfilterwarnings = {filters}\n",
        "zoo/leaving.py": LEAVING,
        "tests/test_leaving.py": LEAVING_TESTS,
    }
    target = _target(files, tmp_path, cache)
    forgotten = Change("zoo/leaving.py", "await box.value", "box.value")
    wrong = Change("zoo/leaving.py", "return 1 +", "return 2 +")
    with target.critic(jobs=1) as critic:
        judged = target.judge(critic, [forgotten, wrong])
    expected = ("unknown", "leftovers-fail-tests") if left else ("valid", "")
    assert (judged[forgotten].verdict, judged[forgotten].reason) == expected
    assert judged[wrong].verdict == "valid"


def test_the_status_of_a_hang_and_of_a_memory_bomb_is_told(zoo: Zoo) -> None:
    assert zoo.ended[ENDING_CHANGES["deadlock"]].trial.status is Status.TIMEOUT
    assert zoo.ended[ENDING_CHANGES["bomb"]].trial.status is Status.OUT_OF_MEMORY
