"""A recipe says what it may say; whatever else it says is told, with what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.curate.recipe import ANSWER, CARD, FILE, PROMPT, Recipe, load_recipe

HEAD = 'title = "Repair"\ndescription = "Bugs and their fixes."\ntask = "repair"\n'


def recipe(folder: Path, text: str = HEAD) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(text)
    for file in (PROMPT, ANSWER, CARD):
        (folder / file).write_text(f"{file} of $symbol")
    return load_recipe("mine", folder)


def test_everything_but_the_head_has_a_default(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    assert made.rules.split.by == "component"
    assert "MIT" in made.rules.licence.allow
    assert made.prompt == "prompt.md of $symbol"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[qualty]\nmost_lines = 3", "qualty: unknown; did you mean 'quality'?"),
        ("[quality]\nmost_line = 3", "quality.most_line: unknown; did you mean 'most_lines'?"),
        ("[split]\nby = 'file'", "split.by: Input should be 'repository', 'time' or 'component'"),
        ("[split]\nholdout = 0.6\nvalidation = 0.5", "leave nothing to train on"),
        ("[select]\nwhere = 'a'\nsql = 'b'", "where and sql exclude each other"),
        ("[duplicates]\nnear = 1.5", "duplicates.near"),
        ("[contamination]\nbenchmarks = ['humanevil']", "contamination.benchmarks.0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, said: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(tmp_path, f"{HEAD}\n{said}\n")
    assert told in str(caught.value.cause)
    assert str(tmp_path / FILE) in caught.value.message


def test_a_file_that_is_no_toml_or_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        recipe(tmp_path, "title = ")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe("none", tmp_path / "none")
    recipe(tmp_path)
    (tmp_path / ANSWER).unlink()
    with pytest.raises(UsageError, match=ANSWER):
        load_recipe("mine", tmp_path)


def test_a_recipe_is_what_it_means_and_not_how_it_is_laid_out(tmp_path: Path) -> None:
    one = recipe(tmp_path / "one")
    same = recipe(tmp_path / "two", f"# A remark.\n{HEAD}[split]\nby = 'component'\n")
    other = recipe(tmp_path / "three", f"{HEAD}[split]\nby = 'time'\n")
    assert one.hash == same.hash != other.hash
    (tmp_path / "one" / PROMPT).write_text("Something else.")
    assert load_recipe("mine", tmp_path / "one").hash != one.hash
