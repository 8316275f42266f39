"""Composition: a row becomes a question and an answer, in the words of its recipe.

The texts are the files beside the recipe, with `{name}` for what the row holds. They are put in as
they are and never read as templates themselves: code is full of braces.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from flywheel.core.errors import UsageError
from flywheel.core.patch import hunks
from flywheel.curate.recipe import AGAIN, ANSWER, PROMPT, Recipe

FIELDS = (
    *("symbol", "path", "language", "repo", "bad", "good", "error", "error_type"),
    *("error_message", "test_id", "test_source", "failing_tests", "operator", "statement"),
    *("patch", "changes", "difficulty"),
)
"""What a text may name."""

ANSWERED_BY_GOOD = frozenset({"repair", "preference", "multiturn"})
"""Tasks whose answer is the right code."""
ASKED = tuple(name for name in FIELDS if name not in ("good", "patch", "changes"))
"""What their questions may name."""

NO_WRONG_ANSWER = "no-wrong-answer"
"""Why a row is dropped whose task needs an answer that the tests reject."""
NEEDS_WRONG = frozenset({"preference", "multiturn"})
"""Such tasks."""

_TICKS = re.compile("`{3,}")

Turn = dict[str, str]
"""`role` and `content`."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A definition that the tests reject, in the place of the right one."""

    code: str
    """The definition, whole."""
    error: str
    """What the tests said of it."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A question with its answer."""

    prompt: list[Turn]
    """What is said before; it ends with the user's turn."""
    completion: list[Turn]
    """The right answer."""
    rejected: list[Turn] | None
    """A wrong one, None where the task has none."""


class Composer:
    """Puts rows into the words of one recipe.

    Raises `UsageError` for a text that names what no row has.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._task = recipe.rules.task
        self._compose = recipe.rules.compose
        asked = ASKED if self._task in ANSWERED_BY_GOOD else FIELDS
        self._prompt = _Text(recipe.prompt, recipe.folder / PROMPT, asked)
        self._answer = _Text(recipe.answer, recipe.folder / ANSWER)
        self._again = _Text(recipe.again, recipe.folder / AGAIN, asked)

    def compose(self, row: Mapping[str, object], wrong: Sequence[Wrong]) -> Iterator[Composed]:
        """The questions that a row gives, one or more; `wrong` are wrong answers to it."""
        said = _said(row, test_source=self._compose.test_source)
        system = self._compose.system
        begun: list[Turn] = [{"role": "system", "content": system}] if system else []
        question = [*begun, _turn("user", self._prompt.of(said))]
        right = [_turn("assistant", self._answer.of(said))]
        match self._task:
            case "preference":
                for one in wrong[: self._compose.pairs]:
                    rejected = self._answer.of({**said, "good": one.code})
                    yield Composed(question, right, [_turn("assistant", rejected)])
            case "multiturn":
                for one in wrong:
                    question = [
                        *question,
                        _turn("assistant", self._answer.of({**said, "good": one.code})),
                        _turn("user", self._again.of({**said, "error": one.error})),
                    ]
                yield Composed(question, right, None)
            case _:
                yield Composed(question, right, None)


class _Text:
    """A template, cut at its names once."""

    def __init__(self, text: str, path: Path, fields: Sequence[str] = FIELDS) -> None:
        try:
            pieces = list(Formatter().parse(text.rstrip("\n")))
        except ValueError as error:
            raise UsageError(
                f"{path}: a brace is not closed, or opens nothing",
                cause=str(error),
                hint="write {{ and }} for braces that stay",
            ) from error
        self._pieces: list[tuple[str, str | None]] = []
        for literal, name, form, conversion in pieces:
            if name is not None and (name not in fields or form or conversion):
                near = difflib.get_close_matches(name, fields, n=1)
                told = "it would hold the answer" if name in FIELDS else "there is no such field"
                raise UsageError(
                    f"{path}: {{{name}}} cannot stand here, for {told}",
                    cause="it may name: " + ", ".join(fields),
                    hint=f"Did you mean {{{near[0]}}}?" if near else "write {{ }} for braces",
                )
            self._pieces.append((literal, name))

    def of(self, said: Mapping[str, str]) -> str:
        longest = max(
            (len(run) for _, name in self._pieces if name for run in _TICKS.findall(said[name])),
            default=0,
        )
        # A fence ends at the first one that is as long: one about code with fences is longer.
        fence = "`" * max(3, longest + 1)
        return "".join(
            literal.replace("```", fence) + (said[name] if name is not None else "")
            for literal, name in self._pieces
        )


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


def _said(row: Mapping[str, object], *, test_source: bool) -> dict[str, str]:
    """What a row holds, as text."""
    said = {name: str(row.get(name) or "") for name in FIELDS}
    tests = row["failing_tests"]
    said["failing_tests"] = "\n".join(tests) if isinstance(tests, list) else ""
    said["changes"] = "\n".join(sign + text for hunk in hunks(said["patch"]) for sign, text in hunk)
    if not test_source:
        said["test_source"] = ""
    return said
