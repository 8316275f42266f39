"""What a candidate may do to other processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import PROCESSES, Arena, SetUpFailed

from flywheel.sandbox import Probe


def test_18_a_daemon_that_forked_twice_does_not_survive(arena: Arena) -> None:
    before = set(_below(arena.process.pid))
    body = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in (0, 1, 2, result_fd):
                os.close(fd)
            time.sleep(60)
        os._exit(0)
    os.wait()
    report("left")
    """
    assert arena.run(body).report == "left"
    assert arena.run("report('next')").report == "next"
    # The warm process, its nursery, and the one init that is ready; another one is ready now.
    assert len(set(_below(arena.process.pid))) <= len(before)


@pytest.mark.parametrize("target", ["1", "os.getppid()", "-1"])
def test_24_killing_init_the_parent_or_everything_leaves_the_warm_process_unharmed(
    arena: Arena, target: str
) -> None:
    body = f"""
    import os, signal
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill({target}, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            pass
    report("done")
    """
    arena.run(body)
    assert arena.process.poll() is None


def test_25_ptrace_and_process_vm_are_refused(arena: Arena) -> None:
    body = """
    import ctypes, errno, os, platform
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = (101, 310, 311) if platform.machine() == "x86_64" else (117, 270, 271)
    answers = []
    for number in numbers:
        for pid in (1, os.getpid()):
            answers.append(libc.syscall(number, 16, pid, 0, 0, 0, 0))
            answers.append(errno.errorcode[ctypes.get_errno()])
    report(answers)
    """
    assert set(arena.run(body).report) == {-1, "EPERM"}


def test_26_inits_environment_memory_and_root_are_denied(arena: Arena) -> None:
    body = """
    import errno, os
    answers = []
    for action in (
        lambda: open("/proc/1/environ").read(),
        lambda: open("/proc/1/mem", "rb"),
        lambda: os.listdir("/proc/1/root/"),
        lambda: open("/proc/1/fd/0"),
        lambda: os.readlink("/proc/1/fd/1"),
        lambda: os.readlink("/proc/1/cwd"),
        lambda: open("/proc/1/maps").read(),
    ):
        try:
            action()
            answers.append("done")
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
    report(answers)
    """
    answers = arena.run(body).report
    assert set(answers) <= {"EACCES", "EPERM"}, answers


def test_32_the_oom_score_cannot_be_lowered(arena: Arena) -> None:
    body = """
    score = open("/proc/self/oom_score_adj").read().strip()
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
        report([score, "done"])
    except PermissionError:
        report([score, "EACCES"])
    """
    assert arena.run(body).report == ["1000", "EACCES"]


SUPERVISOR = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from arena import Arena
from flywheel.sandbox import probe
arena = Arena(probe(), Path(sys.argv[2]))
arena.start('''
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
time.sleep(600)
''', wall=600)
print("running", flush=True)
arena.finish()
"""


@pytest.mark.parametrize("victim", ["supervisor", "bwrap"])
def test_39_when_the_supervisor_or_bwrap_is_killed_no_process_is_left(
    warm: Probe, tmp_path: Path, victim: str
) -> None:
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, here, str(tmp_path / "arena")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        time.sleep(0.2)
        started = {pid: _birth(pid) for pid in _below(process.pid)}
        assert len(started) >= 7
        bwrap = next(pid for pid in started if _parent(pid) == process.pid)
        os.kill(process.pid if victim == "supervisor" else bwrap, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and _alive(started, but=process.pid):
            time.sleep(0.02)
        left = _alive(started, but=process.pid)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert left == []


def test_42_under_root_too_a_candidate_is_an_ordinary_user_with_a_process_limit(
    arena: Arena,
) -> None:
    body = """
    import os, resource
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    caps = [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    report([os.getuid(), os.geteuid(), resource.getrlimit(resource.RLIMIT_NPROC)[1],
            sum(int(value, 16) for value in caps), status["NoNewPrivs"].strip()])
    """
    uid, euid, processes, capabilities, no_new_privileges = arena.run(body).report
    assert uid != 0
    assert euid != 0
    assert processes == PROCESSES
    assert capabilities == 0
    assert no_new_privileges == "1"


def test_44_a_warm_process_with_threads_refuses_at_once_and_does_not_hang(
    warm: Probe, tmp_path: Path
) -> None:
    threaded = Arena(warm, tmp_path / "arena", threaded=True)
    try:
        began = time.monotonic()
        with pytest.raises(SetUpFailed, match="ThreadsError"):
            threaded.run("report('ran')")
        assert time.monotonic() - began < 2
    finally:
        threaded.close()


def _below(pid: int) -> Iterator[int]:
    """All descendants of a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents[int(entry.name)] = _parent(int(entry.name))
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return
        yield from sorted(more)
        found |= more


def _fields(pid: int) -> list[str]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else -1


def _birth(pid: int) -> str:
    fields = _fields(pid)
    return fields[19] if fields else ""


def _alive(started: dict[int, str], *, but: int) -> list[int]:
    """Those that still run; a zombie waits for its parent only."""
    alive = []
    for pid, birth in started.items():
        fields = _fields(pid)
        if pid != but and fields and fields[19] == birth and fields[0] != "Z":
            alive.append(pid)
    return alive
