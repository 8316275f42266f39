"""Near duplicates: definitions that are nearly the same, found without comparing all with all.

Each text's runs of tokens are sketched (MinHash), sketches are cut into bands, and texts that agree
in a band are candidates (locality-sensitive hashing). Every pair of candidates is then compared
run by run, so nothing is called near that is not; what is missed is a pair that agrees in no band,
which at the usual threshold hardly ever happens (see `BANDS`).

Sources: Broder, On the resemblance and containment of documents (1997); Indyk and Motwani,
Approximate nearest neighbors (1998).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flywheel.curate.forest import Forest
from flywheel.curate.normal import Shingles

BANDS, ROWS = 32, 4
"""Bands of a sketch, and hashes in each: two texts that share a fraction s of their runs meet with
probability 1 - (1 - s^ROWS)^BANDS, which is 1 less 6e-11 at 0.85, and 0.87 at 0.5."""
CROWD, FEW = 64, 4
"""Texts that agree in a band and are compared all with all; of more, each is compared with the
first few, for that many agree because they are copies of one another."""
AT_ONCE = 512
"""Texts that are sketched together: their runs, some hundreds of kilobytes, stay in the
processor's cache through all of the hashes, which halves the time."""

_SEED = 20_261_122
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def families(runs: Shingles, near: float) -> NDArray[np.int64]:
    """For each text the least number of a text that it hangs together with by near duplicates."""
    forest = Forest(len(runs))
    for one, other in pairs(runs):
        if forest.root(one) != forest.root(other) and runs.similarity(one, other) >= near:
            forest.link(one, other)
    return forest.roots


def pairs(runs: Shingles) -> Iterator[tuple[int, int]]:
    """Pairs of texts that may be near duplicates; some come more than once."""
    filled = np.flatnonzero(np.diff(runs.starts))
    keys = _bands(runs, filled)
    for band in range(BANDS):
        order = np.argsort(keys[:, band], kind="stable")
        same = np.diff(keys[order, band]) == 0
        edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        for start, end in edges.reshape(-1, 2).tolist():
            crowd = filled[order[start : end + 1]].tolist()
            for place, one in enumerate(crowd):
                for other in crowd[: place if len(crowd) <= CROWD else min(place, FEW)]:
                    yield other, one


def _bands(runs: Shingles, filled: NDArray[np.int64]) -> NDArray[np.uint64]:
    """What each of these texts has in each band, as one number: `texts x BANDS`."""
    draw = np.random.default_rng(_SEED)
    odd = draw.integers(0, 2**63, (BANDS, ROWS, 2), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.zeros((len(filled), BANDS), dtype=np.uint64)
    for begin in range(0, len(filled), AT_ONCE):
        some = filled[begin : begin + AT_ONCE]
        values = runs.values[runs.starts[some[0]] : runs.starts[some[-1] + 1]]
        starts = runs.starts[some] - runs.starts[some[0]]
        hashed = np.empty_like(values)
        with np.errstate(over="ignore"):
            for band in range(BANDS):
                for factor, shift in odd[band]:
                    # Multiply-shift hashing: Dietzfelbinger and others (1997). The least of what
                    # is shifted is the least, shifted.
                    np.multiply(values, factor, out=hashed)
                    np.add(hashed, shift, out=hashed)
                    least = np.minimum.reduceat(hashed, starts) >> np.uint64(32)
                    keys[begin : begin + AT_ONCE, band] *= _FACTOR
                    keys[begin : begin + AT_ONCE, band] += least
    return keys
