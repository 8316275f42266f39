"""Building, locking and finding again the environment in which a repository's tests run.

Everything of the repository that runs, runs in the box: the virtual environment is made inside
it at `/env`, the tree is at `/repo`, and those paths never change, so an editable install keeps
working. The network is open for installations only. Of the user's machine the box sees the
interpreter, uv, and the package index's configuration.

An environment is keyed by what defines it: the contents of the files that say what to install,
the toolchain, and the user's own choice. Its identity is that key with the Python and the exact
packages that came of it. It is built under a temporary name and renamed when it is whole. The
base tree (the commit, and what an editable install wrote into it) is kept beside it, one for
each commit.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import uv
from packaging.utils import canonicalize_name

from flywheel.core.errors import BaselineError, EnvironmentBuildError
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked
from flywheel.core.records import EnvironmentLock
from flywheel.critic.interpreters import (
    Interpreter,
    choose,
    describe,
    find_interpreters,
    named_interpreter,
    released,
)
from flywheel.critic.ladder import Project, Rung, hinted, read_project, rungs
from flywheel.critic.pytest_options import (
    blocked_plugins,
    clean,
    critic_arguments,
    read_settings,
)
from flywheel.critic.toolchain import Toolchain, matcher
from flywheel.git import Checkout, Entry, index_settings
from flywheel.sandbox import Box, Completed, Limits, Mount, give_to_box

log = logging.getLogger(__name__)

MONITORING = (3, 12)
"""First Python that reports executed lines by itself, at next to no cost."""
REPO = "/repo"
"""Where the tree always is inside the box."""
ENV = "/env"
"""Where the virtual environment always is inside the box."""
PYTHON = f"{ENV}/bin/python"

_FORMAT = 1
"""Raised when what is kept of an environment changes: older ones are then built anew."""
_UV, _UV_CACHE, _CONSTRAINTS = "/uv", "/uv-cache", "/constraints.txt"
_PATH = f"{ENV}/bin:{_UV}:/usr/local/bin:/usr/bin:/bin"
_LITTER = {"__pycache__", ".pytest_cache", ".hypothesis", ".git"}
_LIMITS = Limits(tmp_mb=2048, output_bytes=4 << 20)
_GRACE = timedelta(days=14)
"""Packages published so soon after a commit still count as of its time."""
_SETTLED = timedelta(days=240)
"""Packages work with a Python so long after its release."""
_EARLIEST = date(2022, 10, 1)
"""Packages are never older: setuptools makes editable installs since August 2022, and the critic's
runner drives pytest 7.0, of February, or newer."""
_OLD = timedelta(days=730)
"""A commit of this age wants the Pythons and packages of its time."""
_SCAN = 5000
"""Test files looked through for fixtures of plugins."""

_MISSING = re.compile(r"No module named '?\"?([A-Za-z_]\w*)((?:\.\w+)*)")
_UNRECOGNISED = re.compile(r"error: unrecognized arguments: (.+)")
_SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""")
_COLLECTED = re.compile(r"(\d+)(?:/(\d+))? tests? collected|(no tests) (?:collected|ran)")
_ERROR_FILE = re.compile(r"^ERROR (\S+)(?: - (.*))?$", re.MULTILINE)
_OLD_ID = re.compile(r"^\S+::\S+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing tried while an environment was built."""

    what: str
    """What was tried."""
    ok: bool
    """Whether it served."""
    reason: str
    """Why it was tried or why it failed, empty when there is nothing to say."""
    seconds: float
    """Wall time."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment in which a suite collects, and the tree that belongs to it."""

    hash: str
    """Identity: what defines it, the Python, and the exact packages."""
    version: tuple[int, int, int]
    """Python, such as (3, 12, 1)."""
    venv: Path
    """Host folder of the virtual environment; `/env` inside the box."""
    tree: Path
    """Host folder of the base tree; `/repo` inside the box. Never written again."""
    mounts: tuple[Mount, ...]
    """Of the virtual environment and the interpreter, read-only. The tree is for the caller."""
    lock: str
    """Exact packages, as `uv pip freeze` prints them."""
    steps: tuple[Step, ...]
    """What was tried when it was built."""
    seconds: float
    """What building it took, 0 when it was found again."""
    collected: int
    """Tests that its acceptance collected."""
    pythonpath: tuple[str, ...]
    """Folders inside the box to import from, empty when the project is installed."""
    pytest_args: tuple[str, ...]
    """The suite's own options, sanitised, and what makes its plugins harmless."""
    variables: Mapping[str, str]
    """Whole environment of the tests."""
    notes: tuple[str, ...]
    """What a user should know: files that do not collect, plugins switched off."""
    python: str = PYTHON
    """The interpreter inside the box."""


@dataclass(frozen=True, slots=True)
class _Collection:
    count: int
    errors: tuple[str, ...]
    completed: Completed


@dataclass(frozen=True, slots=True)
class _Accepted:
    """An attempt that collects tests."""

    rung: Rung
    interpreter: Interpreter
    collection: _Collection
    options: tuple[str, ...]
    extra: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int]:
        """More is better: tests collected, then fewer files that do not collect."""
        return (self.collection.count, -len(self.collection.errors))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What `environment.json` holds."""

    format: int
    hash: str
    executable: str
    version: tuple[int, int, int]
    prefixes: tuple[str, ...]
    steps: tuple[Step, ...]
    collected: int
    pythonpath: tuple[str, ...]
    pytest_args: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Build:
    """One build in progress: where it is, and what it may still take."""

    checkout: Checkout
    toolchain: Toolchain
    project: Project
    box: Box
    home: Path
    work: Path
    uv_cache: Path
    deadline: float
    progress: Callable[[str], None]
    pretend: Mapping[str, str]
    lock: EnvironmentLock | None = None
    steps: list[Step] = field(default_factory=list)
    of_its_time: bool = False
    interpreter: Interpreter | None = None
    newest: str | None = None
    kept_options: list[str] = field(default_factory=list)
    extra: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def attempt(self) -> Path:
        return self.home / "attempt"

    @property
    def best(self) -> Path:
        return self.home / "best"

    @property
    def scratch(self) -> Path:
        return self.home / "scratch"

    @property
    def venv(self) -> Path:
        return self.work / "venv"

    @property
    def tree(self) -> Path:
        return self.work / "tree"

    def say(self, what: str, ok: bool, reason: str, started: float) -> None:
        """Record one step, and tell whoever watches."""
        step = Step(what, ok, reason, round(time.monotonic() - started, 3))
        self.steps.append(step)
        log.info("environment step", extra={"step": what, "ok": ok, "reason": reason})
        self.progress(what if ok else f"{what}: {reason}")

    def left(self, seconds: float) -> float:
        """Seconds that a command may take."""
        return max(1.0, min(seconds, self.deadline - time.monotonic()))


def build(
    checkout: Checkout,
    toolchain: Toolchain,
    cache: Path,
    box: Box,
    *,
    python: str | None = None,
    install: str | None = None,
    lock: EnvironmentLock | None = None,
    of_its_time: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Environment:
    """Find or build the environment of a commit.

    `box` is a template: its bubblewrap and etc are used, its mounts and environment replaced.
    `python` names an interpreter, `install` gives the arguments of `uv pip install`; None for
    either finds them out. `lock` asks for an environment as it was: the very one where it is
    still there, else one of the same Python and packages. `of_its_time` prefers, for a commit
    some years old, the Pythons and packages of then. Raises `EnvironmentBuildError`, and
    `BaselineError` when there is no test to collect.
    """
    started = time.monotonic()
    home = cache / "environments"
    if lock is not None:
        kept = _load(home / lock.environment_hash)
        if kept is not None:
            return _environment(home, cache, kept, checkout, toolchain, box, 0.0)
    project = read_project(checkout.read)
    pretend = _pretend(project, checkout)
    of_its_time = of_its_time and lock is None and _written(checkout) + _OLD < _today()
    key = definition_key(
        checkout, toolchain, python=python, install=install, lock=lock, of_its_time=of_its_time
    )
    pointer = home / "by-definition" / key
    with locked(home / "locks" / key):
        kept = _find(home, pointer)
        if kept is not None:
            return _environment(home, cache, kept, checkout, toolchain, box, 0.0)
        work = home / f".build-{key}"
        discard(work)
        work.mkdir()
        uv_cache = cache / "uv"
        if not uv_cache.is_dir():
            uv_cache.mkdir(parents=True)
            give_to_box(uv_cache)
        running = _Build(
            checkout=checkout,
            toolchain=toolchain,
            project=project,
            box=box,
            home=work,
            work=work,
            uv_cache=uv_cache,
            deadline=started + toolchain.pytest.limits.build_seconds,
            progress=on_progress or (lambda _: None),
            pretend=pretend,
            lock=lock,
            of_its_time=of_its_time,
        )
        try:
            kept = _build(running, home, key, python, install)
            pointer.parent.mkdir(parents=True, exist_ok=True)
            _write(pointer, kept.hash)
            tree = _tree_of(cache, checkout, kept)
            _make_tree(tree, home / kept.hash, kept, checkout, toolchain, box, running.scratch)
        finally:
            discard(work)
        return _environment(home, cache, kept, checkout, toolchain, box, time.monotonic() - started)


def definition_key(
    checkout: Checkout,
    toolchain: Toolchain,
    *,
    python: str | None = None,
    install: str | None = None,
    lock: EnvironmentLock | None = None,
    of_its_time: bool = False,
) -> str:
    """Identity of what defines a commit's environment: commits that share it share the other.

    The arguments are those of `build`.
    """
    entries = checkout.entries()
    defining = matcher(toolchain.pytest.install.definition)
    definition = [[entry.path, entry.oid] for entry in entries if defining.match(entry.path)]
    pretend = _pretend(read_project(checkout.read), checkout)
    old = of_its_time and _written(checkout) + _OLD < _today()
    return content_hash(
        "definition", _FORMAT, toolchain.id, definition, sorted(_top_levels(entries)), pretend,
        python, install, sys.platform, platform.machine(),
        *([lock.python, *lock.packages] if lock else ()),
        *([f"of its time, {_EARLIEST}"] if old else ()),
    )  # fmt: skip


# --- the build --------------------------------------------------------------------------------


def _build(running: _Build, home: Path, key: str, python: str | None, install: str | None) -> _Kept:
    """Climb the ladder with each interpreter; take the first attempt in which all files collect.

    An attempt in which some do not is kept while others are tried: the packages as they were at
    the time of the commit (tests often use what a newer release took away), and the other
    interpreters (old pinned requirements often break on a new Python only).
    """
    limits = running.toolchain.pytest.limits
    interpreters = _interpreters(running, python)[: limits.interpreters]
    ladder = _ladder(running, install)
    best: _Accepted | None = None
    failure: tuple[str, str] | None = None
    empty = False
    order = _order(running, interpreters)
    for number, (interpreter, running.newest) in enumerate(order):
        tried = [best.rung] if best is not None and best.rung.installs_project else ladder
        for rung in tried:
            accepted, said = _attempt(running, interpreter, rung)
            if accepted is None:
                empty = empty or not said
                if said and (failure is None or rung.installs_project):
                    failure = (f"{rung.name}, Python {_dotted(interpreter)}", said)
                continue
            if best is None or accepted.rank > best.rank:
                best = accepted
                discard(running.best)
                running.attempt.rename(running.best)
            break
        done = not best.collection.errors if best is not None else empty
        enough = best is not None and number >= limits.interpreters
        if done or enough or time.monotonic() > running.deadline:
            break
    if best is not None:
        return _finish(running, home, key, best)
    name = running.checkout.name
    if empty or failure is None:
        raise BaselineError(
            f"{name} has no tests that {running.toolchain.pytest.name} collects",
            hint="a release's archive often leaves the tests out: name the git repository instead"
            if name.startswith("pypi:")
            else "add tests, or check testpaths and python_files in its settings",
        )
    versions = ", ".join(_dotted(one) for one in interpreters)
    raise EnvironmentBuildError(
        f"{name}: no test environment could be built (tried Python {versions}); last: {failure[0]}",
        cause=failure[1],
        hint='say how: --install "-e .[extra] package", --python PATH, or install and python'
        " under [harvest] in flywheel.toml",
    )


def _order(
    running: _Build, interpreters: Sequence[Interpreter]
) -> Iterator[tuple[Interpreter, str | None]]:
    """Which interpreter to try with today's packages (None) or those of a day, best first."""
    for number, interpreter in enumerate(interpreters):
        day = _packages_of(running, interpreter)
        days = [day, None] if number or running.of_its_time else [None, day]
        for newest in dict.fromkeys(days):
            yield interpreter, newest


def _packages_of(running: _Build, interpreter: Interpreter) -> str | None:
    """The day up to which packages could have been known to the commit, and work with a Python.

    None when both are young: today's packages it is.
    """
    if running.lock is not None:
        return None
    settled = max(released(interpreter.version) + _SETTLED, _EARLIEST)
    day = max(_written(running.checkout) + _GRACE, settled)
    return day.isoformat() if day + _GRACE < _today() else None


def _written(checkout: Checkout) -> date:
    return datetime.fromtimestamp(checkout.committed_at, UTC).date()


def _today() -> date:
    return datetime.now(UTC).date()


def _interpreters(running: _Build, python: str | None) -> list[Interpreter]:
    named = named_interpreter(python) if python is not None else None
    if running.lock is not None:
        wanted = running.lock.python
        there = [named] if named is not None else []
        for one in [*there, *find_interpreters()]:
            if _dotted(one) == wanted:
                return [one]
        raise EnvironmentBuildError(
            f"{running.checkout.name} was judged with Python {wanted}, which is not found here",
            cause="found: " + (describe(find_interpreters()) or "no CPython 3"),
            hint="install it, or name where it is: python under [harvest] in flywheel.toml",
        )
    if named is not None:
        return [named]
    there = find_interpreters()
    requires = running.project.requires_python
    chosen = choose(
        there,
        requires=requires,
        classified=running.project.classified,
        written=_written(running.checkout) if running.of_its_time else None,
    )
    if not chosen:
        raise EnvironmentBuildError(
            f"{running.checkout.name} needs Python {requires}, which this machine does not have",
            cause="found: " + (describe(there) or "no CPython 3"),
            hint="install one, then name it: --python PATH",
        )
    return chosen


def _ladder(running: _Build, install: str | None) -> list[Rung]:
    if install is None:
        paths = (entry.path for entry in running.checkout.entries())
        return rungs(running.checkout.read, paths, running.toolchain.pytest.install)
    words = shlex.split(install)
    for prefix in (
        ["uv", "pip", "install"],
        ["python", "-m", "pip", "install"],
        ["pip", "install"],
    ):
        if words[: len(prefix)] == prefix:
            words = words[len(prefix) :]
    installs = any(word in {"-e", "--editable"} or word.startswith(".") for word in words)
    return [Rung(f"--install {install!r}", tuple(words), installs_project=installs)]


def _attempt(running: _Build, interpreter: Interpreter, rung: Rung) -> tuple[_Accepted | None, str]:
    """Try one rung: what it gave when that is accepted, else what failed ('' for no tests)."""
    running.interpreter = interpreter
    running.work = running.attempt
    rules = running.toolchain.pytest.install
    limits = running.toolchain.pytest.limits
    told = f"Python {_dotted(interpreter)}"
    if running.newest is not None:
        told += f", packages of {running.newest}"
    running.progress(f"{told}: installing {rung.name}")
    discard(running.work)
    running.venv.mkdir(parents=True)
    give_to_box(running.venv)
    running.checkout.export(running.tree)
    give_to_box(running.tree)
    running.notes.clear()
    started = time.monotonic()
    made = _uv(running, ["venv", "--quiet", "--no-project", "--allow-existing", "--python",
                         str(interpreter.executable), ENV])  # fmt: skip
    if made.returncode != 0:
        said = _relevant(made.output)
        running.say(told, False, said, started)
        return None, said
    settings = read_settings(running.checkout.read)
    cleaned = clean(settings.addopts)
    running.kept_options = list(cleaned.kept)
    plugins = [rules.settings[key] for key in sorted(settings.keys) if key in rules.settings]
    wanted = [rules.framework, *(hinted(name, running.project) for name in plugins)]
    wanted += settings.required_plugins
    running.extra = ()
    django = _django_settings(running.checkout)
    if django and "DJANGO_SETTINGS_MODULE" not in settings.keys:
        wanted.append(hinted("pytest-django", running.project))
        running.extra = tuple(
            word.replace("{settings}", django) for word in running.toolchain.pytest.run.django
        )
    if interpreter.version < MONITORING:
        wanted.append(rules.tracer)
    done = _install(running, [*rung.arguments, *dict.fromkeys(wanted)])
    what = f"{told}: {rung.name}"
    if done.returncode != 0:
        said = "it took too long" if done.timed_out else _relevant(done.output)
        running.say(what, False, said, started)
        return None, said
    running.say(what, True, "", started)
    _keep_generated(running)
    best: _Collection | None = None
    done_before: set[str] = set()
    for round_number in range(limits.rounds + 1):
        started = time.monotonic()
        found = _collect(running, rung)
        better = best is None or (found.count, -len(found.errors)) >= (
            best.count,
            -len(best.errors),
        )
        best = found if better else best
        more = _wanted_by(running, found, done_before)
        if not more or round_number == limits.rounds:
            break
        done_before.update(more)
        names = [name for name in more if not name.startswith("-")]
        if names and _install(running, names).returncode != 0:
            for name in names:
                if _install(running, [name]).returncode != 0:
                    running.say(f"add {name}", False, "it cannot be installed", started)
        running.say(f"add {', '.join(more)}", True, "the collection asked for it", started)
    assert best is not None
    for extra in () if best.count or best.errors else running.toolchain.pytest.run.fallbacks:
        started, running.extra = time.monotonic(), extra
        found = _collect(running, rung)
        if found.count:
            running.notes.append(f"collected with {' '.join(extra)}")
            best = found
            break
        running.extra = ()
    what = f"collect: {best.count} tests"
    if best.count:
        running.say(what, True, f"{len(best.errors)} files do not" if best.errors else "", started)
        notes = [*running.notes, *(f"does not collect: {error}" for error in best.errors)]
        options = tuple(running.kept_options)
        return _Accepted(rung, interpreter, best, options, running.extra, tuple(notes)), ""
    if best.completed.timed_out:
        said = "the collection took too long"
    elif best.completed.returncode in {0, 5} and not best.errors:
        said = ""
    else:
        said = _relevant(best.completed.output)
    running.say(what, False, said or "no tests", started)
    return None, said


def _finish(running: _Build, home: Path, key: str, accepted: _Accepted) -> _Kept:
    """Lock what was accepted, compile it, and move it to its place."""
    interpreter = accepted.interpreter
    running.interpreter = interpreter
    running.work = running.best
    frozen = _uv(running, ["pip", "freeze", "--python", PYTHON])
    if frozen.returncode != 0:
        raise EnvironmentBuildError(
            f"{running.checkout.name}: the packages could not be listed",
            cause=_relevant(frozen.output),
        )
    # What uv says to people comes with it.
    lock = "".join(
        line for line in frozen.output.splitlines(keepends=True) if not line.startswith("Using ")
    )
    _boxed(running, [PYTHON, "-m", "compileall", "-q", f"{ENV}/lib"],
           timeout=running.toolchain.pytest.limits.install_seconds)  # fmt: skip
    found = content_hash("environment", key, list(interpreter.version), lock)
    plugins = _plugins(running.venv)
    off = (f"plugin {name} is off: it {why}" for name, why in blocked_plugins(plugins).items())
    kept = _Kept(
        format=_FORMAT,
        hash=found,
        executable=str(interpreter.executable),
        version=interpreter.version,
        prefixes=tuple(str(prefix) for prefix in interpreter.prefixes),
        steps=tuple(running.steps),
        collected=accepted.collection.count,
        pythonpath=_pythonpath(running.tree, accepted.rung),
        pytest_args=(*critic_arguments(accepted.options, plugins), *accepted.extra),
        notes=(*accepted.notes, *off),
    )
    place = home / found
    running.tree.rename(running.scratch)
    (running.work / "lock.txt").write_text(lock)
    _write(running.work / "environment.json", json.dumps(asdict(kept), indent=1))
    if place.exists() and not (place / "environment.json").exists():
        discard(place)
    if not place.exists():
        running.work.rename(place)
    return kept


def _collect(running: _Build, rung: Rung) -> _Collection:
    arguments = (
        *critic_arguments(running.kept_options, _plugins(running.venv)),
        *running.extra,
    )
    variables = dict(_variables(_pythonpath(running.tree, rung)))
    del variables["PYTHONDONTWRITEBYTECODE"]
    variables["COLUMNS"] = "240"
    limits = running.toolchain.pytest.limits
    completed = _boxed(
        running,
        [PYTHON, *running.toolchain.pytest.run.collect, *arguments],
        timeout=limits.collect_seconds,
        variables=variables,
    )
    return _read_collection(completed)


def _read_collection(completed: Completed) -> _Collection:
    count = 0
    matches = list(_COLLECTED.finditer(completed.output))
    if matches:
        count = int(matches[-1].group(1) or 0)
    elif completed.returncode == 0:
        count = len(_OLD_ID.findall(completed.output))
    errors = [
        f"{path} ({why})" if why else path for path, why in _ERROR_FILE.findall(completed.output)
    ]
    return _Collection(count, tuple(dict.fromkeys(errors)), completed)


def _wanted_by(running: _Build, found: _Collection, before: set[str]) -> list[str]:
    """What a collection's output, or else the tests' fixtures, ask for.

    Distributions to install, or options that were left out (they start with a dash).
    """
    rules = running.toolchain.pytest.install
    output = found.completed.output
    installed = _installed(running.venv)
    more: list[str] = []
    for match in _UNRECOGNISED.finditer(output):
        for word in match.group(1).split():
            name = word.partition("=")[0]
            if name in rules.options and rules.options[name] not in before:
                more.append(rules.options[name])
            elif word in running.kept_options:
                running.kept_options.remove(word)
                running.notes.append(f"option left out: {word}")
                more.append(word if word.startswith("-") else f"-{word}")
    own = _own_modules(running.checkout.entries())
    for module in dict.fromkeys(match.group(1) for match in _MISSING.finditer(output)):
        name = rules.distributions.get(module, module.replace("_", "-"))
        if module not in rules.distributions and (
            module in own or module in sys.stdlib_module_names
        ):
            continue
        if canonicalize_name(re.split(r"[<>=]", name)[0]) not in installed or "<" in name:
            more.append(name if "<" in name else hinted(name, running.project))
    if not more and found.count:
        more += [
            hinted(name, running.project)
            for name in _fixtures_wanted(running)
            if canonicalize_name(name) not in installed
        ]
    return [name for name in dict.fromkeys(more) if name not in before]


def _django_settings(checkout: Checkout) -> str:
    """The settings module that a Django project's `manage.py` names, empty when there is none."""
    found = _SETTINGS.search((checkout.read("manage.py") or b"").decode(errors="replace"))
    return found.group(1) if found else ""


def _fixtures_wanted(running: _Build) -> list[str]:
    """Plugins whose fixtures the tests use and the repository does not define."""
    rules = running.toolchain.pytest.install.fixtures
    uses = re.compile(rb"def +test\w*\([^)]*?\b(" + "|".join(rules).encode() + rb")\b[^)]*\)")
    defines = re.compile(rb"def +(" + "|".join(rules).encode() + rb")\(")
    used: set[bytes] = set()
    defined: set[bytes] = set()
    tests = [
        entry
        for entry in running.checkout.entries()
        if entry.path.endswith(".py")
        and entry.mode.startswith("100")
        and running.toolchain.is_protected(entry.path)
    ]
    for data in running.checkout.read_many(tests[:_SCAN]):
        used.update(match.group(1) for match in uses.finditer(data))
        defined.update(match.group(1) for match in defines.finditer(data))
    return [rules[name.decode()] for name in sorted(used - defined)]


# --- in the box -------------------------------------------------------------------------------


def _install(running: _Build, arguments: Sequence[str]) -> Completed:
    return _uv(running, ["pip", "install", "--python", PYTHON, *arguments])


def _uv(running: _Build, arguments: Sequence[str]) -> Completed:
    """Run uv in the box, with the network and the index's configuration."""
    settings = index_settings()
    variables = dict(settings.variables)
    mounts = [Mount(running.uv_cache, _UV_CACHE, writable=True)]
    for number, path in enumerate(settings.local_paths):
        target = f"/index/{number}"
        mounts.append(Mount(path, target))
        variables = {
            name: re.sub(rf"(?<![\w.-]){re.escape(str(path))}(?![\w.-])", target, value)
            for name, value in variables.items()
        }
    variables |= running.pretend
    variables |= {
        "PATH": _PATH,
        "HOME": "/tmp",
        "LC_ALL": "C.UTF-8",
        "VIRTUAL_ENV": ENV,
        "UV_CACHE_DIR": _UV_CACHE,
        "UV_LINK_MODE": "copy",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "GIT_TERMINAL_PROMPT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if running.newest is not None:
        variables["UV_EXCLUDE_NEWER"] = running.newest
    if running.lock is not None:
        exact = running.home / "constraints.txt"
        exact.write_text("\n".join(line for line in running.lock.packages if "==" in line))
        mounts.append(Mount(exact, _CONSTRAINTS))
        variables["UV_CONSTRAINT"] = _CONSTRAINTS
    return _boxed(
        running,
        [f"{_UV}/uv", *arguments],
        timeout=running.toolchain.pytest.limits.install_seconds,
        variables=variables,
        mounts=mounts,
        network=True,
    )


def _boxed(
    running: _Build,
    argv: Sequence[str],
    *,
    timeout: float,
    variables: Mapping[str, str] | None = None,
    mounts: Sequence[Mount] = (),
    network: bool = False,
) -> Completed:
    interpreter = running.interpreter
    assert interpreter is not None
    box = replace(
        running.box,
        mounts=(
            Mount(running.venv, ENV, writable=True),
            Mount(running.tree, REPO, writable=True),
            Mount(Path(uv.find_uv_bin()), f"{_UV}/uv"),
            *(Mount(prefix, str(prefix)) for prefix in interpreter.prefixes),
            *mounts,
        ),
        environment=variables if variables is not None else _variables(()),
        cwd=REPO,
        network=network,
        nested=False,
        limits=_LIMITS,
    )
    return box.run(argv, timeout=running.left(timeout))


def _variables(pythonpath: Sequence[str]) -> dict[str, str]:
    """Environment of the tests: the same on every machine, one thread, nothing of the user."""
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS", "RAYON")
    found = {
        "PATH": f"{ENV}/bin:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": ENV,
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "USER": "flywheel",
        "LOGNAME": "flywheel",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/.hypothesis",
        **{f"{name}_NUM_THREADS": "1" for name in threads},
    }
    if pythonpath:
        found["PYTHONPATH"] = os.pathsep.join(pythonpath)
    return found


# --- what is kept -----------------------------------------------------------------------------


def _find(home: Path, pointer: Path) -> _Kept | None:
    """The environment that a definition led to, None when it is gone or its Python is."""
    try:
        return _load(home / pointer.read_text())
    except (OSError, ValueError):
        return None


def _load(place: Path) -> _Kept | None:
    """The environment in a folder, None when there is none that can be used."""
    try:
        found = json.loads((place / "environment.json").read_text())
        if found["format"] != _FORMAT or not Path(found["executable"]).exists():
            return None
        steps = tuple(Step(**step) for step in found.pop("steps"))
        version = found.pop("version")
        lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        return _Kept(
            **{**found, **lists}, steps=steps, version=(version[0], version[1], version[2])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _environment(
    home: Path,
    cache: Path,
    kept: _Kept,
    checkout: Checkout,
    toolchain: Toolchain,
    box: Box,
    seconds: float,
) -> Environment:
    place = home / kept.hash
    tree = _tree_of(cache, checkout, kept)
    with locked(home / "locks" / tree.parent.name):
        if not tree.is_dir():
            _make_tree(tree, place, kept, checkout, toolchain, box)
    return Environment(
        hash=kept.hash,
        version=kept.version,
        venv=place / "venv",
        tree=tree,
        mounts=_mounts(place, kept),
        lock=(place / "lock.txt").read_text(),
        steps=kept.steps,
        seconds=seconds,
        collected=kept.collected,
        pythonpath=kept.pythonpath,
        pytest_args=kept.pytest_args,
        variables=_variables(kept.pythonpath),
        notes=(*checkout.notes, *kept.notes),
    )


def _mounts(place: Path, kept: _Kept) -> tuple[Mount, ...]:
    prefixes = (Mount(Path(prefix), prefix) for prefix in kept.prefixes)
    return (Mount(place / "venv", ENV), *prefixes)


def _tree_of(cache: Path, checkout: Checkout, kept: _Kept) -> Path:
    return cache / "trees" / f"{checkout.tree}-{kept.hash}" / "tree"


def _make_tree(
    tree: Path,
    place: Path,
    kept: _Kept,
    checkout: Checkout,
    toolchain: Toolchain,
    box: Box,
    collected: Path | None = None,
) -> None:
    """Write a base tree: the commit, what installing wrote, and compiled Python beside it.

    `collected` is a copy of the tree in which the suite has been collected, None when there is
    none yet. Only compiled files are taken from it: whatever else running the repository's code
    has done there is left behind.
    """
    work = tree.parent.with_name(f".{tree.parent.name}.part")
    discard(work)
    fresh = work / "tree"
    checkout.export(fresh)
    _overlay(place / "generated", fresh)
    scratch = collected or work / "scratch"
    if collected is None:
        shutil.copytree(fresh, scratch, symlinks=True)
        give_to_box(scratch)
    variables = dict(_variables(kept.pythonpath))
    del variables["PYTHONDONTWRITEBYTECODE"]
    compiler = replace(
        box,
        mounts=(*_mounts(place, kept), Mount(scratch, REPO, writable=True)),
        environment=variables,
        cwd=REPO,
        network=False,
        nested=False,
        limits=_LIMITS,
    )
    # Collecting writes the test modules as pytest rewrites them.
    collect = [PYTHON, *toolchain.pytest.run.collect, *kept.pytest_args]
    compile_all = [PYTHON, "-m", "compileall", "-q", REPO]
    for argv in [compile_all] if collected else [collect, compile_all]:
        compiler.run(argv, timeout=toolchain.pytest.limits.collect_seconds)
    _place_compiled(scratch, fresh)
    give_to_box(fresh)
    tree.parent.parent.mkdir(parents=True, exist_ok=True)
    if collected is None:
        discard(scratch)
    discard(tree.parent)
    work.rename(tree.parent)


def _overlay(generated: Path, tree: Path) -> None:
    """Copy generated files into a tree, never over the commit's own and never through a link."""
    for folder, names, files in os.walk(generated):
        target = tree / Path(folder).relative_to(generated)
        if target.is_symlink() or not target.is_dir():
            names.clear()
            continue
        for name in names:
            if not (Path(folder, name).is_symlink() or (target / name).is_symlink()):
                (target / name).mkdir(exist_ok=True)
        for name in files + [name for name in names if Path(folder, name).is_symlink()]:
            if not os.path.lexists(target / name):
                shutil.copy2(Path(folder, name), target / name, follow_symlinks=False)


def _place_compiled(scratch: Path, tree: Path) -> None:
    """Copy compiled files to where they are in a tree; links are neither followed nor copied."""
    for folder, names, files in os.walk(scratch):
        target = tree / Path(folder).relative_to(scratch)
        names[:] = [
            name
            for name in names
            if _real_folder(target / name)
            or (name == "__pycache__" and not os.path.lexists(target / name))
        ]
        pycs = [name for name in files if name.endswith(".pyc")]
        if target.name == "__pycache__" and pycs:
            target.mkdir(exist_ok=True)
            for name in pycs:
                source = Path(folder, name)
                if source.is_file() and not source.is_symlink():
                    shutil.copyfile(source, target / name, follow_symlinks=False)


def _real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _keep_generated(running: _Build) -> None:
    """Copy aside what installing wrote into the tree; changed files of the commit are not kept."""
    tracked = {entry.path for entry in running.checkout.entries()}
    kept = running.work / "generated"
    root = os.fspath(running.tree)
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _LITTER]
        start = os.path.relpath(folder, root)
        links = [name for name in names if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            path = name if start == "." else f"{start}/{name}"
            source = Path(folder, name)
            if path in tracked or not (source.is_symlink() or source.is_file()):
                continue
            target = kept / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def discard(path: Path) -> None:
    """Remove a folder of ours, even one in which the build took away the right to."""

    def allow(function: Callable[..., object], name: str, _: object) -> None:
        parent = Path(name).parent
        parent.chmod(0o700)
        if not Path(name).is_symlink() and Path(name).is_dir():
            Path(name).chmod(0o700)
        function(name)

    if path.is_dir():
        shutil.rmtree(path, onerror=allow)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text)
    part.replace(path)


# --- looking at the tree and the virtual environment ------------------------------------------


def _site_packages(venv: Path) -> list[Path]:
    return sorted(venv.glob("lib/python3.*/site-packages"))


def _installed(venv: Path) -> set[str]:
    """Canonical names of the distributions in a virtual environment."""
    return {
        canonicalize_name(info.name.split("-")[0])
        for folder in _site_packages(venv)
        for info in folder.glob("*.dist-info")
    }


def _plugins(venv: Path) -> tuple[str, ...]:
    """Names of the framework's plugins in a virtual environment."""
    found: set[str] = set()
    for folder in _site_packages(venv):
        for points in folder.glob("*.dist-info/entry_points.txt"):
            text = points.read_text(errors="replace")
            section = re.search(r"^\[pytest11\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
            if section:
                found.update(re.findall(r"^\s*([\w.-]+)\s*=", section.group(1), re.MULTILINE))
    return tuple(sorted(found))


def _pythonpath(tree: Path, rung: Rung) -> tuple[str, ...]:
    if rung.installs_project:
        return ()
    return (f"{REPO}/src", REPO) if (tree / "src").is_dir() else (REPO,)


def _top_levels(entries: Sequence[Entry]) -> set[str]:
    """Packages at the root and in src/: an editable install may map them one by one."""
    found = set()
    for entry in entries:
        parts = entry.path.split("/")
        if parts[-1].endswith(".py"):
            found.add("/".join(parts[:2] if parts[0] == "src" else parts[:1]))
    return found


def _own_modules(entries: Sequence[Entry]) -> set[str]:
    """Names that the repository's own folders and modules could be imported by."""
    found: set[str] = set()
    for entry in entries:
        if entry.path.endswith((".py", ".pyx", ".c", ".so")):
            *folders, name = entry.path.split("/")
            found.update(folders)
            found.add(name.split(".")[0])
    return found


def _pretend(project: Project, checkout: Checkout) -> dict[str, str]:
    """Versions for the tools that would compute them from a repository, which is not there."""
    version = project.version or checkout.version or "0.0.0+flywheel"
    name = re.sub(r"[-_.]+", "_", project.name or "").upper()
    found = {"UV_DYNAMIC_VERSIONING_BYPASS": version, "PDM_BUILD_SCM_VERSION": version}
    found["POETRY_DYNAMIC_VERSIONING_BYPASS"] = version
    # The general variable would also reach dependencies that are built from source.
    if name and not re.search(r"hatch[-_]vcs", project.text):
        found[f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}"] = version
    elif re.search(r"hatch[-_]vcs|setuptools[-_]scm", project.text):
        found["SETUPTOOLS_SCM_PRETEND_VERSION"] = version
    if re.search(r"\bpbr\b", project.text):
        found["PBR_VERSION"] = version
    return found


def _dotted(interpreter: Interpreter) -> str:
    return ".".join(map(str, interpreter.version))


def _relevant(output: str, lines: int = 12) -> str:
    """The last telling lines of a command's output."""
    kept = [line.rstrip() for line in output.splitlines() if line.strip(" =_-\t")]
    telling = [
        index
        for index, line in enumerate(kept)
        if re.search(r"error|not found|no solution|failed|cannot", line, re.IGNORECASE)
    ]
    start = max(telling[0] if telling else 0, 0)
    chosen = kept[start:]
    if len(chosen) > lines:
        chosen = [*chosen[: lines // 3], "…", *chosen[-(lines - lines // 3) :]]
    return "\n".join(line[:300] for line in chosen)
