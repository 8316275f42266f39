"""Mounting content: whose file wins, and what a miss says."""

from pathlib import Path

import pytest

import flywheel
from flywheel.core.errors import UsageError
from flywheel.workspace import Workspace, content, find_content


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "workspace"
    root.mkdir()
    return Workspace(root, "--workspace")


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The content folder of an installed flywheel that has one profile, `pytest`."""
    package = tmp_path / "site-packages" / "flywheel"
    folder = package / "_content" / "critics"
    add(folder / "pytest", "toolchain.toml")
    monkeypatch.setattr(flywheel, "__file__", str(package / "__init__.py"))
    return folder


def add(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.touch()
    return file


def test_the_packaged_content_is_found(workspace: Workspace, packaged: Path) -> None:
    (item,) = content("critics", workspace)
    assert (item.name, item.path, item.origin) == ("pytest", packaged / "pytest", "packaged")


def test_the_workspaces_own_file_hides_the_packaged_one(
    workspace: Workspace, packaged: Path
) -> None:
    own = add(workspace.root / "critics" / "pytest", "toolchain.toml").parent
    other = add(workspace.root / "critics" / "mix", "toolchain.toml").parent
    assert [item.path for item in content("critics", workspace)] == [other, own]


def test_a_configured_folder_goes_before_the_workspace(
    workspace: Workspace, packaged: Path, tmp_path: Path
) -> None:
    add(workspace.root / "critics" / "pytest", "toolchain.toml")
    mine = add(tmp_path / "mine" / "pytest", "toolchain.toml").parent
    found = find_content("critics", "pytest", workspace, configured=tmp_path / "mine")
    assert (found.path, found.origin) == (mine, "setting")


def test_a_configured_folder_that_is_missing_is_an_error(
    workspace: Workspace, packaged: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"paths\.critics"):
        content("critics", workspace, configured=tmp_path / "nowhere")


def test_a_miss_lists_every_place_and_the_nearest_name(
    workspace: Workspace, packaged: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        find_content("critics", "pytst", workspace)
    assert caught.value.cause is not None
    assert str(workspace.root / "critics") in caught.value.cause
    assert str(packaged) in caught.value.cause
    assert caught.value.hint == "Did you mean pytest?"


def test_no_content_at_all_lists_every_place(workspace: Workspace, packaged: Path) -> None:
    with pytest.raises(UsageError, match="No metrics") as caught:
        content("metrics", workspace)
    assert str(workspace.root / "metrics") in (caught.value.cause or "")


def test_only_files_of_the_kind_are_content(workspace: Workspace, packaged: Path) -> None:
    for name in (".hidden", "_draft"):
        add(workspace.root / "critics" / name, "toolchain.toml")
    add(workspace.root / "critics", "README.md")
    add(workspace.root / "critics" / "networks", "__init__.py")
    assert [item.name for item in content("critics", workspace)] == ["pytest"]


def test_a_dataset_is_a_folder(workspace: Workspace, packaged: Path) -> None:
    add(workspace.root / "datasets" / "small", "recipe.toml")
    add(workspace.root / "datasets", "README.md")
    assert [item.name for item in content("datasets", workspace)] == ["small"]


def test_a_library_beside_the_installed_package_is_never_content(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    add(site / "datasets" / "arrow_writer", "__init__.py")
    add(site / "flywheel", "__init__.py")
    monkeypatch.setattr(flywheel, "__file__", str(site / "flywheel" / "__init__.py"))
    with pytest.raises(UsageError):
        content("datasets", workspace)


def test_a_checkout_uses_its_own_folders(workspace: Workspace) -> None:
    found = find_content("critics", "pytest", workspace)
    assert found.path == Path(flywheel.__file__).parents[1] / "critics" / "pytest"
