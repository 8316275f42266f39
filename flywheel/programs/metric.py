"""Metrics: one file, one pure function, a value and why.

`metrics/NAME.py` holds `VERSION = "1"` and a function called NAME:

    def NAME(case: Case, answer: Answer) -> Score: ...

Further parameters are the tools it needs, by name: `critic`, `judge`, `metrics` (see `ports`). A
metric that asks others names them in `USES`. Files beside it with its name (`NAME.md`, a prompt)
belong to it. Its identity is the hash of all these, and of the metrics that it uses: a score names
it, so a changed metric never passes for what it was.

A file with a mistake is told by its name and line, when it is loaded or when it scores.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from flywheel.core.errors import FlywheelError, UsageError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.programs.case import Answer, Case, Score
from flywheel.programs.ports import Tools
from flywheel.programs.source import sources

NEEDS = ("critic", "judge", "metrics")
"""Names of the parameters that stand for tools."""
KIND = "metrics"
"""The kind of content, as identities name it."""

_SUBJECT = ("case", "answer")
_HINT = "metrics/README.md of flywheel shows one"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it was loaded."""

    name: str
    """Name of its file and of its function."""
    version: str
    """As its file says: what a change of it should change."""
    hash: str
    """Of the content of its files, and of the metrics that it uses."""
    path: Path
    """Its file."""
    description: str
    """First line of the function's docstring; empty where it has none."""
    needs: tuple[str, ...]
    """Tools that it takes itself, of `NEEDS`."""
    uses: Mapping[str, Metric]
    """Other metrics that it asks, by name."""
    function: Callable[..., Any]
    """The function. `score` calls it."""

    @property
    def id(self) -> str:
        """Identity, as `metrics:NAME@HASH`."""
        return f"{KIND}:{self.name}@{self.hash}"

    @property
    def all_needs(self) -> frozenset[str]:
        """Tools that it takes, or that a metric takes which it uses."""
        return frozenset(self.needs).union(*(one.all_needs for one in self.uses.values()))

    def score(self, case: Case, answer: Answer, tools: Tools | None = None) -> Score:
        """What it says of an answer.

        Raises `UsageError` that names file and line where the file is wrong: it raises, or gives
        what is no score. Errors of the tools pass as they are.
        """
        given = {name: getattr(tools or Tools(), name) for name in self.needs}
        if missing := [name for name, tool in given.items() if tool is None]:
            raise UsageError(
                f"{self.name} needs {missing[0]}, and none is at hand",
                hint=f"give it as Tools({missing[0]}=…); flywheel metric run brings all there are",
            )
        try:
            found = self.function(case, answer, **given)
        except FlywheelError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"{_place(error, self.path)}: {self.name} failed on example {case.example_id}",
                cause=_said(error),
                hint="mend the file; an answer that cannot be measured is Score(None, reason)",
            ) from error
        if problem := _problem(found):
            line = self.function.__code__.co_firstlineno
            raise UsageError(
                f"{self.path}:{line}: {self.name} gave no score for example {case.example_id}",
                cause=problem,
                hint="give Score(value from 0 to 1, reason), or Score(None, reason) for unknown",
            )
        score: Score = found
        return score


def load_metric(name: str, find: Callable[[str], Path], *, within: tuple[str, ...] = ()) -> Metric:
    """The metric of a name; `find` gives the file of one, and raises `UsageError` for none.

    `within` are the metrics that it is loaded for. Raises `UsageError`, with file and line, for a
    file that is no metric.
    """
    path = find(name)
    if name in within:
        told = " → ".join((*within, name))
        raise UsageError(f"{path}: metrics that use each other", cause=told, hint=_HINT)
    try:
        files = sorted(one for one in path.parent.glob(f"{name}.*") if one.is_file())
        contents = {one.name: one.read_bytes() for one in files}
    except OSError as error:
        raise UsageError(f"{path} cannot be read", cause=str(error), hint=_HINT) from error
    module = _module(name, path, contents[path.name])
    function = _function(module, name, path)
    needs = _needs(function, path)
    uses = {
        one: load_metric(one, find, within=(*within, name)) for one in _uses(module, path, needs)
    }
    hashes = {file: bytes_hash(data) for file, data in contents.items()}
    others = sources(name, path, path.parent)
    hashes |= {
        file: bytes_hash(code.encode()) for file, code in others.items() if file not in hashes
    }
    return Metric(
        name=name,
        version=_version(module, path),
        hash=content_hash(KIND, name, hashes, {one: uses[one].hash for one in sorted(uses)}),
        path=path,
        description=(inspect.getdoc(function) or "").partition("\n")[0],
        needs=needs,
        uses=uses,
        function=function,
    )


class _Source(importlib.abc.SourceLoader):
    """Loads the very bytes that were hashed, and leaves no compiled file beside content."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data = path, data

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._data


def _module(name: str, path: Path, data: bytes) -> ModuleType:
    """Run the file as a module of a name of its own; the same bytes run once."""
    module_name = f"flywheel_{KIND}_{content_hash(name, str(path), bytes_hash(data))}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_loader(module_name, _Source(path, data))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where the file declares a dataclass, it is looked up by its module's name.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise UsageError(
            f"{_place(error, path)}: the metric cannot be loaded", cause=_said(error), hint=_HINT
        ) from error
    return module


def _function(module: ModuleType, name: str, path: Path) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if inspect.isfunction(found) and found.__module__ == module.__name__:
        return found
    own = [
        one
        for one, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    there = ", ".join(f"{one} (line {vars(module)[one].__code__.co_firstlineno})" for one in own)
    raise UsageError(
        f"{path}:1: there is no function called {name}, as the file is",
        cause=f"its functions: {there}" if own else "it has no function",
        hint=f"def {name}(case: Case, answer: Answer) -> Score: …",
    )


def _needs(function: Callable[..., Any], path: Path) -> tuple[str, ...]:
    parameters = tuple(inspect.signature(function).parameters)
    line = function.__code__.co_firstlineno
    unknown = [one for one in parameters[2:] if one not in NEEDS]
    if parameters[:2] != _SUBJECT or unknown:
        raise UsageError(
            f"{path}:{line}: a metric takes case and answer, then tools by name",
            cause=f"it takes {', '.join(parameters) or 'nothing'}",
            hint=f"tools: {', '.join(NEEDS)}",
        )
    return parameters[2:]


def _version(module: ModuleType, path: Path) -> str:
    found = getattr(module, "VERSION", None)
    if isinstance(found, str) and found.strip():
        return found
    raise UsageError(
        f'{path}:1: a metric has a version: VERSION = "1"',
        cause="it has none" if found is None else f"VERSION is {found!r}",
        hint="change it whenever what the value means changes",
    )


def _uses(module: ModuleType, path: Path, needs: tuple[str, ...]) -> tuple[str, ...]:
    found = getattr(module, "USES", ())
    if not isinstance(found, tuple | list) or not all(isinstance(one, str) for one in found):
        raise UsageError(
            f"{path}:1: USES names other metrics",
            cause=f"it is {found!r}",
            hint='USES = ("tests_pass", "minimality")',
        )
    if bool(found) != ("metrics" in needs):
        raise UsageError(
            f"{path}:1: a metric that uses others names them in USES and takes metrics",
            cause="it takes metrics and names none" if not found else "it does not take metrics",
            hint=_HINT,
        )
    return tuple(found)


def _problem(found: object) -> str:
    """What is wrong with what a metric gave, empty for a score."""
    match found:
        case Score(value=value, reason=str(), parts=Mapping() as parts):
            numbers = parts if value is None else {"value": value, **parts}
            wrong = (told for name, one in numbers.items() if (told := _no_number(name, one)))
            return next(wrong, "") or _outside(value)
        case _:
            return f"it gave {type(found).__name__}: {found!r:.80}"


def _no_number(name: object, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} is no number: {value!r:.80}"
    try:
        finite = math.isfinite(value)
    except OverflowError:
        return f"{name} is larger than any number that is kept"
    return "" if finite else f"{name} is {value}; what is not known is None"


def _outside(value: float | None) -> str:
    if value is None or 0 <= value <= 1:
        return ""
    return f"the value {value} does not lie between 0 and 1"


def _place(error: BaseException, path: Path) -> str:
    """File and line at which an error left the file, or at which the file has it."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno or 1}"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename == str(path)]
    return f"{path}:{frames[-1].lineno if frames else 1}"


def _said(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
