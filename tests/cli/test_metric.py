"""`flywheel metric` without tests to run: what a user's file and a user's mistakes lead to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.cli.main import run
from flywheel.store import Store, figures, ingest, sql
from tests.store.conftest import BASELINE, furnish, judged

MINE = '''
"""Whether the definition is long."""

from flywheel.programs import Answer, Case, Score

VERSION = "1"


def mine(case: Case, answer: Answer) -> Score:
    """Whether the definition is long."""
    if case.path == "UNKNOWN":
        return Score(None, "no ruler")
    return Score(1 / (case.path != "FAILS"), "long")
'''

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / ".flywheel" / "flywheel.duckdb")
    furnish(made)
    ingest(made, [judged(number) for number in range(6)], baseline_id=BASELINE.baseline_id)
    return made


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["--workspace", str(tmp_path), *arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


def paths(store: Store) -> list[str]:
    return [row["path"] for row in sql(store, "FROM examples ORDER BY example_id").to_dicts()]


def mine(folder: Path, **instead: str) -> None:
    text = MINE
    for name, value in instead.items():
        text = text.replace(name, value)
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics" / "mine.py").write_text(text)


def scores(store: Store) -> list[dict[str, Any]]:
    return sql(store, "SELECT * FROM scores").to_dicts()


def test_a_users_metric_fails_by_its_line_and_is_no_zero(
    store: Store, command: Run, tmp_path: Path
) -> None:
    wrong, unknown = sorted(set(paths(store)))[:2]
    mine(tmp_path, FAILS=wrong, UNKNOWN=unknown)
    code, out, _ = command("metric", "run", "mine", "--json")
    assert code == 1
    said = json.loads(out)
    assert said["failed"]
    for one in said["failed"]:
        assert "mine.py:13: mine failed on example" in one["message"]
        assert "ZeroDivisionError" in one["cause"]
    measured = [path for path in paths(store) if path not in (wrong, unknown)]
    assert (said["mean"]["value"], said["mean"]["n"]) == (1.0, len(measured))
    assert said["unknown"] == {"no ruler": paths(store).count(unknown)}
    assert len(scores(store)) == 6 - len(said["failed"])
    (figure,) = figures(store, metric="mine")
    assert (figure.n, figure.detail["failed"]) == (len(measured), len(said["failed"]))
    # Mended, it is another metric: everything is measured again.
    mine(tmp_path)
    code, out, _ = command("metric", "run", "mine", "--json")
    assert (code, json.loads(out)["now"], json.loads(out)["known"]) == (0, 6, 0)
    assert command("metric", "run", "mine", "--limit", "4")[1].count("0 measured now, 4 known") == 1


def test_what_is_not_known_is_measured_again_and_what_is_known_is_not(
    store: Store, command: Run, tmp_path: Path
) -> None:
    unknown = paths(store)[0]
    mine(tmp_path, UNKNOWN=unknown)
    count = paths(store).count(unknown)
    assert command("metric", "run", "mine")[0] == 0
    code, out, _ = command("metric", "run", "mine")
    assert code == 0
    assert f"6: {count} measured now, {6 - count} known from before" in out
    assert f"{count} × no ruler" in out
    assert len(scores(store)) == 6


def test_a_file_that_is_no_metric_is_listed_and_hides_nothing_silently(
    command: Run, tmp_path: Path
) -> None:
    mine(tmp_path)
    (tmp_path / "metrics" / "parses.py").write_text("def parses(\n")
    code, out, _ = command("metric", "list", "--json")
    assert code == 1
    by_name = {one["name"]: one for one in json.loads(out)}
    assert by_name["mine"]["origin"] == "workspace"
    assert by_name["mine"]["id"].startswith("metrics:mine@")
    assert "parses.py:1" in by_name["parses"]["problem"]
    assert by_name["tests_pass"]["needs"] == ["critic"]
    code, out, _ = command("metric", "list")
    assert code == 1
    assert "✗" in out


MEASURE = ("metric", "run", "parses")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("metric", "run", "test_pass"), "Did you mean tests_pass?"),
        ((*MEASURE, "--answers", "atempts"), "did you mean attempts?"),
        ((*MEASURE, "--answers", "attempts"), "flywheel correct makes attempts"),
        ((*MEASURE, "--where", "symbl = 'f'"), "Did you mean symbol?"),
        ((*MEASURE, "--limit", "0"), "--limit"),
        ((*MEASURE, "--answers", "broken.jsonl"), "broken.jsonl:2: not JSON"),
        ((*MEASURE, "--answers", "other.jsonl"), "its fields: id"),
        ((*MEASURE, "--answers", "empty.jsonl"), "empty.jsonl holds no answer"),
        (("metric", "run", "plan_judge", "--judge", "nobody"), "model profile 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    store: Store,
    command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    good = json.dumps({"example_id": "a", "answer": "b"})
    (tmp_path / "broken.jsonl").write_text(good + "\n{\n")
    (tmp_path / "other.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "empty.jsonl").write_text("\n")
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert scores(store) == []
    assert figures(store) == ()


def test_an_empty_store_says_what_fills_it(command: Run) -> None:
    code, _, err = command(*MEASURE)
    assert code == 2
    assert "flywheel harvest" in err
