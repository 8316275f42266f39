"""Stores that are made for tests are what they say, and everything in them fits together."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.patch import unified_patch
from flywheel.curate import normal, shingles
from flywheel.store import Store, attempts_on, example, examples, replayable, sql
from flywheel.store import example_id as id_of
from tests.fakes.stores import Filled, Shape, fill

EXTRA = "def double_of(value, times=2):\n    total = value * times\n    return total + 0\n"
SHAPE = Shape(
    mutants=6,
    sources={"mutated": 0.7, "reverted": 0.1, "written": 0.1, "combined": 0.1},
    languages={"python": 0.9, "go": 0.1},
    licences=("MIT", "GPL-3.0-only", None),
    real=0.1,
    exact=0.1,
    near=0.1,
    secrets=0.1,
    extra=(EXTRA,),
    flaky=0.1,
    attempted=0.2,
    mended=0.1,
)
ROWS = 400


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Filled]:
    store = Store(tmp_path_factory.mktemp("synthetic") / "flywheel.duckdb")
    return store, fill(store, ROWS, repositories=3, shape=SHAPE, batch=150)


def test_the_view_has_exactly_the_rows_that_were_asked_for(filled: tuple[Store, Filled]) -> None:
    store, planted = filled
    rows = examples(store)
    assert rows.height == rows["example_id"].n_unique() == planted.rows == ROWS
    for column, counts in (
        ("license", planted.licences),
        ("source", planted.sources),
        ("language", planted.languages),
        ("repo", planted.repositories),
    ):
        assert dict(rows[column].value_counts().iter_rows()) == counts
    assert rows["oracle_strength"].count() == planted.audited > 50
    assert rows["weak"].sum() == planted.weak > 10
    assert set(rows.filter(rows["flake_rate"] > 0)["example_id"]) == planted.flaky != set()
    assert rows["test_source"].null_count() == 0
    assert not rows.filter(source="reverted")["statement"].has_nulls()
    survived = sql(store, "SELECT count(*) AS n FROM verdicts WHERE verdict = 'survived'")
    assert survived["n"][0] == planted.survived + len(planted.mended) > ROWS // 20


def test_ids_and_patches_are_those_of_the_changes(filled: tuple[Store, Filled]) -> None:
    store, planted = filled
    stored = dict(sql(store, "SELECT example_id, candidate_id FROM fixes").iter_rows())
    for one in replayable(store):
        bug = one.candidate
        assert bug.candidate_id == stored[one.example_id]
        if one.fix is None:
            assert id_of(bug) == one.example_id
        made = unified_patch("x", bug.bad.encode(), bug.good.encode())
        assert changed_lines(bug.patch) == changed_lines(made) != []
        assert bug.before != bug.after
    assert planted.parts


def test_copies_are_copies_and_nothing_else_is(filled: tuple[Store, Filled]) -> None:
    store, planted = filled
    rows = examples(store)
    forms = {
        row["example_id"]: (normal(row["good"], row["language"]), normal(row["bad"], "text"))
        for row in rows.iter_rows(named=True)
    }
    assert len(planted.exact) > 5 < len(planted.near)
    for copy, model in planted.exact.items():
        assert forms[copy][0] == forms[model][0]
    for copy, model in planted.near.items():
        runs = shingles([forms[copy][0], forms[model][0]], 5)
        assert 0.85 <= runs.similarity(0, 1) < 1
    bare = {
        (normal(row["good"], row["language"]), normal(row["bad"], row["language"]))
        for row in rows.iter_rows(named=True)
    }
    assert len(bare) == ROWS - len(planted.exact)


def test_what_is_planted_is_there(filled: tuple[Store, Filled]) -> None:
    store, planted = filled
    good = dict(examples(store).select("example_id", "good").iter_rows())
    assert {good[name] for name in planted.extra} == {EXTRA.rstrip()}
    signs = {"github-token": "ghp_", "aws-key": "AKIA", "google-key": "AIza", "mail": "@"}
    assert all(signs[kind] in good[name] for name, kind in planted.secrets.items())
    assert planted.secrets
    for name, parts in list(planted.parts.items())[:3]:
        assert {part.example_id for part in example(store, name).parts} == set(parts)
    for name in list(planted.attempted)[:3]:
        turns = [one.turn for one in attempts_on(store, name)]
        assert turns == list(range(1, len(turns) + 1)) != []
    for name, other in list(planted.mended.items())[:3]:
        mended, bug = example(store, name), example(store, other)
        assert mended.bad == bug.bad
        assert mended.good != bug.good
        assert len(mended.proofs) == 3


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    stores = [Store(tmp_path / str(number) / "flywheel.duckdb") for number in range(3)]
    shape = Shape(mutants=4, real=0)
    for store, seed, batch in zip(stores, (1, 1, 2), (1000, 30, 1000), strict=True):
        fill(store, 60, seed=seed, shape=shape, batch=batch)
    one, same, other = (examples(store) for store in stores)
    assert one.equals(same)
    assert set(one["example_id"]).isdisjoint(other["example_id"])


def changed_lines(patch: str) -> list[str]:
    return [line for line in patch.splitlines()[2:] if line[0] in "+-"]
