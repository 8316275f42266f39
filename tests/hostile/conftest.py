"""The arenas of the hostile tests; each file's tests run at the level this machine gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.core.errors import SandboxError
from flywheel.sandbox import Level, Probe, probe

sys.path.insert(0, str(Path(__file__).parent))

from arena import Arena

PLANTED = "planted-7f3a"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.hostile)


@pytest.fixture(scope="session")
def found() -> Probe:
    try:
        return probe()
    except SandboxError as error:
        pytest.skip(f"no isolation here: {error}")


@pytest.fixture(scope="session")
def warm(found: Probe) -> Probe:
    if found.level is Level.S2:
        pytest.skip(f"level {found.level}: a fork has no sandbox of its own")
    return found


@pytest.fixture(scope="session")
def shared_arena(warm: Probe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYWHEEL_SECRET", PLANTED)
        made = Arena(warm, tmp_path_factory.mktemp("arena") / "one")
    yield made
    made.close()


@pytest.fixture
def arena(shared_arena: Arena) -> Iterator[Arena]:
    """A warm process, which must still serve after each hostile candidate."""
    yield shared_arena
    assert shared_arena.run("report('alive')").report == "alive"


@pytest.fixture(scope="session")
def sibling(warm: Probe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """Another warm process beside it."""
    made = Arena(warm, tmp_path_factory.mktemp("arena") / "two")
    yield made
    made.close()
