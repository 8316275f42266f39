"""Wrong fixes of a definition: changes of good code that tests should not let through.

Three kinds are made: a body that does nothing, a return before the work is done, and what the
mutation operators make. They try the tests, and are no training data: nobody ever writes an empty
body by mistake. The first two are made of Python's functions only, the third of every language.

It does not know what the tests say of them. A mutant may be another way to write the same: only
those of equal bytecode are told.
"""

from __future__ import annotations

import ast
import enum
import random
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from itertools import islice

from flywheel.candidates.language import Language, Pruner
from flywheel.candidates.module import Edit, FunctionNode, Module, is_docstring
from flywheel.candidates.mutate import Site, candidate
from flywheel.core.records import Candidate, Span

SOURCE = "wrong"
"""The source of candidates that are made here, save of mutants: these are any harvest's too."""
_ENDINGS = (".py", ".pyi")


class Kind(enum.StrEnum):
    """What makes a fix wrong."""

    EMPTY = "empty-body"
    """It does nothing."""
    EARLY = "early-return"
    """It returns before its work is done."""
    MUTANT = "mutant"
    """An operator changed it."""
    ATTEMPT = "attempt"
    """A model wrote it."""


@dataclass(frozen=True, slots=True)
class WrongFix:
    """One change of a good definition."""

    kind: Kind
    """What makes it wrong."""
    candidate: Candidate
    """The change."""


def wrong_fixes(
    path: str,
    source: bytes,
    symbols: Collection[str],
    *,
    language: Language,
    mutants: int,
    seed: int,
    lines: Set[int] | None = None,
) -> dict[str, tuple[WrongFix, ...]]:
    """Wrong fixes of some definitions of a file, by qualified name.

    Of mutants, `mutants` are drawn of each definition, each as likely as any other. `lines`, where
    given, are those that some test runs; what changes no such line is left out, as is what compiles
    to the same as the base. Raises what `Language.sites` raises.
    """
    made: dict[str, list[tuple[Kind, Site]]] = {symbol: [] for symbol in symbols}
    if path.endswith(_ENDINGS):
        for kind, site in _trivial(path, source, language, symbols):
            made[site.symbol].append((kind, site))
    mutated: dict[str, list[Site]] = {symbol: [] for symbol in symbols}
    names = {operator.name for operator in language.operators}
    for site in language.sites(path, source, names, lines):
        if site.symbol in mutated:
            mutated[site.symbol].append(site)
    found: dict[str, tuple[WrongFix, ...]] = {}
    for symbol, sites in mutated.items():
        random.Random(f"wrong {seed} {path} {symbol}").shuffle(sites)
        pruner = language.pruner()
        trivial = [
            WrongFix(kind, candidate(path, source, site, made_by=SOURCE))
            for kind, site in made[symbol]
            if pruner.reason(path, source, site, lines) is None
        ]
        drawn = islice(_passing(sites, path, source, pruner, lines), mutants)
        found[symbol] = (
            *trivial,
            *(WrongFix(Kind.MUTANT, candidate(path, source, site)) for site in drawn),
        )
    return found


def _passing(
    sites: Iterable[Site], path: str, source: bytes, pruner: Pruner, lines: Set[int] | None
) -> Iterator[Site]:
    return (site for site in sites if pruner.reason(path, source, site, lines) is None)


# --- Python's functions -------------------------------------------------------------------


def _trivial(
    path: str, source: bytes, language: Language, symbols: Collection[str]
) -> Iterator[tuple[Kind, Site]]:
    module = Module(source)
    for node in module.mutable:
        if not isinstance(node, FunctionNode) or module.qualname(node) not in symbols:
            continue
        for kind, operator, edit in _edits(node, module):
            site = language.site_of(path, source, edit, operator)
            # What is put before an inner definition is still a change of the outer one.
            yield kind, replace(site, symbol=module.qualname(node), extent=module.extent(node))


def _edits(node: FunctionNode, module: Module) -> Iterator[tuple[Kind, str, Edit]]:
    """What is made of one function, each with a name for what it does."""
    body = node.body[1:] if is_docstring(node.body[0], node) else node.body
    if not body:
        return
    yield Kind.EMPTY, "empty-body", Edit(module.region(body), "pass")
    generates = _generates(node, module)
    for place, statement in zip(("first", "second"), body, strict=False):
        # To return nothing at once is an empty body, save where that makes it no generator.
        if place != "first" or generates:
            yield Kind.EARLY, f"return-{place}", _before(statement, "return", module)
        argument = _first_argument(node, module)
        if argument is not None and not generates:
            edit = _before(statement, f"return {argument}", module)
            yield Kind.EARLY, f"return-argument-{place}", edit


def _before(statement: ast.stmt, text: str, module: Module) -> Edit:
    """An edit that puts a simple statement before another one."""
    start = module.statement_span(statement).start
    indent = module.indent(statement)
    newline = "\r\n" if b"\r\n" in module.source else "\n"
    return Edit(Span(start, start), f"{text}; " if indent is None else f"{text}{newline}{indent}")


def _generates(node: FunctionNode, module: Module) -> bool:
    return any(
        isinstance(inner, ast.Yield | ast.YieldFrom) and module.function(inner) is node
        for inner in ast.walk(node)
    )


def _first_argument(node: FunctionNode, module: Module) -> str | None:
    """The first argument that a caller gives by position, the object of a method left out."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    static = any(
        isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list
    )
    if isinstance(module.parents.get(node), ast.ClassDef) and not static:
        arguments = arguments[1:]
    return arguments[0].arg if arguments else None
