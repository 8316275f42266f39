"""The programs that come with flywheel: what each asks, and what it makes of an answer."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flywheel.lm.bridge import dspy, lm15
from flywheel.programs.again import TEMPERATURE, TRIES
from flywheel.programs.case import Case
from flywheel.programs.edit import LONGEST_NEW
from flywheel.programs.modules import SHIPPED
from flywheel.programs.modules.describe import without_answer
from flywheel.programs.modules.shown import LONGEST_ERROR, code_numbered, code_shown, error_shown
from flywheel.programs.program import answer_of, find_program
from flywheel.programs.row import FIELDS, Row

GOOD = 'def clamp(value, low):\n    """Not below."""\n    return max(value, low)'
BAD = GOOD.replace("max", "min")
ERROR = "FAILED test_clamp.py::test_it - assert 1 == 2\n\ntest_clamp.py:3: in test_it\nE   assert 1"


def row(bad: str = BAD, good: str = GOOD) -> Row:
    case = Case("e1", "python", "clamp.py", "clamp", bad, good, ERROR, "", None)
    said = {"bad": bad, "good": good, "error": ERROR, "symbol": "clamp", "path": "clamp.py"}
    return Row(case, {name: said.get(name, "") for name in FIELDS})


class Says:
    """An engine that answers what it was given, in turn, and keeps what it was asked."""

    def __init__(self, *answers: Mapping[str, Any] | str) -> None:
        self.answers: Iterator[Mapping[str, Any] | str] = iter(answers)
        self.asked: list[lm15.Request] = []

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.asked.append(request)
        answer = next(self.answers)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        message = lm15.Message.assistant(text)
        usage = lm15.Usage(input_tokens=1, output_tokens=1)
        return lm15.Response(id="1", model="m", message=message, finish_reason="stop", usage=usage)

    def __deepcopy__(self, memo: object) -> "Says":
        return self


def run(name: str, *answers: Mapping[str, Any] | str) -> tuple[Any, Says]:
    program = find_program(name, Path())
    program.check()
    module, engine = program.make(), Says(*answers)
    module.set_lm(dspy.LM("fake/m", engine=engine, cache=False, num_retries=0))
    return module(**row().inputs(program.fields)), engine


def test_repair_edits_the_wrong_lines() -> None:
    said, engine = run("repair", "-    return min(value, low)\n+    return max(value, low)")
    assert said.good == GOOD
    assert answer_of(said).code == GOOD
    (asked,) = engine.asked
    assert asked.config.response_format is None


@pytest.mark.parametrize("answer", ["It is line 3.", "max(value, low)", "+x"])
def test_repair_has_no_code_where_there_are_no_such_lines(answer: str) -> None:
    said, _ = run("repair", answer)
    assert said.good is None
    assert answer_of(said).code is None


UNCHANGED = "-    return min(value, low)\n+    return min(value, low)"
MENDED = "-    return min(value, low)\n+    return max(value, low)"


@pytest.mark.parametrize(
    "useless",
    [UNCHANGED, "-    return\n+    return max(value, low)"],
    ids=["changes nothing", "edits what is not there"],
)
def test_an_edit_that_is_seen_to_be_of_no_use_is_asked_for_again(useless: str) -> None:
    with dspy.context(trace=[]):
        said, engine = run("repair", useless, MENDED)
        ((_, _, kept),) = dspy.settings.trace
    assert said.good == GOOD
    assert kept.mended == MENDED
    first, second = (one.config for one in engine.asked)
    assert first.temperature is None
    assert (second.temperature, second.seed) == (TEMPERATURE, 1)


def test_where_no_answer_is_of_use_the_first_one_stands() -> None:
    others = [f"-    return {n}\n+    return 1" for n in range(1, TRIES)]
    said, engine = run("repair", UNCHANGED, *others)
    assert said.mended == UNCHANGED
    assert len(engine.asked) == TRIES


def test_what_does_not_answer_with_an_edit_is_not_asked_again() -> None:
    said, engine = run("repair", "It is line 3.")
    assert said.good is None
    assert len(engine.asked) == 1


def test_what_goes_on_and_on_is_not_asked_again() -> None:
    for answer in (UNCHANGED + "\n+    pass" * LONGEST_NEW, "-    return max(value)"):
        said, engine = run("repair", answer)
        assert said.mended == answer
        assert len(engine.asked) == 1


def test_an_answer_of_nothing_is_unreadable() -> None:
    with pytest.raises(dspy.AdapterParseError):
        run("repair", " \n")


@pytest.mark.parametrize("text", [f"```python\n{GOOD}\n```", f"```\n{GOOD}```\n", GOOD + "\n"])
def test_code_is_taken_out_of_the_block_that_it_stands_in(text: str) -> None:
    said, _ = run("rewrite", text)
    assert answer_of(said).code == GOOD


def test_locate_names_lines() -> None:
    said, _ = run("locate", {"lines": "3"})
    assert said.lines == "3"
    assert answer_of(said).text == "3"


def test_breaker_gives_bad_code() -> None:
    said, _ = run("breaker", "-    return max(value, low)\n+    return min(value, low)")
    assert answer_of(said).code == BAD


STEPS: tuple[dict[str, Any], ...] = (
    {"purpose": "keeps a value up", "weaknesses": ["names"]},
    {"steps": ["rename"]},
    {"good": BAD},
)


def test_refactor_hands_structured_findings_from_step_to_step() -> None:
    said, engine = run("refactor", *STEPS, {"same": True, "difference": ""})
    assert said.good == BAD
    assert said.weaknesses == ["names"]
    assert len(engine.asked) == 4


def test_refactor_gives_up_what_its_own_check_doubts() -> None:
    said, _ = run("refactor", *STEPS, {"same": False, "difference": "low > value"})
    assert said.good == GOOD


def test_a_description_holds_no_line_of_the_fix() -> None:
    told = "It is too low.\nUse return max(value,  low) instead.\nPlease."
    assert without_answer(told, BAD, GOOD) == "It is too low.\nPlease."


@pytest.mark.parametrize("name", SHIPPED)
def test_every_program_can_be_made_and_fed_by_rows(name: str) -> None:
    program = find_program(name, Path())
    program.check()
    module = program.make()
    assert program.description
    assert all(one.signature.instructions.strip() for one in module.predictors())


@pytest.mark.parametrize(
    ("name", "outputs"), [("repair", "good"), ("rewrite", "good"), ("breaker", "bad")]
)
def test_what_a_program_knows_is_the_proven_answer(name: str, outputs: str) -> None:
    module = find_program(name, Path()).make()
    (((_, answer),),) = (one.items() for one in module.known(row()).values())
    said, _ = run(name, answer)
    assert said[outputs] == row().fields[outputs]


def test_a_program_says_why_an_answer_cannot_be_said() -> None:
    module = find_program("repair", Path()).make()
    assert "many lines" in module.known(row(BAD, BAD))


@pytest.mark.parametrize(
    ("said", "first"),
    [('"""One.', '"""One. …"""'), ("r'''One.", "r'''One. …'''"), ('"""', '""" …"""')],
)
def test_code_is_shown_without_the_most_of_its_docstring(said: str, first: str) -> None:
    code = f"def f():\n    {said}\n\n    More.\n    {first[-3:]}\n    return 1"
    assert code_shown(code) == f"def f():\n    {first}\n    return 1"
    assert code_numbered(code) == f"1: def f():\n2:     {first}\n6:     return 1"


def test_code_without_a_docstring_and_what_is_no_code_are_shown_whole() -> None:
    for code in ("def f(:\n    '''\n    a\n    '''", 'def f():\n    """One."""\n    return 1'):
        assert code_shown(code) == code


def test_an_error_is_shown_by_its_first_failure_and_the_end_of_its_traceback() -> None:
    deep = "\n".join(f"deep.py:{n}: in f" for n in range(100))
    error = f"FAILED a::b - boom\n\n{deep}\nE   bang\n\nFAILED a::c - other"
    shown = error_shown(error)
    assert shown.startswith("FAILED a::b - boom\n")
    assert shown.endswith("deep.py:99: in f\nE   bang")
    assert len(shown) <= LONGEST_ERROR + 1


def test_an_error_is_not_shown_twice_nor_its_values_a_line_each() -> None:
    error = (
        "FAILED a::b - AssertionError: [0] != [1]\na.py:1: in b\n    assert x == [1]\n"
        "E   AssertionError: [0] != [1]\nE     At index 0 diff: 0 != 1\n"
        "E     Full diff\nE       [\nE     +     0,"
    )
    assert error_shown(error).split("\n") == [
        "FAILED a::b - AssertionError: [0] != [1]",
        "a.py:1: in b",
        "    assert x == [1]",
        "E     At index 0 diff: 0 != 1",
    ]
