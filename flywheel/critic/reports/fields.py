"""Fields of JSON objects that others wrote: of the kind that is wanted, or empty."""

from __future__ import annotations

from typing import Any


def word(entry: dict[str, Any], key: str) -> str:
    """The text of a field; empty for anything else."""
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def number(value: object) -> float:
    """A number, or the text of one, as a float; 0.0 for anything else."""
    try:
        return float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
