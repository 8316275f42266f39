"""Which tests a commit may affect: the ground on which older verdicts stand or fall.

Two commits are compared, file by file and unit by unit (`units`). From the names that the changed
units bind, the names of whatever mentions them are followed, through functions, classes and what
is made of them at import. A test is in doubt when its file changed, when it mentions such a name
itself, or when it executes a line of what does, at either commit. So a test that is not in doubt
neither runs changed code nor can come to it by a name, however its course is bent by a mutant.

What it cannot see is in docs/design/freshness.md. What it does not know (data, settings, files of
other languages) puts every test in doubt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from flywheel.critic.baseline import Learned
from flywheel.critic.select import Bits, positions
from flywheel.critic.toolchain import Toolchain, matcher
from flywheel.critic.units import WORD, Unit, units

TEST_CHANGED = "test-changed"
"""The file that holds the test, or a conftest of its folder, is another one."""
CALLS_CHANGED = "reaches-changed-code"
"""The test executes changed code or names what may."""
TEST_GONE = "test-gone"
"""The test is not there any more, or does not judge any more."""
SUPPORT_CHANGED = "support-changed"
"""A file changed of which nobody knows who reads it."""

_DOCUMENTS = (
    "*.md", "*.rst", "*.adoc", "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "AUTHORS*",
    "CONTRIBUTORS*", "CHANGELOG*", "CHANGES*", "HISTORY*", "NEWS*", "README*", "CODEOWNERS",
    ".gitignore", ".gitattributes", ".mailmap", ".editorconfig", ".git-blame-ignore-revs",
    ".pre-commit-config.yaml", ".readthedocs.y*ml", ".github/**",
    "doc/**/*.md", "doc/**/*.rst", "docs/**/*.md", "docs/**/*.rst", "docs/**/*.png",
    "docs/**/*.svg", "docs/**/*.css",
)  # fmt: skip
"""Files that no suite reads unless its code names them."""


class Version:
    """One commit as far as its suite is concerned: its files, its tests and what they execute."""

    def __init__(
        self,
        entries: Mapping[str, str],
        read: Callable[[str], bytes | None],
        learned: Learned,
        toolchain: Toolchain,
    ) -> None:
        """`entries` gives each path what is equal for equal files, `read` a path's content."""
        self.entries = entries
        """Path -> identity of the file."""
        self.read = read
        """Content of a path, None for none."""
        self.learned = learned
        """Its baseline."""
        self.judging = frozenset(learned.suite.ids)
        """Ids of the tests that judge."""
        self._toolchain = toolchain
        self._units: dict[str, tuple[Unit, ...] | None] = {}
        self._named: dict[str, dict[str, list[Unit]]] = {}

    def is_source(self, path: str) -> bool:
        """Whether it is code that candidates may change."""
        return self._toolchain.is_source(path)

    def units(self, path: str) -> tuple[Unit, ...] | None:
        """The units of a file, none where there is no file; None for what is no Python."""
        if path not in self._units:
            self._units[path] = self._read_units(path)
        return self._units[path]

    def unit(self, path: str, key: tuple[str, bytes, int]) -> Unit | None:
        """The unit of a file that has this key, None for none."""
        return next((one for one in self.named(path, key[0]) if one.key == key), None)

    def named(self, path: str, name: str) -> Sequence[Unit]:
        """The units of a file that have this name."""
        if path not in self._named:
            found = self._named[path] = defaultdict(list)
            for unit in self.units(path) or ():
                found[unit.name].append(unit)
        return self._named[path].get(name, ())

    def ids(self, selection: Bits) -> Iterator[str]:
        """Ids of a set of tests."""
        suite = self.learned.suite
        return (suite.ids[position] for position in positions(selection))

    def covering(self, path: str, lines: Iterable[int]) -> Set[str]:
        """Ids of the tests that execute any of these lines."""
        return set(self.ids(self.learned.suite.lines.covering(path, lines)))

    def reaching(self, path: str) -> Set[str]:
        """Ids of the tests whose files load this one, as far as that is known; else all."""
        found = self.learned.suite.reach.get(path)
        return set(self.ids(found)) if found else self.judging

    @cached_property
    def test_files(self) -> Mapping[str, Set[str]]:
        """File -> ids of the tests that it holds, or that are written in it."""
        found: dict[str, set[str]] = defaultdict(set)
        for test in self.learned.baseline.tests:
            found[test.test_id.partition("::")[0]].add(test.test_id)
            found[test.path].add(test.test_id)
        return found

    def _read_units(self, path: str) -> tuple[Unit, ...] | None:
        content = self.read(path) if path in self.entries else b""
        if content is None or not path.endswith(".py"):
            return None
        try:
            return units(path, content, is_source=self.is_source(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@dataclass(frozen=True, slots=True)
class Affected:
    """What lies between two commits."""

    tests: Mapping[str, str]
    """Id of a test in doubt -> why; other tests do at the newer commit what they did."""
    names: frozenset[str]
    """Names that lead to changed code; code that comes to mention one is in doubt too."""
    everything: str
    """Why every test is in doubt, empty when not."""

    def reason(self, test_id: str) -> str:
        """Why a test is in doubt, empty when it is not."""
        return self.everything or self.tests.get(test_id, "")

    def mentions(self, code: str) -> bool:
        """True when code names what leads to changed code."""
        return bool(self.names) and not self.names.isdisjoint(WORD.findall(code))


def compare(old: Version, new: Version) -> Affected:
    """What of the older commit's suite is in doubt at the newer one."""
    changed = sorted(
        path
        for path in old.entries.keys() | new.entries.keys()
        if old.entries.get(path) != new.entries.get(path)
    )
    doubt: dict[str, str] = {}
    for test_id in old.judging - new.judging:
        doubt[test_id] = TEST_GONE
    held = [version.test_files for version in (old, new)]
    code: list[str] = []
    for path in changed:
        here = set().union(*(files.get(path, ()) for files in held))
        doubt.update(dict.fromkeys(here - doubt.keys(), TEST_CHANGED))
        name = PurePosixPath(path).name
        if name == "conftest.py":
            folder = path.removesuffix(name)
            below = (test_id for test_id in old.judging if test_id.startswith(folder))
            doubt.update(dict.fromkeys(set(below) - doubt.keys(), TEST_CHANGED))
            code.append(path)
        elif here or (path.endswith(".py") and old.is_source(path)):
            code.append(path)
        elif not _is_harmless(path, old, new):
            return Affected(doubt, frozenset(), SUPPORT_CHANGED)
    if not code:
        return Affected(doubt, frozenset(), "")
    closure = _Closure(old, new)
    for path in code:
        if path.endswith(".py") and not closure.change(path):
            return Affected(doubt, frozenset(), SUPPORT_CHANGED)
    closure.follow()
    for test_id in closure.tests():
        doubt.setdefault(test_id, CALLS_CHANGED)
    return Affected(doubt, frozenset(closure.names), "")


def _is_harmless(path: str, old: Version, new: Version) -> bool:
    """A document that no Python file of either commit names."""
    if matcher(_DOCUMENTS).match(path) is None:
        return False
    name = PurePosixPath(path).name
    telling = [name, *(part for part in PurePosixPath(path).parts[:1] if part != name)]
    sought = re.compile(b"|".join(rb"['\"/]" + re.escape(one.encode()) for one in telling))
    for version in (old, new):
        for one in version.entries:
            if one.endswith(".py") and not one.startswith(("docs/", "doc/")) and one != "setup.py":
                content = version.read(one)
                if content is None or sought.search(content):
                    return False
    return True


class _Closure:
    """Follows names from changed units to all that may come to them."""

    def __init__(self, old: Version, new: Version) -> None:
        self.names: set[str] = set()
        """Names that lead to changed code."""
        self._versions = (old, new)
        self._found: dict[int, tuple[Version, Unit]] = {}
        """Units that may come to changed code, by the identity of the object."""
        self._mentions: dict[str, list[tuple[Version, Unit]]] = defaultdict(list)
        self._variables: set[str] = set()
        """Names that statements of modules assign: what is kept for later is kept in one."""
        self._functions: dict[str, list[Unit]] = defaultdict(list)
        self._stems: set[str] = set()
        """Names by which the tree's own modules are imported."""
        self._doubted_files: set[str] = set()
        """Test files, and folders (ending in `/`, or empty), all of whose tests are in doubt."""
        self._reached: set[str] = set()
        """Sources of which whatever loads them is in doubt."""
        self._dynamic: list[tuple[Version, Unit]] = []
        self._pending: list[str] = []
        self._tests: dict[str, list[tuple[Version, Unit]]] = defaultdict(list)
        for version in self._versions:
            for path in version.entries:
                if path.endswith(".py") and (version is new or self._differs(path)):
                    self._index(version, path)

    def _differs(self, path: str) -> bool:
        old, new = self._versions
        return old.entries.get(path) != new.entries.get(path)

    def _index(self, version: Version, path: str) -> None:
        where = PurePosixPath(path)
        self._stems.add(where.parent.name if where.stem == "__init__" else where.stem)
        self._stems.update(where.parts[:1])
        for unit in version.units(path) or ():
            for word in unit.words:
                self._mentions[word].append((version, unit))
            if unit.is_function:
                self._functions[unit.name.rpartition(".")[2]].append(unit)
            elif not unit.loads:
                self._variables.update(unit.binds)
            if unit.dynamic:
                self._dynamic.append((version, unit))
            if not version.is_source(path) and unit.is_function:
                self._tests[unit.name.rpartition(".")[2]].append((version, unit))

    def change(self, path: str) -> bool:
        """Take in a changed file; False when nothing can be said of it."""
        old, new = self._versions
        stem = PurePosixPath(path).stem
        if not old.is_source(path) and all(
            unit.path == path for _, unit in self._mentions.get(stem, ())
        ):
            # Its own tests are in doubt already, and nobody else imports it.
            return True
        before, after = old.units(path), new.units(path)
        if before is None or after is None:
            return False
        if (path in old.entries) != (path in new.entries):
            # An import may find another file now.
            where = PurePosixPath(path)
            self._name(where.parent.name if where.stem == "__init__" else where.stem)
        if self._own(_loaded(before) ^ _loaded(after)):
            # A module of the tree that is loaded now, or no longer, may do anything.
            self._whole(path)
        imported = [{one for unit in found for one in unit.aliases} for found in (before, after)]
        for alias in imported[0] ^ imported[1]:
            self._name(alias.given)
        for version, unit in _differing((old, before), (new, after)):
            if unit.opaque:
                self._whole(path)
            if not unit.aliases:
                self._take(version, unit)
        return True

    def _own(self, modules: Set[str]) -> bool:
        return any(
            name.startswith(".") or name.partition(".")[0] in self._stems for name in modules
        )

    def follow(self) -> None:
        """Go on until no further name is found."""
        if self._found or self._pending:
            for version, unit in self._dynamic:
                if unit.opaque:
                    self._whole(unit.path)
                self._take(version, unit)
        while self._pending:
            name = self._pending.pop()
            for version, unit in self._mentions.get(name, ()):
                if id(unit) in self._found:
                    continue
                if unit.aliases and not unit.opaque:
                    # Of all that it imports only this leads there.
                    for alias in unit.aliases:
                        if alias.leads_to(name):
                            self._name(alias.given)
                    continue
                if unit.opaque:
                    self._whole(unit.path)
                self._take(version, unit)

    def tests(self) -> Iterator[str]:
        """Ids, of the older commit, of tests that may come to changed code."""
        old = self._versions[0]
        sources = [pair for pair in self._found.values() if pair[0].is_source(pair[1].path)]
        doubted: set[str] = set()
        for version, unit in sources:
            same = self._versions if not self._differs(unit.path) else (version,)
            for one in same:
                doubted |= one.covering(unit.path, unit.lines)
        for path in self._reached:
            for one in self._versions:
                doubted |= one.reaching(path) | one.covering(path, _all_lines(one, path))
        for test_id in old.judging:
            if test_id in doubted or self._doubts(test_id):
                yield test_id

    def _doubts(self, test_id: str) -> bool:
        path, _, rest = test_id.partition("::")
        if path in self._doubted_files or any(
            not folder or (folder.endswith("/") and path.startswith(folder))
            for folder in self._doubted_files
        ):
            return True
        names = rest.partition("[")[0].split("::")
        if not rest or not all(WORD.fullmatch(name) for name in names):
            # A doctest, or what a plugin collects: nobody knows what it runs.
            return bool(self.names)
        written = self._tests.get(names[-1], [])
        own = [pair for pair in written if pair[1].path == path]
        if not (own or written):
            return bool(self.names)
        if any(id(unit) in self._found for _, unit in own or written):
            return True
        # What its classes are made of counts as well.
        return any(
            id(unit) in self._found
            for owner in names[:-1]
            for version in self._versions
            for unit in version.named(path, owner)
        )

    def _whole(self, path: str) -> None:
        """Whatever loads a source, and whatever a file of tests holds, is in doubt."""
        if self._versions[0].is_source(path):
            self._reached.add(path)
            return
        name = PurePosixPath(path).name
        # A helper of tests may serve any of them.
        at_home = any(path in version.test_files for version in self._versions)
        self._doubted_files.add(path if at_home else path.removesuffix(name))

    def _take(self, version: Version, unit: Unit) -> None:
        if id(unit) in self._found:
            return
        self._found[id(unit)] = version, unit
        if unit.unnamed:
            self._whole(unit.path)
        for name in unit.binds:
            self._name(name)
        for called in unit.calls:
            # A function that is called at import may keep what it is given in a variable.
            for function in self._functions.get(called, ()):
                for name in function.words & self._variables:
                    self._name(name)

    def _name(self, name: str) -> None:
        if name not in self.names:
            self.names.add(name)
            self._pending.append(name)


def _all_lines(version: Version, path: str) -> set[int]:
    file = version.learned.suite.lines.files.get(path)
    return set(file.tests) if file is not None else set()


def _loaded(found: Iterable[Unit]) -> set[str]:
    return {name for unit in found for name in unit.loads}


def _differing(
    before: tuple[Version, tuple[Unit, ...]], after: tuple[Version, tuple[Unit, ...]]
) -> Iterator[tuple[Version, Unit]]:
    """Units that only one version of a file has, or that stand in another order."""
    kept = {unit.key for unit in before[1]} & {unit.key for unit in after[1]}
    for version, found in (before, after):
        for unit in found:
            if unit.key not in kept:
                yield version, unit
    left = [unit.key for unit in before[1] if unit.key in kept]
    right = [unit.key for unit in after[1] if unit.key in kept]
    pairs = zip(left, right, strict=True)
    moved = {key for one, other in pairs if one != other for key in (one, other)}
    for version, found in (before, after):
        for unit in found:
            if unit.key in moved:
                yield version, unit
