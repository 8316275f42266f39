"""Features: what is found out about rows and definitions once, and kept.

What was found out about a text stays true, so it is kept by the hash of the row's content and by
the code that found it. A second build looks at what is new, and one that was stopped goes on.
Twenty bugs share one good definition, so what is dear is asked of definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

PART = 20_000
"""Rows after which what was found out is kept."""
_CODE = ("features.py", "normal.py", "secrets.py", "forms.py")

_FOUND = pl.List(pl.Struct({"rule": pl.String, "kind": pl.String, "excerpt": pl.String}))
_ROWS: dict[str, pl.DataType] = {
    "content": pl.String(),
    "change": pl.String(),
    "changed_lines": pl.Int32(),
    "lines": pl.Int32(),
    "error_characters": pl.Int32(),
    "shown": pl.Boolean(),
    "found": _FOUND,
    "placeholders": pl.Int32(),
}
_DEFINITIONS: dict[str, pl.DataType] = {
    "definition": pl.String(),
    "normal": pl.String(),
    "found": _FOUND,
    "placeholders": pl.Int32(),
}

Progress = Callable[[int, int], None]
"""Is told how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a pool."""

    rows: pl.DataFrame
    """By example, in the order of the pool: `change` (what is taken away and put in its place,
    without white space and comments, and the lines about it, as a hash), `changed_lines`, `lines`
    (of the definition), `error_characters`, `shown` (whether the error names the changed file),
    `found` (secrets in the row's own texts), `placeholders` (what looks like one and is none)."""
    definitions: pl.DataFrame
    """By definition: `normal` (its normal form), `found` and `placeholders`."""


def features(rows: Path, definitions: Path, kept: Path, progress: Progress) -> Features:
    """What is known of the rows and definitions of a pool; `kept` is the folder it is kept in."""
    place = kept / code_hash(_CODE)
    total = sum(pq.read_metadata(path).num_rows for path in (rows, definitions))
    done = 0

    def told(number: int) -> None:
        nonlocal done
        done += number
        progress(done, total)

    of_rows = _Kept(place / "rows", "content", _ROWS).of(rows, _ROW_TEXTS, _row, told)
    names = ["definition", "language", "good"]
    kept_definitions = _Kept(place / "definitions", "definition", _DEFINITIONS)
    return Features(of_rows, kept_definitions.of(definitions, names, _definition, told))


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
        path: Path,
        columns: Sequence[str],
        find: Callable[[pa.RecordBatch], dict[str, list[object]]],
        told: Callable[[int], None],
    ) -> pl.DataFrame:
        """The records of the ids in a Parquet file, in its order; what is not known is found."""
        ids = pl.read_parquet(path, columns=[self._key])
        known = self._known().join(ids, on=self._key, how="semi")
        told(known.height)
        fresh: list[pl.DataFrame] = [known]
        waiting: list[pl.DataFrame] = []
        for batch in _missing(path, self._key, columns, known[self._key]):
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
    path: Path, key: str, columns: Sequence[str], known: pl.Series
) -> Iterator[pa.RecordBatch]:
    """The rows of a file whose ids are not known; row groups without any are not read."""
    there = set(known.to_list())
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=[key])[key].to_pylist()
            wanted = np.array([one not in there for one in ids])
            if wanted.any():
                table = file.read_row_group(group, columns=list(columns))
                yield from table.filter(pa.array(wanted)).combine_chunks().to_batches()


_ROW_TEXTS = [
    *("content", "language", "path", "bad", "patch", "error", "error_message"),
    *("test_source", "statement"),
]


def _row(batch: pa.RecordBatch) -> dict[str, list[object]]:
    columns = {name: batch[name].to_pylist() for name in batch.schema.names}
    found, placeholders = _screened(
        columns[name] for name in ("bad", "patch", "error", "test_source", "statement")
    )
    changes = [
        _change(patch, language)
        for patch, language in zip(columns["patch"], columns["language"], strict=True)
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
        "found": found,
        "placeholders": placeholders,
    }


def _definition(batch: pa.RecordBatch) -> dict[str, list[object]]:
    columns = {name: batch[name].to_pylist() for name in batch.schema.names}
    found, placeholders = _screened([columns["good"]])
    return {
        "definition": columns["definition"],
        "normal": [
            normal(good, language)
            for good, language in zip(columns["good"], columns["language"], strict=True)
        ],
        "found": found,
        "placeholders": placeholders,
    }


def _change(patch: str, language: str) -> tuple[str, int]:
    """What a patch changes, as a hash, and how many lines; see `Features.rows`.

    The line before and the line after tell two equal changes of one definition apart.
    """
    parts: list[str] = []
    changed = 0
    for hunk in hunks(patch):
        said = [(sign, " ".join(tokens(bare(text, language)))) for sign, text in hunk]
        code = [one for one in said if one[1] or one[0] != " "]
        places = [place for place, (sign, _) in enumerate(code) if sign != " "]
        changed += len(places)
        if places:
            about = code[max(0, places[0] - 1) : places[-1] + 2]
            parts += [f"{sign}{text}" for sign, text in about if text]
    return blake2b("\n".join(parts).encode(errors="replace"), digest_size=8).hexdigest(), changed


def _screened(
    columns: Iterator[list[str | None]] | list[list[str | None]],
) -> tuple[list[object], list[object]]:
    """Findings of each row in any of its texts, and how many are only placeholders."""
    found: dict[int, dict[tuple[str, str, str], None]] = {}
    placeholders: dict[int, int] = {}
    size = 0
    for texts in columns:
        size = len(texts)
        for row, some in screened([one or "" for one in texts]).items():
            for one in some:
                if one.placeholder:
                    placeholders[row] = placeholders.get(row, 0) + 1
                else:
                    found.setdefault(row, {})[_key(one)] = None
    names = ("rule", "kind", "excerpt")
    return (
        [[dict(zip(names, key, strict=True)) for key in found.get(row, ())] for row in range(size)],
        [placeholders.get(row, 0) for row in range(size)],
    )


def _key(one: Finding) -> tuple[str, str, str]:
    return one.rule, one.kind, one.excerpt
