"""Programs that use a store, run by the tests as processes of their own.

python processes.py COMMAND STORE [ARGUMENT …]
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conftest import BASELINE, judged

from flywheel.core.errors import FlywheelError
from flywheel.store import Store, examples, ingest, sql


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def write(store: Store, first: str, rows: str, seconds: str) -> None:
    """Store batches of `rows` and acknowledge each on stdout, until the time is over."""
    number = int(first)
    end = time.monotonic() + float(seconds)
    batches = 0
    while time.monotonic() < end:
        batch = [judged(number + one) for one in range(int(rows))]
        ingest(store, batch, baseline_id=BASELINE.baseline_id)
        number += int(rows)
        batches += 1
        say(acknowledged=number)
    say(batches=batches)


def read(store: Store, seconds: str) -> None:
    """Read over and over; say how often, and the longest wait."""
    end = time.monotonic() + float(seconds)
    reads, longest, last = 0, 0.0, 0
    while time.monotonic() < end:
        started = time.monotonic()
        count = int(sql(store, "SELECT count(*) FROM examples").item())
        assert count >= last, "an acknowledged row went away"
        examples(store, limit=3)
        last = count
        reads += 1
        longest = max(longest, time.monotonic() - started)
    say(reads=reads, longest=longest, rows=last)


def fill(store: Store, limit: str) -> None:
    """Write under a limit of the size of files, as a full disk would have it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    number = 0
    while True:
        ingest(
            store,
            [judged(number + one) for one in range(100)],
            baseline_id=BASELINE.baseline_id,
        )
        number += 100
        say(acknowledged=number)


def hold(store: Store, seconds: str) -> None:
    """Sit in a writing session."""
    with store.writing():
        say(holding=True)
        time.sleep(float(seconds))


def harvest(store: Store, repo: str, seconds: str) -> None:
    """Hold a harvest's lock."""
    with store.harvest_lock(repo):
        say(holding=True)
        time.sleep(float(seconds))


COMMANDS: dict[str, Callable[..., None]] = {
    "write": write,
    "read": read,
    "fill": fill,
    "hold": hold,
    "harvest": harvest,
}

if __name__ == "__main__":
    try:
        COMMANDS[sys.argv[1]](Store(Path(sys.argv[2])), *sys.argv[3:])
    except FlywheelError as error:
        say(error=type(error).__name__, message=error.message, cause=error.cause, hint=error.hint)
        sys.exit(3)
