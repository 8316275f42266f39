"""From what a user names to one commit: a local path, a git URL, or a release.

A local repository is only read. A remote one is kept as a bare repository in the cache and
refreshed on each use; when that fails, what is kept serves and the notes say so.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import git
from packaging.version import InvalidVersion, Version

from flywheel.core.address import without_credentials
from flywheel.core.errors import RepositoryError, UsageError
from flywheel.core.lock import locked
from flywheel.git.checkout import Checkout, Entry, commit_of, commit_time, run_git
from flywheel.git.index import index_settings
from flywheel.git.license import LICENSE_FILE, METADATA, find_license
from flywheel.git.release import fetch_release, parsed
from flywheel.git.release_history import Report, fetch_history, wanted_history

_URL = re.compile(r"(?:git\+)?(?P<url>(?:https?|ssh|git|file)://\S+)|(?P<scp>[\w.-]+@[\w.-]+:\S+)")
_ODD_URL = re.compile(r"[A-Za-z][\w+.-]*:{1,2}\S*")
_HEAD = "refs/flywheel/head"
"""Where the remote's default branch is kept in our bare repository."""


def resolve(
    source: str,
    cache: Path,
    *,
    commit: str | None = None,
    history: int | None = None,
    report: Report = lambda text: None,
) -> Checkout:
    """The commit that `source` means: a path's HEAD, a URL's default branch, `pypi:NAME==VERSION`.

    `commit` asks for another commit of the same repository, by its full hash. `history` asks for
    so many releases of a package as its history, whose name is then `pypi:NAME>=FIRST`; `report`
    hears of what is downloaded for it.
    `cache` is a folder of ours; clones and releases are kept there and serve without a network.
    Raises `RepositoryError` (not a repository, empty, unreachable, no such release) and
    `UsageError` (malformed, not there).
    """
    try:
        newest = _newest(source, cache, history, report)
        if commit is None or commit == newest.commit:
            return newest
        return at(newest, commit)
    except git.GitCommandNotFound as error:
        raise RepositoryError("git is not installed", hint="install git") from error


def at(checkout: Checkout, commit: str) -> Checkout:
    """Another commit of the same repository, by its full hash; nothing is fetched.

    Raises `RepositoryError` where the repository has no such commit.
    """
    if commit_of(checkout.git_dir, commit) is None:
        raise RepositoryError(
            f"{checkout.name} has no commit {commit}", hint="fetch it into the repository"
        )
    version = _tag(checkout.git_dir, commit)
    return _checkout(checkout.name, checkout.git_dir, commit, version=version, notes=())


def _newest(source: str, cache: Path, history: int | None, report: Report) -> Checkout:
    if source.startswith("pypi:"):
        return _release(source.removeprefix("pypi:"), cache, history, report)
    if history is not None:
        raise UsageError(
            f"--history takes releases of a package, and {without_credentials(source)} is a"
            " repository with a history of its own",
            hint="leave --history out, or name a package: pypi:NAME",
        )
    url = _url(source)
    return _remote(url, cache) if url else _local(source)


def check_source(source: str) -> None:
    """See that a source can be one, before anything else is done; nothing is fetched.

    Raises `UsageError` where it is neither a folder that is there, nor a URL, nor a package.
    """
    if source.startswith("pypi:"):
        name = source.removeprefix("pypi:")
        if wanted_history(name, None) is None:
            parsed(name)
    elif not _url(source):
        _folder(source)


def _url(source: str) -> str:
    """The URL that a source is, empty where it is none."""
    url = _URL.fullmatch(source)
    return (url["url"] or url["scp"]) if url and not Path(source).exists() else ""


def _release(text: str, cache: Path, history: int | None, report: Report) -> Checkout:
    wanted = wanted_history(text, history)
    if wanted is not None:
        with locked(cache / "releases.lock"):
            found = fetch_history(wanted, cache, index_settings(), report=report)
        return _checkout(
            f"pypi:{found.spelled}",
            found.git_dir,
            found.commit,
            version=found.version,
            notes=found.notes,
        )
    with locked(cache / "releases.lock"):
        release = fetch_release(text, cache, index_settings())
    return _checkout(
        f"pypi:{release.name}=={release.version}",
        release.git_dir,
        release.commit,
        version=release.version,
        notes=release.notes,
    )


def _remote(url: str, cache: Path) -> Checkout:
    shown = without_credentials(url)
    kept = cache / "repositories" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
    notes: tuple[str, ...] = ()
    with locked(kept.with_suffix(".lock")):
        if kept.is_dir():
            try:
                _fetch(url, kept)
            except git.GitCommandError as error:
                notes = (f"{shown} could not be refreshed ({_said(error)}): the copy kept here",)
        else:
            fresh = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".clone-"))
            try:
                run_git(["init", "--quiet", "--bare", "--template=", "--", str(fresh)])
                _fetch(url, fresh)
                fresh.rename(kept)
            except git.GitCommandError as error:
                said = _said(error)
                if "find remote ref HEAD" in said:
                    raise _no_commits(shown, remote=True) from error
                raise RepositoryError(
                    f"{shown} cannot be fetched",
                    cause=said,
                    hint="check the URL with: git ls-remote URL; private ones need credentials"
                    " that git finds by itself",
                ) from error
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    commit = commit_of(kept, _HEAD)
    if commit is None:
        raise _no_commits(shown, remote=True)
    return _checkout(shown, kept, commit, version=_tag(kept, commit), notes=notes)


def _fetch(url: str, repository: Path) -> None:
    run_git(
        [
            *("fetch", "--quiet", "--force", "--prune", "--no-write-fetch-head"),
            *("--no-auto-gc", "--recurse-submodules=no", "--", url),
            *(f"+HEAD:{_HEAD}", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"),
        ],
        cwd=repository,
    )


def _folder(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        if _ODD_URL.fullmatch(source):
            raise UsageError(
                f"{without_credentials(source)} is no path, and no URL that flywheel fetches",
                hint="a path, https://…, ssh://…, file://…, git@host:path, or pypi:NAME==VERSION",
            )
        raise UsageError(
            f"{source} does not exist",
            hint="name a folder, a git URL, or a release as pypi:NAME==VERSION",
        )
    if not path.is_dir():
        raise UsageError(f"{source} is a file", hint="name the folder that holds .git")
    return path.resolve()


def _local(source: str) -> Checkout:
    path = _folder(source)
    try:
        found = run_git(["rev-parse", "--absolute-git-dir"], cwd=path)
        git_dir = Path(os.fsdecode(found.removesuffix(b"\n")))
        bare = run_git(["rev-parse", "--is-inside-work-tree"], cwd=path).strip() != b"true"
    except git.GitCommandError as error:
        said = _said(error)
        if "dubious ownership" in said:
            raise RepositoryError(
                f"{path} belongs to another user, and git refuses to read it",
                hint=f"git config --global --add safe.directory {path}",
            ) from error
        raise RepositoryError(
            f"{path} is not a git repository",
            cause=said,
            hint=f"cd {shlex.quote(str(path))} && git init && git add -A && git commit -m 'Start'",
        ) from error
    top = git_dir if bare else path
    notes: tuple[str, ...] = ()
    if not bare:
        shown = run_git(["rev-parse", "--show-toplevel"], cwd=path)
        top = Path(os.fsdecode(shown.removesuffix(b"\n")))
        if top != path:
            notes = (f"{path} is inside the repository {top}: the whole repository is used",)
    commit = commit_of(git_dir, "HEAD")
    if commit is None:
        raise _no_commits(str(top))
    return _checkout(
        str(top),
        git_dir,
        commit,
        version=_tag(git_dir, commit),
        notes=notes,
        dirty=not bare and _is_dirty(top),
    )


def _is_dirty(work_tree: Path) -> bool:
    changed = run_git(
        ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"],
        cwd=work_tree,
    )
    return bool(changed.strip())


def _checkout(
    name: str,
    git_dir: Path,
    commit: str,
    *,
    version: str | None,
    notes: tuple[str, ...],
    dirty: bool = False,
) -> Checkout:
    facts = run_git(["show", "--no-patch", "--format=%T %ct", commit, "--"], cwd=git_dir)
    tree, _, seconds = facts.strip().partition(b" ")
    plain = Checkout(name, commit, tree.decode(), commit_time(seconds), dirty, git_dir)
    entries = plain.entries()
    if not entries:
        raise RepositoryError(f"{name}: commit {commit[:12]} holds no files", hint="commit some")
    submodules = [entry.path for entry in entries if entry.mode == "160000"]
    if submodules:
        notes += (f"submodules are left empty: {', '.join(submodules)}",)
    return Checkout(
        name,
        commit,
        plain.tree,
        plain.committed_at,
        dirty,
        git_dir,
        license=_license(plain, entries),
        version=version,
        notes=notes,
    )


def _license(checkout: Checkout, entries: tuple[Entry, ...]) -> str | None:
    wanted = [
        entry
        for entry in entries
        if entry.mode.startswith("100")
        and (entry.path in METADATA or LICENSE_FILE.fullmatch(entry.path))
    ]
    texts = (data.decode(errors="replace") for data in checkout.read_many(wanted))
    return find_license({entry.path: text for entry, text in zip(wanted, texts, strict=True)})


def _tag(git_dir: Path, commit: str) -> str | None:
    """The version in the nearest tag's name, None when there is none."""
    try:
        tag = run_git(["describe", "--tags", "--abbrev=0", commit], cwd=git_dir).decode().strip()
    except git.GitCommandError:
        return None
    number = re.search(r"\d+(?:[._-]\d+)*(?:[._-]?(?:a|b|rc|dev|post)\d*)?$", tag)
    try:
        return str(Version(number.group().replace("_", "."))) if number else None
    except InvalidVersion:
        return None


def _no_commits(name: str, *, remote: bool = False) -> RepositoryError:
    if remote:
        return RepositoryError(
            f"{name} has no commits on its default branch",
            hint="clone it, check out the branch that is meant, and name the clone's folder",
        )
    return RepositoryError(
        f"{name} has no commits", hint="git add -A && git commit -m 'Start'; flywheel reads HEAD"
    )


def _said(error: git.GitCommandError) -> str:
    """What git said, without credentials."""
    text = str(error.stderr).strip().removeprefix("stderr:").strip().strip("'").strip()
    lines = [line for line in text.splitlines() if line.strip()]
    return without_credentials(" ".join(lines[-3:]))
