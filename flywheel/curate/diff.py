"""Differences between two versions: which rows came, went, moved or read otherwise, and why.

Rows are compared by what they say, a hash each, so two versions of a million rows fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flywheel.curate.version import Digest, Version


@dataclass(frozen=True, slots=True)
class Difference:
    """What the second version has otherwise than the first. Ids are those of rows, sorted."""

    added: tuple[str, ...]
    """Rows that only the second has."""
    removed: tuple[str, ...]
    """Rows that only the first has."""
    moved: dict[str, tuple[str, ...]]
    """Rows that are in another split, by `from -> to`."""
    changed: tuple[str, ...]
    """Rows of one split that read otherwise."""
    same: int
    """Rows that are equal."""
    rules: dict[str, tuple[Any, Any]]
    """Keys of the recipe that differ, with both values, None where one has no such key."""
    texts: bool
    """Whether the words of question or answer differ."""
    code: bool
    """Whether they were made by different code."""


def difference(first: Version, second: Version) -> Difference:
    """Compare two versions; raises `DatasetError` for a damaged one."""
    before, after = _rows(first), _rows(second)
    moved: dict[str, list[str]] = {}
    changed: list[str] = []
    same = 0
    for row in sorted(before.keys() & after.keys()):
        (split, text), (new_split, new_text) = before[row], after[row]
        if split != new_split:
            moved.setdefault(f"{split} -> {new_split}", []).append(row)
        elif text != new_text:
            changed.append(row)
        else:
            same += 1
    rules = {
        key: (said, other)
        for key, said, other in _differing(
            _flat(first.manifest.rules.model_dump(mode="json")),
            _flat(second.manifest.rules.model_dump(mode="json")),
        )
    }
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        moved={way: tuple(rows) for way, rows in sorted(moved.items())},
        changed=tuple(changed),
        same=same,
        rules=rules,
        texts=first.manifest.recipe != second.manifest.recipe and not rules,
        code=first.manifest.code != second.manifest.code,
    )


def _rows(version: Version) -> dict[str, tuple[str, str]]:
    """The split of each row, and a hash of what it says."""
    found = {}
    for split in version.splits:
        for batch in version.batches(split):
            for row in batch.to_pylist():
                digest = Digest()
                digest.add(row)
                found[row["row_id"]] = (split, digest.hex[:16])
    return found


def _flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        (key, first.get(key), second.get(key))
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]
