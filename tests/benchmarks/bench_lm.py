"""What the engine costs a call, beside a backend that costs nothing: 64 calls under way at once.

    python tests/benchmarks/bench_lm.py [--calls 2000] [--under-way 64]

Prints one JSON object: milliseconds of wall time a call, new ones and kept ones, and the same calls
put to the bare backend.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flywheel.core.settings import LMProfile
from flywheel.lm import (
    Engine,
    Journal,
    Message,
    Profile,
    Purpose,
    Request,
    Response,
    Role,
    Secrets,
    Usage,
)

FOR = Purpose(Role.STUDENT, "bench", "run")
TEXT = "def f(a, b):\n    return a + b\n" * 40


class Free:
    """Answers at once."""

    def __init__(self, profile: Profile, secrets: Secrets) -> None:
        self.server = "free"
        self.slots = None

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        await asyncio.sleep(0)
        return Response(TEXT, "stop", Usage(500, 400), "free")

    def price(self, usage: Usage) -> float | None:
        return 0.0

    async def close(self) -> None:
        pass


def question(number: int) -> Request:
    return Request((Message("user", f"{number}\n{TEXT}"),), system=TEXT)


def asked(engine: Engine, calls: int) -> float:
    """Seconds to put so many questions and have their answers."""
    started = time.perf_counter()
    futures = [engine.submit(question(number), FOR) for number in range(calls)]
    for future in futures:
        future.result()
    return time.perf_counter() - started


async def bare(calls: int, under_way: int) -> float:
    backend, slots = Free(Profile("free", LMProfile(model="x/free")), Secrets({})), under_way
    gate = asyncio.Semaphore(slots)

    async def one(number: int) -> None:
        async with gate:
            await backend.complete(question(number))

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(calls)))
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--under-way", type=int, default=64)
    options = parser.parse_args()
    profiles = {"default": LMProfile(model="x/free", concurrency=options.under_way)}
    with tempfile.TemporaryDirectory(prefix="bench-lm-") as temporary:
        journal = Journal(Path(temporary) / "lm.sqlite")
        with Engine(profiles, journal, backends=Free, secrets=Secrets({})) as engine:
            new = asked(engine, options.calls)
            kept = asked(engine, options.calls)
        journal.close()
    alone = asyncio.run(bare(options.calls, options.under_way))
    each = 1000 / options.calls
    print(
        json.dumps(
            {
                "calls": options.calls,
                "under_way": options.under_way,
                "new_ms": round(new * each, 3),
                "kept_ms": round(kept * each, 3),
                "bare_ms": round(alone * each, 3),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
