"""What a candidate may do to its own verdict: the critic's lane, not only the sandbox, at work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flywheel.core.records import Lane, Outcome
from flywheel.critic import PATIENT, RUNNER, RUNNER_TARGET, LaneServer, Run, isolation_of
from flywheel.sandbox import Box, Level, Limits, Mount, Probe, give_to_box, make_etc, make_slot

LIMITS = Limits(memory_mb=256, processes=32, overlay_mb=8, tmp_mb=8, shm_mb=8)
TEST = "from module import one\ndef test_one():\n    assert one() == 1\n"
OPTIONS = ("-p", "no:cacheprovider", "--capture=sys", "-q")

Judge = Callable[[dict[str, str]], Run]


@pytest.fixture
def judge(warm: Probe, tmp_path: Path) -> Iterator[Judge]:
    """Run the tests of a small repository in the critic's fresh lane."""
    servers: list[LaneServer] = []

    def run(files: dict[str, str]) -> Run:
        repo = tmp_path / "repo"
        repo.mkdir()
        for name, text in {"test_one.py": TEST, **files}.items():
            (repo / name).write_text(text)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        give_to_box(repo)
        python, prefix = Path(sys.executable).resolve(), Path(sys.base_prefix).resolve()
        slot = None
        if warm.level is Level.S3:
            slot = make_slot(memory_mb=LIMITS.memory_mb, processes=LIMITS.processes + 8)
        box = Box(
            warm.bwrap,
            mounts=(
                *([] if prefix.is_relative_to("/usr") else [Mount(prefix, str(prefix))]),
                Mount(Path(pytest.__file__).parents[1], "/site"),
                Mount(repo, "/repo"),
                Mount(RUNNER, RUNNER_TARGET),
            ),
            environment={
                "PATH": "/usr/bin:/bin",
                "HOME": "/tmp",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": "/site",
            },
            cwd="/repo",
            limits=LIMITS,
            nested=True,
            etc=make_etc(tmp_path / "etc"),
        )
        server = LaneServer(
            Lane.FRESH,
            box,
            python=str(python),
            args=OPTIONS,
            pythonpath=("/repo",),
            isolation=isolation_of(LIMITS, slot),
            pass_fds=slot.fds if slot is not None else (),
            on_close=slot.close if slot is not None else None,
        )
        servers.append(server)
        server.start(timeout=30)
        server.tell(["test_one.py::test_one"], ["test_one.py"], [0.01])
        judged = Run(Lane.FRESH, (0,), None, PATIENT, {"canary": True})
        more = True
        while more:
            server.submit(judged.request([0.01]))
            replies = server.receive()
            while not replies:
                replies = server.receive()
            more = judged.absorb(replies[0])
        return judged

    yield run
    for server in servers:
        server.close()
        server._output.close()


def outcome(run: Run) -> Outcome:
    return run.trial(["test_one.py::test_one"], "S3").outcome


def test_an_honest_pass_and_an_honest_failure_are_told_apart(judge: Judge) -> None:
    run = judge({"module.py": "def one():\n    return 1\n"})
    assert (outcome(run), run.canary) == (Outcome.PASSES, True)


def test_37_ending_the_process_in_the_middle_of_a_test_is_a_failure(judge: Judge) -> None:
    run = judge({"module.py": "import os\ndef one():\n    os._exit(0)\n"})
    assert outcome(run) is Outcome.FAILS


def test_37_ending_the_process_while_it_imports_is_a_failure(judge: Judge) -> None:
    run = judge({"module.py": "import os\nos._exit(0)\n"})
    assert outcome(run) is Outcome.FAILS


def test_38_a_conftest_that_turns_failures_into_passes_is_caught_by_the_canary(
    judge: Judge,
) -> None:
    forger = """
import pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    report.longrepr = None
    return report
"""
    run = judge({"module.py": "def one():\n    return 2\n", "conftest.py": forger})
    assert run.canary is False or outcome(run) is Outcome.FAILS


def test_38_a_conftest_that_swallows_the_test_function_is_caught_by_the_canary(
    judge: Judge,
) -> None:
    forger = """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    item.runtest = lambda: None
"""
    run = judge({"module.py": "def one():\n    return 2\n", "conftest.py": forger})
    assert run.canary is False or outcome(run) is Outcome.FAILS


def test_38_a_module_that_prints_a_passing_summary_still_fails(judge: Judge) -> None:
    forger = """
import os
def one():
    for fd in (1, 2):
        os.write(fd, b"\\n1 passed in 0.01s\\n{\\"outcomes\\": \\".\\", \\"done\\": 1}\\n")
    return 2
"""
    run = judge({"module.py": forger})
    assert (outcome(run), run.canary) == (Outcome.FAILS, True)
