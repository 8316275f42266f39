"""`card`: a version's card on stdout, in a folder, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from flywheel.cli.dataset_card import register
from flywheel.cli.session import Session
from flywheel.core.errors import UsageError
from flywheel.curate import card, find_version
from tests.fakes.versions import version

Called = Callable[..., str]


@pytest.fixture
def called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Called:
    app = typer.Typer()
    register(app)
    version(tmp_path / ".flywheel" / "datasets")

    def call(*arguments: str) -> str:
        typer.main.get_command(app).main(
            list(arguments), standalone_mode=False, obj=Session(workspace_option=tmp_path)
        )
        return capsys.readouterr().out

    return call


def test_without_a_folder_the_card_is_printed_as_it_is(called: Called, tmp_path: Path) -> None:
    made = card(find_version(tmp_path / ".flywheel" / "datasets", "repair-sft"))
    assert called("repair-sft") == made.text


def test_with_a_folder_the_card_and_its_pictures_are_written(
    called: Called, tmp_path: Path
) -> None:
    assert called("repair-sft", "--out", str(tmp_path / "out")) == ""
    assert (tmp_path / "out" / "README.md").read_text().startswith("<!-- Card of repair-sft@")
    assert (tmp_path / "out" / "pictures" / "funnel.svg").is_file()


def test_as_json_it_is_one_document(called: Called, tmp_path: Path) -> None:
    found = json.loads(called("repair-sft", "--json", "--out", str(tmp_path / "out")))
    assert found["version"].startswith("repair-sft@")
    assert found["text"] == (tmp_path / "out" / "README.md").read_text()
    assert found["pictures"]["pictures/funnel.svg"].startswith("<svg")
    assert found["written"][-1] == str(tmp_path / "out" / "README.md")


def test_a_version_that_is_not_there_is_a_mistake_of_the_user(called: Called) -> None:
    with pytest.raises(UsageError, match="no version 'repair-dpo'"):
        called("repair-dpo")
