"""Whether an answer is code at all."""

import ast
import textwrap
import warnings

from flywheel.programs import Answer, Case, Score

VERSION = "1"


def parses(case: Case, answer: Answer) -> Score:
    """Whether the answer is code that parses; of other languages than Python it is not known."""
    if answer.code is None:
        return Score(0.0, "the answer holds no code")
    if case.language != "python":
        return Score(None, f"no parser of {case.language} here")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's escape sequences
            ast.parse(textwrap.dedent(answer.code))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Score(0.0, f"it does not parse: {error}"[:200])
    return Score(1.0, "it parses")
