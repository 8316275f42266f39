"""The real command line, run as a user runs it, on repositories made for each test."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import SandboxError
from flywheel.sandbox import Level, probe
from tests.past import GIT, commit

BOTH_MODES = ("--modes", "insert,reimplement")
"""One mode that changes a line, and one that writes a function."""
COMMAND = Path(sys.executable).parent / "flywheel"
_SUBREAPER = 36


@dataclass(frozen=True)
class Ran:
    """One command line that ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def summary(self) -> dict[str, Any]:
        """What `--json` printed: one object, and nothing else on stdout."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs flywheel in a workspace of its own."""

    folder: Path
    cache: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it in a session of its own, as a terminal does."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLYWHEEL_", "XDG_"))
        }
        environment |= {
            "HOME": str(self.folder),
            "FLYWHEEL_PATHS_CACHE": str(self.cache),
            "FLYWHEEL_HARVEST_PYTHON": sys.executable,
            # Several tests run at once, and most harvest six candidates.
            "FLYWHEEL_HARVEST_JOBS": "1",
            "COLUMNS": "200",
            "PYTHONFAULTHANDLER": "1",
            **GIT,
            **self.variables,
        }
        return subprocess.Popen(
            [str(COMMAND), "--workspace", str(self.workspace), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = 120) -> Ran:
        """Run it to its end. No traceback is ever shown, no process ever left."""
        began = time.monotonic()
        process = self.start(*arguments)
        return self.finish(process, began, timeout)

    def finish(self, process: subprocess.Popen[str], began: float, timeout: float = 120) -> Ran:
        """Wait for one that was started."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end in {timeout} s: {_last_words(process)}")
        assert "Traceback" not in err, err
        assert "This is a bug" not in err, err
        assert not left_behind(), left_behind()
        return Ran(process.returncode, out, err, time.monotonic() - began)

    def harvest(self, repo: Path | str, *arguments: str, timeout: float = 120) -> Ran:
        """`flywheel harvest --json`, a few candidates unless it is said how many."""
        if "--max-candidates" not in arguments:
            arguments = (*arguments, "--max-candidates", "6")
        return self.run("harvest", "--repo", str(repo), "--json", *arguments, timeout=timeout)

    def left_behind(self) -> list[str]:
        """Processes that outlived flywheel."""
        return left_behind()

    def events(self) -> list[dict[str, Any]]:
        """What the log of harvests holds so far."""
        log = self.workspace / ".flywheel" / "logs" / "harvest.jsonl"
        text = log.read_text() if log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Rows of the store."""
        ran = self.run("sql", "--json", query)
        assert ran.code == 0, ran.err
        return json.loads(ran.out)


def _last_words(process: subprocess.Popen[str]) -> str:
    """End one that hangs: what it said, and where each of its threads stood."""
    os.kill(process.pid, signal.SIGABRT)
    try:
        _, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired as late:
        # A process that it has started may hold the pipe for ever: what was read so far must do.
        os.killpg(process.pid, signal.SIGKILL)
        err = (late.stderr or b"").decode(errors="replace")
    return err[-6000:]


_THERE: set[str] = set()
"""Children that were there before the test: other tests of this process may keep some."""


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.fixture(autouse=True)
def _there() -> None:
    _THERE.clear()
    _THERE.update(_children())


def left_behind(patience: float = 3.0) -> list[str]:
    """Command lines of processes that outlived flywheel: orphans of it become ours."""
    deadline = time.monotonic() + patience
    while True:
        found = []
        for child in set(_children()) - _THERE:
            try:
                state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
                if state == "Z":
                    os.waitpid(int(child), os.WNOHANG)
                    continue
                line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
            except (OSError, ChildProcessError):
                continue
            if b"tests.fakes." in line:
                continue  # a provider that the test itself has started
            found.append(f"{child} {state} {line.decode(errors='replace')[:200]}")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.fixture(scope="session", autouse=True)
def _adopting() -> Iterator[None]:
    """Orphans of the processes started here become children of this one, so they can be seen."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: packages are downloaded and the environment is built once."""
    try:
        if probe().level is Level.S2:
            pytest.skip("no sandbox for each fork here")
    except SandboxError as error:
        pytest.skip(f"no isolation here: {error}")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shell(tmp_path: Path, cache: Path) -> Shell:
    folder = tmp_path / "shell"
    folder.mkdir()
    return Shell(folder, cache)


PACKAGE: dict[str, str | bytes] = {
    "pkg/__init__.py": "",
    "pkg/numbers.py": """
        def plus(a, b):
            return a + b
        def least(a, b):
            if a < b:
                return a
            return b
        def many(n):
            total = 0
            for i in range(n):
                total = total + i
            return total
        """,
    "tests/test_numbers.py": """
        from pkg.numbers import least, many, plus
        def test_plus(): assert plus(2, 3) == 5
        def test_least(): assert least(1, 2) == 1 and least(4, 3) == 3
        def test_many(): assert many(4) == 6
        """,
}


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Make a repository of the small package and these files beside it, and commit it."""

    def make(
        files: Mapping[str, str | bytes] | None = None,
        *,
        name: str = "repo",
        package: Mapping[str, str | bytes] = PACKAGE,
    ) -> Path:
        root = tmp_path / name
        root.mkdir(parents=True)
        commit(root, {**package, **(files or {})})
        return root

    return make
