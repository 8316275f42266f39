"""Traffic: shares that hold, keys that stay, and a challenger that is worse and goes by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flywheel.core.errors import RegistryError, UsageError
from flywheel.registry import (
    DraftVersion,
    Registry,
    Traffic,
    arms,
    deploy,
    record_outcome,
    route,
    share,
    shares_of,
    traffic_of,
)
from flywheel.store import sql

Draft = Callable[..., DraftVersion]
KEYS = [f"person-{number}" for number in range(4000)]


def traffic(**shares: float) -> Traffic:
    return Traffic("m", next(iter(shares)), shares, 1, "")


def test_keys_are_shared_as_was_asked_and_each_keeps_its_version() -> None:
    now = traffic(a=90, b=10)
    given = [now.version_for(key) for key in KEYS]
    assert given == [now.version_for(key) for key in KEYS]
    # Four standard deviations of 4,000 draws.
    assert abs(given.count("b") / len(KEYS) - 0.1) < 0.019
    three = [traffic(a=50, b=30, c=20).version_for(key) for key in KEYS]
    assert abs(three.count("c") / len(KEYS) - 0.2) < 0.026


def test_only_those_keys_move_that_have_to() -> None:
    before, after = traffic(a=90, b=10), traffic(a=80, b=20)
    moved = [
        (before.version_for(key), after.version_for(key))
        for key in KEYS
        if before.version_for(key) != after.version_for(key)
    ]
    assert set(moved) == {("a", "b")}
    three, two = traffic(a=60, b=20, c=20), traffic(a=75, b=25)
    for key in KEYS:
        if three.version_for(key) != "c":
            assert two.version_for(key) == three.version_for(key)


@pytest.fixture
def both(registry: Registry, draft: Draft) -> tuple[str, str]:
    """The ids of a deployed version and of another."""
    champion, challenger = registry.save(draft()), registry.save(draft("Other words."))
    deploy(registry, champion, force=True)
    return champion.id, challenger.id


def test_all_traffic_is_the_deployed_versions_unless_it_is_shared(
    registry: Registry, both: tuple[str, str]
) -> None:
    champion, challenger = both
    assert traffic_of(registry, "Mend").shares == {champion: 100}
    assert traffic_of(registry, "nobody").shares == {"nobody@base": 100}
    given = shares_of(registry, "Mend", [f"{champion}=90", f"{challenger[5:13]}=10%"])
    now = share(registry, "Mend", given)
    assert now.shares == {champion: 90, challenger: 10}
    assert now == traffic_of(registry, "Mend")
    assert next(iter(now.shares)) == champion


def test_shares_that_make_no_sense_change_nothing(
    registry: Registry, both: tuple[str, str]
) -> None:
    champion, challenger = both
    for wrong, told in (
        ([f"{champion}=90", f"{challenger}=20"], "sum to 110, and must sum to 100"),
        ([f"{champion}=90"], "sum to 90"),
        ([f"{champion}=110", f"{challenger}=-10"], "no share"),
        ([f"{champion}=nan", f"{challenger}=10"], "no share"),
        ([f"{champion}:90"], "no share"),
        ([f"{champion}=50", f"{champion}=50"], "named twice"),
        ([f"{champion}=90", "Mend@0000=10"], "no version"),
        ([f"{champion}=90", "repair@base=10"], "no version of Mend"),
    ):
        with pytest.raises(UsageError, match=told):
            shares_of(registry, "Mend", wrong)
    with pytest.raises(UsageError, match="is deployed, and needs a share"):
        share(registry, "Mend", {challenger: 100})
    assert traffic_of(registry, "Mend").shares == {champion: 100}
    assert shares_of(registry, "Mend", ["base=33.3", f"{champion}=66.7"])["Mend@base"] == 33.3


def test_traffic_is_not_shared_during_a_spin(registry: Registry, both: tuple[str, str]) -> None:
    champion, challenger = both
    other = Registry(registry.workspace, registry.store)
    with registry.changing("Mend", "spin"), pytest.raises(RegistryError, match="being changed"):
        share(other, "Mend", {champion: 50, challenger: 50})


def test_a_deployment_ends_what_was_shared(registry: Registry, both: tuple[str, str]) -> None:
    champion, challenger = both
    share(registry, "Mend", {champion: 50, challenger: 50})
    deploy(registry, registry.find(challenger), force=True)
    assert traffic_of(registry, "Mend").shares == {challenger: 100}


def test_the_same_versions_go_on_as_one_experiment(
    registry: Registry, both: tuple[str, str]
) -> None:
    champion, challenger = both
    first = share(registry, "Mend", {champion: 90, challenger: 10})
    record_outcome(registry, route(first, "k"), True)
    more = share(registry, "Mend", {champion: 50, challenger: 50})
    assert more.experiment == first.experiment
    assert sum(arm.count.keys for arm in arms(registry, more)) == 1
    ended = share(registry, "Mend", {champion: 100, challenger: 0})
    assert (ended.shares, ended.experiment) == ({champion: 100}, 0)
    again = share(registry, "Mend", {champion: 50, challenger: 50})
    assert again.experiment != first.experiment
    assert sum(arm.count.answers for arm in arms(registry, again)) == 0


def test_the_first_known_outcome_of_a_key_counts(registry: Registry, both: tuple[str, str]) -> None:
    champion, challenger = both
    now = share(registry, "Mend", {champion: 50, challenger: 50})
    routed = route(now, "someone")
    for success in (None, True, False, False):
        record_outcome(registry, routed, success, reason="seen", usd=0.02, seconds=2.0)
    (arm,) = [one for one in arms(registry, now) if one.version_id == routed.version_id]
    assert (arm.count.answers, arm.count.unknown) == (4, 1)
    assert (arm.stream.successes, arm.stream.n) == (1, 1)
    assert arm.count.usd == pytest.approx(0.02)
    keys = sql(registry.store, "SELECT DISTINCT key FROM live_outcomes")["key"].to_list()
    assert "someone" not in keys[0]


def test_a_challenger_that_is_worse_is_rolled_back_by_itself(
    registry: Registry, both: tuple[str, str]
) -> None:
    champion, challenger = both
    share(registry, "Mend", {champion: 50, challenger: 50})
    changed: tuple[object, ...] = ()
    asked = 0
    now = traffic_of(registry, "Mend")
    for key in KEYS[:60]:
        routed = route(now, key)
        changed = record_outcome(registry, routed, routed.version_id == champion)
        asked += 1
        if changed:
            break
    assert changed
    assert 5 < asked < 25
    now = traffic_of(registry, "Mend")
    assert now.shares == {champion: 100}
    assert f"Rolled back: {challenger} was shown to be worse than {champion}" in now.reason
    # What comes late is kept, and changes nothing.
    assert record_outcome(registry, routed, False) == ()
    assert registry.find("Mend").id == champion


def test_of_three_only_the_worse_one_goes(registry: Registry, draft: Draft) -> None:
    champion, bad, good = (registry.save(draft(f"Words {n}.")).id for n in range(3))
    deploy(registry, registry.find(champion), force=True)
    now = share(registry, "Mend", {champion: 40, bad: 30, good: 30})
    changed: tuple[object, ...] = ()
    for key in KEYS[:150]:
        routed = route(now, key)
        changed = record_outcome(registry, routed, routed.version_id != bad)
        if changed:
            break
    after = traffic_of(registry, "Mend")
    assert changed
    assert after.shares == {champion: 70, good: 30}
    assert after.experiment == now.experiment


def test_outcomes_of_a_champion_alone_are_kept_and_tested_against_nothing(
    registry: Registry, both: tuple[str, str]
) -> None:
    now = traffic_of(registry, "Mend")
    for key in KEYS[:3]:
        assert record_outcome(registry, route(now, key), False) == ()
    (arm,) = arms(registry, now)
    assert (arm.champion, arm.evidence, arm.stream.n) == (True, None, 3)


def test_a_deployment_waits_for_a_rollback_that_is_being_written(
    registry: Registry, both: tuple[str, str]
) -> None:
    _, challenger = both
    done: list[object] = []
    with registry.sharing("Mend"):
        other = Registry(registry.workspace, registry.store)
        beside = threading.Thread(
            target=lambda: done.append(deploy(other, other.find(challenger), force=True))
        )
        beside.start()
        beside.join(0.5)
        assert done == []
    beside.join(30)
    assert len(done) == 1
    assert registry.deployed("Mend").version_id == challenger
