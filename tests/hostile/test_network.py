"""What a candidate may talk to."""

from __future__ import annotations

import socket
import textwrap
from pathlib import Path

from arena import Arena

TRY = """
import errno, os, socket
def attempt(family, kind, address):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(1)
            if kind == socket.SOCK_DGRAM:
                s.sendto(b"x", address)
            else:
                s.connect(address)
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
"""


def test_05_the_network_outside_is_unreachable(arena: Arena) -> None:
    body = """
    report([attempt(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)),
            attempt(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
            attempt(socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 80))])
    """
    assert set(_run(arena, body)) <= {"ENETUNREACH", "EADDRNOTAVAIL"}


def test_06_the_hosts_loopback_is_refused(arena: Arena) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        body = f"report(attempt(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', {port})))"
        assert _run(arena, body) == "ECONNREFUSED"


def test_07_a_siblings_sockets_are_refused(arena: Arena, sibling: Arena) -> None:
    listen = """
    import socket, time
    tcp = socket.create_server(("127.0.0.1", 8123))
    local = socket.socket(socket.AF_UNIX); local.bind("\\0sibling"); local.listen()
    report("listening")
    time.sleep(1)
    """
    attack = """
    report([attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 8123)),
            attempt(socket.AF_UNIX, socket.SOCK_STREAM, "\\0sibling")])
    """
    sibling.start(listen)
    for _ in range(5):
        assert _run(arena, attack) == ["ECONNREFUSED", "ECONNREFUSED"]
    assert sibling.finish().reports == ["listening"]


def test_08_the_same_port_can_be_used_by_one_candidate_after_another(arena: Arena) -> None:
    body = """
    import socket
    # Closed first by the side that accepted: the port lingers in TIME_WAIT.
    server = socket.socket(); server.bind(("127.0.0.1", 8124)); server.listen()
    client = socket.create_connection(("127.0.0.1", 8124))
    accepted, _ = server.accept()
    accepted.close(); client.close(); server.close()
    report("served")
    """
    assert arena.run(body).report == arena.run(body).report == "served"


def test_09_vsock_netlink_and_packet_sockets_are_no_known_families(arena: Arena) -> None:
    body = """
    import errno, socket
    answers = []
    for family in (40, 16, 17, 38, 44):
        try:
            socket.socket(family, socket.SOCK_RAW)
            answers.append("made")
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
    report(answers)
    """
    assert set(arena.run(body).report) == {"EAFNOSUPPORT"}


def test_10_a_socket_of_the_host_is_absent(arena: Arena, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(str(path))
        named.listen()
        abstract.bind("\0flywheel-hostile-test")
        abstract.listen()
        body = f"""
        report([attempt(socket.AF_UNIX, socket.SOCK_STREAM, {str(path)!r}),
                attempt(socket.AF_UNIX, socket.SOCK_STREAM, "\\0flywheel-hostile-test")])
        """
        assert _run(arena, body) == ["ENOENT", "ECONNREFUSED"]


def test_36_exhausted_inotify_leaves_a_sibling_unaffected(arena: Arena, sibling: Arena) -> None:
    make = """
    import ctypes, errno, time
    libc = ctypes.CDLL(None, use_errno=True)
    made = 0
    while made < 60 and libc.inotify_init() >= 0:
        made += 1
    report([made, errno.errorcode.get(ctypes.get_errno())])
    """
    sibling.start(textwrap.dedent(make) + "time.sleep(0.7)")
    try:
        body = "import ctypes; report(ctypes.CDLL(None).inotify_init() >= 0)"
        assert all(arena.run(body).report for _ in range(5))
    finally:
        made, error = sibling.finish().reports[0]
    assert made <= 32
    assert error == "EMFILE"


def _run(arena: Arena, body: str) -> object:
    return arena.run(TRY + textwrap.dedent(body)).report
