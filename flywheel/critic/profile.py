"""What a toolchain's file says: typed, every key known, every misspelling told.

There are two kinds. A `PytestProfile` is judged by the critic's own lanes, a `CommandProfile` by
running a command and reading its report.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from flywheel.core.errors import ToolchainError
from flywheel.core.identity import bytes_hash
from flywheel.core.table import Table, read_table, validated
from flywheel.critic.reports import FORMATS


class Detect(Table):
    """When the profile fits a repository."""

    files: tuple[str, ...] = ()
    """Globs; one match of one file is enough."""
    words: dict[str, str] = Field(default_factory=dict)
    """File at the root to a word in it; one hit is enough."""
    contents: dict[str, str] = Field(default_factory=dict)
    """Glob of files to a word in one of them; one hit is enough. Looked at last."""
    priority: int = 0
    """Where several profiles fit and know as many sources, the highest is taken."""


class Sources(Table):
    """Which files a candidate may change."""

    include: tuple[str, ...]
    """Globs of source files."""
    exclude: tuple[str, ...]
    """Globs of those that are left alone: vendored, generated, documentation."""
    protected: tuple[str, ...]
    """Globs of what decides a verdict: tests, conftest files, settings."""


class Install(Table):
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


class Run(Table):
    """Command lines, without the interpreter."""

    collect: tuple[str, ...]
    """Lists the tests without running one."""
    test: tuple[str, ...]
    """Runs the tests."""
    fallbacks: tuple[tuple[str, ...], ...] = ()
    """Options tried one after the other where nothing is collected without."""
    django: tuple[str, ...] = ()
    """Options of a Django project whose settings only `manage.py` names, here `{settings}`."""


class ToolchainLimits(Table):
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


class PytestProfile(Table):
    """How a Python repository is tested with pytest: held warm, forked for each candidate."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """Its folder's name."""
    language: Literal["python"]
    """Language of the sources."""
    report: Literal["pytest"]
    """Results are read from pytest's own hooks, in process."""
    detect: Detect
    sources: Sources
    install: Install
    run: Run
    limits: ToolchainLimits


class Command(Table):
    """One command line, run in the root of the tree."""

    run: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments."""
    when: str = ""
    """Glob of a file that must be there for it to run; empty runs it always."""
    unless: str = ""
    """Glob of a file that must not be there."""
    optional: bool = False
    """True when the tests may work all the same where it fails; the failure is noted."""


class Tools(Table):
    """What must be on the machine."""

    programs: tuple[str, ...] = Field(min_length=1)
    """Programs, looked for on PATH."""
    locate: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Program to a command that prints where it really is, where the one on PATH is a proxy."""
    version: tuple[tuple[str, ...], ...] = Field(min_length=1)
    """Commands whose output is part of the environment's identity."""
    folders: tuple[str, ...] = ()
    """Folders below the user's home that the tools need and that are shown, read-only, where they
    are there: `.mix` holds what mix itself is extended with. `{home}` stands for the home."""
    hint: str
    """What a person does who lacks them."""


class Build(Table):
    """How a tree is made ready to be tested; what that leaves in the tree, candidates share."""

    definition: tuple[str, ...]
    """Globs of files whose content defines the environment."""
    fetch: tuple[Command, ...] = ()
    """Commands that need the package registry."""
    build: tuple[Command, ...] = ()
    """Commands that need none: compiling, so that a candidate only compiles what it changes."""
    shared: tuple[str, ...] = ()
    """Folders at the root that fetching and building fill: copied from a tree of the same
    definition, where there is one, instead of fetching again and building from nothing."""


class Test(Table):
    """How its tests are run."""

    command: tuple[str, ...] = Field(min_length=1)
    """Program and arguments; `{report}` stands for a path outside the tree to write to."""
    file: str = ""
    """File that results are in, `{report}` or one in the tree; empty: what the command prints."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables, for building too; `{repo}` stands for the tree."""
    module: str = ""
    """Pattern of which the first group, in the file `module_file`, is the reader's module name."""
    module_file: str = ""
    """File at the root in which `module` is looked for."""

    @field_validator("module")
    @classmethod
    def _has_a_group(cls, module: str) -> str:
        try:
            groups = re.compile(module).groups
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        if module and not groups:
            raise ValueError("the pattern has no group")
        return module


class CommandLimits(Table):
    """What building and testing may take."""

    build_seconds: float = Field(default=1800, gt=0)
    """The whole build."""
    test_seconds: float = Field(default=600, gt=0)
    """One run of the whole suite."""
    memory_mb: int = Field(default=2048, gt=0)
    """Memory of one run, files it writes included."""
    overlay_mb: int = Field(default=1024, gt=0)
    """What one run may write into the tree."""
    tmp_mb: int = Field(default=512, gt=0)
    """Size of /tmp."""
    file_mb: int = Field(default=512, gt=0)
    """Largest file."""
    processes: int = Field(default=1024, gt=0)
    """Processes and threads at once."""
    open_files: int = Field(default=4096, gt=0)
    """Open files of a process."""
    output_mb: int = Field(default=32, gt=0)
    """What one run may print."""


class CommandProfile(Table):
    """How any other repository is tested: by a command, whose report is read."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """Its folder's name."""
    language: str
    """Language of the sources."""
    operators: str = ""
    """Folder of `critics/` whose `operators.toml` it uses, `*` for those of all; empty uses its
    own."""
    report: str
    """Which reader reads the results (`critic.reports`)."""
    detect: Detect
    sources: Sources
    tools: Tools
    build: Build
    test: Test
    limits: CommandLimits = CommandLimits()

    @field_validator("report")
    @classmethod
    def _is_read(cls, report: str) -> str:
        if report not in FORMATS:
            raise ValueError(
                f"there is no reader {report!r}; there are pytest, {', '.join(FORMATS)}"
            )
        return report


Profile = PytestProfile | CommandProfile
"""What a `toolchain.toml` says."""


def load_profile(name: str, path: Path) -> tuple[Profile, str]:
    """The profile in a file, and the hash of the file.

    Raises `ToolchainError` for a file that cannot be read or says what no profile says.
    """
    table, data = read_table(path, ToolchainError)
    model: type[Profile] = PytestProfile if table.get("report") == "pytest" else CommandProfile
    packaged = "pytest" if model is PytestProfile else "go"
    hint = f"compare with the packaged critics/{packaged}/toolchain.toml"
    profile = validated(table, model, path, ToolchainError, what="a toolchain profile", hint=hint)
    if profile.name != name:
        raise ToolchainError(
            f"{path}: the profile calls itself {profile.name!r}, its folder {name!r}",
            hint="give both the same name",
        )
    return profile, bytes_hash(data)
