"""States: what is kept of a program, and that nothing is set before all of it is known to fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.predict.parameter import Parameter

from flywheel.core.errors import RegistryError
from flywheel.programs.program import Program, find_program
from flywheel.registry import DraftVersion, Registry, parse, state_of
from flywheel.registry.state import apply, predictors_of, write
from tests.registry.conftest import DEMO, SOURCE

Draft = Callable[..., DraftVersion]


def test_a_state_comes_back_into_a_new_module_as_it_was(draft: Draft, program: Program) -> None:
    demo = dspy.Example(**DEMO, augmented=True)
    optimised = draft("Think twice.", demo).program
    written = write(state_of(optimised))
    fresh = program.make()
    apply(parse(written), predictors_of(fresh), fresh)
    assert fresh.fix.predict.signature.instructions == "Think twice."
    assert [dict(one) for one in fresh.fix.predict.demos] == [{**DEMO, "augmented": True}]
    assert fresh.dump_state() == optimised.dump_state()
    assert write(state_of(fresh)) == written


def test_a_state_is_what_dspy_itself_would_load(draft: Draft, program: Program) -> None:
    fresh = program.make()
    fresh.load_state(json.loads(write(state_of(draft("Think twice.", DEMO).program))))
    assert fresh.fix.predict.signature.instructions == "Think twice."


def test_what_else_an_example_carries_is_not_kept(draft: Draft) -> None:
    demo = dspy.Example(**DEMO, row=object(), repo="a/repo", example_id="e1")
    state = state_of(draft("Mend.", demo).program)
    assert state["fix.predict"].demos == (DEMO,)


def test_nothing_of_a_model_is_written_down(draft: Draft) -> None:
    program = draft("Mend.", DEMO).program
    program.set_lm(
        dspy.LM("openai/m", api_key="k-1", headers={"X-Secret": "k-2"}, api_base="http://inside")
    )
    written = write(state_of(program))
    assert '"lm": null' in written
    for secret in ("k-1", "k-2", "inside", "X-Secret"):
        assert secret not in written


@pytest.mark.parametrize("place", ["instructions", "demo"])
def test_a_key_in_what_would_be_shown_is_refused_and_not_told(draft: Draft, place: str) -> None:
    key = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    said = f"Use {key}." if place == "instructions" else "Mend."
    demo = DEMO | {"error": f"token={key}"} if place == "demo" else DEMO
    with pytest.raises(RegistryError, match=r"fix\.predict has in .* a secret") as caught:
        state_of(draft(said, demo).program)
    assert key not in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"


def test_a_demonstration_that_json_cannot_say_is_refused_by_its_place(draft: Draft) -> None:
    with pytest.raises(RegistryError, match="cannot be saved") as caught:
        state_of(draft("Mend.", DEMO | {"good": Path}).program)
    assert "fix.predict.demos.0.good" in (caught.value.cause or "")


def test_a_step_that_learns_and_is_no_predictor_is_named() -> None:
    class Odd(Parameter):  # type: ignore[misc]  # DSPy is not typed
        pass

    class Program(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.odd = Odd()

    with pytest.raises(RegistryError, match="The step odd") as caught:
        predictors_of(Program())
    assert "a Odd" in (caught.value.cause or "")


def changed(state: dict[str, Any], *path: str | int, to: Any) -> str:
    place: Any = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return json.dumps(state)


STEP = "fix.predict"
EDITS: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "a key that DSPy would set as an attribute": ((STEP, "forward"), "x"),
    "a model with headers": ((STEP, "lm"), {"model": "m", "headers": {"a": "b"}}),
    "a trace": ((STEP, "traces"), [{}]),
    "instructions that are no text": ((STEP, "signature", "instructions"), 7),
    "a key in the signature": ((STEP, "signature", "cls"), "os.system"),
    "a state that is a list": ((STEP,), []),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_no_state_is_refused_before_anything_is_set(draft: Draft, edit: str) -> None:
    state = json.loads(write(state_of(draft().program)))
    path, value = EDITS[edit]
    with pytest.raises(RegistryError, match="no state of a module") as caught:
        parse(changed(state, *path, to=value))
    assert STEP in (caught.value.cause or "")


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(RegistryError, match="no state"):
        parse("\x80\x04.")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ((STEP, "demos"), [{"strange": 1}], "strange"),
        ((STEP, "fields"), {"bad": {}}, "bad"),
        ((STEP, "signature", "fields"), [], "0 fields of 4"),
        (("another",), {"signature": {"instructions": "", "fields": []}}, "another"),
    ],
)
def test_a_state_that_does_not_fit_the_module_sets_nothing(
    draft: Draft, program: Program, path: tuple[str | int, ...], value: Any, told: str
) -> None:
    state = json.loads(write(state_of(draft("Other words.", DEMO).program)))
    fresh = program.make()
    before = fresh.dump_state()
    with pytest.raises(RegistryError, match="no state of") as caught:
        apply(parse(changed(state, *path, to=value)), predictors_of(fresh), fresh)
    assert told in (caught.value.cause or "")
    assert fresh.dump_state() == before


CHANGES = {
    "error: str = dspy.InputField(": ("failure: str = dspy.InputField(", "bad, error"),
    "    bad: str": ("    hint: str = dspy.InputField()\n    bad: str", "hint, bad, error"),
    '"bad, good -> right: bool"': ('"bad, good -> right: bool, why"', "right, why"),
    "self.check = dspy": ("self.look = dspy", "check is gone; look is new"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_module_whose_fields_changed_takes_no_state_of_before(
    draft: Draft, registry: Registry, change: str
) -> None:
    version = registry.save(draft("Other words.", DEMO))
    after, told = CHANGES[change]
    (registry.workspace.root / "mine.py").write_text(SOURCE.replace(change, after))
    fresh = find_program("mine.py:Mend", registry.workspace.root).make()
    before = fresh.dump_state()
    with pytest.raises(RegistryError, match="has changed since") as caught:
        registry.load(version, fresh)
    assert told in (caught.value.cause or "")
    assert fresh.dump_state() == before


def test_dspy_alone_would_have_taken_a_renamed_field(draft: Draft, registry: Registry) -> None:
    """Why fields are kept by name: what DSPy writes does not have them."""
    written = write(state_of(draft("Other words.").program))
    renamed = SOURCE.replace("error: str = dspy.InputField(", "failure: str = dspy.InputField(")
    (registry.workspace.root / "mine.py").write_text(renamed)
    fresh = find_program("mine.py:Mend", registry.workspace.root).make()
    fresh.load_state(json.loads(written))
    assert fresh.fix.predict.signature.instructions == "Other words."
