"""Differences between two versions of a module, as a person reads them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from flywheel.core.errors import UsageError
from flywheel.registry import state as states
from flywheel.registry.state import AUGMENTED, PredictorState
from flywheel.registry.version import Manifest, Predictor, Version

Demo = Mapping[str, JsonValue]
"""A demonstration: values by the names of fields."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """How a field is shown otherwise."""

    name: str
    """The field."""
    before: str | None
    """How the first version shows it, None where it has none."""
    after: str | None
    """How the second does."""


@dataclass(frozen=True, slots=True)
class PredictorDifference:
    """What one predictor has otherwise."""

    name: str
    """The predictor."""
    only_in: str
    """The version that has it alone; empty where both have."""
    instructions: tuple[str, ...]
    """Lines of a unified diff, without its head; empty where they are the same."""
    fields: tuple[FieldChange, ...]
    """Fields that are shown otherwise, or that one alone has."""
    demos_added: tuple[Demo, ...]
    """Demonstrations that only the second has."""
    demos_removed: tuple[Demo, ...]
    """Those that only the first has."""
    demos_same: int
    """Those that both have."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (
            self.only_in
            or self.instructions
            or self.fields
            or self.demos_added
            or self.demos_removed
        )


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """What the second version has otherwise than the first."""

    first: str
    """Id of the one."""
    second: str
    """Id of the other."""
    predictors: tuple[PredictorDifference, ...]
    """Predictors that differ."""
    model: tuple[str, str] | None
    """Models that they were made for, None where it is the same."""
    adapter: tuple[str, str] | None
    """Hashes of their trained weights, or names of their tuned models, empty for none; None where
    they are the same."""
    code: bool
    """Whether the module's code differs."""

    @property
    def same(self) -> bool:
        """Whether they would answer the same."""
        return not (self.predictors or self.model or self.adapter or self.code)


def difference(first: Version, second: Version) -> VersionDifference:
    """Compare two versions of one module.

    Raises `UsageError` for versions of two modules, `RegistryError` for a state that is none.
    """
    one, other = first.manifest, second.manifest
    if one.module.name != other.module.name:
        raise UsageError(
            f"{first.id} and {second.id} are versions of two modules.",
            hint=f"flywheel versions --module {one.module.name}",
        )
    before, after = states.parse(first.written), states.parse(second.written)
    fields = {first.id: _by_name(one.predictors), second.id: _by_name(other.predictors)}
    found = []
    for name in dict.fromkeys((*before, *after)):
        alone = second.id if name not in before else first.id if name not in after else ""
        made = _predictor(
            name,
            alone,
            (before.get(name), fields[first.id].get(name)),
            (after.get(name), fields[second.id].get(name)),
        )
        if not made.same:
            found.append(made)
    models = (one.lm.model if one.lm else "", other.lm.model if other.lm else "")
    adapters = (_weights(one), _weights(other))
    return VersionDifference(
        first=first.id,
        second=second.id,
        predictors=tuple(found),
        # The base is of no model in particular: it differs in none.
        model=models if all(models) and len(set(models)) > 1 else None,
        adapter=adapters if len(set(adapters)) > 1 else None,
        code=one.module.hash != other.module.hash,
    )


def _weights(said: Manifest) -> str:
    if said.tuned is not None:
        return said.tuned.model
    return said.adapter.hash if said.adapter else ""


def shown(state: PredictorState, predictor: Predictor) -> dict[str, str]:
    """How the fields of a predictor are shown, by their names."""
    return {
        name: f"{said.prefix} {said.description}".removesuffix(f" ${{{name}}}")
        for name, said in zip(predictor.fields, state.signature.fields, strict=True)
    }


def demo_of(demo: Demo) -> dict[str, str]:
    """A demonstration as a person reads it: text as it is, anything else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in demo.items()
        if name != AUGMENTED
    }


_Side = tuple[PredictorState | None, Predictor | None]


def _predictor(name: str, alone: str, first: _Side, second: _Side) -> PredictorDifference:
    before, after = (
        (state.signature.instructions, shown(state, fields), state.demos)
        if state is not None and fields is not None
        else ("", {}, ())
        for state, fields in (first, second)
    )
    return PredictorDifference(
        name=name,
        only_in=alone,
        instructions=_lines(before[0], after[0]),
        fields=tuple(
            FieldChange(one, before[1].get(one), after[1].get(one))
            for one in dict.fromkeys((*before[1], *after[1]))
            if before[1].get(one) != after[1].get(one)
        ),
        demos_added=_without(after[2], before[2]),
        demos_removed=_without(before[2], after[2]),
        demos_same=len(after[2]) - len(_without(after[2], before[2])),
    )


def _lines(before: str, after: str) -> tuple[str, ...]:
    told = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return tuple(told)[2:]


def _without(demos: Sequence[Demo], others: Sequence[Demo]) -> tuple[Demo, ...]:
    return tuple(one for one in demos if one not in others)


def _by_name(predictors: Sequence[Predictor]) -> dict[str, Predictor]:
    return {one.name: one for one in predictors}
