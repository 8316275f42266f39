"""Loading a metric: what is one, what its identity is, and how a mistake is told."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.core.errors import LMError, UsageError
from flywheel.programs import Answer, Case, Metric, Tools
from tests.programs.conftest import METRICS

HEAD = 'from flywheel.programs import Answer, Case, Score\n\nVERSION = "1"\n\n'
LENGTH = (
    HEAD + 'def mine(case, answer):\n    """Short is good."""\n    return Score(0.5, "short")\n'
)

Load = Callable[..., Metric]


def test_a_metric_is_known_by_what_its_file_says(written: Load, case: Case) -> None:
    metric = written(LENGTH)
    assert (metric.name, metric.version, metric.needs) == ("mine", "1", ())
    assert metric.description == "Short is good."
    assert metric.id == f"metrics:mine@{metric.hash}"
    assert metric.score(case, Answer("", "")).value == 0.5
    # Nothing is left beside content.
    assert [one.name for one in metric.path.parent.iterdir()] == ["mine.py"]


def test_its_identity_is_the_content_of_all_its_files(written: Load) -> None:
    first = written(LENGTH).hash
    assert written(LENGTH).hash == first
    assert written(LENGTH + "\n").hash != first
    with_prompt = written(LENGTH, mine__md="Judge.").hash
    assert with_prompt != first
    assert written(LENGTH, mine__md="Judge well.").hash != with_prompt


def test_a_metric_that_uses_another_changes_with_it(written: Load, case: Case) -> None:
    user = HEAD + (
        'USES = ("other",)\n\ndef mine(case, answer, metrics):\n'
        '    return metrics.score("other", case, answer)\n'
    )
    other = LENGTH.replace("mine", "other")
    first = written(user, other__py=other)
    assert set(first.uses) == {"other"}
    assert first.needs == ("metrics",)
    assert written(user, other__py=other + "\n").hash != first.hash


def test_tools_are_parameters_and_those_of_used_metrics_count(
    shipped: Callable[[str], Metric],
) -> None:
    assert shipped("tests_pass").needs == ("critic",)
    assert shipped("composite").needs == ("metrics",)
    assert shipped("composite").all_needs == {"metrics", "critic"}


MISTAKES = {
    "syntax": (HEAD + "def mine(case, answer:\n", "mine.py:5", "SyntaxError"),
    "import": ("import nowhere_at_all\n", "mine.py:1", "ModuleNotFoundError"),
    "raises": (HEAD + "1 / 0\n", "mine.py:5", "ZeroDivisionError"),
    "another name": (HEAD + "def other(case, answer): ...\n", "mine.py:1", "other (line 5)"),
    "no function": (HEAD, "mine.py:1", "it has no function"),
    "an imported one": (HEAD + "from textwrap import dedent as mine\n", "mine.py:1", "no function"),
    "arguments": (HEAD + "def mine(example): ...\n", "mine.py:5", "it takes example"),
    "a tool": (HEAD + "def mine(case, answer, web): ...\n", "mine.py:5", "web"),
    "no version": ("def mine(case, answer): ...\n", "mine.py:1", "it has none"),
    "version": ("VERSION = 1\ndef mine(case, answer): ...\n", "mine.py:1", "VERSION is 1"),
    "uses": (LENGTH + 'USES = "other"\n', "mine.py:1", "USES"),
    "uses unasked": (LENGTH + 'USES = ("other",)\n', "mine.py:1", "does not take metrics"),
    "uses itself": (
        HEAD + 'USES = ("mine",)\ndef mine(case, answer, metrics): ...\n', "mine.py", "mine → mine",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_file_with_a_mistake_is_told_by_its_line(
    written: Load, text: str, place: str, said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        written(text)
    assert place in raised.value.message
    assert said in f"{raised.value.message} {raised.value.cause}"
    assert raised.value.hint


WRONG = {
    "raising": ("    return {}[case.symbol]", 6, "KeyError: 'clamp'"),
    "not a number": ('    return Score(float("nan"), "")', 5, "value is nan"),
    "no score": ("    return 1.0", 5, "it gave float: 1.0"),
    "nothing": ("    pass", 5, "it gave NoneType"),
    "too much": ('    return Score(7.0, "")', 5, "between 0 and 1"),
    "a wrong part": ('    return Score(None, "", {"a": "b"})', 5, "a is no number: 'b'"),
    "an end of all": ("    raise SystemExit(0)", 6, "SystemExit"),
    "beyond numbers": ('    return Score(10**400, "")', 5, "larger than any number"),
    "a truth": ('    return Score(True, "")', 5, "value is no number: True"),
}


@pytest.mark.parametrize(("body", "line", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_score_is_a_failure_with_its_line_and_no_zero(
    written: Load, case: Case, body: str, line: int, said: str
) -> None:
    metric = written(HEAD + f"def mine(case, answer):\n{body}\n")
    with pytest.raises(UsageError) as raised:
        metric.score(case, Answer("", ""))
    assert f"mine.py:{line}: mine" in raised.value.message
    assert case.example_id in raised.value.message
    assert said in (raised.value.cause or "")


def test_an_error_of_a_tool_is_not_the_metrics(written: Load, case: Case) -> None:
    metric = written(HEAD + "def mine(case, answer, judge):\n    judge.ask('?')\n")

    class Down:
        def ask(self, question: str, **more: object) -> tuple[str, ...]:
            raise LMError("the provider is down")

    with pytest.raises(LMError, match="down"):
        metric.score(case, Answer("", ""), Tools(judge=Down()))
    with pytest.raises(UsageError, match="needs judge"):
        metric.score(case, Answer("", ""))


@pytest.mark.parametrize("file", sorted(METRICS.glob("*.py")), ids=lambda file: file.name)
def test_what_is_shipped_imports_only_what_is_public(file: Path) -> None:
    public = {"flywheel.programs", "flywheel.curate"}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("flywheel"):
            assert node.module in public
            names = {one.name for one in node.names}
            assert names <= set(__import__(node.module, fromlist=["__all__"]).__all__)
        elif isinstance(node, ast.Import):
            assert not any(one.name.startswith("flywheel") for one in node.names)
