"""Builds, end to end on real store files: what was planted is found, to the row."""

from __future__ import annotations

import errno
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flywheel.core.errors import DatasetError, StoreBusyError, UsageError
from flywheel.core.events import Event, EventBus, PhaseProgressed
from flywheel.curate import (
    Built,
    Draft,
    audit,
    build,
    difference,
    find_row,
    load_recipe,
    versions,
    whereabouts,
)
from flywheel.store import Store
from flywheel.store.lock import alone
from tests.fakes.stores import Filled, Shape, fill
from tests.fakes.versions import PACKAGED

SHAPE = Shape(
    mutants=6,
    sources={"mutated": 0.7, "reverted": 0.1, "written": 0.1, "combined": 0.1},
    languages={"python": 0.9, "go": 0.1},
    licences=("MIT", "Apache-2.0", "GPL-3.0-only", None, "BSD-3-Clause", "ISC"),
    exact=0.1,
    near=0.1,
    secrets=0.15,
    flaky=0.05,
    attempted=0.2,
    mended=0.05,
)
ROWS = 480

Recipes = Callable[..., Path]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Filled]:
    store = Store(tmp_path_factory.mktemp("filled") / "flywheel.duckdb")
    return store, fill(store, ROWS, repositories=8, shape=SHAPE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


def made(
    store: Store,
    root: Path,
    more: str = "",
    *,
    recipe: str = "repair-sft",
    bus: EventBus | None = None,
) -> Built:
    """A build with the texts of a packaged recipe, and `more` for its rules."""
    folder = root.parent / "recipes" / recipe
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PACKAGED / recipe, folder)
    task = load_recipe(recipe, folder).rules.task
    if "[split]" not in more:
        more += "[split]\nleast_holdout = 5\n"
    rules = f'title = "Made"\ndescription = "For a test."\ntask = "{task}"\n{more}'
    (folder / "recipe.toml").write_text(rules)
    return build(load_recipe(recipe, folder), store, root, bus or EventBus())


def stages(built: Built) -> dict[str, dict[str, int]]:
    return {stage.name: stage.dropped for stage in built.funnel.stages}


def every_row(built: Built) -> list[dict[str, Any]]:
    version = built.version
    return [row for split in version.splits for row in version.scan(split).collect().to_dicts()]


def ids(built: Built) -> set[str]:
    return {row["example_id"] for row in every_row(built)}


def test_what_was_planted_is_dropped_by_name_and_the_rest_is_kept(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, planted = filled
    built = made(store, root)
    dropped = pl.read_parquet(built.version.folder / "reports" / "dropped.parquet")
    why = {row["example_id"]: (row["stage"], row["reason"]) for row in dropped.to_dicts()}
    assert not ids(built) & why.keys()
    assert len(ids(built)) + len(why) == ROWS
    told = Counter(stage for stage, _ in why.values())
    assert {name: sum(counts.values()) for name, counts in stages(built).items() if counts} == told

    flaky = {one for one in planted.flaky if why[one] != ("quality", "several-places")}
    assert {why[one] for one in flaky} == {("quality", "flaky")}
    assert stages(built)["quality"]["flaky"] == len(flaky)
    secret = [one for one in planted.secrets if why[one][0] not in ("quality", "licence")]
    assert secret
    for one in secret:
        kind = "personal" if planted.secrets[one] == "mail" else "key"
        assert why[one] == ("secrets", kind)
    assert sum(stages(built)["secrets"].values()) == len(secret)
    passed = {one for one, (stage, _) in why.items() if stage == "duplicates"} | ids(built)
    for copies, reason in ((planted.exact, "exact"), (planted.near, "near")):
        pairs = [pair for pair in copies.items() if {*pair} <= passed]
        assert pairs
        for pair in pairs:
            assert any(why.get(one, ("",))[0] == "duplicates" for one in pair), pair
        assert stages(built)["duplicates"][reason] >= len(pairs) / 2
    kept = [
        row
        for split in built.version.splits
        for row in built.version.scan(split).collect().to_dicts()
    ]
    assert {row["license"] for row in kept} <= {"MIT", "Apache-2.0", "BSD-3-Clause", "ISC"}
    assert sum(row["alike"] for row in kept) == sum(stages(built)["duplicates"].values())


def test_the_same_inputs_give_the_same_version_and_bytes(
    filled: tuple[Store, Filled], root: Path, tmp_path: Path
) -> None:
    store, _ = filled
    first = made(store, root)
    again = made(store, root)
    other = made(store, tmp_path / "elsewhere" / "datasets")
    assert first.new
    assert first.holdout_made
    assert not again.new
    assert not again.holdout_made
    assert first.version.id == again.version.id == other.version.id
    for file in first.version.folder.rglob("*"):
        if file.is_file():
            twin = other.version.folder / file.relative_to(first.version.folder)
            assert file.read_bytes() == twin.read_bytes(), file.name


def test_the_audit_finds_nothing_in_what_a_build_makes(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    for by in ("component", "repository", "time"):
        more = f'[split]\nby = "{by}"\nholdout_name = "{by}"\nholdout = 0.2\nleast_holdout = 1\n'
        found = audit(made(store, root, more).version, root)
        assert [check.name for check in found.checks if check.found] == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_build_that_was_stopped_goes_on_to_the_same_version(
    filled: tuple[Store, Filled], root: Path, tmp_path: Path, share: float
) -> None:
    store, _ = filled

    class Stop(BaseException):
        pass

    def stop(event: Event) -> None:
        match event:
            case PhaseProgressed(phase="write", done=done) if done > share * 100:
                raise Stop

    bus = EventBus()
    bus.subscribe(stop)
    with pytest.raises(Stop):
        made(store, root, bus=bus)
    assert versions(root) == ()
    assert not (root / "holdouts").exists()
    built = made(store, root)
    assert built.version.id == made(store, tmp_path / "other" / "datasets").version.id


def test_a_second_build_looks_only_at_what_is_new(tmp_path: Path, root: Path) -> None:
    store = Store(tmp_path / "flywheel.duckdb")
    fill(store, 60, repositories=2, shape=SHAPE, seed=1)
    more = "[split]\nleast_holdout = 0\n"
    looked: list[str] = []
    bus = EventBus()
    bus.subscribe(lambda event: looked.append(str(event)) if "look" in str(event) else None)
    made(store, root, more)
    parts = {path: path.stat().st_mtime_ns for path in (root / ".features").rglob("*.parquet")}
    fill(store, 30, repositories=2, shape=SHAPE, seed=2)
    built = made(store, root, more, bus=bus)
    assert built.funnel.stages[0].rows == 90
    now = {path: path.stat().st_mtime_ns for path in (root / ".features").rglob("*.parquet")}
    assert parts.items() < now.items()
    fresh = [path for path in now.keys() - parts.keys() if path.parent.name == "rows"]
    assert sum(pl.read_parquet(path).height for path in fresh) == 30


def test_a_hold_out_is_kept_whatever_comes_later(tmp_path: Path, root: Path) -> None:
    store = Store(tmp_path / "flywheel.duckdb")
    fill(store, 150, repositories=5, shape=SHAPE, seed=3)
    more = "[split]\nleast_holdout = 1\n"
    first = made(store, root, more)
    held = set(first.version.scan("holdout").collect()["example_id"])
    fill(store, 150, repositories=5, shape=SHAPE, seed=4)
    second = made(store, root, more)
    assert set(second.version.scan("holdout").collect()["example_id"]) == held
    assert second.version.manifest.holdout == first.version.manifest.holdout
    insertion = made(store, root, more, recipe="bug-insertion")
    assert set(insertion.version.scan("holdout").collect()["example_id"]) <= held
    assert not held & set(insertion.version.scan("train").collect()["example_id"])
    found = difference(first.version, second.version)
    assert found.added
    assert not found.rules
    assert not found.code


@pytest.mark.parametrize("by", ["component", "repository", "time"])
def test_a_dataset_may_grow_and_nothing_leaks(tmp_path: Path, root: Path, by: str) -> None:
    more = f'[split]\nby = "{by}"\nholdout = 0.3\nleast_holdout = 1\n'
    store = Store(tmp_path / "flywheel.duckdb")
    fill(store, 200, repositories=5, shape=SHAPE, seed=5)
    # Half of the rows of each repository, some of the other half newer than what is held out.
    half = made(store, root, "[select]\nwhere = \"example_id < '8'\"\n" + more)
    held = set(half.version.scan("holdout").collect()["example_id"])
    fill(store, 100, repositories=5, shape=SHAPE, seed=6)
    second = made(store, root, more)
    assert set(second.version.scan("holdout").collect()["example_id"]) == held
    assert [check.name for check in audit(second.version, root).checks if check.found] == []


def test_a_hold_out_of_another_kind_of_split_is_refused(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    made(store, root)
    with pytest.raises(UsageError, match="was made by component") as raised:
        made(store, root, '[split]\nby = "repository"\n')
    assert "holdout_name" in (raised.value.hint or "")


def test_a_version_is_not_published_without_its_hold_out(
    filled: tuple[Store, Filled], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = filled

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Draft, "finish", full)
    with pytest.raises(DatasetError, match="no room"):
        made(store, root)
    assert versions(root) == ()
    assert not list((root / "holdouts").glob("*"))


def test_a_version_that_was_published_keeps_its_hold_out_whatever_comes_after(
    filled: tuple[Store, Filled], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = filled
    finish = Draft.finish

    def interrupted(*given: Any, **more: Any) -> None:
        finish(*given, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(Draft, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(store, root)
    (one,) = versions(root)
    (held,) = (root / "holdouts").glob("*")
    assert one.manifest.holdout is not None
    assert one.manifest.holdout.rows == pl.read_parquet(held).height


def test_a_recipe_that_drops_more_keeps_its_count(filled: tuple[Store, Filled], root: Path) -> None:
    store, _ = filled
    made(store, root, "[balance]\nper_definition = 1\n[split]\nleast_holdout = 1\n")
    for recipe in ("repair-preferences", "repair-multiturn"):
        built = made(store, root, "[split]\nleast_holdout = 0\n", recipe=recipe)
        assert len(ids(built)) == built.funnel.kept
        assert stages(built)["left-alone"]
        assert all(len(row["prompt"]) > 1 or row["rejected"] for row in every_row(built))


def test_a_pool_that_was_cut_short_is_taken_anew(filled: tuple[Store, Filled], root: Path) -> None:
    store, _ = filled
    with pytest.raises(DatasetError, match="are needed"):
        made(store, root, "[split]\nleast_holdout = 5000\n")
    [rows] = (root / ".work").rglob("rows-*.parquet")
    rows.write_bytes(rows.read_bytes()[:-100])
    assert made(store, root).new


@pytest.mark.parametrize("name", ["good", "patch", "changes"])
def test_a_question_that_names_its_answer_is_refused(
    filled: tuple[Store, Filled], root: Path, name: str
) -> None:
    store, _ = filled
    folder = root.parent / "recipes" / "mine"
    shutil.copytree(PACKAGED / "repair-sft", folder)
    (folder / "prompt.md").write_text(f"{{bad}}\n{{{name}}}")
    with pytest.raises(UsageError, match="would hold the answer"):
        build(load_recipe("mine", folder), store, root, EventBus())


def test_a_name_that_is_no_folder_of_a_version_is_refused(tmp_path: Path) -> None:
    shutil.copytree(PACKAGED / "repair-sft", tmp_path / "a@b")
    with pytest.raises(UsageError, match="no name of a recipe"):
        load_recipe("a@b", tmp_path / "a@b")


def test_preferences_have_a_right_answer_and_a_wrong_one(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    built = made(store, root, "[compose]\npairs = 2\n", recipe="repair-preferences")
    rows = [
        row
        for split in built.version.splits
        for row in built.version.scan(split).collect().to_dicts()
    ]
    assert rows
    for row in rows:
        assert row["rejected"][0]["content"] != row["completion"][0]["content"]
        assert row["good"] in row["completion"][0]["content"]
    several = Counter(row["example_id"] for row in rows)
    assert max(several.values()) == 2
    assert len(several) == built.funnel.kept


def test_a_conversation_tells_the_wrong_answer_its_own_error(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    built = made(store, root, recipe="repair-multiturn")
    rows = built.version.scan("train").collect().to_dicts()
    for row in rows:
        roles = [turn["role"] for turn in row["prompt"]]
        assert roles[:3] == ["user", "assistant", "user"]
        assert roles[-1] == "user"
        assert row["prompt"][1]["content"] != row["completion"][0]["content"]
        assert row["error"] not in row["prompt"][2]["content"]
    assert any(row["solved"] is not None for row in rows)


def test_an_empty_selection_says_which_stage_dropped_the_last(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    with pytest.raises(DatasetError, match="no row is left after select") as raised:
        made(store, root, "[select]\nwhere = \"language = 'cobol'\"\n")
    assert "not-selected 480" in (raised.value.cause or "")
    with pytest.raises(DatasetError, match="no row is left after licence") as raised:
        made(store, root, '[licence]\nallow = ["Zlib"]\n')
    assert "not-allowed" in (raised.value.cause or "")
    assert versions(root) == ()


def test_an_empty_store_is_said(tmp_path: Path, root: Path) -> None:
    with pytest.raises(DatasetError, match="has no example"):
        made(Store(tmp_path / "none" / "flywheel.duckdb"), root)


def test_a_hold_out_that_is_too_small_is_refused_and_not_made(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    with pytest.raises(DatasetError, match="would be held out, and 5000 are needed"):
        made(store, root, "[split]\nleast_holdout = 5000\n")
    assert versions(root) == ()
    assert not (root / "holdouts").exists()


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ('where = "langage = 1"', "Did you mean language?"),
        ("sql = \"COPY (FROM examples) TO '/tmp/x.csv'\"", "one SELECT statement"),
        ('sql = "SELECT repo FROM examples"', "a column example_id"),
        ("sql = \"SELECT content AS example_id FROM read_text('/etc/passwd')\"", "nothing else"),
    ],
)
def test_sql_that_fails_or_does_more_than_read_is_refused(
    filled: tuple[Store, Filled], root: Path, select: str, said: str
) -> None:
    store, _ = filled
    with pytest.raises(UsageError) as raised:
        made(store, root, f"[select]\n{select}\n")
    assert said in f"{raised.value.message} {raised.value.cause} {raised.value.hint}"


def test_sql_may_choose_the_rows(filled: tuple[Store, Filled], root: Path) -> None:
    store, _ = filled
    query = "SELECT example_id FROM examples WHERE source = 'reverted'"
    built = made(store, root, f'[select]\nsql = "{query}"\n[split]\nleast_holdout = 0\n')
    assert built.version.manifest.statistics["source"].keys() == {"reverted"}


def test_two_builds_at_once_are_one_too_many(filled: tuple[Store, Filled], root: Path) -> None:
    store, _ = filled
    root.mkdir(parents=True)
    with alone(root / ".lock", doing="build of another"), pytest.raises(StoreBusyError) as raised:
        made(store, root)
    assert "build of another" in (raised.value.cause or "")


def test_one_can_ask_why_a_row_is_not_there(filled: tuple[Store, Filled], root: Path) -> None:
    store, planted = filled
    built = made(store, root)
    flaky = next(iter(sorted(planted.flaky)))
    [found] = whereabouts(built.version, flaky)
    assert found["split"] is None
    assert found["stage"] == "quality"
    kept = min(ids(built))
    [found] = whereabouts(built.version, kept)
    assert found["split"] == find_row(built.version, kept)[0]
    with pytest.raises(UsageError, match="saw no example"):
        whereabouts(built.version, "zz")


def test_what_is_found_out_about_secrets_is_masked(
    filled: tuple[Store, Filled], root: Path
) -> None:
    store, _ = filled
    built = made(store, root)
    lines = (built.version.folder / "reports" / "secrets.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert {one["kind"] for one in found} == {"key", "personal"}
    assert all(one["excerpt"].endswith("characters)") for one in found)
