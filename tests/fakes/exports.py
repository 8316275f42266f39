"""Versions to be exported: bugs of a repository that has an address, and pairs of answers."""

from __future__ import annotations

from pathlib import Path

from flywheel.core.patch import unified_patch
from flywheel.curate import Version, load_version
from tests.fakes.versions import row, version

ADDRESS = "https://example.org/acme/calc.git"
HARD = 'at 2026-01-02T03:04:05Z \u2028 "quoted" \\ \x01 😀\r\n```\nend'
"""What has broken readers: a time, an end of a line that is none, controls, a fence."""
GOOD = "def total(a, b):\n    return a + b\n\n\ndef other():\n    return 1\n"
BAD = GOOD.replace("a + b", "a - b")
TREE = {
    "calc.py": GOOD,
    "pytest.ini": "[pytest]\npython_functions = test_* a\n",
    "test_more.py": "from calc import other\n\n\ndef a():\n    assert other() == 1\n",
    "tests/test_calc.py": (
        "from calc import total\n\n\ndef test_total():\n    assert total(1, 2) == 3\n"
    ),
}
"""Files of a repository as they are at the commit of the row of `real`."""


def repairs(root: Path) -> Version:
    """Thirteen rows to train with, two to choose by, of which one is of this machine, one more."""
    asked = [{"role": "system", "content": "Mend it."}, {"role": "user", "content": HARD}]
    train = [row(number, repo=ADDRESS) for number in range(12)]
    train.append(row(12, repo=ADDRESS, error=HARD, prompt=asked, license=None))
    return version(
        root,
        rows={
            "train": train,
            "validation": [row(20, repo=ADDRESS), row(21, repo="/home/someone/repository")],
            "holdout": [row(30, repo=ADDRESS)],
        },
    )


def pairs(root: Path) -> Version:
    """Two examples to train with, of which one has two wrong answers."""
    rows = [row(1), row(1, row_id=f"{1:016x}-2"), row(2)]
    for number, one in enumerate(rows):
        one["rejected"] = [{"role": "assistant", "content": f"```python\nwrong {number}\n```"}]
    return of_task("preference", version(root, rows={"train": rows}))


def real(root: Path) -> Version:
    """One row, whose patch, tests and environment are those of `TREE`."""
    one = row(
        1,
        repo=ADDRESS,
        path="calc.py",
        patch=unified_patch("calc.py", BAD.encode(), GOOD.encode()),
        failing_tests=["tests/test_calc.py::test_total"],
    )
    return version(root, rows={"train": [one]})


def of_task(task: str, version: Version) -> Version:
    """A version whose recipe says another task."""
    path = version.folder / "manifest.json"
    said = path.read_text(encoding="utf-8")
    path.write_text(said.replace('"task": "repair"', f'"task": "{task}"'), encoding="utf-8")
    return load_version(version.folder)
