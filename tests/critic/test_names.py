"""Names are followed from a change of import-time code to the tests that can notice it."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Span
from flywheel.critic.names import NameIndex, Touch
from flywheel.critic.select import FileLines, Layout, LineIndex, positions

SOURCE = dedent(
    """\
    import math as numbers
    from os.path import join
    LIMIT = 3
    HALF = LIMIT / 2
    TABLE = {}
    def register(name, value):
        TABLE[name] = value
    register("a", 1)
    class Base:
        size = 1
        def area(self):
            return self.size
    class Square(Base):
        def grow(self, by=2):
            return by
    UNIT = Square()
    def limit():
        return LIMIT
    def half():
        return HALF
    def look(name):
        return TABLE[name]
    def unit():
        return UNIT
    def local(LIMIT):
        return LIMIT
    def folder(*names):
        return join(*names)
    def root(x):
        return numbers.sqrt(x)
    """
)
# One test for each function, which executes its body alone.
TESTS = {"limit": 17, "half": 19, "look": 21, "unit": 23, "local": 25, "folder": 27, "root": 29,
         "area": 11, "grow": 14}  # fmt: skip
TEST_FILE = b"".join(b"def test_%s(): pass\n" % name.encode() for name in TESTS)
TEST_FILE += b"def test_mentions():\n    from shop import HALF\n    assert HALF\n"
NAMES = [*TESTS, "mentions"]


def noticing(before: str, after: str, others: bytes = b"") -> set[str] | None:
    source = SOURCE.encode()
    assert source.count(before.encode()) == 1
    start = source.index(before.encode())
    line = source.count(b"\n", 0, start) + 1
    candidate = Candidate(
        path="shop.py", symbol="", span=Span(start, start + len(before)), before=before,
        after=after, line=line, end_line=line + before.count("\n"), source="written",
        operator="hand", good="", bad="", base_hash=bytes_hash(source),
    )  # fmt: skip
    executed = {line + 1: 1 << number for number, line in enumerate(TESTS.values())}
    lines = LineIndex(
        {
            "shop.py": FileLines(
                tests=executed, imported={*range(1, 30)} - {line + 1 for line in TESTS.values()}
            )
        }
    )
    tests = [(f"test_shop.py::test_{name}", number) for number, name in enumerate(NAMES)]
    index = NameIndex(
        lines, {"shop.py": source}, {"test_shop.py": TEST_FILE + others}, {"test_shop.py": tests}
    )
    layout = Layout(source)
    place = layout.place(candidate)
    assert place is not None
    first, last = place.segment
    segment = source[first:start] + after.encode() + source[candidate.span.end : last]
    if place.inside_body:
        touch = index.touch_body(layout.tree, candidate)
    else:
        touch = index.touch(layout.tree, segment, candidate)
    if touch is None:
        return None
    return {NAMES[position] for position in positions(index.noticing("shop.py", touch))}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param("LIMIT = 3", "LIMIT = 4", {"limit", "half", "mentions"}, id="a constant"),
        pytest.param("LIMIT / 2", "LIMIT / 3", {"half", "mentions"}, id="what is made of it"),
        pytest.param('register("a", 1)', 'register("a", 2)', {"look"}, id="a call that fills"),
        pytest.param("TABLE[name] = value", "TABLE[name] = 0", {"look"}, id="a body run at import"),
        pytest.param("size = 1", "size = 2", {"area", "grow", "unit"}, id="a class attribute"),
        pytest.param("class Square(Base)", "class Square", {"grow", "unit"}, id="a base class"),
        pytest.param("by=2", "by=3", {"grow"}, id="a default of a method"),
        pytest.param("math as numbers", "cmath as numbers", {"root"}, id="an import renamed"),
        pytest.param("HALF = LIMIT / 2", "WHOLE = LIMIT / 2", None, id="a name that goes"),
    ],
)
def test_those_that_can_notice_are_found_and_no_others(before, after, expected):
    assert noticing(before, after) == expected


def test_what_tests_share_counts_for_all_of_the_file():
    helper = b"def helper():\n    from shop import look\n    return look('a')\n"
    assert noticing('register("a", 1)', 'register("a", 2)', helper) == {"look"}
    helper = b"from shop import TABLE as table\n"
    assert noticing('register("a", 1)', 'register("a", 2)', helper) == set(NAMES)


def test_a_segment_that_does_not_parse_says_nothing():
    index = NameIndex(LineIndex({}), {"a.py": b"A = 1\n"}, {}, {})
    candidate = Candidate(
        path="a.py", symbol="", span=Span(4, 5), before="1", after=")", line=1, end_line=1,
        source="written", operator="hand", good="", bad="", base_hash="",
    )  # fmt: skip
    assert index.touch(ast.parse("A = 1\n"), b"A = )\n", candidate) is None


def test_lines_that_depend_on_the_order_select_the_whole_file():
    steady = FileLines(tests={3: 0b1, 7: 0b10})
    assert LineIndex({"a.py": steady}).covering("a.py", [3]) == 0b1
    unsteady = FileLines(tests={3: 0b1, 7: 0b10}, unsteady={3})
    assert LineIndex({"a.py": unsteady}).covering("a.py", [3]) == 0b11


def test_what_a_test_reaches_through_other_files_counts():
    helper = b"import shop\ndef deep(): return shop.HALF\n"
    files = {
        "tests/deeper.py": helper,
        "tests/helpers.py": b"from tests import deeper\n",
        "tests/test_a.py": b"from tests import helpers\ndef test_a(): helpers.deeper.deep()\n",
        "tests/test_b.py": b"def test_b(): pass\n",
    }
    tests = {"tests/test_a.py": [("tests/test_a.py::test_a", 0)],
             "tests/test_b.py": [("tests/test_b.py::test_b", 1)]}  # fmt: skip
    index = NameIndex(LineIndex({}), {"shop.py": b"HALF = 1\n"}, files, tests)
    assert index.noticing("shop.py", Touch(frozenset({"HALF"}), range(0))) == 0b01


def test_files_that_break_parsers_are_read_as_words():
    files = {"test_a.py": b"HALF = " + b"-" * 100_000 + b"1\n"}
    index = NameIndex(
        LineIndex({}), {"shop.py": b"HALF = 1\n"}, files, {"test_a.py": [("test_a.py::test_a", 0)]}
    )
    assert index.noticing("shop.py", Touch(frozenset({"HALF"}), range(0))) == 1


@pytest.mark.parametrize(
    "statement",
    ["sys.setrecursionlimit(5000)", "decimal.getcontext().prec = 50", "decimal.BASE = 2"],
)
def test_what_is_altered_elsewhere_may_be_noticed_by_anyone(statement):
    source = f"import decimal, sys\n{statement}\n".encode()
    index = NameIndex(LineIndex({}), {"a.py": source}, {}, {})
    start = source.index(statement.encode())
    candidate = Candidate(
        path="a.py", symbol="", span=Span(start, start), before="", after="", line=2, end_line=2,
        source="written", operator="hand", good="", bad="", base_hash="",
    )  # fmt: skip
    assert index.touch(ast.parse(source), source[start:], candidate) is None
