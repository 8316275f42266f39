"""Turning away candidates that no test can judge or that were seen before, each for a reason.

Checks go from cheap to dear: covered lines, the resulting file's hash, then compiling. Only the
smallest whole unit around the change is compiled, a method in a bare class of the same name or a
top-level statement, at its own line numbers, so the cost does not grow with the file.

Two changes with equal trees have equal bytecode, so equal bytecode is what is compared. It knows
of no equivalence beyond that: a change that only a proof could show harmless goes to the tests.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import enum
import hashlib
import marshal
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from flywheel.candidates.module import Definition, Edit, Module
from flywheel.candidates.mutate import Site
from flywheel.core.records import Span
from flywheel.core.syntax import parse

FILES_KEPT = 64
"""How many files' units are remembered; the least recently used is forgotten."""


class Pruned(enum.StrEnum):
    """Why a candidate is turned away before any test runs."""

    UNCOVERED = "uncovered"
    """No test runs a line that the change touches."""
    DUPLICATE = "duplicate"
    """Another candidate makes the same file or the same bytecode."""
    UNPARSABLE = "unparsable"
    """The language's compiler or grammar cannot read it."""
    SAME_BYTECODE = "same-bytecode"
    """It compiles to what the base compiles to, docstrings and positions aside."""
    SAME_TREE = "same-tree"
    """It parses to what the base parses to, comments and white space aside."""
    PROTECTED = "protected"
    """It changes tests that stand in the source file."""
    INCOMPLETE = "incomplete"
    """It names what nothing binds any more: half a fix undone is no bug that ever was."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is compiled to compare a change within it."""

    span: Span
    """Whole lines of the file."""
    head: bytes
    """Blank lines and class headers that put it at its own lines and in its class."""
    methods: tuple[tuple[Span, bytes], ...] = ()
    """Methods of a class, with the white space before each: left out where they are the same."""


class _File:
    """The units of one file and the bytecode of those already compared."""

    def __init__(self, source: bytes) -> None:
        module = Module(source)
        self.flags = _future_flags(module.tree)
        self.units = list(_units(module))
        self.whole = _Unit(Span(0, len(source)), b"")
        self.starts = [unit.span.start for unit in self.units]
        self.before: dict[_Unit, bytes] = {}

    def unit(self, edited: Span) -> _Unit:
        """The smallest unit that holds a region and is not replaced whole."""
        index = bisect_right(self.starts, edited.start)
        while index:
            unit = self.units[index - 1]
            whole = edited.start <= unit.span.start and unit.span.end <= edited.end
            if not whole and unit.span.start <= edited.start and edited.end <= unit.span.end:
                return unit
            if not unit.head.strip() and unit.span.end <= edited.start:
                break
            index -= 1
        return self.whole


class Pruner:
    """Names the reason to turn a candidate away, and remembers what it let pass.

    One pruner serves one harvest. Its memory is eight bytes a candidate, twice, and the units
    of the last few files.
    """

    def __init__(self) -> None:
        self._file = lru_cache(FILES_KEPT)(_File)
        self._seen: set[bytes] = set()

    def reason(
        self, path: str, source: bytes, site: Site, covered: Set[int] | None = None
    ) -> Pruned | None:
        """Why a site's candidate is turned away; None lets it pass, once.

        `covered` are the lines of the file that some test runs, None when not known.
        """
        if covered is not None and not site.covered_by(covered):
            return Pruned.UNCOVERED
        span, text = site.edit.span, site.edit.text.encode()
        made = _digest(path.encode(), source[: span.start], text, source[span.end :])
        if made in self._seen:
            return Pruned.DUPLICATE
        file = self._file(source)
        unit = file.unit(span)
        touched = [method.start for method, _ in unit.methods if _touches(span, method)]
        try:
            after = _fingerprint(_cut(unit, source, span, text), file.flags)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return Pruned.UNPARSABLE
        before = None if touched else file.before.get(unit)
        if before is None:
            kept = source[span.start : span.end]
            before = _fingerprint(_cut(unit, source, span, kept), file.flags)
            if not touched:
                file.before[unit] = before
        if after == before or self._only_docstrings(unit, source, site.edit, file.flags):
            return Pruned.SAME_BYTECODE
        compiled = _digest(path.encode(), repr((unit.span.start, touched)).encode(), after)
        self._seen.add(made)
        if compiled in self._seen:
            return Pruned.DUPLICATE
        self._seen.add(compiled)
        return None

    def incomplete(self, path: str, source: bytes, changed: bytes) -> bool:
        """True when the changed file uses a name that nothing binds, and the base did not."""
        return bool(_unbound(changed) - _unbound(source))

    def _only_docstrings(self, unit: _Unit, source: bytes, edit: Edit, flags: int) -> bool:
        """True when a change to a text changed nothing but a docstring."""
        text, span = edit.text.encode(), edit.span
        kept = source[span.start : span.end]
        # Of a docstring of several lines an edit may hold whole lines and no quote.
        if not any(sign in text + kept for sign in (b'"""', b"'''", b"\n")):
            return False
        before, after = (_cut(unit, source, span, part) for part in (kept, text))
        return fingerprint(before, flags) == fingerprint(after, flags)


def fingerprint(source: bytes, flags: int = 0) -> bytes:
    """Hash of what a piece of source compiles to, docstrings and positions left out.

    Raises what `compile` raises. `flags` are the `__future__` features in force.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = compile(source, "", "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
        for node in ast.walk(tree):
            if isinstance(node, Definition):
                _blank_docstring(node)
        code = compile(tree, "", "exec", flags, dont_inherit=True)
    return _digest(marshal.dumps(_without_positions(code), 0))


def _fingerprint(source: bytes, flags: int) -> bytes:
    """The same with docstrings, in half the time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, "", "exec", flags, dont_inherit=True)
    return _digest(marshal.dumps(_without_positions(code), 0))


_GIVEN = frozenset(
    {
        *dir(builtins),
        *("__file__", "__path__", "__cached__", "__builtins__", "__annotations__"),
        *("__class__", "__module__", "__qualname__"),
    }
)
"""Names that nothing in a file needs to bind: the interpreter does, somewhere."""


def _unbound(source: bytes) -> set[str]:
    """Names that are used in a file and bound nowhere in it, whatever the scope."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = parse(source)
    used: set[str] = set()
    bound = set(_GIVEN)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.alias(name=name, asname=asname):
                bound.add(asname or name.partition(".")[0])
            case ast.Name(id=name) | ast.arg(arg=name) | ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case _ if isinstance(named := getattr(node, "name", None), str):
                bound.add(named)  # a definition, handler, pattern or type parameter
    return used - bound


def _touches(edited: Span, method: Span) -> bool:
    return edited.start < method.end and method.start < edited.end


def _cut(unit: _Unit, source: bytes, edited: Span, text: bytes) -> bytes:
    """Source of a unit with `text` in the edited region, untouched methods of a class left out."""
    parts = [unit.head]
    position = unit.span.start
    pending: tuple[Span, bytes] | None = (edited, text)
    for method, indent in unit.methods:
        if pending and edited.start < method.start:
            parts += (source[position : edited.start], text)
            position, pending = edited.end, None
        if not _touches(edited, method):
            parts += (source[position : method.start], indent, b"pass\n")
            position = method.end
    if pending:
        parts += (source[position : edited.start], text)
        position = edited.end
    parts.append(source[position : unit.span.end])
    return b"".join(parts)


def _blank_docstring(node: Definition) -> None:
    match node.body[0]:
        case ast.Expr(value=ast.Constant(value=str()) as text):
            text.value = ""


def _without_positions(code: CodeType) -> CodeType:
    consts = tuple(
        _without_positions(const) if isinstance(const, CodeType) else const
        for const in code.co_consts
    )
    return code.replace(co_consts=consts, co_linetable=b"", co_firstlineno=1)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
        digest.update(b"\0")
    return digest.digest()


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                feature = getattr(__future__, alias.name, None)
                flags |= getattr(feature, "compiler_flag", 0)
    return flags


def _units(module: Module) -> Iterator[_Unit]:
    """Top-level statements, each followed by the methods in it, in source order."""
    end = 0
    pending: list[_Unit] = []
    for node in module.tree.body:
        extent = module.extent(node)
        if pending and extent.start < end:  # `a; b`: one line, one unit
            first = pending[0]
            pending = [_Unit(Span(first.span.start, extent.end), first.head)]
        else:
            yield from pending
            blank = b"\n" * (module.line(extent.start) - 1)
            methods = []
            if isinstance(node, ast.ClassDef):
                methods = list(_methods(node, module, [(b"", node.name)]))
            left_out = tuple((unit.span, _margin(module.source, unit.span)) for unit in methods)
            pending = [_Unit(extent, blank, left_out), *methods]
        end = pending[0].span.end
    yield from pending


def _margin(source: bytes, method: Span) -> bytes:
    text = source[method.start : method.end]
    return text[: len(text) - len(text.lstrip(b" \t"))]


def _methods(owner: ast.ClassDef, module: Module, path: list[tuple[bytes, str]]) -> Iterator[_Unit]:
    for node in owner.body:
        if not isinstance(node, Definition):
            continue
        indent = module.indent(node)
        if indent is None:
            continue
        if isinstance(node, ast.ClassDef):
            yield from _methods(node, module, [*path, (indent.encode(), node.name)])
            continue
        extent = module.extent(node)
        blank = b"\n" * (module.line(extent.start) - 1 - len(path))
        headers = b"".join(b"%sclass %s:\n" % (margin, name.encode()) for margin, name in path)
        yield _Unit(extent, blank + headers)
