"""Modes as signatures of DSPy, so that what they ask can be optimised like any program.

The prompt file stays the one source of the words: its system text is the instruction, the names in
its question are the inputs, the shape of the answer gives the outputs, and its worked example is a
demonstration.
"""

from __future__ import annotations

import json
from typing import Any

from flywheel.candidates.written.mode import Mode

_SAYS = {
    "path": "file that holds the code",
    "numbered": "the function, its lines numbered",
    "families": "kinds of bugs that are wanted",
    "header": "the function's first line and docstring",
    "callers": "lines that call it",
    "code": "the definition as it fails",
    "error": "how a test fails because of it",
    "test": "source of the failing test",
}
_ANSWERS = {
    "line": "the line to be replaced, as it stands, with its number",
    "code": "the code that takes its place",
}


def signature_of(mode: Mode) -> Any:
    """The signature of a mode: a subclass of `dspy.Signature`.

    An input and an output of one name cannot both be; the input is then called `shown`.
    """
    import dspy  # noqa: PLC0415  it takes a second, and only programs want it

    fields: dict[str, Any] = {}
    for name in mode.names:
        fields[_input(name)] = (str, dspy.InputField(desc=_SAYS[name]))
    outputs = ("line", "code") if mode.answer == "line" else ("code",)
    for name in outputs:
        fields[name] = (str, dspy.OutputField(desc=_ANSWERS[name]))
    return dspy.Signature(fields, mode.system)


def demonstration_of(mode: Mode) -> Any:
    """The worked example of a mode: a `dspy.Example` that its signature takes."""
    import dspy  # noqa: PLC0415  it takes a second, and only programs want it

    shown, answer = mode.example
    inputs = {_input(name): shown[name] for name in mode.names}
    outputs = json.loads(answer) if mode.answer == "line" else {"code": _code(answer)}
    return dspy.Example(**inputs, **outputs).with_inputs(*inputs)


def _input(name: str) -> str:
    return "shown" if name == "code" else name


def _code(block: str) -> str:
    """What stands between the first and the last line of a block."""
    return "\n".join(block.split("\n")[1:-1])
