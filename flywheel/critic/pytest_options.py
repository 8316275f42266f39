"""A suite's own pytest settings, and the options under which the critic runs it.

The suite's `addopts` are kept as far as they say *what* is tested and *how it behaves*
(`-m`, `--doctest-modules`, `--import-mode`, `-W`), and dropped where they say how results are
shown, measured, repeated, reordered or spread over processes: all that is the critic's.
"""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_WITH_VALUE = frozenset(
    {
        *("-n", "--numprocesses", "--dist", "--tx", "--maxprocesses", "--max-worker-restart"),
        *("--maxfail", "--durations", "--durations-min", "--reruns", "--reruns-delay"),
        *("--only-rerun", "--rerun-except", "--fail-on-flaky", "--retries", "--retry-delay"),
        *("--cov", "--cov-report", "--cov-config", "--cov-fail-under", "--cov-context"),
        *("--junitxml", "--junit-xml", "--junit-prefix", "--junitprefix", "--html", "--css"),
        *("--json-report-file", "--json", "--report-log", "--resultlog", "--log-file"),
        *("--tb", "--color", "--code-highlight", "--verbosity", "--show-capture", "--capture"),
        *("--log-cli-level", "--log-cli-format", "--log-file-level", "--pastebin", "--basetemp"),
        *("--timeout", "--timeout-method", "--session-timeout", "--random-order-bucket"),
        *("--random-order-seed", "--randomly-seed", "--count", "--repeat-scope", "--splits"),
        *("--group", "--lfnf", "--last-failed-no-failures", "--debug", "--alluredir"),
        *("--cov-precision", "--md", "--ctrf", "--testmon-forceselect", "--force-short-summary"),
    }
)
"""Dropped options that may take their value as the next word."""

_OPTIONAL_VALUE = frozenset({"--cov", "--debug", "--json-report", "--pastebin"})
"""Of those, the ones whose next word is a value only if it is no option."""

_DROPPED = re.compile(
    r"-x|--exitfirst|-[vqsl]+|--verbose|--quiet|--showlocals|--no-showlocals|-r[A-Za-z]+"
    r"|--lf|--ff|--nf|--sw|--sw-skip|--sw-reset|--last-failed|--failed-first|--new-first"
    r"|--stepwise|--stepwise-skip|--cache-clear|--cache-show|--pdb|--trace|--pdbcls.*"
    r"|--setup-show|--setup-plan|--setup-only|--full-trace|--no-header|--no-summary"
    r"|--fold-skipped|--no-fold-skipped|--disable-warnings|--disable-pytest-warnings"
    r"|--strict|--strict-markers|--strict-config|--xfail-tb|--no-cov.*|--cov-.*|--cov=.*"
    r"|--benchmark-.*|--random-order.*|--randomly-.*|--forked|--boxed|--self-contained-html"
    r"|--json-report.*|--mypy.*|--flake8.*|--pylint.*|--black|--isort|--ruff.*|--pycodestyle"
    r"|--pydocstyle|--codestyle|--docstyle|--flakes|--pep8|--cython-lint|--check-links"
    r"|--log-cli.*|--instafail|--testmon.*|--profile.*|--memray|--looponfail|--reruns.*"
    r"|--timeout.*|--emoji|--sugar|--force-sugar|-f|--old-summary|--nbval.*|--typeguard.*"
    r"|--beartype.*|--collect-only|--co|--allure.*|--github.*|--md-report.*|--picked.*"
)

_SHORT_VALUE = re.compile(r"-(?:n|d)\d*|-nauto|-nlogical")
_DROPPED_PLUGINS = re.compile(
    r"(?:no:)?(?:xdist.*|cov|pytest_cov|randomly|pytest_randomly|random_order|sugar|timeout"
    r"|pytest_timeout|rerunfailures|benchmark|cacheprovider|no:cacheprovider)"
)

_BLOCKED = {
    "randomly": "reorders tests and reseeds",
    "random_order": "reorders tests",
    "reverse": "reorders tests",
    "rerunfailures": "repeats failing tests",
    "pytest_rerunfailures": "repeats failing tests",
    "pytest-retry": "repeats failing tests",
    "flaky": "repeats failing tests",
    "pytest_forked": "forks by itself",
    "sugar": "rewrites the output",
    "pretty": "rewrites the output",
    "rich": "rewrites the output",
    "instafail": "rewrites the output",
    "testmon": "deselects tests",
    "pytest_checkdocs": "tests no code",
    "enabler": "switches plugins on by itself",
}
"""Entry points of plugins that are switched off, and why."""

_NEUTRAL = {
    "benchmark": ("--benchmark-disable",),
    "pytest_cov": ("--no-cov",),
    "timeout": ("--timeout=0",),
    "hypothesispytest": ("--hypothesis-seed=0",),
    "xdist": ("-n0",),
}
"""Entry points of plugins that stay, because tests use their fixtures, made harmless."""


@dataclass(frozen=True, slots=True)
class PytestSettings:
    """What the repository's own settings say."""

    file: str | None
    """The file they stand in, None without any."""
    addopts: tuple[str, ...]
    """Its options, as words."""
    keys: frozenset[str]
    """Every setting that is given a value."""
    required_plugins: tuple[str, ...]
    """Requirements of plugins it insists on."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A suite's options, sorted into kept and dropped."""

    kept: tuple[str, ...]
    """Words that stay."""
    dropped: tuple[str, ...]
    """Words that are the critic's business."""


def read_settings(read: Callable[[str], bytes | None]) -> PytestSettings:
    """Find the settings pytest would use in the root, in its own order of precedence."""
    for name in ("pytest.toml", ".pytest.toml"):
        table = _toml(read(name)).get("pytest")
        if isinstance(table, dict):
            return _settings(name, table)
    for name in ("pytest.ini", ".pytest.ini"):
        data = read(name)
        if data is not None:
            return _settings(name, _ini(data).get("pytest", {}))
    tool = _toml(read("pyproject.toml")).get("tool", {}).get("pytest")
    if isinstance(tool, dict) and tool:
        return _settings("pyproject.toml", tool.get("ini_options", tool))
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        found = _ini(read(name) or b"").get(section)
        if found is not None:
            return _settings(name, found)
    return PytestSettings(None, (), frozenset(), ())


def clean(addopts: Sequence[str]) -> Cleaned:
    """Sort a suite's options into those that stay and those that the critic replaces."""
    kept: list[str] = []
    dropped: list[str] = []
    words = list(addopts)
    while words:
        word = words.pop(0)
        name = word.partition("=")[0]
        following = words[0] if words else None
        if name == "-p" or (name.startswith("-p") and not name.startswith("--")):
            plugin = word[2:] or (words.pop(0) if words else "")
            target = dropped if _DROPPED_PLUGINS.fullmatch(plugin) else kept
            target += ["-p", plugin]
        elif name in _WITH_VALUE:
            dropped.append(word)
            takes = "=" not in word and following is not None
            if takes and name in _OPTIONAL_VALUE:
                takes = not str(following).startswith("-")
            if takes:
                dropped.append(words.pop(0))
        elif _DROPPED.fullmatch(word) or _SHORT_VALUE.fullmatch(word):
            dropped.append(word)
        else:
            kept.append(word)
            if name in {"-m", "-k", "-W", "-c", "-o"} and following is not None and word == name:
                kept.append(words.pop(0))
    return Cleaned(tuple(kept), tuple(dropped))


def critic_arguments(kept: Sequence[str], plugins: Iterable[str]) -> tuple[str, ...]:
    """The options of every run of the critic, given what is kept and which plugins there are.

    Warnings about unknown marks and settings are silenced, for a plugin that is switched off
    leaves its marks and settings behind, and a suite may make warnings errors.
    """
    found = sorted(set(plugins))
    arguments = ["-o", f"addopts={shlex.join(kept)}", "-o", "required_plugins="]
    arguments += ["-p", "no:cacheprovider"]
    for name in found:
        if name in _BLOCKED:
            arguments += ["-p", f"no:{name}"]
    for name in found:
        arguments += _NEUTRAL.get(name, ())
    arguments += ["-W", "ignore::pytest.PytestUnknownMarkWarning"]
    arguments += ["-W", "ignore::pytest.PytestConfigWarning"]
    return (*arguments, "--continue-on-collection-errors")


def blocked_plugins(plugins: Iterable[str]) -> dict[str, str]:
    """Those of the plugins that are switched off, and why."""
    return {name: _BLOCKED[name] for name in sorted(set(plugins)) if name in _BLOCKED}


def _settings(name: str, table: dict[str, object]) -> PytestSettings:
    def words(key: str) -> tuple[str, ...]:
        match table.get(key):
            case str(text):
                try:
                    return tuple(shlex.split(text))
                except ValueError:
                    return tuple(text.split())
            case list(items):
                return tuple(str(item) for item in items)
            case _:
                return ()

    keys = frozenset(key for key, value in table.items() if value not in ("", [], None))
    return PytestSettings(name, words("addopts"), keys, words("required_plugins"))


def _toml(data: bytes | None) -> dict[str, dict[str, object]]:
    try:
        return tomllib.loads((data or b"").decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _ini(data: bytes) -> dict[str, dict[str, object]]:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case
    try:
        parser.read_string(data.decode())
    except (UnicodeDecodeError, configparser.Error):
        return {}
    return {section: dict(parser[section]) for section in parser.sections()}
