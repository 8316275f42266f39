"""The registry: a version is kept once, whole, and found; one that was edited is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.core.errors import RegistryError, UsageError
from flywheel.programs.program import Program
from flywheel.registry import (
    Adapter,
    Cost,
    DraftVersion,
    ModuleName,
    Optimizer,
    Registry,
    Tuned,
    VersionScore,
    deploy,
    rollback,
)
from flywheel.store import seen_by, sql
from tests.registry.conftest import DEMO, SOURCE

Draft = Callable[..., DraftVersion]


def test_a_version_comes_back_whole(registry: Registry, draft: Draft, program: Program) -> None:
    saved = registry.save(draft("Think twice.", DEMO))
    found = registry.find(saved.id)
    assert found == saved
    said = found.manifest
    assert (said.parent, said.dataset, said.trials) == ("Mend@base", "repair-sft@" + "d" * 16, 12)
    assert said.scores[0].value == 0.4
    assert [one.name for one in said.predictors] == ["fix.predict", "check"]
    assert said.predictors[0].outputs == ("reasoning", "good")
    fresh = program.make()
    registry.load(found, fresh)
    assert fresh.fix.predict.signature.instructions == "Think twice."
    files = sorted(one.name for one in (registry.root / "Mend" / said.hash).iterdir())
    assert files == ["manifest.json", "state.json"]


def test_a_manifest_names_no_path_and_no_machine(registry: Registry, draft: Draft) -> None:
    saved = registry.save(draft())
    text = (registry.root / "Mend" / saved.manifest.hash / "manifest.json").read_text()
    assert str(Path.home()) not in text
    assert str(registry.workspace.root) not in text
    assert saved.manifest.environment.dspy.startswith("3.")


def test_the_same_run_gives_the_same_version_and_is_kept_once(
    registry: Registry, draft: Draft
) -> None:
    one = registry.save(draft())
    measured = VersionScore(split="holdout", metric="m", value=0.5, n=9, low=None, high=None)
    again = registry.save(
        draft(scores=(measured,), cost=Cost(usd=None, tokens=0, seconds=1.0), trials=1)
    )
    assert again == one
    assert registry.list() == (one,)
    assert sql(registry.store, "SELECT count(*) n FROM versions")["n"].to_list() == [1]
    assert sql(registry.store, "SELECT count(*) n FROM version_rows")["n"].to_list() == [4]


def test_what_made_it_is_part_of_what_it_is(registry: Registry, draft: Draft) -> None:
    other = Adapter(hash="a" * 16, base="b" * 16)
    every = [
        draft(),
        draft("Other words."),
        draft("Mend it well.", DEMO),
        draft(dataset="another@1"),
        draft(parent="Mend@abc"),
        draft(adapter=other),
        draft(partial=True),
    ]
    assert len({registry.save(one).id for one in every}) == len(every)


def test_what_was_saved_before_the_store_knew_it_is_told_to_it_the_next_time(
    registry: Registry, draft: Draft
) -> None:
    registry.save(draft())
    registry.store.path.unlink()
    registry.store.log.unlink(missing_ok=True)
    registry.save(draft())
    assert sql(registry.store, "SELECT count(*) n FROM versions")["n"].to_list() == [1]


def test_a_version_is_found_by_the_beginning_of_its_hash_and_a_slip_is_told(
    registry: Registry, draft: Draft
) -> None:
    one = registry.save(draft())
    registry.save(draft("Other words."))
    assert registry.find(one.id[: len("Mend@") + 8]) == one
    wrong = f"Mend@{one.manifest.hash[:-1]}{'0' if one.manifest.hash[-1] != '0' else '1'}"
    with pytest.raises(UsageError, match="no version") as caught:
        registry.find(wrong)
    assert caught.value.hint == f"Did you mean {one.id}?"
    with pytest.raises(UsageError, match="Mned has no versions") as caught:
        registry.find("Mned@123")
    assert caught.value.hint == "Did you mean Mend?"


def test_a_hash_alone_is_a_version_of_any_module(registry: Registry, draft: Draft) -> None:
    one, two = registry.save(draft()), registry.save(draft("Other words."))
    assert registry.find(one.manifest.hash[:8]) == one
    assert registry.find(two.manifest.hash) == two
    with pytest.raises(UsageError, match="no version begins with 0123"):
        registry.find("0123")
    twin = registry.root / "Another" / one.manifest.hash
    twin.mkdir(parents=True)
    with pytest.raises(UsageError, match=f"Another@{one.manifest.hash}, Mend@"):
        registry.find(one.manifest.hash)


def test_of_two_versions_one_may_be_named_by_its_hash_or_as_the_base(
    registry: Registry, draft: Draft
) -> None:
    one, two = registry.save(draft()), registry.save(draft("Other words."))
    for asked in ((one.id, two.manifest.hash[:8]), (one.manifest.hash[:8], two.id)):
        assert registry.pair(*asked) == (one, two)
    assert registry.pair(one.manifest.hash, two.manifest.hash) == (one, two)
    assert [found.id for found in registry.pair("base", two.manifest.hash)] == ["Mend@base", two.id]
    assert [found.id for found in registry.pair(one.id, "base")] == [one.id, "Mend@base"]
    with pytest.raises(UsageError, match="of which module"):
        registry.pair("base", "base")


@pytest.mark.parametrize("asked", ["/tmp/mine.py@4f2c", "../Mend@4f2c", "M*@4f2c", "@4f2c"])
def test_a_path_or_a_pattern_is_the_name_of_no_version(
    registry: Registry, draft: Draft, asked: str
) -> None:
    registry.save(draft())
    with pytest.raises(UsageError, match=r"has no versions|names no module"):
        registry.find(asked)


def test_two_versions_that_begin_alike_are_both_named(registry: Registry, draft: Draft) -> None:
    saved = registry.save(draft())
    twin = saved.manifest.hash[:6] + "0" * 10
    (registry.root / "Mend" / twin).mkdir()
    with pytest.raises(UsageError, match="Several versions") as caught:
        registry.find(f"Mend@{saved.manifest.hash[:6]}")
    assert twin in caught.value.message


def test_the_base_is_the_module_as_its_code_has_it_now(registry: Registry, draft: Draft) -> None:
    registry.save(draft())
    base = registry.find("Mend@base")
    assert base.id == "Mend@base"
    assert "Mend the code." in base.written
    assert base == registry.find("mine.py:Mend@base") or base.id == "Mend@base"
    (registry.workspace.root / "mine.py").write_text(SOURCE.replace("Mend the code.", "Mend now."))
    assert "Mend now." in registry.find("Mend@base").written
    assert registry.find("Mend@base").manifest.hash != base.manifest.hash
    # Nothing is deployed, so the module alone stands for its base.
    assert registry.find("Mend").id == "Mend@base"


def test_the_base_of_a_program_that_comes_with_flywheel_needs_no_version(
    registry: Registry,
) -> None:
    base = registry.find("repair@base")
    assert base.manifest.predictors[0].outputs
    assert not registry.root.exists()


def test_a_module_that_nobody_knows_is_no_version(registry: Registry) -> None:
    with pytest.raises(UsageError, match="there is no program 'repiar'") as caught:
        registry.find("repiar")
    assert caught.value.hint == "did you mean repair?"


@pytest.mark.parametrize("file", ["state.json", "manifest.json"])
def test_a_version_that_was_edited_is_refused(
    registry: Registry, draft: Draft, program: Program, file: str
) -> None:
    saved = registry.save(draft())
    path = registry.root / "Mend" / saved.manifest.hash / file
    text = path.read_text()
    path.write_text(
        text.replace("Mend it well.", "Mend it ill.").replace("repair-sft@", "repair-xxx@")
    )
    with pytest.raises(RegistryError, match="was edited after it was saved"):
        registry.find(saved.id)
    heard: list[str] = []
    assert registry.list(on_damaged=lambda error: heard.append(error.message)) == ()
    assert len(heard) == 1
    path.write_text(text)
    assert registry.find(saved.id) == saved


def test_a_damaged_version_says_what_is_wrong(registry: Registry, draft: Draft) -> None:
    saved = registry.save(draft())
    path = registry.root / "Mend" / saved.manifest.hash / "manifest.json"
    said = json.loads(path.read_text())
    for text, told in (
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps(said | {"extra": 1}), "cannot be read"),
        (json.dumps(said | {"format": 99}), "newer flywheel"),
    ):
        path.write_text(text)
        with pytest.raises(RegistryError, match=told):
            registry.find(saved.id)


def test_an_adapter_of_another_model_is_refused_and_nothing_is_set(
    registry: Registry, draft: Draft, program: Program
) -> None:
    adapter = Adapter(hash="a" * 16, base="b" * 16)
    saved = registry.save(draft(adapter=adapter))
    fresh = program.make()
    before = fresh.dump_state()
    for base in ("c" * 16, None):
        with pytest.raises(RegistryError, match="does not fit this model") as caught:
            registry.load(saved, fresh, base=base)
        assert "b" * 16 in (caught.value.cause or "")
        assert fresh.dump_state() == before
    registry.load(saved, fresh, base="b" * 16)
    assert fresh.fix.predict.signature.instructions == "Mend it well."


def test_a_tuned_model_is_told_and_is_for_the_one_it_was_tuned_of(
    registry: Registry, draft: Draft, program: Program
) -> None:
    tuned = Tuned(model="openai/ft:base:ours::a1", base="openai/base at its provider", job="job-1")
    saved, plain = registry.save(draft(tuned=tuned)), registry.save(draft())
    assert registry.find(saved.id).manifest.tuned == tuned
    fresh = program.make()
    for base in ("openai/other at its provider", None):
        with pytest.raises(RegistryError, match="needs openai/ft:base:ours::a1"):
            registry.load(saved, fresh, base=base)
    registry.load(saved, fresh, base=tuned.base)
    assert fresh.fix.predict.signature.instructions == "Mend it well."
    # A version without one is written, and named, as before there was any.
    assert plain.folder is not None
    said = json.loads((plain.folder / "manifest.json").read_text())
    assert (said["format"], "tuned" in said) == (1, False)
    assert saved.manifest.format == 2


def test_a_key_among_the_options_of_an_optimiser_is_not_kept(
    registry: Registry, draft: Draft
) -> None:
    key = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    told = Optimizer(name="gepa", options={"headers": {"Authorization": f"Bearer {key}"}}, seed=0)
    with pytest.raises(RegistryError, match="options have a secret"):
        registry.save(draft(optimizer=told))
    assert registry.list() == ()


def test_a_name_that_is_no_folder_is_refused(registry: Registry, draft: Draft) -> None:
    with pytest.raises(UsageError, match="no name for a module"):
        registry.save(draft(module=ModuleName(name="../out", spec="x", hash="y")))


def test_what_a_version_and_its_parents_have_seen_is_known(
    registry: Registry, draft: Draft
) -> None:
    first = registry.save(draft())
    second = registry.save(
        draft("More.", parent=first.id, trained_on=("e8",), validated_on=(), demos=())
    )
    asked = ["e1", "e2", "e3", "e8", "e9"]
    assert set(seen_by(registry.store, first.id, asked)) == {"e1", "e2", "e3"}
    assert set(seen_by(registry.store, second.id, asked)) == {"e1", "e2", "e3", "e8"}
    assert seen_by(registry.store, first.id, asked)["e3"] == "validation"


def test_what_a_version_has_seen_is_known_without_the_store_it_was_made_with(
    registry: Registry, draft: Draft
) -> None:
    first = registry.save(draft())
    second = registry.save(
        draft("More.", parent=first.id, trained_on=("e8",), validated_on=(), demos=())
    )
    registry.store.path.unlink()
    registry.store.log.unlink(missing_ok=True)
    found = registry.seen(second, ["e1", "e3", "e8", "e9"])
    assert set(found) == {"e1", "e3", "e8"}
    assert (found["e3"], found["e8"]) == ("validation", "train")


def test_a_copy_of_a_versions_folder_is_no_version(registry: Registry, draft: Draft) -> None:
    saved = registry.save(draft())
    folder = registry.root / "Mend" / saved.manifest.hash
    shutil.copytree(folder, folder.with_name(f"{folder.name}.bak"))
    shutil.copytree(folder, folder.with_name(f"{folder.name}0"))
    assert registry.find(saved.id) == saved


def test_a_deployed_version_that_is_gone_is_named_and_can_be_rolled_back(
    registry: Registry, draft: Draft
) -> None:
    saved, other = registry.save(draft()), registry.save(draft("Other words."))
    for version in (saved, other):
        deploy(registry, version, force=True)
    for one in (saved, other):
        shutil.rmtree(registry.root / "Mend" / one.manifest.hash)
    with pytest.raises(RegistryError, match="is deployed, and is not there any more") as caught:
        registry.find("Mend")
    assert "flywheel rollback Mend" in str(caught.value.hint)
    with pytest.raises(RegistryError, match="cannot be deployed any more") as caught:
        rollback(registry, "Mend")
    assert "FILE.py:CLASS@base" in str(caught.value.hint)
    assert deploy(registry, registry.find("mine.py:Mend@base"), force=True) is not None
