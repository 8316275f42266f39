"""Which answers are measured: those of the store, or those of a file that a user brings."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from flywheel.candidates import Rejected, read_answer
from flywheel.core.errors import UsageError
from flywheel.lm import Response, Usage
from flywheel.store import Answers, Scorable, Store, ids_to_score, scorable, with_answers

PAGE = 200
"""Examples whose texts are in memory at once."""
KINDS: tuple[str, ...] = get_args(Answers)
"""Answers that the store holds."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Answers to measure."""

    name: str
    """`good`, `bad`, `attempts`, or the file's name."""
    ids: tuple[str, ...]
    """The examples that they answer, oldest first."""
    brought: Mapping[str, tuple[str, ...]] | None
    """Of a file: its answers by example; None of those that the store holds."""
    strange: tuple[str, ...] = ()
    """Of a file: examples that the store does not hold, or the condition leaves out."""

    def pages(self, store: Store) -> Iterator[tuple[Scorable, ...]]:
        """The answers, some examples at a time."""
        for start in range(0, len(self.ids), PAGE):
            ids = self.ids[start : start + PAGE]
            if self.brought is None:
                yield scorable(store, _kind(self.name), ids)
            else:
                given = [(key, text, code_in(text)) for key in ids for text in self.brought[key]]
                yield with_answers(store, given)


def choose(
    store: Store, answers: str, *, where: str | None = None, limit: int | None = None
) -> Chosen:
    """Find the answers that a user names: a kind, or a file of lines `{"example_id", "answer"}`.

    `where` and `limit` choose among the examples. Raises `UsageError` for what is neither, for a
    line that is no answer, and for a wrong condition.
    """
    if answers in KINDS:
        return Chosen(
            answers, tuple(ids_to_score(store, _kind(answers), where=where, limit=limit)), None
        )
    path = Path(answers).expanduser()
    if not path.is_file():
        near = difflib.get_close_matches(answers, KINDS, n=1)
        raise UsageError(
            f"--answers {answers}: there is no such file, and no such answers",
            cause=f"the store holds {', '.join(KINDS)}",
            hint=f"did you mean {near[0]}?" if near else "name a file of JSON lines",
        )
    brought = _read(path)
    held = ids_to_score(store, None, where=where)
    ids = [key for key in held if key in brought][:limit]
    strange = tuple(sorted(brought.keys() - set(held)))
    return Chosen(path.name, tuple(ids), brought, strange)


def code_in(text: str) -> str | None:
    """The code that an answer holds: of JSON, of a block, or the text itself; None for none."""
    found = read_answer(Response(text, "stop", Usage(), ""))
    if isinstance(found, Rejected):
        # It may be code of a language that is not known by its first word.
        return text.strip("\r\n") if found is Rejected.NO_CODE and "\n" in text.strip() else None
    return found[1].strip("\r\n")


def _kind(name: str) -> Answers:
    match name:
        case "good" | "bad" | "attempts":
            return name
        case _:
            raise ValueError(name)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    """The answers of a file by example, each once."""
    brought: dict[str, dict[str, None]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    key, answer = _answer(line, f"{path}:{number}")
                    brought.setdefault(key, {})[answer] = None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read", cause=str(error), hint="it is JSON lines, in UTF-8"
        ) from error
    if not brought:
        raise UsageError(f"{path} holds no answer", hint=_LINE)
    return {key: tuple(answers) for key, answers in brought.items()}


_LINE = 'each line is {"example_id": "…", "answer": "…"}'


def _answer(line: str, place: str) -> tuple[str, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: not JSON", cause=str(error), hint=_LINE) from error
    match found:
        case {"example_id": str(key), "answer": str(answer), **more} if not more:
            return key.strip(), answer
        case {**said}:
            raise UsageError(
                f"{place}: no answer to an example",
                cause=f"its fields: {', '.join(map(str, said)) or 'none'}",
                hint=_LINE,
            )
        case _:
            raise UsageError(f"{place}: no object", hint=_LINE)
