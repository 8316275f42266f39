"""Finding the Python interpreters of this machine, and choosing among them for a project.

Only what runs counts: a candidate is started and asked what it is. Preferred are those the
project names in its classifiers, and of them 3.13 and 3.12, whose `sys.monitoring` makes the
critic's coverage map nearly free.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from flywheel.core.errors import EnvironmentBuildError

_ASK = (
    "import json,os,sys,sysconfig as s;"
    "print(json.dumps([sys.implementation.name,list(sys.version_info[:3]),"
    "sys.version_info[3],sys.base_prefix,sys.base_exec_prefix,"
    "os.path.realpath(getattr(sys,'_base_executable',None) or sys.executable),"
    "bool(s.get_config_var('Py_GIL_DISABLED'))]))"
)
OLDEST = (3, 8)
"""The oldest Python that the critic's runner runs in."""
_FAST = ((3, 13), (3, 12))
_NAME = re.compile(r"python3(\.\d+)?")
_AHEAD = timedelta(days=180)
"""A Python was in use by projects so long before its release."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One working CPython of this machine."""

    executable: Path
    """The base interpreter, no virtual environment's."""
    version: tuple[int, int, int]
    """Such as (3, 12, 1)."""
    prefixes: tuple[Path, ...]
    """Folders it needs, to be shown inside the box at the same path."""


def ask(executable: Path) -> Interpreter | None:
    """What an interpreter says it is; None when it does not run or is no final CPython 3."""
    try:
        done = subprocess.run(
            [str(executable), "-I", "-S", "-c", _ASK],
            capture_output=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        name, version, level, prefix, exec_prefix, base, no_gil = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None
    if name != "cpython" or level != "final" or version[0] != 3 or no_gil:
        return None
    prefixes = {Path(prefix), Path(exec_prefix), Path(prefix).resolve(), _home(Path(base))}
    needed = sorted(path for path in prefixes if not path.is_relative_to("/usr"))
    outer = [p for p in needed if not any(p != o and p.is_relative_to(o) for o in needed)]
    return Interpreter(Path(base), (version[0], version[1], version[2]), tuple(outer))


def find_interpreters(environ: Mapping[str, str] | None = None) -> list[Interpreter]:
    """Every distinct working CPython 3 of this machine, newest first.

    Looked for on PATH, in pyenv's and uv's folders, and as the one that runs flywheel.
    """
    env = os.environ if environ is None else environ
    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(ask, dict.fromkeys(_places(env)))
    found: dict[Path, Interpreter] = {}
    for interpreter in asked:
        if interpreter is not None:
            found.setdefault(interpreter.executable, interpreter)
    return sorted(found.values(), key=lambda one: one.version, reverse=True)


def released(version: tuple[int, ...]) -> date:
    """When a minor version of Python 3 came out: each October since 3.8."""
    return date(2011 + version[1], 10, 1)


def choose(
    interpreters: Iterable[Interpreter],
    *,
    requires: str | None,
    classified: frozenset[str],
    written: date | None = None,
) -> list[Interpreter]:
    """Those that `requires-python` allows, most suitable first, one a minor version.

    `classified` are the minor versions (`3.12`) that the project's classifiers name. With
    `written`, the day of an old commit, those that it could have known come first, and of the
    younger ones the oldest.
    """
    try:
        allowed = SpecifierSet(requires or "")
    except InvalidSpecifier:
        allowed = SpecifierSet()
    minors: dict[tuple[int, int], Interpreter] = {}
    for one in interpreters:
        fits = allowed.contains(Version(".".join(map(str, one.version))))
        if fits and one.version >= OLDEST:
            minors.setdefault(one.version[:2], one)

    def rank(minor: tuple[int, int]) -> tuple[int, int, int]:
        named = not classified or f"{minor[0]}.{minor[1]}" in classified
        old = minor < (3, 9)
        if minor in _FAST:
            # Unnamed: the older of the two is the likelier to work.
            return (0, -minor[1], 0) if named else (2, minor[1], 0)
        return (4 if old else 1 if named else 3, -minor[1], 0)

    def rank_then(minor: tuple[int, int]) -> tuple[int, ...]:
        assert written is not None
        if released(minor) > written + _AHEAD:
            return (1, minor[1])
        return (0, *rank(minor))

    return [minors[minor] for minor in sorted(minors, key=rank_then if written else rank)]


def named_interpreter(python: str) -> Interpreter:
    """The interpreter a user names by path, command or version.

    Raises `EnvironmentBuildError`, listing what there is, when there is no such one.
    """
    if re.fullmatch(r"3\.\d+(\.\d+)?", python):
        there = find_interpreters()
        for one in there:
            if ".".join(map(str, one.version)).startswith(python + ".") or python == ".".join(
                map(str, one.version)
            ):
                return one
    else:
        path = Path(python).expanduser()
        if "/" not in python:
            path = next((Path(d, python) for d in _path(os.environ) if Path(d, python).is_file()),
                        path)  # fmt: skip
        found = ask(path)
        if found is not None:
            return found
        there = find_interpreters()
    raise EnvironmentBuildError(
        f"--python {python} is no working CPython 3",
        cause="found on this machine: " + (describe(there) or "none"),
        hint="--python PATH, such as " + str(there[0].executable) if there else "install Python 3",
    )


def describe(interpreters: Iterable[Interpreter]) -> str:
    """Versions and paths, for a message."""
    return ", ".join(f"{'.'.join(map(str, i.version))} ({i.executable})" for i in interpreters)


def _places(env: Mapping[str, str]) -> Iterator[Path]:
    home = Path(env.get("HOME", "/nonexistent"))
    yield Path(getattr(sys, "_base_executable", sys.executable))
    pyenv = Path(env.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(env.get("XDG_DATA_HOME") or home / ".local/share")
    managed = Path(env.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    folders = [Path(folder) for folder in _path(env)]
    folders += sorted(pyenv.glob("versions/*/bin")) + sorted(managed.glob("*/bin"))
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    seen = set()
    for folder in folders:
        # pyenv's shims are scripts that answer for whatever is active: the real ones are asked.
        if folder.name == "shims" or not folder.is_dir():
            continue
        for path in sorted(folder.glob("python3*")):
            real = path.resolve()
            if _NAME.fullmatch(path.name) and real not in seen and os.access(path, os.X_OK):
                seen.add(real)
                yield path


def _path(env: Mapping[str, str]) -> list[str]:
    return [folder for folder in env.get("PATH", "").split(os.pathsep) if folder]


def _home(executable: Path) -> Path:
    """The folder above `bin/`, for an executable outside its own prefix."""
    return executable.parent.parent if executable.parent.name == "bin" else executable.parent
