"""`flywheel doctor`: for each thing that is needed, whether it is there and what mends it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from flywheel.cli.options import Json
from flywheel.cli.session import Session
from flywheel.core.errors import FlywheelError

ENOUGH_DISK_GIB = 2.0
"""Free space below which a harvest may run out: two environments and a store."""

OLDEST_GIT = (2, 25)
"""First git with the sparse and partial clones that fetching uses."""

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    """What was looked at."""
    ok: bool
    """True when it is as it should be."""
    detail: str
    """What was found."""
    fix: str | None = None
    """The command that mends it, None when nothing is to be done."""
    required: bool = True
    """False when flywheel works without it, only less well."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    as_json: Json = False,
) -> None:
    """Check what flywheel needs on this machine.

    Says for each thing whether it is there and, when it is not, the command that mends it.
    """
    session = Session.of(context)
    checks = list(examine(session))
    healthy = all(check.ok for check in checks if check.required)
    if as_json:
        session.print_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            _print(session, check)
        if healthy:
            session.next_step("harvest", "--repo", "PATH")
    if not healthy:
        raise typer.Exit(1)


def examine(session: Session) -> Iterator[Check]:
    """Run every check, one after the other; a check that breaks is itself a finding."""
    parts: tuple[tuple[str, Callable[[Session], Iterator[Check]]], ...] = (
        ("python", _python),
        ("git", _git),
        ("uv", _uv),
        ("interpreters", _interpreters),
        ("sandbox", _sandbox),
        ("settings", _settings),
        ("toolchains", _toolchains),
        ("language models", _language_models),
        ("disk", _disk),
    )
    for name, part in parts:
        try:
            yield from part(session)
        except FlywheelError as error:
            yield Check(name, False, f"{error.message} {error.cause or ''}".strip(), error.hint)
        except (OSError, subprocess.SubprocessError) as error:
            yield Check(name, False, f"{type(error).__name__}: {error}")


def _print(session: Session, check: Check) -> None:
    from rich.markup import escape

    mark = (
        "[green]ok[/green]  "
        if check.ok
        else ("[red]FAIL[/red]" if check.required else "[yellow]warn[/yellow]")
    )
    session.out.print(f"{mark}  [bold]{check.name}[/bold]: {escape(check.detail)}")
    if check.fix and not check.ok:
        session.out.print(f"      mend: {escape(check.fix)}")


def _python(_: Session) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", True, f"{version} at {sys.executable} runs flywheel")


def _language_models(session: Session) -> Iterator[Check]:
    """Which model plays which role, and whether its key, or its file, is there. Asks none."""
    from flywheel.lm import LOCAL, Role, Secrets, check_local, profile_of

    profiles = session.configuration().settings.lm
    roles: dict[str, list[str]] = {}
    chosen = {role: profile_of(role, profiles) for role in Role}
    for role, profile in chosen.items():
        roles.setdefault(profile.name, []).append(role.value)
    for profile in {one.name: one for one in chosen.values()}.values():
        name = f"language model {profile.name}"
        detail = f"{profile.settings.model} for {', '.join(roles[profile.name])}"
        try:
            if profile.provider == LOCAL:
                detail += f"; {check_local(profile)}"
            elif Secrets().key(profile) is not None:
                detail += "; its key is there"
            yield Check(name, True, detail, required=False)
        except FlywheelError as error:
            missing = error.cause or error.message
            yield Check(name, False, f"{detail}; {missing}", error.hint, required=False)


def _git(_: Session) -> Iterator[Check]:
    fix = "apt install git    (or your system's package of that name)"
    path = shutil.which("git")
    if path is None:
        yield Check("git", False, "not found on PATH", fix)
        return
    text = _output([path, "--version"])
    found = re.search(r"(\d+)\.(\d+)", text)
    new_enough = found is not None and (int(found[1]), int(found[2])) >= OLDEST_GIT
    oldest = ".".join(map(str, OLDEST_GIT))
    detail = f"{text} at {path}" + ("" if new_enough else f"; {oldest} or newer is needed")
    yield Check("git", new_enough, detail, None if new_enough else fix)


def _uv_path() -> str | None:
    import uv

    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        return shutil.which("uv")


def _uv(_: Session) -> Iterator[Check]:
    path = _uv_path()
    if path is None:
        yield Check("uv", False, "not found", f"{sys.executable} -m pip install uv")
    else:
        yield Check("uv", True, f"{_output([path, '--version'])} at {path}")


def _interpreters(_: Session) -> Iterator[Check]:
    path = _uv_path()
    if path is None:
        return
    listing = json.loads(
        _output(
            [path, "python", "list", "--only-installed", "--offline", "--output-format", "json"]
        )
    )
    # 3.8 is the oldest Python the critic's runner works in.
    versions = sorted(
        {
            (parts["major"], parts["minor"], parts["patch"])
            for one in listing
            if one["implementation"] == "cpython"
            and (parts := one["version_parts"])
            and (parts["major"], parts["minor"]) >= (3, 8)
        }
    )
    shown = ", ".join(".".join(map(str, version)) for version in versions) or "none"
    yield Check(
        "interpreters",
        bool(versions),
        f"Pythons to build test environments with: {shown}",
        "apt install python3 python3-venv",
    )


def _sandbox(_: Session) -> Iterator[Check]:
    from flywheel import sandbox

    found = sandbox.probe()
    for check in found.checks:
        # A missing part lowers the level; only having no level at all is a failure.
        yield Check(f"sandbox: {check.name}", check.ok, check.detail, check.fix, required=False)
    yield Check("sandbox", True, f"level {found.level}: {found.reason}")


def _settings(session: Session) -> Iterator[Check]:
    files = session.configuration().files
    detail = ", ".join(map(str, files)) if files else "no file; every setting is at its default"
    yield Check("settings", True, detail)


def _toolchains(session: Session) -> Iterator[Check]:
    from flywheel.candidates import GrammarLanguage
    from flywheel.critic import load_toolchains, tool_versions
    from flywheel.workspace import content

    configured = session.configuration().settings.paths.critics
    items = content("critics", session.workspace, configured=configured)
    shown = ", ".join(f"{item.name} ({item.origin})" for item in items)
    yield Check("toolchains", True, shown)
    for item, toolchain in zip(
        items, load_toolchains([(item.name, item.path) for item in items]), strict=True
    ):
        language = toolchain.language()
        try:
            said = tool_versions(toolchain)
            if isinstance(language, GrammarLanguage):
                for suffix in language.suffixes:  # each loads its grammar, or says what is missing
                    language.grammar(f"any{suffix}")
        except FlywheelError as error:
            yield Check(f"toolchain {item.name}", False, error.message, error.hint, required=False)
            continue
        if said:
            yield Check(f"toolchain {item.name}", True, said, required=False)


def _disk(session: Session) -> Iterator[Check]:
    cache = session.configuration().settings.paths.cache or session.workspace.cache
    for name, folder, fix in (
        ("cache", cache, "free some space, or set FLYWHEEL_PATHS_CACHE to a folder elsewhere"),
        ("workspace", session.workspace.root, "free some space, or use --workspace elsewhere"),
    ):
        free = shutil.disk_usage(_existing(folder)).free / _GIB
        enough = free >= ENOUGH_DISK_GIB
        detail = f"{free:.1f} GiB free at {folder}"
        yield Check(f"disk: {name}", enough, detail, None if enough else fix, required=False)


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()
