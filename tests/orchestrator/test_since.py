"""Which definitions a branch changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flywheel.git import resolve
from flywheel.orchestrator.since import Changed, changed_since
from tests.critic.versions import TOOLCHAIN
from tests.past import Past

FIRST = {
    "pkg/a.py": (
        "LIMIT = 1\ndef one():\n    return 1\nclass C:\n    def m(self):\n        return 2\n"
    ),
    "tests/test_a.py": "def test_one(): pass\n",
}


@pytest.fixture
def change(tmp_path: Path) -> Callable[..., Changed]:
    """What two commits lie apart: the first of these files, the second changed."""
    past = Past(tmp_path / "repo")

    def commit(files: Mapping[str, str | None]) -> None:
        for path, text in files.items():
            if text is None:
                (past.root / path).unlink()
            else:
                past.write(path, text)
        past.commit("Files")

    commit(FIRST)

    def run(files: Mapping[str, str | None]) -> Changed:
        commit(files)
        return changed_since(resolve(str(past.root), tmp_path / "cache"), "HEAD~1", TOOLCHAIN)

    return run


def test_a_changed_line_is_its_whole_definition(change: Callable[..., Changed]) -> None:
    found = change({"pkg/a.py": FIRST["pkg/a.py"].replace("return 2", "return 3")})
    assert [(one.path, one.name) for one in found.definitions] == [("pkg/a.py", "C.m")]
    assert found.lines("pkg/a.py") == {5, 6}
    assert found.within(lambda path: {1, 6, 7})("pkg/a.py") == {6}
    assert found.summary(lambda path: {5})["not_executed"] == ["pkg/a.py:C.m"]


def test_code_that_only_moves_did_not_change(change: Callable[..., Changed]) -> None:
    assert change({"pkg/a.py": "# Above.\n\n" + FIRST["pkg/a.py"]}).definitions == ()


def test_a_renamed_file_did_not_change(change: Callable[..., Changed]) -> None:
    found = change({"pkg/a.py": None, "pkg/b.py": FIRST["pkg/a.py"] + "def new():\n    pass\n"})
    assert [(one.path, one.name) for one in found.definitions] == [("pkg/b.py", "new")]


def test_tests_and_documents_give_no_definitions(change: Callable[..., Changed]) -> None:
    found = change({"tests/test_a.py": "def test_two(): pass\n", "README.md": "Read.\n"})
    assert found.definitions == ()
    assert found.tests == 1
