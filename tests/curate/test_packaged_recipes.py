"""The recipes that come with flywheel are whole, short, and do not give their answers away."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest

from flywheel.curate import ROWS, load_recipe
from tests.fakes.versions import PACKAGED, version

NAMES = sorted(path.parent.name for path in PACKAGED.glob("*/recipe.toml"))
ANSWERS = {
    "repair": {"good", "patch", "changes", "test_source"},
    "preference": {"good", "patch", "changes", "test_source"},
    "multiturn": {"good", "patch", "changes", "test_source"},
    "explanation": {"good", "patch", "changes", "test_source"},
    "insertion": {"bad", "patch", "changes", "error", "error_message", "test_source"},
}
"""What a question of each task must not show."""


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def fixed(text: str) -> int:
    return sum(len(said) for said, *_ in Formatter().parse(text))


def test_there_is_a_recipe_for_every_task() -> None:
    tasks = [load_recipe(name, PACKAGED / name).rules.task for name in NAMES]
    assert sorted(tasks) == sorted(ANSWERS)


@pytest.mark.parametrize("name", NAMES)
def test_texts_name_what_there_is(name: str) -> None:
    found = load_recipe(name, PACKAGED / name)
    assert fields(found.prompt) <= {*ROWS.names}
    assert fields(found.answer) <= {*ROWS.names, "changes"}
    assert fields(found.prompt)
    assert fields(found.answer)


@pytest.mark.parametrize("name", NAMES)
def test_a_question_does_not_hold_its_answer_and_is_short(name: str) -> None:
    found = load_recipe(name, PACKAGED / name)
    assert not fields(found.prompt) & ANSWERS[found.rules.task]
    assert fixed(found.prompt) < 300
    assert not found.rules.compose.test_source


def test_the_turn_after_a_wrong_answer_shows_its_error_alone() -> None:
    text = (PACKAGED / "repair-multiturn" / "again.md").read_text()
    assert fields(text) == {"error"}


def test_all_hold_out_the_same_rows() -> None:
    rules = [load_recipe(name, PACKAGED / name).rules.split for name in NAMES]
    assert len({(one.by, one.holdout, one.holdout_name, one.seed) for one in rules}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_listed_and_makes_versions(name: str, tmp_path: Path) -> None:
    assert f"[{name}]({name}/card.md)" in (PACKAGED / "README.md").read_text()
    assert version(tmp_path, recipe=name).manifest.name == name
