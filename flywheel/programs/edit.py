"""Edits: the short form of a mended definition, its wrong lines and what must stand there.

    -    return max(value, high)
    +    return min(value, high)

Writing only the wrong lines takes a small model a tenth of the words that the whole definition
would, and leaves the rest as it is. They are named by what they say: a number would have to be
chosen before anything of the line is written, and the smallest models copy another line behind it.
Nothing is escaped, and the new line stands right below the one that it is copied from.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.programs.lines import docstring_lines

LONGEST = 8
"""Lines of a definition that one edit may take away."""


LONGEST_NEW = 8
"""Lines that one edit may write, where a model is held to the form: it would go on for ever."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines of a definition that follow each other, and what stands in their place."""

    old: tuple[str, ...]
    """One at the least."""
    new: tuple[str, ...]
    """Empty where the old ones are dropped."""


def edit_between(bad: str, good: str) -> Edit | None:
    """The edit that makes one definition of the other, with as few lines as name their place.

    None where they are the same, or it would take away more than `LONGEST` lines.
    """
    old, new = bad.split("\n"), good.split("\n")
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    edits = [one for one in blocks if one[0] != "equal"]
    if not edits:
        return None
    start, stop = edits[0][1], edits[-1][2]
    # Lines that are only new stand with one that is there already, and so does a line that is there
    # twice. That above is taken first; a docstring above is not shown to who is to write it.
    hidden = docstring_lines(bad)
    above = below = 0
    while not _names(old[start - above : stop + below], old):
        if start - above > 0 and start - above not in hidden:
            above += 1
        elif stop + below < len(old):
            below += 1
        elif start - above > 0:
            above += 1
        else:
            return None
    first, last = start - above, stop + below
    if last - first > LONGEST:
        return None
    tail = len(old) - last
    return Edit(tuple(old[first:last]), tuple(new[first : len(new) - tail]))


def written(edit: Edit) -> str:
    """An edit as an answer says it."""
    return "\n".join([*(f"-{line}" for line in edit.old), *(f"+{line}" for line in edit.new)])


def read(answer: str) -> Edit | None:
    """The first edit of an answer, behind what is said before it; None where there is none."""
    old: list[str] = []
    new: list[str] = []
    for line in answer.split("\n"):
        if line.startswith("-") and not line.startswith("---") and not new:
            old.append(line[1:])
        elif line.startswith("+") and old:
            new.append(line[1:])
        elif old:
            break
    return Edit(tuple(old), tuple(new)) if old else None


def grammar(code: str) -> str:
    """What edits of a definition obey, as llama.cpp writes grammars (GBNF).

    Lines that are taken away are lines of it, but for its docstring's. Those that begin alike are
    read together: a server follows every way that is open, at every token.
    """
    lines = code.split("\n")
    said = docstring_lines(code)
    shown = [n for n in range(1, len(lines) + 1) if not said or not said[0] - 1 <= n <= said[-1]]
    starts = _one_of([(lines[n - 1], f"after{n}") for n in shown])
    rules = [f'root ::= "-" ({starts})', f'added ::= ("\\n+" [^\\n]*){{0,{LONGEST_NEW}}}']
    for n in shown:
        more = f" | {_literal(f'{chr(10)}-{lines[n]}')} after{n + 1}" if n + 1 in shown else ""
        rules.append(f"after{n} ::= added{more}")
    return "\n".join(rules)


def applied(edit: Edit, code: str) -> str | None:
    """The definition with the edit made, where its old lines stand first; None: nowhere.

    Their indentation may be another one: the new lines are moved as far as the first of them.
    """
    lines = code.split("\n")
    places = _places(edit.old, lines)
    if not places:
        return None
    first = places[0]
    said, meant = _indent(edit.old[0]), _indent(lines[first])
    new = list(edit.new)
    if said != meant:
        new = [meant + one.removeprefix(said) if one.strip() else one for one in new]
    return "\n".join([*lines[:first], *new, *lines[first + len(edit.old) :]])


def changes(edit: Edit, code: str) -> bool:
    """Whether an edit is of lines that are there, and makes other code."""
    return applied(edit, code) not in (None, code)


def _one_of(ways: Sequence[tuple[str, str]]) -> str:
    """One of some texts, each with the rule that goes on behind it."""
    parts = [rule for text, rule in ways if not text]
    for _, group in itertools.groupby(sorted(one for one in ways if one[0]), lambda one: one[0][0]):
        same = list(group)
        # Of what is sorted, what the first and the last begin with all begin with.
        both = zip(same[0][0], same[-1][0], strict=False)
        size = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))
        rest = _one_of([(text[size:], rule) for text, rule in same])
        parts.append(f"{_literal(same[0][0][:size])} ({rest})")
    return " | ".join(parts)


def _literal(text: str) -> str:
    """A text as grammars write it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for character, name in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        escaped = escaped.replace(character, name)
    return f'"{escaped}"'


def _places(block: tuple[str, ...] | list[str], lines: list[str]) -> list[int]:
    """Where a block stands, whatever its indentation; exactly as it is, if anywhere."""
    size = len(block)
    starts = range(len(lines) - size + 1)
    bare, wanted = [line.strip() for line in lines], [line.strip() for line in block]
    found = [start for start in starts if bare[start : start + size] == wanted]
    return sorted(found, key=lambda start: lines[start : start + size] != list(block))


def _names(block: list[str], lines: list[str]) -> bool:
    """Whether a block stands there, just so, once."""
    size = len(block)
    starts = range(len(lines) - size + 1)
    return size > 0 and sum(lines[one : one + size] == block for one in starts) == 1


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
