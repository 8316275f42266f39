"""The error tree. Every error a user can meet is one of these.

FlywheelError                exit 1
├── UsageError               exit 2   the command line or a setting is wrong
├── RepositoryError          exit 1   not a repository, empty, cannot be fetched
├── EnvironmentBuildError    exit 1   the test environment could not be built
├── BaselineError            exit 1   no tests, none passes, suite hangs
├── ToolchainError           exit 1   a profile is malformed, or its grammar is missing
│   └── NoToolchainError     exit 1   no profile fits
├── SandboxError             exit 1   the isolation asked for cannot be had
├── CriticError              exit 1   the critic cannot prove itself, or died
│   └── ReportError          exit 1   what a test runner wrote cannot be read
├── StoreError               exit 1
│   ├── StoreVersionError    exit 1   written by a newer flywheel
│   └── StoreBusyError       exit 1   another process holds the store
├── DatasetError             exit 1   a dataset cannot be built, or a version of it read
│   └── LeakError            exit 3   what is held out is in another split too
├── RegistryError            exit 1   a version cannot be kept or read, or may not be deployed
├── LMError                  exit 1   a language model gave no answer
├── TrainingError            exit 1   a model's training went wrong
├── BudgetError              exit 4   what may be spent is spent
└── Interrupted              exit 130
"""

from __future__ import annotations


class FlywheelError(Exception):
    """Base of all errors shown to a user: what failed, its cause, and what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, cause: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        """What the failing thing itself said (trimmed), or None."""
        self.hint = hint
        """The next thing to do, a command where there is one, or None."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback: IPython asks an exception for it."""
        parts = (("error", self.message), ("cause", self.cause), ("hint", self.hint))
        return [f"{name}: {said.strip()}" for name, said in parts if said]


class UsageError(FlywheelError):
    """The command line, a setting or a file the user wrote is wrong."""

    exit_code = 2


class RepositoryError(FlywheelError):
    """The repository is not one, is empty, or cannot be fetched."""


class EnvironmentBuildError(FlywheelError):
    """The repository's test environment could not be built or accepted."""


class BaselineError(FlywheelError):
    """The suite at the base commit gives nothing to judge by."""


class ToolchainError(FlywheelError):
    """A toolchain's files are malformed, or what they need of flywheel is not installed."""


class NoToolchainError(ToolchainError):
    """No toolchain profile fits the repository."""


class SandboxError(FlywheelError):
    """The isolation that was asked for cannot be had on this machine."""


class CriticError(FlywheelError):
    """The critic died or could not prove itself; never a verdict about a candidate."""


class ReportError(CriticError):
    """What a test runner wrote is no report of the format it should be."""


class StoreError(FlywheelError):
    """The store cannot be opened, read or written."""


class StoreVersionError(StoreError):
    """The store was written by a newer flywheel."""


class StoreBusyError(StoreError):
    """Another process holds the store for writing."""


class DatasetError(FlywheelError):
    """A dataset cannot be built, or a version of one cannot be read."""


class LeakError(DatasetError):
    """Rows of one split of a dataset are in another, as they are or nearly so."""

    exit_code = 3


class RegistryError(FlywheelError):
    """A version of a program cannot be kept or read, or may not be deployed."""


class LMError(FlywheelError):
    """A language model gave no answer; never a verdict about anything."""

    def __init__(
        self,
        message: str,
        *,
        failure: str = "unavailable",
        retry_after: float | None = None,
        cause: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.failure = failure
        """Its kind: one of `flywheel.lm.Failure`."""
        self.retry_after = retry_after
        """Seconds after which the provider wants to be asked again, None where it did not say."""


class TrainingError(FlywheelError):
    """The training of a model went wrong; its last checkpoint is kept."""


class BudgetError(FlywheelError):
    """What may be spent is spent; everything paid for is kept."""

    exit_code = 4


class Interrupted(FlywheelError):
    """The user stopped the work; everything acknowledged is kept."""

    exit_code = 130
