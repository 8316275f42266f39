"""What every command needs: the global options, where to print, the workspace, the settings.

Data goes to stdout, everything else to stderr. A command takes its session from the context:

    def examples(context: typer.Context) -> None:
        session = Session.of(context)
        session.out.print(…)

What is dear to import (rich, the settings) is imported when it is first asked for.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from flywheel.core.settings import Configuration
    from flywheel.workspace import Workspace


_VISIBLE = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}


def visible(text: str) -> str:
    """Text of others with control characters spelled out: a terminal would obey them."""
    return text.translate(_VISIBLE)


@dataclass
class Session:
    """One run of the command line."""

    workspace_option: Path | None = None
    """Value of `--workspace`; None when it was not given."""
    quiet: bool = False
    """Print only data and errors."""
    no_input: bool = False
    """Never ask; a question becomes an error that names the flag to give."""
    debug: bool = False
    """Show the full traceback of an unexpected error."""

    @classmethod
    def of(cls, context: typer.Context) -> Self:
        """The session of a command's context."""
        session = context.find_object(cls)
        if session is None:  # the app was called without `main`, as a test may
            session = context.ensure_object(cls)
        return session

    @cached_property
    def out(self) -> Console:
        """Where data goes: stdout, without wrapping when it is no terminal."""
        from rich.console import Console

        return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)

    @cached_property
    def err(self) -> Console:
        """Where everything that is not data goes: stderr."""
        from rich.console import Console

        return Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace this run works in. Raises `UsageError` when it cannot be one."""
        from flywheel.workspace import find

        return find(explicit=self.workspace_option)

    @property
    def interactive(self) -> bool:
        """True when a person can be asked."""
        return not self.no_input and sys.stdin.isatty() and sys.stderr.isatty()

    def configuration(self, flags: Mapping[str, object] | None = None) -> Configuration:
        """The settings in force; `flags` maps dotted names to values, None means not given.

        Raises `UsageError` for a wrong file, variable or flag.
        """
        from flywheel.core.settings import load

        return load(self.workspace.root, flags=flags)

    def line(self, name: str, text: str) -> None:
        """Print a line of a summary on stdout: its name, and what may be the text of others."""
        self.out.print(f"  {name:<11} {visible(text)}", markup=False)

    def say(self, message: str) -> None:
        """Tell a person something on stderr, unless `--quiet`; rich markup is understood."""
        if not self.quiet:
            self.err.print(message)

    def warn(self, message: str, hint: str | None = None) -> None:
        """Tell a person on stderr what is not as it should be and, with `hint`, what mends it."""
        from rich.markup import escape

        more = f" [dim]({escape(visible(hint))})[/dim]" if hint else ""
        self.say(f"[yellow]![/yellow] {escape(visible(message))}{more}")

    def next_step(self, *arguments: str) -> None:
        """End a command by naming the next one, for the workspace this one was told to work in.

        `arguments` come after `flywheel`; what is shown can be pasted into a shell.
        """
        from rich.markup import escape

        where = () if self.workspace_option is None else ("--workspace", str(self.workspace_option))
        self.say(f"[dim]Next:[/dim] {escape(shlex.join(('flywheel', *where, *arguments)))}")

    def print_json(self, data: Any) -> None:
        """Print data as JSON on stdout, one document, never wrapped or coloured."""
        text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
        # What a model or a metric says may hold what no text file can.
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
