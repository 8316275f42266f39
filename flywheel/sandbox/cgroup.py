"""A slot in the control groups: what the kernel counts for the candidates of one server.

The host process makes the slot, because the groups are visible and writable to it only, and
hands the server open descriptors: a worker joins by writing "0" to them. Works with version 1
(memory and pids) and with version 2 where a subtree is writable; elsewhere `make_slot` returns
None and memory is only watched (`S3-soft`). Folders of flywheels that died are removed.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"flywheel-(\d+)-(\d+)-\d+")
_COUNTER = itertools.count()
_CONTROLLERS: Final = ("memory", "pids")
_DYING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Slot:
    """Groups that one server's candidates run in, one candidate at a time."""

    folders: tuple[Path, ...]
    """One folder (version 2), or one for each controller (version 1)."""
    join_fds: tuple[int, ...]
    """Descriptors that a process writes "0" to, to join."""
    oom_fd: int
    """Descriptor of the file that has the `oom_kill` count."""

    @property
    def fds(self) -> tuple[int, ...]:
        """All descriptors the server has to inherit."""
        return (*self.join_fds, self.oom_fd)

    def oom_kills(self) -> int:
        """How many processes the kernel has killed in this slot for want of memory."""
        for line in os.pread(self.oom_fd, 4096, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def close(self) -> None:
        """Remove the groups; their processes must have been killed, and may still be dying."""
        for fd in self.fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        deadline = time.monotonic() + _DYING_SECONDS
        for folder in self.folders:
            while not _removed(folder) and time.monotonic() < deadline:
                time.sleep(0.002)
            if folder.exists():
                _LOG.warning("control group left behind, it still has processes: %s", folder)


def make_slot(*, memory_mb: int, processes: int) -> Slot | None:
    """A new slot with these limits (swap counted as memory), or None where none can be made."""
    parents = _parents()
    if parents is None:
        return None
    name = f"flywheel-{os.getpid()}-{_started(os.getpid())}-{next(_COUNTER)}"
    folders: list[Path] = []
    fds: list[int] = []
    try:
        for parent in dict.fromkeys(parents):
            _sweep(parent)
            folder = parent / name
            folder.mkdir()
            folders.append(folder)
        memory, pids = folders[0], folders[-1]
        events = _limit_memory(memory, memory_mb << 20)
        (pids / "pids.max").write_text(str(processes))
        fds += [os.open(f / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for f in folders]
        fds.append(os.open(events, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        _LOG.info("no control group: %s", error)
        for fd in fds:
            os.close(fd)
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return None
    return Slot(tuple(folders), tuple(fds[:-1]), fds[-1])


def _limit_memory(folder: Path, size: int) -> Path:
    """Set the limit; returns the file that counts kills."""
    if (folder / "memory.max").exists():
        (folder / "memory.max").write_text(str(size))
        swap = folder / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        # A candidate that lost one process to the limit has lost: end the others at once.
        (folder / "memory.oom.group").write_text("1")
        return folder / "memory.events"
    (folder / "memory.limit_in_bytes").write_text(str(size))
    with_swap = folder / "memory.memsw.limit_in_bytes"
    if with_swap.exists():
        with_swap.write_text(str(size))
    else:
        (folder / "memory.swappiness").write_text("0")
    return folder / "memory.oom_control"


def _parents() -> tuple[Path, Path] | None:
    """The folders below which memory and pids groups can be made; the same one in version 2."""
    paths = _own_paths()
    mounts = _mounts()
    if all(name in paths and name in mounts for name in _CONTROLLERS):
        memory, pids = (_place(*mounts[name], paths[name]) for name in _CONTROLLERS)
        if os.access(memory, os.W_OK) and os.access(pids, os.W_OK):
            return memory, pids
        return None
    if "" in paths and "" in mounts:
        own = _place(*mounts[""], paths[""])
        if os.access(own, os.W_OK) and _delegate(own):
            return own, own
    return None


def _delegate(own: Path) -> bool:
    """Let groups below `own` limit memory and pids (version 2)."""
    try:
        if not set(_CONTROLLERS) <= set((own / "cgroup.controllers").read_text().split()):
            return False
        control = own / "cgroup.subtree_control"
        if set(_CONTROLLERS) <= set(control.read_text().split()):
            return True
        # A group with limited children may hold no process itself: ours moves down into a leaf,
        # unless processes that are not ours live here too.
        if (own / "cgroup.procs").read_text().split() == [str(os.getpid())]:
            leaf = own / f"flywheel-{os.getpid()}-{_started(os.getpid())}-{next(_COUNTER)}"
            leaf.mkdir()
            (leaf / "cgroup.procs").write_text("0")
        control.write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
    except OSError as error:
        _LOG.info("control groups are not delegated: %s", error)
        return False
    return True


def _own_paths() -> dict[str, str]:
    """This process's group by controller; the key of version 2 is empty."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                found[name] = path
    return found


def _mounts() -> dict[str, tuple[str, str]]:
    """Root inside the hierarchy and mount point, by controller."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            root, point = left.split()[3:5]
            kind, _, options = right.split()[:3]
            if kind == "cgroup2":
                found[""] = (root, point)
            elif kind == "cgroup":
                found.update(dict.fromkeys(options.split(","), (root, point)))
    return found


def _place(root: str, point: str, path: str) -> Path:
    """The folder of group `path` in a hierarchy of which `root` is mounted at `point`."""
    if root != "/" and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return Path(point + path)


def _sweep(parent: Path) -> None:
    """Remove the groups of flywheels that are no more."""
    for folder in parent.glob("flywheel-*-*-*"):
        match = _NAME.fullmatch(folder.name)
        if match is not None and _started(int(match[1])) != int(match[2]):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _started(pid: int) -> int:
    """When the process started, in clock ticks since boot; -1 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[19])
