"""What changed since a revision, as far as candidates are concerned: whole definitions.

The revision stands for the commit at which the newest one's history left it (git's merge base, as
`git diff REV...HEAD` and a pull request show it). A definition that changed is looked at whole: its
unchanged lines mean something else now. Tests that changed give no candidates of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from flywheel.candidates import hunks
from flywheel.core.events import EventBus
from flywheel.core.settings import Settings
from flywheel.critic import Toolchain, Unit, units
from flywheel.git import Checkout, at, merge_base, resolve
from flywheel.orchestrator.workbench import phase, toolchain_of
from flywheel.workspace import Workspace

Covered = Callable[[str], Set[int] | None]
"""Lines of a file that some test executes, None when not known."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One piece of a source that changed."""

    path: str
    """Repository-relative POSIX path."""
    name: str
    """`f`, `C.m`, `C` for what of a class is no method, `<module>` for other statements."""
    lines: frozenset[int]
    """Its lines at the newest commit."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a branch changed."""

    checkout: Checkout
    """The newest commit."""
    revision: str
    """As the user named it."""
    base: str
    """Full hash of the commit that it is compared with."""
    definitions: tuple[Definition, ...]
    """What changed in the sources, in order."""
    tests: int
    """Files of tests, and of what serves them, that changed."""

    @property
    def paths(self) -> frozenset[str]:
        """Sources that changed."""
        return frozenset(one.path for one in self.definitions)

    def lines(self, path: str) -> frozenset[int]:
        """Lines of a source that belong to what changed."""
        return frozenset(line for one in self.definitions if one.path == path for line in one.lines)

    def within(self, covered: Covered) -> Covered:
        """The covered lines of a file that belong to what changed; all that changed, not known."""

        def lines(path: str) -> Set[int]:
            there = covered(path)
            return self.lines(path) if there is None else there & self.lines(path)

        return lines

    def summary(self, covered: Covered | None = None) -> dict[str, Any]:
        """The same as one object; with `covered`, also what no test executes."""
        unseen = [
            one
            for one in self.definitions
            if covered is not None and one.name != MODULE and not _executed(one, covered)
        ]
        return {
            "revision": self.revision,
            "base": self.base,
            "files": len(self.paths),
            "definitions": len(self.definitions),
            "tests_changed": self.tests,
            "not_executed": [f"{one.path}:{one.name}" for one in unseen],
        }


MODULE = "<module>"
"""Name of statements outside of definitions."""


def find_changed(
    repo: str, revision: str, settings: Settings, workspace: Workspace, bus: EventBus
) -> Changed:
    """The same for a repository as the user names it; builds nothing.

    Raises `UsageError`, `RepositoryError`, `ToolchainError`.
    """
    with phase(bus, "fetch", repo):
        checkout = resolve(repo, settings.paths.cache or workspace.cache)
    return changed_since(checkout, revision, toolchain_of(checkout, settings, workspace))


def changed_since(checkout: Checkout, revision: str, toolchain: Toolchain) -> Changed:
    """What the checkout's history changed since it left a revision. Raises `UsageError`."""
    base = merge_base(checkout, revision)
    old = at(checkout, base)
    before = {entry.path: entry for entry in old.entries()}
    after = {entry.path: entry for entry in checkout.entries()}
    changed = [
        path for path, entry in after.items() if path not in before or before[path].oid != entry.oid
    ]
    sources = [path for path in changed if toolchain.is_source(path)]
    gone = [path for path in before if path not in after and toolchain.is_source(path)]
    # What a file that is no more held may have moved into another one.
    moved = Counter(
        (unit.name, unit.text) for path in gone for unit in _units(path, old.read(path))
    )
    definitions = []
    for path in sources:
        if not path.endswith(".py"):
            lines = _changed_lines(old.read(path) or b"", checkout.read(path) or b"")
            definitions += [Definition(path, MODULE, lines)] if lines else []
            continue
        known = Counter(
            (unit.name, unit.text)
            for unit in _units(path, old.read(path) if path in before else b"")
        )
        for unit in _units(path, checkout.read(path)):
            key = (unit.name, unit.text)
            place = known if known[key] else moved
            if place[key]:
                place[key] -= 1
                continue
            definitions.append(Definition(path, unit.name or MODULE, unit.lines))
    tests = sum(toolchain.is_protected(path) for path in changed)
    return Changed(checkout, revision, base, tuple(definitions), tests)


def _changed_lines(before: bytes, after: bytes) -> frozenset[int]:
    """Lines of a file that are new or other than they were, and those around what is gone."""
    found = hunks(after.splitlines(keepends=True), before.splitlines(keepends=True))
    return frozenset(
        line for hunk in found for line in range(hunk.start + 1, max(hunk.end, hunk.start + 1) + 1)
    )


def _units(path: str, content: bytes | None) -> tuple[Unit, ...]:
    """The units of a source; none of what cannot be read, which no candidate changes either."""
    try:
        return units(path, content or b"", is_source=True)
    except (SyntaxError, ValueError, RecursionError):
        return ()


def _executed(one: Definition, covered: Covered) -> bool:
    # The line of `def` runs at import, whoever calls it.
    inner = one.lines - {min(one.lines)} or one.lines
    there = covered(one.path)
    return there is None or not inner.isdisjoint(there)
