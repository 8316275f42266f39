"""Magics: `%load_ext flywheel`, then `%fw SQL`, `%%fw` over a query, and `%fw_open PATH`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from flywheel.core.errors import UsageError
from flywheel.notebook.door import Door, open_workspace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class Magics:
    """The magics of one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._door: Door | None = None

    def ask(self, line: str, cell: str | None = None) -> Door | pl.DataFrame | None:
        """Ask the store in SQL; without a query, show the workspace.

        `%fw SQL` gives a frame, as does `%%fw` with the query below it; `%%fw NAME` keeps the frame
        as a variable and shows nothing.
        """
        door = self._door = self._door or open_workspace()
        if cell is None:
            return door.sql(line) if line.strip() else door
        name = line.strip()
        if name and not name.isidentifier():
            raise UsageError(
                f"{name} is no name of a variable.",
                hint="The query goes below %%fw; beside it, the name that keeps the answer.",
            )
        frame = door.sql(cell)
        if not name:
            return frame
        self._shell.user_ns[name] = frame
        return None

    def open(self, line: str) -> Door:
        """Ask this workspace from now on: `%fw_open PATH`; without a path, the nearest."""
        self._door = open_workspace(line.strip() or None)
        return self._door


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a shell; what `%load_ext flywheel` calls."""
    from IPython.core.magic import no_var_expand  # noqa: PLC0415  is there where this is called

    magics = Magics(shell)

    # SQL has braces and dollars of its own.
    @no_var_expand
    def fw(line: str, cell: str | None = None) -> Door | pl.DataFrame | None:
        return magics.ask(line, cell)

    fw.__doc__ = magics.ask.__doc__
    shell.magics_manager.register_function(fw, "line_cell", "fw")
    shell.magics_manager.register_function(magics.open, "line", "fw_open")
