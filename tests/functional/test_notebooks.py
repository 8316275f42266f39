"""The notebooks, executed from top to bottom while a harvest writes into the store they read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

from flywheel.store import Store
from tests.fakes.programs import programs
from tests.fakes.stores import Shape, fill
from tests.fakes.versions import version
from tests.functional.conftest import Shell

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
STRICT = "error,ignore::PendingDeprecationWarning"  # which ipykernel gives itself when it ends


@dataclass(frozen=True)
class Shown:
    """What came of one notebook."""

    texts: list[str]
    """What its cells gave, as text."""
    pictures: list[str]
    """What they drew, as SVG."""


def execute(paths: Sequence[Path]) -> dict[str, Shown]:
    """Run all cells of notebooks; a cell that fails, or that prints, is an error here.

    They share a kernel, which forgets every name between them: starting one, with all that is
    imported, takes longer than a notebook.
    """
    books = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    whole = nbformat.v4.new_notebook()
    for book in books.values():
        whole.cells += [*book.cells, nbformat.v4.new_code_cell("%reset -f")]
    config = Config()
    config.KernelManager.transport = "ipc"
    NotebookClient(whole, config=config, kernel_name="python3", timeout=120).execute()
    return {name: shown(book.cells) for name, book in books.items()}


def shown(cells: Iterable[nbformat.NotebookNode]) -> Shown:
    outputs = [one for cell in cells for one in cell.get("outputs", [])]
    assert not [one for one in outputs if one["output_type"] in ("stream", "error")], outputs
    data = [one["data"] for one in outputs]
    return Shown(
        [one.get("text/html", one.get("text/plain", "")) for one in data],
        [one["image/svg+xml"] for one in data if "image/svg+xml" in one],
    )


@pytest.fixture
def kernels(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that keep to themselves, and take every warning for an error."""
    folder = tmp_path_factory.mktemp("k")  # short: a socket's path has some hundred characters
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PYTHONWARNINGS", STRICT)


@pytest.fixture
def harvesting(shell: Shell, repository: Callable[..., Path]) -> Iterator[None]:
    """A workspace with rows of some harvests, and a harvest that adds to them."""
    state = shell.workspace / ".flywheel"
    state.mkdir(parents=True)
    store = Store(state / "flywheel.duckdb")
    fill(store, 200, repositories=2, shape=Shape(mutants=6, attempted=0.2, survived=0.3))
    programs(store)
    version(state / "datasets")
    process = shell.start("harvest", "--repo", str(repository()), "--max-candidates", "40")
    yield
    assert shell.finish(process, time.monotonic()).code == 0


@pytest.mark.slow
@pytest.mark.usefixtures("kernels", "harvesting")
def test_every_notebook_runs_while_a_harvest_writes(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL_WORKSPACE", str(shell.workspace))
    done = execute(NOTEBOOKS)
    pictures = {name: len(one.pictures) for name, one in done.items()}
    assert pictures["01-harvest-yield"] == 3
    assert pictures["03-dataset-quality"] == 5
    assert pictures["04-errors-and-operators"] == 2
    assert pictures["05-cost"] == 1
    assert pictures["06-optimiser-runs"] == 4
    assert pictures["07-spin"] == 2
    everything = "".join(text for one in done.values() for text in one.texts)
    assert "No model was called in this workspace yet." in everything
    assert "The fix, from bad to good" in everything
