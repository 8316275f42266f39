"""Tokens a second of training and of serving a small model on this machine, side by side.

Training: one pass over some traces as `--optimizer bootstrap-finetune` learns from them (rows end
to end, what they begin with alike once, adapted weights computed as one), beside the usual way: the
same rows padded to batches, through PEFT's own layers. Both count the tokens of the traces alone,
and must find the same loss. Serving: the traces' questions, asked of the base, of the base two at a
time, and of base and an adapter in turn by one process.

    python tests/benchmarks/bench_train.py .flywheel/trainings/ID/traces.jsonl [--rows N]

Not part of the test suite: see docs/benchmarks.md for what each figure is.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Message, Profile, Purpose, Request, Role, local_file
from flywheel.optimize.finetune import Trace, TrainOptions, base_of, read_traces, train
from flywheel.optimize.finetune.base import Base
from flywheel.optimize.finetune.encode import Encoded, encoded
from flywheel.optimize.finetune.load import model_of, tokenizer_of
from flywheel.optimize.finetune.model import tuned
from flywheel.optimize.finetune.pack import packs

STUDENT = LMProfile(model="local", concurrency=2, timeout=900)
PADDED = 4
"""Rows of a padded batch: the usual number for a machine without a GPU."""
WRITTEN = 40
"""Tokens that an answer may have."""


def packed(base: Base, rows: Sequence[Encoded]) -> tuple[float, float]:
    """Loss a token, and seconds, of one pass as flywheel makes it."""
    model = tuned(base, TrainOptions())
    wanted = sum(one.learned for one in rows)
    model.learn(next(packs(rows[:2], tokens=2048, device=model.device)), of=wanted)
    began, total = time.monotonic(), 0.0
    for pack in packs(rows, tokens=TrainOptions().batch_tokens, device=model.device):
        total += model.learn(pack, of=wanted)
    return total / wanted, time.monotonic() - began


def padded(base: Base, rows: Sequence[Encoded]) -> tuple[float, float]:
    """The same with padding, and PEFT's own layers."""
    import torch
    from peft import LoraConfig, get_peft_model

    options = TrainOptions()
    torch.manual_seed(options.seed)
    names = [one.rpartition(".")[2] for one in options.targets]
    config = LoraConfig(
        r=options.rank, lora_alpha=options.alpha, target_modules=names, task_type="CAUSAL_LM"
    )
    model: Any = get_peft_model(model_of(base, "cpu"), config)
    model.train()

    def learn(some: Sequence[Encoded]) -> float:
        width = max(len(one.tokens) for one in some)
        tokens = torch.zeros(len(some), width, dtype=torch.long)
        there, labels = torch.zeros_like(tokens), torch.full_like(tokens, -100)
        for place, one in enumerate(some):
            size = len(one.tokens)
            tokens[place, :size] = torch.tensor(one.tokens)
            there[place, :size] = 1
            labels[place, one.start : size] = tokens[place, one.start : size]
        loss = model(input_ids=tokens, attention_mask=there, labels=labels).loss
        loss.backward()
        return float(loss.detach()) * sum(one.learned for one in some)

    learn(rows[:1])
    began, total = time.monotonic(), 0.0
    for start in range(0, len(rows), PADDED):
        total += learn(rows[start : start + PADDED])
    return total / sum(one.learned for one in rows), time.monotonic() - began


def served(
    engine: Engine, traces: Sequence[Trace], profiles: Sequence[str], *, at_once: int, sample: int
) -> str:
    """What asking all questions took: seconds, and tokens read and written a second.

    `sample` is another each time: what was asked before is not asked again.
    """

    def ask(numbered: tuple[int, Trace]) -> tuple[int, int]:
        number, trace = numbered
        system = "".join(one.text for one in trace.messages if one.role == "system")
        said = tuple(Message(one.role, one.text) for one in trace.messages if one.role != "system")
        request = Request(said, system, max_tokens=WRITTEN, temperature=0.0, sample=sample)
        purpose = Purpose(Role.STUDENT, "bench", profile=profiles[number % len(profiles)])
        usage = engine.ask(request, purpose).response.usage
        return usage.input_tokens, usage.output_tokens

    for place in range(len(profiles)):
        ask((place, traces[0]))
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(ask, enumerate(traces[1:])))
    seconds = time.monotonic() - began
    read, written = (sum(one[place] for one in found) for place in (0, 1))
    return f"{seconds:.1f} | {read / seconds:.0f} | {written / seconds:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--rows", type=int, default=48)
    asked = parser.parse_args()
    traces = [one for one in read_traces(asked.traces) if one.kept][: asked.rows]
    base = base_of(local_file(Profile("student", STUDENT)))
    rows = encoded(traces, tokenizer_of(base), longest=2048).rows
    tokens = sum(len(one.tokens) for one in rows)
    print(f"{len(rows)} traces, {tokens:,} tokens\n")
    print("| training | s | tokens/s | loss |\n|---|---|---|---|")
    took = {}
    for name, way in (("packed, as one", packed), ("padded, PEFT's layers", padded)):
        loss, took[name] = way(base, rows)
        print(f"| {name} | {took[name]:.1f} | {tokens / took[name]:.0f} | {loss:.4f} |", flush=True)
    first, second = took.values()
    print(f"\nratio {second / first:.2f}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = TrainOptions(epochs=1, max_seconds=math.ulp(1.0))
        adapter = train(traces[:1], [], base.path, options, folder / "t", adapters=folder / "a")
        profiles = {"base": STUDENT, "tuned": STUDENT.model_copy(update={"adapter": adapter.gguf})}
        journal = Journal(folder / "lm.sqlite")
        print("| serving | s | tokens read/s | tokens written/s |\n|---|---|---|---|")
        with Engine(profiles, journal) as engine:
            ways = (
                ("base", ["base"], 1),
                ("base, two at once", ["base"], 2),
                ("base and adapter in turn, two at once", ["base", "tuned"], 2),
            )
            for sample, (way, names, at_once) in enumerate(ways):
                figures = served(engine, traces, names, at_once=at_once, sample=sample)
                print(f"| {way} | {figures} |", flush=True)
        journal.close()


if __name__ == "__main__":
    main()
