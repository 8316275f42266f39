"""Live traffic shared between the deployed version and others, until one is shown to be worse.

A key (a repository, a person) always gets the same version: each version has a number for each key,
and the greatest in its weight wins (weighted rendezvous hashing: Thaler and Ravishankar, IEEE/ACM
Transactions on Networking 6:1-14, 1998; Schindelhauer and Schomaker, SPAA 2005). Where shares
change, only those keys move that have to.

Answers to one key are no independent evidence: the first known outcome of each key counts. After
each the test of `optimize.sequential` is asked; a challenger that is shown to be worse gets no more
traffic, whoever is looking.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from flywheel.core.errors import UsageError
from flywheel.core.identity import content_hash
from flywheel.optimize.sequential import ALPHA, Evidence, Stream, evidence, interval
from flywheel.registry.registry import ASKED_FOR, Registry, deployed_by
from flywheel.store import (
    LiveCount,
    LiveOutcome,
    TrafficRow,
    live,
    live_counts,
    record_live,
    record_traffic,
)

WHOLE = 100
"""What shares sum to."""
_ROLLED_BACK = "Rolled back"
"""How the reason begins for which a challenger was taken out."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How the traffic of a module is shared now."""

    module: str
    """Name of the module."""
    champion: str
    """The version that is deployed."""
    shares: Mapping[str, float]
    """Percents by version, the champion's first; they sum to 100."""
    experiment: int
    """Which experiment it is, 0 where all traffic is the champion's."""
    reason: str
    """Why it is shared so."""

    @property
    def rolled_back(self) -> bool:
        """Whether a challenger was taken out because it was shown to be worse."""
        return self.reason.startswith(_ROLLED_BACK)

    def version_for(self, key: str) -> str:
        """The version that answers a key."""
        return max(
            (one for one, percent in self.shares.items() if percent > 0),
            key=lambda one: self.shares[one] / -math.log(_drawn(one, key)),
        )


@dataclass(frozen=True, slots=True)
class Routed:
    """Which version answers a request."""

    traffic: Traffic
    """The shares by which it was decided."""
    version_id: str
    """The version."""
    key: str
    """Hash of the request's key."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One version under live traffic, and what came of it."""

    version_id: str
    """The version."""
    percent: float
    """Its share now."""
    champion: bool
    """Whether it is the deployed one."""
    count: LiveCount
    """What came of its answers."""
    low: float
    """Lower end of the interval of its rate, which holds at all times at once."""
    high: float
    """Upper end."""
    evidence: Evidence | None
    """What is known of it beside the champion; None for the champion."""

    @property
    def stream(self) -> Stream:
        """Its outcomes, as the test sees them."""
        return Stream(self.count.successes, self.count.keys)


def traffic_of(registry: Registry, module: str) -> Traffic:
    """How the traffic of a module is shared: all is the deployed version's unless it was set."""
    deployments, rows = live(registry.store, module)
    deployed = deployed_by(module, deployments)
    champion = deployed.version_id
    current = bool(rows) and rows[0].deployment == deployed.number
    if not current or len(rows) == 1:
        reason = rows[0].reason if current else ""
        return Traffic(module, champion, {champion: float(WHOLE)}, 0, reason)
    shares = {row.version_id: row.percent for row in rows}
    return Traffic(module, champion, shares, rows[0].experiment, rows[0].reason)


def shares_of(registry: Registry, module: str, arguments: Sequence[str]) -> dict[str, float]:
    """Shares as they are written, `VERSION=PERCENT`; a version may be named by its hash alone.

    Raises `UsageError` for what is no share, names a version twice or does not sum to 100.
    """
    shares: dict[str, Fraction] = {}
    for one in arguments:
        name, equals, said = one.rpartition("=")
        try:
            percent = Fraction(said.strip().removesuffix("%"))
        except (ValueError, ZeroDivisionError):
            percent = Fraction(-1)
        if not equals or not name or not 0 <= percent <= WHOLE:
            raise UsageError(
                f"{one!r} is no share of traffic.", hint="write VERSION=PERCENT: base=90"
            )
        version = registry.find(name if "@" in name else f"{module}@{name}")
        if version.manifest.module.name != module:
            raise UsageError(
                f"{version.id} is no version of {module}.",
                hint=f"flywheel versions --module {module}",
            )
        if version.id in shares:
            raise UsageError(f"{version.id} is named twice.", hint="give each version one share")
        shares[version.id] = percent
    if sum(shares.values()) != WHOLE:
        raise UsageError(
            f"The shares sum to {float(sum(shares.values())):g}, and must sum to {WHOLE}.",
            hint="nothing was changed; write them all: base=90 HASH=10",
        )
    return {key: float(percent) for key, percent in shares.items()}


def share(registry: Registry, module: str, shares: Mapping[str, float]) -> Traffic:
    """Share a module's traffic from now on.

    The deployed version must have a share. Raises `UsageError`, and `RegistryError` while another
    changes the module.
    """
    with (
        registry.changing(module, f"traffic of {module}"),
        registry.sharing(module),
    ):
        deployed = registry.deployed(module)
        if not shares.get(deployed.version_id):
            raise UsageError(
                f"{deployed.version_id} is deployed, and needs a share.",
                cause="the others are measured against it",
                hint=f"flywheel deploy puts another into its place; {module}@HASH=PERCENT shares",
            )
        given = {one: percent for one, percent in shares.items() if percent > 0}
        now = traffic_of(registry, module)
        record_traffic(
            registry.store,
            module,
            given,
            champion=deployed.version_id,
            deployment=deployed.number,
            experiment=now.experiment
            if now.experiment and now.shares.keys() == given.keys()
            else None,
            reason=ASKED_FOR,
        )
    return traffic_of(registry, module)


def route(traffic: Traffic, key: str) -> Routed:
    """Which version answers a request with a key."""
    return Routed(traffic, traffic.version_for(key), content_hash("key", key))


def record_outcome(
    registry: Registry,
    routed: Routed,
    success: bool | None,
    *,
    reason: str = "",
    usd: float | None = None,
    seconds: float | None = None,
) -> tuple[TrafficRow, ...]:
    """Keep what came of a live answer, and take a challenger out that is shown to be worse.

    Gives how traffic is shared anew, nothing where it stays as it is.
    """
    before = routed.traffic
    outcome = LiveOutcome(
        module=before.module,
        experiment=before.experiment,
        version_id=routed.version_id,
        key=routed.key,
        success=success,
        reason=reason,
        usd=usd,
        seconds=seconds,
    )
    counts = record_live(registry.store, outcome)
    if success is None or not _worse(_arms(before, counts)):
        return ()
    with registry.sharing(before.module):
        now = traffic_of(registry, before.module)
        return _without_the_worse(registry, now) if now.experiment == before.experiment else ()


def arms(registry: Registry, traffic: Traffic) -> tuple[Arm, ...]:
    """What came of each version under the traffic that is shared now, the champion first."""
    return _arms(traffic, live_counts(registry.store, traffic.module, traffic.experiment))


def _arms(traffic: Traffic, counts: Mapping[str, LiveCount]) -> tuple[Arm, ...]:
    none = {one: LiveCount(one, 0, 0, 0, 0, None, None) for one in traffic.shares}
    every = none | {one: counts[one] for one in none if one in counts}
    alpha = ALPHA / max(1, len(every) - 1)  # of several challengers (Bonferroni)
    champion = every[traffic.champion]
    standard = Stream(champion.successes, champion.keys)
    found = []
    for one, count in every.items():
        stream = Stream(count.successes, count.keys)
        low, high = interval(stream)
        known = None if count is champion else evidence(standard, stream, alpha=alpha)
        found.append(Arm(one, traffic.shares[one], count is champion, count, low, high, known))
    return tuple(found)


def _worse(found: Sequence[Arm]) -> list[Arm]:
    return [one for one in found if one.evidence is not None and one.evidence.shown_worse]


def _without_the_worse(registry: Registry, now: Traffic) -> tuple[TrafficRow, ...]:
    found = arms(registry, now)
    worse = _worse(found)
    if not worse:
        return ()
    gone = {one.version_id for one in worse}
    shares = {one: percent for one, percent in now.shares.items() if one not in gone}
    shares[now.champion] += sum(now.shares[one] for one in gone)
    champion = found[0].stream
    told = "; ".join(
        f"{one.version_id} was shown to be worse than {now.champion}: {one.stream.successes} of"
        f" {one.stream.n} good, and {champion.successes} of {champion.n}"
        f" (p = {one.evidence.p_worse:.2g}, valid at any time)"
        for one in worse
        if one.evidence is not None
    )
    return record_traffic(
        registry.store,
        now.module,
        shares,
        champion=now.champion,
        deployment=registry.deployed(now.module).number,
        experiment=now.experiment,
        reason=f"{_ROLLED_BACK}: {told}.",
    )


def _drawn(version_id: str, key: str) -> float:
    """A number between 0 and 1 that a version has for a key, always the same."""
    digest = hashlib.sha256(f"{version_id}\0{key}".encode()).digest()
    return ((int.from_bytes(digest[:8]) >> 12) + 0.5) / 2**52
