"""Programs: DSPy modules that flywheel runs, measures and makes better.

One is named by a word (`repair`: it comes with flywheel), by a file and a class (`mine.py:Mend`),
or by a module that Python finds and a class (`package.module:Mend`). Its `forward` takes fields of
a row by their names; what it gives is an answer: its field `good`, or `bad` of a program that
breaks code, is the definition, and all its fields together are the text.

`known(row)`, where a class has it, says the outputs of each of its predictors that give the proven
answer, or why the answer cannot be said in its form: what it learns from where no teacher is asked.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.programs.case import Answer
from flywheel.programs.modules import SHIPPED
from flywheel.programs.row import FIELDS
from flywheel.programs.source import root_of, sources

PACKAGE = "flywheel.programs.modules"
CODE = ("good", "bad")
"""Outputs that are code, the first of them that a program has."""
_SUBCLASS = "name a subclass of dspy.Module"
_FORMS = "a name such as repair, path.py:Class, or package.module:Class"


@dataclass(frozen=True, slots=True)
class Program:
    """A program as it was found. Nothing is asked or imported of DSPy before `make`."""

    name: str
    """What its versions are filed under: the word, or the name of the class."""
    spec: str
    """As it was asked for."""
    hash: str
    """Of its file, of what it imports of its own package, and of the prompts beside it."""
    path: Path
    """Its file."""
    description: str
    """First line of the class's docstring, empty where it has none."""
    inputs: tuple[str, ...]
    """Parameters of `forward`, in order."""
    optional: frozenset[str]
    """Those of them that have a default."""
    kind: type[Any]
    """The class."""

    def is_at(self, spec: str, folder: Path) -> bool:
        """Whether it is the one that another spelling stands for."""
        return _placed(self.spec, folder) == _placed(spec, folder)

    def make(self) -> Any:
        """A new instance. Raises `UsageError` where the class cannot be made without arguments."""
        try:
            return self.kind()
        except Exception as error:
            raise UsageError(
                f"{self.spec} cannot be made",
                cause=f"{type(error).__name__}: {error}",
                hint="its class is called without arguments",
            ) from error

    def check(self) -> None:
        """See that rows can feed it. Raises `UsageError` that names the fields which none has."""
        strange = [one for one in self.inputs if one not in FIELDS and one not in self.optional]
        if strange:
            near = difflib.get_close_matches(strange[0], FIELDS, n=1)
            raise UsageError(
                f"{self.spec} takes {', '.join(strange)}, which no row of a dataset has",
                cause=f"rows have {', '.join(FIELDS)}",
                hint=f"did you mean {near[0]}?" if near else "rename the parameters of forward",
            )
        if not self.fields:
            raise UsageError(
                f"{self.spec} takes nothing of a row",
                hint=f"forward takes some of {', '.join(FIELDS)} by name",
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of a row that it is called with."""
        return tuple(one for one in self.inputs if one in FIELDS)


def find_program(spec: str, folder: Path) -> Program:
    """The program of a name; files are looked for below `folder`, where relative.

    The file of the user's is run: it is theirs. Raises `UsageError` where there is none.
    """
    if spec in SHIPPED:
        kind = getattr(importlib.import_module(f"{PACKAGE}.{spec}"), SHIPPED[spec])
        return _program(spec, spec, kind)
    place, _, name = spec.rpartition(":")
    if spec.endswith(".py"):
        found = _classes(_file(folder / spec, spec))
        raise UsageError(
            f"{spec} names no class",
            cause=f"its programs: {', '.join(found) or 'none'}",
            hint=f"did you mean {spec}:{found[0]}?" if found else _SUBCLASS,
        )
    if not place or not name.isidentifier():
        near = difflib.get_close_matches(spec, SHIPPED, n=1)
        raise UsageError(
            f"there is no program {spec!r}",
            cause=f"flywheel has {', '.join(SHIPPED)}",
            hint=f"did you mean {near[0]}?" if near else f"it is {_FORMS}",
        )
    module = _file(folder / place, spec) if place.endswith(".py") else _module(place, spec, folder)
    kind = getattr(module, name, None)
    if kind is None:
        classes = _classes(module)
        near = difflib.get_close_matches(name, classes, n=1)
        raise UsageError(
            f"{place} has no {name}",
            cause=f"its programs: {', '.join(classes) or 'none'}",
            hint=f"did you mean {near[0]}?" if near else _SUBCLASS,
        )
    if not _is_program(kind):
        raise UsageError(f"{spec} is no program", hint="it is a subclass of dspy.Module")
    return _program(name, spec, kind)


def answer_of(prediction: Any) -> Answer:
    """What a program has said, as metrics see it."""
    said = {name: value for name, value in prediction.items() if not name.startswith("_")}
    code = next((said[name] for name in CODE if name in said), None)
    if len(said) == 1:
        text = str(next(iter(said.values())))
    else:
        text = json.dumps(said, ensure_ascii=False, sort_keys=True, default=str)
    return Answer(text, code if isinstance(code, str) and code.strip() else None)


def _program(name: str, spec: str, kind: type[Any]) -> Program:
    if not hasattr(kind, "forward"):
        raise UsageError(f"{spec} has no forward", hint="its parameters are fields of a row")
    if name in SHIPPED and spec != name:
        raise UsageError(
            f"{spec} cannot be called {name}: a program of flywheel's is",
            hint="give the class a name of its own: its versions are filed under that",
        )
    forward = inspect.signature(kind.forward)
    parameters = [one for key, one in forward.parameters.items() if key != "self"]
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    try:
        path = Path(inspect.getfile(kind))
    except (TypeError, OSError) as error:
        raise UsageError(
            f"the file of {spec} cannot be found", cause=str(error), hint="write it as a class"
        ) from error
    return Program(
        name=name,
        spec=spec,
        hash=_identity(path, kind),
        path=path,
        description=(inspect.getdoc(kind) or "").partition("\n")[0],
        inputs=tuple(one.name for one in named),
        optional=frozenset(one.name for one in named if one.default is not one.empty),
        kind=kind,
    )


def _identity(path: Path, kind: type[Any]) -> str:
    """Of the file and of what it imports of its own, without comments, and of its prompts."""
    prompts = path.parent / "prompts"
    named = {*prompts.glob(f"{path.stem}.md"), *prompts.glob(f"{path.stem}[-_.]*.md")}
    beside = {one.name: bytes_hash(one.read_bytes()) for one in sorted(named)}
    if kind.__module__.startswith(f"{PACKAGE}."):
        # The rest of flywheel is no part of its programs, nor is what lies beside them.
        trees = sources(kind.__module__, path, Path(__file__).parent, without={"__init__.py"})
    else:
        trees = sources(kind.__module__, path, root_of(kind.__module__, path))
    return content_hash("program", kind.__qualname__, sorted(trees.items()), beside)


def _placed(spec: str, folder: Path) -> str:
    place, _, name = spec.rpartition(":")
    return f"{(folder / place).resolve()}:{name}" if place.endswith(".py") else spec


def _classes(module: types.ModuleType) -> list[str]:
    return [name for name, one in vars(module).items() if _is_program(one)]


def _is_program(kind: object) -> bool:
    from flywheel.lm.bridge import dspy  # noqa: PLC0415  a second, when a program is asked for

    return isinstance(kind, type) and issubclass(kind, dspy.Module) and kind is not dspy.Module


def _file(path: Path, spec: str) -> types.ModuleType:
    if not path.is_file():
        raise UsageError(f"{path} is no file", hint=f"{spec} stands for a class in that file")
    name = f"flywheel_program_{bytes_hash(path.read_bytes())}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # classes look their module up there
    _reach(path.parent)
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(spec, path, error) from error
    return module


def _module(place: str, spec: str, folder: Path) -> types.ModuleType:
    _reach(folder)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise UsageError(
                f"there is no module {place}", hint=f"it is {_FORMS}; is its package installed?"
            ) from None
        raise _broken(spec, None, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(spec, None, error) from error


def _reach(folder: Path) -> None:
    """Let modules that lie in a folder be imported, behind all that are installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _broken(spec: str, path: Path | None, error: BaseException) -> UsageError:
    """What a user's file raises when it is imported, by its line."""
    line = ""
    frame = error.__traceback__
    while frame is not None and path is not None:
        if frame.tb_frame.f_code.co_filename == str(path):
            line = f"line {frame.tb_lineno}: "
        frame = frame.tb_next
    if isinstance(error, SyntaxError):
        line = f"line {error.lineno}: "
    return UsageError(
        f"{spec} cannot be imported",
        cause=f"{line}{type(error).__name__}: {error}",
        hint="mend the file",
    )
