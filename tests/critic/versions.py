"""Commits made up of files and of what their tests execute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

from flywheel.core.identity import bytes_hash
from flywheel.core.records import Baseline, BaselineTest
from flywheel.critic import Learned, Suite, Version, load_toolchains
from flywheel.critic.select import FileLines, LineIndex

TOOLCHAIN = load_toolchains([("pytest", Path(__file__).parents[2] / "critics" / "pytest")])[0]
FILES = {
    "pkg/__init__.py": "",
    "pkg/a.py": """
        LIMIT = 3
        def first(x):
            return x + 1
        def second(x):
            if x:
                return x
            return first(x)
        def third(x):
            return x
        """,
    "pkg/b.py": """
        from pkg.a import LIMIT
        class Thing:
            def __len__(self):
                return LIMIT
            def other(self):
                return 0
        """,
    "tests/test_a.py": """
        from pkg.a import first, second, third
        def test_first(): assert first(1) == 2
        def test_second(): assert second(1) == 1
        def test_third(): assert third(1) == 1
        """,
    "tests/test_b.py": """
        from pkg.b import Thing
        def test_len(): assert len(Thing()) == 3
        """,
    "README.md": "Read me.",
}
LINES = {
    "tests/test_a.py::test_first": {"pkg/a.py": [3]},
    "tests/test_a.py::test_second": {"pkg/a.py": [5, 6]},
    "tests/test_a.py::test_third": {"pkg/a.py": [9]},
    "tests/test_b.py::test_len": {"pkg/b.py": [4]},
}


def edited(path: str, before: str, after: str, files: Mapping[str, str] = FILES) -> dict[str, str]:
    """One of the files with the one place where `before` stands changed."""
    assert files[path].count(before) == 1
    return {path: files[path].replace(before, after)}


def version(
    files: Mapping[str, str],
    lines: Mapping[str, Mapping[str, list[int]]] = LINES,
) -> Version:
    """A commit of these files, whose tests execute these lines."""
    data = {path: dedent(text).lstrip("\n").encode() for path, text in files.items()}
    index: dict[str, FileLines] = {}
    for number, found in enumerate(lines.values()):
        for path, numbers in found.items():
            file = index.setdefault(path, FileLines())
            for line in numbers:
                file.tests[line] = file.tests.get(line, 0) | 1 << number
    ids = tuple(lines)
    paths = tuple(test_id.partition("::")[0] for test_id in ids)
    tests = tuple(
        BaselineTest(test_id, path, 1, "passed", 0.01, 0.0, "", "")
        for test_id, path in zip(ids, paths, strict=True)
    )
    baseline = Baseline("r", "e", "t", 3, tests, 0.1, datetime.now(UTC))
    suite = Suite(ids, paths, (0.01,) * len(ids), 0.1, LineIndex(index))
    entries = {path: bytes_hash(text) for path, text in data.items()}
    return Version(entries, data.get, Learned(baseline, suite), TOOLCHAIN)
