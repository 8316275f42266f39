"""Words for people that depend on a count."""

from __future__ import annotations


def number(count: int, noun: str) -> str:
    """So many of something: `1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
