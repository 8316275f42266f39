"""What one tree takes over of another."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from flywheel.critic.environment import discard
from flywheel.critic.tree import _seed

COMMITTED, BUILT = 1_500_000_000, 1_600_000_000


def written(root: Path, **files: str) -> Path:
    """A tree of files that carry their commit's time."""
    for name, text in files.items():
        (root / "src").mkdir(parents=True, exist_ok=True)
        (root / "src" / name).write_text(text)
        os.utime(root / "src" / name, (COMMITTED, COMMITTED))
    return root


def test_what_differs_from_the_donor_is_newer_than_what_was_built_of_the_donor(tmp_path) -> None:
    donor = written(tmp_path / "donor", same="a", changed="b", gone="c")
    (donor / "target").mkdir()
    (donor / "target" / "object").write_text("built")
    os.utime(donor / "target" / "object", (BUILT, BUILT))
    tree = written(tmp_path / "tree", same="a", changed="B", added="d")
    assert _seed(tree, donor, ("target", "deps"))
    assert (tree / "target" / "object").stat().st_mtime == BUILT
    times = {path.name: path.stat().st_mtime for path in (tree / "src").iterdir()}
    assert times["same"] == COMMITTED
    assert min(times["changed"], times["added"]) > BUILT


def test_a_donor_that_built_nothing_of_use_gives_nothing(tmp_path) -> None:
    donor = written(tmp_path / "donor", same="a")
    tree = written(tmp_path / "tree", same="b")
    (tree / "target").mkdir()
    (donor / "target").symlink_to("/")
    assert not _seed(tree, donor, ("target",))
    assert (tree / "src" / "same").stat().st_mtime == COMMITTED


def test_a_tree_whose_build_took_away_the_right_to_remove_it_is_removed() -> None:
    # As a user of no rights: Go's modules are read-only.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setuid(65534)
            modules = Path(folder, "place", "tree", ".flywheel-build", "modules")
            modules.mkdir(parents=True)
            (modules / "a.go").write_text("package a")
            modules.chmod(0o555)
            with contextlib.suppress(BaseException):
                discard(Path(folder, "place"))
            os._exit(Path(folder, "place").exists())
        assert os.waitpid(child, 0)[1] == 0
