"""What a candidate may read and write."""

from __future__ import annotations

import errno
import textwrap
import time
from pathlib import Path

from arena import Arena

TRY = """
import errno, os
def attempt(action, *arguments):
    try:
        action(*arguments)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
def write(path):
    with open(path, "w") as file:
        file.write("x")
"""


def test_01_what_one_candidate_writes_in_the_repo_the_next_does_not_see(arena: Arena) -> None:
    body = """
    import os
    seen = open("/repo/module.py").read(), sorted(os.listdir("/repo")), os.path.isdir("package")
    open("/repo/module.py", "w").write("value = 'changed'")
    open("/repo/new.py", "w").write("x")
    os.remove("package/__init__.py"); os.rmdir("package")
    os.mkdir("package"); os.rename("new.py", "package/new.py")
    report([seen, open("module.py").read()])
    """
    first, second = arena.run(body).report, arena.run(body).report
    assert first == second
    assert first[1] == "value = 'changed'"
    assert (arena.repo / "module.py").read_text() == "value = 'base'\n"
    assert not (arena.repo / "new.py").exists()


def test_02_the_system_the_environment_and_the_root_are_read_only(arena: Arena) -> None:
    body = f"""
    {{TRY}}
    report([attempt(write, folder + "/x") for folder in
        ("/usr", "/usr/bin", {str(Path(arena.python).parent)!r}, "/", "/dev", "/etc", "/bin")])
    """
    assert set(arena.run(_with_try(body)).report) == {"EROFS"}


def test_03_home_the_store_and_shadow_are_absent(arena: Arena, tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    store.write_text("secret")
    body = f"""
    {{TRY}}
    report([attempt(os.stat, path) for path in
        ({str(Path.home() / ".ssh")!r}, "/home", "/etc/shadow", {str(store)!r}, "/run", "/sys",
         "/var", "/mnt")])
    """
    assert set(arena.run(_with_try(body)).report) == {"ENOENT"}


def test_04_a_planted_environment_secret_is_absent(arena: Arena) -> None:
    body = """
    import os
    found = " ".join(os.environ) + " ".join(os.environ.values())
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found += open(f"/proc/{name}/environ").read()
            except OSError:
                pass
    report(found)
    """
    report = arena.run(body).report
    assert "PATH" in report
    assert "planted" not in report
    assert "SECRET" not in report


def test_19_a_huge_and_a_sparse_file_are_refused_with_efbig(arena: Arena) -> None:
    body = """
    {TRY}
    def huge():
        with open("/tmp/huge", "wb", buffering=0) as file:
            for _ in range(10_000):
                file.write(bytes(1 << 20))
    def sparse():
        with open("/repo/sparse", "wb") as file:
            file.truncate(10 << 30)
    report([attempt(huge), attempt(sparse)])
    """
    assert arena.run(_with_try(body)).report == ["EFBIG", "EFBIG"]


def test_20_many_files_end_in_enospc(arena: Arena) -> None:
    body = """
    {TRY}
    def fill(folder):
        for number in range(1000):
            with open(f"{folder}/{number}", "wb") as file:
                file.write(bytes(1 << 20))
    report([attempt(fill, folder) for folder in ("/repo", "/dev/shm")])
    """
    assert arena.run(_with_try(body)).report == ["ENOSPC", "ENOSPC"]


def test_21_an_inode_bomb_and_a_deep_tree_end_in_enospc_and_are_gone_within_a_second(
    arena: Arena,
) -> None:
    body = """
    {TRY}
    def inodes():
        for number in range(100_000):
            os.close(os.open(f"/repo/{number}", os.O_CREAT | os.O_WRONLY))
    def deep():
        os.chdir("/tmp")
        for _ in range(100_000):
            os.mkdir("d"); os.chdir("d")
    report([attempt(inodes), attempt(deep)])
    """
    ended = arena.run(_with_try(body))
    assert ended.report == ["ENOSPC", "ENOSPC"]
    began = time.monotonic()
    assert arena.run("import os; report(len(os.listdir('/repo')))").report < 10
    assert time.monotonic() - began < 1


def test_22_a_descriptor_bomb_ends_in_emfile(arena: Arena) -> None:
    body = """
    {TRY}
    def bomb():
        while True:
            os.open("/dev/null", os.O_RDONLY)
    answer = attempt(bomb)
    os.closerange(10, 100)
    report(answer)
    """
    assert arena.run(_with_try(body)).report == errno.errorcode[errno.EMFILE]


def test_33_a_candidate_holds_stdio_and_its_result_pipe_only(arena: Arena) -> None:
    body = """
    import os
    def is_open(fd):
        try:
            return bool(os.fstat(fd))
        except OSError:
            return False
    held = {fd for fd in range(1 << 16) if is_open(fd)}
    report([sorted(held - {result_fd}), os.readlink("/proc/self/fd/0")])
    """
    assert arena.run(body).report == [[0, 1, 2], "/dev/null"]


def test_34_links_pipes_and_floods_left_as_artefacts_never_reach_the_host(arena: Arena) -> None:
    before = sorted(path.name for path in arena.repo.iterdir())
    body = """
    import os
    os.symlink("/etc/passwd", "/repo/artefact"); os.mkfifo("/repo/fifo")
    open("/repo/huge", "wb").write(bytes(2 << 20))
    report(sorted(os.listdir("/repo"))[:2])
    """
    assert arena.run(body).report == ["artefact", "fifo"]
    assert sorted(path.name for path in arena.repo.iterdir()) == before
    flood = "import os\nwhile True: os.write(result_fd, b'[0]\\n' * 1000)"
    assert arena.run(flood).cause == "output"


def test_35_a_link_that_leads_out_of_the_repo_reaches_nothing_on_the_host(arena: Arena) -> None:
    body = """
    {TRY}
    report([os.path.islink("/repo/outside"), attempt(open, "/repo/outside"),
            attempt(write, "/repo/outside")])
    """
    assert arena.run(_with_try(body)).report == [True, "ENOENT", "ENOENT"]
    assert (arena.repo.parent / "host.txt").read_text() == "of the host"


def test_45_a_poisoned_bytecode_cache_is_not_visible_later(arena: Arena) -> None:
    poison = """
    import os, py_compile, sys
    sys.path.insert(0, "/repo")
    os.makedirs("/repo/__pycache__", exist_ok=True)
    stat = os.stat("/repo/module.py")
    open("/tmp/poison.py", "w").write("value = 'poisoned'")
    py_compile.compile("/tmp/poison.py", cfile="/tmp/poison.pyc")
    data = bytearray(open("/tmp/poison.pyc", "rb").read())
    data[8:12] = int(stat.st_mtime).to_bytes(4, "little")
    data[12:16] = stat.st_size.to_bytes(4, "little")
    tag = sys.implementation.cache_tag
    open(f"/repo/__pycache__/module.{tag}.pyc", "wb").write(data)
    import module
    report(module.value)
    """
    assert arena.run(poison).report == "poisoned"
    look = "import sys; sys.path.insert(0, '/repo'); import module; report(module.value)"
    assert arena.run(look).report == "base"


def _with_try(body: str) -> str:
    return textwrap.dedent(body).replace("{TRY}", TRY)
