"""What a metric is shown and what it says: a case, an answer, a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.core.identity import answer_hash


@dataclass(frozen=True, slots=True)
class Case:
    """A proven bug that was to be mended, as the store knows it."""

    example_id: str
    """Identity of the example."""
    language: str
    """Language of the code, such as `python`."""
    path: str
    """Repository-relative path of the changed file."""
    symbol: str
    """Qualified name of the changed definition."""
    bad: str
    """The definition that fails."""
    good: str
    """The definition that passes: the fix that is known."""
    error: str
    """How it fails: message and traceback of the first tests, ids of all."""
    patch: str
    """Unified diff of the file from bad to good."""
    test_source: str | None
    """Source of the first failing test, None when not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a case."""

    text: str
    """The answer as it came."""
    code: str | None
    """The definition that it holds, None where it holds none."""

    @property
    def hash(self) -> str:
        """Its identity."""
        return answer_hash(self.text, self.code)


@dataclass(frozen=True, slots=True)
class Score:
    """What a metric says of an answer: a value, and why."""

    value: float | None
    """From 0 to 1, more is better; None where it is not known, which is never 0."""
    reason: str
    """Why, in a few words."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Figures that the value is made of, by name; what is not known is left out."""
