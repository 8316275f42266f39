"""A teacher that knows: a program whose predictors answer what is proven, and ask no model.

Where a program says the proven answer in its own form (`known`), its traces can be had without a
teacher model: DSPy's optimisers take it for one, with the same predictors as the student. It is
still measured: what does not prove itself is no demonstration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from flywheel.lm.bridge import dspy
from flywheel.programs.row import Row

_ANSWERS: ContextVar[Mapping[str, Mapping[str, str]]] = ContextVar("answers")


class UnknownAnswer(Exception):
    """The proven answer to this row cannot be said in the program's form."""


def known_teacher(module: Any, rows: Iterable[Row], fields: tuple[str, ...]) -> Any:
    """A copy of a program that answers what is proven of these rows, in its own form.

    `fields` are those that the program is called with; rows are known by them again. Calling it
    raises `UnknownAnswer`, with the reason, for a row whose answer its form cannot say.
    """
    answers = {_key(row.inputs(fields)): module.known(row) for row in rows}
    teacher = module.deepcopy()
    for name, predictor in teacher.named_predictors():
        predictor.__class__ = type("Known", (_KnownPredict, type(predictor)), {"known_as": name})
    kind = type(teacher)
    teacher.__class__ = type(f"Known{kind.__name__}", (_KnownModule, kind), {"answers": answers})
    return teacher


class _KnownModule:
    """A program that looks its row up before its own steps run."""

    answers: Mapping[frozenset[tuple[str, str]], Mapping[str, Mapping[str, str]] | str]

    def forward(self, **inputs: str) -> Any:
        """As the program's own, with what is known of the row."""
        found = self.answers.get(_key(inputs), "it is no row that was given")
        if isinstance(found, str):
            raise UnknownAnswer(found)
        token = _ANSWERS.set(found)
        try:
            return super().forward(**inputs)  # type: ignore[misc]  # of the program's class
        finally:
            _ANSWERS.reset(token)


class _KnownPredict:
    """A predictor that answers what is known, and leaves a trace as any other does."""

    known_as: str

    def forward(self, **inputs: Any) -> Any:
        """The outputs that are known of this step."""
        outputs = _ANSWERS.get()[self.known_as]
        names = self.signature.input_fields  # type: ignore[attr-defined]  # of DSPy's class
        given = {name: value for name, value in inputs.items() if name in names}
        prediction = dspy.Prediction(**outputs)
        if (trace := dspy.settings.trace) is not None:
            trace.append((self, given, prediction))
        return prediction


def _key(inputs: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(inputs.items())
