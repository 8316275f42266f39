"""What a mutation operator is.

An operator is a class with a name, a docstring, examples, and one method that looks at one AST
node and yields replacements of source spans. It never prints, never formats: it returns the
text of the smallest span that changes, so the diff touches nothing else. Its family is the
name of the module it is written in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from flywheel.candidates.module import Edit, Module

__all__ = ["AnyOperator", "Described", "Edit", "Example", "Module", "Operator"]

NodeT = TypeVar("NodeT", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Example:
    """One before/after pair an operator carries with it; a parametrised test runs them all."""

    before: str
    """A whole small module."""
    after: str
    """One of the modules the operator makes of it (it may make others too)."""


class Described(Protocol):
    """What is known of an operator of any language without looking at code."""

    @property
    def name(self) -> str:
        """Unique in its language, kebab-case."""
        ...

    @property
    def family(self) -> str:
        """The family it belongs to."""
        ...

    @property
    def description(self) -> str:
        """One line: what mistake of a programmer it imitates."""
        ...

    @property
    def examples(self) -> tuple[Example, ...]:
        """What it makes of what."""
        ...


class Operator(Generic[NodeT]):
    """Base of all operators. Subclass it, fill in the class attributes, write `edits`."""

    name: ClassVar[str]
    """Unique, kebab-case, as shown to users and stored: `comparison-swap`."""
    family: ClassVar[str]
    """The family it belongs to, from its module's name: `comparison`, `call-arguments`."""
    description: ClassVar[str]
    """One line, from its docstring: what mistake of a programmer it imitates."""
    examples: ClassVar[tuple[Example, ...]]
    """At least two; the last may show a case with nested or multi-line source."""
    nodes: ClassVar[tuple[type[ast.AST], ...]]
    """Node types `edits` wants to see; it is called for no other."""

    def __init_subclass__(cls) -> None:
        cls.family = cls.__module__.rpartition(".")[2].rstrip("_").replace("_", "-")
        cls.description = (cls.__doc__ or "").strip().partition("\n")[0]

    def edits(self, node: NodeT, module: Module) -> Iterator[Edit]:
        """Yield every way this operator changes `node`; nothing when it does not apply."""
        raise NotImplementedError


AnyOperator: TypeAlias = Operator[Any]
"""An operator of whatever node types; the walk gives each only those it asked for."""
