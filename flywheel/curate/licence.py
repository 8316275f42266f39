"""Licences: whether a row may stand under the one that its repository declares.

An expression is put into SPDX's own spelling (`packaging`), then read: of `A OR B` one suffices, of
`A AND B` both are needed, and `A WITH E` is A with something more allowed. What a later version
allows may be chosen and need not: `A+` and `A-or-later` are allowed where A is.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

if TYPE_CHECKING:
    from flywheel.curate.recipe import Licence

Reason = Literal["unknown", "not-allowed", "not-spdx"]
"""Why a row may not stand: nobody says under which licence it is; under one that is not allowed;
what is said is no expression."""

LONGEST = 1_000
"""Characters of the longest expression that is read; whatever is longer is a licence's text."""

_NOBODY_SAYS = frozenset({"", "none", "noassertion", "unknown"})
"""What SPDX, or a tool that writes metadata, puts where there is no licence."""

_LATER = "-or-later"


def refused(expression: str | None, rules: Licence) -> Reason | None:
    """Why a row under this licence is dropped, None where it may stand."""
    if expression is None or expression.strip().lower() in _NOBODY_SAYS:
        return None if rules.unknown else "unknown"
    try:
        words = _spelled(expression)
    except InvalidLicenseExpression:
        return "not-spdx"
    return None if _Reading(words, frozenset(rules.allow)).whole() else "not-allowed"


def identifier(said: str, known: Iterable[str] = ()) -> str:
    """One licence, with its exception where it has one, as SPDX spells it today.

    Raises `ValueError` for what is none, with the nearest of the `known` ones.
    """
    try:
        words = _spelled(said)
        if not {"AND", "OR", "(", ")"}.intersection(words):
            return " ".join(words)
        problem = "one licence each, not an expression"
    except InvalidLicenseExpression:
        names = {name.lower(): name for name in known}
        near = difflib.get_close_matches(said.lower(), names, n=1)
        problem = f"did you mean {names[near[0]]!r}?" if near else "see spdx.org/licenses"
    raise ValueError(f"{said!r} is no SPDX identifier; {problem}")


def _spelled(expression: str) -> list[str]:
    """The words and brackets of an expression; raises `InvalidLicenseExpression`."""
    if len(expression) > LONGEST:
        raise InvalidLicenseExpression("too long")
    try:
        text = canonicalize_license_expression(expression)
    except InvalidLicenseExpression:
        # So Rust's packages wrote a choice before they wrote expressions.
        text = canonicalize_license_expression(expression.replace("/", " OR "))
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    return [_today(word) for word in words]


def _today(word: str) -> str:
    """GNU's licences of before 2018 said neither `only` nor `or later`."""
    if not word.lstrip("AL").startswith(("GPL-", "GFDL-")) or word.endswith("-only"):
        return word
    if word.endswith("+"):
        return word[:-1] + _LATER
    return word if not word[-1].isdigit() else f"{word}-only"


class _Reading:
    """An expression read from left to right: AND binds closer than OR, WITH closest."""

    def __init__(self, words: list[str], allowed: Collection[str]) -> None:
        self._words = words
        self._allowed = allowed
        self._place = 0

    def whole(self) -> bool:
        """Whether what is allowed suffices, to the end or to a closing bracket."""
        found = self._all()
        while self._took("OR"):
            # Read even where it is not needed: the place moves on.
            found = self._all() or found
        return found

    def _all(self) -> bool:
        found = self._one()
        while self._took("AND"):
            found = self._one() and found
        return found

    def _one(self) -> bool:
        if self._took("("):
            found = self.whole()
            self._place += 1
            return found
        licence = self._next()
        if self._took("WITH") and f"{licence} WITH {self._next()}" in self._allowed:
            return True
        return any(one in self._allowed for one in _choices(licence))

    def _next(self) -> str:
        self._place += 1
        return self._words[self._place - 1]

    def _took(self, word: str) -> bool:
        here = self._place < len(self._words) and self._words[self._place] == word
        self._place += here
        return here


def _choices(licence: str) -> tuple[str, ...]:
    """What stands for a licence: itself, and the version that it names where a later one may do."""
    if licence.endswith("+"):
        return (licence, licence[:-1])
    if licence.endswith(_LATER):
        return (licence, licence.removesuffix(_LATER) + "-only")
    return (licence,)
