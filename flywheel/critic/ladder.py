"""The install ladder: the ways in which a repository may tell what its tests need.

Read from the files that define the environment, without running any of them. Each `Rung` is a
set of arguments for one `uv pip install`, the most telling first; the first that installs and
collects is taken.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flywheel.critic.profile import Install

Read = Callable[[str], bytes | None]
_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)\b")
_NO_PACKAGES = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples", "build"}
)
"""Folders whose projects are there to be tested with, not to be tested."""
_REQUIRES_OLD = re.compile(r"""python_requires\s*=\s*["']([^"']+)["']""")


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to install a repository with what its tests need."""

    name: str
    """What it is, for people."""
    arguments: tuple[str, ...]
    """Arguments of `uv pip install`, run in the root of the tree."""
    installs_project: bool = True
    """False leaves the project itself to PYTHONPATH."""


@dataclass(frozen=True, slots=True)
class Project:
    """What a repository's files say of the project, as far as building an environment goes."""

    name: str | None
    """Distribution name, None when not found."""
    version: str | None
    """Version that its metadata gives as a constant, None when computed."""
    requires_python: str | None
    """Version specifier, None when not given."""
    classified: frozenset[str]
    """Minor Python versions that its classifiers name."""
    installable: bool
    """True when there is something that builds."""
    text: str
    """All of it, for looking up hints."""


def read_project(read: Read) -> Project:
    """Read what a repository says of itself."""
    pyproject = _toml(read("pyproject.toml"))
    setup_py = _text(read("setup.py"))
    setup_cfg = _ini(_text(read("setup.cfg")))
    head = _text(read("PKG-INFO")).partition("\n\n")[0]
    info = {key: value for key, _, value in (line.partition(": ") for line in head.splitlines())}
    project = _table(pyproject, "project")
    poetry = _table(pyproject, "tool", "poetry")
    metadata = setup_cfg.get("metadata", {})
    texts = [_text(read(name)) for name in ("pyproject.toml", "setup.cfg", "tox.ini")]
    text = "\n".join([*texts, setup_py, head, _text(read("noxfile.py"))])
    requires = (
        project.get("requires-python")
        or info.get("Requires-Python")
        or setup_cfg.get("options", {}).get("python_requires")
        or (found.group(1) if (found := _REQUIRES_OLD.search(setup_py)) else None)
    )
    if requires is None and isinstance(_table(poetry, "dependencies").get("python"), str):
        requires = ",".join(_poetry_specifiers(str(poetry["dependencies"]["python"])))
    name = project.get("name") or poetry.get("name") or info.get("Name") or metadata.get("name")
    if name is None and (found := re.search(r"""\bname\s*=\s*["']([\w.-]+)["']""", setup_py)):
        name = found.group(1)
    version = info.get("Version") or project.get("version") or poetry.get("version")
    installable = bool(
        project
        or poetry
        or "build-system" in pyproject
        or re.search(r"\bsetup\s*\(", setup_py)
        or metadata.get("name")
    )
    return Project(
        name=str(name) if name else None,
        version=str(version) if version else None,
        requires_python=str(requires) if requires else None,
        classified=frozenset(_CLASSIFIER.findall(text)),
        installable=installable,
        text=text,
    )


def rungs(read: Read, paths: Iterable[str], install: Install) -> list[Rung]:
    """The ladder of one repository, the most telling rung first."""
    pyproject = _toml(read("pyproject.toml"))
    project = read_project(read)
    there = set(paths)
    files = [name for name in install.requirements if name in there]
    if any("dev" not in name for name in files):
        files = [name for name in files if "dev" not in name]
    file_arguments = [word for name in files for word in ("-r", name)]
    extras = _named(_extras(read, pyproject), install)
    groups = _named(_group_names(pyproject), install)
    old_groups = _old_groups(pyproject)
    legacy = _named(old_groups, install)
    poetry = [one for name in legacy for one in old_groups[name]]
    found: list[Rung] = []
    if project.installable:
        editable = f".[{','.join(extras)}]" if extras else "."
        group_arguments = [word for name in groups for word in ("--group", name)]
        if extras or groups:
            told = [*(f"extra {name}" for name in extras), *(f"group {name}" for name in groups)]
            arguments = ("-e", editable, *group_arguments)
            found.append(Rung(f"the project with {', '.join(told)}", arguments))
        if files:
            name = f"the project and {', '.join(files)}"
            found.append(Rung(name, ("-e", ".", *file_arguments)))
        if poetry:
            name = f"the project and its {', '.join(legacy)} group"
            found.append(Rung(name, ("-e", ".", *poetry)))
        found.append(Rung("the project", ("-e", ".")))
    packages = _packages(read, there)
    if packages and not project.installable:
        several = [word for folder in packages for word in ("-e", folder)]
        name = f"the packages {', '.join(packages)}"
        found.append(Rung(name, (*several, *file_arguments)))
    own = [name for name in ("requirements.txt", "requirements/base.txt") if name in there]
    alone = [word for name in own for word in ("-r", name)] + file_arguments
    alone += [str(one) for one in _table(pyproject, "project").get("dependencies", [])]
    found.append(Rung("its requirements alone", tuple(alone), installs_project=False))
    return found


def hinted(name: str, project: Project) -> str:
    """The requirement for a distribution as the repository writes it anywhere, else its name."""
    wanted = "[-_.]+".join(map(re.escape, canonicalize_name(name).split("-")))
    pattern = re.compile(
        rf"(?<![\w.-]){wanted}(?:\[[\w,-]+\])?"
        r"(?:\s*(?:[<>=!~]=|[<>])\s*[\w.*+!]+(?:\s*,\s*(?:[<>=!~]=|[<>])\s*[\w.*+!]+)*)?",
        re.IGNORECASE,
    )
    for found in pattern.finditer(project.text):
        try:
            requirement = Requirement(found.group().strip())
        except InvalidRequirement:
            continue
        if requirement.specifier:
            return str(requirement)
    return name


def _named(names: Iterable[str], install: Install) -> list[str]:
    """Names that stand for test requirements; the fallbacks only without them."""
    there = {canonicalize_name(name): name for name in names}
    for wanted in (install.groups, install.fallback_groups):
        found = [there[name] for name in map(canonicalize_name, wanted) if name in there]
        if found:
            return found
    return []


def _packages(read: Read, paths: Iterable[str]) -> list[str]:
    """Folders, at most two deep, that hold a project of their own, as in a monorepo."""
    found = set()
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name not in {"pyproject.toml", "setup.py"} or not folder or folder.count("/") > 1:
            continue
        if folder.partition("/")[0] in _NO_PACKAGES:
            continue
        if name == "setup.py" or _table(_toml(read(path)), "project"):
            found.add(folder)
    return [f"./{folder}" for folder in sorted(found)]


def _extras(read: Read, pyproject: Mapping[str, Any]) -> list[str]:
    found = list(_table(pyproject, "project", "optional-dependencies"))
    found += list(_table(pyproject, "tool", "poetry", "extras"))
    found += list(_ini(_text(read("setup.cfg"))).get("options.extras_require", {}))
    head = _text(read("PKG-INFO")).partition("\n\n")[0]
    found += re.findall(r"^Provides-Extra: (\S+)", head, re.MULTILINE)
    setup_py = _text(read("setup.py"))
    if "extras_require" in setup_py:
        found += re.findall(r"""["']([\w.-]+)["']\s*:\s*[\[(\w]""", setup_py)
        found += re.findall(r"""extras_require\[["']([\w.-]+)["']\]""", setup_py)
    return list(dict.fromkeys(found))


def _group_names(pyproject: Mapping[str, Any]) -> list[str]:
    return list(_table(pyproject, "dependency-groups"))


def _old_groups(pyproject: Mapping[str, Any]) -> dict[str, list[str]]:
    """Requirements in the forms that poetry, pdm and uv used before dependency groups."""
    found: dict[str, list[str]] = {}
    poetry = _table(pyproject, "tool", "poetry")
    for name, group in _table(poetry, "group").items():
        found[name] = _poetry(_table(group, "dependencies"))
    if "dev-dependencies" in poetry:
        found["dev"] = _poetry(_table(poetry, "dev-dependencies")) + found.get("dev", [])
    for name, items in _table(pyproject, "tool", "pdm", "dev-dependencies").items():
        found[name] = [str(one) for one in items if not str(one).startswith("-e")]
    uv = _table(pyproject, "tool", "uv").get("dev-dependencies")
    if isinstance(uv, list):
        found["dev"] = [str(one) for one in uv] + found.get("dev", [])
    return found


def _poetry(table: Mapping[str, Any]) -> list[str]:
    """Poetry's own requirement tables as standard requirements; paths and git are left out."""
    found = []
    for name, value in table.items():
        wanted = value if isinstance(value, dict) else {"version": value}
        version = wanted.get("version")
        if name == "python" or not isinstance(version, str):
            continue
        extras = ",".join(wanted.get("extras", []))
        line = f"{name}[{extras}]" if extras else name
        line += ",".join(_poetry_specifiers(version))
        if isinstance(wanted.get("markers"), str):
            line += f" ; {wanted['markers']}"
        found.append(line)
    return found


def _poetry_specifiers(text: str) -> list[str]:
    """Poetry's caret and tilde ranges as standard specifiers."""
    found = []
    for raw in text.split("||")[-1].split(","):
        part = raw.strip()
        number = part.lstrip("^~=<>! ")
        pieces = re.findall(r"\d+", number.partition("-")[0])
        if part.startswith("^") and pieces:
            index = next((i for i, piece in enumerate(pieces) if piece != "0"), len(pieces) - 1)
            upper = [*pieces[:index], str(int(pieces[index]) + 1)]
            found += [f">={number}", f"<{'.'.join(upper)}"]
        elif part.startswith("~") and not part.startswith("~=") and pieces:
            upper = [pieces[0], str(int(pieces[1]) + 1)] if len(pieces) > 1 else [
                str(int(pieces[0]) + 1)]  # fmt: skip
            found += [f">={number}", f"<{'.'.join(upper)}"]
        elif part and part[0].isdigit():
            found.append(f"=={part}")
        elif part and part != "*":
            found.append(part)
    return found


def _table(table: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A nested table, empty when it is missing or no table."""
    for key in keys:
        inner = table.get(key)
        if not isinstance(inner, dict):
            return {}
        table = inner
    return table


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


def _toml(data: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(data))
    except tomllib.TOMLDecodeError:
        return {}


def _ini(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {section: dict(parser[section]) for section in parser.sections()}
