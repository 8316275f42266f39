"""Words that depend on a count."""

from __future__ import annotations

import pytest

from flywheel.core.wording import number


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")]
)
def test_a_noun_follows_its_count(count: int, said: str) -> None:
    assert number(count, "row") == said
