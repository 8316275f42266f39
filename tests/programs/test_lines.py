"""Lines written anew: a change says a fix, and says it back."""

import re

import pytest

from flywheel.programs.lines import (
    Change,
    applied,
    change_between,
    numbered,
    pattern,
    read,
    written,
)

GOOD = """def clamp(value, low, high):
    if value < low:
        return low

    return min(value, high)"""


def test_lines_are_numbered_from_one() -> None:
    assert numbered("a\nb") == "1: a\n2: b"


@pytest.mark.parametrize(
    ("bad", "change"),
    [
        (GOOD.replace("min", "max"), Change("5", "return min(value, high)")),
        (GOOD.replace("<", ">").replace("return low", "return high"),
         Change("2-3", "if value < low:\n    return low")),
        (GOOD.replace("        return low\n", ""), Change("2", "if value < low:\n    return low")),
        (GOOD + "\n    print()", Change("6", "")),
        (GOOD.replace("    if value < low:\n        return low\n", "    return low\n"),
         Change("2", "if value < low:\n    return low")),
    ],
    ids=["one line", "two lines", "a line that was dropped", "a line too many", "a condition"],
)  # fmt: skip
def test_a_fix_is_said_with_as_few_lines_as_it_takes(bad: str, change: Change) -> None:
    assert change_between(bad, GOOD) == change
    assert applied(change, bad) == GOOD


def test_the_same_code_has_no_change() -> None:
    assert change_between(GOOD, GOOD) is None


def test_a_fix_of_many_lines_cannot_be_said() -> None:
    many = "\n".join(f"    a{n} = {n}" for n in range(20))
    assert change_between(f"def f():\n{many}", f"def f():\n{many.replace('=', '+=')}") is None


@pytest.mark.parametrize("lines", ["0", "6", "4-9", "3-2", "one", "", "-1"])
def test_lines_that_are_not_there_make_no_code(lines: str) -> None:
    assert applied(Change(lines, "pass"), GOOD) is None


def test_new_lines_take_the_indentation_of_the_old() -> None:
    assert applied(Change("3", "        return 0"), GOOD) == applied(Change("3", "return 0"), GOOD)


@pytest.mark.parametrize("count", [1, 5, 9, 10, 19, 20, 47, 100, 123, 300])
def test_the_numbers_of_all_lines_and_no_others_may_be_named(count: int) -> None:
    named = re.compile(pattern("\n" * (count - 1)))
    assert [n for n in range(500) if named.match(str(n))] == list(range(1, count + 1))
    assert named.match(f"1-{count}")
    assert not named.match(f"1-{count + 1}")
    assert not named.match("01")


def test_a_change_is_written_as_lines_are_shown() -> None:
    code = "def f(x):\n    if x:\n        y = 1\n    return y"
    assert written(Change("3", "y = 2"), code) == "3:         y = 2"
    assert written(Change("2-3", "if not x:\n    y = 2"), code) == (
        "2-3:     if not x:\n        y = 2"
    )
    assert written(Change("4", ""), code) == "4:"
    with pytest.raises(ValueError, match="no line 5"):
        written(Change("5", "pass"), code)


@pytest.mark.parametrize(
    ("answer", "change"),
    [
        ("3:         y = 2", Change("3", "        y = 2")),
        ("3: y = 2\n", Change("3", "y = 2")),
        ("3:y = 2", Change("3", "y = 2")),
        ("2-3:     if not x:\n        y = 2", Change("2-3", "    if not x:\n        y = 2")),
        # As models that were never shown the form number their lines.
        ("2:     if not x:\n3:         y = 2", Change("2-3", "    if not x:\n        y = 2")),
        ("4:", Change("4", "")),
        ("y = 2", None),
        ("", None),
    ],
)
def test_an_answer_is_read_with_its_numbers(answer: str, change: Change | None) -> None:
    assert read(answer) == change


def test_what_is_written_is_read_again() -> None:
    bad = "def f(x):\n    if x:\n\n        y = 1\n    return y"
    good = "def f(x):\n    if not x:\n\n        y = 1\n        x = 2\n    return y"
    change = change_between(bad, good)
    assert change is not None
    found = read(written(change, bad))
    assert found is not None
    assert applied(found, bad) == good
