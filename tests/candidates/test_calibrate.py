"""Fixes are classified by the operator that would undo them, and weigh what is drawn."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from flywheel.candidates import calibrate as module
from flywheel.candidates import differences as differing
from flywheel.candidates.calibrate import (
    LEAST,
    MOST,
    PRIOR,
    Calibration,
    distance,
    drawn_families,
    learn_mistakes,
    weights,
)
from flywheel.candidates.differences import differences
from flywheel.candidates.operators import all_operators, families
from flywheel.git import Commit, FileChange

FUNCTION = """@memoised
def find(items, key, default=None):
    '''Find it.'''
    if key < len(items) and key in items:
        found = int(items[key])
        items.sort(reverse=True)
        return [found.value, key + 1]
    return default
"""


@pytest.mark.parametrize(
    ("fixed", "broken", "family"),
    [
        ("key < len", "key <= len", "comparison"),
        ("key in items", "key not in items", "comparison"),
        (" and key in items", "", "boolean"),
        (") and key", ") or key", "boolean"),
        (
            "if key < len(items) and key in items",
            "if not (key < len(items) and key in items)",
            "boolean",
        ),
        ("key + 1", "key + 2", "constant"),
        ("key + 1", "key - 1", "arithmetic"),
        ("key + 1", "key", "arithmetic"),
        ("int(items[key])", "items[key]", "type-coercion"),
        ("int(items[key])", "int(items[found])", "variable-misuse"),
        ("found.value", "found.name", "variable-misuse"),
        ("int(items[key])", "int(items[0])", None),
        ("reverse=True", "", "call-arguments"),
        ("[found.value, key + 1]", "[found.value]", "collection"),
        ("        items.sort(reverse=True)\n", "", "statement"),
        ("        found = int(items[key])\n", "", "assignment"),
        ("        return [found.value, key + 1]\n", "", "return"),
        ("return default", "return", "return"),
        ("    return default", "    default", "return"),
        ("default=None", "default=0", "default-argument"),
        ("key, default", "key, more, default", None),
        ("@memoised\n", "", "decorator"),
        ("Find it.", "Find.", "nothing"),
    ],
)
def test_a_difference_has_the_family_that_makes_it(
    fixed: str, broken: str, family: str | None
) -> None:
    assert fixed in FUNCTION
    before = FUNCTION.replace(fixed, broken)
    found = [one.family for one in differences(before.encode(), FUNCTION.encode())]
    if family == "nothing":
        assert found == []
    else:
        assert family in found


@pytest.mark.parametrize(
    ("before", "after", "family"),
    [
        ("f(x)\n", "if x:\n    f(x)\n", "control-flow"),
        ("f(x)\n", "try:\n    f(x)\nexcept E:\n    pass\n", "exception"),
        ("if x:\n    f()\n", "if x:\n    f()\nelse:\n    g()\n", "control-flow"),
        ("f()\n", "if not x:\n    raise E\nf()\n", "control-flow"),
        ("x = a\n", "x = a if a else b\n", "control-flow"),
        ("x = a\n", "x = not a\n", "boolean"),
        ("x = a\n", "x = a[1:]\n", "slice-index"),
        ("x = a[1:]\n", "x = a[2:]\n", "slice-index"),
        ("x = a\n", "x = a.strip()\n", "string"),
        ("x = a.lstrip()\n", "x = a.rstrip()\n", "string"),
        ("x = 'a'\n", "x = 'b'\n", "string"),
        ("x = [a for a in b]\n", "x = [a for a in b if a]\n", "loop"),
        ("x = value\n", "x = self.value\n", "variable-misuse"),
        ("x = d.get(1)\n", "x = d[1]\n", "collection"),
        ("x += 1\n", "x = 1\n", "assignment"),
        ("class A: x = 1\n", "class A(B): x = 1\n", "inheritance"),
        ("isinstance(x, int)\n", "isinstance(x, (int, str))\n", "type-coercion"),
        ("try: f()\nexcept A: pass\n", "try: f()\nexcept (A, B): pass\n", "exception"),
        ("with a: f()\n", "with a, b: f()\n", "context-manager"),
        ("async def f():\n    x()\n    y\n", "async def f():\n    await x()\n    y\n", "async"),
        ("f()\n", "import g\nf()\n", None),
        ("f()\ng()\n", "f()\n", None),
    ],
)
def test_syntax_that_a_fix_brings_has_the_family_that_takes_it_away(
    before: str, after: str, family: str | None
) -> None:
    assert [one.family for one in differences(before.encode(), after.encode())] == [family]


def test_every_family_that_is_named_exists() -> None:
    text = Path(differing.__file__).read_text()
    named = {
        name
        for pair in re.findall(r'"([a-z-]+)" if|(?:_at\(|return )"([a-z-]+)"', text)
        for name in pair
    }
    tables = {*differing._ADDED.values(), *differing._TURNED.values()}
    assert len(named | tables) > 15
    assert (named | tables) - {""} <= set(families())


def history(
    *fixes: tuple[str, str], path: str = "pkg/a.py"
) -> tuple[list[Commit], dict[str, bytes]]:
    """Commits that each turn the first text of a pair into the second."""
    commits, blobs = [], {}
    for number, (before, after) in enumerate(fixes):
        old, new = f"{number}-old", f"{number}-new"
        blobs[old], blobs[new] = before.encode(), after.encode()
        change = FileChange(path, path, "M", old, new, 1, 1, False, False)
        commits.append(Commit(str(number), ("p",), 1_600_000_000, "Fix it", "", (change,)))
    return commits, blobs


def learned(*fixes: tuple[str, str], path: str = "pkg/a.py") -> Calibration:
    commits, blobs = history(*fixes, path=path)
    return learn_mistakes(
        commits, read=blobs.get, is_source=lambda _: True, is_test=lambda _: False
    )


def undone(fixed: str, broken: str) -> tuple[str, str]:
    assert fixed in FUNCTION
    return FUNCTION.replace(fixed, broken), FUNCTION


def test_an_operator_that_undoes_a_fix_to_the_letter_is_named() -> None:
    found = learned(
        undone("key < len", "key <= len"),
        undone("        items.sort(reverse=True)\n", ""),
        undone(" and key in items", ""),
        undone("found.value", "found.other"),
    )
    assert (found.fixes, found.classified, found.exact) == (4, 4, 3)
    assert found.operators == {
        "comparison-boundary": 1,
        "call-statement-dropped": 1,
        "boolean-operand-dropped": 1,
    }
    assert found.families == {
        "comparison": 1,
        "statement": 1,
        "boolean": 1,
        "variable-misuse": 1,
    }


def test_a_fix_counts_once_however_many_pieces_it_has() -> None:
    before = FUNCTION.replace("key < len", "key <= len").replace("return default", "return")
    found = learned((before, FUNCTION))
    assert found.classified == 1
    assert found.families == {"comparison": 0.5, "return": 0.5}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f():\n    print 1\n", "def f():\n    print 2\n"),
        ("def f():\n    return 1\n", "def f():\n    # one\n    return 1\n"),
        ("def f():\n    return 1\n", "def f():\n    return 1\n\n\ndef g():\n    return 2\n"),
        ("def f(a):\n    return a\n", "def f(a):\n    return g(h(a), h(1))\n"),
        ("x = 1\n", "x = '\xff"),
    ],
)
def test_what_cannot_be_read_or_that_no_operator_makes_is_not_classified(
    before: str, after: str
) -> None:
    found = learned((before, after))
    assert (found.fixes, found.classified, found.families) == (1, 0, {})


def test_files_that_are_not_python_are_no_fixes_to_learn_from() -> None:
    assert learned(undone("key < len", "key <= len"), path="a.js").fixes == 0


def test_only_so_many_commits_and_fixes_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    fixes = [undone("key < len", "key <= len")] * 9
    monkeypatch.setattr(module, "MAX_FIXES", 4)
    assert learned(*fixes).fixes == 4
    monkeypatch.setattr(module, "MAX_COMMITS", 3)
    assert learned(*fixes).commits == 3


def _calibration(exactly: dict[str, float] | None = None, **counted: float) -> Calibration:
    return Calibration(9, 9, 9, 9, counted, exactly or {})


def test_without_fixes_every_operator_weighs_what_it_did() -> None:
    found = weights(_calibration(), all_operators())
    assert list(found.values()) == pytest.approx([1.0] * len(found))


def test_few_fixes_change_little_and_many_are_bounded() -> None:
    few = weights(_calibration(comparison=1), all_operators())
    assert 1 < few["comparison-boundary"] < 2
    assert 0.9 < few["and-or"] < 1
    many = weights(_calibration(comparison=1000), all_operators())
    assert many["comparison-boundary"] == MOST
    assert many["and-or"] == LEAST


def test_a_familys_weight_is_as_the_formula_says() -> None:
    operators = all_operators()
    size = len(families()["comparison"])
    found = weights(_calibration({"comparison-boundary": 0.5}, comparison=4, boolean=30), operators)
    share = (4 + PRIOR * size / len(operators)) / (34 + PRIOR)
    assert found["chain-break"] == pytest.approx(share / (size + 0.5) * len(operators))
    assert found["comparison-boundary"] == pytest.approx(1.5 * found["chain-break"])


def test_the_distance_is_that_of_jensen_and_shannon() -> None:
    assert distance({"a": 1}, {"a": 7}) == 0
    assert distance({"a": 1}, {"b": 1}) == pytest.approx(1)
    # Half a bit less the entropy of (3/4, 1/4): H(3/4) - 1/2 H(1/2).
    assert distance({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(0.557923)
    assert distance({}, {"a": 1}) is None


FILES = {f"m{number}.py": (FUNCTION * 8).encode() for number in range(3)}


def _drawn(given: dict[str, float] | None, seed: int = 0) -> Counter[str]:
    return drawn_families(
        FILES, all_operators(), seed=seed, draws=150, covered=lambda _: None, weights=given
    )


def test_what_is_drawn_comes_nearer_to_the_fixes_and_is_the_same_again() -> None:
    found = _calibration(**{"comparison": 60, "boolean": 30, "variable-misuse": 10})
    given = weights(found, all_operators())
    plain, calibrated = (
        distance(_drawn(None), found.families),
        distance(_drawn(given), found.families),
    )
    assert plain is not None
    assert calibrated is not None
    assert calibrated < plain - 0.1
    assert _drawn(given) == _drawn(given)
