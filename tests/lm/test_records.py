"""What is asked is counted before it is sent: rather too much than too little."""

from __future__ import annotations

from dataclasses import asdict, replace

from flywheel.core.identity import content_hash
from flywheel.lm import Message, Request


def tokens(text: str = "", **more: object) -> int:
    return Request((Message("user", text),), **more).estimated_tokens  # type: ignore[arg-type]  # by name


def test_an_estimate_counts_bytes_not_characters() -> None:
    assert tokens("漢" * 300) - tokens() == 300
    assert tokens("x" * 300) - tokens() == 100
    # What cannot be sent is told by who sends it, not by who counts it.
    assert tokens("\ud800") > tokens()


def test_a_question_without_a_grammar_is_the_one_it_was_before_there_were_any() -> None:
    question = Request((Message("user", "a"),), system="b")
    said = {name: one for name, one in asdict(question).items() if name != "grammar"}
    assert question.key("here") == content_hash("lm-request", "here", said)
    assert replace(question, grammar='root ::= "a"').key("here") != question.key("here")


def test_an_estimate_counts_the_system_text_and_the_schema() -> None:
    assert tokens(system="x" * 300) - tokens() == 100
    schema = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(50)}}
    assert tokens(schema=schema) - tokens() > 500
