"""The settings tree: one typed record, four layers, and where each value came from.

A value is looked for in this order; the first layer that has it wins:

1. a flag of the command line;
2. an environment variable, `FLYWHEEL_<SECTION>_<SETTING>`;
3. the nearest `flywheel.toml`, or `pyproject.toml` with a `[tool.flywheel]` table, walking up
   from the workspace (in one folder, `flywheel.toml` goes first);
4. the user's own `flywheel.toml` in their configuration folder;
5. the default written here.

The layers are merged before they are validated and each is kept, so `origin` can tell where a
value came from and an error can name the file it stands in. Nothing here touches the disk but
`load`, and nothing is written.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flywheel.core.errors import UsageError

FILE_NAME = "flywheel.toml"
"""Name of the project's and of the user's settings file."""

DEFAULT_ORIGIN = "default"
"""What `Configuration.origin` says of a value that no layer sets."""

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd]\s*)+|\d+(?:\.\d+)?")


def parse_duration(value: object) -> object:
    """Turn `"90"`, `"10m"` or `"1h30m"` into seconds; anything but a string is passed on.

    Raises `ValueError` when a string is no duration.
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{value!r} is no duration; write seconds, or 90s, 10m, 1h30m")
    return sum(
        float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)\s*([smhd]?)", text)
    )


def _split(value: object) -> object:
    """Let a list be written as `a,b` where only text can be written (variables, flags)."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _split_each(value: object) -> object:
    """The same where a flag may be given several times, too: `--source a,b --source c`."""
    value = _split(value)
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return [name for part in value for name in map(str.strip, part.split(",")) if name]
    return value


def _expand(value: object) -> object:
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111  a str may be no path yet


Seconds = Annotated[float, BeforeValidator(parse_duration)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_split)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_each)]
UserPath = Annotated[Path, BeforeValidator(_expand)]


class Section(BaseModel):
    """Base of the sections: frozen, nothing extra, each field's sentence is its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class HarvestSettings(Section):
    """What a harvest looks for and how long it may take."""

    python: UserPath | None = None
    """Python interpreter of the environment to test in; none: one is built."""
    install: str | None = None
    """How to install the repository, as arguments of `uv pip install`; none: found out."""
    source: Names = ("mutated",)
    """Where from: "mutated" code, fixes "reverted" or "mined", bugs of these "combined"."""
    history: int | None = Field(default=None, ge=2)
    """How many releases of a package are laid down as its history; none: the newest alone."""
    paths: Patterns = ()
    """Only change files that match one of these patterns; none: every file but the tests."""
    exclude: Patterns = ()
    """Never change files that match one of these patterns."""
    since: str | None = None
    """Only change definitions that differ from where the history left this revision; none: all."""
    operators: Names = ()
    """Only use these operators or families of operators; none: all."""
    calibrate: bool = True
    """Draw mutation operators as often as the bug fixes of the repository's history suggest."""
    max_candidates: int = Field(default=2000, ge=0)
    """Judge at most this many candidates; 0: all there are."""
    max_examples: int | None = Field(default=None, ge=1)
    """Stop after this many examples were kept; none: no limit."""
    time_limit: Seconds | None = Field(default=None, gt=0)
    """Stop after this long, as seconds or "10m", "1h30m"; none: no limit."""
    jobs: int | None = Field(default=None, ge=1)
    """How many candidates are judged at once; none: one a core."""
    seed: int = 0
    """Seed of every random choice; the same seed gives the same candidates."""
    baseline_runs: int = Field(default=3, ge=1)
    """How often the suite is run on the unchanged code, to know its flaky tests."""
    fail_fast: bool = False
    """Stop a candidate's tests at the first failure; faster, and loses the other failing ids."""
    toolchain: str | None = None
    """Toolchain to use, by its folder in critics/; none: the one that fits most of the files."""
    test_command: str | None = None
    """Command line that runs the tests, for a repository that no toolchain fits."""
    test_report: str = "tap"
    """How its results are read: tap, junit …, from what it prints or from a file: junit:out.xml."""
    isolation: Literal["auto", "S3", "S3-soft", "S2"] = "auto"
    """Sandbox level to insist on; auto: the best this machine gives."""


class SandboxSettings(Section):
    """What one candidate may use before it is stopped."""

    memory_mb: int = Field(default=1024, ge=16)
    """Memory, in MiB."""
    pids: int = Field(default=128, ge=8)
    """Processes and threads."""
    overlay_mb: int = Field(default=256, ge=1)
    """What it may write in its copy of the repository, in MiB."""
    tmp_mb: int = Field(default=128, ge=1)
    """What it may write in /tmp, in MiB."""
    output_mb: int = Field(default=1, ge=1)
    """What it may print, in MiB."""
    wall_factor: float = Field(default=10.0, ge=1)
    """Wall time, as a multiple of what its tests took on the unchanged code."""
    wall_floor_seconds: float = Field(default=2.0, gt=0)
    """Wall time that is always given, in seconds."""


class PathSettings(Section):
    """Where things are kept and where content is found."""

    cache: UserPath | None = None
    """Folder of built environments and copies of repositories; none: the user's cache folder."""
    critics: UserPath | None = None
    """Folder of your own toolchain profiles; none: `critics/` of the workspace."""
    metrics: UserPath | None = None
    """Folder of your own metrics; none: `metrics/` of the workspace."""
    datasets: UserPath | None = None
    """Folder of your own dataset recipes; none: `datasets/` of the workspace."""


class Settings(Section):
    """Every setting there is."""

    harvest: HarvestSettings = HarvestSettings()
    sandbox: SandboxSettings = SandboxSettings()
    paths: PathSettings = PathSettings()


_SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {"harvest": HarvestSettings, "sandbox": SandboxSettings, "paths": PathSettings}
)


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says, not yet validated."""

    values: Mapping[str, object]
    """Raw value by dotted name, such as `harvest.jobs`."""
    origins: Mapping[str, str]
    """Where each of those values stands, as shown to a user."""


@dataclass(frozen=True, slots=True)
class SettingValue:
    """One setting as `flywheel config show` prints it."""

    name: str
    """Dotted name, such as `harvest.jobs`."""
    value: object
    """The value in force."""
    origin: str
    """Flag, variable or file that set it, or `default`."""
    description: str
    """Its one sentence."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in force, and where each came from."""

    settings: Settings
    """The validated tree."""
    origins: Mapping[str, str]
    """Origin by dotted name, of those that some layer sets."""
    files: tuple[Path, ...]
    """The settings files that were read, the nearest first."""

    def origin(self, setting: str) -> str:
        """Say where the value of a setting, such as `harvest.jobs`, came from.

        Raises `UsageError` when there is no such setting.
        """
        if setting not in setting_names():
            raise _unknown(setting, "the question")
        return self.origins.get(setting, DEFAULT_ORIGIN)

    def __iter__(self) -> Iterator[SettingValue]:
        """Every setting, in the tree's order."""
        for section, model in _SECTIONS.items():
            values = getattr(self.settings, section)
            for field, info in model.model_fields.items():
                name = f"{section}.{field}"
                yield SettingValue(
                    name, getattr(values, field), self.origin(name), info.description or ""
                )


def setting_names() -> tuple[str, ...]:
    """Dotted names of all settings, in the tree's order."""
    return tuple(
        f"{section}.{field}" for section, model in _SECTIONS.items() for field in model.model_fields
    )


def variable_name(setting: str) -> str:
    """The environment variable of a setting: `FLYWHEEL_HARVEST_JOBS` for `harvest.jobs`."""
    return "FLYWHEEL_" + setting.replace(".", "_").upper()


def user_file() -> Path:
    """Where the user's own settings file is looked for."""
    return platformdirs.user_config_path("flywheel") / FILE_NAME


def load(
    start: Path,
    *,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    user: Path | None = None,
) -> Configuration:
    """Read every layer that applies at the folder `start` and validate the result.

    `flags` maps dotted names to values; a None there means the flag was not given. `environ` is
    the environment (`os.environ` when None), `user` the user's file (`user_file()` when None).

    Raises `UsageError` for an unknown setting, a wrong value or a file that is no TOML.
    """
    nearest = _nearest_file(start)
    candidates = (nearest, user if user is not None else user_file())
    files = tuple(file for file in candidates if file is not None and file.is_file())
    layers = [
        _flag_layer(flags or {}),
        _environment_layer(os.environ if environ is None else environ),
        *(_file_layer(file) for file in files),
    ]
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in reversed(layers):
        values.update(layer.values)
        origins.update(layer.origins)
    return Configuration(_validate(values, origins), MappingProxyType(origins), files)


def template() -> str:
    """A `flywheel.toml` with every setting commented out at its default, each with its sentence."""
    lines = ["# Settings of flywheel for this project. Every line is optional."]
    for section, model in _SECTIONS.items():
        lines += ["", f"[{section}]"]
        for field, info in model.model_fields.items():
            lines.append(f"# {info.description}")
            default = info.get_default(call_default_factory=True)
            lines.append(f"# {field} = {_toml(default)}".rstrip())
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case _:
            return str(value)


def _nearest_file(start: Path) -> Path | None:
    folder = start.absolute()
    for parent in (folder, *folder.parents):
        own = parent / FILE_NAME
        if own.is_file():
            return own
        project = parent / "pyproject.toml"
        if project.is_file() and "flywheel" in _table(_read(project).get("tool"), project, "tool"):
            return project
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} is not valid TOML.", cause=str(error), hint="Mend the file, then run again."
        ) from error
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read.", cause=str(error), hint="Check its permissions."
        ) from error


def _table(value: object, file: Path, name: str) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case dict():
            return value
        case _:
            raise UsageError(
                f"{name!r} in {file} must be a table.",
                cause=f"It is {value!r}.",
                hint=f"Write [{name}] on a line of its own and the settings beneath it.",
            )


def _file_layer(file: Path) -> Layer:
    tree = _read(file)
    shown = ""
    if file.name == "pyproject.toml":
        tree = tree["tool"]["flywheel"]
        shown = " [tool.flywheel]"
    values: dict[str, object] = {}
    for section, content in tree.items():
        if section not in _SECTIONS:
            raise _unknown(section, f"{file}{shown}", sections=True)
        for field, value in _table(content, file, section).items():
            name = f"{section}.{field}"
            if field not in _SECTIONS[section].model_fields:
                raise _unknown(name, f"{file}{shown}")
            values[name] = _beside(file, value) if _is_path(name) else value
    return Layer(values, dict.fromkeys(values, f"{file}{shown}"))


def _is_path(name: str) -> bool:
    section, _, field = name.partition(".")
    return _SECTIONS[section].model_fields[field].annotation == UserPath | None


def _beside(file: Path, value: object) -> object:
    """A relative path in a file is relative to that file, not to where the command is run."""
    if isinstance(value, str) and not value.startswith("~"):
        return str(file.parent / value)
    return value


def _environment_layer(environ: Mapping[str, str]) -> Layer:
    known = {variable_name(name): name for name in setting_names()}
    prefixes = tuple(f"FLYWHEEL_{section.upper()}_" for section in _SECTIONS)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for variable, value in environ.items():
        if variable in known:
            if value:  # an empty variable is how a shell says "not set"
                values[known[variable]] = value
                origins[known[variable]] = variable
        elif variable.startswith(prefixes):
            raise UsageError(
                f"The environment variable {variable} is no setting.",
                hint=_did_you_mean(variable, tuple(known)),
            )
    return Layer(values, origins)


def _flag_layer(flags: Mapping[str, object]) -> Layer:
    values: dict[str, object] = {}
    for name, value in flags.items():
        if name not in setting_names():
            raise _unknown(name, "the command line")
        if value is not None:
            values[name] = value
    return Layer(values, {name: f"--{name.partition('.')[2].replace('_', '-')}" for name in values})


def _validate(values: Mapping[str, object], origins: Mapping[str, str]) -> Settings:
    tree: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        section, _, field = name.partition(".")
        tree.setdefault(section, {})[field] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:2])
        more = error.error_count() - 1
        raise UsageError(
            f"The setting {name} has a wrong value: {first['input']!r}"
            f" (from {origins.get(name, DEFAULT_ORIGIN)}).",
            cause=first["msg"].removeprefix("Value error, "),
            hint=f"{more} more setting(s) are wrong too." if more else None,
        ) from error


def _unknown(name: str, place: str, *, sections: bool = False) -> UsageError:
    kind = "section" if sections else "setting"
    known = tuple(_SECTIONS) if sections else setting_names()
    return UsageError(
        f"There is no {kind} {name!r}, asked for in {place}.", hint=_did_you_mean(name, known)
    )


def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
    field = word.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == field and "." in word]
    near = near or difflib.get_close_matches(word, known, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    return "There are: " + ", ".join(known) + "."
