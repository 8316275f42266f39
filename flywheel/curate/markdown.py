"""Markdown of what strangers wrote: names, code and errors that must stay what they are.

Nothing put through here can begin a tag, a link, a cell or a fence of its own, and a terminal that
shows it obeys none of its letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from flywheel.curate.picture import printable

_TICKS = re.compile("`+")
_LANGUAGE = re.compile(r"[A-Za-z0-9_+-]+")


def code(text: str) -> str:
    """A name in a line or a cell, as code."""
    shown = printable(text)
    if shown.strip() == shown and shown and not set(shown) & set("`|\\"):
        return f"`{shown}`"
    # A bar ends a cell and a backtick ends the code, however they are escaped somewhere.
    return f"<code>{''.join(one if one.isalnum() else f'&#{ord(one)};' for one in shown)}</code>"


def fenced(text: str, language: str = "") -> str:
    """Several lines as a block of code, in a fence that they do not hold."""
    shown = printable(text, lines=True)
    ticks = max((len(found) for found in _TICKS.findall(shown)), default=0)
    fence = "`" * max(3, ticks + 1)
    word = language if _LANGUAGE.fullmatch(language) else ""
    return f"{fence}{word}\n{shown.rstrip()}\n{fence}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """A table of cells that are Markdown; columns of numbers stand to the right."""
    found = [tuple(row) for row in rows]
    numbers = [
        bool(found) and all(isinstance(row[at], int) for row in found) for at in range(len(heads))
    ]
    lines = [heads, ["--:" if number else "---" for number in numbers]]
    lines += [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(summary: str, text: str) -> str:
    """A part that is closed until it is asked for."""
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"
