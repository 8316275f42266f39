"""Versions of datasets for tests: real folders, made as a build makes them, of rows made here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flywheel.curate import Draft, Funnel, Version, load_recipe

PACKAGED = Path(__file__).parents[2] / "datasets"
"""The recipes that come with flywheel."""

PATCH = """\
--- a/{path}
+++ b/{path}
@@ -1,2 +1,2 @@
 def total(a, b):
-    return a - b
+    return a + b
"""


def row(number: int, **other: object) -> dict[str, object]:
    """A row of a version; what is in `other` takes the place of what is usual."""
    path = f"package/part_{number}.py"
    bad, good = "def total(a, b):\n    return a - b", "def total(a, b):\n    return a + b"
    error = f"FAILED test_total.py::test_{number} - assert {number} == {number + 2}"
    example = f"{number:016x}"
    usual: dict[str, object] = {
        "row_id": example,
        "example_id": example,
        "prompt": [{"role": "user", "content": f"{bad}\n\n{error}"}],
        "completion": [{"role": "assistant", "content": f"```python\n{good}\n```"}],
        "rejected": None,
        "repo": f"pypi:package{number % 2}==1.0",
        "commit": f"{number % 2:040x}",
        "path": path,
        "symbol": "total",
        "line": 2,
        "end_line": 2,
        "language": "python",
        "license": "MIT",
        "source": "mutated",
        "operator": "operator-swapped",
        "fix_origin": "original",
        "statement": None,
        "bad": bad,
        "good": good,
        "patch": PATCH.format(path=path),
        "error": error,
        "error_type": "AssertionError",
        "error_message": f"assert {number} == {number + 2}",
        "test_id": f"test_total.py::test_{number}",
        "test_source": None,
        "failing_tests": [f"test_total.py::test_{number}"],
        "passing_tests": 3,
        "oracle_strength": 0.9 if number % 4 else None,
        "flake_rate": 0.0,
        "difficulty": ("easy", "medium", "hard")[number % 3],
        "solved": None,
        "alike": 0,
        "family": f"f{number // 2}",
        "component": f"c{number // 2}",
        "at": datetime(2026, 1, 1 + number % 28, tzinfo=UTC),
        "candidate_id": f"{number + 10_000:016x}",
        "baseline_id": f"b{number % 2}",
        "environment_hash": f"e{number % 2}",
        "toolchain": "pytest@1",
        "sandbox_level": "S3",
    }
    return usual | other


def version(
    root: Path,
    *,
    recipe: str = "repair-sft",
    by: str = "component",
    train: int = 8,
    validation: int = 2,
    holdout: int = 2,
    rows: Mapping[str, list[dict[str, object]]] | None = None,
) -> Version:
    """A version under `root`, of so many usual rows, or of the rows given by split."""
    if rows is None:
        ends = (train, train + validation, train + validation + holdout)
        rows = {
            "train": [row(one) for one in range(ends[0])],
            "validation": [row(one) for one in range(ends[0], ends[1])],
            "holdout": [row(one) for one in range(ends[1], ends[2])],
        }
    found = [one for some in rows.values() for one in some]
    funnel = Funnel()
    funnel.add("select", len(found) + 3, [])
    funnel.add("quality", len(found) + 3, ["long-error", "long-error", "flaky"])
    tests = sorted({str(test) for one in found for test in _texts(one["failing_tests"])})
    names = ("baseline_id", "repo", "commit", "environment_hash", "toolchain")
    proven_in = {str(one["baseline_id"]): {name: one[name] for name in names} for one in found}
    more = {"python": "3.11", "packages": ["pytest==9.0.0"], "tests": [*tests, "test_more.py::a"]}
    with tempfile.TemporaryDirectory() as above, Draft(root / ".building") as draft:
        folder = Path(shutil.copytree(PACKAGED / recipe, Path(above) / recipe))
        rules = folder / "recipe.toml"
        rules.write_text(rules.read_text().replace('by = "component"', f'by = "{by}"'))
        for split, some in rows.items():
            for one in some:
                draft.add(split, one)
        return draft.finish(
            root,
            load_recipe(recipe, folder),
            code="0" * 16,
            funnel=funnel,
            holdout=None,
            baselines=[proven_in[key] | more for key in sorted(proven_in)],
        )


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else []
