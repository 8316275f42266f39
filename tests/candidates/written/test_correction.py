"""A bug as a model is shown it, and what its answers make of the code: the definition, no more."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flywheel.candidates import Broken, Form, Mended, PythonLanguage, Rejected, correction
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import candidate
from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Change, Span, TestFailure
from flywheel.lm import Response, Usage

BASE = b'''import re

LIMIT = 3


@cached
def least(a, b=2, *rest, strict=True, **more):
    """The lesser.

    Of two.
    """
    if a < b:
        return a
    return b


class Words:
    size = 4

    def first(self, words):
        text = """kept
  as it is"""
        for word in words:
            if word:
                return word.strip() + text
        raise ValueError("none")


def last(words):
    return words[-1]
'''


def bug(before: str, after: str, base: bytes = BASE, path: str = "pkg/a.py") -> Candidate:
    start = base.index(before.encode())
    edit = Edit(Span(start, start + len(before.encode())), after)
    site = PythonLanguage().site_of(path, base, edit, "planted")
    return candidate(path, base, site)


def found(before: str, after: str, base: bytes = BASE) -> Broken:
    made = bug(before, after, base)
    bad = base.replace(before.encode(), after.encode(), 1)
    shown = correction.broken(made, base, bad)
    assert isinstance(shown, Broken), shown
    return shown


def made(
    shown: Broken, text: object, form: Form = "definition", finish: str = "stop"
) -> Mended | Rejected:
    said = text if isinstance(text, str) else json.dumps(text)
    response = Response(said, finish, Usage(), "model")  # type: ignore[arg-type]  # any, for the test
    return correction.mended(response, form, shown, "attempt:model@1")


def whole(shown: Broken, one: Mended | Rejected) -> str:
    assert isinstance(one, Mended), one
    if one.candidate is None:
        return shown.base.decode()
    (change,) = one.candidate.changes
    return (
        shown.base[: change.span.start] + change.after.encode() + shown.base[change.span.end :]
    ).decode()


LEAST = found("a < b", "a > b")
FIRST = found("if word:", "if not word:")


def test_a_model_sees_the_definition_that_fails_with_its_decorators_and_file_lines() -> None:
    assert LEAST.code.startswith("@cached\ndef least(a, b=2,")
    assert "a > b" in LEAST.code
    assert "def last" not in LEAST.code
    assert LEAST.numbered.startswith("6: @cached\n7: def least")
    assert "12:     if a > b:" in LEAST.numbered
    assert FIRST.code.startswith("def first(self, words):")


def test_the_lines_to_choose_from_are_neither_blank_nor_documentation() -> None:
    assert [one.partition(":")[0] for one in LEAST.choices] == ["6", "7", "12", "13", "14"]


def test_the_question_holds_code_and_error_and_the_test_by_option() -> None:
    asked = correction.opening(LEAST, "definition", "FAILED test_x", None)
    message = asked.messages[-1]
    assert LEAST.code in message.text
    assert "FAILED test_x" in message.text
    assert "{" not in message.text
    assert asked.max_tokens is not None
    with_test = correction.opening(LEAST, "definition", "E", "    def test_x(): pass")
    assert "def test_x(): pass" in with_test.messages[-1].text
    long = correction.opening(LEAST, "definition", "E" * 99_999, None)
    assert len(long.messages[-1].text) < 6000


def test_braces_of_the_code_are_no_names_to_fill_in() -> None:
    shown = found("words[-1]", '"{error} {path}"')
    assert "{error} {path}" in correction.opening(shown, "definition", "E", None).messages[-1].text


def test_a_definition_that_differs_from_the_base_is_a_change_of_it() -> None:
    code = LEAST.code.replace("if a > b:\n        return a\n    return b", "return min(a, b)")
    one = made(LEAST, {"code": code})
    assert isinstance(one, Mended)
    assert one.code == code
    assert one.candidate is not None
    assert (one.candidate.source, one.candidate.symbol) == ("written", "least")
    assert one.candidate.operator == "attempt:model@1"
    assert whole(LEAST, one) == BASE.decode().replace(
        "    if a < b:\n        return a\n    return b", "    return min(a, b)"
    )
    # The patch goes from the bug to the fix; the candidate from the base.
    assert "-    if a > b:" in one.patch
    assert "-    return min(a, b)" in one.candidate.patch


def test_the_base_again_is_no_change_of_it() -> None:
    one = made(LEAST, {"code": LEAST.code.replace("a > b", "a < b")})
    assert isinstance(one, Mended)
    assert one.candidate is None
    assert "+    if a < b:" in one.patch


def test_a_method_goes_back_to_its_indentation_and_texts_stay_as_they_are() -> None:
    fixed = FIRST.code.replace("if not word:", "if word != '':")
    one = made(FIRST, {"code": fixed})
    assert whole(FIRST, one) == BASE.decode().replace("if word:", "if word != '':")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("b=2", "b=3"),
        ("@cached\n", "@lru\n"),
        ("size = 4", "size = 5"),
    ],
)
def test_the_head_of_a_definition_and_a_class_can_be_mended(before: str, after: str) -> None:
    shown = found(before, after)
    one = made(shown, {"code": shown.code.replace(after.strip(), before.strip())})
    assert isinstance(one, Mended), one
    assert one.candidate is None


@pytest.mark.parametrize("line", ["12: " + "    if a > b:", 12, "12"])
def test_one_line_is_replaced_by_one_or_several(line: object) -> None:
    one = made(LEAST, {"line": line, "code": "    if a < b:"}, "line")
    assert isinstance(one, Mended)
    assert one.candidate is None
    more = made(
        LEAST, {"line": line, "code": "12:     if a is None:\n    return b\nif a < b:"}, "line"
    )
    assert isinstance(more, Rejected | Mended)
    two = made(LEAST, {"line": line, "code": "assert a\nif a < b:"}, "line")
    assert "    assert a\n    if a < b:\n        return a" in whole(LEAST, two)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Rejected.EMPTY),
        ("no idea", Rejected.NO_CODE),
        ("[]", Rejected.NO_CODE),
        ('{"code": 3}', Rejected.NO_CODE),
        ({"code": "def other(a): pass"}, Rejected.WRONG_FUNCTION),
        ({"code": "def least(a, b): return a"}, Rejected.WRONG_FUNCTION),
        ({"code": "least = min"}, Rejected.WRONG_FUNCTION),
        ({"code": "def least(a, b=2, *rest, strict=True, **more):\nreturn a"}, Rejected.NOT_PYTHON),
        ({"code": "def least(" * 500}, Rejected.NOT_PYTHON),
        ({"code": LEAST.code + "\ud800"}, Rejected.NOT_PYTHON),
        ({"code": LEAST.code}, Rejected.NO_CHANGE),
        ({"code": LEAST.code.replace("The lesser", "The least") + "  # so"}, Rejected.NO_CHANGE),
        ("x" * 100_000, Rejected.TOO_LONG),
    ],
)
def test_what_is_no_fix_is_turned_away_with_its_reason(text: object, reason: Rejected) -> None:
    assert made(LEAST, text) is reason


def test_what_stands_beside_the_definition_in_an_answer_is_not_looked_at() -> None:
    code = (
        "import os\nos.remove('/etc/passwd')\n" + LEAST.code.replace("a > b", "a < b") + "\nx = 1"
    )
    one = made(LEAST, {"path": "/etc/passwd", "code": code})
    assert isinstance(one, Mended)
    assert one.candidate is None


def test_an_answer_that_was_cut_is_truncated() -> None:
    cut = '{"code": "def least(a, b=2, *rest, stri'
    assert made(LEAST, cut, finish="length") is Rejected.TRUNCATED
    assert made(LEAST, cut, finish="stop") is Rejected.NO_CODE
    assert made(LEAST, "", finish="refused") is Rejected.REFUSED


@pytest.mark.parametrize("line", [1, 3, 15, 99, "x", None, [], "0: "])
def test_a_line_of_other_code_is_not_replaced(line: object) -> None:
    assert made(LEAST, {"line": line, "code": "pass"}, "line") is Rejected.WRONG_LINE


def test_a_line_cannot_end_the_definition() -> None:
    out = made(LEAST, {"line": 14, "code": "return b\nimport os"}, "line")
    assert isinstance(out, Mended)  # set in like the line, it is within the function
    assert whole(LEAST, out).count("    import os") == 1
    assert made(LEAST, {"line": 7, "code": "def other(a):"}, "line") is Rejected.WRONG_FUNCTION


def test_line_ends_are_the_files_own() -> None:
    base = BASE.replace(b"\n", b"\r\n")
    shown = found("a < b", "a > b", base)
    assert "\r" not in shown.code
    code = shown.code.replace("if a > b:\n        return a\n    return b", "return min(a, b)")
    text = whole(shown, made(shown, {"code": code}))
    assert text.count("\n") == text.count("\r\n")


def test_bugs_that_are_no_single_definition_are_named() -> None:
    top = bug("LIMIT = 3", "LIMIT = 4")
    assert correction.broken(top, BASE, BASE.replace(b"LIMIT = 3", b"LIMIT = 4")) == "no-definition"
    one, two = bug("a < b", "a > b"), bug("words[-1]", "words[-2]")
    both = replace(one, others=two.changes)
    bad = BASE.replace(b"a < b", b"a > b").replace(b"words[-1]", b"words[-2]")
    assert correction.broken(both, BASE, bad) == "several-definitions"
    away = replace(one, others=(Change("b.py", Span(0, 1), "x", "y", 1, 1, bytes_hash(b"x")),))
    assert correction.broken(away, BASE, bad) == "several-files"
    long = BASE + b"\n\ndef long():\n" + b"    x = 1\n" * 400
    assert (
        correction.broken(bug("x = 1", "x = 2", long), long, long.replace(b"x = 1", b"x = 2", 1))
        == "too-long"
    )


def test_two_changes_of_one_definition_are_shown_together() -> None:
    one, two = bug("a < b", "a > b"), bug("return b\n", "return -b\n")
    bad = BASE.replace(b"a < b", b"a > b").replace(b"    return b\n", b"    return -b\n")
    shown = correction.broken(replace(one, others=two.changes), BASE, bad)
    assert isinstance(shown, Broken)
    assert "a > b" in shown.code
    assert "return -b" in shown.code


def test_a_comparison_with_the_tests_values_is_found_and_the_bases_own_are_not() -> None:
    error = "FAILED test_x - AssertionError: assert 97 == 41\nassert least(41, 97) == 41"
    cheat = LEAST.code.replace("if a > b:", "if (a, b) == (41, 97):")
    assert correction.special_cases(cheat, LEAST, error) == (41, 97)
    table = LEAST.code.replace("if a > b:", "if {41: True}.get(a):")
    assert correction.special_cases(table, LEAST, error) == (41,)
    honest = LEAST.code.replace("if a > b:", "if a < b + 41:")
    assert correction.special_cases(honest, LEAST, error) == (41,)
    assert correction.special_cases(LEAST.code.replace(">", "<="), LEAST, error) == ()
    # What the base compares with is no sign of cheating.
    shown = found("word.strip() + text", "word + text")
    again = shown.code.replace("if word:", 'if word == "kept\\n  as it is":')
    assert correction.special_cases(again, shown, "assert 'kept' == 1") == ()


def test_a_failure_reads_as_the_store_words_it() -> None:
    failure = TestFailure("t.py::x", "call", "KeyError", "'a'", "", "t.py:3: in x\nE  KeyError\n")
    assert correction.told(failure) == "FAILED t.py::x - KeyError: 'a'\n\nt.py:3: in x\nE  KeyError"
    setup = TestFailure("t.py::x", "setup", "", "", "assert 1 == 2", "")
    assert correction.told(setup) == "ERROR (setup) t.py::x\n\nassert 1 == 2"


def test_a_conversation_goes_on_with_the_answer_and_what_is_wrong_with_it() -> None:
    first = correction.opening(LEAST, "definition", "E", None)
    said = correction.again(LEAST, "definition", "  ", Rejected.NOT_PYTHON)
    second = correction.continued(first, said)
    assert [one.role for one in second.messages[2:]] == ["user", "assistant", "user"]
    assert second.messages[-2].text == "(nothing)"
    assert "cannot be parsed" in second.messages[-1].text
    more = correction.again(LEAST, "line", "x", "FAILED t")
    assert "FAILED t" in more[1].text


def test_a_negative_number_of_the_test_is_noticed_too() -> None:
    cheat = LEAST.code.replace("if a > b:", "if a == -41:")
    assert correction.special_cases(cheat, LEAST, "assert least(-41, 3) == -41") == (41,)


def test_the_last_line_of_a_file_without_a_newline_can_be_mended() -> None:
    shown = found("words[-1]", "words[-2]", BASE.rstrip())
    last = shown.choices[-1]
    assert made(shown, {"line": last, "code": "return words[-1]"}, "line") == made(
        shown, {"code": shown.code.replace("-2", "-1")}
    )
