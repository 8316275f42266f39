"""How long a person waits before `flywheel` says anything. Run by `make bench` only."""

import statistics
import subprocess
import sys
import time

import pytest

ROUNDS = 15


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["config", "show"]], ids=" ".join)
def test_start_up(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "from flywheel.cli.main import main; main()", *arguments]
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    with capsys.disabled():
        print(
            f"\nflywheel {' '.join(arguments)}: median {statistics.median(times):.3f} s,"
            f" worst {max(times):.3f} s of {ROUNDS}"
        )
