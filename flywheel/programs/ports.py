"""What a metric may be handed beside the case and the answer, by the name of its parameter.

Ports: the real ones run tests and ask models, and stand in the floor above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from flywheel.programs.case import Answer, Case, Score


@dataclass(frozen=True, slots=True)
class Proof:
    """What the tests said of an answer in the place of the bug."""

    resolved: bool | None
    """Whether every test passes, None where that is not known."""
    reason: str
    """Why it is not known, or why the tests were not asked; else what they said."""
    failing: tuple[str, ...] = ()
    """Sorted ids of the tests that fail with it."""
    mended: float | None = None
    """Share of the tests that fail for the bug which pass with it; None where not known."""
    kept: float | None = None
    """Share of the tests that pass with the bug which pass with it too; None where not known."""


class Critic(Protocol):
    """Parameter `critic`: the repository's own tests."""

    def prove(self, case: Case, code: str) -> Proof:
        """Run the tests with `code` in the place of the case's definition.

        The same code in the same place is run once, whoever asks. What keeps the tests from being
        run (no environment, a critic that died) is an unknown proof with its reason. Raises
        `StoreError` when results cannot be kept.
        """
        ...


class Judge(Protocol):
    """Parameter `judge`: a language model, by the role `judge` of the settings."""

    def ask(
        self,
        question: str,
        *,
        system: str = "",
        schema: Mapping[str, object] | None = None,
        samples: int = 1,
        max_tokens: int | None = None,
    ) -> tuple[str, ...]:
        """Answers to a question, one a sample; fewer where the model gave none to some.

        `schema` is a JSON schema, which a provider may or may not enforce. Raises `LMError` where
        no model can be asked, `BudgetError` where nothing more may be spent.
        """
        ...


class Metrics(Protocol):
    """Parameter `metrics`: the other metrics, those that the file names in `USES`."""

    def score(self, name: str, case: Case, answer: Answer) -> Score:
        """What another metric says. Raises `UsageError` where it is not in `USES`."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The ports at hand; None for one that is not wired."""

    critic: Critic | None = None
    """See `Critic`."""
    judge: Judge | None = None
    """See `Judge`."""
    metrics: Metrics | None = None
    """See `Metrics`."""
