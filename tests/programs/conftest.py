"""A case and the shipped metrics, for the tests of this floor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.programs import Case, Metric, load_metric

METRICS = Path(__file__).parents[2] / "metrics"

BAD = '''def clamp(value, low, high):
    """Keep a value between two limits."""
    if value > low:
        return low
    return min(value, high)'''
GOOD = BAD.replace("value > low", "value < low")


@pytest.fixture
def case() -> Case:
    return Case(
        example_id="e" * 16,
        language="python",
        path="pkg/limits.py",
        symbol="clamp",
        bad=BAD,
        good=GOOD,
        error="FAILED tests/test_limits.py::test_clamp - AssertionError: assert 0 == 5",
        patch="",
        test_source=None,
    )


@pytest.fixture
def shipped() -> Callable[[str], Metric]:
    return lambda name: load_metric(name, lambda one: METRICS / f"{one}.py")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Metric]:
    """Load the metric `mine` of a file, and of further ones beside it."""

    def write(text: str, **more: str) -> Metric:
        for name, content in {"mine.py": text, **more}.items():
            (tmp_path / name.replace("__", ".")).write_text(content)
        return load_metric("mine", lambda one: tmp_path / f"{one}.py")

    return write
