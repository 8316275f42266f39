"""Traces as tokens, exactly as the server reads a question and a model writes an answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.optimize.finetune.trace import Trace, counted


@dataclass(frozen=True, slots=True)
class Encoded:
    """A trace in tokens."""

    tokens: tuple[int, ...]
    """The question, the answer and its end."""
    start: int
    """Where the answer begins."""

    @property
    def learned(self) -> int:
        """Tokens that are learned."""
        return len(self.tokens) - self.start


@dataclass(frozen=True, slots=True)
class Lot:
    """Traces in tokens."""

    rows: tuple[Encoded, ...]
    """Those that fit, in their order."""
    left_out: str
    """Why others are not among them, with how many; empty where all are."""


def encoded(traces: Iterable[Trace], tokenizer: Any, *, longest: int) -> Lot:
    """Traces in tokens, without those that have more than `longest`.

    Raises `UsageError` for a model without a template of chats.
    """
    rows: list[Encoded] = []
    reasons: list[str] = []
    for trace in traces:
        if not trace.completion:
            reasons.append("an empty answer")
            continue
        row = _encoded(trace, tokenizer)
        if len(row.tokens) > longest:
            reasons.append(f"longer than {longest} tokens")
        else:
            rows.append(row)
    return Lot(tuple(rows), counted(reasons))


def _encoded(trace: Trace, tokenizer: Any) -> Encoded:
    if not tokenizer.chat_template:
        raise UsageError(
            "the model has no template of chats, so it cannot be asked as it is tuned",
            hint="name a model that was tuned to follow instructions",
        )
    turns = [{"role": one.role, "content": one.text} for one in trace.messages]
    question = rendered(turns, tokenizer)
    said = {"role": "assistant", "content": trace.completion}
    whole = tokenizer.apply_chat_template([*turns, said], tokenize=False)
    # In pieces, for that is how they come about: the model writes after what it has read.
    start = tokens_of(question, tokenizer)
    answer = tokens_of(trace.completion, tokenizer)
    before, _, after = whole.rpartition(trace.completion)
    end = tokens_of(after, tokenizer)[:1] if before else []
    special = set(tokenizer.all_special_ids)
    # A template may end a turn with a token of its own; else it is the model's.
    if not end or end[0] not in special:
        end = [tokenizer.eos_token_id]
    return Encoded((*start, *answer, *end), len(start))


def rendered(turns: list[dict[str, str]], tokenizer: Any) -> str:
    """A question as the model reads it."""
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def tokens_of(text: str, tokenizer: Any) -> list[int]:
    """A text in tokens, with nothing put before it."""
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found
