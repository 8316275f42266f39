"""The source of written candidates asks ahead, counts what comes back, and never guesses."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from flywheel.candidates import NotReady, WrittenSource, choose_modes
from flywheel.candidates.module import Edit
from flywheel.candidates.written.answer import edit_of
from flywheel.candidates.written.mode import ATTEMPT, MODES, OF_FUNCTIONS, Mode
from flywheel.candidates.written.outline import outline
from flywheel.candidates.written.source import AHEAD, HOPELESS
from flywheel.candidates.written.target import header, numbered, targets
from flywheel.core.errors import BudgetError, LMError, UsageError
from flywheel.core.records import Candidate
from flywheel.lm import Reply, Request, Response, Usage

FUNCTIONS = "\n\n".join(
    f"def f{n}(a, b):\n    if a < b + {n}:\n        return a\n    return b" for n in range(12)
)
CONTENTS = {"pkg/a.py": FUNCTIONS.encode() + b"\n"}
TWO = {"pkg/a.py": "\n\n".join(FUNCTIONS.split("\n\n")[:2]).encode() + b"\n"}
INSERT = choose_modes(("insert",))
Answer = Callable[[Request], str | Exception | None]


class Asked:
    """Answers by a function; None leaves the question open."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.open: list[Future[Reply]] = []

    def __call__(self, request: Request, mode: object) -> Future[Reply]:
        self.requests.append(request)
        future: Future[Reply] = Future()
        said = self.answer(request)
        if said is None:
            self.open.append(future)
        elif isinstance(said, Exception):
            future.set_exception(said)
        else:
            response = Response(said, "stop", Usage(1, 1), "model")
            future.set_result(Reply(response, "call", "local", "local"))
        return future


def source(
    answer: Answer, contents: dict[str, bytes] = CONTENTS, **more: object
) -> tuple[WrittenSource, Asked]:
    asked = Asked(answer)
    options = {"modes": INSERT, "covered": lambda path: None, "seed": 0, **more}
    return WrittenSource(contents, ask=asked, **options), asked  # type: ignore[arg-type]  # by name


def flipped(request: Request) -> str:
    """The first line of the function, the other way round."""
    lines = request.messages[-1].text.splitlines()
    number, _, code = next(line for line in lines if " if a <" in line).partition(": ")
    return json.dumps({"line": int(number), "code": code.replace("<", ">")})


def all_of(one: WrittenSource) -> list[Candidate]:
    found = []
    while isinstance(drawn := one.draw(), Candidate):
        found.append(drawn)
    assert drawn is None
    return found


def test_each_function_is_asked_for_once_and_each_answer_is_a_candidate() -> None:
    one, asked = source(flipped)
    found = all_of(one)
    assert len(asked.requests) == len(found) == 12
    assert {(made.source, made.symbol) for made in found} == {
        ("written", f"f{n}") for n in range(12)
    }
    assert all(made.operator.startswith("insert:local@") for made in found)
    assert {made.bad.count(">") for made in found} == {1}
    assert one.by_mode["insert"] == {"asked": 12, "answered": 12, "drawn": 12}


def test_the_same_seed_asks_in_the_same_order_and_another_in_another() -> None:
    orders = []
    for seed in (0, 0, 1):
        one, _ = source(flipped, seed=seed)
        orders.append([made.symbol for made in all_of(one)])
    assert orders[0] == orders[1] != orders[2]


def test_several_answers_to_one_question_are_told_apart_by_their_number() -> None:
    one, asked = source(flipped, samples=3)
    found = all_of(one)
    assert sorted({request.sample for request in asked.requests}) == [0, 1, 2]
    # The same change is one candidate, whoever writes it again.
    assert (len(found), one.pruned) == (12, {"duplicate": 24})
    assert one.by_mode["insert"] == {"asked": 36, "answered": 36, "drawn": 12, "duplicate": 24}


def test_the_same_change_by_another_mode_is_one_candidate() -> None:
    def either(request: Request) -> str:
        text = request.messages[-1].text
        if "Its lines are numbered" in text:
            return flipped(request)
        name = text.split("def ")[1].split("(")[0]
        (body,) = [one for one in FUNCTIONS.split("\n\n") if one.startswith(f"def {name}(")]
        return json.dumps({"code": body.replace("<", ">")})

    one, _ = source(either, modes=MODES[:2])
    assert len(all_of(one)) == 12
    assert sum(counts["drawn"] for counts in one.by_mode.values()) == 12
    assert sum(counts["duplicate"] for counts in one.by_mode.values()) == 12


def test_one_slow_answer_keeps_no_ready_one_waiting() -> None:
    slow: list[Request] = []

    def answer(request: Request) -> str | None:
        if not slow:
            slow.append(request)
        return None if request is slow[0] else flipped(request)

    one, asked = source(answer)
    found = []
    while isinstance(drawn := one.draw(), Candidate):
        found.append(drawn.symbol)
    assert isinstance(drawn, NotReady)
    assert len(found) == 11
    # Which questions are asked, and in which order, is the same as ever.
    prompt, quick = source(flipped)
    all_of(prompt)
    assert asked.requests == quick.requests
    (late,) = asked.open
    late.set_result(Reply(Response(flipped(slow[0]), "stop", Usage(1, 1), "m"), "c", "p", "m"))
    (last,) = all_of(one)
    assert last.symbol not in found


def test_one_that_fails_for_every_question_is_no_matter_of_the_question() -> None:
    one, _ = source(lambda request: LMError("no", failure="invalid-request"))
    with pytest.raises(LMError):
        all_of(one)
    assert one.pruned == {"invalid-request": HOPELESS - 1}
    # Nor where there are fewer.
    few, _ = source(lambda request: LMError("no", failure="content-filter"), contents=TWO)
    with pytest.raises(LMError):
        all_of(few)
    # Once one was answered, each failure is of its own question.
    answered = iter(range(12))
    other, _ = source(
        lambda request: (
            LMError("no", failure="invalid-request") if next(answered) else flipped(request)
        )
    )
    assert len(all_of(other)) == 1
    assert other.pruned == {"invalid-request": 11}


def test_it_asks_ahead_but_not_everything_at_once() -> None:
    one, asked = source(lambda request: None)
    assert isinstance(one.draw(), NotReady)
    assert len(asked.requests) == AHEAD
    one.close()
    assert all(future.cancelled() for future in asked.open)


def test_what_fails_for_one_question_is_counted_and_the_next_is_asked() -> None:
    failures = iter(["context-length", "content-filter", "invalid-request"])

    def answer(request: Request) -> str | Exception:
        failure = next(failures, None)
        return LMError("no", failure=failure) if failure else flipped(request)

    one, _ = source(answer)
    assert len(all_of(one)) == 9
    assert one.pruned == {"context-length": 1, "content-filter": 1, "invalid-request": 1}


@pytest.mark.parametrize("failure", ["expired", "cancelled", "errored"])
def test_items_of_a_batch_that_fail_say_nothing_of_the_model(failure: str) -> None:
    failures = iter([failure] * 8)

    def answer(request: Request) -> str | Exception:
        return LMError("no", failure=failure) if next(failures, None) else flipped(request)

    one, _ = source(answer)
    assert len(all_of(one)) == 4
    assert one.pruned == {failure: 8}


def test_all_questions_may_be_seen_before_they_are_asked_and_limited() -> None:
    one, asked = source(flipped)
    every = one.questions()
    assert (len(every), asked.requests) == (12, [])
    few = one.questions(3)
    assert few == every[:3]
    assert len(all_of(one)) == 3
    assert asked.requests == [request for request, _ in few]


def test_an_outline_is_what_every_question_begins_with() -> None:
    one, _ = source(flipped, modes=MODES, context=1000)
    systems = {request.system for request, _ in one.questions()}
    assert len(systems) == len(MODES)
    shown = outline(CONTENTS, tokens=1000)
    assert all(system.startswith(f"{shown}\n\n") for system in systems)
    plain, _ = source(flipped)
    assert {request.system for request, _ in plain.questions()} == {INSERT[0].system}


def test_an_outline_shows_heads_and_no_bodies_and_keeps_to_its_size() -> None:
    code = b'''
import os
from json import loads as read
LIMIT: int = 3
class Shop(Base):
    """Sells.

    Much."""
    def sell(self, what: str, *, dear=True) -> int:
        """Sell one."""
        return self._secret(what)
async def wait(): return 1
'''
    contents = {"b.py": code, "a.py": b"def (", "c.py": b"x = 1\n" * 500}
    assert outline(contents, tokens=200).splitlines()[2:] == [
        "# b.py",
        "import os",
        "from json import loads as read",
        "LIMIT: int = 3",
        "class Shop(Base):  # Sells.",
        "    def sell(self, what: str, *, dear=True) -> int:  # Sell one.",
        "def wait():",
    ]
    assert "x = 1" in outline(contents, tokens=2000)
    assert outline(contents, tokens=20) == outline(contents, tokens=0) == ""
    long = outline({"d.py": b"NAMES = [" + b"1," * 200 + b"]"}, tokens=500)
    assert max(map(len, long.splitlines())) < 170


@pytest.mark.parametrize("failure", ["authentication", "billing", "unavailable"])
def test_a_model_that_cannot_be_asked_ends_it_with_its_error(failure: str) -> None:
    one, _ = source(lambda request: LMError("no", failure=failure))
    with pytest.raises(LMError):
        one.draw()


def test_at_the_end_of_the_budget_nothing_more_is_asked() -> None:
    asked = iter(range(100))

    def answer(request: Request) -> str | Exception:
        return flipped(request) if next(asked) < 5 else BudgetError("the budget is used up")

    one, _ = source(answer)
    assert len(all_of(one)) == 5
    assert one.out_of_budget


def test_answers_that_change_nothing_that_runs_are_pruned() -> None:
    def comment(request: Request) -> str:
        found = json.loads(flipped(request))
        return json.dumps({**found, "code": found["code"].replace(">", "<") + "  # better"})

    one, _ = source(comment)
    assert all_of(one) == []
    assert one.pruned == {"same-bytecode": 12}


def test_every_mode_has_a_prompt_and_says_what_comes_back() -> None:
    for mode in MODES:
        assert mode.system
        assert "of the file a/b.py" in mode.question({"path": "a/b.py"})
        assert mode.tokens("x" * 3000) > mode.tokens("x")
        if mode.answer != "line":
            assert mode.schema(["3: x"]) is None
            assert "in one block of code" in mode.question({})
    schema = MODES[0].schema(["3: x", "4: y"])
    assert schema is not None
    assert schema["properties"]["line"] == {"enum": ["3: x", "4: y"]}
    assert "so it is" in ATTEMPT.follow_up({"why": "so it is"})
    with pytest.raises(UsageError, match="inserts"):
        choose_modes(("inserts",))


LIMITS = b"""# 1
# 2
# 3
# 4
# 5
# 6
# 7
# 8
# 9
def clamp(value, low, high):
    \"\"\"Keep a value between two limits.\"\"\"
    if value < low:
        return low
    return min(value, high)
"""


@pytest.mark.parametrize("mode", OF_FUNCTIONS, ids=lambda mode: mode.name)
def test_the_worked_example_of_a_mode_is_an_answer_that_would_be_taken(mode: Mode) -> None:
    (target,) = targets({"limits.py": LIMITS}, lambda path: None, seed=0)
    shown, answer = mode.example
    assert numbered(target, LIMITS) == shown["numbered"]
    assert header(target, LIMITS) == shown["header"]
    made = edit_of(Response(answer, "stop", Usage(), "model"), mode, target, LIMITS)
    assert isinstance(made, Edit)
    ast.parse(made.apply(LIMITS))
    question, said, asked = mode.opening({"path": "a.py"})
    assert ("limits.py" in question.text, said.text, "a.py" in asked.text) == (True, answer, True)


def test_names_in_braces_of_the_repositorys_own_code_stay_as_they_are() -> None:
    code = b'def f(a):\n    text = f"{path} {first}"\n    return text + a\n'
    asked = Asked(lambda request: "no")
    one = WrittenSource({"b.py": code}, ask=asked, modes=INSERT, covered=lambda path: None, seed=0)
    all_of(one)
    assert '"{path} {first}"' in asked.requests[0].messages[-1].text
    assert "the file b.py" in asked.requests[0].messages[-1].text


@pytest.mark.parametrize("value", ["a" + ".b" * 3500, "-" * 3500 + "a", "\0"])
def test_a_line_that_nothing_can_follow_is_counted_and_ends_nothing(value: str) -> None:
    def deep(request: Request) -> str:
        return json.dumps({**json.loads(flipped(request)), "code": f"    if {value}:"})

    one, _ = source(deep)
    assert all_of(one) == []
    assert sum(one.pruned.values()) == 12
    assert set(one.pruned) <= {"not-python", "unparsable"}
