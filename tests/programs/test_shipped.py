"""The metrics that come with flywheel, on code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from flywheel.programs import Answer, Case, Metric, Proof, Score, Tools
from tests.programs.conftest import BAD, GOOD

Shipped = Callable[[str], Metric]
ANOTHER = """def clamp(value, low, high):
    return max(low, min(value, high))"""


def said(code: str | None) -> Answer:
    return Answer(code or "I do not know.", code)


class FixedCritic:
    """A critic that knows its proofs."""

    def __init__(self, proof: Proof) -> None:
        self.proof, self.asked = proof, []

    def prove(self, case: Case, code: str) -> Proof:
        self.asked.append(code)
        return self.proof


class Model:
    """A judge that says what it is told to."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.questions = answers, []

    def ask(self, question: str, *, samples: int = 1, **more: object) -> tuple[str, ...]:
        self.questions.append(question)
        return self.answers[:samples]


@pytest.mark.parametrize("name", ["exact_match", "ast_match", "edit_similarity", "parses",
                                  "minimality", "tests_pass", "plan_judge"])  # fmt: skip
def test_what_holds_no_code_is_worth_nothing_and_no_tool_is_asked(
    shipped: Shipped, case: Case, name: str
) -> None:
    tools = Tools(critic=FixedCritic(Proof(True, "")), judge=Model("10"))
    score = shipped(name).score(case, said(None), tools)
    assert (score.value, score.reason) == (0.0, "the answer holds no code")
    assert tools.critic is not None
    assert tools.critic.asked == tools.judge.questions == []  # type: ignore[union-attr]


def test_matches_differ_in_what_they_forgive(shipped: Shipped, case: Case) -> None:
    laid_out = GOOD.replace('    """Keep a value between two limits."""\n', "    # limits\n\n")
    spaced = GOOD.replace(":\n", ":   \n") + "\n\n"
    values = {
        name: [
            shipped(name).score(case, said(code)).value for code in (GOOD, spaced, laid_out, BAD)
        ]
        for name in ("exact_match", "ast_match")
    }
    assert values == {"exact_match": [1.0, 1.0, 0.0, 0.0], "ast_match": [1.0, 1.0, 1.0, 0.0]}


def test_similarity_is_told_beside_what_the_bug_has_already(shipped: Shipped, case: Case) -> None:
    metric = shipped("edit_similarity")
    same, left, other = (metric.score(case, said(code)) for code in (GOOD, BAD, ANOTHER))
    assert same.value == same.parts["gained"] == 1.0
    assert left.parts["gained"] == 0.0
    assert left.value == left.parts["bug"] > 0.9
    assert other.value is not None
    assert other.value < left.value
    assert other.parts["gained"] < 0


def test_code_of_a_language_without_a_parser_is_not_known_to_parse(
    shipped: Shipped, case: Case
) -> None:
    metric = shipped("parses")
    assert metric.score(case, said(GOOD)).value == 1.0
    assert metric.score(case, said("    indented = 1")).value == 1.0
    broken = metric.score(case, said("def clamp(:"))
    assert broken.value == 0.0
    assert "does not parse" in broken.reason
    assert metric.score(replace(case, language="go"), said("func f() {}")).value is None


def test_a_fix_is_minimal_that_changes_no_more_than_the_known_one(
    shipped: Shipped, case: Case
) -> None:
    metric = shipped("minimality")
    assert metric.score(case, said(GOOD)).value == 1.0
    assert metric.score(case, said(GOOD + "\n\n")).value == 1.0
    whole = metric.score(case, said(ANOTHER))
    assert whole.parts == {"fix": 2.0, "answer": 5.0}
    assert whole.value == pytest.approx(0.4)
    assert metric.score(case, said(BAD)).reason == "it changes nothing"


def test_tests_say_whether_and_how_far(shipped: Shipped, case: Case) -> None:
    metric = shipped("tests_pass")
    partly = Proof(False, "1 of 2 tests still fail", ("t::a",), 0.5, 1.0)
    score = metric.score(case, said(GOOD), Tools(critic=FixedCritic(partly)))
    assert score.value == 0.0
    assert score.parts == {"resolved": 0.0, "mended": 0.5, "kept": 1.0}
    down = metric.score(case, said(GOOD), Tools(critic=FixedCritic(Proof(None, "no environment"))))
    assert (down.value, down.reason, dict(down.parts)) == (None, "no environment", {})


class Fixed:
    """Other metrics with fixed values."""

    def __init__(self, **values: float | None) -> None:
        self.values = values

    def score(self, name: str, case: Case, answer: Answer) -> Score:
        return Score(self.values[name], "no critic")


def test_a_composite_is_not_known_where_a_part_is_not(shipped: Shipped, case: Case) -> None:
    metric = shipped("composite")
    whole = Fixed(tests_pass=1.0, minimality=0.5, edit_similarity=0.0)
    assert metric.score(case, said(GOOD), Tools(metrics=whole)).value == pytest.approx(0.85)
    partly = Fixed(tests_pass=None, minimality=0.5, edit_similarity=0.0)
    score = metric.score(case, said(GOOD), Tools(metrics=partly))
    assert score.value is None
    assert "tests_pass: no critic" in score.reason
    assert score.parts == {"minimality": 0.5, "edit_similarity": 0.0}


def opinion(score: object, reason: str = "because") -> str:
    return json.dumps({"reason": reason, "score": score})


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        ([opinion(9), opinion(2), opinion(8)], 0.8),
        ([opinion(9), "What a mess.", opinion(8)], 0.85),
        (["```json\n" + opinion(7) + "\n```", f"Well: {opinion(7)} indeed", opinion(7)], 0.7),
        (["I say **Score: 6/10**", 'score = 6', "The score is\nScore: 6"], 0.6),
        ([opinion(9), "What a mess.", "11"], None),
        ([opinion(11), opinion(-1), opinion(True)], None),
        ([opinion("9"), opinion(None), "Score: 95%"], None),
        ([opinion(9)], None),
        ([], None),
    ],
)  # fmt: skip
def test_a_judge_is_read_robustly_and_what_cannot_be_read_is_not_known(
    shipped: Shipped, case: Case, answers: list[str], value: float | None
) -> None:
    score = shipped("plan_judge").score(case, said(GOOD), Tools(judge=Model(*answers)))
    assert score.value == value
    if value is not None:
        assert score.parts["score"] == pytest.approx(value * 10)
        assert score.parts["accepted"] == float(value >= 0.8)
    else:
        assert "of 3 answers of the judge can be read" in score.reason


def test_a_judge_sees_bug_failure_and_repair_but_not_the_known_fix(
    shipped: Shipped, case: Case
) -> None:
    model = Model(*[opinion(9)] * 3)
    tricky = replace(case, error="E" * 5000 + "END {braces}")
    shipped("plan_judge").score(tricky, said(ANOTHER), Tools(judge=model))
    (question,) = model.questions
    assert BAD in question
    assert ANOTHER in question
    assert GOOD not in question
    assert "END" not in question
    long = said("x = 1\n" * 1000)
    score = shipped("plan_judge").score(case, long, Tools(judge=model))
    assert score.value is None
    assert "longer" in score.reason
