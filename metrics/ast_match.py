"""Whether an answer is the known fix, layout, comments and docstrings aside."""

from flywheel.curate import normal
from flywheel.programs import Answer, Case, Score

VERSION = "1"


def ast_match(case: Case, answer: Answer) -> Score:
    """Whether the answer says what the known fix says, however it is laid out."""
    if answer.code is None:
        return Score(0.0, "the answer holds no code")
    same = normal(answer.code, case.language) == normal(case.good, case.language)
    return Score(float(same), "the known fix" if same else "other code than the known fix")
