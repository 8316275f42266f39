"""Which files of the repository a process loads.

A test cannot notice a change of a file that its process neither imports nor opens, as long as it
starts no other process. The names of modules tell what was imported, before the fork too; an
audit hook tells what else was opened, and what was started.
"""

from __future__ import annotations

import os
import sys
from importlib.util import source_from_cache
from typing import Any, List, Optional, Sequence

STARTS = frozenset(
    [
        *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile"),
        *("os.system", "pty.spawn", "subprocess.Popen"),
    ]
)
"""Audit events of a process that starts another."""


class Reach:
    """Notes, from its making on, what this process loads of some files."""

    def __init__(self, paths: Sequence[str]) -> None:
        """`paths` are absolute."""
        self.places = {path: place for place, path in enumerate(paths)}
        self.opened = set()  # type: Any
        self.started = False
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: Any) -> None:
        if event == "open":
            try:
                self.opened.add(os.path.abspath(os.fsdecode(arguments[0])))
            except TypeError:  # a descriptor
                return
        elif event in STARTS:
            self.started = True

    def found(self) -> Optional[List[int]]:
        """Places of the files loaded so far; None where another process may have loaded any."""
        if self.started:
            return None
        loaded = set(self.opened)
        for module in list(sys.modules.values()):
            name = getattr(module, "__file__", None)
            if isinstance(name, str):
                loaded.add(name)
        real = {os.path.realpath(_source(name)) for name in loaded}
        return sorted(self.places[name] for name in real if name in self.places)

    def is_whole(self) -> bool:
        """Whether nothing more can be learned."""
        found = self.found()
        return found is None or len(found) == len(self.places)


def _source(name: str) -> str:
    """The file that bytecode was compiled from: reading it is an import."""
    if name.endswith(".pyc"):
        try:
            return source_from_cache(name)
        except ValueError:
            pass
    return name
