"""Lines written anew: the short form of a mended definition.

Naming the wrong lines and writing only them takes a small model a tenth of the words that the
whole definition would, and leaves the rest as it is. Lines are numbered from 1 in the definition.
They are written as they are shown, number, colon and indentation: what is right is copied, and
nothing is escaped.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from dataclasses import dataclass

_NUMBERED = re.compile(r"[ \t]*(\d+)(?:-(\d+))?:(?: (.*)|(.*))$")
"""A line with its number, or with those of the lines in whose place it stands."""
LONGEST = 8
"""Lines of a definition that one change may name."""


@dataclass(frozen=True, slots=True)
class Change:
    """Some lines of a definition, and what stands in their place."""

    lines: str
    """`7` or `7-9`."""
    code: str
    """The new lines, without the indentation of the first old one; empty to drop the lines."""


def numbered(code: str) -> str:
    """A definition with the numbers of its lines."""
    return "\n".join(f"{n}: {line}" for n, line in enumerate(code.split("\n"), start=1))


def pattern(code: str) -> str:
    """What names lines of a definition, one or a run, as a regular expression.

    Few alternatives: a local server follows all of them at every token.
    """
    number = f"({'|'.join(_numbers(code.count(chr(10)) + 1))})"
    return f"^{number}(-{number})?$"


def written(change: Change, code: str) -> str:
    """A change of a definition as an answer says it: `7: new line`, `7-9: new lines`.

    Only the first of several new lines has a number. Raises `ValueError` where there are no such
    lines.
    """
    first = int(change.lines.partition("-")[0])
    old = code.split("\n")
    if not 1 <= first <= len(old):
        raise ValueError(f"there is no line {first}")
    new = _laid(change.code, _indent(old[first - 1]))
    return f"{change.lines}: " + "\n".join(new) if new else f"{change.lines}:"


def read(answer: str) -> Change | None:
    """The change that an answer says; None where it does not begin with a number.

    Where each line has its number, the change is of all those lines.
    """
    lines = answer.strip("\n").rstrip().split("\n")
    found = [_NUMBERED.match(line) for line in lines]
    start = found[0]
    if start is None:
        return None
    first, last = start[1], start[2] or start[1]
    numbered = [one for one in found if one is not None]
    if len(numbered) == len(lines) > 1:
        return Change(_named(first, numbered[-1][2] or numbered[-1][1]), _joined(numbered))
    return Change(_named(first, last), "\n".join([_rest(start), *lines[1:]]))


def applied(change: Change, code: str) -> str | None:
    """The definition with the change in it; None where there are no such lines."""
    old = code.split("\n")
    first, _, last = change.lines.strip().partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        return None
    start, stop = int(first), int(last or first)
    if not 1 <= start <= stop <= len(old):
        return None
    new = _laid(change.code, _indent(old[start - 1]))
    return "\n".join([*old[: start - 1], *new, *old[stop:]])


def change_between(bad: str, good: str) -> Change | None:
    """The change that makes one definition of the other, with as few lines as it takes.

    None where the form cannot say it: the definitions are the same, or the indentation of what is
    new cannot be told from the lines that it replaces.
    """
    old, new = bad.split("\n"), good.split("\n")
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    edits = [one for one in blocks if one[0] != "equal"]
    if not edits:
        return None
    start, stop = edits[0][1], edits[-1][2]
    new_start, new_stop = edits[0][3], edits[-1][4]
    choices = [(start, stop, new_start, new_stop)]
    if start == stop:
        # Lines that are only new stand with one that is there already: its line is written anew.
        choices = [
            (start - 1, stop, new_start - 1, new_stop),
            (start, stop + 1, new_start, new_stop + 1),
        ]
    for first, last, new_first, new_last in choices:
        if first < 0 or last > len(old) or new_last > len(new):
            continue
        indent = _indent(old[first])
        code = "\n".join(_without(new[new_first:new_last], indent))
        name = str(first + 1) if last == first + 1 else f"{first + 1}-{last}"
        change = Change(name, code)
        if last - first <= LONGEST and applied(change, bad) == good:
            return change
    return None


def _named(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"


def _rest(found: re.Match[str]) -> str:
    """What stands behind a number."""
    return found[3] if found[3] is not None else found[4]


def _joined(found: list[re.Match[str]]) -> str:
    return "\n".join(_rest(one) for one in found)


def _numbers(most: int) -> list[str]:
    """Patterns of the numbers from 1 to `most`, with as many digits as it has or fewer."""
    digits = str(most)
    found = ["[1-9]" + "[0-9]" * (length - 1) for length in range(1, len(digits))]
    for place, digit in enumerate(digits):
        least = 1 if place == 0 else 0
        last = int(digit) if place == len(digits) - 1 else int(digit) - 1
        if last >= least:
            rest = "[0-9]" * (len(digits) - place - 1)
            found.append(f"{digits[:place]}[{least}-{last}]{rest}")
    return found


def _laid(code: str, indent: str) -> list[str]:
    """New lines, indented as the old ones were."""
    text = textwrap.dedent(code.strip("\n"))
    if not text.strip():
        return []
    return [indent + line if line.strip() else line for line in text.split("\n")]


def _without(lines: list[str], indent: str) -> list[str]:
    return [line.removeprefix(indent) for line in lines]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
