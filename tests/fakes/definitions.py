"""Definitions that read like code, and small wrong changes of them, as many as are asked for.

Python is made of statements that call, compare, count and collect under drawn names; a few other
languages are made of plainer ones. `real_functions` gives those of the standard library. A `Site`
is a place in one line where a small change goes wrong. Nothing here is ever run.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from textwrap import dedent

LEAST_LINES, MOST_LINES = 5, 60
"""Lines of a definition."""
ENDINGS = {"python": ".py", "javascript": ".js", "go": ".go", "rust": ".rs"}
"""Ending of a file of each language that there is."""

_VERBS = (
    "add apply build check clean close collect compare compute convert copy count create decode"
    " delete encode expand extract fetch fill filter find flush format group handle index insert"
    " join load lookup match merge move normalise open pack parse pick prune read reduce register"
    " remove render replace reset resolve scan select send set shift skip sort split store strip"
    " swap trim unpack update validate walk wrap write"
)
VERBS = tuple(_VERBS.split())
_NOUNS = (
    "account address alias batch block branch bucket buffer cache cell chain channel child chunk"
    " client clock cluster code column command config context counter cursor date delta depth"
    " digest edge element entry error event field file filter flag frame group handle hash header"
    " height host index input interval item job key label layer length level limit line link list"
    " lock log mask match message method mode model module name node number object offset option"
    " order output owner packet page pair parent part path pattern payload peer phase point policy"
    " pool port prefix priority process profile query queue range rate record region request"
    " result role root route row rule sample schema scope score section segment session shape sign"
    " size slot source span stack stage state status step stream suffix symbol table tag target"
    " task template text thread tick time title token topic total trace tree trigger tuple type"
    " unit user value vector version view weight width window word worker zone"
)
NOUNS = tuple(_NOUNS.split())
_METHODS = (
    "append add get pop keys items values update strip split lower upper find count index read"
    " write close send put join extend remove insert setdefault startswith endswith replace"
)
METHODS = tuple(_METHODS.split())
ERRORS = ("ValueError", "TypeError", "KeyError", "IndexError", "AttributeError", "RuntimeError")


@dataclass(frozen=True, slots=True)
class Site:
    """A place in one line of a definition, and what takes its place."""

    line: int
    """Number of the line, from 0."""
    start: int
    """Column where it begins."""
    end: int
    """Column where it ends."""
    after: str
    """What takes its place."""
    operator: str
    """What the change is called."""


def function_name(draw: Random) -> str:
    """A name of three words."""
    return f"{draw.choice(VERBS)}_{draw.choice(NOUNS)}_{draw.choice(NOUNS)}"


def function(draw: Random, name: str, language: str) -> str:
    """A definition of `LEAST_LINES` to `MOST_LINES` lines, without a newline at its end."""
    most = draw.choice((5, 7, 9, 12, 12, 16, 16, 22, 30, 45, MOST_LINES))
    if language == "python":
        return "\n".join(_Python(draw, name, most).lines)
    return "\n".join(_braced(draw, name, most, language))


# --- Python -----------------------------------------------------------------------------------


class _Python:
    """One function, line by line, as it is being written."""

    def __init__(self, draw: Random, name: str, most: int) -> None:
        self.draw = draw
        self.names = draw.sample(NOUNS, draw.randint(1, 4))
        self.most = most
        first = ", ".join([*self.names[:-1], f"{self.names[-1]}={draw.choice(('None', '0', '1'))}"])
        self.lines = [f"def {name}({first}):"]
        if draw.random() < 0.5 and most > LEAST_LINES:
            words = name.replace("_", " ").capitalize()
            self.lines.append(f'    """{words} of the {draw.choice(NOUNS)}."""')
        while len(self.lines) < most - 1:
            draw.choice(_STATEMENTS)(self, "    ")
        self.lines.append(f"    return {self.value()}")

    def name(self) -> str:
        return self.draw.choice(self.names)

    def new(self) -> str:
        """A name that is known from here on."""
        drawn = self.draw.choice(NOUNS)
        if drawn not in self.names:
            self.names.append(drawn)
        return drawn

    def number(self) -> str:
        return str(self.draw.choice((0, 1, 1, 2, 3, 4, 5, 8, 10, 16, 32, 60, 64, 100, 255, 1024)))

    def text(self) -> str:
        return f'"{self.draw.choice(NOUNS)}"'

    def value(self) -> str:
        return self.draw.choice(_VALUES)(self)

    def test(self) -> str:
        return self.draw.choice(_TESTS)(self)

    def put(self, indent: str, line: str) -> None:
        self.lines.append(indent + line)

    def inner(self, indent: str) -> None:
        """A block: one to three statements, plain ones where it is deep or the function is full."""
        deep = len(indent) > 8 or len(self.lines) > self.most - 4
        for _ in range(self.draw.randint(1, 3)):
            if len(self.lines) >= self.most - 1:
                self.put(indent, f"{self.name()} = {self.value()}")
                return
            self.draw.choice(_PLAIN if deep else _STATEMENTS)(self, indent)


_VALUES: tuple[Callable[[_Python], str], ...] = (
    lambda f: f"{f.name()} + {f.number()}",
    lambda f: f"{f.name()} - {f.name()}",
    lambda f: f"{f.name()} * {f.number()} + {f.name()}",
    lambda f: f"len({f.name()}) - {f.number()}",
    lambda f: f"{f.name()}.get({f.text()}, {f.number()})",
    lambda f: f"{f.name()}[{f.number()}:]",
    lambda f: f"{f.name()}.{f.draw.choice(METHODS)}({f.name()})",
    lambda f: f"{function_name(f.draw)}({f.name()}, {f.name()})",
    lambda f: f"{f.draw.choice(VERBS)}({f.name()}, {f.draw.choice(NOUNS)}={f.number()})",
    lambda f: f"[{f.draw.choice(VERBS)}(one) for one in {f.name()} if one > {f.number()}]",
    lambda f: f"{{one: {f.name()} for one in {f.name()}.{f.draw.choice(NOUNS)}}}",
    lambda f: f"{f.name()} if {f.test()} else {f.number()}",
    lambda f: f"max({f.name()}, {f.number()})",
    lambda f: f"min({f.name()}.{f.draw.choice(NOUNS)}, {f.name()})",
    lambda f: f"{f.name()}.{f.draw.choice(NOUNS)}.{f.draw.choice(NOUNS)}",
    lambda f: f"({f.name()}, {f.value()})",
    lambda f: f"{{{f.text()}: {f.name()}, {f.text()}: {f.number()}}}",
    lambda f: f'f"{f.draw.choice(NOUNS)} {{{f.name()}}}"',
    lambda f: f"sorted({f.name()}, key={f.draw.choice(VERBS)}, reverse=True)",
)
_TESTS: tuple[Callable[[_Python], str], ...] = (
    lambda f: f"{f.name()} > {f.number()}",
    lambda f: f"{f.name()} < {f.name()}",
    lambda f: f"{f.name()} == {f.text()}",
    lambda f: f"{f.name()} is None",
    lambda f: f"{f.name()} is not None and {f.name()} > {f.number()}",
    lambda f: f"not {f.name()}",
    lambda f: f"{f.name()}.{f.draw.choice(NOUNS)} or {f.name()} == {f.number()}",
    lambda f: f"len({f.name()}) > {f.number()}",
    lambda f: f"isinstance({f.name()}, {f.draw.choice(('str', 'int', 'list', 'dict'))})",
)


def _assign(f: _Python, indent: str) -> None:
    value = f.value()
    f.put(indent, f"{f.new()} = {value}")


def _guard(f: _Python, indent: str) -> None:
    f.put(indent, f"if {f.test()}:")
    error = f.draw.choice(ERRORS)
    how = (f'raise {error}(f"{f.draw.choice(NOUNS)} {{{f.name()}}}")', f"return {f.value()}")
    f.put(indent + "    ", f.draw.choice(how))


def _choice(f: _Python, indent: str) -> None:
    f.put(indent, f"if {f.test()}:")
    f.inner(indent + "    ")
    if f.draw.random() < 0.5:
        f.put(indent, "else:")
        f.inner(indent + "    ")


def _loop(f: _Python, indent: str) -> None:
    over = f.draw.choice((f.name(), f"range({f.number()}, {f.name()})", f"enumerate({f.name()})"))
    heads = f"{f.new()}, {f.new()}" if over.startswith("enumerate") else f.new()
    f.put(indent, f"for {heads} in {over}:")
    f.inner(indent + "    ")


def _while(f: _Python, indent: str) -> None:
    name = f.name()
    f.put(indent, f"while {name} < {f.number()}:")
    f.put(indent + "    ", f"{name} += {f.number()}")
    f.inner(indent + "    ")


def _try(f: _Python, indent: str) -> None:
    f.put(indent, "try:")
    f.inner(indent + "    ")
    f.put(indent, f"except {f.draw.choice(ERRORS)}:")
    f.put(indent + "    ", f"{f.new()} = {f.number()}")


def _with(f: _Python, indent: str) -> None:
    f.put(indent, f"with {f.draw.choice(VERBS)}({f.name()}) as {f.new()}:")
    f.inner(indent + "    ")


_PLAIN: tuple[Callable[[_Python, str], None], ...] = (
    _assign,
    _assign,
    lambda f, indent: f.put(indent, f"{f.name()} += {f.value()}"),
    lambda f, indent: f.put(indent, f"{f.name()}.append({f.value()})"),
    lambda f, indent: f.put(indent, f"{f.name()}[{f.text()}] = {f.value()}"),
    lambda f, indent: f.put(indent, f"self.{f.draw.choice(NOUNS)} = {f.value()}"),
)
_STATEMENTS = (*_PLAIN, _guard, _choice, _loop, _while, _try, _with)


# --- other languages --------------------------------------------------------------------------

_HEADS = {
    "javascript": "function {name}({params}) {{",
    "go": "func {name}({params} int) int {{",
    "rust": "fn {name}({typed}) -> i64 {{",
}
_LET = {"javascript": "let {t} = {e};", "go": "{t} := {e}", "rust": "let mut {t} = {e};"}
_IF = {"javascript": "if ({c}) {{", "go": "if {c} {{", "rust": "if {c} {{"}
_END = {"javascript": ";", "go": "", "rust": ";"}


def _braced(draw: Random, name: str, most: int, language: str) -> list[str]:
    names = draw.sample(NOUNS, draw.randint(1, 3))
    typed = ", ".join(f"{one}: i64" for one in names)
    lines = [_HEADS[language].format(name=name, params=", ".join(names), typed=typed)]
    end = _END[language]

    def value() -> str:
        one, number = draw.choice(names), draw.choice((1, 2, 3, 8, 10, 64, 100))
        called = f"{draw.choice(VERBS)}{draw.choice(NOUNS).capitalize()}"
        return draw.choice(
            (f"{one} + {number}", f"{one} - {draw.choice(names)}", f"{called}({one}, {number})")
        )

    while len(lines) < most - 2:
        if draw.random() < 0.3:
            lines.append("    " + _IF[language].format(c=f"{draw.choice(names)} > {value()}"))
            lines.append(f"        {draw.choice(names)} = {value()}{end}")
            lines.append("    }")
        else:
            told, new = value(), draw.choice(NOUNS)
            form = "{t} = {e}" + end if new in names else _LET[language]
            lines.append("    " + form.format(t=new, e=told))
            if new not in names:
                names.append(new)
    return [*lines, f"    return {value()}{end}", "}"]


# --- of the standard library ------------------------------------------------------------------


@cache
def _modules() -> tuple[Path, ...]:
    folder = Path(sysconfig.get_path("stdlib"))
    return tuple(sorted(one for one in folder.glob("*.py") if not one.name.startswith("_")))


def real_functions(draw: Random) -> Iterator[tuple[str, str]]:
    """Functions of the standard library with their names, each once, module by module."""
    for module in draw.sample(_modules(), len(_modules())):
        yield from functions_of(module.read_text(encoding="utf-8", errors="replace"))


def functions_of(text: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the functions of a module that are neither very short nor very long.

    Those with a string of several lines are left out, and those that are not plain ASCII.
    """
    lines = text.split("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.decorator_list and node.end_lineno:
            if LEAST_LINES <= node.end_lineno - node.lineno + 1 <= MOST_LINES:
                found = dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
                if found.isascii() and found.startswith("def ") and found.count('"""') in (0, 2):
                    if "'''" not in found and (ast.get_docstring(node) or '"""' not in found):
                        yield node.name, found


def parses(code: str) -> bool:
    """Whether it is Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return True


# --- wrong changes ----------------------------------------------------------------------------

_SWAPS = {
    " + ": (" - ", "sum-difference"),
    " - ": (" + ", "sum-difference"),
    " * ": (" // ", "product-quotient"),
    " < ": (" <= ", "comparison-boundary"),
    " > ": (" >= ", "comparison-boundary"),
    " == ": (" != ", "equality-negate"),
    " and ": (" or ", "and-or"),
    " or ": (" and ", "and-or"),
    " is not ": (" is ", "identity-negate"),
    " += ": (" = ", "augmented-to-plain"),
    "max(": ("min(", "min-max"),
    "min(": ("max(", "min-max"),
    ".append(": (".extend(", "append-extend"),
    "True": ("False", "boolean-flipped"),
    "False": ("True", "boolean-flipped"),
}
_SWAPPED = re.compile("|".join(re.escape(one) for one in _SWAPS) + r"|\b\d{1,6}\b")
_NAME = re.compile(r"\b[a-z_][a-z0-9_]*\b(?!\(|=|\"|')")
_WORDS = (
    "and as assert break class continue def del elif else except finally for from if import in is"
    " lambda not or pass raise return try while with yield let mut func fn function self one range"
    " len str int list dict i64 global nonlocal async await none"
)
_KEPT = frozenset(_WORDS.split())
_ASSIGNED = re.compile(r"\s*[a-z_]\w* = [^()\[\]{}]+$")
_CONDITION = re.compile(r"(\s*if )([^\[\]{}:]+)(:)$")


def sites(lines: Sequence[str], language: str) -> list[Site]:
    """Every place where a small change is known, line by line."""
    known = set(NOUNS) & set(re.findall(r"\w+", "\n".join(lines)))
    names = sorted(known)
    found: list[Site] = []
    docstring = False
    for number, line in enumerate(lines):
        quotes = line.count('"""')
        if quotes or docstring:
            docstring = docstring != (quotes == 1)
            continue
        if number == 0 or "#" in line:
            continue
        for match in _SWAPPED.finditer(line):
            old = match[0]
            if old in _SWAPS:
                after, operator = _SWAPS[old]
                found.append(Site(number, match.start(), match.end(), after, operator))
            else:
                last = int(old) + 1
                found.append(Site(number, *match.span(), str(last), "number-off-by-one"))
                if last > 1:
                    found.append(Site(number, *match.span(), f"{old}0", "number-scaled"))
        for match in _NAME.finditer(line) if len(names) > 1 else ():
            if match[0] in known and match[0] not in _KEPT and line[match.start() - 1] != ".":
                other = names[(names.index(match[0]) + 1 + number) % len(names)]
                if other != match[0]:
                    found.append(Site(number, *match.span(), other, "variable-misuse"))
        if language == "python":
            if _ASSIGNED.match(line):
                begin = len(line) - len(line.lstrip())
                found.append(Site(number, begin, len(line), "pass", "assignment-dropped"))
            elif (condition := _CONDITION.match(line)) and line.count("(") == line.count(")"):
                told = f"not ({condition[2]})"
                found.append(Site(number, *condition.span(2), told, "condition-negated"))
    return found


def changed(lines: Sequence[str], places: Sequence[Site]) -> list[str]:
    """The lines with these places changed, of which no line has two."""
    out = list(lines)
    for one in places:
        line = out[one.line]
        out[one.line] = line[: one.start] + one.after + line[one.end :]
    return out
