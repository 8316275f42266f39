"""Files that a program wrote: what is wrong in one is mended in what it was made from.

Such a file says so in its first lines, in the words that its tool puts there. Names of files
(`*_pb2.py`) are the toolchain profile's business, not this module's.
"""

from __future__ import annotations

import re

LINES = 12
"""Lines in which a file says that it was generated."""
_SAYS = re.compile(
    rb"@generated\b"
    rb"|\b(?:auto(?:matically)?[- ]?|code |file )?generated\b.{0,200}?\b(?:do not|don'?t|never)"
    rb" (?:\w+ )?(?:edit|modify|change|touch)"
    rb"|\b(?:do not|don'?t|never) (?:\w+ )?(?:edit|modify|change).{0,200}?\bgenerated\b"
    rb"|\bgenerated\b.{0,300}?\bchanges\b.{0,40}?\bwill be (?:lost|overwritten)",
    re.IGNORECASE | re.DOTALL,
)
_MARKS = re.compile(rb"^[\s#/*;!\"'-]+", re.MULTILINE)


def is_generated(content: bytes) -> bool:
    """Whether a file says in its first lines that a program wrote it and people should not."""
    head = b"\n".join(content.split(b"\n", LINES)[:LINES])
    return _SAYS.search(_MARKS.sub(b" ", head)) is not None
