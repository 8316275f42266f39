"""Finding and making a workspace."""

from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.workspace import find, init


def test_the_option_beats_the_variable_beats_the_nearest(tmp_path: Path) -> None:
    near, named, asked = (tmp_path / name for name in ("near", "named", "asked"))
    init(near)
    environ = {"FLYWHEEL_WORKSPACE": str(named)}
    assert find(near, explicit=asked, environ=environ).root == asked
    assert find(near, environ=environ).root == named
    assert find(near, environ={}).root == near


@pytest.mark.parametrize("mark", [".flywheel/x", "flywheel.toml"])
def test_the_nearest_marked_parent_is_the_workspace(tmp_path: Path, mark: str) -> None:
    marker = tmp_path / mark
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = find(deep, environ={})
    assert (found.root, found.origin) == (tmp_path, "nearest")


def test_with_no_mark_the_folder_itself_is_the_workspace(tmp_path: Path) -> None:
    found = find(tmp_path, environ={})
    assert (found.root, found.origin) == (tmp_path, "current folder")


def test_finding_creates_nothing(tmp_path: Path) -> None:
    found = find(explicit=tmp_path / "new", environ={})
    assert not found.exists
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="not a folder"):
        find(explicit=file, environ={})


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(explicit=Path("ws"), environ={}).root == tmp_path / "ws"


def test_init_writes_settings_and_a_state_folder_that_git_ignores(tmp_path: Path) -> None:
    done = init(tmp_path / "ws")
    assert done.workspace.exists
    assert (done.workspace.state / ".gitignore").read_text() == "*\n"
    assert "# max_candidates = 2000" in (done.workspace.root / "flywheel.toml").read_text()
    assert len(done.created) == 2


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    settings = tmp_path / "flywheel.toml"
    settings.write_text("[harvest]\nseed = 7\n")
    assert init(tmp_path).created == ()
    assert settings.read_text() == "[harvest]\nseed = 7\n"


def test_init_where_a_file_is_in_the_way_says_so(tmp_path: Path) -> None:
    (tmp_path / ".flywheel").touch()
    with pytest.raises(UsageError, match="cannot be made a workspace") as caught:
        init(tmp_path)
    assert caught.value.cause


def test_the_store_lies_in_the_state_folder(tmp_path: Path) -> None:
    assert find(tmp_path, environ={}).store_path == tmp_path / ".flywheel" / "flywheel.duckdb"
