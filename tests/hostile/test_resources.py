"""What a candidate may use up."""

from __future__ import annotations

import textwrap
import time

import pytest
from arena import MEMORY_MB, PROCESSES, Arena

# Every bomb stops by itself well above the limit, and then waits to be found.
ROOM = 4 * MEMORY_MB


def test_11_a_fork_bomb_meets_eagain_and_the_wall(arena: Arena) -> None:
    body = f"""
    import errno, os, time
    made = 0
    while made < {4 * PROCESSES}:
        try:
            pid = os.fork()
        except OSError as error:
            report([made, errno.errorcode[error.errno]])
            break
        if pid == 0:
            try:
                os.fork()
            except OSError:
                pass
            time.sleep(60)
        made += 1
    time.sleep(60)
    """
    ended = arena.run(body, wall=1)
    assert ended.cause == "wall"
    made, error = ended.reports[0]
    assert error == "EAGAIN"
    assert made <= PROCESSES


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            """
            kept = []
            for _ in range({room}):
                kept.append(b"x" * (1 << 20))
            time.sleep(5)
            """,
            id="12_an_anonymous_memory_bomb",
        ),
        pytest.param(
            """
            import mmap
            area = mmap.mmap(-1, {room} << 20)
            for page in range(0, {room} << 20, 4096):
                area[page] = 1
            time.sleep(5)
            """,
            id="13_a_shared_mapping_bomb",
        ),
        pytest.param(
            """
            kept = []
            for number in range({room} // 4 - 1):
                if number >= 50:
                    break
                kept.append(os.memfd_create("bomb"))
                os.write(kept[-1], bytes(4 << 20))
            time.sleep(5)
            """,
            id="14_a_memfd_bomb",
        ),
        pytest.param(
            """
            for _ in range(20):
                if os.fork() == 0:
                    kept = b"x" * (30 << 20)
                    time.sleep(5)
                    os._exit(0)
            time.sleep(5)
            """,
            id="15_twenty_processes_of_30_mib",
        ),
    ],
)
def test_12_to_15_ends_with_a_memory_verdict_and_the_warm_process_lives(
    arena: Arena, body: str
) -> None:
    source = "import os, time\n" + textwrap.dedent(body).replace("{room}", str(ROOM))
    ended = arena.run(source, wall=3)
    assert ended.cause == "memory", ended
    assert arena.run("import os; report(os.getppid())").report == 0


def test_16_a_cpu_loop_that_ignores_its_signal_is_killed(arena: Arena) -> None:
    body = """
    import signal
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass
    """
    ended = arena.run(body, wall=6)
    assert ended.cause == "exited"
    assert ended.status == -9
    forever = body.replace("resource.setrlimit(resource.RLIMIT_CPU, (1, 1))", "")
    assert arena.run(forever, wall=0.5).cause == "wall"


@pytest.mark.parametrize(
    "body", ["import time; time.sleep(60)", "import os; os.kill(os.getpid(), 19)"]
)
def test_17_a_candidate_that_sleeps_or_stops_itself_meets_the_wall(arena: Arena, body: str) -> None:
    began = time.monotonic()
    assert arena.run(body, wall=0.5).cause == "wall"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("stream", [1, 2])
def test_23_a_flood_of_output_ends_with_an_output_verdict(arena: Arena, stream: int) -> None:
    ended = arena.run(f"import os\nwhile True: os.write({stream}, b'flood ' * 1000)")
    assert ended.cause == "output"
    assert ended.output.startswith("flood") or "flood" in ended.output
    assert ended.output_bytes <= 1 << 18


def test_23_a_flood_that_ends_by_itself_is_an_output_verdict_too(arena: Arena) -> None:
    assert arena.run("print('x' * (300 << 10))").cause == "output"
    assert arena.run("print('x' * (200 << 10))").cause == "exited"
