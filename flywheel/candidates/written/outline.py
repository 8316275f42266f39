"""What a repository offers, in few words: imports, names, and heads of classes and functions.

The same text for every question about one repository, so that a provider's cache reads it once. It
shows no body, for a function that is to be written anew must not be shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from flywheel.core.syntax import parse
from flywheel.lm import BYTES_A_TOKEN

_LONGEST = 160
"""Characters of one line; what is longer says little more."""


def outline(contents: Mapping[str, bytes], *, tokens: int) -> str:
    """The outline of the files that come first by path, in about so many tokens at the most."""
    left, found = int(tokens * BYTES_A_TOKEN), []
    for path in sorted(contents) if tokens else ():
        try:
            tree = parse(contents[path])
            text = "\n".join([f"# {path}", *_lines(tree.body, "")])
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        left -= len(text) + 2
        if left < 0:
            break
        found.append(text)
    if not found:
        return ""
    return "What the code of this repository offers:\n\n" + "\n\n".join(found)


def _lines(body: list[ast.stmt], indent: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Assign() | ast.AnnAssign():
                yield _short(indent + ast.unparse(node))
            case ast.ClassDef():
                bases = ", ".join(map(ast.unparse, node.bases))
                yield _short(f"{indent}class {node.name}({bases}):{_said(node)}")
                yield from _lines(node.body, indent + "    ")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                head = f"def {node.name}({ast.unparse(node.args)}){result}"
                yield _short(f"{indent}{head}:{_said(node)}")


def _said(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    first = (ast.get_docstring(node) or "").partition("\n")[0]
    return f"  # {first}" if first else ""


def _short(line: str) -> str:
    first = line.partition("\n")[0]
    return first if first == line and len(line) <= _LONGEST else f"{first[:_LONGEST]} …"
