"""A challenge: what an optimiser made beside what is deployed, on rows that neither has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flywheel.core.errors import DatasetError, LeakError
from flywheel.core.events import EventBus
from flywheel.core.settings import Settings
from flywheel.curate import HOLDOUT, find_version
from flywheel.orchestrator.drawn import Drawn, draw
from flywheel.orchestrator.evaluate import evaluate
from flywheel.orchestrator.evaluated import Evaluated
from flywheel.orchestrator.optimized import Optimized
from flywheel.registry import BASE, Registry, Version
from flywheel.store import Store
from flywheel.workspace import Workspace

_Limit = TypeVar("_Limit", int, float)
_WITHOUT = "--gate-rows 0 optimises without a gate"


def held_out(module: str, settings: Settings, workspace: Workspace, store: Store) -> Drawn | None:
    """The rows of the hold-out that the gate will compare on, None where no gate is wanted.

    Asked before anything is optimised: raises `DatasetError` where nothing could be decided in the
    end, and names how many rows it takes; `LeakError` where what is deployed has seen some of them.
    """
    wanted = settings.optimize
    if wanted.gate_rows == 0:
        return None
    dataset = find_version(workspace.datasets, wanted.dataset)
    if HOLDOUT not in dataset.splits:
        raise DatasetError(
            f"{dataset.id} has no {HOLDOUT} split, so no gate can decide.",
            cause=f"it has {', '.join(dataset.splits)}",
            hint=f"[split] of the recipe makes one; {_WITHOUT}",
        )
    drawn = draw(dataset, HOLDOUT, rows=wanted.gate_rows, seed=wanted.seed)
    try:
        drawn.require()
    except DatasetError as error:
        raise DatasetError(
            error.message, cause=error.cause, hint=f"{error.hint}; {_WITHOUT}"
        ) from error
    registry = Registry(workspace, store)
    program = registry.program(module)
    champion = registry.version_of(program, registry.deployed(program.name).version_id)
    if told := seen_by_champion(champion, drawn, registry):
        raise LeakError(
            told,
            hint=f"flywheel rollback {program.name}, or flywheel deploy {program.name}@{BASE}"
            f" --force, before it; {_WITHOUT}",
        )
    return drawn


def seen_by_champion(champion: Version, drawn: Drawn, registry: Registry) -> str:
    """Why rows can decide nothing about a champion, empty where they can: it has seen some."""
    seen = registry.seen(champion, [row.id for row in drawn.rows])
    if not seen:
        return ""
    return (
        f"{champion.id}, which is deployed, has seen {len(seen):,} of the {len(drawn.rows):,} rows"
        " of the hold-out: no comparison on them would count."
    )


def challenge(
    done: Optimized,
    drawn: Drawn,
    settings: Settings,
    workspace: Workspace,
    store: Store,
    bus: EventBus,
    *,
    on_progress: Callable[[Evaluated], None] = lambda evaluated: None,
) -> Evaluated | None:
    """Compare the version that a study gave with the one that is deployed.

    None where the study gave none, or the deployed one again. It may cost
    what the study has left, and no more than an evaluation may. Raises what `evaluate` raises.
    """
    registry, wanted = Registry(workspace, store), settings.optimize
    module = done.program.name
    champion = registry.deployed(module).version_id
    if done.version is None or done.version == champion:
        return None
    section, paid = settings.evaluate, done.paid
    usd = None if wanted.max_usd is None else max(0.0, wanted.max_usd - paid.usd)
    left = None if wanted.max_tokens is None else max(0, wanted.max_tokens - paid.tokens)
    section = section.model_copy(
        update={
            "student": wanted.student,
            "seed": wanted.seed,
            "max_usd": _less(section.max_usd, usd),
            "max_tokens": _less(section.max_tokens, left),
        }
    )
    return evaluate(
        [registry.version_of(done.program, one) for one in (champion, done.version)],
        done.metric,
        drawn,
        settings.model_copy(update={"evaluate": section}),
        workspace,
        store,
        bus,
        on_progress=on_progress,
    )


def _less(one: _Limit | None, other: _Limit | None) -> _Limit | None:
    """The limit that is reached first; None for none."""
    return min((limit for limit in (one, other) if limit is not None), default=None)
