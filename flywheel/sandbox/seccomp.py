"""The system call filter of a candidate, as the bytes of a classic BPF program.

A deny list: an unknown test suite must run, so everything is allowed but what reaches other
processes, namespaces, mounts, kernel interfaces with a history of holes, or sockets that a
network namespace does not hold. Refusals are ordinary errors that programs handle; only a call
of another architecture's table kills. The filter is installed once, by the warm process, and
inherited by all its forks; bubblewrap can load the same bytes with `--seccomp`.

It compares what a register holds and cannot look behind pointers: `clone3`, whose flags lie in
memory, is answered as a kernel without it would, and callers then use `clone`.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final, NamedTuple

from flywheel.core.errors import SandboxError

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER_EQUAL: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_ERROR: Final = 0x00050000

_NUMBER, _ARCHITECTURE = 0, 4
_X32_BIT: Final = 0x40000000

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
_NAMESPACES: Final = (
    CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
)
_JOINED: Final = (
    CLONE_NEWPID,
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET,
)
"""What the warm process itself passes to `setns`; a candidate lacks the capability for it."""

_FAMILIES: Final = (1, 2, 10)
"""AF_UNIX, AF_INET and AF_INET6: what the network namespace holds."""
_PERSONALITIES: Final = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, its 32-bit names, and the question which one is set."""
_IOCTLS: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX put characters into a terminal's input."""

# Number on x86_64, number on aarch64 (None: not there).
_DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    # Keys are not held by namespaces.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Kernel interfaces with a large surface.
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "memfd_secret": (447, 447),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # Mounts, the old and the new way.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # The machine.
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "create_module": (174, None),
    "query_module": (178, None),
    "get_kernel_syms": (177, None),
}


class _Judged(NamedTuple):
    """Calls that are allowed or refused by an argument."""

    ioctl: int
    socket: int
    clone: int
    clone3: int
    unshare: int
    setns: int
    personality: int


_JUDGED: Final = {
    "x86_64": _Judged(16, 41, 56, 435, 272, 308, 135),
    "aarch64": _Judged(29, 198, 220, 435, 97, 268, 92),
}


def build(machine: str | None = None) -> bytes:
    """The filter for `machine` (as `uname -m` names it; None is this one).

    Raises `SandboxError` for a machine whose system call numbers are not known here.
    """
    machine = platform.machine() if machine is None else machine
    if machine not in _ARCHITECTURES:
        raise SandboxError(
            f"no system call filter is known for {machine}; known: {', '.join(_ARCHITECTURES)}",
            hint="run flywheel on x86_64 or aarch64 Linux",
        )
    judged = _JUDGED[machine]
    program = [
        _load(_ARCHITECTURE),
        _step(_JUMP_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _step(_RETURN, _KILL_PROCESS),
        _load(_NUMBER),
    ]
    if machine == "x86_64":
        program += [
            _step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1),
            _step(_RETURN, _KILL_PROCESS),
        ]
    program += _refuse_values(judged.ioctl, 1, _IOCTLS, errno.EPERM)
    program += _refuse_bits(judged.clone, _NAMESPACES)
    program += _allow_values(judged.socket, 0, _FAMILIES, errno.EAFNOSUPPORT)
    program += _refuse_call(judged.clone3, errno.ENOSYS)
    program += _refuse_bits(judged.unshare, _NAMESPACES | CLONE_NEWTIME)
    program += _allow_values(judged.setns, 1, _JOINED, errno.EPERM)
    program += _allow_values(judged.personality, 0, _PERSONALITIES, errno.EPERM)
    for number in denied(machine).values():
        program += _refuse_call(number, errno.EPERM)
    program.append(_step(_RETURN, _ALLOW))
    return b"".join(program)


def denied(machine: str | None = None) -> dict[str, int]:
    """Numbers of the calls that are refused whatever their arguments."""
    column = list(_ARCHITECTURES).index(platform.machine() if machine is None else machine)
    pairs = ((name, numbers[column]) for name, numbers in _DENIED.items())
    return {name: number for name, number in pairs if number is not None}


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset)


def _argument(index: int) -> int:
    """Offset of an argument's low half (both machines are little-endian)."""
    return 16 + 8 * index


def _refuse(error: int) -> bytes:
    return _step(_RETURN, _ERROR | error)


def _refuse_call(number: int, error: int) -> list[bytes]:
    return [_step(_JUMP_EQUAL, number, 0, 1), _refuse(error)]


def _refuse_bits(number: int, bits: int) -> list[bytes]:
    body = [
        _load(_argument(0)),
        _step(_JUMP_ANY_BIT, bits, 0, 1),
        _refuse(errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return [_step(_JUMP_EQUAL, number, 0, len(body)), *body]


def _refuse_values(number: int, index: int, values: tuple[int, ...], error: int) -> list[bytes]:
    body = [_load(_argument(index))]
    for value in values:
        body += [_step(_JUMP_EQUAL, value, 0, 1), _refuse(error)]
    body.append(_step(_RETURN, _ALLOW))
    return [_step(_JUMP_EQUAL, number, 0, len(body)), *body]


def _allow_values(number: int, index: int, values: tuple[int, ...], error: int) -> list[bytes]:
    body = [_load(_argument(index))]
    for value in values:
        body += [_step(_JUMP_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW)]
    body.append(_refuse(error))
    return [_step(_JUMP_EQUAL, number, 0, len(body)), *body]
