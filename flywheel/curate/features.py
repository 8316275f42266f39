"""Features: what is found out about rows and definitions once, and kept.

What was found out about a text stays true, so it is kept by the hash of the row's content and by
the code that found it. A second build looks at what is new, and one that was stopped goes on.
Twenty bugs share one good definition, so what is dear is asked of definitions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.patch import hunks
from flywheel.curate.normal import bare, normal, tokens
from flywheel.curate.secrets import Finding, screened
from flywheel.store.pool import Pool

PART = 20_000
"""Rows after which what was found out is kept."""
_CODE = ("features.py", "normal.py", "secrets.py", "forms.py", "../core/patch.py")

_ROWS: dict[str, pl.DataType] = {
    "content": pl.String(),
    "change": pl.String(),
    "changed_lines": pl.Int32(),
    "lines": pl.Int32(),
    "error_characters": pl.Int32(),
    "shown": pl.Boolean(),
    "key": pl.Boolean(),
    "personal": pl.Boolean(),
    "found": pl.String(),
}
_DEFINITIONS: dict[str, pl.DataType] = {
    "definition": pl.String(),
    "normal": pl.String(),
    "key": pl.Boolean(),
    "personal": pl.Boolean(),
    "found": pl.String(),
}

Progress = Callable[[int, int], None]
"""Is told how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a pool."""

    rows: pl.DataFrame
    """By example, in the order of the pool: `change` (what is taken away and put in its place,
    without white space and comments, and at which of equal places), `changed_lines`, `lines`
    (of the definition), `error_characters`, `shown` (whether the error names the changed file),
    `key` and `personal` (whether its own texts hold such), `found` (what they hold, placeholders
    too, each masked: a list in JSON, or null)."""
    definitions: pl.DataFrame
    """By definition: `normal` (its normal form), and `key`, `personal` and `found` of its own."""


def features(pool: Pool, kept: Path, progress: Progress) -> Features:
    """What is known of the rows and definitions of a pool; `kept` is the folder it is kept in."""
    place = kept / code_hash(_CODE)
    files = [*pool.rows, pool.definitions]
    total = sum(pq.read_metadata(path).num_rows for path in files)
    done = 0

    def told(number: int) -> None:
        nonlocal done
        done += number
        progress(done, total)

    of_rows = _Kept(place / "rows", "content", _ROWS).of(pool.rows, _ROW_TEXTS, _row, told)
    names = ["definition", "language", "good"]
    kept_definitions = _Kept(place / "definitions", "definition", _DEFINITIONS)
    return Features(of_rows, kept_definitions.of([pool.definitions], names, _definition, told))


def code_hash(files: Sequence[str]) -> str:
    """Hash of the code in files of this folder: what it gives may be otherwise when it changes."""
    here = Path(__file__).parent
    return content_hash([bytes_hash((here / file).read_bytes()) for file in files])


class _Kept:
    """Records by id in a folder, a file for every `PART` of them."""

    def __init__(self, folder: Path, key: str, schema: dict[str, pl.DataType]) -> None:
        self._folder = folder
        self._key = key
        self._schema = schema

    def of(
        self,
        files: Sequence[Path],
        columns: Sequence[str],
        find: Callable[[pa.RecordBatch], dict[str, list[object]]],
        told: Callable[[int], None],
    ) -> pl.DataFrame:
        """The records of the ids in Parquet files, in their order; what is not known is found."""
        ids = pl.read_parquet(list(files), columns=[self._key])
        known = self._known().join(ids, on=self._key, how="semi")
        told(known.height)
        fresh: list[pl.DataFrame] = [known]
        waiting: list[pl.DataFrame] = []
        for batch in _missing(files, self._key, columns, known[self._key]):
            waiting.append(pl.DataFrame(find(batch), schema=self._schema))
            told(batch.num_rows)
            if sum(one.height for one in waiting) >= PART:
                fresh.append(self._keep(waiting))
        if waiting:
            fresh.append(self._keep(waiting))
        whole = pl.concat(fresh)
        return ids.join(whole, on=self._key, how="left", maintain_order="left")

    def _known(self) -> pl.DataFrame:
        found = [pl.DataFrame(schema=self._schema)]
        for part in sorted(self._folder.glob("*.parquet")):
            # One that was damaged is found anew.
            with suppress(OSError, pl.exceptions.PolarsError):
                found.append(
                    pl.read_parquet(part).select(list(self._schema)).cast(pl.Schema(self._schema))
                )
        return pl.concat(found).unique(self._key, keep="any")

    def _keep(self, waiting: list[pl.DataFrame]) -> pl.DataFrame:
        frame = pl.concat(waiting)
        waiting.clear()
        name = content_hash([frame[self._key][0], frame[self._key][-1], frame.height])
        self._folder.mkdir(parents=True, exist_ok=True)
        made = self._folder / f".{name}.new"
        frame.write_parquet(made)
        made.replace(self._folder / f"{name}.parquet")
        return frame


def _missing(
    files: Sequence[Path], key: str, columns: Sequence[str], known: pl.Series
) -> Iterator[pa.RecordBatch]:
    """The rows of files whose ids are not known; row groups without any are not read."""
    there = set(known.to_list())
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=[key])[key].to_pylist()
                wanted = np.array([one not in there for one in ids], dtype=bool)
                if wanted.any():
                    table = file.read_row_group(group, columns=list(columns))
                    yield from table.filter(pa.array(wanted)).combine_chunks().to_batches()


_ROW_TEXTS = [
    *("content", "language", "path", "bad", "good", "patch", "error"),
    *("test_source", "statement"),
]


def _row(batch: pa.RecordBatch) -> dict[str, list[object]]:
    columns = {name: batch[name].to_pylist() for name in batch.schema.names}
    texts = [columns[name] for name in ("bad", "patch", "error", "test_source", "statement")]
    changes = [
        _change(patch, language, bad, good)
        for patch, language, bad, good in zip(
            columns["patch"], columns["language"], columns["bad"], columns["good"], strict=True
        )
    ]
    return {
        "content": columns["content"],
        "change": [one for one, _ in changes],
        "changed_lines": [number for _, number in changes],
        "lines": [one.count("\n") + 1 for one in columns["bad"]],
        "error_characters": [len(one) for one in columns["error"]],
        "shown": [
            path in error for path, error in zip(columns["path"], columns["error"], strict=True)
        ],
        **_screened(texts),
    }


def _definition(batch: pa.RecordBatch) -> dict[str, list[object]]:
    columns = {name: batch[name].to_pylist() for name in batch.schema.names}
    return {
        "definition": columns["definition"],
        "normal": [
            normal(good, language)
            for good, language in zip(columns["good"], columns["language"], strict=True)
        ],
        **_screened([columns["good"]]),
    }


def _change(patch: str, language: str, bad: str, good: str) -> tuple[str, int]:
    """What a patch changes, as a hash, and how many lines; see `Features.rows`."""
    parts: list[str] = []
    changed = 0
    for hunk in hunks(patch):
        changed += sum(sign != " " for sign, _ in hunk)
        for sign, text in hunk:
            if sign != " " and (said := " ".join(tokens(bare(text, language)))):
                parts.append(sign + said)
        parts.append(str(_occurrence(hunk, "+", good) or _occurrence(hunk, "-", bad)))
    return blake2b("\n".join(parts).encode(errors="replace"), digest_size=8).hexdigest(), changed


def _occurrence(hunk: list[tuple[str, str]], side: str, code: str) -> int:
    """Which of several equal places of a definition a hunk is about, counted from 0."""
    kept = [(sign, text.strip()) for sign, text in hunk if sign in (" ", side)]
    places = [place for place, (sign, _) in enumerate(kept) if sign == side]
    if not places:
        return 0
    lines = [line.strip() for line in code.split("\n")]
    first = places[0]
    matching = [place for place, line in enumerate(lines) if line == kept[first][1]]
    about = [text for _, text in kept[max(0, first - 1) : first + 2]]
    for number, place in enumerate(matching):
        if lines[max(0, place - min(first, 1)) : place + 2] == about:
            return number
    return 0


def _screened(columns: Sequence[Sequence[str | None]]) -> dict[str, list[object]]:
    """What rows hold in any of their texts, a column each."""
    size = len(columns[0])
    held: list[dict[str, Finding]] = [{} for _ in range(size)]
    for texts in columns:
        for row, some in screened([one or "" for one in texts]).items():
            held[row].update((f"{one.rule} {one.excerpt}", one) for one in some)
    return {
        **{
            kind: [
                any(one.kind == kind and not one.placeholder for one in some.values())
                for some in held
            ]
            for kind in ("key", "personal")
        },
        "found": [_listed(some.values()) if some else None for some in held],
    }


def _listed(found: Iterable[Finding]) -> str:
    names = ("rule", "kind", "excerpt", "placeholder")
    return json.dumps([{name: getattr(one, name) for name in names} for one in found])
