"""A commit's message as the statement of a bug: what a reader may know who must find the fix."""

from __future__ import annotations

import re

HIDDEN = "[…]"
"""Stands in a statement for a word that gives the fix away."""

_TRAILER = re.compile(
    r"^(?:signed-off-by|co-authored-by|reviewed-by|acked-by|change-id|git-svn-id|\(cherry picked)"
    r".*$",
    re.IGNORECASE | re.MULTILINE,
)
_BLOCK = re.compile(r"^```.*?^```\s*?$|^(?:[-+@]{1,3}|>>>|\$) .*$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?")


def statement(message: str, *, good: str, bad: str) -> str:
    """A commit's message as a description of the bug, without what gives the fix away.

    Trailers, code blocks and lines of diffs go; words of code that the fix brings (they stand in
    `good`, the fixed text, and nowhere in `bad`, the whole broken file) are hidden, unless they are
    plain lower-case English, which says nothing of code.
    """
    text = _BLOCK.sub("", _TRAILER.sub("", message))
    brought = set(_WORD.findall(good)) - set(_WORD.findall(bad))
    telling = {word for word in brought if not (word.isalpha() and word.islower())}

    def shown(found: re.Match[str]) -> str:
        return HIDDEN if found.group() in telling else found.group()

    return re.sub(r"\n{3,}", "\n\n", _WORD.sub(shown, text)).strip()
