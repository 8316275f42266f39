"""The notebooks as files, and on a store that holds nothing; see also tests/functional."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from flywheel.notebook import Note

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_there_are_seven() -> None:
    assert [one.name[:2] for one in NOTEBOOKS] == [f"{n:02d}" for n in range(1, 8)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs_and_begins_with_words(path: Path) -> None:
    text = path.read_text()
    book = json.loads(text)
    assert text == json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert book["cells"][0]["cell_type"] == "markdown"
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in book["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_there_is_nothing_of(
    path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL_WORKSPACE", str(bare))
    monkeypatch.setenv("IPYTHONDIR", str(bare / "ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    notes = 0
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            ran = shell.run_cell("".join(cell["source"]))
            ran.raise_error()
            if isinstance(ran.result, Note):
                notes += 1
                shown, _ = shell.display_formatter.format(ran.result)
                assert ran.result.message in shown["text/markdown"]
    assert notes
