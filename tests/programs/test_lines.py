"""Lines of a definition: their numbers, and those that are wrong."""

import re

import pytest

from flywheel.programs.lines import docstring_lines, numbered, pattern, wrong_lines

GOOD = """def clamp(value, low, high):
    if value < low:
        return low

    return min(value, high)"""


def test_lines_are_numbered_from_one() -> None:
    assert numbered("a\nb") == "1: a\n2: b"


@pytest.mark.parametrize(
    ("bad", "lines"),
    [
        (GOOD.replace("min", "max"), "5"),
        (GOOD.replace("<", ">").replace("return low", "return high"), "2-3"),
        (GOOD.replace("        return low\n", ""), "2"),
        (GOOD + "\n    print()", "6"),
        (GOOD.replace("def clamp(value, low, high):\n", ""), "1"),
        (GOOD, None),
    ],
    ids=["one line", "two lines", "a line that was dropped", "a line too many", "a head", "none"],
)
def test_the_wrong_lines_are_those_that_a_fix_changes(bad: str, lines: str | None) -> None:
    assert wrong_lines(bad, GOOD) == lines


@pytest.mark.parametrize("count", [1, 5, 9, 10, 19, 20, 47, 100, 123, 300])
def test_the_numbers_of_all_lines_and_no_others_may_be_named(count: int) -> None:
    named = re.compile(pattern("\n" * (count - 1)))
    assert [n for n in range(500) if named.match(str(n))] == list(range(1, count + 1))
    assert named.match(f"1-{count}")
    assert not named.match(f"1-{count + 1}")
    assert not named.match("01")


def test_a_docstring_has_lines_behind_its_first() -> None:
    assert docstring_lines('def f():\n    """One.\n\n    More.\n    """\n    return 1') == range(
        3, 6
    )
    for code in ('def f():\n    """One."""', "x = 1", "def f(:", ""):
        assert not docstring_lines(code)
