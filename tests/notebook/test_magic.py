"""The magics, in a shell of IPython's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from flywheel.core.errors import FlywheelError, UsageError
from flywheel.notebook import Door
from tests.fakes.stores import Filled


@pytest.fixture
def shell(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("FLYWHEEL_WORKSPACE", str(root))
    monkeypatch.setenv("IPYTHONDIR", str(root / "ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    assert made.run_cell("%load_ext flywheel").success
    yield made
    made.restore_sys_module_state()


def test_a_query_on_one_line_gives_a_frame(shell: InteractiveShell, planted: Filled) -> None:
    found = shell.run_cell("%fw SELECT count(*) AS n FROM examples").result
    assert isinstance(found, pl.DataFrame)
    assert found.item() == planted.rows


def test_a_query_below_gives_a_frame_or_keeps_it_under_a_name(
    shell: InteractiveShell, planted: Filled
) -> None:
    query = "SELECT source, {'n': count(*)} AS told\nFROM examples\nGROUP BY source"
    found = shell.run_cell(f"%%fw\n{query}").result
    assert dict(found.unnest("told").iter_rows()) == planted.sources
    assert shell.run_cell(f"%%fw by_source\n{query}").result is None
    assert shell.user_ns["by_source"].sort("source").equals(found.sort("source"))


def test_another_workspace_is_asked_once_it_was_opened(shell: InteractiveShell, bare: Path) -> None:
    assert isinstance(shell.run_cell("%fw").result, Door)
    opened = shell.run_cell(f"%fw_open {bare}").result
    assert opened.workspace.root == bare
    assert shell.run_cell("%fw SELECT count(*) FROM examples").result.item() == 0


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("%fw SELECT eror_type FROM examples", "Did you mean error_type?"),
        ("%fw DELETE FROM trials", "Begin with SELECT"),
        ("%%fw not-a-name\nSELECT 1", "The query goes below"),
        ("%fw_open /nowhere/at/all", "Name the folder"),
    ],
)
def test_what_is_wrong_is_told_in_a_few_lines(
    shell: InteractiveShell, cell: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = shell.run_cell(cell)
    assert isinstance(ran.error_in_exec, UsageError)
    told = capsys.readouterr()
    assert told.out.startswith("error: ")
    assert hint in told.out
    assert "Traceback" not in told.out + told.err
    assert len(told.out.splitlines()) < 10


def test_an_error_without_a_hint_is_told_without_one() -> None:
    assert FlywheelError("It broke.")._render_traceback_() == ["error: It broke."]
