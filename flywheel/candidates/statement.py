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
_FENCED = re.compile(r"^```.*?^```[ \t]*$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^(?:>>>|\$) .*$", re.MULTILINE)
_DIFF_HEAD = re.compile(r"(?:@@ .* @@|diff --git |--- \S|\+\+\+ \S)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?")


def statement(message: str, *, good: str, bad: str) -> str:
    """A commit's message as a description of the bug, without what gives the fix away.

    Trailers, code blocks and lines of diffs go; words of code that the fix brings (they stand in
    `good`, the fixed text, and nowhere in `bad`, the whole broken file) are hidden, unless they are
    plain lower-case English, which says nothing of code.
    """
    text = message.replace("\r\n", "\n")
    text = _PROMPT.sub("", _FENCED.sub("", _TRAILER.sub("", text)))
    text = "\n\n".join(block for block in re.split(r"\n[ \t]*\n", text) if not _is_diff(block))
    brought = set(_WORD.findall(good)) - set(_WORD.findall(bad))
    telling = {word for word in brought if not (word.isalpha() and word.islower())}

    def shown(found: re.Match[str]) -> str:
        return HIDDEN if found.group() in telling else found.group()

    return re.sub(r"\n{3,}", "\n\n", _WORD.sub(shown, text)).strip()


def _is_diff(block: str) -> bool:
    """True for lines of a diff: it has a head, or lines that go and lines that come.

    A list whose items begin with a dash is none.
    """
    lines = [line for line in block.splitlines() if line.strip()]
    if any(_DIFF_HEAD.match(line) for line in lines):
        return True
    signs = {line[0] for line in lines}
    return {"-", "+"} <= signs <= {"-", "+", " "}
