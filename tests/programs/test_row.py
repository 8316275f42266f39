"""Rows as programs see them."""

from __future__ import annotations

from pathlib import Path

from flywheel.programs import rows_of
from tests.fakes.versions import row, version


def test_bugs_of_one_definition_are_known_as_such_in_every_release(tmp_path: Path) -> None:
    same = {"path": "p.py", "symbol": "f"}
    given = [
        row(1, repo="pypi:one==1.0", **same),
        row(2, repo="pypi:one==2.0", **same),
        row(3, repo="pypi:two==1.0", **same),
        row(4, repo="pypi:one==1.0", path="p.py", symbol="g"),
        row(5, repo="https://example.org/one.git", **same),
    ]
    made = version(tmp_path, rows={"train": given})
    one, again, *others = (found.definition for found in rows_of(made, "train"))
    assert one == again
    assert len({one, *others}) == 4
