"""An answer becomes an edit of the target's statements and of nothing else, or is turned away."""

from __future__ import annotations

import json

import pytest

from flywheel.candidates.module import Edit
from flywheel.candidates.written.answer import Rejected, edit_of
from flywheel.candidates.written.mode import MODES
from flywheel.candidates.written.target import Target, callers, header, numbered, targets
from flywheel.lm import Response, Usage

SOURCE = b'''import re


def least(a, b):
    """The lesser."""
    if a < b:
        return a
    return b


class Words:
    def first(self, words, *, strict=True):
        # A comment.
        for word in words:
            if word:
                return word.strip()

        raise ValueError("none")

    def short(self): return 1


def stub():
    """Nothing else."""


x = least(1, 2)
'''
INSERT, REIMPLEMENT, REFACTOR, FEATURE, _ = MODES


def found(name: str = "least") -> Target:
    return next(
        one for one in targets({"a.py": SOURCE}, lambda path: None, seed=0) if one.name == name
    )


def answered(text: str, mode: object = INSERT, name: str = "least", finish: str = "stop") -> object:
    response = Response(text, finish, Usage(), "model")  # type: ignore[arg-type]  # any, for the test
    return edit_of(response, mode, found(name), SOURCE)  # type: ignore[arg-type]  # one of two


def changed(made: object) -> str:
    assert isinstance(made, Edit), made
    return made.apply(SOURCE).decode()


def line(number: object, code: str) -> str:
    return json.dumps({"line": number, "code": code})


def test_only_functions_with_statements_of_their_own_are_targets() -> None:
    every = targets({"a.py": SOURCE}, lambda path: None, seed=0)
    assert {one.symbol for one in every} == {"least", "Words.first"}
    # Only those that some test runs.
    assert [one.symbol for one in targets({"a.py": SOURCE}, lambda path: {7}, seed=0)] == ["least"]
    assert targets({"a.py": b"def f(:\n"}, lambda path: None, seed=0) == []


def test_a_target_is_shown_with_the_numbers_of_the_file() -> None:
    assert numbered(found(), SOURCE).splitlines()[2] == "6:     if a < b:"
    assert header(found(), SOURCE) == 'def least(a, b):\n    """The lesser."""'
    assert callers(found(), {"a.py": SOURCE}) == "x = least(1, 2)"


def test_one_line_is_written_anew_at_its_own_indentation() -> None:
    text = changed(answered(line(6, "if a > b:")))
    assert text == SOURCE.decode().replace("    if a < b:", "    if a > b:")
    nested = changed(answered(line(15, "\t\tif not word:"), name="first"))
    assert nested == SOURCE.decode().replace("            if word:", "            if not word:")
    # A number that was copied with the line is no code.
    assert changed(answered(line(6, "6: if a > b:"))) == text


def test_a_function_keeps_its_own_head_and_docstring() -> None:
    code = 'def least(a, b):\n  """Mine."""\n  c = a\n  if b < c:\n    c = b\n  return c\n'
    text = changed(answered(json.dumps({"code": code}), REIMPLEMENT))
    body = "    c = a\n    if b < c:\n      c = b\n    return c\n"
    assert text == SOURCE.decode().replace("    if a < b:\n        return a\n    return b\n", body)


def test_lines_are_counted_as_python_counts_them() -> None:
    odd = b'def f(a):\r\n    text = "\xe2\x80\xa8"\r\n    return text + a\r\n'
    (target,) = targets({"b.py": odd}, lambda path: None, seed=0)
    assert numbered(target, odd).split("\n")[2] == "3:     return text + a"
    response = Response(line(3, "return a"), "stop", Usage(), "model")
    made = edit_of(response, INSERT, target, odd)
    assert isinstance(made, Edit)
    assert made.apply(odd) == odd.replace(b"return text + a", b"return a")
    code = 'def f(a):\r\n    text = "\u2028"\r\n    return a + text\r\n'
    whole = Response(json.dumps({"code": code}), "stop", Usage(), "model")
    other = edit_of(whole, REIMPLEMENT, target, odd)
    assert isinstance(other, Edit)
    assert other.text == '    text = "\u2028"\r\n    return a + text\r\n'


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_keeps_its_own_line_ends(newline: str) -> None:
    source = SOURCE.replace(b"\n", newline.encode())
    (target,) = [
        one for one in targets({"a.py": source}, lambda path: None, seed=0) if one.name == "least"
    ]
    assert header(target, source) == 'def least(a, b):\n    """The lesser."""'
    code = 'def least(a, b):\n    text = """one\n  two"""\n    return min(a, b, key=text.find)\n'
    response = Response(json.dumps({"code": code}), "stop", Usage(), "model")
    made = edit_of(response, REIMPLEMENT, target, source)
    assert isinstance(made, Edit)
    changed = made.apply(source)
    assert changed.count(newline.encode()) == len(changed.splitlines())
    assert b"\n" not in changed.replace(newline.encode(), b"")
    same = "def least(a, b):\n    if a < b:\n        return a\n    return b\n"
    kept = Response(json.dumps({"code": same}), "stop", Usage(), "model")
    assert edit_of(kept, REIMPLEMENT, target, source) == Rejected.NO_CHANGE


def test_code_that_was_cut_is_none_even_where_it_parses() -> None:
    code = "def least(a, b):\n    if a > b:\n        return b\n"
    whole = f"```python\n{code}```"
    assert "return b" in changed(answered(whole, REIMPLEMENT))
    # The block is whole, and what follows it is not looked at.
    assert "return b" in changed(answered(whole + "\nThis fun", REIMPLEMENT, finish="length"))
    for cut in (f"```python\n{code}", code):
        assert answered(cut, REIMPLEMENT, finish="length") is Rejected.TRUNCATED
        # Where the model ended by itself nothing is missing.
        assert "return b" in changed(answered(cut, REIMPLEMENT))


def test_a_fence_within_a_text_of_the_code_ends_no_block() -> None:
    code = 'def least(a, b):\n    text = "```"\n    return min(a, b, key=text.find)\n'
    assert 'text = "```"' in changed(answered(f"```python\n{code}```", REIMPLEMENT))


def test_a_fenced_block_will_do_where_there_is_no_json() -> None:
    said = (
        "Sure! Here it is:\n```python\nimport os\ndef least(a, b):\n    return min(a, b)\n```\nBye"
    )
    assert "    return min(a, b)\n" in changed(answered(said, REIMPLEMENT))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Rejected.EMPTY),
        ("I cannot help with that.", Rejected.NO_CODE),
        ('{"line": 6}', Rejected.NO_CODE),
        ('{"line": 6, "code": "  "}', Rejected.NO_CODE),
        ("[1]", Rejected.NO_CODE),
        (line(4, "def least(a):"), Rejected.WRONG_LINE),
        (line(5, "x"), Rejected.WRONG_LINE),
        (line(99, "x"), Rejected.WRONG_LINE),
        (line("6 or 7", "x"), Rejected.WRONG_LINE),
        (line(None, "x"), Rejected.WRONG_LINE),
        (line(6, "if a < b:"), Rejected.NO_CHANGE),
        (line(6, "if a < b:\n    pass"), Rejected.NO_CODE),
        (line(6, "x" * 30_000), Rejected.TOO_LONG),
    ],
)
def test_what_is_no_line_of_the_function_is_turned_away(text: str, reason: Rejected) -> None:
    assert answered(text) == reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def other(a, b):\n    return a\n", Rejected.WRONG_FUNCTION),
        ("def least(a, b, c=1):\n    return a\n", Rejected.WRONG_FUNCTION),
        ("def least(a, b:\n", Rejected.NOT_PYTHON),
        ("return min(a, b)", Rejected.WRONG_FUNCTION),
        ("def least(a, b): return a", Rejected.NO_CODE),
        ('def least(a, b):\n    """Only this."""\n', Rejected.EMPTY),
        ("def least(a, b):\n    if a < b:\n        return a\n    return b\n", Rejected.NO_CHANGE),
    ],
)
def test_what_is_no_other_body_of_the_function_is_turned_away(code: str, reason: Rejected) -> None:
    assert answered(json.dumps({"code": code}), REIMPLEMENT) == reason


def test_an_answer_that_was_cut_or_refused_says_so() -> None:
    assert answered('{"line": 6, "co', finish="length") == Rejected.TRUNCATED
    assert answered('{"code": "def least(a, b):\\n  ret', REIMPLEMENT, finish="length") == (
        Rejected.TRUNCATED
    )
    assert answered(line(6, "x"), finish="refused") == Rejected.REFUSED


def test_orders_and_paths_in_an_answer_are_not_looked_at() -> None:
    said = {"path": "../../etc/passwd", "line": 6, "code": "if a > b:", "run": "rm -rf /"}
    text = changed(answered(json.dumps(said)))
    assert text == SOURCE.decode().replace("    if a < b:", "    if a > b:")


DECORATED = b'''import functools


class Words:
    @functools.lru_cache(
        maxsize=3,
    )
    # A comment.
    @property
    def first(self):
        """The first."""
        a = 1
        return a
'''


def test_decorators_are_shown_and_stay_as_they_are() -> None:
    (target,) = targets({"b.py": DECORATED}, lambda path: None, seed=0)
    head = '''@functools.lru_cache(
    maxsize=3,
)
# A comment.
@property
def first(self):
    """The first."""'''
    assert header(target, DECORATED) == head
    shown = numbered(target, DECORATED).split("\n")
    assert (shown[0], shown[-1]) == ("5: @functools.lru_cache(", "13:     return a")
    code = "@staticmethod\ndef first(self):\n    return 2\n"
    whole = Response(json.dumps({"code": code}), "stop", Usage(), "model")
    made = edit_of(whole, REIMPLEMENT, target, DECORATED)
    assert isinstance(made, Edit)
    body = b"        a = 1\n        return a\n"
    assert made.apply(DECORATED) == DECORATED.replace(body, b"        return 2\n")
    # Its decorators are no lines that may be written anew.
    line_5 = Response(line(5, "@cache"), "stop", Usage(), "model")
    assert edit_of(line_5, INSERT, target, DECORATED) == Rejected.WRONG_LINE


def test_a_first_statement_with_decorators_is_replaced_and_written_whole() -> None:
    source = b"""def outer(f):
    @wraps(f)
    def inner(*a):
        return f(*a)
    return inner
"""
    found = targets({"c.py": source}, lambda path: None, seed=0)
    (target,) = [one for one in found if one.name == "outer"]
    code = (
        "def outer(f):\n    @cache\n    @wraps(f)\n    def other(*a):\n        return f(*a)\n"
        "    return other\n"
    )
    whole = Response(json.dumps({"code": code}), "stop", Usage(), "model")
    made = edit_of(whole, REIMPLEMENT, target, source)
    assert isinstance(made, Edit)
    assert made.apply(source) == code.encode()


@pytest.mark.parametrize("margin", ["", "  ", "    ", "\t"])
def test_texts_over_several_lines_stay_as_they_are_written(margin: str) -> None:
    unit = "\t" if margin == "\t" else "  "
    lines = [
        "def least(a, b):",
        f'{unit}"""Mine."""',
        f'{unit}text = """one',
    ]
    within = [" two", "     three", "", "   ", '""" + f"""{a}', '  four"""']
    last = [f"{unit}return (min(a, b),", "text)"]
    code = "\n".join([margin + one for one in lines] + within + [margin + one for one in last])
    text = changed(answered(json.dumps({"code": code}), REIMPLEMENT))
    made = '    text = """one\n' + "\n".join(within) + "\n    return (min(a, b),\n    text)\n"
    assert text == SOURCE.decode().replace("    if a < b:\n        return a\n    return b\n", made)


@pytest.mark.parametrize(
    "value",
    ["(" * 3000 + "a" + ")" * 3000, "-" * 15_000 + "a", "a" + ".b" * 7000, "a" + "()" * 7000],
)
def test_code_nested_deeper_than_anything_can_follow_is_no_python(value: str) -> None:
    said = json.dumps({"code": f"def least(a, b):\n    return {value}\n"})
    assert answered(said, REIMPLEMENT) == Rejected.NOT_PYTHON


def test_a_null_byte_is_no_python() -> None:
    said = json.dumps({"code": "def least(a, b):\n    return '\0'\n"})
    assert answered(said, REIMPLEMENT) == Rejected.NOT_PYTHON


def test_half_a_surrogate_pair_is_no_python() -> None:
    said = json.dumps({"code": "def least(a, b):\n    return '\ud83d'\n"})
    assert answered(said, REIMPLEMENT) == Rejected.NOT_PYTHON
    assert answered(line(6, "if a < '\udc00':")) == Rejected.NOT_PYTHON


def test_an_answer_that_is_nested_without_end_is_no_code() -> None:
    assert answered("[" * 19_000) == Rejected.NO_CODE
    assert answered('{"a":' * 3900) == Rejected.NO_CODE
    assert answered("```python\n" + "[" * 15_000 + "\n```", REIMPLEMENT) == Rejected.NOT_PYTHON


def test_a_function_that_is_improved_keeps_its_arguments() -> None:
    better = json.dumps({"code": "def least(a, b):\n    return min(a, b)"})
    assert "    return min(a, b)\n" in changed(answered(better, REFACTOR))
    more = json.dumps({"code": "def least(a, b, key=None):\n    return min(a, b, key=key)"})
    assert answered(more, REFACTOR) is Rejected.WRONG_FUNCTION


@pytest.mark.parametrize(
    "head",
    [
        "def least(a, b, key=None):",
        "def least(a, b, *, key=None):",
        "def least(a, b, c=1, *, key=None, other=2):",
    ],
)
def test_a_feature_may_add_arguments_that_can_be_left_out(head: str) -> None:
    text = changed(answered(json.dumps({"code": f"{head}\n    return min(a, b)"}), FEATURE))
    assert f"\n\n{head}\n    return min(a, b)\n\n\nclass Words:" in text


def test_a_feature_of_a_method_stays_in_its_class() -> None:
    code = "def first(self, words, *, strict=True, default=None):\n    return default"
    text = changed(answered(json.dumps({"code": code}), FEATURE, "first"))
    assert "class Words:\n    def first(self, words, *, strict=True, default=None):\n" in text
    assert "        return default\n\n    def short" in text


@pytest.mark.parametrize(
    "head",
    [
        "def least(a, b, key):",
        "def least(key, a, b):",
        "def least(key=1, a=2, b=3):",
        "def least(a):",
        "def least(a, b=1):",
        "def least(a, b, *keys):",
        "def least(a, b, *, key):",
        "def other(a, b, key=None):",
    ],
)
def test_a_feature_that_callers_would_notice_is_another_function(head: str) -> None:
    code = json.dumps({"code": f"{head}\n    return a"})
    assert answered(code, FEATURE) is Rejected.WRONG_FUNCTION


def test_a_line_may_be_named_by_its_number_or_as_it_stands() -> None:
    for name in (6, "6", "6:     if a < b:", " 6 "):
        said = json.dumps({"line": name, "code": "if a > b:"})
        assert "    if a > b:\n" in changed(answered(said))
