"""Three-way merge of one file's contents, as git merges them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from flywheel.core.errors import RepositoryError
from flywheel.git.checkout import git_environment

_ERROR = 128
"""Exit codes from here on are errors; below them they count conflicts."""


def merge(current: bytes, base: bytes, other: bytes) -> bytes | None:
    """`current` with what leads from `base` to `other` done to it.

    None where both changed the same lines, and for what is no text. Raises `RepositoryError`
    where git cannot merge at all.
    """
    if current == base:
        return other
    if b"\0" in current + base + other:
        return None
    with tempfile.TemporaryDirectory(prefix="flywheel-merge-") as folder:
        names = ("current", "base", "other")
        for name, content in zip(names, (current, base, other), strict=True):
            (Path(folder) / name).write_bytes(content)
        done = subprocess.run(
            ["git", "merge-file", "--stdout", "--quiet", *names],
            cwd=folder,
            capture_output=True,
            check=False,
            env=git_environment(),
        )
    if done.returncode == 0:
        return done.stdout
    if 0 < done.returncode < _ERROR:
        return None
    said = done.stderr.decode(errors="replace").strip()
    raise RepositoryError("git merge-file failed", cause=said[:300] or f"exit {done.returncode}")
