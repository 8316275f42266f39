"""Recipes: what a dataset takes from the store, what a row must pass, and how rows are split.

A recipe is the file `recipe.toml` of a folder in `datasets/`, with the texts that its rows are put
into beside it. Its identity is the hash of all of them: a version names it, so a changed recipe can
never be mistaken for another. Every stage has its table here; the order of the tables is the order
in which rows pass them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from flywheel.core.errors import UsageError
from flywheel.core.identity import content_hash
from flywheel.core.table import Table, read_table, validated
from flywheel.curate.licence import identifier

FILE, PROMPT, ANSWER, CARD = "recipe.toml", "prompt.md", "answer.md", "card.md"
"""Files of a recipe's folder: the rules, the text of a question, of an answer, and of the card."""
AGAIN = "again.md"
"""What is said to a wrong answer; only a task of several turns has it."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")

Task = Literal["repair", "preference", "multiturn", "insertion", "explanation"]
"""What a row teaches; see `compose`."""

PERMISSIVE = (
    *("MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Unlicense"),
    *("Zlib", "BSL-1.0", "PSF-2.0", "Python-2.0", "CC0-1.0"),
)
"""SPDX identifiers of licences that ask for no more than a notice."""


class Select(Table):
    """Which rows of the store there are to choose from."""

    where: str | None = None
    """SQL condition on the columns of `examples`; none: every row."""
    sql: str | None = None
    """Query with a column `example_id`, in place of a condition."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Select:
        if self.where is not None and self.sql is not None:
            raise ValueError("where and sql exclude each other")
        return self


class Quality(Table):
    """What a row must be."""

    languages: tuple[str, ...] = ()
    """Languages that are taken; none: all."""
    least_oracle_strength: float | None = Field(default=None, ge=0, le=1)
    """Share of wrong fixes that its tests must reject; none: it is not asked."""
    unaudited: bool = True
    """Whether rows pass whose tests nobody has tried with wrong fixes."""
    most_flake_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of base runs in which its first failing test may have been otherwise."""
    most_changed_lines: int = Field(default=60, ge=1)
    """Lines that the fix takes away and adds, together."""
    most_error: int = Field(default=12_000, ge=1)
    """Characters of the error."""
    least_lines: int = Field(default=2, ge=1)
    """Lines of the definition."""
    most_lines: int = Field(default=200, ge=1)
    """Lines of the definition."""
    definition: bool = True
    """Whether the code must be one whole definition: a change at module level has no context."""
    test_source: bool = False
    """Whether the source of its failing test must be known."""


class Licence(Table):
    """Under which licences a row may stand."""

    allow: tuple[str, ...] = PERMISSIVE
    """SPDX identifiers; of `A OR B` one suffices, of `A AND B` both are needed."""
    unknown: bool = False
    """Whether rows pass of repositories in which no licence was found."""

    @field_validator("allow")
    @classmethod
    def _is_spdx(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(identifier(one, PERMISSIVE) for one in allow)


class Secrets(Table):
    """What must not be published."""

    keys: bool = True
    """Whether rows that hold a key, a token or a password are dropped."""
    personal: bool = True
    """Whether rows that hold an address, a number or a mail of a person are dropped."""


class Duplicates(Table):
    """Which rows say the same."""

    near: float = Field(default=0.85, gt=0, le=1)
    """Share of equal runs of tokens from which two definitions are near duplicates."""
    shingle: int = Field(default=5, ge=1, le=100)
    """Tokens of such a run."""
    keep: int = Field(default=1, ge=1)
    """Rows kept of those that make the same change to near duplicates."""


class Contamination(Table):
    """Which code the rows must not hold, because others are measured by it."""

    benchmarks: tuple[Literal["humaneval", "mbpp", "quixbugs"], ...] = (
        *("humaneval", "mbpp", "quixbugs"),
    )
    """Benchmarks whose fingerprints flywheel knows."""
    files: tuple[str, ...] = ()
    """Files of further ones: .jsonl, .json, .parquet or .py, relative to the recipe's folder."""
    run: int = Field(default=13, ge=4, le=1000)
    """Tokens of a run that two texts may have in common by chance no more."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of a benchmark function's runs from which a row is dropped that holds them."""
    reviewed: str = Field(default="reviewed.toml", pattern=r"^[^\x00]+$")
    """File of matches that a person has found to be false, relative to the recipe's folder."""


class Difficulty(Table):
    """How hard a row is to mend; see `difficulty`."""

    keep: tuple[Literal["easy", "medium", "hard"], ...] = ("easy", "medium", "hard")
    """Levels that are taken."""


class Balance(Table):
    """How many rows may be alike. Where there are more, those with the least hash are kept."""

    per_repository: int | None = Field(default=None, ge=1)
    """Rows of one repository; none: no limit. So for the others."""
    per_source: int | None = Field(default=None, ge=1)
    per_operator: int | None = Field(default=None, ge=1)
    per_difficulty: int | None = Field(default=None, ge=1)
    per_definition: int | None = Field(default=None, ge=1)


class Split(Table):
    """Which rows train, which choose, and which are held out for the judgement."""

    by: Literal["repository", "time", "component"] = "component"
    """What stays together: rows of one repository; of one time, the newest held out; or rows that
    hang together by definition, file, near duplicates or descent."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows that choose."""
    holdout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows that are held out, where a hold-out is made anew."""
    holdout_name: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]+$")
    """The hold-out; recipes that name the same one share it. Once made it is never changed."""
    least_holdout: int = Field(default=30, ge=0)
    """Rows that a hold-out must have to tell a better program from a worse one."""
    seed: int = 0
    """Of what is drawn."""

    @model_validator(mode="after")
    def _leaves_some_to_train(self) -> Split:
        if self.validation + self.holdout >= 1:
            raise ValueError("validation and holdout leave nothing to train on")
        return self


class Compose(Table):
    """How a row becomes a question and an answer."""

    test_source: bool = False
    """Whether the question shows the source of the failing test."""
    pairs: int = Field(default=1, ge=1)
    """Wrong answers at the most: that each right one is put beside, for preferences; that come
    before it, for several turns."""
    system: str = ""
    """What a system message says; none: there is no such message."""


class Rules(Table):
    """The file, whole."""

    title: str
    """Name for people."""
    description: str
    """What it is for, in a sentence or two."""
    task: Task
    """What its rows teach."""
    select: Select = Select()
    quality: Quality = Quality()
    licence: Licence = Licence()
    secrets: Secrets = Secrets()
    duplicates: Duplicates = Duplicates()
    contamination: Contamination = Contamination()
    difficulty: Difficulty = Difficulty()
    balance: Balance = Balance()
    split: Split = Split()
    compose: Compose = Compose()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as it was read."""

    name: str
    """Name of its folder."""
    folder: Path
    """Where it lies."""
    rules: Rules
    """What the file says."""
    prompt: str
    """Template of the question."""
    answer: str
    """Template of the answer."""
    card: str
    """Template of the card."""
    again: str = ""
    """Template of what is said to a wrong answer; empty where the task has one turn."""

    @property
    def hash(self) -> str:
        """Identity: what the rules mean, not how they are laid out, and the texts of the rows."""
        return content_hash(
            self.rules.model_dump(mode="json"), self.prompt, self.answer, self.again
        )


def load_recipe(name: str, folder: Path) -> Recipe:
    """The recipe in a folder; raises `UsageError` for a file that is not there or not right."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a recipe.",
            cause="a version is called NAME@HASH, and is a folder",
            hint="letters, digits, dots, dashes and underscores: rename the folder",
        )
    table, _ = read_table(folder / FILE, UsageError)
    hint = f"compare with a packaged {FILE}"
    rules = validated(table, Rules, folder / FILE, UsageError, what="a recipe", hint=hint)
    return Recipe(
        name,
        folder,
        rules,
        prompt=_text(folder / PROMPT),
        answer=_text(folder / ANSWER),
        card=_text(folder / CARD),
        again=_text(folder / AGAIN) if rules.task == "multiturn" else "",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read",
            cause=str(error),
            hint="a recipe has the texts of its question, its answer and its card beside it",
        ) from error
