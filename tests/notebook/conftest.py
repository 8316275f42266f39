"""A workspace with a store that looks like some harvests, and the door to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

import flywheel
from flywheel.notebook import Door
from flywheel.store import Store
from tests.fakes.stores import Filled, Shape, fill

ROWS = 240
SHAPE = Shape(mutants=6, attempted=0.2, survived=0.3)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """A workspace's folder, and what was put into its store."""
    root = tmp_path_factory.mktemp("workspace")
    state = root / ".flywheel"
    state.mkdir()
    return root, fill(Store(state / "flywheel.duckdb"), ROWS, repositories=2, shape=SHAPE)


@pytest.fixture
def root(furnished: tuple[Path, Filled]) -> Path:
    return furnished[0]


@pytest.fixture
def planted(furnished: tuple[Path, Filled]) -> Filled:
    return furnished[1]


@pytest.fixture
def fw(root: Path) -> Door:
    door: Door = flywheel.open(root)
    return door


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A workspace whose store holds nothing."""
    store = Store(tmp_path / ".flywheel" / "flywheel.duckdb")
    with store.writing():
        pass
    return tmp_path


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty at first."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
