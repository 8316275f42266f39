"""Text of others as HTML and Markdown. What comes out of a repository is never obeyed.

Control characters are spelled out, and so are those that turn the direction of a line around: they
show code that is not what is run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_ADDED, _TAKEN, _PLACE = "rgba(0,114,178,.16)", "rgba(213,94,0,.16)", "rgba(128,128,128,.10)"
_MONO = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px;line-height:1.45"
_BOX = f"{_MONO};margin:0;padding:6px 8px;overflow:auto;max-height:28em;text-align:left"


def shown(text: str) -> str:
    """The text, with what nobody would see in it spelled out."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def text_of(text: str) -> str:
    """The text as HTML."""
    return html.escape(shown(text))


def block(text: str) -> str:
    """Lines as HTML, as they are."""
    return f'<pre style="{_BOX}">{text_of(text)}</pre>'


def diff(patch: str) -> str:
    """A unified diff as HTML: what is added on blue, what is taken away on orange."""
    lines = []
    for line in patch.splitlines():
        colour = {"+": _ADDED, "-": _TAKEN, "@": _PLACE}.get(line[:1], "transparent")
        if line.startswith(("+++ ", "--- ")):
            colour = _PLACE
        style = f"display:block;white-space:pre;background:{colour}"
        lines.append(f'<span style="{style}">{text_of(line) or " "}</span>')
    return f'<pre style="{_BOX}">{"".join(lines)}</pre>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML; its cells are HTML already."""
    cell = 'style="text-align:left;vertical-align:top"'
    top = "".join(f"<th {cell}>{text_of(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{one}</td>' for one in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def fold(title: str, inner: str, *, unfolded: bool = False) -> str:
    """HTML under a title that unfolds it."""
    return (
        f"<details{' open' if unfolded else ''}><summary><b>{text_of(title)}</b></summary>"
        f"{inner}</details>"
    )


def fence(text: str, language: str = "") -> str:
    """Lines as Markdown, in a fence that they do not close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{shown(text).rstrip()}\n{marks}"


def code_of(text: str) -> str:
    """A few words as Markdown's code, on one line."""
    line = " ".join(shown(text).split())
    marks = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    edge = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{marks}{edge}{line}{edge}{marks}"
