"""Two commits of one repository: where their histories part, and how far apart they are."""

from __future__ import annotations

from pathlib import Path

import git

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git.checkout import Checkout, run_git
from flywheel.git.history import is_shallow


def merge_base(checkout: Checkout, revision: str) -> str:
    """The newest commit that the checkout and a revision have in common, as its full hash.

    Raises `UsageError` for a revision that the repository does not know, or that shares no
    commit with the checkout.
    """
    git_dir = checkout.git_dir
    shallow = is_shallow(git_dir)
    try:
        if not revision or revision.startswith("-"):
            raise git.GitCommandError("rev-parse", 128)
        found = run_git(["rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}"], cwd=git_dir)
    except git.GitCommandError as error:
        raise UsageError(
            f"{checkout.name} has no revision {revision!r}",
            cause="the clone is shallow: it holds but the newest commits" if shallow else None,
            hint="git fetch --unshallow; on GitHub Actions: fetch-depth: 0"
            if shallow
            else "name a branch, a tag or a commit: git log --oneline --all",
        ) from error
    try:
        base = run_git(["merge-base", found.decode().strip(), checkout.commit], cwd=git_dir)
    except git.GitCommandError as error:
        raise UsageError(
            f"{revision} and {checkout.commit[:12]} have no commit in common",
            cause="the clone is shallow: it holds but the newest commits"
            if shallow
            else "their histories are unrelated",
            hint="git fetch --unshallow; on GitHub Actions: fetch-depth: 0"
            if shallow
            else "name a revision that the newest commit came from",
        ) from error
    return base.decode().split()[0]


def commits_behind(git_dir: Path, old: str, new: str) -> int | None:
    """How many commits `new` has that `old` lacks; None where the repository has not both.

    Raises `RepositoryError` where git cannot count at all.
    """
    try:
        run_git(["cat-file", "-e", f"{old}^{{commit}}"], cwd=git_dir)
    except git.GitCommandError:
        return None
    try:
        return int(run_git(["rev-list", "--count", f"{old}..{new}"], cwd=git_dir))
    except git.GitCommandError as error:
        raise RepositoryError(
            f"the commits between {old[:12]} and {new[:12]} cannot be counted",
            cause=str(error.stderr).strip()[:300],
            hint="git fsck",
        ) from error
