"""Differences of versions, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flywheel.core.errors import UsageError
from flywheel.registry import (
    Adapter,
    DraftVersion,
    Model,
    Registry,
    demo_of,
    difference,
    parse,
    shown,
)
from tests.registry.conftest import DEMO, SOURCE

Draft = Callable[..., DraftVersion]
OTHER = DEMO | {"error": "assert 1 == 2"}


def test_what_the_model_is_told_otherwise_is_shown(registry: Registry, draft: Draft) -> None:
    one = registry.save(draft("Mend it well.\nSay why.", DEMO))
    optimised = draft("Mend it well.\nSay nothing.", OTHER, DEMO)
    step = optimised.program.fix.predict
    step.signature = step.signature.with_updated_fields("error", prefix="Failure:")
    other = registry.save(optimised)
    found = difference(one, other)
    assert not found.same
    (changed,) = found.predictors
    assert changed.name == "fix.predict"
    assert changed.instructions[1:] == (" Mend it well.", "-Say why.", "+Say nothing.")
    (field,) = changed.fields
    assert field.name == "error"
    assert (field.before, field.after) == (
        "Error: how its test fails",
        "Failure: how its test fails",
    )
    assert (changed.demos_added, changed.demos_removed, changed.demos_same) == ((OTHER,), (), 1)
    assert (found.model, found.adapter, found.code) == (None, None, False)


def test_a_version_is_the_same_as_itself(registry: Registry, draft: Draft) -> None:
    one = registry.save(draft("Mend.", DEMO))
    assert difference(one, one).same


def test_the_base_and_a_version_differ_in_what_was_learned(
    registry: Registry, draft: Draft
) -> None:
    tuned = draft("Mend the code.", adapter=Adapter(hash="a" * 16, base="b" * 16))
    found = difference(registry.find("mine.py:Mend@base"), registry.save(tuned))
    assert (found.predictors, found.adapter) == ((), ("", "a" * 16))
    assert found.model is None


def test_a_step_that_came_and_another_model_are_named(registry: Registry, draft: Draft) -> None:
    one = registry.save(draft())
    path = registry.workspace.root / "mine.py"
    path.write_text(SOURCE.replace("self.check = dspy", "self.look = dspy"))
    base = registry.find("Mend@base")
    found = difference(one, base)
    alone = {change.name: change.only_in for change in found.predictors}
    assert alone == {"fix.predict": "", "check": one.id, "look": "Mend@base"}
    assert found.code
    model = Model(model="b/model", profile="other", server="s")
    path.write_text(SOURCE)
    assert difference(one, registry.save(draft(lm=model))).model == ("a/model", "b/model")


def test_versions_of_two_modules_are_not_compared(registry: Registry, draft: Draft) -> None:
    with pytest.raises(UsageError, match="versions of two modules"):
        difference(registry.save(draft()), registry.find("repair@base"))


def test_a_field_without_a_description_is_shown_by_its_prefix_alone(
    registry: Registry, draft: Draft
) -> None:
    version = registry.save(draft())
    check = next(one for one in version.manifest.predictors if one.name == "check")
    state = parse(version.written)["check"]
    assert shown(state, check) == {"bad": "Bad:", "good": "Good:", "right": "Right:"}


def test_a_demonstration_reads_as_text() -> None:
    told = demo_of({"bad": "x = 1\n", "right": False, "parts": ["é"], "augmented": True})
    assert told == {"bad": "x = 1\n", "right": "false", "parts": '["é"]'}
