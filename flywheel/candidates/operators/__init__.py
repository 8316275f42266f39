"""The registry: every operator there is, found by reading the family modules of this folder.

A new operator is one class in one of these modules; nothing is listed by hand. The modules are
imported at the first look, so importing the package costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import TypeVar

from flywheel.candidates.operator import AnyOperator, Described, Operator
from flywheel.core.errors import UsageError

__all__ = ["all_operators", "by_name", "chosen", "collect", "families", "select"]

DescribedT = TypeVar("DescribedT", bound=Described)


@cache
def all_operators() -> tuple[AnyOperator, ...]:
    """Every operator, families in alphabetical order, in a family as the module lists them."""
    found: list[type[AnyOperator]] = []
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found.extend(
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Operator)
            and value.__module__ == module.__name__
            and "name" in vars(value)
        )
    return collect(found)


def collect(classes: Iterable[type[AnyOperator]]) -> tuple[AnyOperator, ...]:
    """Make one instance of each class; a name used twice raises `ValueError`."""
    by_class: dict[str, AnyOperator] = {}
    for kind in classes:
        if kind.name in by_class:
            other = type(by_class[kind.name])
            raise ValueError(
                f"two operators are named {kind.name!r}: {other.__module__}.{other.__qualname__} "
                f"and {kind.__module__}.{kind.__qualname__}"
            )
        by_class[kind.name] = kind()
    return tuple(by_class.values())


def families() -> dict[str, tuple[AnyOperator, ...]]:
    """Operators by family."""
    grouped: dict[str, list[AnyOperator]] = {}
    for operator in all_operators():
        grouped.setdefault(operator.family, []).append(operator)
    return {family: tuple(members) for family, members in grouped.items()}


def by_name(name: str) -> AnyOperator:
    """The operator of that name. Raises `UsageError` with the nearest names when there is none."""
    for operator in all_operators():
        if operator.name == name:
            return operator
    raise _unknown(name, [operator.name for operator in all_operators()])


def select(patterns: Sequence[str] = ()) -> tuple[AnyOperator, ...]:
    """The operators of Python that patterns name, in registry order; see `chosen`."""
    return chosen(patterns, all_operators())


def chosen(patterns: Sequence[str], operators: Sequence[DescribedT]) -> tuple[DescribedT, ...]:
    """Those of a language's operators that patterns name, in their order.

    A pattern is a name, a family or a glob of either; with `!` before it, it takes away. No
    patterns, or only exclusions, start from all. Raises `UsageError` for a pattern that fits
    nothing, and when nothing is left.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    names = {operator.name for operator in operators} if not wanted else set[str]()
    for pattern in wanted:
        names |= _matching(pattern, operators)
    for pattern in patterns:
        if pattern.startswith("!"):
            names -= _matching(pattern[1:], operators)
    if not names:
        raise UsageError(
            f"no operator is left after {' '.join(patterns)}",
            hint="name at least one operator or family that is not excluded",
        )
    return tuple(operator for operator in operators if operator.name in names)


def _matching(pattern: str, operators: Sequence[Described]) -> set[str]:
    names = {
        operator.name
        for operator in operators
        if fnmatchcase(operator.name, pattern) or fnmatchcase(operator.family, pattern)
    }
    if not names:
        known = [operator.name for operator in operators]
        raise _unknown(pattern, known + [operator.family for operator in operators])
    return names


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return UsageError(
        f"there is no operator or family {name!r}.{guess}",
        cause="operators: " + ", ".join(dict.fromkeys(known)),
        hint="a pattern is a name, a family or a glob: 'comparison', 'except-*', '!loop'",
    )
