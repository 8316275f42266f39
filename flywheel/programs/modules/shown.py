"""Code and errors as a model is shown them: what helps it, in few words."""

from __future__ import annotations

from importlib import resources

from flywheel.programs.lines import docstring_lines, numbered

LONGEST_ERROR = 700
"""Characters of an error that are shown: its head, and the end of its first traceback."""


def instructions(name: str) -> str:
    """The instructions of a program, or of one of its steps."""
    path = resources.files("flywheel.programs.modules") / "prompts" / f"{name}.md"
    return path.read_text(encoding="utf-8").strip()


def code_shown(code: str) -> str:
    """A definition, with the first line alone of its docstring."""
    return _short(code, code)


def code_numbered(code: str) -> str:
    """The same with the numbers that its lines have in the whole."""
    return _short(numbered(code), code)


def error_shown(error: str) -> str:
    """The first failure, with the end of its traceback, and nothing said twice."""
    first, *_ = error.split("\n\nFAILED ", 1)
    first, *_ = first.split("\n\nalso failing:", 1)
    head, _, rest = first.partition("\n")
    head = head[:LONGEST_ERROR]
    message = head.partition(" - ")[2]
    kept: list[str] = []
    room = LONGEST_ERROR - len(head)
    for line in reversed(_said(rest, message)):
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([head, *reversed(kept)])


def _said(traceback: str, message: str) -> list[str]:
    """Lines of a traceback without empty ones, what the head has said, and pytest's whole diff.

    The diff is that of the values which the message has, a value a line.
    """
    found = []
    for line in traceback.strip("\n").split("\n"):
        said = line.removeprefix("E").strip()
        if line.startswith("E") and said.startswith("Full diff"):
            break
        if said and not (line.startswith("E") and said == message):
            found.append(line)
    return found


def _short(text: str, code: str) -> str:
    """A definition's text, a line for each of its lines, without the rest of its docstring."""
    hidden = docstring_lines(code)
    lines = text.split("\n")
    if hidden:
        # What begins must end, or all that follows reads as a text.
        whole = code.split("\n")[hidden[0] - 2]
        end = '"""' if '"""' in whole else "'''"
        lines[hidden[0] - 2] += f" …{end}"
    return "\n".join(line for n, line in enumerate(lines, start=1) if n not in hidden)
