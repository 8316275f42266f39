"""What a candidate may ask of the kernel."""

from __future__ import annotations

import platform
import signal
from textwrap import dedent

import pytest
from arena import Arena

from flywheel.sandbox import seccomp

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="calls of x86_64's other tables")
ASK = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def ask(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    return errno.errorcode.get(ctypes.get_errno(), "done") if result < 0 else "done"
"""


def test_27_a_new_user_namespace_is_denied(arena: Arena) -> None:
    unshare, clone = (272, 56) if platform.machine() == "x86_64" else (97, 220)
    body = f"""
    import subprocess
    told = subprocess.run(["unshare", "-r", "true"], capture_output=True, text=True)
    report([ask({unshare}, 0x10000000), ask({clone}, 0x10000000 | 17, 0, 0, 0, 0), ask(435, 0, 0),
            told.returncode, open("/proc/sys/user/max_user_namespaces").read().strip()])
    """
    assert arena.run(ASK + dedent(body)).report == ["EPERM", "EPERM", "ENOSYS", 1, "0"]


def test_28_mounting_remounting_and_unmounting_are_refused(arena: Arena) -> None:
    body = """
    MS_REMOUNT, MS_BIND = 32, 4096
    answers = []
    for result in (
        libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None),
        libc.mount(b"none", b"/usr", None, MS_REMOUNT | MS_BIND, None),
        libc.mount(b"/repo", b"/tmp", None, MS_BIND, None),
        libc.umount2(b"/tmp", 2), libc.umount2(b"/repo", 0), libc.umount2(b"/proc", 2),
    ):
        answers.append([result, errno.errorcode[ctypes.get_errno()]])
    report(answers)
    """
    assert arena.run(ASK + dedent(body)).report == [[-1, "EPERM"]] * 6


def test_29_keyrings_bpf_io_uring_userfaultfd_and_the_like_are_refused(arena: Arena) -> None:
    numbers = seccomp.denied()
    assert {"keyctl", "bpf", "io_uring_setup", "userfaultfd", "perf_event_open"} <= set(numbers)
    body = f"""
    report({{name: ask(number, 0, 0, 0, 0, 0) for name, number in {numbers}.items()}})
    """
    answers = arena.run(ASK + dedent(body)).report
    assert answers == dict.fromkeys(numbers, "EPERM")


@X86
def test_30_a_system_call_of_the_x32_table_kills_with_sigsys(arena: Arena) -> None:
    ended = arena.run(ASK + "ask(0x40000000 | 39)\nreport('survived')")
    assert ended.cause == "exited"
    assert (ended.status, ended.reports) == (-signal.SIGSYS, [])


@X86
def test_30_a_system_call_of_the_i386_table_kills_with_sigsys(arena: Arena) -> None:
    body = """
    import ctypes, mmap
    # mov eax, 20 (getpid); int 0x80; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    report("survived")
    """
    ended = arena.run(body)
    assert ended.reports == []
    # SIGSEGV where the kernel has no 32-bit entry at all.
    assert ended.status in (-signal.SIGSYS, -signal.SIGSEGV)


def test_31_set_uid_programs_and_device_nodes_have_no_effect(arena: Arena) -> None:
    body = """
    import os, shutil, stat, subprocess
    shutil.copy("/usr/bin/id", "/tmp/id"); os.chmod("/tmp/id", 0o6755)
    same = subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True).stdout.strip()
    system = [path for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount")
              if os.path.exists(path) and os.stat(path).st_mode & stat.S_ISUID]
    script = "grep -E '^(Uid|CapEff)' /proc/self/status"
    try:
        os.mknod("/tmp/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        node = "made"
    except OSError as error:
        node = errno.errorcode[error.errno]
    refused = [subprocess.run([path, "--version"], capture_output=True).returncode >= 0
               for path in system]
    report([same == str(os.getuid()), node, all(refused),
            "nosuid" in open("/proc/self/mounts").read()])
    """
    assert arena.run("import errno\n" + dedent(body)).report == [True, "EPERM", True, True]


def test_43_putting_characters_into_a_terminal_is_refused(arena: Arena) -> None:
    body = """
    import errno, fcntl, os, pty
    answers = []
    for request in (0x5412, 0x541C):
        try:
            main, terminal = pty.openpty()
            fcntl.ioctl(terminal, request, b"x")
            answers.append("done")
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
    report(answers)
    """
    assert arena.run(body).report == ["EPERM", "EPERM"]


def test_an_ordinary_program_is_not_hindered(arena: Arena) -> None:
    body = """
    import asyncio, ctypes, mmap, multiprocessing, os, socket, sqlite3, subprocess, tempfile
    import threading
    done = []
    done.append(subprocess.run(["sh", "-c", "echo $((6 * 7))"], capture_output=True).stdout)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        done.append(pool.map(abs, [-1, -2]))
    async def serve():
        async def echo(reader, writer):
            writer.write(await reader.readline()); writer.close()
        server = await asyncio.start_server(echo, "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port)
        writer.write(b"echo\\n")
        line = await reader.readline()
        writer.close(); server.close()
        process = await asyncio.create_subprocess_exec("true")
        return [line, await process.wait()]
    done.append(asyncio.run(serve()))
    with tempfile.TemporaryDirectory() as folder:
        base = sqlite3.connect(folder + "/base.sqlite")
        base.execute("pragma journal_mode = wal"); base.execute("create table t (x)")
        base.execute("insert into t values (1)"); base.commit()
        done.append(base.execute("select x from t").fetchall()); base.close()
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(8)]
    [thread.start() for thread in threads]; [thread.join() for thread in threads]
    done.append(sorted(seen))
    done.append(socket.getaddrinfo("localhost", 80)[0][4][0])
    first, second = socket.socketpair(); first.send(b"x"); done.append(second.recv(1))
    done.append(os.getpid() > 1)
    done.append(os.path.expanduser("~")); os.mkfifo("/tmp/fifo"); pid = os.fork()
    if pid == 0: os._exit(7)
    done.append(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
    report(repr(done))
    """
    expected = [
        b"42\n",
        [1, 2],
        [b"echo\n", 0],
        [(1,)],
        list(range(8)),
        "::1",
        b"x",
        True,
        "/tmp",
        7,
    ]
    told = arena.run(body).report
    assert told.replace("'127.0.0.1'", "'::1'") == repr(expected)
