"""Real environments of tiny repositories; the packages they need come from the index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.core.errors import BaselineError, EnvironmentBuildError
from flywheel.critic.environment import REPO, Environment, build
from flywheel.critic.toolchain import Toolchain, load
from flywheel.git import Checkout, resolve
from flywheel.sandbox import Box, Completed, Mount, make_etc

PROFILE = Path(__file__).parents[2] / "critics" / "pytest"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny"
dynamic = ["version"]
[tool.setuptools]
packages = ["tiny"]
"""
SETUP = """
import pathlib, setuptools
pathlib.Path("tiny/_made.py").write_text("MADE = 42\\n")
pathlib.Path("tiny/__init__.py").write_text("SPOILT = True\\n")
setuptools.setup(version="1.0")
"""
TEST = """
import tiny, tiny._made
def test_one(): assert tiny.ONE == 1
def test_made(): assert tiny._made.MADE == 42
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the module: packages are downloaded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def box(cache: Path) -> Box:
    found = shutil.which("bwrap")
    assert found
    return Box(bwrap=Path(found), etc=make_etc(cache / "etc"))


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return load([("pytest", PROFILE)])[0]


@pytest.fixture
def commit(tmp_path, cache, monkeypatch):
    """Commit files to a repository, and give the checkout."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")
    repo = tmp_path / "repo"
    repo.mkdir()

    def run(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=repo, check=True, capture_output=True)

    run("init", "--quiet")

    def make(files: dict[str, str]) -> Checkout:
        for name, text in files.items():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_text(textwrap.dedent(text))
        run("add", "-A")
        run("commit", "--quiet", "-m", "More")
        return resolve(str(repo), cache)

    return make


@pytest.fixture
def make(cache, box, toolchain):
    """Build the environment of a checkout with the Python that runs these tests."""

    def run(checkout: Checkout, **options: str) -> Environment:
        return build(checkout, toolchain, cache, box, **{"python": sys.executable, **options})

    return run


def _run_suite(environment: Environment, box: Box, toolchain: Toolchain) -> Completed:
    inside = replace(
        box,
        mounts=(*environment.mounts, Mount(environment.tree, REPO)),
        environment=environment.variables,
        cwd=REPO,
    )
    argv = [environment.python, *toolchain.profile.run.test, *environment.pytest_args, "-q"]
    return inside.run(argv, timeout=60)


def _steps(environment: Environment) -> str:
    return "; ".join(step.what for step in environment.steps)


@pytest.fixture
def no_network(monkeypatch):
    """Any use of the index from here on fails."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_OFFLINE", "1")


def test_a_project_is_built_runs_offline_and_is_found_again(
    commit, make, box, toolchain, no_network, monkeypatch
):
    files = {"pyproject.toml": PROJECT, "setup.py": SETUP, "tiny/__init__.py": "ONE = 1\n",
             "tests/test_tiny.py": TEST}  # fmt: skip
    checkout = commit(files)
    with monkeypatch.context() as online:
        online.delenv("UV_DEFAULT_INDEX")
        online.delenv("UV_OFFLINE")
        first = make(checkout)
    assert first.collected == 2
    assert "pytest==" in first.lock
    assert "-e file:///repo" in first.lock
    ran = _run_suite(first, box, toolchain)
    assert "2 passed" in ran.output, ran.output

    # The commit's own files are the commit's, whatever the build did to them.
    assert (first.tree / "tiny" / "__init__.py").read_text() == "ONE = 1\n"
    made = first.tree / "tests" / "test_tiny.py"
    assert made.stat().st_mtime == checkout.committed_at
    assert list((first.tree / "tests" / "__pycache__").glob("test_tiny.*-pytest-*.pyc"))

    started = time.monotonic()
    again = make(checkout)
    assert time.monotonic() - started < 1
    assert (again.hash, again.tree, again.seconds) == (first.hash, first.tree, 0.0)

    # Another commit with the same definition: the same environment, a tree of its own.
    other = make(commit({"tiny/__init__.py": "ONE = 2 - 1\n"}))
    assert other.hash == first.hash
    assert other.tree != first.tree
    assert (other.tree / "tiny" / "_made.py").read_text() == "MADE = 42\n"
    assert "2 passed" in _run_suite(other, box, toolchain).output

    # Another definition: another environment, which cannot be had without the network.
    changed = commit({"pyproject.toml": PROJECT + '[project.optional-dependencies]\ntest = ["x"]'})
    with pytest.raises(EnvironmentBuildError):
        make(changed)


def test_a_build_sees_no_secret_and_reaches_no_file_of_the_machine(
    commit, make, tmp_path, monkeypatch
):
    monkeypatch.setenv("MY_SECRET", "hunter2")
    private = tmp_path / "private"
    private.write_text("hunter2")
    setup = f"""
        import json, os, pathlib, shutil, setuptools
        seen = [name for name in os.environ if "SECRET" in name]
        seen += [name for name in ({str(private)!r}, {str(PROFILE)!r}, "/etc/shadow")
                 if os.path.exists(name)]
        pathlib.Path("seen.json").write_text(json.dumps([seen, os.getuid()]))
        if not os.path.islink("data"):
            shutil.rmtree("data")
            os.symlink({str(tmp_path)!r}, "data")
        setuptools.setup(name="tiny", version="1", py_modules=["tiny"])
        """
    test = f"""
        import os
        if not os.path.lexists("sub"):
            os.makedirs("sub/__pycache__")
            os.symlink("/etc", "sub/etc")
            os.symlink("/etc/passwd", "sub/__pycache__/passwd.pyc")
            os.mkdir("empty")
            os.symlink({str(tmp_path)!r}, "empty/__pycache__")
        def test_one(): pass
        """
    before = sorted(tmp_path.iterdir())
    checkout = commit(
        {"setup.py": setup, "tiny.py": "", "test_tiny.py": test, "data/keep.txt": "kept"}
    )
    environment = make(checkout)
    seen, uid = json.loads((environment.tree / "seen.json").read_text())
    assert seen == []
    assert uid != 0
    assert (environment.tree / "data" / "keep.txt").read_text() == "kept"
    assert sorted(tmp_path.iterdir()) == before
    assert not (environment.tree / "sub").exists()


def test_what_cannot_be_installed_is_put_on_the_path(commit, make, box, toolchain):
    environment = make(commit({
        "requirements.txt": "iniconfig\n", "src/lone.py": "import iniconfig\nONE = 1\n",
        "tests/test_lone.py": "import lone\ndef test_one(): assert lone.ONE == 1\n",
    }))  # fmt: skip
    assert environment.pythonpath == ("/repo/src", "/repo")
    assert "1 passed" in _run_suite(environment, box, toolchain).output


def test_what_a_collection_asks_for_is_added_and_recorded(commit, make, box, toolchain):
    environment = make(commit({
        "pytest.ini": "[pytest]\naddopts = --no-such-option -n 4\nasyncio_mode = auto\n",
        "test_a.py": "import six\nimport tests_helper\ndef test_one(mocker): pass\n",
        "test_b.py": "async def test_two(): pass\n",
        "tests_helper.py": "",
    }))  # fmt: skip
    assert "add six" in _steps(environment)
    assert "add pytest-mock" in _steps(environment)
    assert "pytest-asyncio" in environment.lock
    assert "option left out: --no-such-option" in environment.notes
    assert "2 passed" in _run_suite(environment, box, toolchain).output


def test_files_that_do_not_collect_are_tolerated_and_told(commit, make):
    environment = make(commit({
        "test_good.py": "def test_one(): pass\n", "test_bad.py": "raise RuntimeError('no')\n",
    }))  # fmt: skip
    assert environment.collected == 1
    assert any("test_bad.py" in note for note in environment.notes)


def test_a_repository_without_tests_gives_no_environment(commit, make):
    with pytest.raises(BaselineError, match="has no tests"):
        make(commit({"a.py": "ONE = 1\n", "test_nothing.py": ""}))


def test_a_failed_build_names_the_step_the_cause_and_the_way_out(commit, make, cache):
    checkout = commit({
        "pyproject.toml": PROJECT, "setup.py": "raise SystemExit('no such luck')",
        "tiny/__init__.py": "", "test_a.py": "import tiny\nraise OSError('too')",
    })  # fmt: skip
    with pytest.raises(EnvironmentBuildError, match="the project") as caught:
        make(checkout)
    assert "no such luck" in caught.value.cause
    assert "--install" in caught.value.hint
    assert not list((cache / "environments").glob(".build-*"))


def test_an_installation_of_ones_own_is_taken(commit, make):
    files = {"setup.py": "raise SystemExit(1)", "test_a.py": "import six\ndef test_one(): pass\n"}
    environment = make(commit(files), install="uv pip install six")
    assert "six" in environment.lock
    assert environment.pythonpath == ("/repo",)


def test_two_builds_at_once_make_one_environment(commit, make):
    checkout = commit({"test_a.py": "def test_one(): pass\n", "requirements.txt": "six\n"})
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(make, [checkout, checkout])
    assert one.hash == two.hash
    assert min(one.seconds, two.seconds) == 0.0
