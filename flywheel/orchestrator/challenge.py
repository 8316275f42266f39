"""A challenge: what an optimiser made beside what is deployed, on rows that neither has seen."""

from __future__ import annotations

from collections.abc import Callable

from flywheel.core.errors import DatasetError
from flywheel.core.events import EventBus
from flywheel.core.settings import Settings
from flywheel.curate import HOLDOUT, find_version
from flywheel.optimize.gate import require
from flywheel.orchestrator.drawn import Drawn, draw
from flywheel.orchestrator.evaluate import evaluate
from flywheel.orchestrator.evaluated import Evaluated
from flywheel.orchestrator.optimized import Optimized
from flywheel.registry import Registry
from flywheel.store import Store
from flywheel.workspace import Workspace

_WITHOUT = "--gate-rows 0 optimises without a gate"


def held_out(settings: Settings, workspace: Workspace) -> Drawn | None:
    """The rows of the hold-out that the gate will compare on, None where no gate is wanted.

    Asked before anything is optimised: raises `DatasetError` where nothing could be decided in the
    end, and names how many rows it takes.
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
        require(len(drawn.rows))
    except DatasetError as error:
        raise DatasetError(
            error.message, cause=error.cause, hint=f"{error.hint}; {_WITHOUT}"
        ) from error
    return drawn


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

    None where the study gave none, or the deployed one again. What the study has left of its
    budget is what the comparison may cost. Raises what `evaluate` raises.
    """
    registry, wanted = Registry(workspace, store), settings.optimize
    module = done.program.name
    champion = registry.deployed(module).version_id
    if done.version is None or done.version == champion:
        return None
    tokens = sum(done.tokens.values())
    left = {
        "max_usd": None if wanted.max_usd is None else max(0.0, wanted.max_usd - (done.usd or 0.0)),
        "max_tokens": None if wanted.max_tokens is None else max(0, wanted.max_tokens - tokens),
    }
    section = settings.evaluate.model_copy(
        update={"student": wanted.student, "seed": wanted.seed, **left}
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
