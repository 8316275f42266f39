"""Toolchains: how the repositories of one kind are installed, tested and changed.

A toolchain is a folder of the content folder `critics/`: its `toolchain.toml` is read into a typed
`Profile`, its `operators.toml`, where the language is not Python, says how code is mutated. Its
identity has the hash of both: verdicts name it, so a changed toolchain can never be mistaken for
another. The profile also says which files a candidate may change (`sources`) and which decide a
verdict and so may not (`is_protected`).
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

from flywheel.candidates import GrammarLanguage, Language, PythonLanguage, SeveralLanguages
from flywheel.core.errors import NoToolchainError, ToolchainError, UsageError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.syntax import parse
from flywheel.critic.profile import (
    CommandProfile,
    Detect,
    Profile,
    PytestProfile,
    load_profile,
)
from flywheel.critic.reports import FORMATS
from flywheel.git import Checkout

PROFILE, OPERATORS = "toolchain.toml", "operators.toml"
"""Files of a toolchain's folder."""
EVERY = "*"
"""Stands for the operators of every language."""
MOST_READ = 500
"""Files looked into to see whether a toolchain fits."""

_PYC = re.compile(r"(?P<stem>.+)\.cpython-3(?P<minor>\d+)\.pyc")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A profile, its language, and its identity."""

    profile: Profile
    """What the file says."""
    hash: str
    """Hash of the files' bytes."""
    operators: tuple[Path, ...] = ()
    """Every `operators.toml` that it uses; none for Python, whose operators are classes."""

    @property
    def id(self) -> str:
        """Identity, such as `pytest@0123456789abcdef`."""
        return f"{self.profile.name}@{self.hash}"

    @property
    def pytest(self) -> PytestProfile:
        """The profile of a repository that pytest tests; for others there is no such thing."""
        assert isinstance(self.profile, PytestProfile)
        return self.profile

    def language(self) -> Language:
        """How files are changed; raises `ToolchainError` for malformed operators."""
        grammars = [GrammarLanguage.load(path) for path in self.operators]
        if len(grammars) == 1:
            return grammars[0]
        if not grammars:
            return PythonLanguage()
        return SeveralLanguages(
            [((".py",), PythonLanguage()), *((one.suffixes, one) for one in grammars)]
        )

    def tested_by(self, command: str, report: str) -> Toolchain:
        """The same with a user's own test command.

        `report` is a format, or a format and the file it is written to: `junit:report.xml`. Raises
        `UsageError` for a format that nothing reads.
        """
        profile = self.profile
        assert isinstance(profile, CommandProfile)
        name, _, file = report.partition(":")
        if name not in FORMATS:
            raise UsageError(
                f"there is no reader of reports {name!r}", hint=_did_you_mean(name, FORMATS)
            )
        words = tuple(word.replace("{command}", command) for word in profile.test.command)
        test = profile.test.model_copy(update={"command": words, "file": file})
        return replace(
            self,
            profile=profile.model_copy(update={"report": name, "test": test}),
            hash=content_hash(self.hash, command, report),
        )

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
    """Read toolchains, given as name and folder, in the order given.

    Raises `ToolchainError` for a file that cannot be read or says what no profile says.
    """
    folders = dict(profiles)
    return tuple(_load(name, folder, folders) for name, folder in folders.items())


def _load(name: str, folder: Path, folders: Mapping[str, Path]) -> Toolchain:
    profile, identity = load_profile(name, folder / PROFILE)
    if isinstance(profile, PytestProfile):
        return Toolchain(profile, identity)
    wanted = [*folders] if profile.operators == EVERY else [profile.operators or name]
    found = [folders[one] / OPERATORS for one in wanted if one in folders]
    found = [path for path in found if path.is_file()]
    if not found:
        raise ToolchainError(
            f"{folder / PROFILE}: there is no {OPERATORS} in critics/{wanted[0]}",
            hint="write one, or name the toolchain whose operators it uses: operators = 'go'",
        )
    parts = [bytes_hash(path.read_bytes()) for path in found]
    return Toolchain(profile, content_hash(identity, *parts), tuple(found))


def detect(
    toolchains: Sequence[Toolchain], checkout: Checkout, *, wanted: str | None = None
) -> Toolchain:
    """The toolchain that fits the commit and knows most of its files as sources.

    `wanted` names one, whether it fits or not. Raises `ToolchainError` when none does.
    """
    if wanted is not None:
        found = next((one for one in toolchains if one.profile.name == wanted), None)
        if found is None:
            names = [one.profile.name for one in toolchains]
            raise ToolchainError(
                f"there is no toolchain {wanted!r}", hint=_did_you_mean(wanted, names)
            )
        return found
    paths = [entry.path for entry in checkout.entries()]
    fitting = [one for one in toolchains if _fits(one.profile.detect, paths, checkout)]
    if fitting:
        return max(
            fitting,
            key=lambda one: (sum(map(one.is_source, paths)), one.profile.detect.priority),
        )
    tried = "; ".join(
        f"{toolchain.profile.name} (looks for {_looked_for(toolchain.profile.detect)})"
        for toolchain in toolchains
    )
    raise NoToolchainError(
        f"{checkout.name}: no toolchain profile fits this repository",
        cause=f"tried {tried}" if tried else "there is no profile",
        hint="a release's archive often leaves the tests out: name the git repository instead"
        if checkout.name.startswith("pypi:")
        else "add tests that a profile finds, or write a profile in critics/",
    )


def _did_you_mean(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _fits(rules: Detect, paths: Sequence[str], checkout: Checkout) -> bool:
    fits = matcher(rules.files)
    if any(fits.match(path) for path in paths):
        return True
    if any(word.encode() in (checkout.read(path) or b"") for path, word in rules.words.items()):
        return True
    return any(
        word.encode() in (checkout.read(path) or b"")
        for glob, word in rules.contents.items()
        for path in islice(filter(matcher((glob,)).match, paths), MOST_READ)
    )


def _looked_for(rules: Detect) -> str:
    words = [*rules.words.items(), *rules.contents.items()]
    return ", ".join([*rules.files, *(f"{word!r} in {path}" for path, word in words)])


def sources(tree: Path, toolchain: Toolchain) -> SourceFiles:
    """Find the files under `tree` that candidates may change.

    Symbolic links are not followed. Python that flywheel's own Python cannot parse is left out
    and counted: nothing can be said about changes to it. A file that an older Python has
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
            parses = not path.endswith(".py") or name in compiled[folder]
            reason = _unusable(tree / path, parses=parses)
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
            parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "syntax-error"
    return None
