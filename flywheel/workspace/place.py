"""Where the user works: the workspace's root and what lies in its state folder.

`find` only looks; `init` is the one that writes. A workspace is any folder: what marks it is a
`.flywheel/` folder or a `flywheel.toml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from flywheel.core.errors import UsageError
from flywheel.core.settings import FILE_NAME, template

STATE_NAME = ".flywheel"
"""Folder of everything flywheel writes in a workspace; git ignores it."""

VARIABLE = "FLYWHEEL_WORKSPACE"
"""Environment variable that names the workspace's root."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """One workspace. Its folders may not exist yet; `init` makes them."""

    root: Path
    """Absolute path of the folder the user works in."""
    origin: str
    """How it was found: `--workspace`, `FLYWHEEL_WORKSPACE`, `nearest` or `current folder`."""

    @property
    def state(self) -> Path:
        """Everything flywheel writes here: the store, logs, saved tracebacks."""
        return self.root / STATE_NAME

    @property
    def store_path(self) -> Path:
        """The database file."""
        return self.state / "flywheel.duckdb"

    @property
    def journal_path(self) -> Path:
        """Answers of language models that were paid for, and the calls."""
        return self.state / "lm.sqlite"

    @property
    def datasets(self) -> Path:
        """Versions of datasets, one folder a version, and the workspace's hold-outs."""
        return self.state / "datasets"

    @property
    def studies(self) -> Path:
        """What optimisers leave while they work, one folder a study."""
        return self.state / "studies"

    @property
    def spins(self) -> Path:
        """What spins have found round by round, one folder a spin."""
        return self.state / "spins"

    @property
    def trainings(self) -> Path:
        """What was learned from, and how far training on it is, one folder a set of traces."""
        return self.state / "trainings"

    @property
    def adapters(self) -> Path:
        """Trained weights of versions, one folder an adapter, by its hash."""
        return self.state / "adapters"

    @property
    def logs(self) -> Path:
        """Event logs, one a run."""
        return self.state / "logs"

    @property
    def programs_log(self) -> Path:
        """What programs and DSPy have to say while they answer."""
        return self.logs / "programs.log"

    @property
    def cache(self) -> Path:
        """The user's cache folder, for all workspaces; the setting `paths.cache` goes first."""
        return platformdirs.user_cache_path("flywheel")

    @property
    def exists(self) -> bool:
        """True once `init` was run here."""
        return self.state.is_dir()


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` did."""

    workspace: Workspace
    """The workspace, now there."""
    created: tuple[Path, ...]
    """Files that were written now; empty when all were there before."""


def find(
    start: Path | None = None,
    *,
    explicit: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Workspace:
    """Find the workspace: `explicit`, else the variable, else the nearest marked parent of `start`.

    `start` is the current folder when None, and is itself the workspace when nothing else is
    found. Nothing is created. Raises `UsageError` when what was asked for is not a folder.
    """
    variables = os.environ if environ is None else environ
    if explicit is not None:
        return _asked_for(explicit, "--workspace")
    if variables.get(VARIABLE):
        return _asked_for(Path(variables[VARIABLE]), VARIABLE)
    folder = (start or Path.cwd()).absolute()
    for parent in (folder, *folder.parents):
        if (parent / STATE_NAME).is_dir() or (parent / FILE_NAME).is_file():
            return Workspace(parent, "nearest")
    return Workspace(folder, "current folder")


def init(path: Path, *, settings: bool = True) -> Initialised:
    """Make `path` a workspace; what is there already is left as it is.

    Writes `.flywheel/` (ignored by git) and, with `settings`, a `flywheel.toml` in which every
    setting is commented out at its default. Raises `UsageError` when the folder cannot be written.
    """
    workspace = _asked_for(path, "--workspace")
    files = {workspace.state / ".gitignore": "*\n"}
    if settings:
        files[workspace.root / FILE_NAME] = template()
    created: list[Path] = []
    try:
        workspace.state.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            if not file.exists():
                file.write_text(text, encoding="utf-8")
                created.append(file)
    except OSError as error:
        raise UsageError(
            f"{workspace.root} cannot be made a workspace.",
            cause=str(error),
            hint="Choose a folder you may write: flywheel --workspace FOLDER init",
        ) from error
    return Initialised(workspace, tuple(created))


def _asked_for(path: Path, origin: str) -> Workspace:
    root = path.expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise UsageError(
            f"The workspace {root} is not a folder (from {origin}).",
            hint="Name a folder; it is created when it does not exist.",
        )
    return Workspace(root, origin)
