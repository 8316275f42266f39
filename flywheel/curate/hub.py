"""A Hub: what it has of one dataset, and how that is changed, through `huggingface_hub`.

Who asks is for that library to find: the environment, or what `hf auth login` kept. What it raises
becomes a `DatasetError` here that says what to do; a token is in none of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.tqdm import disable_progress_bars

from flywheel.core.errors import DatasetError, FlywheelError, UsageError

KIND = "dataset"
"""What kind of repository it is, as the Hub calls it."""


@dataclass(frozen=True, slots=True)
class State:
    """What a repository is now."""

    head: str
    """Its newest commit."""
    private: bool
    """Whether only its owner's people see it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A file that a Hub has."""

    size: int
    """Bytes."""
    sha256: str | None
    """Of a large file; None for others."""
    blob: str
    """Git's hash, of a file that is not large."""


class Hub:
    """One dataset of a Hub. Every method raises `DatasetError` where the Hub refuses or is away."""

    def __init__(self, repo: str, endpoint: str | None = None) -> None:
        if repo.count("/") != 1:
            raise _no_name(repo)
        disable_progress_bars()
        self._api = HfApi(endpoint=endpoint, library_name="flywheel")
        self.repo = repo
        """`OWNER/NAME`."""
        self.server: str = self._api.endpoint
        """Address of the Hub."""

    @property
    def address(self) -> str:
        """Where a browser finds the dataset."""
        return f"{self.server}/datasets/{self.repo}"

    def state(self) -> State | None:
        """What the repository is now, None where there is none that may be seen."""
        with self._refusals():
            try:
                info = self._api.dataset_info(self.repo)
            except RepositoryNotFoundError:
                return None
            return State(str(info.sha), bool(info.private))

    def files(self) -> dict[str, Known]:
        """The files that it has, by path."""
        with self._refusals():
            listed = self._api.list_repo_tree(self.repo, recursive=True, repo_type=KIND)
            return {
                one.path: Known(one.size, one.lfs.sha256 if one.lfs else None, one.blob_id)
                for one in listed
                if isinstance(one, RepoFile)
            }

    def create(self, *, private: bool) -> None:
        """Make the repository."""
        with self._refusals():
            self._api.create_repo(self.repo, repo_type=KIND, private=private)

    def commit(
        self,
        added: Sequence[tuple[str, Path]],
        deleted: Sequence[str],
        *,
        message: str,
        parent: str | None,
    ) -> str:
        """Put files and take files in one commit, and return it; `parent` must be the newest."""
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        operations += [CommitOperationAdd(name, path) for name, path in added]
        operations += [CommitOperationDelete(name) for name in deleted]
        with self._refusals():
            made = self._api.create_commit(
                self.repo,
                operations,
                commit_message=message,
                repo_type=KIND,
                parent_commit=parent,
            )
            return str(made.oid)

    def tag(self, name: str, commit: str) -> bool:
        """Give a commit a name; False where the name is taken, which leaves it where it is."""
        with self._refusals():
            try:
                self._api.create_tag(self.repo, tag=name, revision=commit, repo_type=KIND)
            except HfHubHTTPError as error:
                if error.response.status_code != httpx.codes.CONFLICT:
                    raise
                return False
            return True

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (
            HfHubHTTPError,
            httpx.HTTPError,
            ConnectionError,
            RuntimeError,
            ValueError,
        ) as error:
            raise self._told(error) from error

    def _told(self, error: BaseException) -> FlywheelError:
        match error:
            case HFValidationError():
                return _no_name(self.repo)
            case HfHubHTTPError():
                return _refused(error, self.repo)
            case OfflineModeIsEnabled():
                return DatasetError(
                    "The Hub is not asked while HF_HUB_OFFLINE is set.", hint="unset HF_HUB_OFFLINE"
                )
            case httpx.HTTPError() | ConnectionError():
                return DatasetError(
                    f"The Hub at {self.server} cannot be reached.",
                    cause=str(error) or type(error).__name__,
                    hint="look at the network, or name another with --endpoint; then push again",
                )
            case _ if error.__cause__ is not None:  # an upload's failure is wrapped
                return self._told(error.__cause__)
            case _:
                return DatasetError(f"The Hub did not take {self.repo}.", cause=str(error)[:500])


def _no_name(repo: str) -> UsageError:
    return UsageError(f"{repo!r} is no repository of a Hub.", hint="--repo OWNER/NAME")


def _refused(error: HfHubHTTPError, repo: str) -> DatasetError:
    status = error.response.status_code
    hint: str | None
    match status:
        case 401:
            what = "The Hub does not know who is asking."
            hint = "hf auth login, or set HF_TOKEN to a token that may write"
        case 403:
            what = f"The token may not write to {repo}."
            hint = f"take a token that may write to what {repo.partition('/')[0]} has"
        case 404:
            what = f"{repo} is not there, or the token may not see it."
            hint = "look at the name, and at what the token may do"
        case 409 | 412:
            what = f"{repo} was changed or made by another at the same time."
            hint = "push again"
        case 429:
            what, hint = "The Hub was asked too often.", "wait some minutes, then push again"
        case _ if status >= 500:
            what = "The Hub failed."
            hint = "push again later: what has arrived is not sent again"
        case _:
            what, hint = f"The Hub did not take {repo}.", None
    said = (error.server_message or "").strip().partition("\n")[0][:300]
    return DatasetError(what, cause=f"HTTP {status}{': ' if said else ''}{said}", hint=hint)
