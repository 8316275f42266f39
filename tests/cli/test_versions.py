"""`flywheel versions` and its family: what a person is shown, and how it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flywheel.programs.program import find_program
from flywheel.registry import (
    Adapter,
    Cost,
    DraftVersion,
    Model,
    ModuleName,
    Optimizer,
    Registry,
    VersionScore,
    record_outcome,
    route,
    traffic_of,
)
from flywheel.store import Gate, Store, record_gate
from flywheel.workspace import Workspace

Flywheel = Callable[..., Any]
DATASET = "repair-sft@" + "d" * 16
GATE = Gate(
    "g1", "repair", "repair@base", "", DATASET, "holdout", "tests_pass@f", 212, 3, 0.12, 0.25,
    0.13, 0.07, 0.19, 2e-5, "mcnemar-exact", 34, 6, True, "", "r1",
)  # fmt: skip

DRAFT = DraftVersion(
    module=ModuleName(name="repair", spec="repair", hash=""),
    program=None,
    parent="repair@base",
    optimizer=Optimizer(name="miprov2", options={"auto": "light"}, seed=9),
    dataset=DATASET,
    metric="tests_pass@f",
    lm=Model(model="local/small", profile="local", server="w"),
    cost=Cost(usd=None, tokens=12_345, seconds=61.0),
    scores=(
        VersionScore(split="validation", metric="tests_pass@f", value=0.31, n=96, low=0.23,
                     high=0.41),
    ),
    trained_on=("e1", "e2"),
    trials=7,
)  # fmt: skip
"""A version of everything but its program."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A workspace with two versions of `repair`: one that beats the base, and one that does not."""
    root = tmp_path_factory.mktemp("versions")
    registry = Registry(Workspace(root, "x"), Store(root / ".flywheel" / "flywheel.duckdb"))
    program = find_program("repair", root)
    module = program.make()
    (predictor,) = module.predictors()
    predictor.signature = predictor.signature.with_instructions("Name the wrong lines. [b]")
    inputs, outputs = (
        list(getattr(predictor.signature, which)) for which in ("input_fields", "output_fields")
    )
    predictor.demos = [
        {name: f"{name} {n}\x1b[2J" for name in (*inputs, *outputs)} for n in range(5)
    ]
    draft = replace(
        DRAFT,
        module=ModuleName(name="repair", spec="repair", hash=program.hash),
        program=module,
    )
    better = registry.save(draft).id
    equal = registry.save(replace(draft, dataset="another@1", partial=True)).id
    gate = replace(GATE, code=program.hash)
    record_gate(registry.store, replace(gate, challenger=better))
    record_gate(
        registry.store,
        replace(gate, gate_id="g2", challenger=equal, better=False, p_value=0.4, low=-0.01),
    )
    return root, better, equal


@pytest.fixture
def given(made: tuple[Path, str, str], folder: Path) -> tuple[str, str]:
    """The ids of both versions, in the current folder."""
    shutil.copytree(made[0] / ".flywheel", folder / ".flywheel")
    return made[1], made[2]


def test_without_versions_the_next_command_makes_one(flywheel: Flywheel, folder: Path) -> None:
    ran = flywheel("versions")
    assert (ran.code, ran.out) == (0, "There are no versions yet.\n")
    assert "Next: flywheel optimize --module repair" in ran.err
    assert flywheel("versions", "--json").json == []
    assert list(folder.iterdir()) == []


def test_versions_are_listed_with_what_made_them_and_what_is_deployed(
    flywheel: Flywheel, given: tuple[str, str]
) -> None:
    better, equal = (one[: len("repair@12345678")] for one in given)
    ran = flywheel("versions")
    every = ran.out.splitlines()
    lines = {part: "\n".join(every[place : place + 2]) for place, line in enumerate(every)
             for part in (better, equal, "repair@base ") if part in line}  # fmt: skip
    assert "miprov2" in lines[better]
    assert "0.310, n 96" in lines[better]
    assert "0.230 to 0.410" in lines[better]
    assert "+13.0 on base" in lines[better]
    assert "+7.0 to +19.0" in lines[better]
    assert "(partial)" in lines[equal]
    assert lines["repair@base "].startswith("●")
    assert max(map(len, every)) <= 80
    assert "Next: flywheel version show" in ran.err
    rows = flywheel("versions", "--module", "repair", "--json").json
    assert {row["version"]: row["partial"] for row in rows} == {given[0]: False, given[1]: True}
    assert not any(row["deployed"] for row in rows)


def test_the_comparison_that_counts_is_listed_and_not_a_later_one_on_fewer_rows(
    flywheel: Flywheel, given: tuple[str, str], folder: Path
) -> None:
    store = Store(folder / ".flywheel" / "flywheel.duckdb")
    later = GATE.created_at + timedelta(days=1)
    few = replace(GATE, gate_id="g3", challenger=given[0], n=7, unknown=0, difference=-0.5)
    record_gate(store, replace(few, created_at=later))
    out = flywheel("versions").out
    assert "+13.0 on base" in out
    assert "-50.0" not in out


def test_a_module_that_does_not_exist_is_told_with_the_nearest(
    flywheel: Flywheel, given: tuple[str, str]
) -> None:
    for command in (("versions", "--module", "repiar"), ("traffic", "repiar")):
        ran = flywheel(*command)
        assert ran.code == 2
        assert "Did you mean repair?" in ran.err


def test_a_version_is_shown_as_a_person_reads_it(
    flywheel: Flywheel, given: tuple[str, str]
) -> None:
    better, equal = given
    ran = flywheel("version", "show", better[:14])
    assert ran.code == 0
    for told in (
        "miprov2, seed 9, 7 trials, from repair@base, auto light",
        "–, 12,345 tokens",
        "2 examples learned from",
        "Name the wrong lines. [b]",
        "demonstration 3 of 5",
        "… 2 more",
        "6 worse and 34 better",
    ):
        assert told in ran.out
    assert "\x1b[2J" not in ran.out
    assert "\\x1b[2J" in ran.out
    assert f"Next: flywheel deploy {better}" in ran.err
    # What was not shown to be better is not proposed.
    assert "Next: flywheel version diff repair@base" in flywheel("version", "show", equal).err
    said = flywheel("version", "show", better, "--json").json
    assert said["trained_on"] == ["e1", "e2"]
    assert said["compared"][0]["p_value"] == 2e-5
    (state,) = said["state"].values()
    assert len(state["demos"]) == 5


def test_the_base_is_shown_and_a_version_that_is_none_is_not(
    flywheel: Flywheel, given: tuple[str, str]
) -> None:
    assert flywheel("version", "show", "repair@base").out.startswith("repair@base  ● 100 %")
    wrong = flywheel("version", "show", given[0][:-1] + "x")
    assert wrong.code == 2
    assert f"Did you mean {given[0]}?" in wrong.err


def test_two_versions_are_compared(flywheel: Flywheel, given: tuple[str, str]) -> None:
    ran = flywheel("version", "diff", "repair@base", given[0])
    assert "+Name the wrong lines. [b]" in ran.out
    assert "demonstrations: 5; 5 new, 0 gone, 0 kept" in ran.out
    assert "They tell the model the same." in flywheel("version", "diff", *given).out
    digits = given[0].partition("@")[2]
    assert flywheel("version", "diff", "base", digits).out == ran.out
    (changed,) = flywheel("version", "diff", "repair@base", given[0], "--json").json["predictors"]
    assert len(changed["demos_added"]) == 5


def test_what_beats_the_base_is_deployed_and_rolled_back(
    flywheel: Flywheel, given: tuple[str, str]
) -> None:
    better, equal = given
    refused = flywheel("deploy", equal)
    assert (refused.code, refused.out) == (1, "")
    assert "It was not shown to beat repair@base" in refused.err
    assert "--force" in refused.err
    ran = flywheel("deploy", better)
    assert ran.code == 0
    assert f"{better} is deployed, in place of repair@base." in ran.out
    assert "It beats repair@base: +13.0 points" in ran.out
    assert "Next: flywheel rollback repair" in ran.err
    assert "nothing changed" in flywheel("deploy", better).out
    forced = flywheel("deploy", equal, "--force")
    assert forced.code == 0
    assert "Forced. It was never compared" in forced.err
    assert "stopped before its end" in forced.err
    assert flywheel("rollback", "repair", "--json").json["version_id"] == better
    flywheel("traffic", "repair", f"{better.partition('@')[2]}=90", "base=10")
    back = flywheel("rollback", "repair")
    assert "repair@base is deployed again" in back.out
    assert "It has all traffic: it was shared until now" in back.out
    ended = flywheel("rollback", "repair")
    assert ended.code == 2
    assert "nothing can be rolled back" in ended.err
    flywheel("traffic", "repair", "base=50", f"{better.partition('@')[2]}=50")
    shared = flywheel("rollback", "repair").err
    assert "hint: flywheel traffic repair base=100" in shared
    assert flywheel("traffic", "repair", "base=100").code == 0


def test_a_deploy_during_a_spin_is_refused(
    flywheel: Flywheel, given: tuple[str, str], folder: Path
) -> None:
    workspace = Workspace(folder, "x")
    registry = Registry(workspace, Store(workspace.store_path))
    with registry.changing("repair", "spin, round 1 of 3"):
        for command in (("deploy", given[0]), ("rollback", "repair")):
            ran = flywheel(*command)
            assert ran.code == 1
            assert "(spin, round 1 of 3)" in ran.err
    assert flywheel("deploy", given[0]).code == 0


def test_what_has_no_version_is_told_how_to_get_one(flywheel: Flywheel, folder: Path) -> None:
    for command, told in (
        (("traffic", "repair"), "Next: flywheel optimize --module repair"),
        (
            ("traffic", "repair", "base=90", "deadbeef=10"),
            "hint: flywheel optimize --module repair",
        ),
        (("version", "show", "nothere@abc"), "hint: flywheel versions lists what there is"),
        (("version", "show", "base"), "hint: MODULE@base"),
    ):
        assert told in flywheel(*command).err


def test_traffic_is_shared_and_shown_with_what_came_of_it(
    flywheel: Flywheel, given: tuple[str, str], folder: Path
) -> None:
    better = given[0].partition("@")[2]
    wrong = flywheel("traffic", "repair", "base=90", f"{better}=20")
    assert wrong.code == 2
    assert "sum to 110, and must sum to 100" in wrong.err
    assert flywheel("traffic", "repair", "--json").json["versions"][0]["percent"] == 100
    ran = flywheel("traffic", "repair", "base=50", f"{better}=50")
    assert ran.code == 0
    assert "no answer of its own yet" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    workspace = Workspace(folder, "x")
    registry = Registry(workspace, Store(workspace.store_path))
    now = traffic_of(registry, "repair")
    for key in map(str, range(100, 140)):
        routed, worth = route(now, key), {"usd": 12.3456, "seconds": 123.4}
        if record_outcome(registry, routed, routed.version_id == "repair@base", **worth):
            break
        if key == "103":
            told = flywheel("traffic", "repair").out
            assert "(95 %, at any time)" in told
            assert max(map(len, told.splitlines())) <= 80
    shown = flywheel("traffic", "repair")
    assert f"Rolled back: {given[0]} was shown to be worse than repair@base" in shown.err
    assert given[0] not in shown.out
    (left,) = flywheel("traffic", "repair", "--json").json["versions"]
    assert (left["version"], left["percent"]) == ("repair@base", 100)


def test_an_edited_version_is_listed_as_damaged_and_refused(
    flywheel: Flywheel, given: tuple[str, str], folder: Path
) -> None:
    path = folder / ".flywheel" / "registry" / "repair" / given[0][7:] / "state.json"
    path.write_text(path.read_text().replace("wrong", "right"))
    listed = flywheel("versions")
    assert given[0][: len("repair@12345678")] not in listed.out
    assert "was edited after it was saved" in listed.err
    for command in (("version", "show"), ("deploy", "--force")):
        ran = flywheel(*command, given[0])
        assert ran.code == 1
        assert "was edited after it was saved" in ran.err
    assert flywheel("rollback", "repair").code == 2


def test_a_version_without_weights_is_not_exported(
    flywheel: Flywheel, given: tuple[str, str], folder: Path
) -> None:
    better, _ = given
    ran = flywheel("version", "export", better, "model.gguf")
    assert (ran.code, ran.out) == (2, "")
    assert "has no weights of its own" in ran.err
    assert "bootstrap-finetune" in ran.err
    assert not (folder / "model.gguf").exists()


def test_an_export_replaces_nothing_and_says_which_weights_are_gone(
    flywheel: Flywheel, made: tuple[Path, str, str], folder: Path
) -> None:
    registry = Registry(Workspace(folder, "x"), Store(folder / ".flywheel" / "flywheel.duckdb"))
    program = find_program("repair", folder)
    trained = registry.save(
        replace(
            DRAFT, module=ModuleName(name="repair", spec="repair", hash=program.hash),
            program=program.make(), adapter=Adapter(hash="a" * 16, base="b" * 16),
        )
    )  # fmt: skip
    (folder / "there").mkdir()
    ran = flywheel("version", "export", trained.id, "there")
    assert ran.code == 2
    assert "there is there already" in ran.err
    ran = flywheel("version", "export", trained.id, "model.gguf")
    assert ran.code == 1
    assert f"the weights of {trained.id} are gone" in ran.err
