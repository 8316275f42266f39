"""Reviewed matches: what a person has looked at and found to be no copy of a benchmark.

A report of matches has an entry for each, ready to be copied into the file beside the recipe; what
it still wants is why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from flywheel.core.errors import UsageError
from flywheel.core.identity import content_hash
from flywheel.core.table import Table, read_table, validated
from flywheel.curate.contamination import Match
from flywheel.curate.recipe import Contamination


class Entry(Table):
    """A match that is false."""

    benchmark: str
    """Name of the benchmark, as the match has it."""
    function: str
    """What the benchmark calls its function."""
    definition: str = Field(pattern="^[0-9a-f]{16}$")
    """Hash of the definition's normal form: a changed definition is looked at anew."""
    why: str = Field(min_length=1)
    """What the person found."""


class _File(Table):
    false: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The matches of a file."""

    entries: tuple[Entry, ...]
    """As they stand in it."""

    def lets_pass(self, match: Match, form: str) -> bool:
        """Whether this match, of a definition with this normal form, was found to be false."""
        seen = (match.benchmark, match.function, definition_hash(form))
        return any((one.benchmark, one.function, one.definition) == seen for one in self.entries)


def definition_hash(form: str) -> str:
    """By what a definition is known in the file."""
    return content_hash(form)


def entry(match: Match, form: str) -> str:
    """The entry of a match, for a report: a person who finds it false copies it and says why."""
    values = {
        "benchmark": match.benchmark,
        "function": match.function,
        "definition": definition_hash(form),
        "why": "",
    }
    lines = [f"{key} = {_quoted(value)}" for key, value in values.items()]
    return "\n".join([f"# {match.how}, {match.share:.0%}", "[[false]]", *lines, ""])


def _quoted(value: str) -> str:
    """A string of TOML; its escapes are JSON's, and it has one more."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def load_reviewed(rules: Contamination, folder: Path) -> Reviewed:
    """The reviewed matches of a recipe that lies in this folder; none where nobody wrote any.

    Raises `UsageError` for a file that is not right, or that the recipe names and is not there.
    """
    path = folder / rules.reviewed
    if "reviewed" not in rules.model_fields_set and not path.exists():
        return Reviewed(())
    table, _ = read_table(path, UsageError)
    hint = "copy entries from the report of matches, and say why each is false"
    file = validated(table, _File, path, UsageError, what="reviewed matches", hint=hint)
    return Reviewed(file.false)
