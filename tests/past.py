"""Repositories made for a test, their history commit by commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.org",
    "GIT_COMMITTER_NAME": "somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.org",
}
"""What makes git nobody's in particular."""


def git(root: Path, *arguments: str) -> str:
    """Run git there, as nobody in particular."""
    return subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**os.environ, **GIT},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def commit(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Make (or go on with) a repository at `root` that holds these files, dedented."""
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    if not (root / ".git").exists():
        git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "Files")


class Past:
    """A repository whose history is made step by step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        git(root, "init", "--quiet", "--initial-branch=main")

    def write(self, path: str, content: str | bytes) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    def edit(self, path: str, before: str, after: str) -> None:
        text = (self.root / path).read_bytes().decode()
        assert before in text
        self.write(path, text.replace(before, after))

    def commit(self, message: str, *more: str) -> str:
        """Commit all there is; returns the commit."""
        git(self.root, "add", "-A")
        git(self.root, "commit", "--quiet", "--allow-empty", "-m", message, *more)
        return self.head()

    def head(self) -> str:
        return git(self.root, "rev-parse", "HEAD").strip()
