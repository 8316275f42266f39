"""Deploying: only what was shown to be better, unless by force; and back again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from flywheel.core.errors import LeakError, RegistryError, UsageError
from flywheel.optimize.gate import compare
from flywheel.registry import (
    DraftVersion,
    Registry,
    deploy,
    record_comparison,
    rollback,
    verdict,
)
from flywheel.store import Gate, deployments, gates, sql
from tests.registry.conftest import SOURCE

Draft = Callable[..., DraftVersion]
Judge = Callable[..., Gate]


def test_what_was_shown_to_be_better_is_deployed(
    registry: Registry, draft: Draft, judge: Judge
) -> None:
    version = registry.save(draft())
    gate = judge("Mend@base", version)
    done = deploy(registry, version)
    assert done is not None
    assert (done.version_id, done.replaced, done.gate_id) == (version.id, "Mend@base", gate.gate_id)
    assert not done.forced
    assert "It beats Mend@base: +20.0 points" in done.reason
    assert registry.find("Mend") == version
    # Once more changes nothing.
    assert deploy(registry, version) is None
    assert len(deployments(registry.store, "Mend")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"better": False, "p_value": 0.3},
        {"split": "validation"},
    ],
)
def test_what_was_not_shown_to_be_better_is_not_deployed(
    registry: Registry, draft: Draft, judge: Judge, changes: dict[str, object]
) -> None:
    version = registry.save(draft())
    judge("Mend@base", version, **changes)
    with pytest.raises(RegistryError, match="was not deployed; Mend@base stays") as caught:
        deploy(registry, version)
    assert ("not shown to beat" if "better" in changes else "never compared") in (
        caught.value.cause or ""
    )
    assert deployments(registry.store) == ()
    assert registry.find("Mend").id == "Mend@base"


def test_force_deploys_it_and_says_so(registry: Registry, draft: Draft) -> None:
    version = registry.save(draft())
    done = deploy(registry, version, force=True)
    assert done is not None
    assert done.forced
    assert done.gate_id is None
    assert done.reason.startswith("Forced. It was never compared with Mend@base")


def test_the_newest_comparison_counts(registry: Registry, draft: Draft, judge: Judge) -> None:
    version = registry.save(draft())
    judge("Mend@base", version)
    later = judge("Mend@base", version, gate_id="latest", better=False)
    assert verdict(registry, version).gate == later
    with pytest.raises(RegistryError, match="was not deployed"):
        deploy(registry, version)


def test_a_comparison_on_fewer_rows_takes_nothing_back(
    registry: Registry, draft: Draft, judge: Judge
) -> None:
    version = registry.save(draft())
    judge("Mend@base", version, n=200, better=False, p_value=0.2)
    judge("Mend@base", version, gate_id="few", n=6, p_value=0.03)
    assert not verdict(registry, version).allows
    judge("Mend@base", version, gate_id="many", n=300, p_value=0.001)
    assert verdict(registry, version).allows


def test_who_looks_often_must_find_more(registry: Registry, draft: Draft, judge: Judge) -> None:
    version = registry.save(draft())
    for number in range(4):
        judge("Mend@base", version, gate_id=f"look {number}", p_value=0.02)
    # The same result again is the same look.
    assert verdict(registry, version).allows
    judge("Mend@base", version, gate_id="another", n=60, p_value=0.01)
    judge("Mend@base", version, gate_id="a third", n=61, p_value=0.02)
    found = verdict(registry, version)
    assert (found.looks, found.allows) == (3, False)
    assert "one of 3 comparisons, so it must stay below 0.0042" in found.sentence
    judge("Mend@base", version, gate_id="a fourth", n=500, p_value=0.001)
    assert verdict(registry, version).allows


def test_a_comparison_with_what_was_deployed_before_does_not_count(
    registry: Registry, draft: Draft, judge: Judge
) -> None:
    one, other = registry.save(draft()), registry.save(draft("Other words."))
    for version in (one, other):
        judge("Mend@base", version)
    deploy(registry, one)
    with pytest.raises(RegistryError, match="was not deployed") as caught:
        deploy(registry, other)
    assert caught.value.hint is not None
    assert f"--versions {one.manifest.hash},{other.manifest.hash}" in caught.value.hint
    judge(one.id, other)
    assert deploy(registry, other) is not None


def test_a_comparison_under_other_code_does_not_count(
    registry: Registry, draft: Draft, judge: Judge
) -> None:
    version = registry.save(draft())
    judge("Mend@base", version)
    (registry.workspace.root / "mine.py").write_text(SOURCE.replace("Mend the code.", "Mend."))
    with pytest.raises(RegistryError, match="was not deployed") as caught:
        deploy(registry, version)
    assert "code has changed since it was compared" in (caught.value.cause or "")
    assert "flywheel evaluate" in (caught.value.hint or "")
    (registry.workspace.root / "mine.py").write_text(SOURCE)
    assert deploy(registry, version) is not None


def test_a_rollback_goes_back_one_by_one_down_to_the_base(registry: Registry, draft: Draft) -> None:
    one, two, three = (registry.save(draft(f"Words {n}.")) for n in range(3))
    for version in (one, two):
        deploy(registry, version, force=True)
    assert rollback(registry, "Mend").version_id == one.id
    deploy(registry, three, force=True)
    assert [rollback(registry, "Mend").version_id for _ in range(2)] == [one.id, "Mend@base"]
    assert registry.find("Mend").id == "Mend@base"
    with pytest.raises(UsageError, match="Nothing is deployed") as caught:
        rollback(registry, "Mend")
    assert caught.value.cause == "Mend@base answers"
    rows = deployments(registry.store, "Mend")
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.action for row in rows].count("rollback") == 3


@pytest.mark.parametrize("module", ["repiar", "../elsewhere"])
def test_what_is_no_module_is_not_rolled_back_and_leaves_no_folder(
    registry: Registry, module: str
) -> None:
    with pytest.raises(UsageError, match="has no versions"):
        rollback(registry, module)
    assert not (registry.root / module).exists()


def test_a_deploy_during_a_spin_is_refused_by_name_and_the_spin_itself_deploys(
    registry: Registry, draft: Draft
) -> None:
    version = registry.save(draft())
    other = Registry(registry.workspace, registry.store)
    with registry.changing("Mend", "spin, round 2 of 3"):
        with pytest.raises(RegistryError, match="is being changed: nothing was done") as caught:
            deploy(other, version, force=True)
        assert f"process {os.getpid()} (spin, round 2 of 3)" in (caught.value.cause or "")
        assert deployments(registry.store) == ()
        with other.changing("another", "deploy"):
            pass  # of another module it is free
        assert deploy(registry, version, force=True) is not None
    assert rollback(other, "Mend").version_id == "Mend@base"


def test_a_spin_that_was_killed_holds_nothing(registry: Registry, draft: Draft) -> None:
    version = registry.save(draft())
    code = (
        "import os, sys, time; from pathlib import Path;"
        "from flywheel.store.lock import alone\n"
        f"with alone(Path({str(registry.root / 'Mend' / 'lock')!r}), doing='spin'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    spin = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert spin.stdout is not None
        assert spin.stdout.readline() == "held\n"
        with pytest.raises(RegistryError, match="is being changed"):
            deploy(registry, version, force=True)
    finally:
        spin.kill()
        spin.communicate()
    assert deploy(registry, version, force=True) is not None


def test_a_comparison_is_kept_as_it_was_found_and_allows_what_it_showed(
    registry: Registry, draft: Draft
) -> None:
    version, base = registry.save(draft()), registry.find("mine.py:Mend@base")
    ids = [f"h{number}" for number in range(30)]
    found = compare(dict.fromkeys(ids, 0.0), {key: float(key > "h2") for key in ids})
    told = {"champion": base, "challenger": version, "dataset": "d@1", "metric": "tests_pass@f"}
    gate = record_comparison(registry, found, **told, split="holdout", examples=ids, run_id="r1")
    assert (gate.n, gate.gains, gate.better) == (30, len(found.gains), True)
    # The same run leaves it once.
    record_comparison(registry, found, **told, split="holdout", examples=ids, run_id="r1")
    assert gates(registry.store, challenger=version.id) == (gate,)
    assert deploy(registry, version) is not None


def test_rows_that_a_version_has_seen_prove_nothing(registry: Registry, draft: Draft) -> None:
    first = registry.save(draft(trained_on=("h7",)))
    version = registry.save(draft("More.", parent=first.id))
    base = registry.find("mine.py:Mend@base")
    ids = [f"h{number}" for number in range(30)]
    found = compare(dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 1.0))
    told = {"champion": base, "challenger": version, "dataset": "d@1", "metric": "tests_pass@f"}
    with pytest.raises(LeakError, match="has seen 1 of the rows") as caught:
        record_comparison(registry, found, **told, split="holdout", examples=ids, run_id="r1")
    assert caught.value.cause == "example h7 was among those of its train"
    assert gates(registry.store) == ()
    record_comparison(registry, found, **told, split="train", examples=ids, run_id="r1")
    with pytest.raises(RegistryError, match="was not deployed"):
        deploy(registry, version)


def test_lineage_leads_from_an_example_to_what_was_gained(
    registry: Registry, draft: Draft, judge: Judge
) -> None:
    version = registry.save(draft())
    silent = registry.save(draft("Never compared.", trained_on=("e9",), validated_on=(), demos=()))
    judge("Mend@base", version)
    deploy(registry, version)
    rows = sql(
        registry.store,
        "SELECT role, version_id, study_id, metric, gain, low, high, better, deployed"
        " FROM lineage WHERE example_id = 'e2' ORDER BY role",
    ).to_dicts()
    assert [row["role"] for row in rows] == ["demo", "train"]
    assert rows[0]["version_id"] == version.id
    assert rows[0]["study_id"] == "study-1"
    assert (rows[0]["gain"], rows[0]["low"], rows[0]["high"]) == (0.2, 0.12, 0.28)
    assert rows[0]["deployed"]
    (alone,) = sql(registry.store, "FROM lineage WHERE example_id = 'e9'").to_dicts()
    assert (alone["version_id"], alone["gain"], alone["deployed"]) == (silent.id, None, False)
