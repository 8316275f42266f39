"""Toolchain profiles: how the repositories of one kind are installed, collected and tested.

A profile is a TOML file of the content folder `critics/`, read into a typed `Profile`; a key
nobody knows is refused, with the nearest known one. A `Toolchain` is a profile together with
the hash of its file: verdicts name it, so a changed profile can never be mistaken for another.
The profile also says which files a candidate may change (`sources`) and which decide a verdict
and so may not (`is_protected`).
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import os
import re
import sys
import tomllib
import typing
import warnings
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from flywheel.core.errors import ToolchainError
from flywheel.core.identity import bytes_hash
from flywheel.git import Checkout

_PYC = re.compile(r"(?P<stem>.+)\.cpython-3(?P<minor>\d+)\.pyc")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Detect(_Table):
    """When the profile fits a repository."""

    files: tuple[str, ...]
    """Globs; one match of one file is enough."""
    words: dict[str, str] = Field(default_factory=dict)
    """File at the root to a word in it; one hit is enough."""


class Sources(_Table):
    """Which files a candidate may change."""

    include: tuple[str, ...]
    """Globs of source files."""
    exclude: tuple[str, ...]
    """Globs of those that are left alone: vendored, generated, documentation."""
    protected: tuple[str, ...]
    """Globs of what decides a verdict: tests, conftest files, settings."""


class Install(_Table):
    """The install ladder: what an environment is made of, and what the tests need beside it."""

    definition: tuple[str, ...]
    """Globs of files whose content defines the environment."""
    groups: tuple[str, ...]
    """Names of extras and dependency groups with the tests' requirements."""
    fallback_groups: tuple[str, ...]
    """Names used where none of `groups` exists."""
    requirements: tuple[str, ...]
    """Requirement files with the tests' requirements, most telling first."""
    framework: str
    """Distribution that runs the tests; always installed."""
    tracer: str
    """Distribution that watches lines, installed where the interpreter has no `sys.monitoring`."""
    distributions: dict[str, str] = Field(default_factory=dict)
    """Module to distribution, where the names differ."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Setting of the framework to the plugin that understands it."""
    options: dict[str, str] = Field(default_factory=dict)
    """Command-line option to the plugin that understands it."""
    fixtures: dict[str, str] = Field(default_factory=dict)
    """Fixture to the plugin that gives it."""


class Run(_Table):
    """Command lines, without the interpreter."""

    collect: tuple[str, ...]
    """Lists the tests without running one."""
    test: tuple[str, ...]
    """Runs the tests."""


class ToolchainLimits(_Table):
    """What building and collecting may take."""

    build_seconds: float = Field(gt=0)
    """The whole build of an environment."""
    install_seconds: float = Field(gt=0)
    """One installation."""
    collect_seconds: float = Field(gt=0)
    """One collection."""
    interpreters: int = Field(ge=1)
    """Interpreters tried."""
    rounds: int = Field(ge=0)
    """Rounds of installing what a collection says is missing."""


class Profile(_Table):
    """One file of `critics/`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """The file's name without `.toml`."""
    language: Literal["python"]
    """Language of the sources."""
    report: Literal["pytest"]
    """Which of the critic's runners reads the results."""
    detect: Detect
    sources: Sources
    install: Install
    run: Run
    limits: ToolchainLimits


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A profile and its identity."""

    profile: Profile
    """What the file says."""
    hash: str
    """Hash of the file's bytes."""

    @property
    def id(self) -> str:
        """Identity, such as `pytest@0123456789abcdef`."""
        return f"{self.profile.name}@{self.hash}"

    def is_protected(self, path: str) -> bool:
        """True for a repository-relative path that no candidate may change."""
        return matcher(self.profile.sources.protected).match(path) is not None

    def is_source(self, path: str) -> bool:
        """True for a path that a candidate may change."""
        rules = self.profile.sources
        return (
            matcher(rules.include).match(path) is not None
            and matcher(rules.exclude).match(path) is None
            and not self.is_protected(path)
        )


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files of a tree that candidates may change, and why others were left out."""

    paths: tuple[str, ...]
    """Repository-relative POSIX paths, sorted."""
    skipped: dict[str, int]
    """Reason to number of files: `protected`, `excluded`, `symlink`, `not-utf8`, `syntax-error`,
    `empty`."""


def load(profiles: Iterable[tuple[str, Path]]) -> tuple[Toolchain, ...]:
    """Read profiles, given as name and file, in the order given.

    Raises `ToolchainError` for a file that cannot be read or says what no profile says.
    """
    return tuple(_load(name, path) for name, path in profiles)


def detect(toolchains: Sequence[Toolchain], checkout: Checkout) -> Toolchain:
    """The first toolchain that fits the commit; raises `ToolchainError` when none does."""
    paths = [entry.path for entry in checkout.entries()]
    for toolchain in toolchains:
        rules = toolchain.profile.detect
        fits = matcher(rules.files)
        if any(fits.match(path) for path in paths):
            return toolchain
        for path, word in rules.words.items():
            if word.encode() in (checkout.read(path) or b""):
                return toolchain
    tried = "; ".join(
        f"{toolchain.profile.name} (looks for {', '.join(toolchain.profile.detect.files)})"
        for toolchain in toolchains
    )
    raise ToolchainError(
        f"{checkout.name}: no toolchain profile fits this repository",
        cause=f"tried {tried}" if tried else "there is no profile",
        hint="a release's archive often leaves the tests out: name the git repository instead"
        if checkout.name.startswith("pypi:")
        else "add tests that a profile finds, or write a profile in critics/",
    )


def sources(tree: Path, toolchain: Toolchain) -> SourceFiles:
    """Find the files under `tree` that candidates may change.

    Symbolic links are not followed. Files that flywheel's own Python cannot parse are left out
    and counted: nothing can be said about changes to them. A file that an older Python has
    compiled (a base tree holds what its environment compiled) is not parsed again.
    """
    found: list[str] = []
    skipped: Counter[str] = Counter()
    rules = toolchain.profile.sources
    compiled: dict[str, frozenset[str]] = {}
    include, exclude = matcher(rules.include), matcher(rules.exclude)
    for path, is_link in _files(os.fspath(tree), ""):
        if include.match(path) is None:
            continue
        if is_link:
            skipped["symlink"] += 1
        elif toolchain.is_protected(path):
            skipped["protected"] += 1
        elif exclude.match(path) is not None:
            skipped["excluded"] += 1
        else:
            folder, _, name = path.rpartition("/")
            if folder not in compiled:
                compiled[folder] = _compiled(tree / folder / "__pycache__")
            reason = _unusable(tree / path, parses=name in compiled[folder])
            if reason is None:
                found.append(path)
            else:
                skipped[reason] += 1
    return SourceFiles(tuple(sorted(found)), dict(sorted(skipped.items())))


def other_files(tree: Path, *, watched: Container[str], tests: Iterable[str]) -> dict[str, bytes]:
    """Contents of the files that hold tests, and of the Python files that are not watched."""
    paths = {path for path, is_link in _files(os.fspath(tree), "") if not is_link}
    found: dict[str, bytes] = {}
    for path in sorted(paths.intersection(tests) | {p for p in paths if p.endswith(".py")}):
        if path not in watched:
            with contextlib.suppress(OSError):
                found[path] = (tree / path).read_bytes()
    return found


@cache
def matcher(globs: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern that matches a whole POSIX path when any of the globs does.

    `*` and `?` stay within a folder, `**` spans folders, and `**/` may be empty.
    """
    # Without a glob nothing matches: an empty look-ahead that always fails.
    return re.compile("|".join(_translate(glob) for glob in globs) or r"(?!)")


def _translate(glob: str) -> str:
    out = []
    for part in re.findall(r"\*\*/|/\*\*\Z|\*\*|\*|\?|\[[^]]+\]|[^*?\[]+|\[", glob):
        match part:
            case "**/":
                out.append("(?:.*/)?")
            case "/**":
                out.append("/.*")
            case "**":
                out.append(".*")
            case "*":
                out.append("[^/]*")
            case "?":
                out.append("[^/]")
            case _ if part.startswith("[") and part.endswith("]"):
                out.append(part)
            case _:
                out.append(re.escape(part))
    return "".join(out) + r"\Z"


def _files(folder: str, prefix: str) -> Iterator[tuple[str, bool]]:
    """Every file below a folder as (relative path, is a symbolic link)."""
    folders = [(folder, prefix)]
    while folders:
        place, start = folders.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                path = start + entry.name
                if entry.is_symlink():
                    yield path, True
                elif entry.is_dir():
                    if entry.name not in {"__pycache__", ".git"}:
                        folders.append((entry.path, path + "/"))
                elif entry.is_file():
                    yield path, False


def _compiled(folder: Path) -> frozenset[str]:
    """Source names with a compiled file of a Python that is no newer than this one."""
    try:
        found = [_PYC.fullmatch(path.name) for path in folder.iterdir()]
    except OSError:
        return frozenset()
    return frozenset(
        f"{one['stem']}.py" for one in found if one and int(one["minor"]) <= sys.version_info.minor
    )


def _unusable(path: Path, *, parses: bool) -> str | None:
    """Why a source file is of no use, None when it is."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return "not-utf8"
    if not text.strip():
        return "empty"
    if parses:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "syntax-error"
    return None


def _load(name: str, path: Path) -> Toolchain:
    try:
        data = path.read_bytes()
        table = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ToolchainError(f"{path}: the profile cannot be read", cause=str(error)) from error
    try:
        profile = Profile.model_validate(table)
    except pydantic.ValidationError as error:
        lines = [_explained(item) for item in error.errors()]
        raise ToolchainError(
            f"{path}: not a toolchain profile",
            cause="; ".join(lines),
            hint="compare with the packaged critics/pytest.toml",
        ) from error
    if profile.name != name:
        raise ToolchainError(
            f"{path}: the profile calls itself {profile.name!r}, its file {name!r}",
            hint="give both the same name",
        )
    return Toolchain(profile, bytes_hash(data))


def _explained(error: typing.Any) -> str:  # pydantic's own ErrorDetails
    """One problem of a profile in words, with the nearest known key for one nobody knows."""
    place = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(place)}: {error['msg']}"
    model: type[BaseModel] = Profile
    for part in place[:-1]:
        inner = model.model_fields[part].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    near = difflib.get_close_matches(place[-1], model.model_fields, n=1)
    return f"{'.'.join(place)}: unknown" + (f"; did you mean {near[0]!r}?" if near else "")
