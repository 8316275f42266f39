"""Audits: every leak that is planted is found, and what is clean is called clean."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from flywheel.curate import Version, audit, load_version, normal
from flywheel.curate.holdout import COLUMNS, freezing
from tests.fakes.versions import row, version

NAMES = ("total", "count", "price", "weight", "limit", "offset", "ratio", "width", "depth")


def code(number: int, *, steps: int = 12) -> str:
    """A definition that is like no other one."""
    draw = random.Random(number)
    lines = [
        f"    {draw.choice(NAMES)}_{draw.randrange(99)} = {draw.choice(NAMES)}_{draw.randrange(99)}"
        f" {draw.choice('+-*/')} {draw.randrange(1000)}"
        for _ in range(steps)
    ]
    return "\n".join([f"def part_{number}(value):", *lines, "    return value"])


def own(number: int, **other: object) -> dict[str, object]:
    """A row that has nothing in common with the others."""
    good = code(number)
    bad = good.replace("return value", "return None")
    usual = {
        "path": f"package/part_{number}.py",
        "symbol": f"part_{number}",
        "good": good,
        "bad": bad,
        "prompt": [{"role": "user", "content": f"{bad}\n\nassert {number}"}],
        "completion": [{"role": "assistant", "content": good}],
        "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
    }
    return row(number, **(usual | other))


def held(root: Path, rows: list[dict[str, Any]]) -> None:
    """Freeze a hold-out of these rows."""
    frame = [
        {
            **one,
            "at": str(one["at"]),
            "definition": f"{one['repo'].split('==')[0]}\0{one['path']}\0{one['symbol']}",
            "files": [f"{one['repo'].split('==')[0]}\0{one['path']}"],
            "lineage": [one["candidate_id"]],
            "normal": normal(one["good"], "python"),
            "by": "component",
        }
        for one in rows
    ]
    with freezing(root, "main", pl.DataFrame(frame).select(pl.col(list(COLUMNS)))):
        pass


def planted(root: Path, by: str = "component", **changes: Mapping[str, object]) -> Version:
    """A version of 40 rows of which some are changed, by their number as a word."""
    rows = [own(number, **changes.get(f"n{number}", {})) for number in range(40)]
    held(root, rows[34:])
    return version(
        root,
        by=by,
        rows={"train": rows[:28], "validation": rows[28:34], "holdout": rows[34:]},
    )


def found(made: Version, root: Path) -> dict[str, int]:
    return {check.name: check.found for check in audit(made, root).checks if check.found}


def test_rows_that_have_nothing_in_common_are_clean(tmp_path: Path) -> None:
    made = planted(tmp_path)
    result = audit(made, tmp_path)
    assert result.leaks == 0
    looked = {check.name: check.looked for check in result.checks}
    assert looked["same-example"] == looked["answer-in-question"] == 40
    assert looked["frozen-holdout"] == 6


def edited(number: int) -> str:
    """A definition in which one token of some fifty is another."""
    return code(number, steps=30).replace("return value", "return values")


PLANTS: dict[str, dict[str, object]] = {
    "same-bug": {"candidate_id": own(38)["candidate_id"]},
    "same-definition": {"symbol": "part_38", "path": "package/part_38.py"},
    "same-file": {"path": "package/part_38.py"},
    "same-wrong-code": {"bad": own(38)["bad"]},
    "same-right-code": {"good": own(38)["good"]},
}


@pytest.mark.parametrize("name", sorted(PLANTS))
@pytest.mark.parametrize("number", [4, 30])
def test_each_planted_leak_is_found_and_nothing_is_missed_beside_it(
    tmp_path: Path, name: str, number: int
) -> None:
    told = found(planted(tmp_path, **{f"n{number}": PLANTS[name]}), tmp_path)
    assert told.pop(name) == 1
    # What is in the same definition is in the same file.
    assert told.keys() <= {"same-file"}


def test_an_example_in_two_splits_is_found(tmp_path: Path) -> None:
    rows = [own(number) for number in range(10)]
    held(tmp_path, rows[8:])
    made = version(
        tmp_path, rows={"train": [*rows[:8], rows[9]], "validation": [], "holdout": rows[8:]}
    )
    told = found(made, tmp_path)
    assert told["same-example"] == told["frozen-holdout"] == told["same-bug"] == 1


def test_right_code_with_another_layout_and_comments_is_the_same(tmp_path: Path) -> None:
    good = str(own(36)["good"]).replace("\n", "  # a comment\n", 2)
    assert found(planted(tmp_path, n3={"good": good}), tmp_path) == {"same-right-code": 1}


def test_near_duplicates_are_found_to_the_last_pair(tmp_path: Path) -> None:
    changes = {f"n{n}": {"good": code(n, steps=30)} for n in (35, 36, 37)}
    changes |= {f"n{n}": {"good": edited(n + 30)} for n in (5, 6, 7)}
    # In the same split nobody minds.
    changes |= {"n8": {"good": code(99, steps=30)}, "n9": {"good": edited(99)}}
    assert found(planted(tmp_path, **changes), tmp_path) == {"near-duplicate": 3}


def test_pairs_below_the_threshold_are_none(tmp_path: Path) -> None:
    half = "\n".join(code(36).split("\n")[:7]) + "\n" + "\n".join(code(5).split("\n")[7:])
    assert found(planted(tmp_path, n5={"good": half}), tmp_path) == {}


def test_a_question_that_holds_its_answer_is_found(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": f"mend this:\n{own(12)['good']}"}]
    assert found(planted(tmp_path, n12={"prompt": asked}), tmp_path) == {"answer-in-question": 1}


def test_a_line_too_many_is_no_answer_in_the_question(tmp_path: Path) -> None:
    good = code(12)
    bad = f"{good}\n    del value"
    asked = [{"role": "user", "content": f"mend this:\n{bad}"}]
    assert found(planted(tmp_path, n12={"bad": bad, "prompt": asked}), tmp_path) == {}


def test_a_row_that_was_held_out_before_is_found_in_any_other_split(tmp_path: Path) -> None:
    rows = [own(number) for number in range(10)]
    held(tmp_path, rows[6:])
    made = version(tmp_path, rows={"train": rows[:7], "validation": [], "holdout": rows[7:]})
    assert found(made, tmp_path) == {"frozen-holdout": 1}


def test_rows_that_were_altered_later_are_found(tmp_path: Path) -> None:
    made = planted(tmp_path)
    table = pq.read_table(made.file("train"))
    pq.write_table(table.slice(1), made.file("train"))
    assert found(load_version(made.folder), tmp_path) == {"altered": 1}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("manifest.json", '"most_error": 3000', '"most_error": 9'),
        ("manifest.json", '"code": "0000', '"code": "0001'),
        ("recipe.toml", "per_definition = 10", "per_definition = 11"),
        ("prompt.md", "wrong", "right"),
    ],
)
def test_what_a_version_says_of_itself_cannot_be_altered(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    path = planted(tmp_path).folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    told = found(load_version(path.parent), tmp_path)
    assert told.keys() == {"altered"}


def test_what_hangs_together_with_a_row_that_is_held_out_elsewhere_is_found(
    tmp_path: Path,
) -> None:
    rows = [own(number) for number in range(10)]
    held(tmp_path, [own(20), own(21, good=rows[2]["good"]), own(23, path=rows[3]["path"])])
    made = version(tmp_path, rows={"train": rows, "validation": [], "holdout": []})
    assert found(made, tmp_path) == {"same-right-code": 1, "same-file": 1}


def test_a_question_that_holds_the_change_is_found(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "mend:\n-    return a - b\n+    return a + b\n"}]
    assert found(planted(tmp_path, n12={"prompt": asked}), tmp_path) == {"answer-in-question": 1}


def test_by_repository_no_repository_is_in_two_splits(tmp_path: Path) -> None:
    made = planted(tmp_path, by="repository")
    assert found(made, tmp_path) == {"same-repository": 2}


def test_by_time_what_is_held_out_is_newer(tmp_path: Path) -> None:
    late = {"at": datetime(2026, 6, 1, tzinfo=UTC)}
    clean = planted(tmp_path / "a", by="time")
    assert found(clean, tmp_path / "a") == {}
    made = planted(tmp_path / "b", by="time", n3=late)
    assert found(made, tmp_path / "b") == {"not-older": 2}
