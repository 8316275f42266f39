"""Typed TOML files that a user writes: every key known, every misspelling told."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

import pydantic
from pydantic import BaseModel, ConfigDict

from flywheel.core.errors import FlywheelError


class Table(BaseModel):
    """A table of such a file: nothing extra, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T", bound=Table)


def read_table(path: Path, error: type[FlywheelError]) -> tuple[dict[str, Any], bytes]:
    """What a TOML file says, not yet validated, and its bytes; raises `error` where it is none."""
    try:
        data = path.read_bytes()
        return tomllib.loads(data.decode()), data
    except (OSError, ValueError, RecursionError) as raised:  # tomllib's own error is a ValueError
        raise error(
            f"{path} cannot be read", cause=str(raised), hint="mend the file, then run again"
        ) from raised


def validated(
    table: dict[str, Any],
    model: type[T],
    path: Path,
    error: type[FlywheelError],
    *,
    what: str,
    hint: str,
) -> T:
    """A table of a file as its type; raises `error`, "not `what`", that tells every problem."""
    try:
        return model.model_validate(table)
    except pydantic.ValidationError as raised:
        problems = "; ".join(_explained(item, model) for item in raised.errors())
        raise error(f"{path}: not {what}", cause=problems, hint=hint) from raised


def _explained(problem: Any, model: type[BaseModel]) -> str:  # pydantic's own ErrorDetails
    """One problem in words, with the nearest known key for one nobody knows."""
    place = [str(part) for part in problem["loc"]]
    if problem["type"] != "extra_forbidden":
        return f"{'.'.join(place)}: {problem['msg'].removeprefix('Value error, ')}"
    for part in place[:-1]:
        known = model.model_fields.get(part)
        if known is not None:
            # A table of its own, or a list of them.
            for inner in (known.annotation, *get_args(known.annotation)):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    model = inner
    near = difflib.get_close_matches(place[-1], model.model_fields, n=1)
    told = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(model.model_fields)}"
    return f"{'.'.join(place)}: unknown{told}"
