"""A thousand calls through an outage: what is lost, what is paid twice, how often it is asked.

    python tests/benchmarks/bench_outage.py [--calls 1000] [--seconds 60]

A provider on loopback answers, fails with 529 for so long, and answers again. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Message, Purpose, Request, Role, Secrets

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fakes.provider import OK, Behaviour, provider

FOR = Purpose(Role.STUDENT, "bench", "run")
OUT = Behaviour(status=529, kind="overloaded_error", message="Overloaded")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    answered: Counter[str] = Counter()
    began = time.monotonic()

    def does(body: dict[str, Any]) -> Behaviour:
        # It goes out after a fifth of the answers.
        nonlocal out_at
        if len(answered) >= options.calls // 5 and out_at is None:
            out_at = time.monotonic()
        if out_at is not None and time.monotonic() - out_at < options.seconds:
            return OUT
        answered[body["messages"][-1]["content"]] += 1
        return OK

    out_at: float | None = None
    with provider(does) as served, tempfile.TemporaryDirectory(prefix="bench-outage-") as temporary:
        profile = LMProfile(
            model="anthropic/claude-sonnet-4-6", api_base=served.address, concurrency=32
        )
        journal = Journal(Path(temporary) / "lm.sqlite")
        secrets = Secrets({"ANTHROPIC_API_KEY": "none"})
        with Engine({"default": profile}, journal, secrets=secrets) as engine:
            futures = [
                engine.submit(Request((Message("user", str(number)),)), FOR)
                for number in range(options.calls)
            ]
            texts = [future.result().response.text for future in futures]
        calls = Counter(call.status for call in journal.calls())
        journal.close()
    print(
        json.dumps(
            {
                "calls": options.calls,
                "outage_seconds": options.seconds,
                "lost": sum(text != str(number) for number, text in enumerate(texts)),
                "paid_twice": sum(count > 1 for count in answered.values()),
                "ledger": dict(calls),
                "sent_in_vain": len(served.asked) - options.calls,
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
