"""Text: the wrong end, the wrong case, a clean-up forgotten, an `f` forgotten."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from flywheel.candidates.operator import Edit, Example, Module, Operator
from flywheel.candidates.operators.collection import method_swapped
from flywheel.core.records import Span

_METHODS = {
    "startswith": "endswith",
    "endswith": "startswith",
    "removeprefix": "removesuffix",
    "removesuffix": "removeprefix",
    "lower": "upper",
    "upper": "lower",
    "casefold": "upper",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "strip": "lstrip",
    "find": "rfind",
    "rfind": "find",
    "index": "rindex",
    "split": "rsplit",
    "rsplit": "split",
    "partition": "rpartition",
    "rpartition": "partition",
    "ljust": "rjust",
    "rjust": "ljust",
    "title": "capitalize",
    "capitalize": "title",
    "isdigit": "isalpha",
    "isalpha": "isdigit",
    "isupper": "islower",
    "islower": "isupper",
    "encode": "decode",
    "decode": "encode",
}
_CLEANERS = frozenset(
    {
        "strip",
        "lstrip",
        "rstrip",
        "lower",
        "upper",
        "casefold",
        "title",
        "capitalize",
        "replace",
        "removeprefix",
        "removesuffix",
        "encode",
        "decode",
        "expandtabs",
        "splitlines",
        "format",
        "zfill",
        "ljust",
        "rjust",
        "strftime",
        "resolve",
        "absolute",
        "expanduser",
    }
)
_PATTERNS = {"match": "search", "search": "match", "fullmatch": "match"}
_PREFIXED = re.compile(r"[rRbBuUfF]*")


class StringMethodSwapped(Operator[ast.Call]):
    """`endswith` for `startswith`, `upper` for `lower`, `rsplit` for `split`."""

    name = "string-method-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("ok = a.startswith(b)\n", "ok = a.endswith(b)\n"),
        Example("x = a.b.strip()\n", "x = a.b.lstrip()\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Call the method's twin; a split without a limit is the same from both ends."""
        if isinstance(node.func, ast.Attribute):
            limited = len(node.args) > 1 or bool(node.keywords)
            if node.func.attr not in ("split", "rsplit") or limited:
                yield from method_swapped(node, module, _METHODS)


class CleanupDropped(Operator[ast.Call]):
    """A forgotten `.strip()`, `.lower()` or the like."""

    name = "string-method-dropped"
    nodes = (ast.Call,)
    examples = (
        Example("x = a.strip()\n", "x = a\n"),
        Example("x = f(a).replace('a', 'b').lower()\n", "x = f(a).lower()\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Leave the text as it was before."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CLEANERS:
            if not isinstance(module.parents.get(node), ast.Expr):
                end = module.grouped(node.func.value).end
                yield Edit(Span(end, module.span(node).end), "")


class FStringPrefixDropped(Operator[ast.JoinedStr]):
    """A forgotten `f`: the braces stay in the text."""

    name = "fstring-prefix-dropped"
    nodes = (ast.JoinedStr,)
    examples = (
        Example("x = f'a {b}'\n", "x = 'a {b}'\n"),
        Example("x = rf'a {b}'\n", "x = r'a {b}'\n"),
    )

    def edits(self, node: ast.JoinedStr, module: Module) -> Iterator[Edit]:
        """Drop the `f` of an f-string that holds a value."""
        if not any(isinstance(value, ast.FormattedValue) for value in node.values):
            return
        found = _PREFIXED.match(module.text(node))
        prefix = found[0] if found else ""
        at = prefix.lower().find("f")
        text = module.text(node)[len(prefix) :]
        quote = text[:3] if text[:3] in ('"""', "'''") else text[:1]
        # A quote reused inside (3.12) or a second literal beside it would end the string early.
        if at < 0 or not text.endswith(quote) or quote in text[len(quote) : -len(quote)]:
            return
        start = module.span(node).start + at
        yield Edit(Span(start, start + 1), "")


class FStringConversionDropped(Operator[ast.JoinedStr]):
    """A forgotten `!r`."""

    name = "fstring-conversion-dropped"
    nodes = (ast.JoinedStr,)
    examples = (
        Example("x = f'a {b!r}'\n", "x = f'a {b}'\n"),
        Example("x = f'a {b!r:>5} {c!s}'\n", "x = f'a {b:>5} {c!s}'\n"),
    )

    def edits(self, node: ast.JoinedStr, module: Module) -> Iterator[Edit]:
        """Drop each `!r`, where the text holds just as many as the tree."""
        start = module.span(node).start
        found = list(re.finditer(rb"!r(?=[}:])", module.text(node).encode()))
        count = sum(isinstance(v, ast.FormattedValue) and v.conversion == 114 for v in node.values)
        if len(found) == count:
            for match in found:
                yield Edit(Span(start + match.start(), start + match.end()), "")


class LiteralSpaceLost(Operator[ast.Constant]):
    """A space forgotten at the end of a text: `','` for `', '`."""

    name = "literal-space-lost"
    nodes = (ast.Constant,)
    examples = (
        Example("x = ', '.join(a)\n", "x = ','.join(a)\n"),
        Example('x = a + " b"\n', 'x = a + "b"\n'),
    )

    def edits(self, node: ast.Constant, module: Module) -> Iterator[Edit]:
        """Drop blanks at the ends of a literal that holds more than blanks."""
        value, text = node.value, module.text(node)
        if not isinstance(value, str) or not value.strip() or node.lineno != node.end_lineno:
            return
        if text[0] not in "'\"" or text[:3] in ('"""', "'''") or text.count(text[0]) != 2:
            return
        inner = text[1:-1]
        for kept in dict.fromkeys((inner.strip(" "),)):
            if kept != inner:
                yield module.replace(node, f"{text[0]}{kept}{text[0]}")


class PatternAnchorSwapped(Operator[ast.Call]):
    """`search` for `match`: the start of the text is no longer looked at alone."""

    name = "pattern-anchor-swapped"
    nodes = (ast.Call,)
    examples = (
        Example("x = re.match(a, b)\n", "x = re.search(a, b)\n"),
        Example("x = _PATTERN.fullmatch(b)\n", "x = _PATTERN.match(b)\n"),
    )

    def edits(self, node: ast.Call, module: Module) -> Iterator[Edit]:
        """Anchor the pattern elsewhere."""
        if node.args:
            yield from method_swapped(node, module, _PATTERNS)
