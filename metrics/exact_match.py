"""Whether an answer is the known fix, letter by letter."""

from flywheel.programs import Answer, Case, Score

VERSION = "1"


def exact_match(case: Case, answer: Answer) -> Score:
    """Whether the answer is the known fix, white space at the ends of lines aside."""
    if answer.code is None:
        return Score(0.0, "the answer holds no code")
    same = _lines(answer.code) == _lines(case.good)
    return Score(float(same), "the known fix" if same else "another text than the known fix")


def _lines(code: str) -> list[str]:
    return [line.rstrip() for line in code.strip().splitlines()]
