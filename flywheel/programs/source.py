"""What a piece of code consists of: its file, and the files of its own that it imports.

Its own are those under one folder: that of its package, or the one that it lies in. What is
imported by a name that is made while it runs is not seen.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate, chain
from pathlib import Path

from flywheel.core.identity import bytes_hash
from flywheel.core.syntax import parse


def sources(
    module: str, path: Path, root: Path, *, without: Collection[str] = ()
) -> Mapping[str, str]:
    """Path below `root` -> the file's code, without comments and layout, of all that it imports.

    `module` is the name that the file has as a module; `without` are paths that are no part of it,
    nor what they import. Files that do not parse count by their bytes: whether they are ever
    imported is not known.
    """
    found: dict[str, str] = {}
    waiting = [(module, path)]
    while waiting:
        name, file = waiting.pop()
        key = file.relative_to(root).as_posix()
        if key in found or key in without:
            continue
        data = file.read_bytes()
        try:
            tree = parse(data)
        except (SyntaxError, ValueError, RecursionError):
            found[key] = bytes_hash(data)
            continue
        found[key] = ast.dump(tree)
        waiting += _imported(tree, name, file, root)
    return found


def root_of(module: str, path: Path) -> Path:
    """The folder of a module's outermost package, or of its file where it is in none."""
    package = _package(module, path)
    return path.parents[len(package) - 1] if package else path.parent


def _package(module: str, path: Path) -> list[str]:
    parts = module.split(".")
    return parts if path.name == "__init__.py" else parts[:-1]


def _imported(tree: ast.Module, name: str, file: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Modules under a folder that a module imports, with their files."""
    package = _package(name, file)
    wanted = {".".join(package)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            place = ".".join([*above, *([node.module] if node.module else [])])
            # What is taken from a package may be a module of it.
            wanted |= {f"{place}.{one.name}" for one in node.names} if place else set()
    # To import a module runs every package that it is in.
    chains = [accumulate(one.split("."), "{}.{}".format) for one in wanted if one]
    for one in sorted(set(chain.from_iterable(chains))):
        # To look for a module imports what it is in: not for what cannot be of its own.
        top = one.partition(".")[0]
        beside = (root / top).is_dir() or (root / f"{top}.py").is_file()
        if top != name.partition(".")[0] and not beside:
            continue
        try:
            found = importlib.util.find_spec(one)
        except (Exception, SystemExit):  # noqa: BLE001  a user's package may raise anything as it is run
            continue  # no module of this name: a function, or what is only imported elsewhere
        if found is None or found.origin is None:
            continue
        place_of = Path(found.origin)
        if place_of.suffix == ".py" and place_of.is_relative_to(root):
            yield one, place_of
