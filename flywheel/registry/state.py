"""States: what of a program an optimiser changes, in DSPy's own JSON form.

DSPy sets whatever a file says, key by key, and writes the headers of a model down with it. Here a
state holds instructions, the names of fields as they are shown, demonstrations and thresholds, and
nothing else; it is checked whole, against the module that is to take it, before anything is set.
What plays the model is no part of it. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pydantic
from pydantic import Field, JsonValue

from flywheel.core.errors import RegistryError
from flywheel.curate.secrets import findings
from flywheel.registry.version import Predictor, Record

if TYPE_CHECKING:
    import dspy

AUGMENTED = "augmented"
"""Mark that DSPy puts on a demonstration which a model wrote."""
_SPOILT = "bring its files back as they were saved, or optimise again"
"""What to do about a state that is none."""


class FieldText(Record):
    """How one field is shown to the model."""

    prefix: str
    """What stands before it."""
    description: str
    """What it is."""


class SignatureText(Record):
    """What one predictor is told."""

    instructions: str
    """What it is to do."""
    fields: tuple[FieldText, ...]
    """Its fields, inputs first."""


class PredictorState(Record):
    """What an optimiser changes of one predictor."""

    signature: SignatureText
    """What it is told."""
    demos: tuple[dict[str, JsonValue], ...] = ()
    """Demonstrations: values by the names of fields."""
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    """Thresholds of outputs that are decisions, by the output's name."""
    traces: tuple[()] = ()
    """DSPy's own, always empty: no state of a program."""
    train: tuple[()] = ()
    """The same."""
    lm: None = None
    """What plays the model is no part of a state."""


State = Mapping[str, PredictorState]
"""A program's state, by the names of its predictors."""

_STATE = pydantic.TypeAdapter(dict[str, PredictorState])


def predictors_of(program: dspy.Module) -> tuple[Predictor, ...]:
    """The predictors of a module, with their fields.

    Raises `RegistryError` where a part of it learns and is no predictor: its state is not known.
    """
    import dspy  # noqa: PLC0415  who has a module has it already

    found = []
    for name, part in program.named_parameters():
        if not isinstance(part, dspy.Predict):
            raise RegistryError(
                f"The step {name} of the module cannot be saved.",
                cause=f"it is a {type(part).__name__}, and only predictors have a state to save",
                hint="make it of dspy.Predict, ChainOfThought or the like",
            )
        found.append(
            Predictor(
                name=name,
                inputs=tuple(part.signature.input_fields),
                outputs=tuple(part.signature.output_fields),
            )
        )
    return tuple(found)


def state_of(program: dspy.Module) -> dict[str, PredictorState]:
    """The state of a module, without what plays the model.

    Demonstrations keep the fields of their predictor alone: what else an example of a dataset
    carries is not shown to a model. Raises `RegistryError` for a secret in what would be shown, and
    for what JSON cannot say.
    """
    predictors = predictors_of(program)
    dumped = program.dump_state()
    told = {}
    for one in predictors:
        shown = (*one.fields, AUGMENTED)
        kept = {
            key: dumped[one.name][key] for key in ("signature", "fields") if key in dumped[one.name]
        }
        demos = [
            {name: demo[name] for name in shown if name in demo}
            for demo in dumped[one.name]["demos"]
        ]
        told[one.name] = kept | {"demos": demos}
    try:
        state = _STATE.validate_python(told)
    except pydantic.ValidationError as error:
        raise _unfit("The state of the module cannot be saved.", error) from error
    refuse_secrets(state)
    return state


def write(state: State) -> str:
    """A state as JSON: the same state, the same text."""
    told = {name: one.model_dump(mode="json") for name, one in state.items()}
    for one in told.values():
        if not one["fields"]:
            del one["fields"]  # as DSPy writes it
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def parse(written: str) -> dict[str, PredictorState]:
    """A state as it was written.

    Raises `RegistryError` for anything that is not one: a key that is not known, a model with its
    headers, a trace.
    """
    try:
        return _STATE.validate_json(written)
    except pydantic.ValidationError as error:
        raise _unfit("What was saved is no state of a module.", error) from error


def check(state: State, saved: Sequence[Predictor], program: dspy.Module) -> None:
    """Raise `RegistryError` unless a module has the predictors and fields that were saved."""
    now = {one.name: one for one in predictors_of(program)}
    before = {one.name: one for one in saved}
    problems = [f"{name} is gone" for name in before if name not in now]
    problems += [f"{name} is new" for name in now if name not in before]
    for name in before.keys() & now.keys():
        for what in ("inputs", "outputs"):
            had, has = getattr(before[name], what), getattr(now[name], what)
            if had != has:
                problems.append(f"the {what} of {name} were {_listed(had)} and are {_listed(has)}")
    if problems:
        raise RegistryError(
            "The module has changed since the version was saved.",
            cause="; ".join(problems),
            hint="optimise it again, or bring back the module as it was",
        )
    if state.keys() != before.keys():
        raise RegistryError(
            "What was saved is no state of this module.",
            cause=f"it has {_listed(sorted(state))}, and the module {_listed(sorted(before))}",
            hint=_SPOILT,
        )
    for name, one in state.items():
        fields = before[name].fields
        strange = {key for demo in one.demos for key in demo} - {*fields, AUGMENTED}
        strange |= one.fields.keys() - set(before[name].outputs)
        if strange or len(one.signature.fields) != len(fields):
            raise RegistryError(
                f"What was saved is no state of the predictor {name}.",
                cause=f"it speaks of {_listed(sorted(strange))}"
                if strange
                else f"it has {len(one.signature.fields)} fields of {len(fields)}",
                hint=_SPOILT,
            )


def apply(state: State, saved: Sequence[Predictor], program: dspy.Module) -> None:
    """Set a state on a module, once all of it is known to fit.

    The module's predictors have no model of their own afterwards. Raises `RegistryError`, and then
    nothing was set.
    """
    check(state, saved, program)
    told = json.loads(write(state))
    try:
        program.load_state(told)
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(
            "DSPy does not take the state that was saved.",
            cause=str(error),
            hint="it was saved by another version of DSPy: see the manifest, or optimise again",
        ) from error


def refuse_secrets(state: State) -> None:
    """Raise `RegistryError` where a key or a password stands in what would be shown."""
    for name, one in state.items():
        places = [("its instructions", one.signature.instructions)]
        places += [
            (f"demonstration {number}, field {field}", str(value))
            for number, demo in enumerate(one.demos, start=1)
            for field, value in demo.items()
        ]
        for place, text in places:
            refuse_secret(text, f"The predictor {name} has in {place}")


def refuse_secret(text: str, where: str) -> None:
    """Raise `RegistryError` where a text holds a key or a password; `where` begins its message."""
    for found in findings(text):
        if found.kind == "key" and not found.placeholder:
            raise RegistryError(
                f"{where} a secret: nothing was saved.",
                cause=f"{found.rule}: {found.excerpt}",
                hint="take it out where it came from (an example, an option), and optimise again",
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _unfit(message: str, error: pydantic.ValidationError) -> RegistryError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return RegistryError(message, cause=f"{where}: {first['msg']}", hint=_SPOILT)
