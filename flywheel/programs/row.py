"""A row of a dataset, as programs see it: the case to be solved, and its fields by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flywheel.curate import Version
from flywheel.programs.case import Case

FIELDS = (
    "bad",
    "good",
    "error",
    "error_type",
    "error_message",
    "path",
    "symbol",
    "language",
    "test_source",
    "patch",
    "statement",
    "repo",
)
"""Names that a program may take as inputs. All are texts, empty where nothing is known."""

_RELEASE = re.compile(r"^(pypi:[^=]+)==.*$")
_OF_THE_CASE = ("example_id", "language", "path", "symbol", "bad", "good", "error", "patch")


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    case: Case
    """The bug, its fix and its error, as metrics see them."""
    fields: Mapping[str, str]
    """Each of `FIELDS`; empty where nothing is known."""

    @property
    def id(self) -> str:
        """Identity of the example."""
        return self.case.example_id

    @property
    def definition(self) -> str:
        """What it is a bug of, in whichever release: rows of one definition are mended alike."""
        said = self.fields
        return "\0".join((_RELEASE.sub(r"\1", said["repo"]), said["path"], said["symbol"]))

    def inputs(self, names: tuple[str, ...]) -> dict[str, str]:
        """The fields of these names, as a program is called with them."""
        return {name: self.fields[name] for name in names}


def rows_of(version: Version, split: str) -> Iterator[Row]:
    """The rows of a split, one for each example, in the order of the file."""
    columns = tuple(dict.fromkeys((*_OF_THE_CASE, *FIELDS)))
    seen: set[str] = set()
    for batch in version.batches(split, columns):
        for line in batch.to_pylist():
            if line["example_id"] not in seen:
                seen.add(line["example_id"])
                yield _row(line)


def _row(line: Mapping[str, Any]) -> Row:
    case = Case(
        **{name: line[name] or "" for name in _OF_THE_CASE}, test_source=line["test_source"] or None
    )
    return Row(case, {name: line[name] or "" for name in FIELDS})
