"""Units of a Python file: the pieces by which two versions of it are compared.

A unit is a function or method, whole; a class without its methods; or any other statement of the
module. It says which names it binds and which it mentions, by their spelling: two things of one
name are taken to be one. What stands between units (comments, blank lines) belongs to none.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from flywheel.core.syntax import parse
from flywheel.critic.select import first_line, last_line, line_starts

WORD = re.compile(r"[^\W\d]\w*")
"""What may be a name."""
_MAX_STRING = 200
"""Longest string in code that may name something."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (
    *_FUNCTIONS, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip
_DYNAMIC = frozenset(
    {"globals", "eval", "exec", "import_module", "__import__", "attrgetter", "methodcaller",
     "__subclasses__", "getmembers", "__dict__", "vars"}
)  # fmt: skip
"""Ways to reach what is not named."""
_UNNAMED = ("setup", "teardown", "pytest_")
"""Beginnings of names, in lower case, that a test framework calls by itself."""


class Alias(NamedTuple):
    """One name that an import statement binds."""

    module: str
    """The module as it is written, with its dots."""
    taken: str
    """What is taken of it, empty for the module itself."""
    given: str
    """The name that it has from then on."""

    def leads_to(self, name: str) -> bool:
        """True when it takes something of this name, or something out of it."""
        return name == self.taken or name in self.module.split(".")


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of a file."""

    path: str
    """Repository-relative POSIX path of the file."""
    name: str
    """`f`, `C.m`, `C` for a class without its methods, empty for any other statement."""
    number: int
    """How many units of the same name and text stand before it in the file."""
    pieces: tuple[tuple[int, int], ...]
    """Byte offsets of its whole lines; a class has a piece between any two methods."""
    lines: frozenset[int]
    """Its lines, 1-based."""
    body: int
    """Offset, from its start, of the first statement of a function's body; 0 for no function."""
    body_lines: frozenset[int]
    """Lines of a function's body that do not hold its head as well; none for no function."""
    text: bytes
    """Its pieces."""
    binds: frozenset[str]
    """Names that are no longer what they were when it changes."""
    words: frozenset[str]
    """Names that it mentions."""
    calls: frozenset[str]
    """Names that it calls while the file is imported, decorators too."""
    loads: frozenset[str]
    """Modules that it imports while the file is loaded, relative ones with their dots."""
    aliases: frozenset[Alias]
    """Of an import statement what it takes; empty for any other."""
    opaque: bool
    """True when running it may do more than bind names."""
    dynamic: bool
    """True when it may reach what it does not name."""
    unnamed: bool
    """True when a test framework runs it for tests that do not mention it."""

    @property
    def key(self) -> tuple[str, bytes, int]:
        """The same in two versions of a file for a unit that did not change."""
        return (self.name, self.text, self.number)

    @property
    def is_function(self) -> bool:
        """True for a function or method."""
        return self.body > 0


def units(path: str, source: bytes, *, is_source: bool) -> tuple[Unit, ...]:
    """The units of a file, in order; `is_source` is False for tests and what serves them.

    Raises `SyntaxError` or `ValueError` for what is no Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = parse(source)
    starts = line_starts(source)
    seen: Counter[tuple[str, bytes]] = Counter()
    return tuple(
        _unit(path, source, starts, piece, seen, is_source=is_source) for piece in _pieces(tree)
    )


def unit_at(found: Iterable[Unit], start: int, end: int) -> tuple[Unit, int] | None:
    """The unit that holds a region of bytes, and the piece of it that does; None for no single."""
    for unit in found:
        for index, (first, last) in enumerate(unit.pieces):
            if first <= start and end <= last:
                return unit, index
    return None


@dataclass(frozen=True, slots=True)
class _Piece:
    name: str
    owner: str
    """The class around it, empty for none."""
    lines: tuple[range, ...]
    node: ast.stmt
    inner: tuple[ast.stmt, ...]
    """Of a class its methods, which are units of their own."""


def _pieces(tree: ast.Module) -> Iterator[_Piece]:
    for node in tree.body:
        own = range(first_line(node), last_line(node) + 1)
        if not isinstance(node, ast.ClassDef):
            name = node.name if isinstance(node, _FUNCTIONS) else ""
            yield _Piece(name, "", (own,), node, ())
            continue
        methods = tuple(one for one in node.body if isinstance(one, _FUNCTIONS))
        rest, at = [], own.start
        for method in methods:
            rest.append(range(at, max(at, first_line(method))))
            at = last_line(method) + 1
        rest.append(range(at, max(at, own.stop)))
        yield _Piece(node.name, "", tuple(rest), node, methods)
        for method in methods:
            lines = range(first_line(method), last_line(method) + 1)
            yield _Piece(f"{node.name}.{method.name}", node.name, (lines,), method, ())


def _unit(
    path: str,
    source: bytes,
    starts: list[int],
    piece: _Piece,
    seen: Counter[tuple[str, bytes]],
    *,
    is_source: bool,
) -> Unit:
    ends = len(starts) - 1
    pieces = tuple(
        (starts[min(lines.start - 1, ends)], starts[min(lines.stop - 1, ends)])
        for lines in piece.lines
    )
    text = b"\0".join(source[start:end] for start, end in pieces)
    number = seen[piece.name, text]
    seen[piece.name, text] += 1
    node = piece.node
    body, body_lines = 0, range(0)
    if isinstance(node, _FUNCTIONS):
        first = node.body[0]
        offset = first.col_offset if first.lineno > node.lineno else 0
        body = max(1, starts[first_line(first) - 1] + offset - pieces[0][0])
        body_lines = range(max(first_line(first), node.lineno + 1), last_line(node) + 1)
    words = _words(node, piece.inner, is_source=is_source)
    binds, opaque = _bound(node)
    if piece.owner:
        # Whoever has the class may call it: an operator, or code outside of the tree.
        binds = binds | {piece.owner}
    name = piece.name.rpartition(".")[2].lower()
    return Unit(
        path=path,
        name=piece.name,
        number=number,
        pieces=pieces,
        lines=frozenset(line for lines in piece.lines for line in lines),
        body=body,
        body_lines=frozenset(body_lines),
        text=text,
        binds=binds,
        words=words,
        calls=frozenset(_calls(node)),
        loads=frozenset(_loads(node)),
        aliases=frozenset(_aliases(node)),
        opaque=opaque,
        dynamic=bool(words & _DYNAMIC) or _computed(node, piece.inner),
        unnamed=not is_source
        and (name.startswith(_UNNAMED) or "autouse" in words or "pytestmark" in binds),
    )


def _bound(node: ast.stmt) -> tuple[frozenset[str], bool]:
    """Names that a statement binds, and whether it may do more."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return frozenset({name}), False
        case ast.ClassDef(name=name, body=body):
            names, opaque = _all_bound(one for one in body if not isinstance(one, _FUNCTIONS))
            return names | {name}, opaque
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named: set[str] = set()
            for target in targets:
                for one in ast.walk(target):
                    if isinstance(one, ast.Name):
                        named.add(one.id)
                    elif isinstance(one, ast.Attribute):
                        named.add(one.attr)
            return frozenset(named), False
        case ast.Import(names=aliases):
            return frozenset((a.asname or a.name).partition(".")[0] for a in aliases), False
        case ast.ImportFrom(module=module, names=aliases):
            names = frozenset(a.asname or a.name for a in aliases)
            return names, "*" in names or module == "__future__"
        case ast.Expr(value=ast.Constant()):
            return frozenset({"__doc__"}), False
        case ast.Pass():
            return frozenset(), False
        case ast.If() if _is_main(node):
            return frozenset(), False
        case ast.If(body=body, orelse=orelse):
            return _all_bound([*body, *orelse])
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
            inside = [one for handler in handlers for one in handler.body]
            return _all_bound([*body, *inside, *orelse, *final])
        case _:
            return frozenset(), True


def _all_bound(block: Iterable[ast.stmt]) -> tuple[frozenset[str], bool]:
    names: frozenset[str] = frozenset()
    opaque = False
    for one in block:
        more, odd = _bound(one)
        names, opaque = names | more, opaque or odd
    return names, opaque


def _is_main(node: ast.If) -> bool:
    """True for `if __name__ == "__main__"`, which no import runs."""
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))


def _words(node: ast.stmt, inner: tuple[ast.stmt, ...], *, is_source: bool) -> frozenset[str]:
    """Names that a unit mentions; a function's own variables are nobody else's."""
    if isinstance(node, ast.If) and _is_main(node):
        return frozenset()
    found: set[str] = set()
    for one in _walk(node, inner):
        match one:
            case ast.Name(id=name):
                found.add(name)
            case ast.Attribute(attr=name):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.update(name.split("."))
                if asname:
                    found.add(asname)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                found.update(names)
            case ast.ImportFrom(module=str(module)):
                found.update(module.split("."))
            case ast.Constant(value=str(text)) if len(text) <= _MAX_STRING:
                found.update(WORD.findall(text))
            case ast.arg(arg=name) if not is_source:
                found.add(name)  # a fixture
            case ast.keyword(arg=str(name)) if not is_source:
                found.add(name)
            case _:
                pass
    if is_source and isinstance(node, _FUNCTIONS):
        outside = {
            one.id
            for part in (*node.decorator_list, node.args)
            for one in ast.walk(part)
            if isinstance(one, ast.Name)
        }
        attributes = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
        texts = {
            word
            for one in ast.walk(node)
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
            for word in WORD.findall(one.value[:_MAX_STRING])
        }
        found -= _locals(node) - outside - attributes - texts
    return frozenset(found)


def _walk(node: ast.stmt, inner: tuple[ast.stmt, ...]) -> Iterator[ast.AST]:
    """All nodes but those of `inner` and what stands in docstrings."""
    left: list[ast.AST] = [node]
    while left:
        one = left.pop()
        yield one
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
            continue
        left.extend(child for child in ast.iter_child_nodes(one) if child not in inner)


def _locals(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    found = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
    free: set[str] = set()
    left: list[ast.AST] = list(node.body)
    while left:
        one = left.pop()
        if isinstance(one, ast.Global | ast.Nonlocal):
            free.update(one.names)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.add(one.id)
        if not isinstance(one, _SCOPES):
            left.extend(ast.iter_child_nodes(one))
    return found - free


def _calls(node: ast.stmt) -> Iterator[str]:
    """Names of what a statement calls while its file is imported."""
    if isinstance(node, _FUNCTIONS):
        parts: list[ast.AST] = list(node.decorator_list)
        called = [one.func if isinstance(one, ast.Call) else one for one in parts]
    else:
        called = []
        left: list[ast.AST] = [node]
        while left:
            one = left.pop()
            if isinstance(one, ast.Call):
                called.append(one.func)
            if not isinstance(one, (*_FUNCTIONS, ast.Lambda)):
                left.extend(ast.iter_child_nodes(one))
        if isinstance(node, ast.ClassDef):
            called += node.decorator_list
    for one in called:
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr


def _loads(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        return
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from (alias.name for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            module = "." * one.level + (one.module or "")
            yield module
            if one.level and not one.module:
                # Each name may be a module.
                yield from (f"{module}{alias.name}" for alias in one.names)


def _aliases(node: ast.stmt) -> Iterator[Alias]:
    if isinstance(node, ast.Import):
        for one in node.names:
            yield Alias(one.name, "", one.asname or one.name.partition(".")[0])
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        for one in node.names:
            yield Alias(module, one.name, one.asname or one.name)


def _computed(node: ast.stmt, inner: tuple[ast.stmt, ...]) -> bool:
    """True where an attribute is taken by a name that is computed."""
    return any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Name)
        and one.func.id == "getattr"
        and len(one.args) > 1
        and not isinstance(one.args[1], ast.Constant)
        for one in _walk(node, inner)
    )
