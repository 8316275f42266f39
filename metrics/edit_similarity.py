"""How much of an answer is the known fix, token by token."""

import difflib
import re

from flywheel.curate import normal
from flywheel.programs import Answer, Case, Score

VERSION = "1"
_TOKEN = re.compile(r"\w+|[^\w\s]")


def edit_similarity(case: Case, answer: Answer) -> Score:
    """Share of the tokens that the answer and the known fix have in common, in order.

    Twice those in common over all of both, as difflib counts them (Ratcliff and Obershelp). A bug
    is most of its fix already, so what an answer gains over it is the part `gained`: 0 for the bug
    left as it is, 1 for the known fix, below 0 for what leads away from it.
    """
    if answer.code is None:
        return Score(0.0, "the answer holds no code")
    good, bad, found = (
        _TOKEN.findall(normal(code, case.language)) for code in (case.good, case.bad, answer.code)
    )
    ratio, before = _ratio(found, good), _ratio(bad, good)
    parts = {"bug": before}
    if before < 1:
        parts["gained"] = (ratio - before) / (1 - before)
    return Score(
        ratio, f"{ratio:.0%} of the tokens are the fix's; of the bug's {before:.0%}", parts
    )


def _ratio(one: list[str], other: list[str]) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
