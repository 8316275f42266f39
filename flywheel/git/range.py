"""Two commits of one repository: where their histories part, and how far apart they are."""

from __future__ import annotations

from pathlib import Path

import git

from flywheel.core.errors import RepositoryError, UsageError
from flywheel.git.checkout import Checkout, commit_of, run_git
from flywheel.git.history import is_shallow


def merge_base(checkout: Checkout, revision: str) -> str:
    """The newest commit that the checkout and a revision have in common, as its full hash.

    Raises `UsageError` for a revision that the repository does not know, or that shares no
    commit with the checkout.
    """
    other = commit_of(checkout.git_dir, revision)
    if other is None:
        raise _refused(
            checkout,
            f"{checkout.name} has no revision {revision!r}",
            hint="name a branch, a tag or a commit: git log --oneline --all",
        )
    try:
        base = run_git(["merge-base", other, checkout.commit], cwd=checkout.git_dir)
    except git.GitCommandError as error:
        raise _refused(
            checkout,
            f"{revision} and {checkout.commit[:12]} have no commit in common",
            cause="their histories are unrelated",
            hint="name a revision that the newest commit came from",
        ) from error
    return base.decode().split()[0]


def _refused(
    checkout: Checkout, message: str, *, cause: str | None = None, hint: str
) -> UsageError:
    """The error; where the clone is shallow, that is its likely cause."""
    if is_shallow(checkout.git_dir):
        cause = "the clone is shallow: it holds but the newest commits"
        hint = "git fetch --unshallow; on GitHub Actions: fetch-depth: 0"
    return UsageError(message, cause=cause, hint=hint)


def commits_behind(git_dir: Path, old: str, new: str) -> int | None:
    """How many commits `new` has that `old` lacks; None where the repository has not both.

    Raises `RepositoryError` where git cannot count at all.
    """
    if commit_of(git_dir, old) is None or commit_of(git_dir, new) is None:
        return None
    try:
        return int(run_git(["rev-list", "--count", f"{old}..{new}"], cwd=git_dir))
    except git.GitCommandError as error:
        raise RepositoryError(
            f"the commits between {old[:12]} and {new[:12]} cannot be counted",
            cause=str(error.stderr).strip()[:300],
            hint="git fsck",
        ) from error
