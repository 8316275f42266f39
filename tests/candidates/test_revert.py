"""Fixes are told from other commits, and undone in what became of the files they touched."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from flywheel.candidates.fixes import MAX_LINES, Fix, Passed, look
from flywheel.candidates.revert import RevertSource
from flywheel.candidates.statement import HIDDEN, statement
from flywheel.core.records import Candidate
from flywheel.git import Commit, FileChange


def _is_test(path: str) -> bool:
    return path.startswith("tests/")


def _is_source(path: str) -> bool:
    return path.endswith(".py") and not path.startswith(("tests/", "vendor/"))


def _change(path: str = "pkg/a.py", status: str = "M", **more: Any) -> FileChange:
    facts: dict[str, Any] = {
        "path": path,
        "old_path": path,
        "status": status,
        "old": "old",
        "new": "new",
        "added": 1,
        "removed": 1,
        "binary": False,
        "submodule": False,
    }
    return FileChange(**{**facts, **more})


def _commit(
    subject: str,
    *changes: FileChange,
    body: str = "",
    parents: tuple[str, ...] = ("p",),
    oid: str = "c",
) -> Commit:
    return Commit(oid, parents, 1_600_000_000, subject, body, changes or (_change(),))


@pytest.mark.parametrize(
    ("commit", "expected"),
    [
        (_commit("Fix off-by-one in chunks"), Fix),
        (_commit("windowed: raise for a negative size", body="Fixes #12."), Fix),
        (_commit("Handle empty input", _change(), _change("tests/test_a.py")), Fix),
        (_commit("Crash on an empty list (closes GH-7)"), Fix),
        (_commit("Fix it", _change(status="R", old_path="pkg/b.py")), Fix),
        (_commit("Add a parser"), Passed.NOT_A_FIX),
        (_commit("Fix typo in a comment"), Passed.NOT_A_FIX),
        (_commit("Fix flake8 warnings"), Passed.NOT_A_FIX),
        (_commit("Refactor the lexer"), Passed.NOT_A_FIX),
        (_commit("Speed it up", _change(), _change("tests/test_a.py")), Passed.NOT_A_FIX),
        (_commit("Fix: merge", parents=("a", "b")), Passed.MERGE),
        (_commit("Fix: begin", parents=()), Passed.ROOT),
        (_commit("Fix the build", _change("setup.cfg")), Passed.NO_SOURCE),
        (_commit("Fix vendored", _change("vendor/x.py")), Passed.NO_SOURCE),
        (_commit("Fix tests", _change("tests/test_a.py")), Passed.NO_SOURCE),
        (_commit("Fix picture", _change("pkg/a.py", binary=True)), Passed.NO_SOURCE),
        (_commit("Fix module", _change("pkg/a.py", submodule=True)), Passed.NO_SOURCE),
        (_commit("Fix by a new file", _change(status="A")), Passed.NEW_FILES),
        (_commit("Fix by moving", _change(status="R", old="same", new="same")), Passed.NEW_FILES),
        (_commit("Fix all", _change(added=MAX_LINES)), Passed.TOO_LARGE),
        (_commit("Fix all", *[_change(f"pkg/{n}.py") for n in range(9)]), Passed.TOO_LARGE),
    ],
    ids=lambda value: value.subject if isinstance(value, Commit) else "",
)
def test_a_commit_is_a_fix_or_is_passed_over_for_a_reason(
    commit: Commit, expected: type[Fix] | Passed
) -> None:
    found = look(commit, is_source=_is_source, is_test=_is_test)
    if isinstance(expected, Passed):
        assert found is expected
    else:
        assert isinstance(found, Fix)


def test_every_signal_is_kept() -> None:
    body = "Reported in #31.\n\nResolves #30"
    commit = _commit("Fix a wrong sum", _change(added=4), _change("tests/test_a.py"), body=body)
    found = look(commit, is_source=_is_source, is_test=_is_test)
    assert isinstance(found, Fix)
    signals = found.signals
    assert signals.fix_words == ("fix", "wrong")
    assert (signals.closes, signals.issues, signals.test_files) == (True, ("31", "30"), 1)
    assert (signals.source_files, signals.source_lines) == (1, 5)
    assert signals.kinds == {"source": 1, "test": 1}


OLD = """
import math
LIMIT = 3
def area(r):
    return math.pi * r
def clip(x):
    if x > LIMIT:
        return LIMIT
    return x
def name():
    return "area"
"""
FIXED = OLD.replace("math.pi * r", "math.pi * r * r")


class _Repository:
    """Contents by hash, and commits newest first."""

    def __init__(self, now: dict[str, str], *commits: tuple[str, str, str, str]) -> None:
        """Each commit is its subject, a path, what stood there before and after."""
        self.blobs: dict[str, bytes] = {}
        self.commits = []
        for number, (subject, path, before, after) in enumerate(commits):
            old, new = f"old{number}", f"new{number}"
            self.blobs |= {old: before.encode(), new: after.encode()}
            self.commits.append(_commit(subject, _change(path, old=old, new=new), oid=f"c{number}"))
        self.now = {path: text.encode() for path, text in now.items()}

    def source(self, commits: Iterable[Commit] | None = None) -> RevertSource:
        return RevertSource(
            commits or self.commits,
            self.now,
            read=self.blobs.get,
            is_source=_is_source,
            is_test=_is_test,
            covered=None,
        )

    def changed(self, candidate: Candidate) -> str:
        now = self.now[candidate.path]
        span = candidate.span
        assert now[span.start : span.end].decode() == candidate.before
        made = now[: span.start] + candidate.after.encode() + now[span.end :]
        ast.parse(made)
        return made.decode()


def _drawn(source: RevertSource) -> list[Candidate]:
    found = []
    while (candidate := source.draw()) is not None:
        found.append(candidate)
    return found


def test_a_fix_is_undone_where_the_file_has_moved_on() -> None:
    now = FIXED.replace("import math", "# moved on\nimport math\nimport os") + "\ndef more(): ...\n"
    repository = _Repository({"pkg/a.py": now}, ("Fix area", "pkg/a.py", OLD, FIXED))
    (candidate,) = _drawn(repository.source())
    assert repository.changed(candidate) == now.replace("r * r", "r")
    assert (candidate.source, candidate.operator) == ("reverted", "revert-file")
    assert (candidate.symbol, candidate.before.strip()) == ("area", "return math.pi * r * r")
    assert candidate.bad == "def area(r):\n    return math.pi * r"
    assert candidate.origin is not None
    assert (candidate.origin.commit, candidate.origin.statement) == ("c0", "Fix area")


def test_what_has_changed_again_is_undone_by_hunks_or_passed_over() -> None:
    fixed = FIXED.replace('return "area"', 'return "AREA"')
    now = fixed.replace("math.pi * r * r", "math.tau * r * r / 2")
    both = ("Fix area and name", "pkg/a.py", OLD, fixed)
    repository = _Repository({"pkg/a.py": now}, both)
    (candidate,) = _drawn(repository.source())
    assert candidate.operator == "revert-hunk"
    assert repository.changed(candidate) == now.replace("AREA", "area")

    repository = _Repository({"pkg/a.py": now}, ("Fix area", "pkg/a.py", OLD, FIXED))
    source = repository.source()
    assert _drawn(source) == []
    assert source.passed == {"conflict": 1}


@pytest.mark.parametrize(
    ("now", "before", "after", "reason"),
    [
        ({"pkg/a.py": OLD}, OLD, FIXED, "undone"),
        ({"pkg/b.py": FIXED}, OLD, FIXED, "file-gone"),
        ({"pkg/a.py": FIXED}, "\0", FIXED, "unreadable"),
    ],
)
def test_a_fix_that_cannot_be_undone_is_counted(
    now: dict[str, str], before: str, after: str, reason: str
) -> None:
    source = _Repository(now, ("Fix area", "pkg/a.py", before, after)).source()
    assert _drawn(source) == []
    assert source.passed == {reason: 1}
    assert (source.commits, source.fixes, source.applied) == (1, 1, 0)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (OLD.replace("import math", "import math  # for pi"), "same-bytecode"),
        (OLD.replace("    return x\n", "    return x\n\n"), "same-bytecode"),
    ],
)
def test_a_fix_that_changes_no_code_is_pruned(after: str, reason: str) -> None:
    source = _Repository({"pkg/a.py": after}, ("Fix it", "pkg/a.py", OLD, after)).source()
    assert _drawn(source) == []
    assert source.pruned == {reason: 1}


def test_a_file_is_followed_through_its_names() -> None:
    repository = _Repository({"pkg/new.py": FIXED}, ("Fix area", "pkg/oldest.py", OLD, FIXED))
    moves = [
        _commit("Move", _change("pkg/new.py", "R", old_path="pkg/old.py", old="x", new="x")),
        _commit("Move", _change("pkg/old.py", "R", old_path="pkg/oldest.py", old="x", new="x")),
    ]
    (candidate,) = _drawn(repository.source([*moves, *repository.commits]))
    assert candidate.path == "pkg/new.py"


def test_a_change_of_several_statements_shows_all_of_them() -> None:
    after = FIXED.replace("LIMIT = 3", "LIMIT = 4")
    repository = _Repository({"pkg/a.py": after}, ("Fix both", "pkg/a.py", OLD, after))
    (candidate,) = _drawn(repository.source())
    assert candidate.symbol == "<module>"
    assert candidate.good == "LIMIT = 4\ndef area(r):\n    return math.pi * r * r"
    assert candidate.bad == "LIMIT = 3\ndef area(r):\n    return math.pi * r"
    assert repository.changed(candidate) == OLD


def test_a_fix_of_two_functions_is_one_candidate_that_shows_both() -> None:
    after = FIXED.replace('"area"', '"the area"')
    repository = _Repository({"pkg/a.py": after}, ("Fix both", "pkg/a.py", OLD, after))
    (candidate,) = _drawn(repository.source())
    first, second = candidate.changes
    assert (first.before, second.before) == (
        "    return math.pi * r * r\n",
        '    return "the area"\n',
    )
    assert candidate.bad == (
        "# pkg/a.py: area\ndef area(r):\n    return math.pi * r\n\n\n"
        '# pkg/a.py: name\ndef name():\n    return "area"'
    )
    assert candidate.patch.count("@@ ") == 1
    assert candidate.operator == "revert-file"


def test_a_fix_of_two_files_is_undone_as_a_whole() -> None:
    repository = _Repository({"pkg/a.py": FIXED, "pkg/b.py": "B = 2\n"})
    repository.blobs = {"a0": OLD.encode(), "a1": FIXED.encode(), "b0": b"B = 1\n"}
    repository.blobs["b1"] = b"B = 2\n"
    commit = _commit(
        "Fix both", _change("pkg/a.py", old="a0", new="a1"), _change("pkg/b.py", old="b0", new="b1")
    )
    (candidate,) = _drawn(repository.source([commit]))
    assert candidate.operator == "revert-commit"
    assert [one.path for one in candidate.changes] == ["pkg/a.py", "pkg/b.py"]
    assert candidate.bad == (
        "# pkg/a.py: area\ndef area(r):\n    return math.pi * r\n\n\n# pkg/b.py: <module>\nB = 1"
    )
    assert "+++ b/pkg/a.py" in candidate.patch
    assert "+++ b/pkg/b.py" in candidate.patch

    # Where one of them has moved on, what can be undone is undone by itself.
    repository.now["pkg/b.py"] = b"B = 3\n"
    (candidate,) = _drawn(repository.source([commit]))
    assert (candidate.operator, candidate.others) == ("revert-file", ())


def test_of_a_release_each_hunk_is_a_change_of_its_own() -> None:
    before = OLD.replace("def ", "\n\n\ndef ").replace("LIMIT = 3", "VERSION = 1")
    after = before.replace("pi * r", "pi * r * r").replace('"area"', '"the area"')
    after = after.replace("VERSION = 1", "VERSION = 2")
    repository = _Repository({"pkg/a.py": after})
    repository.blobs = {"old": before.encode(), "new": after.encode()}
    body = "Fixed\n-----\n- ``area`` was wrong\n- ``name`` was wrong\n"
    commit = _commit("pkg 1.0.1", _change(added=5, removed=2), body=body)
    source = repository.source([replace(commit, release="1.0.1")])
    found = {one.symbol: one for one in _drawn(source)}
    assert set(found) == {"area", "name"}
    assert {one.operator for one in found.values()} == {"revert-hunk"}
    assert found["area"].origin is not None
    assert found["area"].origin.statement == "pkg 1.0.1\n\n- ``area`` was wrong"


def test_the_same_change_is_drawn_once() -> None:
    commits = [("Fix area", "pkg/a.py", OLD, FIXED)] * 2
    source = _Repository({"pkg/a.py": FIXED}, *commits).source()
    assert len(_drawn(source)) == 1
    assert source.pruned == {"duplicate": 1}


def test_half_a_fix_that_leaves_a_name_unbound_is_pruned() -> None:
    before = OLD.replace("LIMIT = 3", "LIMIT = 3\nLOWER = 1").replace('"area"', "LOWER")
    fixed = OLD.replace("LIMIT = 3", "LIMIT = 3\nUPPER = 4").replace('"area"', "UPPER")
    now = fixed.replace("UPPER = 4", "UPPER = 5")
    repository = _Repository({"pkg/a.py": now}, ("Fix name", "pkg/a.py", before, fixed))
    source = repository.source()
    assert _drawn(source) == []
    assert source.pruned == {"incomplete": 1}


def test_a_fix_of_a_docstring_is_no_fix() -> None:
    before = OLD.replace("def name():\n", 'def name():\n    """First.\n\n    Teh name.\n    """\n')
    after = before.replace("Teh", "The")
    source = _Repository({"pkg/a.py": after}, ("Fix it", "pkg/a.py", before, after)).source()
    assert _drawn(source) == []
    assert source.pruned == {"same-bytecode": 1}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Use isinstance2 in area\n\nSigned-off-by: a <a@b>", f"Use {HIDDEN} in area"),
        ("Wrong\n\n```\nreturn r * r\n```\ntold", "Wrong\n\n\ntold".replace("\n\n\n", "\n\n")),
        ("Wrong\n\n- x = 1\n+ x = 2\n", "Wrong"),
        ("Wrong\r\n\r\n```\r\nr * r\r\n```\r\n\r\n- x\r\n+ y\r\n\r\ntold\r\n", "Wrong\n\ntold"),
        ("Compare with 17, not 3", f"Compare with {HIDDEN}, not 3"),
        ("Two\n\n- Fixed one\n- Fixed two\n\nEnd", "Two\n\n- Fixed one\n- Fixed two\n\nEnd"),
        ("Wrong\n\n@@ -1 +1 @@\n-x\n+y\n\ntold", "Wrong\n\ntold"),
    ],
)
def test_a_statement_hides_what_gives_the_fix_away(message: str, expected: str) -> None:
    assert statement(message, good="isinstance2(r, 17)", bad="isinstance(r, 3)") == expected
