"""Small repositories, as somebody tries it first: each function is seen, whatever its shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.conftest import Shell
from tests.past import git

GUARDED = {
    "shapes.py": """
        def area(w, h):
            if w < 0 or h < 0:
                raise ValueError("negative")
            return w * h
        """,
    "test_shapes.py": """
        from shapes import area
        def test_area(): assert area(2, 3) == 6
        def test_nothing(): assert area(0, 3) == 0
        """,
}
BINDING = {
    "mod.py": """
        def first(x):
            y = x + 0
            return y
        def second(x):
            y = x + 1
            return y
        """,
    "test_mod.py": """
        from mod import first, second
        def test_first(): assert first(1) == 1
        def test_second(): assert second(1) == 2
        """,
}
LATER = {
    "later.py": """
        import asyncio
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x
        def upto(n):
            for i in range(n):
                yield i
        """,
    "test_later.py": """
        import asyncio
        from later import double, upto
        def test_double(): assert asyncio.run(double(2)) == 4
        def test_upto(): assert list(upto(3)) == [0, 1, 2]
        """,
}
NESTED = {
    "nested.py": """
        import functools
        def outer(x):
            @functools.cache
            def inner(y): return y + 1
            return inner(x)
        def short(x): return outer(x) + 1
        """,
    "test_nested.py": """
        from nested import outer, short
        def test_outer(): assert outer(1) == 2
        def test_short(): assert short(1) == 3
        """,
}


@pytest.mark.parametrize(
    "files", [GUARDED, BINDING, LATER, NESTED], ids=["guarded", "binding", "later", "nested"]
)
def test_a_planted_error_is_seen_in_a_function_of_any_shape(
    shell: Shell, repository: Callable[..., Path], files: dict[str, str]
) -> None:
    ran = shell.harvest(repository(package=files))
    assert ran.code == 0, ran.err
    assert ran.summary["warm"], ran.err
    assert "unnoticed" not in ran.err
    assert ran.summary["candidates"]["valid"] > 0


def test_a_repository_that_is_its_own_workspace_sees_nothing_of_it(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository(name=str(shell.workspace.relative_to(shell.folder.parent)))
    ran = shell.harvest(root, "--max-candidates", "2")
    assert ran.code == 0, ran.err
    assert (root / ".flywheel" / "flywheel.duckdb").exists()
    assert git(root, "status", "--porcelain") == ""
