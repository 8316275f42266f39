"""What a language model thinks of an answer, from 0 to 10, without running anything.

It is an opinion. `flywheel metric run plan_judge --answers attempts` measures how often it says
what the tests say; until then it may drive nothing.
"""

import json
import re
import statistics
from pathlib import Path

from flywheel.programs import Answer, Case, Judge, Score

VERSION = "1"
THRESHOLD = 8
"""Score from which an answer is accepted."""
SAMPLES = 3
"""How often the model is asked; of an even number the middle would be a mean of two."""
LONGEST = 4000
"""Characters of a failure, and of an answer, that it is shown; a longer answer is not judged."""
MAX_TOKENS = 300
SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 400},
        "score": {"type": "integer", "minimum": 0, "maximum": 10},
    },
    "required": ["reason", "score"],
    "additionalProperties": False,
}
SYSTEM, QUESTION = Path(__file__).with_suffix(".md").read_text(encoding="utf-8").split("\n---\n")
_OBJECT = re.compile(r"\{[^{}]*\}")
_WORDS = re.compile(r"\bscore\b[\"'*: =]*(\d{1,3}(?:\.\d+)?)(?:\s*/\s*10)?(?![\d%])", re.IGNORECASE)


def plan_judge(case: Case, answer: Answer, judge: Judge) -> Score:
    """The middle of several scores of a model, over 10; not known where most cannot be read.

    Parts: `score` from 0 to 10, `accepted` from 8 on, `samples` that could be read, their `spread`.
    """
    if answer.code is None:
        return Score(0.0, "the answer holds no code", {"score": 0.0, "accepted": 0.0})
    if len(answer.code) > LONGEST:
        return Score(None, f"the answer is longer than the {LONGEST} characters a judge is shown")
    question = QUESTION.format(
        symbol=case.symbol,
        path=case.path,
        bad=case.bad,
        error=case.error[:LONGEST].rstrip(),
        answer=answer.code.rstrip(),
    )
    said = judge.ask(question, system=SYSTEM, schema=SCHEMA, samples=SAMPLES, max_tokens=MAX_TOKENS)
    opinions = [one for one in map(_read, said) if one is not None]
    if 2 * len(opinions) <= SAMPLES:
        return Score(None, f"{len(opinions)} of {SAMPLES} answers of the judge can be read")
    scores = [score for score, _ in opinions]
    middle = float(statistics.median(scores))
    _, reason = min(opinions, key=lambda one: abs(one[0] - middle))
    parts = {
        "score": middle,
        "accepted": float(middle >= THRESHOLD),
        "samples": float(len(opinions)),
        "spread": max(scores) - min(scores),
    }
    return Score(middle / 10, reason[:400] or "no reason given", parts)


def _read(text: str) -> tuple[float, str] | None:
    """The score and the reason of one answer: of JSON, also within a text, or in words."""
    for part in (text, *reversed(_OBJECT.findall(text))):
        try:
            found = json.loads(part)
        except (ValueError, RecursionError):
            continue
        match found:
            case {"score": bool()}:
                return None
            case {"score": int() | float() as score}:
                reason = str(found.get("reason", ""))
                return (float(score), reason) if 0 <= score <= 10 else None
    named = _WORDS.findall(text)
    if not named or not 0 <= float(named[-1]) <= 10:
        return None
    return float(named[-1]), " ".join(text.split())
