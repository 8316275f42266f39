"""Edits: a fix as the lines it takes away and those it puts there, and back."""

import re

import pytest

from flywheel.programs.edit import LONGEST, Edit, applied, edit_between, grammar, read, written

GOOD = """def clamp(value, low, high):
    if value < low:
        return low

    return min(value, high)"""
HEAD, IF, LOW, _, LAST = GOOD.split("\n")


@pytest.mark.parametrize(
    ("bad", "edit"),
    [
        (GOOD.replace("min", "max"), Edit((LAST.replace("min", "max"),), (LAST,))),
        (GOOD.replace("<", ">").replace("return low", "return high"),
         Edit((IF.replace("<", ">"), LOW.replace("low", "high")), (IF, LOW))),
        (GOOD.replace(f"{LOW}\n", ""), Edit((IF,), (IF, LOW))),
        (GOOD.removeprefix(f"{HEAD}\n"), Edit((IF,), (HEAD, IF))),
        (GOOD + "\n    print()", Edit(("    print()",), ())),
        (GOOD.replace(IF, "    if True:"), Edit(("    if True:",), (IF,))),
    ],
    ids=["one line", "two lines", "a line that was dropped", "a head that was dropped",
         "a line too many", "a condition"],
)  # fmt: skip
def test_a_fix_is_said_with_as_few_lines_as_it_takes(bad: str, edit: Edit) -> None:
    assert edit_between(bad, GOOD) == edit
    assert applied(edit, bad) == GOOD


TWICE = "def f(x):\n    if x:\n        return 1\n    if x > 1:\n        return 1\n    return 2"


def test_a_line_that_stands_there_twice_is_named_with_the_one_above() -> None:
    good = TWICE.replace("        return 1\n    return 2", "        return 3\n    return 2")
    edit = edit_between(TWICE, good)
    assert edit is not None
    assert edit.old == ("    if x > 1:", "        return 1")
    assert applied(edit, TWICE) == good


def test_what_is_not_shown_of_a_docstring_names_nothing() -> None:
    bad = 'def f(x):\n    """One.\n\n    More.\n    """\n    return x'
    edit = edit_between(bad, bad.replace("    return x", "    x += 1\n    return x"))
    assert edit == Edit(("    return x",), ("    x += 1", "    return x"))


def test_the_same_code_has_no_edit() -> None:
    assert edit_between(GOOD, GOOD) is None


def test_lines_that_are_all_alike_name_no_place() -> None:
    assert edit_between("x\nx", "x\nx\ny\nx\nx") is not None
    assert edit_between("", "") is None


def test_a_fix_of_many_lines_cannot_be_said() -> None:
    many = "\n".join(f"    a{n} = {n}" for n in range(LONGEST + 1))
    assert edit_between(f"def f():\n{many}", f"def f():\n{many.replace('=', '+=')}") is None


@pytest.mark.parametrize(
    ("answer", "edit"),
    [
        ("-    a = 1\n+    a = 2", Edit(("    a = 1",), ("    a = 2",))),
        ("-a\n-b\n+c\n+d\n", Edit(("a", "b"), ("c", "d"))),
        ("-a", Edit(("a",), ())),
        ("-a\n-\n+", Edit(("a", ""), ("",))),
        # What models say around it, and a second edit.
        ("The sum is wrong.\n-a\n+b\nNow it is right.", Edit(("a",), ("b",))),
        ("--- f.py\n+++ f.py\n@@ -1 +1 @@\n-a\n+b", Edit(("a",), ("b",))),
        ("-a\n+b\n-c\n+d", Edit(("a",), ("b",))),
        ("+b", None),
        ("a = 2", None),
        ("", None),
    ],
)
def test_an_answer_is_read_by_its_first_edit(answer: str, edit: Edit | None) -> None:
    assert read(answer) == edit


def test_an_edit_is_made_where_its_lines_stand_first_and_just_so() -> None:
    code = "if a:\n    b\nb\nb"
    assert applied(Edit(("b",), ("c",)), code) == "if a:\n    b\nc\nb"
    assert applied(Edit(("    b",), ("    c",)), code) == "if a:\n    c\nb\nb"


def test_new_lines_are_moved_as_far_as_the_old_ones_stand_from_where_they_were_said() -> None:
    edit = Edit(("if value < low:",), ("if value > low:", "    pass", ""))
    assert applied(edit, GOOD) == GOOD.replace(IF, "    if value > low:\n        pass\n")


def test_lines_that_are_not_there_make_no_code() -> None:
    assert applied(Edit(("    return max(value)",), ("    pass",)), GOOD) is None


def test_what_is_written_is_read_again() -> None:
    bad = "def f(x):\n    if x:\n\n        y = 1\n    return y"
    good = "def f(x):\n    if not x:\n\n        y = 1\n        x = 2\n    return y"
    edit = edit_between(bad, good)
    assert edit is not None
    assert read(written(edit)) == edit
    assert applied(edit, bad) == good


SAID = """def least(values, default=None):
    '''Of some values.

    More of it.
    '''
    found = default
    for value in values:

        if found is None or value < found:
            found = "\\t" + value
    # The end.
    return found"""


def _obeys(answer: str, said: str) -> bool:
    """Whether an answer obeys a grammar: its rules end, so they are one regular expression."""
    rules = dict(line.split(" ::= ", 1) for line in said.split("\n"))

    def expanded(rule: str) -> str:
        parts = re.findall(r'"(?:[^"\\]|\\.)*"|\[[^]]*\]|\{[^}]*\}|\w+|[^\s\w]', rule)
        return "".join(map(part, parts))

    def part(one: str) -> str:
        if one.startswith('"'):
            return re.escape(one[1:-1].encode().decode("unicode_escape"))
        return f"(?:{expanded(rules[one])})" if one in rules else one.replace("(", "(?:")

    return re.fullmatch(expanded(rules["root"]), answer) is not None


@pytest.mark.parametrize(
    "good",
    [
        SAID.replace("<", "<="),
        SAID.replace("    # The end.\n", ""),
        SAID.replace("    # The end.", "    if not found:\n        raise ValueError"),
        SAID.replace("in values", "in list(values)").replace("is None", "is default"),
        SAID.replace("least", "most"),
        SAID.replace(" found = default\n", " found = 0\n"),
    ],
    ids=["a line", "a line too many", "lines", "with an empty line", "the head", "the first"],
)
def test_what_a_model_is_held_to_has_room_for_a_fix(good: str) -> None:
    edit = edit_between(SAID, good)
    assert edit is not None
    assert _obeys(written(edit), grammar(SAID))


@pytest.mark.parametrize(
    "answer",
    [
        "-    return value\n+    return found",
        "-    return foun\n+    return found",
        "-    More of it.",
        "-    found = default\n-    return found",
        "+    return found",
        "The last line:\n-    return found\n+    return value",
        "-    return found" + "\n+" * 9,
    ],
    ids=["another line", "half a line", "hidden", "apart", "nothing old", "words", "on and on"],
)
def test_what_is_no_edit_of_its_lines_a_model_cannot_say(answer: str) -> None:
    assert not _obeys(answer, grammar(SAID))


def test_each_edit_of_code_with_a_line_twice_can_be_said() -> None:
    for bad in ("x\nx\ny", "", "a\nab\nabc", "def f():\n\tpass\n\tpass"):
        lines = bad.split("\n")
        for first in range(len(lines)):
            for last in range(first + 1, len(lines) + 1):
                answer = written(Edit(tuple(lines[first:last]), ("z",)))
                assert _obeys(answer, grammar(bad)), answer
