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
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from flywheel.core.address import without_credentials
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
    """Where from: "mutated", fixes "reverted" or "mined", "combined" ones, "written" by a model."""
    history: int | None = Field(default=None, ge=2)
    """How many releases of a package are laid down as its history; none: the newest alone."""
    modes: Names = ()
    """Of "insert", "reimplement", "refactor", "feature", "attempt"; none: the first four."""
    samples: int = Field(default=1, ge=1)
    """How often a model is asked for one function in one mode."""
    context: int = Field(default=0, ge=0)
    """Tokens of the repository's outline in every question; a provider's cache shares it."""
    generator: str | None = None
    """Language model that writes, by its profile; none: lm.generator, lm.default, or the local."""
    batch: bool = False
    """Ask the model in batches: half the price, within a day; for anthropic/ models."""
    estimate: bool = False
    """Only say what a model would be asked and what that can cost; ask and judge nothing."""
    max_usd: float | None = Field(default=None, gt=0)
    """US dollars that models may cost; none: no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens that models may read and write; none: no limit."""
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
    """Least sandbox level to judge in, S3 or S3-soft; auto: the best this machine gives."""


class CorrectSettings(Section):
    """How models are asked to mend what is stored."""

    corrector: str | None = None
    """Language model that mends, by its profile; none: lm.corrector, lm.default, or the local."""
    program: str | None = None
    """Program that mends, MODULE or MODULE@HASH, by lm.student or corrector; none: a question."""
    turns: int = Field(default=2, ge=1)
    """Answers a conversation may have: each after the first is told how the last one failed."""
    samples: int = Field(default=1, ge=1)
    """Conversations about one example."""
    answer: Literal["definition", "line"] = "definition"
    """What a model writes anew: the "definition" around the bug, or one "line" of it."""
    show_tests: bool = False
    """Show the source of the failing test too; who sees it can write for it."""
    max_usd: float | None = Field(default=None, gt=0)
    """US dollars that models may cost; none: no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens that models may read and write; none: no limit."""
    time_limit: Seconds | None = Field(default=None, gt=0)
    """Stop after this long, as seconds or "10m", "1h30m"; none: no limit."""
    batch: bool = False
    """Ask in batches, at half the price and in the provider's own time."""
    estimate: bool = False
    """Only say what the first turn would ask and what that can cost; ask and judge nothing."""
    seed: int = 0
    """Seed of the models' sampling, where they take one."""


class AuditSettings(Section):
    """How tests are tried with wrong fixes, and which are weak."""

    mutants: int = Field(default=20, ge=0)
    """Mutants that are tried of each definition, beside empty bodies and early returns."""
    least: int = Field(default=8, ge=1)
    """Wrong fixes of a definition below which its tests get no score."""
    weak: float = Field(default=0.8, ge=0, le=1)
    """Share of wrong fixes rejected below which tests are weak."""


class EvaluateSettings(Section):
    """How versions of programs are run on rows, and compared."""

    metric: str = "tests_pass"
    """Metric by which answers are measured."""
    student: str | None = None
    """Language model that runs the program, by its profile; none: lm.student, lm.default, local."""
    max_usd: float | None = Field(default=None, gt=0)
    """US dollars that models may cost, a judge among them; none: no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens that models may read and write; none: no limit."""
    time_limit: Seconds | None = Field(default=None, gt=0)
    """Stop after this long, as seconds or "10m", "1h30m"; none: no limit."""
    seed: int = 0
    """Seed of the draw of rows, and of the draws that an interval is made of."""


class MetricSettings(Section):
    """How answers are measured."""

    judge: str | None = None
    """Language model that judges, by its profile; none: lm.judge, lm.default, or the local."""
    max_usd: float | None = Field(default=None, gt=0)
    """US dollars that a judge may cost; none: what the command may, whose answers it judges."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens that a judge may read and write; none: what the command may."""
    seed: int = 0
    """Seed of the draws that an interval is made of, and of the models' sampling."""


class OptimizeSettings(Section):
    """How programs are made better."""

    dataset: str = "repair-sft"
    """Dataset that is learnt from and compared on: its newest version, or one as NAME@HASH."""
    metric: str = "tests_pass"
    """Metric that an optimiser goes by."""
    optimizer: str = "miprov2"
    """Optimiser, by its name: miprov2, bootstrap-finetune, bootstrap-fewshot, gepa, and others."""
    student: str | None = None
    """Language model that runs the program, by its profile; none: lm.student, lm.default, local."""
    start: str | None = None
    """Version to begin with, as HASH or MODULE@HASH; none: the program as its code has it."""
    teacher: str | None = None
    """Language model whose answers are learnt from; none: what is known, else the student's."""
    proposer: str | None = None
    """Language model that proposes instructions; none: lm.proposer, lm.default, or the local."""
    auto: Literal["light", "medium", "heavy"] = "light"
    """How much work, where no number of trials is given."""
    trials: int | None = Field(default=None, ge=1)
    """States of the program that are scored, about; none: as auto says."""
    rows: int | None = Field(default=None, ge=2)
    """Rows that are learnt from, and rows that trials are scored on, at the most; none: by auto."""
    gate_rows: int = Field(default=200, ge=0)
    """Held-out rows on which what it gives is compared with what is deployed; 0: no gate."""
    demos: int = Field(default=4, ge=0)
    """Examples that a step of a program may show its model."""
    threshold: float = Field(default=1.0, gt=0, le=1)
    """Value from which an answer is one to learn from."""
    max_usd: float | None = Field(default=None, gt=0)
    """US dollars that models may cost; none: no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens that models may read and write; none: no limit."""
    time_limit: Seconds | None = Field(default=None, gt=0)
    """Stop after this long, as seconds or "10m", "1h30m"; none: no limit."""
    seed: int = 0
    """Seed of the draw of rows, and of the optimiser."""


class SpinSettings(Section):
    """How harvest, dataset, optimiser and gate go round."""

    rounds: int = Field(default=3, ge=1)
    """Rounds, those that are done already among them."""
    recipe: str = "repair-sft"
    """Recipe of the dataset that each round builds."""
    optimizer: str | None = None
    """Optimiser that looks for the challenger; none: the one of the settings of optimize."""
    metric: str = "tests_pass"
    """Metric that the optimiser and the gate go by."""
    student: str | None = None
    """Language model that runs the program in all stages, by profile; none: optimize.student."""
    max_candidates: int = Field(default=500, ge=1)
    """Candidates that a round draws of each repository."""
    attempts: int = Field(default=100, ge=0)
    """Training examples that what is deployed tries to mend in a round."""
    rows: int | None = Field(default=None, ge=1)
    """Rows of the hold-out that the gate goes by, drawn by the seed; none: all."""
    patience: int = Field(default=2, ge=1)
    """Rounds in a row that the champion may win before the spin ends."""
    max_usd: float | None = Field(default=None, gt=0)
    """US dollars that models may cost in all rounds; none: no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens that models may read and write in all rounds; none: no limit."""
    time_limit: Seconds | None = Field(default=None, gt=0)
    """Stop after this long, as seconds or "10m", "1h30m"; none: no limit."""
    seed: int = 0
    """Seed of every random choice."""


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


class LMProfile(Section):
    """A language model: how it is reached, and what it may use."""

    model: str = Field(min_length=1)
    """"anthropic/MODEL", "openai/MODEL", "gemini/MODEL" …, "local" or "local/FILE.gguf"."""
    adapter: UserPath | None = None
    """LoRA adapter of a local model, a GGUF file; none: the model as it is."""
    api_base: str | None = None
    """Address of the server; none: the provider's own."""
    api_key_env: str | None = None
    """Environment variable that holds the key; none: the one the provider's own tools read."""
    api_key_keyring: str | None = None
    """Key in the system's keyring, as "service/user"; none: it is not looked for there."""
    max_tokens: int = Field(default=2048, ge=1)
    """Tokens an answer may have; of "local" 512 where neither this nor a program says how many."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Of sampling; none: the model's own."""
    context: int = Field(default=8192, ge=256)
    """Tokens that a local model can hold."""
    slots: int = Field(default=1, ge=1)
    """Questions a local model computes at once; beside others an answer may be another one."""
    threads: int | None = Field(default=None, ge=1)
    """Processors that a local model computes on; none: all but one, for tests run beside it."""
    timeout: Seconds = Field(default=300, gt=0)
    """How long one answer may take."""
    concurrency: int = Field(default=8, ge=1)
    """Calls under way at once."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Calls a minute; none: no limit."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Tokens read and written a minute; none: no limit."""
    retries: int = Field(default=4, ge=0)
    """How often a call is made again that failed for a passing reason."""
    batch_poll: Seconds = Field(default=60, gt=0)
    """Longest pause between two looks at a batch, or a training; the first are shorter."""
    patience: Seconds = Field(default=3600, gt=0)
    """How long an outage, or a provider that says "later", is waited out."""
    input_price: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens read; none: as published, where that is known."""
    cached_price: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens that the provider had cached; none: as for any read."""
    output_price: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens written; none: as published."""
    training_price: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens that a provider trains it on; none: it is not trained."""
    fallbacks: Names = ()
    """Profiles that stand in while this one cannot answer, in order."""

    @field_validator("api_base")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/\s]", value):
            raise ValueError(f"{value!r} is no address; write http://… or https://…")
        if value is not None and (bare := without_credentials(value)) != value:
            # It is part of what is kept of every answer, and of every version.
            raise ValueError(f"write {bare}, and name the key's variable in api_key_env")
        return value

    @model_validator(mode="after")
    def _adapts_a_local_model(self) -> LMProfile:
        if self.adapter is not None and self.model.partition("/")[0] != "local":
            raise ValueError(f"an adapter is for a model that is served here, not {self.model}")
        return self

    @model_validator(mode="after")
    def _has_both_prices(self) -> LMProfile:
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("input_price and output_price go together")
        return self


class Settings(Section):
    """Every setting there is."""

    harvest: HarvestSettings = HarvestSettings()
    correct: CorrectSettings = CorrectSettings()
    audit: AuditSettings = AuditSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    metric: MetricSettings = MetricSettings()
    optimize: OptimizeSettings = OptimizeSettings()
    spin: SpinSettings = SpinSettings()
    sandbox: SandboxSettings = SandboxSettings()
    paths: PathSettings = PathSettings()
    lm: dict[str, LMProfile] = Field(default_factory=dict)
    """Language models by the name of their profile: a role's, or any other."""


_SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "harvest": HarvestSettings,
        "correct": CorrectSettings,
        "audit": AuditSettings,
        "evaluate": EvaluateSettings,
        "metric": MetricSettings,
        "optimize": OptimizeSettings,
        "spin": SpinSettings,
        "sandbox": SandboxSettings,
        "paths": PathSettings,
    }
)
_PROFILES = "lm"
"""The section that holds tables of the user's own naming, one a language model."""
_PROFILE_NAME = re.compile(r"[A-Za-z0-9_-]+")


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
        """Every setting, in the tree's order; of language models what the profiles say."""
        for section, model in _SECTIONS.items():
            values = getattr(self.settings, section)
            for field, info in model.model_fields.items():
                name = f"{section}.{field}"
                yield SettingValue(
                    name, getattr(values, field), self.origin(name), info.description or ""
                )
        for profile, settings in self.settings.lm.items():
            for field, info in LMProfile.model_fields.items():
                name = f"{_PROFILES}.{profile}.{field}"
                origin = self.origins.get(name, DEFAULT_ORIGIN)
                if origin != DEFAULT_ORIGIN:
                    yield SettingValue(
                        name, getattr(settings, field), origin, info.description or ""
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
    lines += [
        "",
        "# Language models have tables of their own: [lm.ROLE] of a generator, corrector, judge,",
        "# proposer or student, [lm.default] for those without, [lm.NAME] for --generator NAME.",
        "# [lm.default]",
    ]
    for field, info in LMProfile.model_fields.items():
        default = info.get_default(call_default_factory=True)
        told = "" if info.is_required() else _toml(default)
        lines += [f"# {info.description}", f"# {field} = {told}".rstrip()]
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
        if section == _PROFILES:
            values |= _profile_values(_table(content, file, section), file, shown)
            continue
        if section not in _SECTIONS:
            raise _unknown(section, f"{file}{shown}", sections=True)
        for field, value in _table(content, file, section).items():
            name = f"{section}.{field}"
            if field not in _SECTIONS[section].model_fields:
                raise _unknown(name, f"{file}{shown}")
            values[name] = _beside(file, value) if _is_path(_SECTIONS[section], field) else value
    return Layer(values, dict.fromkeys(values, f"{file}{shown}"))


def _profile_values(tables: Mapping[str, object], file: Path, shown: str) -> dict[str, object]:
    """Raw values of language models by dotted name, such as `lm.corrector.model`."""
    values: dict[str, object] = {}
    for profile, content in tables.items():
        if not _PROFILE_NAME.fullmatch(profile):
            raise UsageError(
                f"{profile!r} in {file}{shown} is no name of a language model's profile.",
                hint="Letters, digits, - and _: [lm.corrector]",
            )
        for field, value in _table(content, file, f"{_PROFILES}.{profile}").items():
            name = f"{_PROFILES}.{profile}.{field}"
            if field not in LMProfile.model_fields:
                known = tuple(f"{_PROFILES}.{profile}.{one}" for one in LMProfile.model_fields)
                raise UsageError(
                    f"There is no setting {name!r}, asked for in {file}{shown}.",
                    hint=_did_you_mean(name, known),
                )
            values[name] = _beside(file, value) if _is_path(LMProfile, field) else value
    return values


def _is_path(section: type[Section], field: str) -> bool:
    return section.model_fields[field].annotation == UserPath | None


def _beside(file: Path, value: object) -> object:
    """A relative path in a file is relative to that file, not to where the command is run."""
    if isinstance(value, str) and not value.startswith("~"):
        return str(file.parent / value)
    return value


def _environment_layer(environ: Mapping[str, str]) -> Layer:
    known = {variable_name(name): name for name in setting_names()}
    prefixes = tuple(f"FLYWHEEL_{section.upper()}_" for section in (*_SECTIONS, _PROFILES))
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
    tree: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, *profile, field = name.split(".")
        table = tree.setdefault(section, {})
        for key in profile:
            table = table.setdefault(key, {})
        table[field] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        depth = 3 if first["loc"][0] == _PROFILES else 2
        name = ".".join(str(part) for part in first["loc"][:depth])
        more = error.error_count() - 1
        raise UsageError(
            f"The setting {name} has a wrong value: {without_credentials(repr(first['input']))}"
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
