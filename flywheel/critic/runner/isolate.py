"""One throw-away sandbox per fork of a warm process.

The warm process calls `Isolation(config)` before it imports anything large, and `spawn` once
per candidate. Three processes take part, so that the warm memory is copied once and not twice:

    warm process --- forks early, while still small --> nursery
    nursery      --- clones into new namespaces ------> init      (pid 1, mounts, loopback)
    warm process --- forks, in init's pid namespace --> worker    (joins init's namespaces)

An init is made ready while the previous candidate runs. Init and worker are both children of
the warm process: it reaps the worker's own status, and killing init kills all that the
candidate left behind. The worker keeps no capability, no descriptor but stdio and its result
pipe, and a seccomp filter that the warm process installed on itself.

This file runs inside the target's environment: Python 3.8, standard library only. It does not
know what a test is, and the warm process must hold no secret: the worker inherits its memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, Callable, NamedTuple, NoReturn

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_INIT_FLAGS = (
    CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNS
    | CLONE_NEWIPC
    | CLONE_NEWNET
    | CLONE_PARENT
    | signal.SIGCHLD
)
WORKER_FLAGS = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET
"""What a worker joins; the seccomp filter lets `setns` pass with this or CLONE_NEWPID only."""

_SYS_CLONE = 220 if os.uname().machine == "aarch64" else 56
_SYS_PIDFD_OPEN = 434
_SYS_CLOSE_RANGE = 436

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41

_WATCH_SECONDS = 0.05
_SETUP_SECONDS = 20
_READY = b"\x01"
_PIPE = 1 << 16
"""Bytes a pipe holds."""
_LARGEST_PIPE = 1 << 20
"""Bytes a pipe can be made to hold by who has its other end."""


class IsolationError(Exception):
    """The isolation of a candidate could not be set up: never a verdict about the candidate."""


class ThreadsError(IsolationError):
    """The process has more than one thread, so it cannot be forked safely: judge cold."""


class Config(NamedTuple):
    """What every candidate of one warm process may use."""

    work: str = "/repo"
    """The read-only work tree; a candidate sees it writable, through an overlay."""
    overlay_bytes: int = 256 << 20
    """Everything a candidate may write in the work tree."""
    overlay_inodes: int = 50_000
    """Files and folders a candidate may create there, and in /tmp."""
    tmp_bytes: int = 128 << 20
    """Size of /tmp."""
    shm_bytes: int = 64 << 20
    """Size of /dev/shm."""
    processes: int = 128
    """Processes and threads at once."""
    open_files: int = 512
    """Descriptors a process."""
    file_bytes: int = 64 << 20
    """Largest file."""
    cpu_seconds: int = 3600
    """CPU seconds of one process; a backstop for the wall limit that `wait` keeps."""
    output_bytes: int = 1 << 20
    """Bytes of stdout and stderr together; more ends the candidate with cause `output`."""
    result_bytes: int = 256 << 20
    """Bytes of the result pipe; more ends the candidate with cause `output`."""
    seccomp: bytes = b""
    """The BPF program of the filter; empty installs none (tests only)."""
    cgroup_fds: tuple[int, ...] = ()
    """Descriptors of the cgroup files a worker writes "0" to."""
    oom_fd: int = -1
    """Descriptor of the file whose `oom_kill` line counts kills in that cgroup; -1 is none."""
    soft_memory_bytes: int = 0
    """Without a cgroup: kill a candidate whose memory is seen above this; 0 does not look."""


class End(NamedTuple):
    """How a candidate ended."""

    cause: str
    """`exited`, `wall`, `output` (too much), `memory`, or `setup` (the candidate never ran)."""
    status: int
    """Exit status of the worker; negative is the signal that killed it."""
    output: bytes
    """stdout and stderr together, at most `output_bytes`."""
    wall_seconds: float
    """From spawn to the end of the worker."""
    cpu_seconds: float
    """CPU of the worker and of its children that it waited for."""
    detail: str
    """Why, for `setup` and `memory`; else empty."""
    peak_bytes: int = 0
    """Most memory the worker held at once, what it shares with the warm process included."""


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


_libc: Any = ctypes.PyDLL(None, use_errno=True)
# `syscall` and `prctl` are variadic: every argument is passed as a long.
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 6
_prctl = _libc.prctl
_prctl.restype = ctypes.c_int
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_long] * 4
_setns = _libc.setns
_setns.argtypes = [ctypes.c_int, ctypes.c_int]
_mount = _libc.mount
_mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
_capset = _libc.capset
_capset.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
_ioctl = _libc.ioctl
_ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]

_CAP_HEADER = struct.pack("=Ii", 0x20080522, 0)
_NO_CAPS = bytes(24)
_LOOPBACK_UP = struct.pack("16sH22x", b"lo", _IFF_UP_RUNNING)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise IsolationError(f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})")
    return result


def _write(path: str, text: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text)
        finally:
            os.close(fd)
    except OSError as error:
        raise IsolationError(f"write {path}: {error.strerror}") from error


def _map_own_ids(uid: int, gid: int) -> None:
    _write("/proc/self/setgroups", b"deny")
    _write("/proc/self/uid_map", b"%d %d 1" % (uid, uid))
    _write("/proc/self/gid_map", b"%d %d 1" % (gid, gid))


def _last_capability() -> int:
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 63


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


class Isolation:
    """Sandboxes for the candidates of this process, one at a time.

    Make it before importing anything large: the nursery is a copy of this process. From then
    on this process is in its own user namespace and under the seccomp filter; after the first
    `spawn` it can neither start threads nor other processes.

    Raises `ThreadsError` when the process has threads, `IsolationError` when the kernel refuses.
    """

    def __init__(self, config: Config) -> None:
        if threads() != 1:
            raise ThreadsError("isolation must be set up before any thread is started")
        self.config = config
        self._uid, self._gid = os.getuid(), os.getgid()
        self._capabilities = range(_last_capability() + 1)
        self._limits = _rlimits(config)
        self._oom_seen = self._oom_kills()
        _check(_libc.unshare(CLONE_NEWUSER), "unshare(user)")
        _map_own_ids(self._uid, self._gid)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._nursery_pid = os.fork()
        if self._nursery_pid == 0:
            try:
                ours.close()
                _Nursery(config, theirs, self._uid, self._gid).serve()
            finally:
                os._exit(1)
        theirs.close()
        # A kernel-side timeout: no poll() before each receive, as settimeout() would make.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SETUP_SECONDS, 0))
        self._nursery = ours
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        if config.seccomp:
            self._install_filter(config.seccomp)
        self._ordered = False
        self._joined = False
        self._order()

    def spawn(
        self, run: Callable[[int], object], *, keep: tuple[int, ...] = (), cpu_seconds: int = 0
    ) -> Child:
        """Fork a worker in a fresh sandbox that calls `run(result_fd)` and exits.

        `run` is called in the work tree; what it writes to `result_fd` reaches `Child.wait`.
        `keep` are descriptors the worker keeps beside stdio and its result pipe.
        `cpu_seconds` replaces the configured backstop when positive.

        Raises `ThreadsError` or `IsolationError`; no worker exists then.
        """
        if threads() != 1:
            raise ThreadsError("the warm process has started a thread")
        started = time.monotonic()
        init, init_fd = self._receive()
        fds = [init_fd]
        try:
            # Only the children of this process enter init's pid namespace.
            _check(_setns(init_fd, CLONE_NEWPID), "setns(pid)")
            fds += os.pipe()
            fds += os.pipe()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            # A collection in the fork would touch, and so copy, every page of the warm heap.
            gc.freeze()
            pid = os.fork()
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            _end(init)
            if isinstance(error, OSError):
                raise IsolationError(f"fork: {error.strerror}") from error
            raise
        _, result_read, result_write, output_read, output_write = fds
        if pid == 0:
            self._work(run, init_fd, result_write, output_write, keep, cpu_seconds)
        for fd in (init_fd, result_write, output_write):
            os.close(fd)
        child = Child(self, pid, init, result_read, output_read, started)
        self._order()
        return child

    def join(self) -> None:
        """Put this process itself into the slot, so that its later forks are born in it.

        A worker that joins by itself waits, each time, for a grace period of the kernel. Call it
        when everything is imported: what this process holds by then is not counted, and of a
        candidate's memory bomb the candidate is killed, whose score is the worst.
        """
        if not self._joined:
            self._join()

    def _join(self) -> None:
        for fd in self.config.cgroup_fds:
            try:
                os.write(fd, b"0")
            except OSError as error:
                raise IsolationError(f"join the cgroup: {error.strerror}") from error
        self._joined = True

    def close(self) -> None:
        """End the nursery and the init it keeps ready."""
        with contextlib.suppress(IsolationError):
            init, init_fd = self._receive()
            os.close(init_fd)
            _end(init)
        self._nursery.close()
        os.close(self._null)
        _end(self._nursery_pid)

    def _order(self) -> None:
        try:
            self._nursery.send(b"1")
        except OSError as error:
            raise IsolationError(f"the nursery is gone: {error.strerror}") from error
        self._ordered = True

    def _receive(self) -> tuple[int, int]:
        """The pid of a ready init and a pidfd of it."""
        if not self._ordered:
            self._order()
        self._ordered = False
        try:
            message = self._nursery.recv(4096)
        except OSError as error:
            raise IsolationError(f"no sandbox from the nursery: {error.strerror}") from error
        if not message:
            raise IsolationError("the nursery is gone")
        pid, text = struct.unpack("i", message[:4])[0], message[4:]
        if text:
            if pid:
                _end(pid)
            raise IsolationError(text.decode(errors="replace"))
        return pid, _check(_syscall(_SYS_PIDFD_OPEN, pid, 0, 0, 0, 0), "pidfd_open")

    def _install_filter(self, program: bytes) -> None:
        described = _Filter(len(program) // 8, program)
        _check(
            _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described), 0, 0),
            "seccomp",
        )

    def _oom_kills(self) -> int:
        if self.config.oom_fd < 0:
            return 0
        for line in os.pread(self.config.oom_fd, 4096, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def oom_killed(self) -> bool:
        """Whether the kernel killed for memory in the slot since this was last asked."""
        seen = self._oom_kills()
        killed = seen != self._oom_seen
        self._oom_seen = seen
        return killed

    def _work(
        self,
        run: Callable[[int], object],
        init_fd: int,
        result: int,
        output: int,
        keep: tuple[int, ...],
        cpu_seconds: int,
    ) -> NoReturn:
        """Become the worker; never returns."""
        status = 1
        try:
            try:
                self._enter(init_fd, cpu_seconds)
                os.dup2(self._null, 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                _close_all_but((0, 1, 2, result, *keep))
                self._drop()
                os.chdir(self.config.work)
            except BaseException as error:
                os.write(result, b"\x00" + str(error).encode()[:2000])
                os._exit(1)
            os.write(result, _READY)
            try:
                run(result)
                status = 0
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
        finally:
            os._exit(status & 0xFF)

    def _enter(self, init_fd: int, cpu_seconds: int) -> None:
        _check(_setns(init_fd, WORKER_FLAGS), "setns")
        # Changing the user namespace made this process undumpable, its /proc files root's.
        _check(_prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")
        os.setsid()
        _write("/proc/self/oom_score_adj", b"1000")
        if not self._joined:
            self._join()
        for name, value in self._limits:
            resource.setrlimit(name, value)
        if cpu_seconds > 0:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))

    def _drop(self) -> None:
        for number in self._capabilities:
            _check(_prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "drop the bounding set")
        _check(_capset(_CAP_HEADER, _NO_CAPS), "capset")
        # After the capabilities: a change of credentials clears it.
        _check(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")


class Child:
    """A running candidate."""

    def __init__(
        self, home: Isolation, pid: int, init: int, result: int, output: int, started: float
    ) -> None:
        self.pid = pid
        """The worker, as the warm process numbers it."""
        self.init = init
        """Pid 1 of the candidate's namespace; killing it kills all of them."""
        self._home = home
        self._config = home.config
        self._started = started
        self._result = _Pipe(result, home.config.result_bytes)
        self._output = _Pipe(output, home.config.output_bytes)

    def kill(self) -> None:
        """Kill the candidate and everything it started; `wait` still has to be called."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)

    def wait(self, seconds: float, on_result: Callable[[bytes], float | None] | None = None) -> End:
        """Wait for the end, killing the candidate `seconds` from now; frees everything.

        `on_result` gets the bytes of the result pipe as they come; a number that it returns is
        the time left from then on, so that each test can have its own limit.
        """
        printed: list[bytes] = []
        try:
            try:
                cause, detail = self._watch(seconds, on_result, printed)
                wall = time.monotonic() - self._started
            finally:
                self.kill()
                _, raw, usage = os.wait4(self.pid, 0)
                # When init is reaped nothing is left that could write.
                _end(self.init)
            if cause != "output":
                self._take(on_result, _LARGEST_PIPE)
                printed.append(self._output.read(_LARGEST_PIPE))
        finally:
            self._result.close()
            self._output.close()
        status = -os.WTERMSIG(raw) if os.WIFSIGNALED(raw) else os.WEXITSTATUS(raw)
        out_of_memory = self._home.oom_killed()
        if self._result.head != _READY:
            why = self._result.head[1:].decode(errors="replace")
            detail = why or f"the worker ended early ({cause}, status {status})"
            cause = "setup"
        elif out_of_memory:
            cause, detail = "memory", "killed at the memory limit"
        elif cause == "exited" and (self._output.over or self._result.over):
            cause = "output"
        output = b"".join(printed)[: self._config.output_bytes]
        cpu = usage.ru_utime + usage.ru_stime
        return End(cause, status, output, wall, cpu, detail, usage.ru_maxrss << 10)

    def _watch(
        self,
        seconds: float,
        on_result: Callable[[bytes], float | None] | None,
        printed: list[bytes],
    ) -> tuple[str, str]:
        """Serve the pipes until the worker ends or has to be ended: why, and what was seen."""
        soft = self._config.soft_memory_bytes
        deadline = time.monotonic() + seconds
        look = time.monotonic() + _WATCH_SECONDS
        poll = select.poll()
        worker = _check(_syscall(_SYS_PIDFD_OPEN, self.pid, 0, 0, 0, 0), "pidfd_open")
        try:
            for fd in (self._result.fd, self._output.fd, worker):
                poll.register(fd, select.POLLIN)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "wall", ""
                ready = poll.poll(1000 * (min(left, _WATCH_SECONDS) if soft else left) + 1)
                for fd, _ in ready:
                    if fd == worker:
                        return "exited", ""
                    if fd == self._output.fd:
                        printed.append(self._output.read())
                    else:
                        more = self._take(on_result)
                        if more is not None:
                            deadline = time.monotonic() + more
                for pipe in (self._result, self._output):
                    if pipe.over:
                        return "output", ""
                    if pipe.ended:
                        # Closed by the candidate, which may run on; poll() would not sleep.
                        poll.unregister(pipe.fd)
                        pipe.ended = False
                if soft and time.monotonic() >= look:
                    used = memory_of(self.init)
                    if used > soft:
                        return "memory", f"{used >> 20} MiB in use"
                    look = time.monotonic() + _WATCH_SECONDS
        finally:
            os.close(worker)

    def _take(
        self, on_result: Callable[[bytes], float | None] | None, most: int = _PIPE
    ) -> float | None:
        """Hand on what is in the result pipe, apart from the word that set-up is done."""
        data = self._result.read(most)
        if self._result.head != _READY:
            self._result.head += data[:1] if data[:1] == _READY else data
            data = data[1:] if self._result.head == _READY else b""
        return on_result(data) if data and on_result is not None else None


class _Pipe:
    """The reading end of a pipe that a candidate writes to."""

    def __init__(self, fd: int, most: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.head = b""
        """What came before the candidate itself ran."""
        self.over = False
        """More was written than may be."""
        self.ended = False
        """Nobody has the writing end any more."""
        self._left = most

    def read(self, most: int = _PIPE) -> bytes:
        """What is in the pipe now, at most so many bytes."""
        try:
            data = os.read(self.fd, most)
        except BlockingIOError:
            return b""
        self.ended = not data
        self._left -= len(data)
        self.over = self._left < 0
        return data

    def close(self) -> None:
        os.close(self.fd)


class _Nursery:
    """The small process that makes the sandboxes."""

    def __init__(self, config: Config, link: socket.socket, uid: int, gid: int) -> None:
        self._link = link
        self._uid, self._gid = uid, gid
        work = os.fsencode(config.work)
        self._work = work
        upper = b"size=%d,nr_inodes=%d,mode=0700" % (config.overlay_bytes, config.overlay_inodes)
        self._upper = upper
        self._overlay = b"lowerdir=%s,upperdir=/tmp/upper,workdir=/tmp/work,userxattr" % work
        self._tmp = b"size=%d,nr_inodes=%d,mode=1777" % (config.tmp_bytes, config.overlay_inodes)
        self._shm = b"size=%d,nr_inodes=%d,mode=1777" % (config.shm_bytes, config.overlay_inodes)
        self._work_mode = os.stat(config.work).st_mode & 0o7777

    def serve(self) -> None:
        _check(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
        # Inherited by init: ignored children are reaped by the kernel.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)
        _close_all_but((0, 1, 2, self._link.fileno()))
        gc.freeze()
        gc.disable()
        fork_before = ctypes.pythonapi.PyOS_BeforeFork
        fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
        fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
        fork_before.restype = fork_parent.restype = fork_child.restype = None
        while self._link.recv(16):
            fork_before()
            pid = _syscall(_SYS_CLONE, _INIT_FLAGS, 0, 0, 0, 0)
            if pid == 0:
                fork_child()
                self._init()
            code = ctypes.get_errno()
            fork_parent()
            if pid < 0:
                text = f"clone of new namespaces: {os.strerror(code)}"
                self._link.send(struct.pack("i", 0) + text.encode())

    def _init(self) -> NoReturn:
        pid = 0
        try:
            # The number of this process in the warm process's eyes: the old /proc is still here.
            pid = int(os.readlink("/proc/self"))
            self._set_up()
            self._link.send(struct.pack("i", pid))
            self._link.close()
            while True:
                signal.pause()
        except BaseException as error:
            with contextlib.suppress(OSError):
                self._link.send(struct.pack("i", pid) + str(error).encode()[:2000])
        finally:
            os._exit(1)

    def _set_up(self) -> None:
        # The warm process is the parent (CLONE_PARENT): nothing outlives it.
        _check(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
        _map_own_ids(self._uid, self._gid)
        _check(_mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "private mounts")
        flags = _MS_NOSUID | _MS_NODEV
        # The upper layer lives below what becomes /tmp: the second mount hides the first.
        _check(_mount(b"tmpfs", b"/tmp", b"tmpfs", flags, self._upper), "tmpfs")
        os.mkdir("/tmp/upper", 0o755)
        os.mkdir("/tmp/work", 0o700)
        _check(_mount(b"overlay", self._work, b"overlay", flags, self._overlay), "overlay")
        _check(_mount(b"tmpfs", b"/tmp", b"tmpfs", flags, self._tmp), "tmpfs on /tmp")
        _check(_mount(b"tmpfs", b"/dev/shm", b"tmpfs", flags, self._shm), "tmpfs on /dev/shm")
        _check(_mount(b"proc", b"/proc", b"proc", flags | _MS_NOEXEC, None), "proc")
        _write("/proc/sys/user/max_user_namespaces", b"0")
        # The instances are counted for the user in the whole system: leave some to siblings.
        _write("/proc/sys/user/max_inotify_instances", b"32")
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        _check(_ioctl(udp.fileno(), _SIOCSIFFLAGS, _LOOPBACK_UP), "loopback")
        udp.close()
        # The capabilities that init keeps are what hides its /proc files from the worker, who
        # has none; making it undumpable would hide it from the warm process as well.


def memory_of(init: int) -> int:
    """Bytes used by all processes below `init`'s namespace, and by its file systems in memory.

    For a system without writable cgroups: proportional shares, so that the warm process's
    pages are not counted in full, plus tmpfs, plus the anonymous files nobody has mapped.
    """
    try:
        space = os.readlink(f"/proc/{init}/ns/pid")
    except OSError:
        return 0
    total = 0
    files: dict[tuple[int, int], int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/pid") != space:
                continue
            with open(f"/proc/{name}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")):
                        total += int(line.split()[1]) << 10
            for fd in os.listdir(f"/proc/{name}/fd"):
                path = f"/proc/{name}/fd/{fd}"
                if os.readlink(path).startswith("/memfd:"):
                    stat = os.stat(path)
                    files[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
        except OSError:
            continue
    for folder in ("tmp", "dev/shm", "repo"):
        with contextlib.suppress(OSError):
            space_left = os.statvfs(f"/proc/{init}/root/{folder}")
            total += (space_left.f_blocks - space_left.f_bfree) * space_left.f_frsize
    return total + sum(files.values())


def _rlimits(config: Config) -> list[tuple[int, tuple[int, int]]]:
    """Soft and hard limits of a worker, none above what this process has itself."""
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, config.processes),
        (resource.RLIMIT_NOFILE, config.open_files),
        (resource.RLIMIT_FSIZE, config.file_bytes),
        (resource.RLIMIT_CPU, config.cpu_seconds),
    ]
    limits = []
    for name, value in wanted:
        hard = resource.getrlimit(name)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        # The soft CPU limit's SIGXCPU can be ignored, the hard one's SIGKILL cannot.
        limits.append((name, (value, value + 1 if name == resource.RLIMIT_CPU else value)))
    return limits


def _close_all_but(kept: tuple[int, ...]) -> None:
    first = 0
    for fd in sorted(set(kept)):
        if fd > first:
            _close_range(first, fd - 1)
        first = fd + 1
    _close_range(first, 0x7FFFFFFF)


def _close_range(first: int, last: int) -> None:
    if _syscall(_SYS_CLOSE_RANGE, first, last, 0, 0, 0) < 0:
        os.closerange(first, min(last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


def _end(pid: int) -> None:
    """Kill a child of this process, and with an init all that is below it, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
