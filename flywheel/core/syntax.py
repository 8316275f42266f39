"""Python's own parser, for threads that parse side by side."""

from __future__ import annotations

import ast

_TRIES = 5
"""Until it is taken for what it says."""


def parse(source: str | bytes) -> ast.Module:
    """As `ast.parse`.

    CPython 3.11 counts in one place for all threads how deep the trees nest that it builds. Where
    garbage is collected in the midst of one, another thread may build its own, and the first is
    told of a mismatch with `SystemError`. That says nothing of the text: it is parsed again.

    Raises what `ast.parse` raises.
    """
    for _ in range(_TRIES - 1):
        try:
            return ast.parse(source)
        except SystemError:
            continue
    return ast.parse(source)
