"""Modes: what a model is asked to write, as a prompt file and the shape of the answer.

A prompt file holds the system text, the question, its answer in a worked example, and what follows
an answer that will not do where there is a conversation, parted by lines of three dashes. Names in
braces stand where the target's text goes. Its hash is part of what a candidate says made it.

Whole functions come in a block of code: models write worse code where it is a text within JSON.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from flywheel.core.errors import UsageError
from flywheel.core.identity import content_hash
from flywheel.lm import BYTES_A_TOKEN, Message

_PROMPTS = files("flywheel.candidates.written") / "prompts"
_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to have a candidate written."""

    name: str
    """As `--modes` and the summary call it, and the name of its prompt file."""
    answer: Literal["line", "function", "definition"]
    """What comes back: one line; a function with the arguments it had; a definition whose first
    line may be another, too."""
    mends: bool = False
    """Whether what it is shown has a bug that it is to mend."""

    @property
    def system(self) -> str:
        """What holds for every question."""
        return _parts(self.name)[0]

    def question(self, values: Mapping[str, Any]) -> str:
        """The question, with its names filled in."""
        return _filled(_parts(self.name)[1], values)

    @property
    def example(self) -> tuple[Mapping[str, str], str]:
        """A worked example: the names of its question, and the answer."""
        return _example(self.mends), _parts(self.name)[2]

    def opening(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """A conversation that asks the question, after the worked example."""
        shown, answer = self.example
        return (
            Message("user", self.question(shown)),
            Message("assistant", answer),
            Message("user", self.question(values)),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """What the question has names for, in the order in which they stand in it."""
        return tuple(dict.fromkeys(_NAME.findall(_parts(self.name)[1])))

    def follow_up(self, values: Mapping[str, Any]) -> str:
        """What follows an answer that will not do."""
        return _filled(_parts(self.name)[3], values)

    @property
    def version(self) -> str:
        """Identity of the prompt: another text is another version."""
        shown, _ = self.example
        return content_hash("prompt", self.name, *_parts(self.name), *shown.values())[:8]

    def tokens(self, shown: str) -> int:
        """Tokens that an answer may have where it replaces, or grows out of, a text.

        A small model that has lost its way writes until it is stopped.
        """
        longest = max(map(len, shown.split("\n"))) if self.answer == "line" else len(shown)
        return 96 + int(2 * longest / BYTES_A_TOKEN)

    def schema(self, lines: Sequence[str]) -> Mapping[str, Any] | None:
        """JSON schema of the answer, None for a block of code.

        `lines` are those that may be written anew, with their numbers. To copy a line before it is
        changed keeps a small model to the code.
        """
        if self.answer != "line":
            return None
        fields = {"line": {"enum": list(lines)}, "code": {"type": "string", "minLength": 1}}
        return {
            "type": "object",
            "properties": fields,
            "required": list(fields),
            "additionalProperties": False,
        }


OF_FUNCTIONS = (
    Mode("insert", "line"),
    Mode("reimplement", "function"),
    Mode("refactor", "function"),
    Mode("feature", "definition"),
)
"""What is asked of functions as they are."""
ATTEMPT = Mode("attempt", "definition", mends=True)
"""To mend a bug that is proven; what fails is a flawed fix."""
MODES = (*OF_FUNCTIONS, ATTEMPT)
"""Every mode there is."""


def chosen(names: tuple[str, ...]) -> tuple[Mode, ...]:
    """The modes of these names; without any, all of functions as they are. Raises `UsageError`."""
    known = {mode.name: mode for mode in MODES}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"unknown mode: {', '.join(unknown)}", hint=f"--modes {','.join(known)}")
    return tuple(known[name] for name in names) or OF_FUNCTIONS


@cache
def _parts(name: str) -> tuple[str, ...]:
    text = (_PROMPTS / f"{name}.md").read_text(encoding="utf-8")
    return tuple(part.strip() for part in text.split("\n---\n"))


@cache
def _example(broken: bool) -> Mapping[str, str]:
    found = tomllib.loads((_PROMPTS / "example.toml").read_text(encoding="utf-8"))
    shown: Mapping[str, str] = found["broken" if broken else "works"]
    return shown


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """A prompt with its names filled in; code may hold braces of its own."""
    return _NAME.sub(lambda found: str(values.get(found[1], found[0])), text)
