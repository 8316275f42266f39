"""Which tests can notice a change of what runs at import, by the names that it may alter.

The line index says which tests execute a changed line. A constant, a base class or a default
argument runs once, at import, and is noticed wherever it is used. So the names that the change
binds are followed: whatever an import-time statement makes of one of them is altered too, and
the tests chosen are those that execute a line that mentions an altered name, or mention one
themselves. Two things of one name are taken to be one, so the choice is rather too wide; what
only reflection shows is missed, and left to the critic's audits.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flywheel.core.records import Candidate
from flywheel.critic.select import (
    Bits,
    LineIndex,
    first_line,
    header,
    inner_statements,
    last_line,
)

_WORD = re.compile(r"[^\W\d]\w*")
_MAX_STRING = 200
"""Longest string that may be the name of something, dotted or not."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class _Use:
    """One statement that mentions a name while tests run."""

    path: str
    lines: range
    called: bool
    """True when the name is only called there."""


@dataclass(frozen=True, slots=True)
class Touch:
    """What a change of import-time code alters, before the names are followed."""

    names: frozenset[str]
    """Names that it binds or changes."""
    lines: range
    """Lines whose execution shows it as well: the body of its function or class."""


class NameIndex:
    """Names of a tree's sources against the tests that can notice a change of them."""

    def __init__(
        self,
        lines: LineIndex,
        sources: Mapping[str, bytes],
        others: Mapping[str, bytes],
        tests: Mapping[str, Sequence[tuple[str, int]]],
    ) -> None:
        """`sources` are the watched files; `others` everything else that may mention a name.

        `tests` gives for each file that holds tests their ids and positions.
        """
        self._lines = lines
        self._uses: dict[str, list[_Use]] = defaultdict(list)
        self._derived: dict[str, list[frozenset[str]]] = defaultdict(list)
        self._bodies: dict[str, list[tuple[str, range]]] = defaultdict(list)
        self._bound: set[str] = set()
        self._odd: set[str] = set()
        """Names bound by more than a plain function: a call of one may not run its body."""
        self._words: dict[str, Bits] = defaultdict(int)
        trees = {path: ast.parse(text) for path, text in sources.items()}
        for tree in trees.values():
            self._bind(tree.body)
        for path, tree in trees.items():
            self._block(path, tree.body, ())
        self._read_others({**others, **{p: sources[p] for p in tests if p in sources}}, tests)

    def noticing(self, path: str, touch: Touch) -> Bits:
        """Tests that can notice that these names are no longer what they were."""
        total = self._lines.covering(path, touch.lines)
        for name in self._closure(touch.names):
            total |= self._words.get(name, 0)
            only_body = name not in self._odd
            for use in self._uses.get(name, ()):
                if not (use.called and only_body):
                    total |= self._lines.covering(use.path, use.lines)
            for where, body in self._bodies.get(name, ()):
                total |= self._lines.covering(where, body)
        return total

    def touch(self, tree: ast.Module, segment: bytes, candidate: Candidate) -> Touch | None:
        """What a change outside the bodies of functions alters; None when that may be anything.

        `tree` is the file's syntax before; `segment` the changed top-level statement, after.
        """
        line, end_line = candidate.line, candidate.end_line
        chain = list(_chain(tree, line, end_line))
        try:
            changed = ast.parse(segment).body
        except (SyntaxError, ValueError):
            return None
        if not chain or _bound_by(chain[:1]) != _bound_by(changed):
            # An import of a name that is gone fails, whoever makes it.
            return None
        node = chain[-1]
        owners = frozenset(one.name for one in chain if isinstance(one, ast.ClassDef))
        if isinstance(node, _FUNCTIONS):
            return self._touch_function(node, owners, candidate)
        if isinstance(node, ast.ClassDef):
            return Touch(owners, range(header(node).start, last_line(node) + 1))
        names = _altered(node, self._bound)
        if names & {"*", "__all__"}:
            return None
        outer = next((one for one in chain if isinstance(one, ast.ClassDef)), node)
        return Touch(owners | names, range(outer.lineno, last_line(outer) + 1))

    def touch_body(self, tree: ast.Module, candidate: Candidate) -> Touch | None:
        """What a change in a function's body alters when that body runs at import."""
        chain = list(_chain(tree, candidate.line, candidate.end_line))
        node = chain[-1] if chain else None
        if not isinstance(node, _FUNCTIONS):
            return None
        owners = [one.name for one in chain if isinstance(one, ast.ClassDef)]
        names = {node.name, *owners, *(_mentions([node]) & self._bound)}
        return Touch(frozenset(names), range(header(node).start, last_line(node) + 1))

    def _touch_function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        owners: frozenset[str],
        candidate: Candidate,
    ) -> Touch:
        """A change of a decorator, a default, a signature, or of the function as a whole."""
        lines = range(header(node).start, last_line(node) + 1)
        whole = candidate.line <= lines.start and candidate.end_line >= lines.stop - 1
        decorated = any(
            one.lineno <= candidate.line <= (one.end_lineno or one.lineno)
            for one in node.decorator_list
        )
        names: Iterable[str] = ()
        if not owners or whole or decorated:
            names = [node.name]
        if owners and node.name.startswith("__"):
            names = owners  # called by what no name shows
        return Touch(frozenset(names), lines)

    # -- following names -----------------------------------------------------------------

    def _closure(self, names: Iterable[str]) -> set[str]:
        found = set(names)
        waiting = list(found)
        while waiting:
            for derived in self._derived.get(waiting.pop(), ()):
                new = derived - found
                found |= new
                waiting.extend(new)
        return found

    # -- reading the sources -------------------------------------------------------------

    def _bind(self, block: Iterable[ast.stmt]) -> None:
        """Note the names that import-time code binds, at module level and in classes."""
        for node in block:
            if isinstance(node, _FUNCTIONS):
                self._bound.add(node.name)
                if (
                    node.decorator_list
                    or isinstance(node, ast.AsyncFunctionDef)
                    or any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node))
                ):
                    self._odd.add(node.name)
                continue
            if not isinstance(node, ast.Import | ast.ImportFrom):
                names = {node.name} if isinstance(node, ast.ClassDef) else set(_targets(node))
                self._bound |= names
                self._odd |= names
            self._bind(inner_statements(node))

    def _block(self, path: str, block: Iterable[ast.stmt], owners: tuple[str, ...]) -> None:
        for node in block:
            if isinstance(node, _FUNCTIONS):
                self._derive({node.name}, _mentions(_head(node)))
                body = range(node.lineno, last_line(node) + 1)
                self._bodies[node.name].append((path, body))
                self._inside(path, node)
                if self._lines.ran_at_import(path, body[1:]):
                    names = _mentions([node]) & self._bound
                    self._derive({node.name, *owners, *names}, names)
                continue
            if isinstance(node, ast.ClassDef):
                self._derive({node.name}, _mentions(_head(node)))
                self._bodies[node.name].append((path, range(node.lineno, last_line(node) + 1)))
                self._block(path, node.body, (*owners, node.name))
                continue
            mentioned = _mentions([node]) if not inner_statements(node) else _mentions(_head(node))
            self._derive({*_altered(node, self._bound), *owners}, mentioned)
            self._block(path, inner_statements(node), owners)

    def _inside(self, path: str, function: ast.stmt) -> None:
        """Note what the statements of a function's body mention."""
        for node in inner_statements(function):
            lines = header(node)
            called, read = _calls_and_reads(_head(node) if inner_statements(node) else [node])
            use = _Use(path, lines, called=False)
            call = _Use(path, lines, called=True)
            for name in (called | read) & self._bound:
                self._uses[name].append(use if name in read else call)
            self._inside(path, node)

    def _derive(self, bound: Iterable[str], mentioned: Iterable[str]) -> None:
        names = frozenset(bound)
        if names:
            for name in mentioned:
                if name in self._bound:
                    self._derived[name].append(names)

    # -- reading the tests ---------------------------------------------------------------

    def _read_others(
        self, texts: Mapping[str, bytes], tests: Mapping[str, Sequence[tuple[str, int]]]
    ) -> None:
        words: dict[str, set[str]] = {}
        for path, text in texts.items():
            by_function, rest = _split(path, text)
            words[path] = rest.union(*by_function.values())
            those = tests.get(path)
            if those is None:
                continue
            everyone = 0
            by_name: dict[str, Bits] = defaultdict(int)
            for test_id, position in those:
                everyone |= 1 << position
                by_name[test_id.partition("[")[0].rpartition("::")[2]] |= 1 << position
            for name, found in by_function.items():
                if name in by_name:
                    self._note(found, by_name[name])
                else:
                    rest |= found
            self._note(rest, everyone)
        for path in texts:
            if path not in tests:
                self._note(words[path], _users(path, words, tests))

    def _note(self, words: Iterable[str], tests: Bits) -> None:
        for word in words:
            if word in self._bound:
                self._words[word] |= tests


def _users(
    path: str,
    words: Mapping[str, set[str]],
    tests: Mapping[str, Sequence[tuple[str, int]]],
) -> Bits:
    """Tests that may use a file that holds none: those below a conftest, those that name it."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    if stem == "__init__":
        stem = folder.rpartition("/")[2]
    total = 0
    for where, those in tests.items():
        below = name == "conftest.py" and where.startswith(folder + "/" if folder else "")
        if below or stem in words.get(where, ()):
            for _, position in those:
                total |= 1 << position
    return total


def _split(path: str, text: bytes) -> tuple[dict[str, set[str]], set[str]]:
    """Names that each function of a file mentions, and those that the rest of it mentions."""
    by_function: dict[str, set[str]] = defaultdict(set)
    rest: set[str] = set()
    try:
        tree = ast.parse(text) if path.endswith(".py") else None
    except (SyntaxError, ValueError):
        tree = None
    if tree is None:
        return {}, set(_WORD.findall(text.decode(errors="replace")))

    def read(block: Iterable[ast.stmt]) -> None:
        for node in block:
            if isinstance(node, _FUNCTIONS):
                by_function[node.name] |= _words_of(node)
            elif isinstance(node, ast.ClassDef):
                for one in _head(node):
                    rest.update(_words_of(one))
                read(node.body)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                # A name that is imported is noticed where it is used, unless it is renamed.
                rest.update(alias.name for alias in node.names if alias.asname)
                rest.update(_import_path(node))
            else:
                rest.update(_words_of(node))

    read(tree.body)
    return by_function, rest


def _import_path(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.module:
        names.append(node.module)
    for name in names:
        yield from name.split(".")


def _words_of(node: ast.AST) -> set[str]:
    """Every name in a tree, and every word of its strings: examples in docstrings run, too."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            found.add(one.id)
        elif isinstance(one, ast.Attribute):
            found.add(one.attr)
        elif isinstance(one, ast.arg | ast.keyword) and one.arg:
            found.add(one.arg)
        elif isinstance(one, ast.alias):
            found.update(one.name.split("."))
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            found.update(_WORD.findall(one.value))
    return found


def _mentions(nodes: Iterable[ast.AST]) -> set[str]:
    called, read = _calls_and_reads(nodes)
    return called | read


def _calls_and_reads(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """Names that are called, and names that are used in any other way."""
    called: set[str] = set()
    read: set[str] = set()
    for node in nodes:
        functions = {id(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
        for one in ast.walk(node):
            names = called if id(one) in functions else read
            if isinstance(one, ast.Name):
                names.add(one.id)
            elif isinstance(one, ast.Attribute):
                names.add(one.attr)
            elif isinstance(one, ast.alias):
                read.add(one.name)
            elif isinstance(one, ast.Constant) and isinstance(one.value, str):
                if len(one.value) <= _MAX_STRING:
                    read.update(part for part in one.value.split(".") if part.isidentifier())
    return called, read


def _head(node: ast.stmt) -> list[ast.AST]:
    """The expressions of a compound statement, its blocks left out."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            found += [child.type] if child.type is not None else []
        elif isinstance(child, ast.match_case):
            found += [child.pattern] + ([child.guard] if child.guard is not None else [])
        elif not isinstance(child, ast.stmt):
            found.append(child)
    return found


def _targets(node: ast.stmt) -> Iterator[str]:
    """Names that a statement binds, and the things whose items or attributes it sets."""
    for one in [node, *_head(node)] if inner_statements(node) else ast.walk(node):
        if isinstance(one, ast.alias):
            yield one.asname or one.name.partition(".")[0]
        elif isinstance(one, _DEFINITIONS):
            yield one.name
        for name in ast.walk(one) if one is not node else ():
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store | ast.Del):
                yield name.id
            elif isinstance(name, ast.Attribute | ast.Subscript):
                if isinstance(name.ctx, ast.Store | ast.Del):
                    yield from _bases(name)


def _bases(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            yield node.attr
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _altered(node: ast.stmt, bound: set[str]) -> set[str]:
    """Names that running a statement may alter: what it binds; of mere calls, all they mention."""
    found = set(_targets(node))
    for inner in inner_statements(node):
        found |= {inner.name} if isinstance(inner, _DEFINITIONS) else _altered(inner, bound)
    if not found or isinstance(node, ast.Expr):
        found |= _mentions([node]) & bound
    return found


def _bound_by(block: Iterable[ast.stmt]) -> set[str]:
    """Names that statements bind where they stand, whatever branch binds them."""
    found: set[str] = set()
    for node in block:
        if isinstance(node, _DEFINITIONS):
            found.add(node.name)
        else:
            found.update(_targets(node))
            found |= _bound_by(inner_statements(node))
    return found


def _chain(tree: ast.Module, line: int, end_line: int) -> Iterator[ast.stmt]:
    """Statements that hold these lines, outermost first, down to the first function."""
    block: Iterable[ast.stmt] = tree.body
    while True:
        node = next((s for s in block if first_line(s) <= line and end_line <= last_line(s)), None)
        if node is None:
            return
        yield node
        if isinstance(node, _FUNCTIONS):
            return
        block = inner_statements(node)
