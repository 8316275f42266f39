"""What holds for the house as a whole: packaging, the lock, and the runner's independence."""

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "flywheel" / "critic" / "runner"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.parametrize(
    "pattern",
    [
        "flywheel/critic/runner/*.py",
        "flywheel/critic/reports/*.ex",
        "flywheel/critic/reports/*.mjs",
        "flywheel/store/schema/*.sql",
        "flywheel/curate/*.parquet",
        "flywheel/curate/*.md",
        "flywheel/curate/export/*.json",
        "datasets/*/*",
        "metrics/*.*",
        "critics/*/toolchain.toml",
        "critics/*/operators.toml",
    ],
)
def test_a_wheel_carries_every_file_that_is_data(wheel: zipfile.ZipFile, pattern: str) -> None:
    wanted = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    assert wanted
    carried = {name.replace("flywheel/_content/", "") for name in wheel.namelist()}
    assert wanted <= carried


def test_a_wheel_installs_nothing_beside_flywheel(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"flywheel"}


def test_an_install_makes_no_content_folder_importable(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; import flywheel;"
        "print([n for n in ('critics', 'metrics', 'notebooks', 'tests')"
        " if u.find_spec(n) is not None])"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "lock", [ROOT / "requirements.lock", *sorted(ROOT.glob(".ci/*.lock"))], ids=lambda one: one.name
)
def test_a_lock_names_no_registry_and_hashes_everything(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    for requirement in text.replace("\\\n", " ").splitlines():
        if requirement and not requirement.lstrip().startswith("#"):
            assert "--hash=sha256:" in requirement


def test_the_lock_holds_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["languages"],
        *project["project"]["optional-dependencies"]["sandbox"],
        *project["dependency-groups"]["dev"],
    ]
    locked = {
        line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()
    }
    for requirement in declared:
        name = requirement.partition(">")[0].strip()
        assert name in locked, f"{name}: run make lock"


@pytest.mark.parametrize("file", sorted(RUNNER.glob("*.py")), ids=lambda file: file.name)
def test_the_runner_needs_only_the_standard_library_and_the_test_framework(file: Path) -> None:
    """It runs in a stranger's environment, in which flywheel is not installed."""
    mounted_as = "flywheel_runner"
    allowed = set(sys.stdlib_module_names) | {mounted_as, "pytest", "_pytest", "coverage"}
    for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 8))):
        match node:
            case ast.Import(names=names):
                found = {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found = {module.partition(".")[0]}
            case _:
                continue
        assert found <= allowed, f"line {node.lineno}"
