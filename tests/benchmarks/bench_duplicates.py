"""Near duplicates of 10,000 definitions: `families` beside datasketch, beside comparing all pairs.

    uv pip install --target build/datasketch 'datasketch>=2,<3'
    PYTHONPATH=build/datasketch python tests/benchmarks/bench_duplicates.py [--count 10000]

Two corpora, one invented and one of the functions of the standard library and of what is
installed; of each a tenth are copies with one to six names or numbers changed. All ways get the
same normal forms and the same runs of tokens. The truth is the exact similarity of every pair that
shares a run, by an inverted index. Comparing all pairs is timed on a share of them (`--all-pairs 1`
for all).
`--scale 50000,100000` measures `families` alone on so many, each in a process of its own. Prints
tables in Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import site
import sysconfig
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from flywheel.curate import Shingles, families, normal, shingles
from flywheel.curate.duplicates import pairs
from flywheel.curate.forest import Forest
from tests.fakes.definitions import function, function_name, functions_of

NEAR, RUN, PERMUTATIONS = 0.85, 5, 128
COPIES = 0.1
"""Share of a corpus that is copies with edits."""
BINS = (0.80, 0.85, 0.875, 0.90, 0.95, 1.0)
_WORD = re.compile(r"\b(?:[a-z_]{3,}|\d+)\b")

Pairs = dict[tuple[int, int], float]


@dataclass(frozen=True, slots=True)
class Found:
    """What one way came to."""

    name: str
    seconds: float
    """From runs of tokens to pairs or families; processor time of this process."""
    pairs: set[tuple[int, int]]
    """Pairs that it calls near."""
    compared: int
    """Pairs that were compared run by run."""


# --- corpora ----------------------------------------------------------------------------------


def invented(draw: Random) -> Iterator[str]:
    while True:
        yield function(draw, function_name(draw), "python")


def installed(draw: Random) -> Iterator[str]:
    """Functions of the standard library and of packages, in the order of a draw."""
    folders = {Path(sysconfig.get_path("stdlib")), *map(Path, site.getsitepackages())}
    files = sorted({file for folder in folders for file in folder.rglob("*.py")})
    draw.shuffle(files)
    for file in files:
        if file.stat().st_size < 400_000:
            text = file.read_text(encoding="utf-8", errors="replace")
            yield from (code for _, code in functions_of(text))


def edited(code: str, draw: Random) -> str:
    """With one to six words or numbers of the body changed: similarities from 0.5 to 0.99."""
    head, _, body = code.partition("\n")
    places = list(_WORD.finditer(body))
    for place in sorted(
        draw.sample(places, min(len(places), draw.randint(1, 6))), key=lambda one: -one.start()
    ):
        new = str(draw.randint(2000, 9999)) if place[0].isdigit() else f"other_{place[0]}"
        body = body[: place.start()] + new + body[place.end() :]
    return f"{head}\n{body}"


def corpus(codes: Iterator[str], count: int, draw: Random) -> list[str]:
    """Normal forms, all different."""
    forms: dict[str, None] = {}
    for code in codes:
        one = normal(code, "python")
        if one not in forms:
            forms[one] = None
            if draw.random() < COPIES / (1 - COPIES):
                forms[normal(edited(code, draw), "python")] = None
        if len(forms) >= count:
            break
    made = list(forms)[:count]
    draw.shuffle(made)
    return made


# --- ways -------------------------------------------------------------------------------------


def exact(runs: Shingles, least: float) -> Pairs:
    """Every pair that is at least so similar, by an inverted index: nothing is missed."""
    holders: defaultdict[int, list[int]] = defaultdict(list)
    found: Pairs = {}
    sizes = np.diff(runs.starts)
    for text in range(len(runs)):
        values = runs.of(text).tolist()
        lists = [there for value in values if (there := holders.get(value))]
        if lists:
            common = np.bincount(np.concatenate([np.array(one) for one in lists]))
            others = np.flatnonzero(common)
            both = common[others]
            share = both / (sizes[others] + sizes[text] - both)
            for other, value in zip(others[share >= least], share[share >= least], strict=True):
                found[int(other), text] = float(value)
        for value in values:
            holders[value].append(text)
    return found


def ours(runs: Shingles) -> Found:
    began = time.process_time()
    families(runs, NEAR)
    seconds = time.process_time() - began
    candidates = set(pairs(runs))
    near = {pair for pair in candidates if runs.similarity(*pair) >= NEAR}
    return Found("flywheel", seconds, near, len(candidates))


def datasketch(runs: Shingles, *, strings: bool, verified: bool) -> Found:
    """As its documentation shows; `strings`: with its own hash of bytes, else with ours."""
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

    texts: list[list[bytes]] | list[list[int]]
    if strings:
        texts = [[value.to_bytes(8) for value in runs.of(one).tolist()] for one in range(len(runs))]
        hashed = {}
    else:
        low = runs.values >> np.uint64(32)
        texts = [low[a:b].tolist() for a, b in zip(runs.starts, runs.starts[1:], strict=False)]
        hashed = {"hashfunc": int}
    began = time.process_time()
    index = MinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS)
    sketches = list(MinHash.generator(texts, num_perm=PERMUTATIONS, seed=1, **hashed))
    near: set[tuple[int, int]] = set()
    compared = 0
    for number, sketch in enumerate(sketches):
        for other in index.query(sketch):
            compared += 1
            if not verified or runs.similarity(other, number) >= NEAR:
                near.add((other, number))
        index.insert(number, sketch)
    seconds = time.process_time() - began
    name = f"datasketch{', own hash' if strings else ''}{', verified' if verified else ''}"
    return Found(name, seconds, near, compared)


def all_pairs(runs: Shingles, share: float) -> tuple[float, float]:
    """Seconds of comparing each with each as Python sets, and the share that was timed."""
    sets = [frozenset(runs.of(one).tolist()) for one in range(len(runs))]
    chosen = range(0, len(sets), max(1, round(1 / share)))
    began, done = time.process_time(), 0
    for text in chosen:
        one = sets[text]
        for other in sets[:text]:
            both = len(one & other)
            if both and both >= NEAR * (len(one) + len(other) - both):
                done += 1
    total = len(sets) * (len(sets) - 1) / 2
    timed = sum(chosen) / total
    return (time.process_time() - began) / timed, timed


# --- telling ----------------------------------------------------------------------------------


def in_families(found: Iterable[tuple[int, int]], count: int) -> NDArray[np.int64]:
    forest = Forest(count)
    forest.link_pairs(found)
    return forest.roots


def tell(title: str, forms: Sequence[str], share: float) -> None:
    began = time.process_time()
    runs = shingles(forms, RUN)
    shingling = time.process_time() - began
    truth = exact(runs, BINS[0])
    near = {pair for pair, value in truth.items() if value >= NEAR}
    counts = [sum(low <= one < high for one in truth.values()) for low, high in bins()]
    print(f"\n### {title}: {len(forms):,} definitions, {len(runs.values):,} runs of {RUN} tokens\n")
    print(f"Runs of tokens: {shingling:.2f} s. Pairs by similarity: ", end="")
    told = (f"{low:g} to {high:g}: {n}" for (low, high), n in zip(bins(), counts, strict=True))
    print("; ".join(told) + f". Near (from {NEAR}): {len(near)}.\n")
    ways: list[Callable[[], Found]] = [partial(ours, runs)]
    for strings in (False, True):
        more = (partial(datasketch, runs, strings=strings, verified=one) for one in (False, True))
        ways.extend(more)
    results: list[Found] = []
    for way in ways:
        try:
            results.append(way())
        except ImportError:
            print("datasketch is not installed: see the head of this file.\n")
            break
    base = results[0].seconds
    right = in_families(near, len(runs))
    print(
        "| way | s | times | compared | recall | precision |"
        + "".join(f" {low:g}-{high:g} |" for low, high in bins()[1:])
        + " families right |\n|---|---:|---:|---:|---:|---:|"
        + "---:|" * len(bins()[1:])
        + "---:|"
    )
    for one in results:
        hit = one.pairs & near
        by_bin = []
        for low, high in bins()[1:]:
            there = {pair for pair in near if low <= truth[pair] < high}
            by_bin.append(f"{len(there & one.pairs)}/{len(there)}")
        same = float(np.mean(in_families(one.pairs, len(runs)) == right))
        print(
            f"| {one.name} | {one.seconds:.2f} | {one.seconds / base:.1f} | {one.compared} "
            f"| {len(hit) / len(near):.4f} | {len(hit) / max(1, len(one.pairs)):.4f} "
            f"| {' | '.join(by_bin)} | {same:.2%} |",
            flush=True,
        )
    wrong = int(np.sum(families(runs, NEAR) != right))
    seconds, timed = all_pairs(runs, share)
    print(f"| all pairs ({timed:.1%} timed) | {seconds:.0f} | {seconds / base:.0f} |" + " |" * 9)
    print(f"\nDefinitions that `families` puts elsewhere than the truth: {wrong}.")


def bins() -> list[tuple[float, float]]:
    highest = np.nextafter(BINS[-1], 2)
    return list(zip(BINS, (*BINS[1:-1], float(highest)), strict=False))


def at_scale(count: int) -> None:
    """Print what so many cost; the memory is what this process had at the most."""
    forms = corpus(invented(Random(count)), count, Random(count))
    before = peak()
    began = time.process_time()
    runs = shingles(forms, RUN)
    middle = time.process_time()
    roots = families(runs, NEAR)
    ended = time.process_time()
    print(
        f"| {count:,} | {len(runs.values):,} | {middle - began:.1f} | {ended - middle:.1f} "
        f"| {len(set(roots.tolist())):,} | {before:.0f} | {peak():.0f} |",
        flush=True,
    )


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--all-pairs", type=float, default=0.02, help="share that is timed")
    parser.add_argument("--scale", default="", help="numbers of definitions, with commas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.scale:
        print("| definitions | runs | runs s | families s | families | MiB before | MiB peak |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for count in map(int, options.scale.split(",")):
            process = multiprocessing.get_context("spawn").Process(target=at_scale, args=(count,))
            process.start()
            process.join()
        return 0
    for title, codes in (("Invented", invented), ("Installed", installed)):
        draw = Random(options.seed)
        tell(title, corpus(codes(draw), options.count, draw), options.all_pairs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
