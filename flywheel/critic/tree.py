"""The tree that commands are run in: a commit, fetched for and built, kept whole or not at all.

For toolchains that are judged by a command. The tools are those of the machine; what fetching and
building leave in the tree (packages, object files, caches) stays in it, and every candidate's
overlay lies above it. Everything of the repository that runs, runs in the box, with the network
open for fetching only.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flywheel.core.errors import EnvironmentBuildError
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked
from flywheel.critic.command import PLACES, REPO, REPORTS, filled
from flywheel.critic.environment import Environment, Step, discard
from flywheel.critic.interpreters import ask
from flywheel.critic.profile import Command, CommandProfile, PytestProfile
from flywheel.critic.text import tail
from flywheel.critic.toolchain import Toolchain, matcher
from flywheel.git import Checkout
from flywheel.sandbox import Box, Limits, Mount, give_to_box

_FORMAT = 2
"""Raised when what is kept of a tree changes: older ones are then built anew."""
_REGISTRY = re.compile(
    r"(?i)^(?:npm_config_|node_extra_ca_certs$|ssl_cert_|https?_proxy$|no_proxy$)"
)
"""Variables that say where packages come from: fetching gets them, tests do not."""
_FORMATTERS = Mount(Path(__file__).parent / "reports", REPORTS)


@dataclass(frozen=True, slots=True)
class _Tool:
    """A program of the machine."""

    path: Path
    """Where it really is."""
    prefix: Path | None
    """What has to be shown of the machine beside the system folders; None for nothing."""


def tree_key(checkout: Checkout, toolchain: Toolchain) -> str:
    """Identity of what defines a commit's environment; raises `EnvironmentBuildError`."""
    return _key(checkout, toolchain, _tools(_profile(toolchain))[2])


def _key(checkout: Checkout, toolchain: Toolchain, versions: list[str]) -> str:
    defining = matcher(_profile(toolchain).build.definition)
    definition = [[one.path, one.oid] for one in checkout.entries() if defining.match(one.path)]
    return content_hash(
        "tree", _FORMAT, toolchain.id, definition, versions, sys.platform, platform.machine()
    )


def build_tree(
    checkout: Checkout,
    toolchain: Toolchain,
    cache: Path,
    box: Box,
    *,
    on_progress: Callable[[str], None] | None = None,
) -> Environment:
    """Find or build the tree of a commit. Raises `EnvironmentBuildError`.

    `box` is a template: its bubblewrap and etc are used, its mounts and environment replaced.
    """
    started = time.monotonic()
    profile = _profile(toolchain)
    tools, mounts, versions = _tools(profile)
    runner = ask(Path(getattr(sys, "_base_executable", None) or sys.executable))
    if runner is None:
        raise EnvironmentBuildError(f"{sys.executable} cannot be shown inside the box")
    key = _key(checkout, toolchain, versions)
    place = cache / "trees" / f"{checkout.tree}-{key}"
    shown = (*mounts, *(Mount(path, str(path)) for path in runner.prefixes))
    variables = _variables(profile, tools)
    built = 0.0
    with locked(cache / "trees" / "locks" / place.name):
        if not (place / "steps.json").is_file():
            part = place.with_name(f".{place.name}.part")
            discard(part)
            tree = part / "tree"
            checkout.export(tree)
            donor = _donor(place, key)
            seeded = donor is not None and _seed(tree, donor / "tree", profile.build.shared)
            give_to_box(tree)
            deadline = started + profile.limits.build_seconds
            maker = _Maker(
                checkout.name, profile, tree, box, shown, variables, deadline, on_progress
            )
            for command in () if seeded else profile.build.fetch:
                maker.run(command, network=True)
            for command in profile.build.build:
                maker.run(command, network=False)
            steps = maker.steps
            (part / "steps.json").write_text(
                json.dumps([[one.what, one.ok, one.reason, one.seconds] for one in steps])
            )
            discard(place)
            part.rename(place)
            built = time.monotonic() - started
        else:
            steps = [Step(*one) for one in json.loads((place / "steps.json").read_text())]
    return Environment(
        hash=key,
        version=runner.version,
        venv=place / "tree",
        tree=place / "tree",
        mounts=(*shown, _FORMATTERS),
        lock="\n".join(versions),
        steps=tuple(steps),
        seconds=built,
        collected=0,
        pythonpath=(),
        pytest_args=(),
        variables=variables,
        notes=checkout.notes,
        python=str(runner.executable),
    )


def tool_versions(toolchain: Toolchain) -> str:
    """What the tools of a toolchain say they are, first lines; empty where pytest is the tool.

    Raises `EnvironmentBuildError` where one is missing.
    """
    if isinstance(toolchain.profile, PytestProfile):
        return ""
    return ", ".join(said.partition("\n")[0] for said in _tools(toolchain.profile)[2])


def discard_tree(environment: Environment) -> None:
    """Remove a tree that `build_tree` made; it is made again when it is wanted again."""
    with contextlib.suppress(OSError):  # what is left takes room, and is built over
        discard(environment.tree.parent)


def _donor(place: Path, key: str) -> Path | None:
    """The newest tree of the same definition, None when there is none."""
    found = [
        one
        for one in place.parent.glob(f"*-{key}")
        if one != place and (one / "steps.json").exists()
    ]
    return max(found, key=lambda one: one.stat().st_mtime, default=None)


def _seed(tree: Path, donor: Path, shared: Sequence[str]) -> bool:
    """Copy what fetching and building have made of another tree; True when there was something."""
    found = [
        name
        for name in shared
        if (donor / name).is_dir()
        and not (donor / name).is_symlink()
        and not os.path.lexists(tree / name)
    ]
    if found:
        _date_differing(tree, donor)
    for name in found:
        # With their times: builders compare them.
        shutil.copytree(donor / name, tree / name, symlinks=True)
    return bool(found)


def _date_differing(tree: Path, donor: Path) -> None:
    """Give files that are not as in the donor the time of now.

    They carry their commit's, which is older than what was built of the donor's: a builder that
    goes by time stamps would take that for built of them.
    """
    for folder, _, files in os.walk(tree):
        for name in files:
            own = Path(folder, name)
            other = donor / own.relative_to(tree)
            same = other.is_file() and filecmp.cmp(own, other, shallow=False)
            if not (own.is_symlink() or same):
                os.utime(own)


def module_of(checkout: Checkout, toolchain: Toolchain) -> str:
    """What the language calls the repository (Go's module path); empty where nothing needs it."""
    test = _profile(toolchain).test
    text = (checkout.read(test.module_file) or b"").decode(errors="replace")
    found = re.search(test.module, text, re.MULTILINE) if test.module else None
    return found.group(1) if found else ""


@dataclass(slots=True)
class _Maker:
    """A tree being made."""

    name: str
    profile: CommandProfile
    tree: Path
    box: Box
    mounts: tuple[Mount, ...]
    variables: dict[str, str]
    deadline: float
    """Monotonic time by which all of it must be done."""
    progress: Callable[[str], None] | None
    steps: list[Step] = field(default_factory=list)

    def run(self, command: Command, *, network: bool) -> None:
        """Run one command of the build where it applies; raises `EnvironmentBuildError`."""
        if command.when and not any(self.tree.glob(command.when)):
            return
        if command.unless and any(self.tree.glob(command.unless)):
            return
        argv = [filled(word, PLACES) for word in command.run]
        shown = " ".join(argv)
        if self.progress is not None:
            self.progress(shown)
        started = time.monotonic()
        limits = self.profile.limits
        box = replace(
            self.box,
            mounts=(*self.mounts, _FORMATTERS, Mount(self.tree, REPO, writable=True)),
            environment={**self.variables, **(_registry() if network else {})},
            cwd=REPO,
            network=network,
            nested=False,
            limits=Limits(
                tmp_mb=max(2048, limits.tmp_mb),
                output_bytes=4 << 20,
                file_mb=limits.file_mb,
                processes=limits.processes,
                open_files=limits.open_files,
            ),
        )
        done = box.run(argv, timeout=max(1.0, self.deadline - started))
        seconds = round(time.monotonic() - started, 3)
        said = tail(done.output)
        ok = done.returncode == 0
        self.steps.append(Step(shown, ok, "" if ok else said, seconds))
        if not ok and not command.optional:
            failed = [one for one in self.steps[:-1] if not one.ok]
            said = "\n\n".join(
                [said, *(f"before it, `{one.what}`: {one.reason}" for one in failed)]
            )
            raise EnvironmentBuildError(
                f"{self.name}: `{shown}` failed"
                + (f": the build took {limits.build_seconds:g} s" if done.timed_out else ""),
                cause=said or f"exit status {done.returncode}",
                hint="change [build] in a copy of the toolchain, in critics/ of the workspace",
            )


def _profile(toolchain: Toolchain) -> CommandProfile:
    assert isinstance(toolchain.profile, CommandProfile)
    return toolchain.profile


def _tools(
    profile: CommandProfile,
) -> tuple[dict[str, _Tool], tuple[Mount, ...], list[str]]:
    """The programs of a profile, what the box must see of them, and their versions."""
    found = {name: _tool(name, profile) for name in profile.tools.programs}
    prefixes = dict.fromkeys(one.prefix for one in found.values() if one.prefix is not None)
    versions = []
    for command in profile.tools.version:
        name = command[0]
        program = str(found[name].path) if name in found else name
        versions.append(_said([program, *command[1:]], profile).strip())
    folders = [Path.home() / name for name in profile.tools.folders]
    shown = [*prefixes, *(one for one in folders if one.is_dir())]
    return found, tuple(Mount(path, str(path)) for path in shown), versions


def _tool(name: str, profile: CommandProfile) -> _Tool:
    there = shutil.which(name)
    if there is None:
        raise EnvironmentBuildError(
            f"{name} is not on this machine, and the toolchain {profile.name} needs it",
            hint=profile.tools.hint,
        )
    locate = profile.tools.locate.get(name)
    if locate and shutil.which(locate[0]):
        there = _said(list(locate), profile).strip() or there
    path = Path(there)
    real = path.resolve()
    if real.is_relative_to("/usr"):
        return _Tool(path if path.is_relative_to("/usr") else real, None)
    return _Tool(real, real.parent.parent if real.parent.name == "bin" else real.parent)


def _said(command: Sequence[str], profile: CommandProfile) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, cwd="/"
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentBuildError(
            f"`{' '.join(command)}` does not work, and the toolchain {profile.name} needs it",
            cause=str(error),
            hint=profile.tools.hint,
        ) from error
    return done.stdout or done.stderr


def _variables(profile: CommandProfile, tools: dict[str, _Tool]) -> dict[str, str]:
    """Environment of building and testing: the same on every machine, nothing of the user."""
    folders = dict.fromkeys(str(one.path.parent) for one in tools.values())
    places = {**PLACES, "{home}": str(Path.home())}
    own = {name: filled(value, places) for name, value in profile.test.environment.items()}
    return {
        "PATH": os.pathsep.join(dict.fromkeys([*folders, "/usr/local/bin", "/usr/bin", "/bin"])),
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "USER": "flywheel",
        "LOGNAME": "flywheel",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "CI": "true",
        **own,
    }


def _registry() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _REGISTRY.match(name)}
