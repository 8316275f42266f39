"""Files of benchmarks: the code that others are measured by, as they publish it.

Of a table or of lines of JSON, a record is a problem: its `prompt` with its `canonical_solution`
where it has both, and each other field that is text. Of a Python file, each function is one.
"""

from __future__ import annotations

import ast
import gzip
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from flywheel.core.errors import UsageError
from flywheel.core.syntax import parse

_NAMES = ("task_id", "problem_id", "instance_id", "question_id", "id", "name")
"""Fields that name a record, the surest first."""
_PROMPT, _SOLUTION = "prompt", "canonical_solution"


@dataclass(frozen=True, slots=True)
class Problem:
    """A text of a benchmark."""

    function: str
    """What it is called there: the record's name, or its number; of a Python file, the function."""
    text: str
    """Code, or words."""


def read_benchmark(path: Path) -> list[Problem]:
    """The problems of a file; raises `UsageError` for one that is not there, or holds none."""
    kind = next((kind for kind in _READERS if path.name.endswith(kind)), None)
    if kind is None:
        raise _unreadable(path, f"a benchmark is a file that ends in {', '.join(_READERS)}")
    try:
        found = [one for one in _READERS[kind](path) if one.text.strip()]
    except (OSError, ValueError, SyntaxError, RecursionError, EOFError) as error:
        raise _unreadable(path, str(error)) from error
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, str(error).partition("\n")[0]) from error
    if not found:
        raise _unreadable(path, "no record of it has any text")
    return found


def _unreadable(path: Path, cause: str) -> UsageError:
    return UsageError(
        f"{path} cannot be read as a benchmark",
        cause=cause,
        hint="mend contamination.files of the recipe: its paths are relative to the recipe",
    )


def _lines(path: Path) -> Iterator[Problem]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    # Lines end where JSON's do: a text may hold whatever else Unicode ends a line with.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            yield from _problems(record, f"line {number}")


def _document(path: Path) -> Iterator[Problem]:
    match json.loads(path.read_bytes()):
        case list(records):
            for number, record in enumerate(records, 1):
                yield from _problems(record, f"record {number}")
        case dict(records) if any(isinstance(one, dict) for one in records.values()):
            for name, record in records.items():
                yield from _problems(record, name)
        case record:
            yield from _problems(record, "record 1")


def _table(path: Path) -> Iterator[Problem]:
    for number, record in enumerate(pl.read_parquet(path).iter_rows(named=True), 1):
        yield from _problems(record, f"row {number}")


def _functions(path: Path) -> Iterator[Problem]:
    source = path.read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a stranger's escape sequences
        tree = parse(source)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield Problem(node.name, ast.get_source_segment(source, node) or "")


def _problems(record: Any, place: str) -> Iterator[Problem]:  # JSON, as somebody wrote it
    match record:
        case str(text):
            yield Problem(place, text)
        case dict(fields):
            names = (fields[name] for name in _NAMES if isinstance(fields.get(name), str | int))
            name = str(next(names, place))
            texts = {key: one for key, one in fields.items() if isinstance(one, str)}
            if _PROMPT in texts and _SOLUTION in texts:
                yield Problem(name, texts.pop(_PROMPT) + texts.pop(_SOLUTION))
            yield from (Problem(name, one) for key, one in texts.items() if key not in _NAMES)
        case _:
            raise ValueError(f"{place} is neither an object nor a text")


_READERS: dict[str, Callable[[Path], Iterator[Problem]]] = {
    ".jsonl": _lines,
    ".jsonl.gz": _lines,
    ".json": _document,
    ".parquet": _table,
    ".py": _functions,
}
"""Ends of names, and what reads such files."""
