"""The mutation operators of a language as data: one `operators.toml`, read into typed records.

The file says which tree-sitter grammars parse the language, where definitions, statements, tests
and all that is never mutated stand in a tree (`structure`), and what each operator finds (a
query) and does (one of a few verbs). A key nobody knows is refused with the nearest known one.
Adding a language is writing such a file; no code knows a language by name.

It knows no tree: `grammar` parses, `rewrite` makes edits.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from flywheel.candidates.operator import Example
from flywheel.core.errors import ToolchainError
from flywheel.core.identity import bytes_hash

Patterns = Annotated[
    tuple[str, ...],
    pydantic.BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]
"""Tree-sitter query patterns. With several grammars, one that a grammar has no node types for is
left out there; one that fits none is an error."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GrammarTable(_Table):
    """One parser of the language."""

    package: str
    """Python module of the grammar's wheel: `tree_sitter_go`."""
    function: str = "language"
    """Function of the module that gives the language."""
    suffixes: tuple[str, ...] = Field(min_length=1)
    """File names it parses: `.go`."""


class Structure(_Table):
    """What the nodes of a tree mean."""

    joiner: str = "."
    """Between the names of nested definitions."""
    typed: bool = False
    """A variable takes another's place only where both are known to have one type."""
    blocks: tuple[str, ...]
    """Node types whose children are statements."""
    leading: tuple[str, ...]
    """Node types that belong to the definition below them: comments, attributes."""
    comments: tuple[str, ...]
    """Node types that mean nothing."""
    definitions: Patterns
    """`@definition` with `@name`; may have `@owner` (put before the name), `@result` (declared
    type) and `@parameters` (in a language without a node type for them: their number is shown
    with the name, and they are never dropped or exchanged). `@closure` has no name; its returns
    and variables are its own."""
    variables: Patterns
    """`@name` where a name is bound; may have `@type` (declared) or `@value` (assigned)."""
    kinds: dict[str, str] = Field(default_factory=dict)
    """Node type or called function of a `@value` to the type it gives: `len` to `int`."""
    untouched: Patterns
    """`@untouched`: imports, types, annotations, documentation; nothing inside is mutated."""
    tests: Patterns = ()
    """`@tests` inside source files: they decide verdicts, and no candidate may change them. One of
    a `leading` type stands for the definition below it as well."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All of these but the tests, as patterns of one query."""
        return (
            *(f"({kind}) @block" for kind in self.blocks),
            *(f"({kind}) @comment" for kind in self.comments),
            *self.definitions,
            *self.variables,
            *self.untouched,
            "(ERROR) @untouched",
        )


class QueryOperator(_Table):
    """One mutation operator: a query, and exactly one verb for what it finds.

    Verbs work on the node or the run of nodes captured as `@at`. In a text, `{name}` stands for
    the text of the capture `@name`.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """Unique; the name of the Python operator where the mistake is the same."""
    family: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """The family it belongs to."""
    description: str
    """One line: what mistake of a programmer it imitates."""
    query: Patterns
    """Where it applies."""
    swap: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Verb: the text of `@at` to the texts that take its place; other texts are left."""
    replace: tuple[str, ...] = ()
    """Verb: texts that take the place of `@at`."""
    result: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Verb: the same, by a glob of the declared result type of the function around."""
    shift: tuple[int, ...] = ()
    """Verb: what is added to a whole number; a result below zero is left out."""
    remove: Literal["statement", "element"] | None = None
    """Verb: `@at` goes, with its lines, or with its comma."""
    exchange: Literal["any", "alike"] | None = None
    """Verb: `@left` and `@right` change places; `alike`: in a typed language two variables do so
    only where both are known to have one type."""
    variable: bool = False
    """Verb: the two nearest other variables of the function take the place of `@at`."""
    examples: tuple[Example, ...] = Field(min_length=1)
    """Before and after, each a piece of source; a parametrised test runs them all."""

    @pydantic.model_validator(mode="after")
    def _one_verb(self) -> QueryOperator:
        verbs = (
            self.swap,
            self.replace,
            self.result,
            self.shift,
            self.remove,
            self.exchange,
            self.variable,
        )
        if sum(map(bool, verbs)) != 1:
            raise ValueError(
                f"{self.name} needs exactly one of swap, replace, result, shift, remove, "
                "exchange, variable"
            )
        wanted = ("@left", "@right") if self.exchange else ("@at",)
        for capture in wanted:
            if any(not re.search(rf"{capture}\b", pattern) for pattern in self.query):
                raise ValueError(f"a query of {self.name} captures no {capture}")
        return self


class LanguageRules(_Table):
    """One `operators.toml`."""

    grammar: tuple[GrammarTable, ...] = Field(min_length=1)
    """The parsers, by suffix of a file's name."""
    structure: Structure
    """What their trees mean."""
    operator: tuple[QueryOperator, ...]
    """The operators, in the order they are tried."""
    _hash: str = pydantic.PrivateAttr("")

    @pydantic.model_validator(mode="after")
    def _names_once(self) -> LanguageRules:
        twice = [name for name, n in Counter(o.name for o in self.operator).items() if n > 1]
        if twice:
            raise ValueError(f"two operators are named {', '.join(twice)}")
        return self

    @property
    def hash(self) -> str:
        """Hash of the file's bytes; empty when it was not read from a file."""
        return self._hash


def load_rules(path: Path) -> LanguageRules:
    """Read an `operators.toml`.

    Raises `ToolchainError` for a file that cannot be read or says what no such file says.
    """
    try:
        data = path.read_bytes()
        table = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ToolchainError(f"{path}: the operators cannot be read", cause=str(error)) from error
    try:
        rules = LanguageRules.model_validate(table)
    except pydantic.ValidationError as error:
        raise ToolchainError(
            f"{path}: not a file of operators",
            cause="; ".join(_explained(item, table) for item in error.errors()),
            hint="compare with the packaged critics/go/operators.toml",
        ) from error
    rules._hash = bytes_hash(data)
    return rules


def _explained(error: Any, table: dict[str, Any]) -> str:  # pydantic's own ErrorDetails
    """One problem in words: which operator, and the nearest known key for an unknown one."""
    place = list(error["loc"])
    shown = ".".join(str(part) for part in place)
    match place, table.get("operator"):
        case ["operator", int(number), *rest], [*operators] if isinstance(operators[number], dict):
            name = operators[number].get("name", number)
            shown = ".".join(map(str, ["operator", name, *rest]))
    if error["type"] not in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"{shown}: {error['msg']}" if shown else str(error["msg"])
    sections: dict[str, type[BaseModel]] = {
        "grammar": GrammarTable,
        "structure": Structure,
        "operator": QueryOperator,
    }
    model = sections.get(str(place[0]), LanguageRules) if len(place) > 1 else LanguageRules
    near = difflib.get_close_matches(str(place[-1]), model.model_fields, n=1)
    return f"{shown}: unknown" + (f"; did you mean {near[0]!r}?" if near else "")
