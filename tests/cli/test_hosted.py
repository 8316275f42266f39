"""`flywheel optimize` of a student that its provider tunes: paid once, found again, asked later."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.store import Store, call_sums, studies, trials_of
from flywheel.workspace import find
from tests.cli.conftest import Ran
from tests.cli.test_optimize import RIGHT, WRONG
from tests.fakes.provider import Behaviour, Provider, provider
from tests.fakes.tuning import BASE, TOKENS, TUNED, Tuning
from tests.fakes.versions import version

Run = Callable[..., Ran]
OPTIMIZE = ("optimize", "--module", "repair", "--metric", "exact_match", "--gate-rows", "0",
            "--optimizer", "bootstrap-finetune")  # fmt: skip
LIMITED = (*OPTIMIZE, "--max-usd", "5")
EVALUATE = ("evaluate", "--module", "repair", "--dataset", "repair-sft", "--split", "holdout",
            "--metric", "exact_match")  # fmt: skip
COMMAND = "from flywheel.cli.entry import main; main()"


def student(body: dict[str, Any]) -> Behaviour:
    """Mends the bug where it was tuned to."""
    return Behaviour(text=RIGHT if body["model"] == TUNED else WRONG)


def settings(folder: Path, served: Provider, **changes: object) -> None:
    said: dict[str, object] = {
        "model": f"openai/{BASE}", "api_base": served.address, "api_key_env": "KEY",
        "retries": 0, "patience": 1, "batch_poll": 0.05, "training_price": 3.0,
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(one)}" for name, one in (said | changes).items() if one]
    (folder / "flywheel.toml").write_text("\n".join(["[lm.default]", *lines]) + "\n")


@pytest.fixture
def tuning() -> Tuning:
    return Tuning()


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch, tuning: Tuning) -> Iterator[Provider]:
    """A workspace with a dataset, and a student whose provider tunes models."""
    with provider(student) as one:
        one.beside = tuning
        monkeypatch.setenv("KEY", "a-key-of-no-worth")
        settings(folder, one)
        version(find(explicit=folder).datasets, train=8, validation=6, holdout=8)
        yield one


def tuned_events(folder: Path) -> list[dict[str, Any]]:
    lines = (find(explicit=folder).logs / "optimize.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one.get("phase") == "tune"]


def test_it_ends_with_a_version_that_its_tuned_model_plays_from_then_on(
    flywheel: Run, served: Provider, tuning: Tuning, folder: Path
) -> None:
    ran = flywheel(*LIMITED)
    assert ran.code == 0, ran.err
    (file,) = tuning.files.values()
    (job,) = tuning.jobs
    assert (job["model"], job["hyperparameters"]) == (BASE, {"n_epochs": 3})
    # What it learnt from are the questions as they are asked, with the answers that are known.
    assert len(file) == 8
    turns = [one["role"] for one in file[0]["messages"]]
    assert (turns[0], turns[-2:]) == ("system", ["user", "assistant"])
    assert file[0]["messages"][-1]["content"] == "-    return a - b\n+    return a + b"
    assert file[0]["messages"][0] == served.asked[0]["messages"][0]
    assert "at most" in ran.err
    assert "training ftjob-0" in ran.err
    told = tuned_events(folder)
    assert [(one["done"], one["total"]) for one in told] == [(2, 9), (2, 9), (0, 0)]
    assert told[1]["detail"] == "running, at work on ftjob-0"
    assert told[2]["detail"] == f"succeeded, {TOKENS:,} tokens"
    store = Store(find(explicit=folder).store_path)
    (study,) = studies(store)
    assert [one.value for one in trials_of(store, study.study_id)] == [0.0, 1.0]
    sums = {one.key: one for one in call_sums(store, "purpose", run_id=study.study_id)}
    assert sums["optimize:training"].usd == pytest.approx(TOKENS * 3.0 / 1e6)
    assert study.version_id is not None
    shown = flywheel("version", "show", study.version_id)
    assert f"openai/{TUNED} of openai/{BASE} at {served.address}, by ftjob-0" in shown.out
    # Later, from the store alone.
    served.asked.clear()
    compared = flywheel(*EVALUATE, "--versions", f"base,{study.version_id}")
    assert compared.code == 0, compared.err
    assert {one["model"] for one in served.asked} == {BASE, TUNED}
    assert flywheel("deploy", study.version_id, "--force").code == 0
    # Another model is not what it was tuned of.
    settings(folder, served, model="openai/gpt-4.1-mini-2025-04-14")
    other = flywheel(*EVALUATE)
    assert other.code == 1
    assert f"needs openai/{TUNED}" in other.err


def test_the_same_rows_validated_on_others_are_not_paid_for_again(
    flywheel: Run, served: Provider, tuning: Tuning, folder: Path
) -> None:
    assert flywheel(*LIMITED).code == 0
    version(find(explicit=folder).datasets, train=8, validation=5, holdout=8)
    again = flywheel(*LIMITED, "--json")
    assert again.code == 0, again.err
    assert len(tuning.jobs) == 1
    assert len(studies(Store(find(explicit=folder).store_path))) == 2


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_its_job_and_the_next_goes_on_with_it(
    flywheel: Run, served: Provider, tuning: Tuning, folder: Path
) -> None:
    tuning.script = ["running"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *LIMITED], cwd=folder, stderr=subprocess.DEVNULL
    ) as first:
        assert tuning.running.wait(60)
        first.kill()
    tuning.script = ["succeeded"]
    ran = flywheel(*LIMITED, "--json")
    assert ran.code == 0, ran.err
    assert (len(tuning.jobs), len(tuning.files)) == (1, 1)
    assert ran.json["learned"]["job_id"] == "ftjob-0"
    assert ran.json["best"]["value"] == 1.0
    asked = len(served.asked)
    again = flywheel(*LIMITED, "--json")
    assert (again.json["version"], again.json["usd"]) == (ran.json["version"], ran.json["usd"])
    assert (len(served.asked), len(tuning.jobs)) == (asked, 1)


@pytest.mark.parametrize(("end", "told"), [("failed", "needs 10"), ("cancelled", "was cancelled")])
def test_a_job_that_comes_to_nothing_is_told_with_the_providers_reason(
    flywheel: Run, served: Provider, tuning: Tuning, folder: Path, end: str, told: str
) -> None:
    tuning.script = ["running", end]
    ran = flywheel(*LIMITED)
    assert (ran.code, ran.out) == (1, "")
    assert "the training ftjob-0" in ran.err
    assert told in ran.err
    (study,) = studies(Store(find(explicit=folder).store_path))
    assert (study.status, study.version_id) == ("failed", None)
    # It is over: the next run has another one.
    tuning.script = ["succeeded"]
    assert flywheel(*LIMITED).code == 0
    assert [one["id"] for one in tuning.jobs] == ["ftjob-0", "ftjob-1"]


@pytest.mark.parametrize(
    ("changes", "command", "told"),
    [
        ({}, OPTIMIZE, "--max-usd USD"),
        ({"training_price": None}, LIMITED, "training_price in [lm.default]"),
        ({"model": "openai/gpt-4o-mini"}, LIMITED, "the price of openai/ft:gpt-4o-mini"),
        ({"model": "anthropic/claude-sonnet-4-6"}, LIMITED, "cannot be trained here"),
        ({"model": "openai/x", "api_key_env": "OTHER"}, LIMITED, "OTHER"),
    ],
)
def test_what_is_not_begun_is_told_before_anything_is_asked(
    flywheel: Run, served: Provider, tuning: Tuning, folder: Path,
    changes: dict[str, object], command: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    settings(folder, served, **changes)
    ran = flywheel(*command)
    assert ran.code in (1, 2), ran.out
    assert told in ran.err
    assert (served.asked, tuning.files, tuning.jobs) == ([], {}, [])


def test_a_server_that_trains_nothing_is_told_before_anything_is_asked(
    flywheel: Run, served: Provider
) -> None:
    served.beside = None
    ran = flywheel(*LIMITED)
    assert ran.code == 2, ran.out
    assert f"cannot be trained at {served.address}" in ran.err
    assert served.asked == []


def test_a_training_that_may_cost_more_than_is_left_is_not_begun(
    flywheel: Run, served: Provider, tuning: Tuning, folder: Path
) -> None:
    settings(folder, served, training_price=300.0)
    ran = flywheel(*OPTIMIZE, "--max-usd", "1")
    assert ran.code == 4, ran.err
    assert "are left" in ran.err + ran.out
    assert (tuning.files, tuning.jobs) == ({}, [])
