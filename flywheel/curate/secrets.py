"""Secrets: keys, tokens, passwords, and what belongs to a person, as they stand in a text.

A finding says where it is and shows no more than its beginning. A placeholder is told apart and not
left out: whoever reads a report sees what was passed over, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from flywheel.curate.forms import FORMS, Form, Kind, secret_group

SHOWN = 4
"""Characters of a secret that are shown, of a short one a quarter."""
AT_ONCE = 50_000
"""Texts that are looked through together: what is held in memory beside them."""

_SIGNS = "|".join(f"(?:{form.sign})" for form in FORMS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret in a text, or what stands in for one."""

    rule: str
    """Name of its form."""
    kind: Kind
    """`key` for what opens a door, `personal` for what belongs to a person."""
    start: int
    """Where it begins, in characters."""
    end: int
    """Where it ends."""
    placeholder: bool
    """Whether it only stands in for one: an example, a template, an address for documentation."""
    excerpt: str
    """Its first characters and its length: what a report may say."""


def findings(text: str) -> tuple[Finding, ...]:
    """The secrets of a text, in their order; none overlaps another."""
    return _found(text, FORMS)


def screened(texts: Sequence[str]) -> dict[int, tuple[Finding, ...]]:
    """The findings of those of many texts that have some, by their number.

    Says what `findings` says; a text without any form's sign costs next to nothing.
    """
    made: dict[int, tuple[Finding, ...]] = {}
    for begin in range(0, len(texts), AT_ONCE):
        some = pl.Series(texts[begin : begin + AT_ONCE], dtype=pl.String)
        numbers = some.str.contains(_SIGNS).arg_true()
        some = some.gather(numbers)
        signed: list[list[Form]] = [[] for _ in numbers]
        for form in FORMS:
            for place in some.str.contains(form.sign).arg_true():
                signed[place].append(form)
        for number, text, forms in zip(numbers, some, signed, strict=True):
            if found := _found(text, forms):
                made[begin + number] = found
    return made


def _found(text: str, forms: Sequence[Form]) -> tuple[Finding, ...]:
    made: list[Finding] = []
    for form in forms:
        for found in form.pattern.finditer(text):
            start, end = found.span(secret_group(found))
            if any(start < one.end and one.start < end for one in made):
                continue
            judgement = form.judge(found)
            if judgement != "no":
                shown = masked(text[start:end])
                placeholder = judgement == "placeholder"
                made.append(Finding(form.name, form.kind, start, end, placeholder, shown))
    return tuple(sorted(made, key=lambda one: one.start))


def masked(value: str) -> str:
    """What a report may say of a secret."""
    return f"{value[: min(SHOWN, len(value) // 4)]}… ({len(value)} characters)"
