"""Functions that a model may write anew: covered, whole, and short enough to show."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass

from flywheel.candidates.module import Definition, FunctionNode, Module
from flywheel.core.identity import content_hash
from flywheel.core.records import Span

MIN_LINES, MAX_LINES = 2, 60
"""Lines of a body that is worth asking for, and that a model can hold."""
_NEWLINE = re.compile(r"\r\n?")
MAX_CALLERS = 3
"""Lines that show how a function is called."""


@dataclass(frozen=True, slots=True)
class Target:
    """One function of a file."""

    path: str
    """Repository-relative POSIX path."""
    symbol: str
    """Qualified name."""
    name: str
    """Its own name."""
    arguments: str
    """Its arguments, as `ast` writes them."""
    head: Span
    """From its first decorator or `def` to its first statement but the docstring, in bytes."""
    body: Span
    """Its statements but the docstring, whole lines, in bytes."""
    first_line: int
    """Line of its first decorator, or of `def`, 1-based."""
    body_lines: range
    """Lines of `body`, 1-based."""
    indent: str
    """White space before its statements."""
    newline: str
    """What ends its lines."""
    outer_indent: str
    """White space before its first line."""
    definition: int
    """Where the line of `def` begins, in bytes."""
    positional: int
    """How many arguments it takes by position or name."""
    keywords: frozenset[str]
    """Those that it takes by name alone."""


def targets(
    contents: Mapping[str, bytes], covered: Callable[[str], Set[int] | None], *, seed: int
) -> list[Target]:
    """Functions that some test runs, in an order that only the seed and the code decide."""
    found = [one for path in contents for one in _of_file(path, contents[path], covered(path))]
    return sorted(found, key=lambda one: content_hash("target", seed, one.path, one.symbol))


def _of_file(path: str, source: bytes, lines: Set[int] | None) -> Iterator[Target]:
    try:
        module = Module(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in module.mutable:
        if isinstance(node, FunctionNode):
            target = _target(path, module, node)
            if target is not None and (lines is None or not lines.isdisjoint(target.body_lines)):
                yield target


def _target(path: str, module: Module, node: FunctionNode) -> Target | None:
    statements = node.body
    if ast.get_docstring(node) is not None:
        statements = statements[1:]
    if not statements or statements[0].lineno == node.lineno:
        return None  # nothing but a docstring, or all on one line
    first = _first_line(statements[0])
    last = statements[-1].end_lineno or first
    if not MIN_LINES <= last - first + 1 <= MAX_LINES:
        return None
    start, end = module.offset(first, 0), module.offset(last + 1, 0)
    text = module.source[start:end].decode()
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    if not indent or module.source[start - 1 : start] not in (b"\n", b"\r"):
        return None
    shown = _first_line(node)
    ended = module.source[:start]
    newline = "\r\n" if ended.endswith(b"\r\n") else ended[-1:].decode()
    return Target(
        path,
        module.qualname(node),
        node.name,
        ast.dump(node.args),
        Span(module.offset(shown, 0), start),
        Span(start, end),
        shown,
        range(first, last + 1),
        indent,
        newline,
        module.source[module.offset(shown, 0) : module.offset(shown, node.col_offset)].decode(),
        module.offset(node.lineno, 0),
        len(node.args.args),
        frozenset(one.arg for one in node.args.kwonlyargs),
    )


def _first_line(node: ast.stmt) -> int:
    """The line that a statement begins on, its decorators counted."""
    decorators = node.decorator_list if isinstance(node, Definition) else []
    return min([node.lineno, *(one.lineno for one in decorators)])


def callers(target: Target, contents: Mapping[str, bytes]) -> str:
    """Lines that call a function, its own file's first, for a model to see how it is used."""
    found = []
    needle = f"{target.name}(".encode()
    for path in sorted(contents, key=lambda one: (one != target.path, one)):
        if needle not in contents[path]:
            continue
        for line in contents[path].splitlines():
            if needle in line and b"def " not in line and len(line) < 200:
                found.append(line.decode(errors="replace").strip())
                if len(found) == MAX_CALLERS:
                    return "\n".join(found)
    return "\n".join(found) or f"{target.name}(...)"


def numbered(target: Target, source: bytes) -> str:
    """The function with its lines numbered, as the file numbers them."""
    text = source[target.head.start : target.body.end].decode()
    # Only these end a line of Python; `str.splitlines` knows more.
    lines = textwrap.dedent(_NEWLINE.sub("\n", text)).rstrip("\n").split("\n")
    return "\n".join(f"{target.first_line + n}: {line}" for n, line in enumerate(lines))


def lines(target: Target, source: bytes) -> list[str]:
    """Those of its lines that may be written anew, with their numbers; blank ones are not."""
    body = [line.partition(": ") for line in numbered(target, source).split("\n")]
    return [
        number + colon + line
        for number, colon, line in body
        if int(number) in target.body_lines and line.strip()
    ]


def documented(node: ast.AST) -> range:
    """Lines of a definition's docstring, empty where it has none."""
    if not isinstance(node, Definition) or ast.get_docstring(node) is None:
        return range(0)
    return range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def header(target: Target, source: bytes) -> str:
    """The function without its statements: its decorators, its first line and its docstring."""
    text = source[target.head.start : target.head.end].decode()
    return textwrap.dedent(_NEWLINE.sub("\n", text)).rstrip()
