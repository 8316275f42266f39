"""Deploying: which version answers, changed only by what was proven, or by force that is told.

A version may take the place of another that it was shown to beat, on rows of a hold-out that it has
never seen, and that nothing has seen from which it was made.
Deployments are never changed; a rollback is one more, and takes away the last that still holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flywheel.core.errors import FlywheelError, LeakError, RegistryError, UsageError
from flywheel.core.identity import content_hash
from flywheel.curate import HOLDOUT
from flywheel.optimize.gate import Comparison, level
from flywheel.registry.registry import ASKED_FOR, Registry
from flywheel.registry.traffic import WHOLE, traffic_of
from flywheel.registry.version import BASE, Version
from flywheel.store import (
    DEPLOY,
    ROLLBACK,
    Deployment,
    Gate,
    gates,
    record_deployment,
    record_gate,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version may take the place of what is deployed, and why."""

    champion: str
    """What is deployed."""
    gate: Gate | None
    """The comparison of the two on a hold-out that counts, None where there is none: that of the
    most rows, and of these the newest."""
    looks: int
    """Comparisons of the two on a hold-out that differ."""
    current: bool
    """Whether the module's code is still the one that was compared."""

    @property
    def allows(self) -> bool:
        """Whether it may."""
        found = self.gate is not None and self.gate.better and self.gate.p_value < self.level
        return found and self.current

    @property
    def level(self) -> float:
        """What its p-value must stay below: who looks often finds a difference of equals once."""
        return level(max(1, self.looks))

    @property
    def sentence(self) -> str:
        """The finding, for a person."""
        if self.gate is None:
            return f"It was never compared with {self.champion} on a hold-out."
        found = (
            f"{100 * self.gate.difference:+.1f} points (95 % {100 * self.gate.low:+.1f} to"
            f" {100 * self.gate.high:+.1f}), p = {self.gate.p_value:.2g},"
            f" on {self.gate.n:,} rows of {self.gate.dataset}"
        )
        if not self.current:
            return f"The module's code has changed since it was compared with {self.champion}."
        if self.gate.better and not self.allows:
            return (
                f"It was not shown to beat {self.champion}: {found}; that is one of {self.looks}"
                f" comparisons, so it must stay below {self.level:.2g}."
            )
        said = "It beats" if self.gate.better else "It was not shown to beat"
        return f"{said} {self.champion}: {found}."


def record_comparison(
    registry: Registry,
    comparison: Comparison,
    *,
    champion: Version,
    challenger: Version,
    dataset: str,
    split: str,
    metric: str,
    examples: Iterable[str],
    run_id: str,
) -> Gate:
    """Keep what a comparison found; on a hold-out it is what allows or forbids to deploy.

    `examples` are the ids of the rows that were compared. Raises `LeakError` where the challenger,
    or a version that it came from, has seen some of a hold-out: then nothing is kept.
    """
    seen = registry.seen(challenger, examples) if split == HOLDOUT else {}
    if seen:
        key, role = next(iter(seen.items()))
        raise LeakError(
            f"{challenger.id} has seen {len(seen):,} of the rows that it was to be measured on.",
            cause=f"example {key} was among those of its {role}",
            hint="compare on a dataset whose hold-out it was not made from",
        )
    assert comparison.champion.value is not None
    assert comparison.challenger.value is not None
    gate = Gate(
        gate_id=content_hash("gate", champion.id, challenger.id, dataset, split, metric, run_id),
        module=challenger.manifest.module.name,
        champion=champion.id,
        challenger=challenger.id,
        dataset=dataset,
        split=split,
        metric=metric,
        n=comparison.n,
        unknown=comparison.unknown,
        champion_value=comparison.champion.value,
        challenger_value=comparison.challenger.value,
        difference=comparison.difference,
        low=comparison.low,
        high=comparison.high,
        p_value=comparison.deciding_p,
        test=comparison.test,
        gains=len(comparison.gains),
        regressions=len(comparison.regressions),
        better=comparison.better,
        code=registry.program(challenger.manifest.module.name).hash,
        run_id=run_id,
    )
    record_gate(registry.store, gate)
    return gate


def verdict(registry: Registry, version: Version) -> Verdict:
    """What is known of a version beside the one that is deployed."""
    module = version.manifest.module.name
    champion = registry.deployed(module).version_id
    every = gates(registry.store, challenger=version.id, champion=champion)
    found = [one for one in every if one.split == HOLDOUT]
    gate = max(found, key=lambda one: one.n + one.unknown, default=None)
    # Run again on the same rows it finds the same: that is no further look.
    looks = len({(one.dataset, one.metric, one.n, one.difference, one.p_value) for one in found})
    current = gate is not None and gate.code == registry.program(module).hash
    return Verdict(champion, gate, looks, current)


def deploy(registry: Registry, version: Version, *, force: bool = False) -> Deployment | None:
    """Let a version answer from now on; None where it does already.

    Traffic that was shared is shared no more. Raises `RegistryError` where it was not shown to be
    better than what is deployed, unless by `force`, and while another changes the module.
    """
    module = version.manifest.module.name
    with registry.changing(module, f"deploy of {version.id}"), registry.sharing(module):
        found = verdict(registry, version)
        if found.champion == version.id:
            return None
        if not found.allows and not force:
            start, old = version.id.rpartition("@")[2], found.champion.rpartition("@")[2]
            raise RegistryError(
                f"{version.id} was not deployed; {found.champion} stays.",
                cause=found.sentence,
                hint=f"flywheel evaluate --module {module} --versions {old},{start}"
                f" --dataset {version.manifest.dataset or 'NAME@HASH'} --split {HOLDOUT}"
                if not found.current
                else f"flywheel deploy {version.id} --force deploys it all the same",
            )
        return record_deployment(
            registry.store,
            module,
            version.id,
            action=DEPLOY,
            replaced=found.champion,
            gate_id=found.gate.gate_id if found.gate and found.allows else None,
            forced=not found.allows,
            reason=found.sentence if found.allows else f"Forced. {found.sentence}",
        )


def rollback(registry: Registry, module: str) -> Deployment:
    """Let the version answer that did before the one that is deployed.

    Raises `UsageError` where nothing is deployed, `RegistryError` where that version is not there
    any more, and while another changes the module.
    """
    registry.known(module)
    with registry.changing(module, f"rollback of {module}"), registry.sharing(module):
        deployed = registry.deployed(module)
        if not deployed.below:
            known = f"{module}@{BASE} answers"
            hint = f"flywheel versions --module {module}"
            if len(shares := traffic_of(registry, module).shares) > 1:
                known = f"its traffic is shared: {', '.join(shares)}"
                hint = f"flywheel traffic {module} {BASE}={WHOLE} shares it no more"
            raise UsageError(
                f"Nothing is deployed of {module}, so nothing can be rolled back.",
                cause=known,
                hint=hint,
            )
        before = deployed.below[-2].version_id if len(deployed.below) > 1 else f"{module}@{BASE}"
        if not before.endswith(f"@{BASE}"):
            try:
                registry.find(before)
            except FlywheelError as error:
                raise RegistryError(
                    f"{before}, which answered before, cannot be deployed any more.",
                    cause=error.message,
                    hint=f"flywheel deploy {module}@{BASE} --force deploys the module as its code"
                    " has it; a module of your own by its place: FILE.py:CLASS@base",
                ) from error
        return record_deployment(
            registry.store,
            module,
            before,
            action=ROLLBACK,
            replaced=deployed.version_id,
            gate_id=None,
            forced=False,
            reason=ASKED_FOR,
        )
