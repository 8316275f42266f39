"""The registry: every version of every module of a workspace, and which one is deployed.

Versions are folders, `.flywheel/registry/MODULE/HASH`; what is joined or comes one after the other
is in the store. Who changes a module for long (a spin) holds its lock, and nobody else deploys.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.core.errors import RegistryError, UsageError
from flywheel.core.identity import bytes_hash
from flywheel.core.lock import locked
from flywheel.programs import Program, find_program
from flywheel.programs.modules import SHIPPED
from flywheel.registry import state as states
from flywheel.registry.version import (
    BASE,
    FORMAT,
    MANIFEST,
    STATE,
    TUNED_FORMAT,
    Cost,
    DraftVersion,
    Environment,
    Manifest,
    ModuleName,
    Version,
    read_version,
)
from flywheel.store import (
    DEMO,
    DEPLOY,
    TRAIN,
    VALIDATION,
    Deployment,
    Store,
    VersionRow,
    deployments,
    record_version,
    seen_by,
)
from flywheel.store.lock import LockTimeoutError, alone
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    import dspy

FOLDER = "registry"
"""Folder of the versions, in the workspace's state."""
LOCK = "lock"
"""File of a module that who changes it holds."""
SHARES_LOCK = "traffic.lock"
"""File of a module that who writes its deployment or its shares of traffic holds."""
ASKED_FOR = "Asked for."
"""Reason of a change that a person wants, and that needs no other."""

_NAME = re.compile(r"[A-Za-z_][\w-]*")
_HASH = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What is deployed of a module."""

    version_id: str
    """The version, `MODULE@base` where none was deployed."""
    number: int
    """Number of its deployment, 0 where none was deployed."""
    below: tuple[Deployment, ...]
    """Deployments that still hold, the first of them first: a rollback takes away the last."""


class Registry:
    """The versions of a workspace. Making one opens nothing."""

    def __init__(self, workspace: Workspace, store: Store) -> None:
        self.workspace = workspace
        """The workspace."""
        self.store = store
        """Its store."""
        self.root = workspace.state / FOLDER
        """Folder of the versions."""
        self._held: set[str] = set()

    def save(self, draft: DraftVersion) -> Version:
        """Keep a program as a version; the same one again is the version that is there.

        Raises `RegistryError` where its state cannot be kept, or has a secret in it.
        """
        _check_name(draft.module.name)
        written = states.write(states.state_of(draft.program))
        if draft.optimizer is not None:
            states.refuse_secret(
                json.dumps(draft.optimizer.options), "The optimiser's options have"
            )
        manifest = _manifest(draft, written)
        folder = self.root / draft.module.name / manifest.hash
        if not folder.exists():
            _put(folder, manifest, written)
        version = read_version(folder)
        record_version(self.store, _row(version), _seen(version.manifest))
        return version

    def again(self, draft: DraftVersion, version: Version) -> bool:
        """Whether a draft would tell its model the same as a version, and have the same weights."""
        said = version.manifest
        weights = (said.adapter, said.tuned) == (draft.adapter, draft.tuned)
        return weights and states.write(states.state_of(draft.program)) == version.written

    def check(self, program: Program) -> None:
        """See that versions of a program can be kept, before anything is paid for.

        Raises what `save` raises.
        """
        _check_name(program.name)
        states.write(states.state_of(program.make()))

    def base(self, program: Program) -> Version:
        """A module as its code has it: the version that every other is measured by."""
        made = program.make()
        written = states.write(states.state_of(made))
        draft = DraftVersion(
            module=ModuleName(name=program.name, spec=program.spec, hash=program.hash),
            program=made,
            parent="",
            optimizer=None,
            dataset="",
            metric="",
            lm=None,
            cost=Cost(usd=0.0, tokens=0, seconds=0.0),
        )
        return Version(_manifest(draft, written), written, None)

    def program(self, module: str) -> Program:
        """The program of a module, by its name or as `find_program` takes it.

        Raises `UsageError` where there is none.
        """
        saved = self.list(module) if _NAME.fullmatch(module) and module not in SHIPPED else ()
        return find_program(saved[0].manifest.module.spec if saved else module, self.workspace.root)

    def find(self, asked: str) -> Version:
        """`MODULE@HASH`, a beginning of the hash, `MODULE@base`; of `MODULE`, what is deployed.

        A hash alone is that of any module. Raises `UsageError` where there is none or several,
        `RegistryError` for one that is damaged.
        """
        place, at, start = asked.rpartition("@") if "@" in asked else (asked, "", "")
        module = place.rpartition(":")[2]
        if not module:
            raise UsageError(f"{asked!r} names no module.", hint="flywheel versions lists them")
        if asked == BASE and self._bare(asked):
            raise UsageError("'base' of which module?", hint="MODULE@base, such as repair@base")
        if not at and self._bare(asked):
            if version := self._one(asked, asked, None):
                return version
            raise UsageError(f"no version begins with {asked}", hint="flywheel versions lists them")
        if not at:
            start = self.deployed(module).version_id.rpartition("@")[2]
        if start == BASE:
            return self.base(self.program(place))
        if found := self._one(asked, start, module):
            return found
        if not at:
            raise RegistryError(
                f"{module}@{start} is deployed, and is not there any more.",
                cause=f"there is no folder {self.root / module / start}",
                hint=f"put a copy of it back, or flywheel rollback {module}",
            )
        raise self._none(asked, module, self._folders(module))

    def pair(self, first: str, second: str) -> tuple[Version, Version]:
        """Two versions, of which one may be named by its hash alone, or as `base`.

        Raises what `find` raises.
        """
        if self._bare(first):
            other = self.find(second)
            return self.find(f"{other.manifest.module.spec}@{first}"), other
        one = self.find(first)
        if self._bare(second):
            return one, self.find(f"{one.manifest.module.spec}@{second}")
        return one, self.find(second)

    def version_of(self, program: Program, asked: str) -> Version:
        """A version of a program, by its hash alone, as `base`, or as `find` takes it.

        A program of a user's own is known by its place alone before a version is saved of it, and
        not by its name. Raises what `find` raises, and `UsageError` for a version of another one.
        """
        name = asked if "@" in asked else f"{program.name}@{asked}"
        if name == f"{program.name}@{BASE}":
            return self.base(program)
        if not self._folders(program.name) and name.startswith(f"{program.name}@"):
            raise self._none(name, program.name, (), spec=program.spec)
        found = self.find(name)
        of = found.manifest.module
        if of.name != program.name:
            raise UsageError(
                f"{found.id} is no version of {program.name}.",
                hint=f"flywheel versions --module {program.name}",
            )
        if not program.is_at(of.spec, self.workspace.root):
            raise UsageError(
                f"{found.id} is a version of {of.spec}, not of {program.spec}.",
                hint="two programs have one name: give one of the classes another",
            )
        return found

    def list(
        self,
        module: str | None = None,
        *,
        on_damaged: Callable[[RegistryError], None] | None = None,
    ) -> tuple[Version, ...]:
        """Every version, or those of a module, the newest first.

        `on_damaged` hears of those that cannot be read.
        """
        found = []
        for folder in self._folders(module):
            try:
                found.append(read_version(folder))
            except RegistryError as error:
                if on_damaged is not None:
                    on_damaged(error)
        return tuple(sorted(found, key=lambda one: one.manifest.created_at, reverse=True))

    def load(self, version: Version, program: dspy.Module, *, base: str | None = None) -> None:
        """Set a version's state on a module, which has no model of its own afterwards.

        `base` is the identity of what its adapter is put on, or its tuned model was made of: of the
        weights, or the model, that plays. None where that is not known. Raises `RegistryError`
        where state, fields, adapter or tuned model do not fit; then nothing was set.
        """
        adapter, tuned = version.manifest.adapter, version.manifest.tuned
        if adapter is not None and base != adapter.base:
            raise RegistryError(
                f"The adapter of {version.id} does not fit this model.",
                cause=f"it was trained on {adapter.base}, and these are {base or 'not known'}",
                hint="name the profile of the model that it was trained on",
            )
        if tuned is not None and base != tuned.base:
            raise RegistryError(
                f"{version.id} needs {tuned.model}, which this profile does not reach.",
                cause=f"it was tuned of {tuned.base}, and this is {base or 'not known'}",
                hint="name the profile of the model that it was tuned of",
            )
        states.apply(states.parse(version.written), version.manifest.predictors, program)

    def seen(self, version: Version, example_ids: Iterable[str]) -> dict[str, str]:
        """Which of some examples a version or one that it came from has seen, with the role there.

        The store says so, and so do manifests: it may be another one than they were made with.
        """
        wanted = set(example_ids)
        found = seen_by(self.store, version.id, wanted)
        while True:
            for role, ids in _seen(version.manifest).items():
                found |= {key: role for key in wanted.intersection(ids) if key not in found}
            module, _, name = version.manifest.parent.rpartition("@")
            folder = self.root / module / name
            if not _NAME.fullmatch(module) or not _HASH.fullmatch(name) or not folder.is_dir():
                return found
            version = read_version(folder)

    def deployed(self, module: str) -> Deployed:
        """What is deployed of a module."""
        return deployed_by(module, deployments(self.store, module))

    @contextmanager
    def changing(self, module: str, doing: str) -> Iterator[None]:
        """Be the only one who changes what is deployed of a module.

        Who holds it may enter again through the same registry: a spin deploys. Raises
        `RegistryError` at once where another does.
        """
        if module in self._held:
            yield
            return
        path = self.root / module / LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with alone(path, doing=doing):
                self._held.add(module)
                try:
                    yield
                finally:
                    self._held.discard(module)
        except LockTimeoutError as error:
            raise RegistryError(
                f"{module} is being changed: nothing was done.",
                cause=f"Held by {error.holder or 'another process'}.",
                hint="wait for it to end, or stop it",
            ) from error

    @contextmanager
    def sharing(self, module: str) -> Iterator[None]:
        """Be the only one who writes what is deployed of a module, or how its traffic is shared.

        For the moment of the writing alone; waits for who is at it.
        """
        with locked(self.root / module / SHARES_LOCK):
            yield

    def known(self, module: str) -> None:
        """Raise `UsageError` for a module that has no version and does not come with flywheel."""
        there = self._folders(module) or deployments(self.store, module)
        if module not in SHIPPED and not there:
            raise self._none(module, module, ())

    def modules(self) -> tuple[str, ...]:
        """Modules that have versions."""
        return tuple(sorted({one.parent.name for one in self._folders(None)}))

    def _one(self, asked: str, start: str, module: str | None) -> Version | None:
        """The version whose hash begins so, of a module or of any; None where there is none."""
        found = [one for one in self._folders(module) if start and one.name.startswith(start)]
        found = [one for one in found if one.name == start] or found
        if len(found) > 1:
            listed = ", ".join(f"{one.parent.name}@{one.name}" for one in found)
            raise UsageError(
                f"Several versions begin with {asked}: {listed}.", hint="give more of it"
            )
        return read_version(found[0]) if found else None

    def _bare(self, asked: str) -> bool:
        """Whether it is a hash alone, or `base`, and the name of no module."""
        looks = asked == BASE or _HASH.fullmatch(asked) is not None
        return looks and asked not in {*SHIPPED, *self.modules()}

    def _folders(self, module: str | None) -> tuple[Path, ...]:
        if module is not None and not _NAME.fullmatch(module):
            return ()  # a path, or a pattern: nothing is filed under it
        found = self.root.glob(f"{module or '*'}/[0-9a-f]*")
        return tuple(sorted(one for one in found if _HASH.fullmatch(one.name) and one.is_dir()))

    def _none(
        self, asked: str, module: str, folders: tuple[Path, ...], *, spec: str = ""
    ) -> UsageError:
        if not folders:
            names = self.modules()
            near = difflib.get_close_matches(module, {*names, *SHIPPED}, n=1)
            if spec or module in SHIPPED:
                hint = f"flywheel optimize --module {spec or module}"
            else:
                hint = (
                    f"Did you mean {near[0]}?" if near else "flywheel versions lists what there is"
                )
            wanted = f", so there is no {asked}" if asked != module else ""
            return UsageError(
                f"{module} has no versions{wanted}.",
                cause=f"there are versions of {', '.join(names)}" if names else None,
                hint=hint,
            )
        hashes = [BASE, *(one.name for one in folders)]
        near = difflib.get_close_matches(asked.rpartition("@")[2], hashes, n=1)
        slip = f"Did you mean {module}@{near[0]}?" if near else None
        return UsageError(
            f"There is no version {asked!r}.",
            cause=f"there are: {', '.join(f'{module}@{one}' for one in hashes)}",
            hint=slip or f"flywheel versions --module {module}",
        )


def deployed_by(module: str, rows: Sequence[Deployment]) -> Deployed:
    """What is deployed after some deployments of a module, in their order."""
    held: list[Deployment] = []
    for one in rows:
        if one.action == DEPLOY:
            held.append(one)
        elif held:
            held.pop()
    version_id = held[-1].version_id if held else f"{module}@{BASE}"
    return Deployed(version_id, rows[-1].number if rows else 0, tuple(held))


def _manifest(draft: DraftVersion, written: str) -> Manifest:
    made = Manifest(
        format=FORMAT if draft.tuned is None else TUNED_FORMAT,
        module=draft.module,
        hash="",
        state=bytes_hash(written.encode()),
        predictors=states.predictors_of(draft.program),
        parent=draft.parent,
        optimizer=draft.optimizer,
        study=draft.study,
        dataset=draft.dataset,
        metric=draft.metric,
        scores=draft.scores,
        lm=draft.lm,
        adapter=draft.adapter,
        tuned=draft.tuned,
        cost=draft.cost,
        environment=Environment.here(),
        partial=draft.partial,
        trained_on=draft.trained_on,
        validated_on=draft.validated_on,
        demos=draft.demos,
        trials=draft.trials,
        created_at=datetime.now(UTC),
    )
    return made.model_copy(update={"hash": made.identity})


def _put(folder: Path, manifest: Manifest, written: str) -> None:
    """Make a version's folder in one step."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
        try:
            told = json.dumps(manifest.written, indent=1, ensure_ascii=False)
            (made / MANIFEST).write_text(f"{told}\n", encoding="utf-8")
            (made / STATE).write_text(written, encoding="utf-8")
            made.chmod(0o755)
            made.rename(folder)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not folder.is_dir():  # another process has made the same one
                raise
    except OSError as error:
        raise RegistryError(
            f"The version {manifest.module.name}@{manifest.hash} cannot be kept.",
            cause=str(error),
            hint="free some room, and run the same command again: what was paid for is kept",
        ) from error


def _seen(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """The examples that a version saw when it was made, by role."""
    return {TRAIN: manifest.trained_on, VALIDATION: manifest.validated_on, DEMO: manifest.demos}


def _row(version: Version) -> VersionRow:
    said = version.manifest
    return VersionRow(
        version_id=version.id,
        module=said.module.name,
        parent=said.parent,
        optimizer=said.optimizer.name if said.optimizer else "",
        options=said.optimizer.options if said.optimizer else {},
        seed=said.optimizer.seed if said.optimizer else 0,
        dataset=said.dataset,
        metric=said.metric,
        model=said.lm.model if said.lm else "",
        adapter=said.adapter.hash if said.adapter else None,
        study_id=said.study,
        trials=said.trials,
        partial=said.partial,
        usd=said.cost.usd,
        tokens=said.cost.tokens,
        seconds=said.cost.seconds,
        created_at=said.created_at,
    )


def _check_name(module: str) -> None:
    if not _NAME.fullmatch(module):
        raise UsageError(
            f"{module!r} is no name for a module.",
            hint="letters, digits, _ and -, beginning with a letter",
        )
