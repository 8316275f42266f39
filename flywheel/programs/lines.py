"""Lines of a definition, numbered from 1: how they are named, and which of them say nothing."""

from __future__ import annotations

import ast
import difflib

from flywheel.core.syntax import parse


def numbered(code: str) -> str:
    """A definition with the numbers of its lines."""
    return "\n".join(f"{n}: {line}" for n, line in enumerate(code.split("\n"), start=1))


def pattern(code: str) -> str:
    """What names lines of a definition, one or a run, as a regular expression.

    Few alternatives: a local server follows all of them at every token.
    """
    number = f"({'|'.join(_numbers(code.count(chr(10)) + 1))})"
    return f"^{number}(-{number})?$"


def wrong_lines(bad: str, good: str) -> str | None:
    """The lines that a fix changes, as `7` or `7-9`; None where nothing is changed.

    Where lines are missing it is the one that they follow, or the first.
    """
    old = bad.split("\n")
    matcher = difflib.SequenceMatcher(None, old, good.split("\n"), autojunk=False)
    edits = [one for one in matcher.get_opcodes() if one[0] != "equal"]
    if not edits:
        return None
    first, last = edits[0][1] + 1, edits[-1][2]
    if last < first:
        first = last = max(last, 1)
    return str(first) if first == last else f"{first}-{last}"


def docstring_lines(code: str) -> range:
    """Lines of the docstring but its first; none where the code does not parse."""
    try:
        node = parse(code).body[0]
    except (SyntaxError, ValueError, IndexError, RecursionError):
        return range(0)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return range(0)
    if ast.get_docstring(node, clean=False) is None:
        return range(0)
    said = node.body[0]
    return range(said.lineno + 1, (said.end_lineno or said.lineno) + 1)


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
