"""`flywheel trends`: figures over time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flywheel.cli.main import run
from flywheel.cli.trends import sparkline
from flywheel.store import Figure, Store, record_figures

START = datetime(2026, 3, 1, tzinfo=UTC)
FIGURE = Figure("r", "harvest", "some/repo", "yield", 0.5, 40, 0.35, 0.65, created_at=START)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    store = Store(tmp_path / ".flywheel" / "flywheel.duckdb")
    values = [0.1, None, 0.4, 0.5]
    record_figures(
        store,
        [
            replace(FIGURE, run_id=f"r{n}", value=value, created_at=START + timedelta(days=n))
            for n, value in enumerate(values)
        ]
        + [
            replace(FIGURE, kind="metric", metric="parses", version=f"{n}@abcdef0123", low=None)
            for n in (1, 2)
        ],
    )
    return tmp_path


def test_a_course_is_drawn_from_its_least_to_its_most() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([3.0, None, 3.0]) == "▄·▄"
    assert sparkline([]) == ""
    assert sparkline([None]) == "·"


def test_each_figure_and_subject_is_a_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["--workspace", str(workspace), "trends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (course,) = [line for line in lines if line.startswith("yield")]
    assert course.split() == [
        *("yield", "some/repo", "▁·▆█", "0.500", "40", "0.350", "to", "0.650", "+0.100")
    ]
    # What another version has measured is no trend of this one.
    versions = [line.split()[:2] for line in lines if line.startswith("parses")]
    assert versions == [["parses", "1@abcdef"], ["parses", "2@abcdef"]]
    assert all("–" in line for line in lines if line.startswith("parses"))


def test_json_gives_the_rows_that_were_asked_for(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--workspace", str(workspace), "trends", "--json", "--metric", "yield"]
    assert run([*command, "--subject", "repo"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["value"] for row in rows] == [0.1, None, 0.4, 0.5]
    assert {row["n"] for row in rows} == {40}


def test_what_does_not_exist_is_told_with_what_does(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--workspace", str(workspace), "trends", "--metric", "yeild"]) == 2
    assert "did you mean yield?" in capsys.readouterr().err


def test_an_empty_store_has_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path), "trends"]) == 0
    assert "Nothing was measured yet." in capsys.readouterr().out
    assert not (tmp_path / ".flywheel").exists()
