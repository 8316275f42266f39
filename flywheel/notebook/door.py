"""The door: everything a workspace holds, to be read in any process while a harvest writes.

What is read is a snapshot of the store, made anew when the store has changed: a query may take as
long as it likes, and neither it nor the harvest ever meets a lock error. Nothing is written.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl

from flywheel.core.errors import UsageError
from flywheel.curate import SPLITS, find_version, versions
from flywheel.notebook.markup import text_of
from flywheel.notebook.page import DatasetPage, ExamplePage
from flywheel.store import Snapshot, Snapshots, Store, attempts_on, held, rows, scan, sql
from flywheel.store import example as find_example
from flywheel.workspace import Workspace, find


def open_workspace(path: str | Path | None = None) -> Door:
    """The door to a workspace.

    `path` is a folder in it; without one it is what the variable `FLYWHEEL_WORKSPACE` names, else
    the nearest workspace of the current folder. Where there is no store yet, every frame is empty,
    and a warning says so. Raises `UsageError` for a path that is no folder.
    """
    if path is None:
        workspace = find()
    else:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise UsageError(f"{path} is not a folder.", hint="Name the folder of a workspace.")
        workspace = find(folder, environ={})
    door = Door(workspace)
    if not door.store.exists:
        warnings.warn(
            f"There is no store in {workspace.root}: every frame is empty."
            " flywheel harvest --repo PATH makes one.",
            stacklevel=2,
        )
    return door


class Door:
    """One workspace, read-only."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        """Where everything lies."""
        self.store = Store(workspace.store_path)
        """The store itself."""
        self._snapshots = Snapshots(self.store)

    def snapshot(self) -> Snapshot:
        """The store as it is now, for whatever this door has no name for."""
        return self._snapshots.newest()

    def examples(self, where: str | None = None) -> pl.DataFrame:
        """Proven examples, oldest first; `where` is an SQL condition on their columns, as below."""
        return rows(self.snapshot(), "examples", where=where)

    def trials(self, where: str | None = None) -> pl.DataFrame:
        """Runs of candidates under their tests; there are several for each of them."""
        return rows(self.snapshot(), "trials", where=where)

    def survivors(self, where: str | None = None) -> pl.DataFrame:
        """Changes of covered code that no test noticed."""
        return rows(self.snapshot(), "survivors", where=where)

    def attempts(self, where: str | None = None) -> pl.DataFrame:
        """What models made of examples when they were asked to mend them."""
        return rows(self.snapshot(), "attempts", where=where)

    def calls(self, where: str | None = None) -> pl.DataFrame:
        """Calls to language models. Those of a harvest that goes on come when it ends."""
        return rows(self.snapshot(), "calls", where=where)

    def scores(self, where: str | None = None) -> pl.DataFrame:
        """What metrics said of single answers."""
        return rows(self.snapshot(), "scores", where=where)

    def figures(self, where: str | None = None) -> pl.DataFrame:
        """Measured figures with their sample size and interval, as time goes on."""
        return rows(self.snapshot(), "figures", where=where)

    def versions(self, where: str | None = None) -> pl.DataFrame:
        """Versions of programs, and what made them."""
        return rows(self.snapshot(), "versions", where=where)

    def gates(self, where: str | None = None) -> pl.DataFrame:
        """Comparisons of two versions on the same rows, with their verdicts."""
        return rows(self.snapshot(), "gates", where=where)

    def deployments(self, where: str | None = None) -> pl.DataFrame:
        """What was deployed, and rolled back, and why."""
        return rows(self.snapshot(), "deployments", where=where)

    def studies(self, where: str | None = None) -> pl.DataFrame:
        """Optimisers at work on programs, those that go on included."""
        return rows(self.snapshot(), "studies", where=where)

    def study_trials(self, where: str | None = None) -> pl.DataFrame:
        """States of programs that studies have scored, with their samples and intervals."""
        return rows(self.snapshot(), "study_trials", where=where)

    def outcomes(self, where: str | None = None) -> pl.DataFrame:
        """What versions answered to rows of datasets, and what that is worth."""
        return rows(self.snapshot(), "outcomes", where=where)

    def scan(self, name: str, where: str | None = None) -> pl.LazyFrame:
        """Any table or view, not yet read, in no particular order.

        Columns, conditions and limits of the plan go into the store's own query, which is asked at
        every `collect()` of what is stored by then. Rows come in batches: a plan that streams
        never holds all of them.
        """
        return scan(self.snapshot, name, where=where)

    def sql(self, query: str) -> pl.DataFrame:
        """The answer to a query. Raises `UsageError` for anything but reading, and wrong SQL."""
        return sql(self.snapshot(), query)

    def example(self, id_prefix: str) -> ExamplePage:
        """One example by its id or the beginning of it; `UsageError` for none or several."""
        now = self.snapshot()
        found = find_example(now, id_prefix)
        return ExamplePage(found, attempts_on(now, found.example_id))

    def datasets(self) -> pl.DataFrame:
        """Versions of datasets, by name and then the newest first."""
        found = [
            (
                one.id,
                one.manifest.name,
                one.manifest.rules.task,
                *(one.manifest.splits[name].rows if name in one.splits else 0 for name in SPLITS),
                str(one.folder),
            )
            for one in versions(self._versions)
        ]
        schema = {
            "version": pl.String,
            "name": pl.String,
            "task": pl.String,
            **dict.fromkeys(SPLITS, pl.Int64),
            "folder": pl.String,
        }
        return pl.DataFrame(found, schema=schema, orient="row")

    def dataset(self, asked: str) -> DatasetPage:
        """A version: `NAME@HASH`, a beginning of the hash, or the newest of `NAME`.

        Raises `UsageError` where there is none, or several.
        """
        return DatasetPage(find_version(self._versions, asked))

    def newest_dataset(self) -> DatasetPage | None:
        """The version that was built last, None where there is none."""
        found = versions(self._versions)
        last = max(found, key=lambda one: one.folder.stat().st_mtime_ns, default=None)
        return None if last is None else DatasetPage(last)

    @property
    def _versions(self) -> Path:
        return self.workspace.state / "datasets"

    def __repr__(self) -> str:
        """As a terminal shows it."""
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return "<br>".join(text_of(line) for line in self._lines())

    def _lines(self) -> list[str]:
        lines = [f"flywheel workspace {self.workspace.root}"]
        for one in held(self.snapshot()):
            examples = sum(one.live.values())
            lines.append(f"{one.repo}: {examples:,} examples, {one.survivors:,} survivors")
        if len(lines) == 1:
            lines.append("The store is empty: flywheel harvest --repo PATH")
        return lines
