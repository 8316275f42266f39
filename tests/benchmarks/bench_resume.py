"""What it costs to go on with a training that was stopped, beside beginning it.

The same traces three times: begun, up to its first step; stopped after some steps; gone on with, up
to its next step. What a stopped training loses besides are the steps after its last checkpoint, of
which there is one a minute at the least; what it takes to write one is measured too.

    python tests/benchmarks/bench_resume.py .flywheel/trainings/ID/traces.jsonl [--rows N]

Not part of the test suite: see docs/benchmarks.md for what each figure is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from flywheel.core.errors import Interrupted
from flywheel.core.settings import LMProfile
from flywheel.lm import Profile, local_file
from flywheel.optimize.finetune import Progress, Trace, TrainOptions, read_traces, train

STUDENT = LMProfile(model="local")
STEPS = 6
"""Steps after which it is stopped."""


class Clock:
    """Hears a training; stops it after a step."""

    def __init__(self, stop: int) -> None:
        self._stop = stop
        self.heard: list[float] = []
        """When each step ended."""
        self.began = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self.heard.append(time.monotonic())
        if progress.step == self._stop:
            raise KeyboardInterrupt


def ran(traces: list[Trace], base: Path, folder: Path, *, stop: int, every: int) -> Clock:
    """A training of this folder up to a step, with a checkpoint every so many."""
    clock = Clock(stop)
    options = TrainOptions(checkpoint_steps=every, checkpoint_seconds=3600)
    try:
        train(traces, [], base, options, folder, adapters=folder / "adapters", on_progress=clock)
    except Interrupted:
        return clock
    raise SystemExit(f"{len(traces)} traces are too few for {stop} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    asked = parser.parse_args()
    traces = [one for one in read_traces(asked.traces) if one.kept][: asked.rows]
    base = local_file(Profile("student", STUDENT))
    with tempfile.TemporaryDirectory() as name:
        ran(traces[:8], base, Path(name) / "warm", stop=1, every=1)
        begun = ran(traces, base, Path(name) / "one", stop=STEPS, every=STEPS)
        again = ran(traces, base, Path(name) / "one", stop=STEPS + 1, every=1)
        # The very same steps, with a checkpoint after each of them.
        often = ran(traces, base, Path(name) / "two", stop=STEPS, every=1)
        size = sum(one.stat().st_size for one in (Path(name) / "one").iterdir() if one.is_file())
    took = [late - early for early, late in zip(begun.heard, begun.heard[1:], strict=False)][:-1]
    slow = [late - early for early, late in zip(often.heard, often.heard[1:], strict=False)][:-1]
    step = sum(took) / len(took)
    print(f"{len(traces)} traces, {step:.2f} s a step of {TrainOptions().batch_rows} rows\n")
    print("| | s |\n|---|---|")
    print(f"| begun: until its first step ends | {begun.heard[0] - begun.began:.1f} |")
    print(f"| gone on with: until its next step ends | {again.heard[0] - again.began:.1f} |")
    print(f"| a checkpoint, {size / 1e6:.0f} MB | {sum(slow) / len(slow) - step:.2f} |")


if __name__ == "__main__":
    main()
