"""What a model learns from: a question as it is asked, and the answer that is wanted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from flywheel.core.errors import UsageError

KNOWN = "known"
"""Origin of an answer that the dataset has, and no model gave."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a question."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    text: str
    """What is said."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One call of one predictor, with the answer that it should give."""

    example_id: str
    """The example that it is about."""
    predictor: str
    """The predictor, as the program calls it."""
    messages: tuple[Message, ...]
    """The question, word for word as it is sent."""
    completion: str
    """The answer, word for word as it is to be written."""
    score: float | None
    """Of the program's answer by the metric, None where that is not known."""
    origin: str
    """`known`, or the model that gave the answer."""
    kept: bool
    """Whether it is learned from."""
    reason: str
    """Why, or why not."""


def write_traces(path: Path, traces: Iterable[Trace]) -> None:
    """Write traces as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            file.write(json.dumps(asdict(trace), ensure_ascii=False) + "\n")


def read_traces(path: Path) -> Iterator[Trace]:
    """The traces of a file of JSON lines. Raises `UsageError` for a line that is none."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield _trace(json.loads(line))
                except (KeyError, TypeError, ValueError) as error:
                    said = f"{type(error).__name__}: {error}"
                    raise UsageError(
                        f"line {number} of {path} is no trace",
                        cause=said,
                        hint="take the line out, or write the file again: flywheel optimize",
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read", cause=str(error), hint="name a file that write_traces wrote"
        ) from error


def learned(traces: Iterable[Trace]) -> tuple[Trace, ...]:
    """Those that are kept. Raises `UsageError` where none is, with why each was left out."""
    every = tuple(traces)
    kept = tuple(one for one in every if one.kept)
    if not kept:
        raise UsageError(
            f"there is nothing to learn from: none of {len(every)} traces is kept",
            cause=counted([one.reason for one in every]) or "no trace was collected",
            hint="a stronger --teacher, a larger dataset, or a metric that some answer passes",
        )
    return kept


def counted(reasons: Sequence[str]) -> str:
    """Reasons with how often each holds, the most frequent first."""
    return ", ".join(f"{count} × {reason}" for reason, count in Counter(reasons).most_common())


def _trace(said: Any) -> Trace:
    messages = tuple(Message(one["role"], str(one["text"])) for one in said["messages"])
    for message in messages:
        if message.role not in ("system", "user", "assistant"):
            raise ValueError(f"no role {message.role!r}")
    if not isinstance(said["completion"], str):
        raise TypeError("the completion is no text")
    return Trace(**{**said, "messages": messages})
