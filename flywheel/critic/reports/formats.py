"""The formats of reports that can be read, and the one function that reads them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from flywheel.core.errors import ReportError
from flywheel.critic.reports.excerpt import decode, first_line, plain
from flywheel.critic.reports.report import Gathering, Report

Reader = Callable[[bytes, Gathering], bool]
"""Takes a tool's output, adds what it finds to the gathering, and says whether the output was a
report of its format at all."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format of reports."""

    name: str
    """What it is called in settings and messages."""
    module: str
    """Module of this package whose function `gather` is its `Reader`."""
    written_by: str
    """The command that writes it, as a hint in messages."""


_TABLE = (
    Format("go-json", "go", "go test -json ./..."),
    Format("cargo", "cargo", "cargo test --no-fail-fast -- --test-threads=1"),
    Format("lines", "lines", "a runner with flywheel's own formatter (exunit.ex, node.mjs)"),
    Format("junit", "junit", "node --test --test-reporter=junit, pytest --junitxml=FILE"),
    Format("tap", "tap", "node --test --test-reporter=tap, prove --verbose"),
    Format("vitest-json", "vitest", "vitest run --reporter=json, jest --json"),
    Format("unittest", "unittest", "python -m unittest -v"),
    Format("doctest", "doctest", "python -m doctest -v FILE"),
)
FORMATS: dict[str, Format] = {entry.name: entry for entry in _TABLE}
"""Every format by its name."""


def read(
    format_name: str,
    output: bytes,
    *,
    root: str = "/repo",
    module: str = "",
    command: str = "",
) -> Report:
    """What `output` reports, in the format named.

    `root` is the repository's absolute path where the tool ran. `module` is the name that the
    language gives to the repository's root: for Go the module path of `go.mod`; without it the
    ids of Go tests carry whole import paths. `command` is named in an error's message.

    An output that was cut short gives what it said before its end, and is marked incomplete.
    Raises ReportError when the format is unknown, when its library is not installed, or when
    nothing in the output belongs to it.
    """
    entry = FORMATS.get(format_name)
    if entry is None:
        close = difflib.get_close_matches(format_name, FORMATS, n=1)
        raise ReportError(
            f"No report format is called {format_name!r}.",
            cause=f"Formats: {', '.join(FORMATS)}",
            hint=f"Did you mean {close[0]!r}?" if close else None,
        )
    # Late, so that a format costs nothing, and needs no library, unless it is read.
    try:
        gather: Reader = importlib.import_module(f"flywheel.critic.reports.{entry.module}").gather
    except ModuleNotFoundError as error:
        raise ReportError(
            f"Reading the format {format_name} needs the library {error.name}.",
            cause=str(error),
            hint=f"pip install {error.name}",
        ) from error
    gathering = Gathering(root=root, module=module)
    if not gather(output, gathering):
        said = first_line(plain(decode(output[:4000]), root)) or "nothing"
        raise ReportError(
            f"The output of {command or 'the tests'} is no report of the format {format_name}.",
            cause=f"It begins: {said}",
            hint=f"This format is written by: {entry.written_by}",
        )
    return gathering.report()
