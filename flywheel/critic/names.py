"""Which tests can notice a change of what runs at import, by the names that it may alter.

The line index says which tests execute a changed line. A constant, a base class or a default
argument runs once, at import, and is noticed wherever it is used. So the names that the change
binds are followed: whatever an import-time statement makes of one of them is altered too, and
the tests chosen are those that execute a line that mentions an altered name, or mention one
themselves. Two things of one name are taken to be one, so the choice is rather too wide; what
only reflection shows is missed, and left to the critic's audits.

Names are written as they are used: `NAME` is bound at the level of a module, `.name` is an
attribute, of a class or of anything else, and `NAME()` stands for what a call of it alters.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from dataclasses import dataclass

from flywheel.core.records import Change
from flywheel.core.syntax import parse
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
"""Longest string in code that may be the name of something, dotted or not."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Touch:
    """What a change of import-time code alters, before the names are followed."""

    names: frozenset[str]
    """Names that it binds or changes."""
    lines: range
    """Lines whose execution shows it as well: the body of its function or class."""


@dataclass(frozen=True, slots=True)
class _Use:
    """One statement that mentions a name while tests run."""

    path: str
    lines: range
    called: bool
    """True when the name is only called there."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where a piece of code stands, as far as its names are concerned."""

    imported: Set[str]
    """Names that the file's imports bind: an attribute of one may be a module's."""
    local: Set[str] = _NOTHING
    """Names that are local variables here, and so nobody else's."""
    in_class: bool = False
    """True in a class body, where a bare name may be an attribute of the class."""

    def bind(self, name: str) -> str:
        """A name that is bound here, as it is used."""
        return f".{name}" if self.in_class else name

    def inside(self, function: ast.stmt) -> _Scope:
        """The scope of a function's body."""
        return _Scope(self.imported, self.local | _locals(function))


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
        trees = {path: tree for path, text in sources.items() if (tree := _parse(text))}
        for tree in trees.values():
            self._bind(tree.body, _Scope(_NOTHING))
            self._bound.update(f".{one.attr}" for one in _stored(tree))
        for path, tree in trees.items():
            self._block(path, tree.body, _Scope(_imported(tree)), ())
        doctests = {path: text for path, text in sources.items() if path in tests}
        self._read_others({**others, **doctests}, tests)

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

    def touch(self, tree: ast.Module, segment: bytes, change: Change) -> Touch | None:
        """What a change outside the bodies of functions alters; None when that may be anything.

        `tree` is the file's syntax before; `segment` the changed top-level statement, after.
        """
        chain = list(_chain(tree, change.line, change.end_line))
        changed = _parse(segment)
        if changed is None or not chain or _bound_by(chain[:1]) != _bound_by(changed.body):
            # An import of a name that is gone fails, whoever makes it.
            return None
        node = chain[-1]
        classes = [one for one in chain if isinstance(one, ast.ClassDef)]
        owners = frozenset(one.name for one in classes)
        if isinstance(node, _FUNCTIONS):
            if _for_any_name(node, owners):
                return None
            return self._touch_function(node, owners, change)
        if isinstance(node, ast.ClassDef):
            return Touch(owners, range(header(node).start, last_line(node) + 1))
        scope = _Scope(_imported(tree), in_class=bool(classes))
        names = self._altered(node, scope)
        known = self._bound | self._derived.keys()
        if names & {"*", "__all__"} or not (owners or names & known):
            # What it alters is not of this tree, or beyond telling: no name says who notices.
            return None
        inside = (name for one in _stored(node) for name in ast.walk(one.value))
        if any(isinstance(one, ast.Name) and one.id in scope.imported for one in inside):
            return None
        outer = classes[0] if classes else node
        return Touch(owners | names, range(outer.lineno, last_line(outer) + 1))

    def touch_body(self, tree: ast.Module, change: Change) -> Touch | None:
        """What a change in a function's body alters when that body runs at import."""
        chain = list(_chain(tree, change.line, change.end_line))
        if not chain or not isinstance(chain[-1], _FUNCTIONS):
            return None
        node = chain[-1]
        owners = [one.name for one in chain if isinstance(one, ast.ClassDef)]
        scope = _Scope(_imported(tree), in_class=bool(owners))
        name = scope.bind(node.name)
        if _for_any_name(node, owners):
            return None
        names = {name, f"{name}()", *owners, *self._altered_inside(node, scope.inside(node))}
        return Touch(frozenset(names), range(header(node).start, last_line(node) + 1))

    def _touch_function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        owners: frozenset[str],
        change: Change,
    ) -> Touch:
        """A change of a decorator, a default, a signature, or of the function as a whole."""
        lines = range(header(node).start, last_line(node) + 1)
        whole = change.line <= lines.start and change.end_line >= lines.stop - 1
        decorated = any(
            one.lineno <= change.line <= (one.end_lineno or one.lineno)
            for one in node.decorator_list
        )
        names: Iterable[str] = ()
        if not owners:
            names = [node.name]
        elif node.name.startswith("__"):
            names = owners  # called by what no name shows
        elif whole or decorated:
            names = [f".{node.name}"]
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
        # What begins so is used by what does not name it, or only in its class: that one counts.
        return {name for name in found if not name.startswith(".__")}

    # -- reading the sources -------------------------------------------------------------

    def _bind(self, block: Iterable[ast.stmt], scope: _Scope) -> None:
        """Note the names that import-time code binds, at module level and in classes."""
        for node in block:
            if isinstance(node, _FUNCTIONS):
                name = scope.bind(node.name)
                self._bound.add(name)
                if (
                    node.decorator_list
                    or isinstance(node, ast.AsyncFunctionDef)
                    or any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node))
                ):
                    self._odd.add(name)
            elif isinstance(node, ast.ClassDef):
                self._bound.add(scope.bind(node.name))
                self._odd.add(scope.bind(node.name))
                self._bind(node.body, _Scope(_NOTHING, in_class=True))
            else:
                names = {scope.bind(name) for name in _targets(node)}
                self._bound |= names
                self._odd |= names
                self._bind(inner_statements(node), scope)

    def _block(
        self, path: str, block: Iterable[ast.stmt], scope: _Scope, owners: tuple[str, ...]
    ) -> None:
        """Note what import-time statements make of what, and what functions mention."""
        for node in block:
            if isinstance(node, _FUNCTIONS):
                name = scope.bind(node.name)
                self._derive({name}, _mentions(_head(node), scope))
                body = range(node.lineno, last_line(node) + 1)
                self._bodies[name].append((path, body))
                inner = scope.inside(node)
                self._inside(path, node, inner)
                if self._lines.ran_at_import(path, body[1:]):
                    altered = self._altered_inside(node, inner)
                    # A default may be handed out and changed by the name of the argument.
                    altered |= _mentions([node.args], scope) & self._bound
                    self._derive({name, *owners, *altered}, _mentions([node], inner))
                    self._derived[f"{name}()"].append(frozenset(altered))
            elif isinstance(node, ast.ClassDef):
                name = scope.bind(node.name)
                self._derive({name}, _mentions(_head(node), scope))
                self._bodies[name].append((path, range(node.lineno, last_line(node) + 1)))
                body_scope = _Scope(scope.imported, scope.local, in_class=True)
                self._block(path, node.body, body_scope, (*owners, name))
            else:
                inner_block = inner_statements(node)
                mentioned = _mentions(_head(node) if inner_block else [node], scope)
                self._derive({*self._altered(node, scope), *owners}, mentioned)
                self._block(path, inner_block, scope, owners)

    def _inside(self, path: str, function: ast.stmt, scope: _Scope) -> None:
        """Note what the statements of a function's body mention."""
        for node in inner_statements(function):
            inner = scope.inside(node) if isinstance(node, _FUNCTIONS) else scope
            lines = header(node)
            compound = inner_statements(node)
            called, read = _calls_and_reads(_head(node) if compound else [node], scope)
            use = _Use(path, lines, called=False)
            call = _Use(path, lines, called=True)
            for name in (called | read) & self._bound:
                self._uses[name].append(use if name in read else call)
            self._inside(path, node, inner)

    def _derive(self, bound: Iterable[str], mentioned: Iterable[str]) -> None:
        names = frozenset(bound)
        for name in self._bound.intersection(mentioned):
            if not name.startswith(".__"):
                self._derived[name].append(names)

    def _altered(self, node: ast.stmt, scope: _Scope) -> set[str]:
        """Names that an import-time statement may alter, what its blocks do included."""
        found = {scope.bind(name) for name in _targets(node)} | _changed(node, scope)
        for inner in inner_statements(node):
            if isinstance(inner, _DEFINITIONS):
                found.add(scope.bind(inner.name))
            else:
                found |= self._altered(inner, scope)
        return found

    def _altered_inside(self, function: ast.stmt, scope: _Scope) -> set[str]:
        """Names that a function's body may alter beyond its own variables."""
        found: set[str] = set()
        for node in inner_statements(function):
            inner = scope.inside(node) if isinstance(node, _FUNCTIONS) else scope
            found |= _changed(node, scope)
            if isinstance(node, ast.Global):
                found.update(node.names)
            found |= self._altered_inside(node, inner)
        return found

    # -- reading the tests ---------------------------------------------------------------

    def _read_others(
        self, texts: Mapping[str, bytes], tests: Mapping[str, Sequence[tuple[str, int]]]
    ) -> None:
        words: dict[str, set[str]] = {}
        shared: dict[str, set[str]] = {}
        """Path -> what the file mentions outside its own tests, for whoever uses it."""
        for path, text in texts.items():
            by_function, rest = _split(path, text)
            words[path] = rest.union(*by_function.values())
            everyone = 0
            by_name: dict[str, Bits] = defaultdict(int)
            for test_id, position in tests.get(path, ()):
                everyone |= 1 << position
                by_name[_function_of(test_id)] |= 1 << position
            for name, found in by_function.items():
                if name in by_name:
                    self._note(found, by_name[name])
                else:
                    rest |= found
            # A class of tests that others inherit is theirs, too.
            shared[path] = words[path] if path not in tests or b"class " in text else rest
            self._note(rest, everyone)
        for path, users in _users(words, tests).items():
            self._note(shared[path], users)

    def _note(self, words: Iterable[str], tests: Bits) -> None:
        """Tests mention these words: an attribute may be of a module that a fixture gives."""
        either = {name for word in words for name in (word, word.lstrip("."))}
        for word in self._bound & either:
            self._words[word] |= tests


def _parse(text: bytes) -> ast.Module | None:
    """The syntax of a file, None where there is none to be had."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            # Tests of parsers keep files that are made to break them.
            return None


def _function_of(test_id: str) -> str:
    """The name of a test's function, without class and parameters."""
    return test_id.partition("::")[2].partition("[")[0].rpartition("::")[2]


def _users(
    words: Mapping[str, Set[str]], tests: Mapping[str, Sequence[tuple[str, int]]]
) -> dict[str, Bits]:
    """For each file the tests of other files that may use it.

    Those below a conftest, those that name it, and those that use a file that names it.
    """
    users: dict[str, Bits] = {}
    by_word: dict[str, list[str]] = defaultdict(list)
    stems = {path: _stem(path) for path in words}
    for path, found in words.items():
        for word in found & set(stems.values()):
            by_word[word].append(path)
    own = {path: sum(1 << position for _, position in tests.get(path, ())) for path in words}
    for path in words:
        folder, _, name = path.rpartition("/")
        users[path] = 0
        if name == "conftest.py":
            for where, those in own.items():
                if where.startswith(folder + "/" if folder else ""):
                    users[path] |= those
    changed = True
    while changed:
        changed = False
        for path, stem in stems.items():
            those = users[path]
            for other in by_word.get(stem, ()):
                if other != path:
                    those |= own[other] | users[other]
            if those != users[path]:
                users[path], changed = those, True
    return users


def _stem(path: str) -> str:
    """The name by which a file is imported, without its package."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    return folder.rpartition("/")[2] if stem == "__init__" else stem


def _split(path: str, text: bytes) -> tuple[dict[str, set[str]], set[str]]:
    """Names that each function of a file mentions, and those that the rest of it mentions."""
    by_function: dict[str, set[str]] = defaultdict(set)
    rest: set[str] = set()
    tree = _parse(text) if path.endswith(".py") else None
    if tree is None:
        return {}, _in_text(text.decode(errors="replace"))
    imported = _imported(tree)

    def read(block: Iterable[ast.stmt], scope: _Scope) -> None:
        for node in block:
            if isinstance(node, _FUNCTIONS):
                by_function[node.name] |= _mentions([node], scope.inside(node)) | _strings([node])
                rest.update(_mentions(node.decorator_list, scope))
            elif isinstance(node, ast.ClassDef):
                rest.update(_mentions(_head(node), scope))
                read(node.body, _Scope(imported, in_class=True))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                # A name that is imported is noticed where it is used, unless it is renamed.
                rest.update(alias.name for alias in node.names if alias.asname)
                rest.update(_import_path(node))
            else:
                rest.update(_mentions([node], scope) | _strings([node]))

    read(tree.body, _Scope(imported))
    return by_function, rest


def _import_path(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        # `from package import module`, or a name that is noticed where it is used.
        names = [node.module] if node.module else []
    for name in names:
        yield from name.split(".")


def _in_text(text: str) -> set[str]:
    """Words of a text, as names of either kind: examples in documentation run, too."""
    words = set(_WORD.findall(text))
    return words | {f".{word}" for word in words}


def _strings(nodes: Iterable[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        for one in ast.walk(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                found |= _in_text(one.value)
    return found


# --- what code mentions, binds and changes ------------------------------------------------


def _mentions(nodes: Iterable[ast.AST], scope: _Scope) -> set[str]:
    called, read = _calls_and_reads(nodes, scope)
    return called | read


def _calls_and_reads(nodes: Iterable[ast.AST], scope: _Scope) -> tuple[set[str], set[str]]:
    """Names that are called, and names that are used in any other way."""
    called: set[str] = set()
    read: set[str] = set()
    for node in nodes:
        functions = {id(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
        for one in ast.walk(node):
            names = called if id(one) in functions else read
            if isinstance(one, ast.Name):
                if one.id not in scope.local:
                    names.add(one.id)
                    if scope.in_class:
                        names.add(f".{one.id}")
            elif isinstance(one, ast.Attribute):
                names.add(f".{one.attr}")
                if _root(one) in scope.imported:
                    names.add(one.attr)
            elif isinstance(one, ast.keyword):
                read.update([f".{one.arg}"] if one.arg else [])
            elif isinstance(one, ast.alias):
                read.add(one.name)
            elif isinstance(one, ast.MatchClass):
                read.update(f".{name}" for name in one.kwd_attrs)
            elif isinstance(one, ast.Constant) and isinstance(one.value, str):
                if len(one.value) <= _MAX_STRING:
                    parts = [part for part in one.value.split(".") if part.isidentifier()]
                    read.update(parts, (f".{part}" for part in parts))
    return called, read


def _root(node: ast.expr) -> str:
    """The name at the left end of a chain of attributes, empty when there is none."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


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


def _own(node: ast.stmt) -> Iterator[ast.AST]:
    """All nodes of a statement but those of statements inside it."""
    for one in _head(node):
        yield from ast.walk(one)


def _targets(node: ast.stmt) -> Iterator[str]:
    """Bare names that a statement itself binds."""
    for one in _own(node):
        if isinstance(one, ast.alias):
            yield one.asname or one.name.partition(".")[0]
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store | ast.Del):
            yield one.id


def _changed(node: ast.stmt, scope: _Scope) -> set[str]:
    """Things that a statement may change without binding them.

    Those whose attributes or items it sets, and those whose methods it calls or that it hands to
    a call. What is reached through a local variable is left out: it came from a caller, or goes
    to one, and they mention it.
    """
    found: set[str] = set()
    for one in _own(node):
        things: Sequence[ast.expr] = ()
        if isinstance(one, ast.Attribute | ast.Subscript):
            if isinstance(one.ctx, ast.Store | ast.Del):
                things = [one if isinstance(one, ast.Attribute) else one.value]
        elif isinstance(one, ast.Call):
            if isinstance(one.func, ast.Attribute):
                found.add(f".{one.func.attr}()")
            if _root(one.func) in scope.imported or isinstance(one.func, ast.Name):
                found.add(f"{getattr(one.func, 'attr', getattr(one.func, 'id', ''))}()")
            on = [one.func.value] if isinstance(one.func, ast.Attribute) else []
            on = [value for value in on if getattr(value, "id", None) not in scope.imported]
            things = [*on, *one.args, *(keyword.value for keyword in one.keywords)]
        for thing in things:
            while isinstance(thing, ast.Subscript | ast.Starred):
                thing = thing.value
            if _root(thing) in scope.local:
                continue
            if isinstance(thing, ast.Attribute):
                found.add(f".{thing.attr}")
                if _root(thing) in scope.imported:
                    found.add(thing.attr)
            elif isinstance(thing, ast.Name):
                found.add(scope.bind(thing.id))
    return found


def _for_any_name(node: ast.FunctionDef | ast.AsyncFunctionDef, owners: Sized) -> bool:
    """A module's own `__getattr__` or the like: it answers for names that stand nowhere."""
    return not owners and node.name.startswith("__")


def _stored(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Attributes that code sets."""
    for one in ast.walk(tree):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            yield one


def _imported(tree: ast.Module) -> frozenset[str]:
    """Names that any import of a file binds, wherever it stands."""
    return frozenset(
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    )


def _locals(function: ast.stmt) -> set[str]:
    """Variables of a function, those of functions inside it left out."""
    found: set[str] = set()
    shared: set[str] = set()
    if isinstance(function, _FUNCTIONS):
        found.update(one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg))
    waiting = inner_statements(function)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Global):
            shared.update(node.names)
        elif isinstance(node, _DEFINITIONS):
            found.add(node.name)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            found.update(_targets(node))
            found.update(one.arg for one in _own(node) if isinstance(one, ast.arg))
            waiting += inner_statements(node)
        for handler in getattr(node, "handlers", ()):
            found.update([handler.name] if handler.name else [])
    return found - shared


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
