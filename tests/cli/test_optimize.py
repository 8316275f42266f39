"""`flywheel optimize`: from a dataset and a program to a version, and every way it ends early."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import RegistryError, UsageError
from flywheel.core.settings import Settings
from flywheel.registry import DraftVersion, Registry
from flywheel.store import Store, studies, trials_of
from flywheel.workspace import find
from tests.cli.conftest import Ran
from tests.fakes.provider import Behaviour, Provider, provider
from tests.fakes.versions import row, version
from tests.optimize.studies.conftest import NEEDS_OPTUNA

Run = Callable[..., Ran]
OPTIMIZE = ("optimize", "--module", "repair", "--metric", "exact_match")
RIGHT = "-    return a - b\n+    return a + b"
WRONG = "-    return a - b\n+    return a * b"
UNKEPT = """
import dspy
from dspy.primitives import Module
from dspy.predict.parameter import Parameter

class Über(dspy.Module):
    def forward(self, bad, error):
        return None

class Part(Parameter):
    pass

class Kept(dspy.Module):
    def __init__(self):
        super().__init__()
        self.r = Part()

    def forward(self, bad, error):
        return None
"""
HANGS = """
import sys, time
import dspy

class Hangs(dspy.Module):
    def __init__(self):
        super().__init__()
        self.step = dspy.Predict("bad, error -> good")

    def forward(self, bad, error):
        print("it hangs", file=sys.stderr, flush=True)
        time.sleep(300)
"""
COMMAND = "from flywheel.cli.entry import main; main()"


def student(body: dict[str, Any]) -> Behaviour:
    """Mends the bug where it is shown how, and proposes where it is asked to."""
    text = json.dumps(body)
    if "Answer in JSON" in text:
        names = re.findall(r'\\"(\w+)\\":', text.partition("Answer in JSON")[2])
        return Behaviour(text=json.dumps(dict.fromkeys(names, "Mend the sum.")))
    return Behaviour(text=RIGHT if len(body["messages"]) > 1 else WRONG)


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A model behind a socket, in the settings of a workspace that has a dataset."""
    with provider(student) as one:
        monkeypatch.setenv("KEY", "a-key-of-no-worth")
        (folder / "flywheel.toml").write_text(
            '[lm.default]\nmodel = "anthropic/claude-sonnet-4-6"\nretries = 0\npatience = 1\n'
            f'api_base = "{one.address}"\napi_key_env = "KEY"\n'
        )
        version(find(explicit=folder).datasets, train=8, validation=6, holdout=8)
        yield one


@pytest.mark.parametrize(
    "optimizer", ["bootstrap-fewshot", pytest.param("miprov2", marks=NEEDS_OPTUNA)]
)
def test_it_ends_with_a_version_a_verdict_and_the_next_command(
    flywheel: Run, served: Provider, folder: Path, optimizer: str
) -> None:
    ran = flywheel(*OPTIMIZE, "--optimizer", optimizer, "--trials", "3")
    assert ran.code == 0, ran.err
    assert "1.000 (n 6" in ran.out
    assert "repair@" in ran.out
    assert "8 rows better, 0 worse" in ran.out
    store = Store(find(explicit=folder).store_path)
    (study,) = studies(store)
    assert (study.status, study.module, study.optimizer) == ("done", "repair", optimizer)
    assert study.version_id is not None
    assert study.version_id in ran.out
    trials = trials_of(store, study.study_id)
    assert [one.number for one in trials] == list(range(len(trials)))
    assert (trials[0].value, trials[0].n, trials[0].reasons) == (
        0.0,
        6,
        {"another text than the known fix": 6},
    )
    assert max(one.value or 0.0 for one in trials) == 1.0
    assert trials[0].tokens > 0
    shown = flywheel("version", "show", study.version_id, "--json").json
    assert shown["study"] == study.study_id
    next_command = ran.err.rpartition("Next: flywheel ")[2].split()
    assert next_command == ["deploy", study.version_id]
    deployed = flywheel(*next_command)
    assert deployed.code == 0, deployed.err


def test_a_version_that_cannot_be_saved_ends_its_study_as_failed(
    flywheel: Run, served: Provider, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(registry: Registry, draft: DraftVersion) -> None:
        raise RegistryError("a demonstration has a secret: nothing was saved")

    monkeypatch.setattr(Registry, "save", refuse)
    ran = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot")
    assert ran.code == 1
    assert "has a secret" in ran.err
    (study,) = studies(Store(find(explicit=folder).store_path))
    assert (study.status, study.version_id) == ("failed", None)


def test_what_is_not_better_is_not_to_be_deployed(flywheel: Run, served: Provider) -> None:
    served.script[:] = [lambda body: Behaviour(text=WRONG)]
    ran = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot")
    assert ran.code == 0, ran.err
    assert "best other  0.000" in ran.out
    assert "★" not in ran.err
    assert "0 rows better, 0 worse" in ran.out
    next_command = ran.err.rpartition("Next: flywheel ")[2].split()
    assert next_command[:2] == ["version", "diff"]
    assert flywheel(*next_command).code == 0


def test_the_gate_takes_no_more_than_an_evaluation_may(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    settings = folder / "flywheel.toml"
    settings.write_text(settings.read_text() + "max_tokens = 20\n\n[evaluate]\nmax_tokens = 100\n")
    ran = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--json")
    assert ran.code == 4, ran.err
    assert (ran.json["ended"], ran.json["gate"]["ended"]) == ("done", "budget")
    assert ran.json["version"] is not None


def test_the_gate_may_cost_what_this_run_has_left(
    flywheel: Run, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flywheel.orchestrator import challenge

    given: list[int | None] = []

    def evaluate(versions: Any, metric: Any, drawn: Any, settings: Settings, *rest: Any) -> None:
        given.append(settings.evaluate.max_tokens)
        raise UsageError("seen")

    monkeypatch.setattr(challenge, "evaluate", lambda *told, on_progress: evaluate(*told))
    command = (*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--max-tokens", "100000")
    for _ in range(2):
        assert "seen" in flywheel(*command).err
    first, second = given
    # What an earlier run of the study has paid was held against that run's limit.
    assert (first, second) == (100_000 - 20 * len(served.asked), 100_000)


def test_without_a_gate_the_hold_out_is_not_asked(flywheel: Run, served: Provider) -> None:
    ran = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--gate-rows", "0")
    assert ran.code == 0, ran.err
    next_command = ran.err.rpartition("Next: flywheel ")[2].split()
    assert next_command[0] == "evaluate"
    compared = flywheel(*next_command, "--json")
    assert compared.code == 0, compared.err
    assert [one["now"] for one in compared.json["versions"]] == [8, 8]


@pytest.mark.parametrize(
    ("holdout", "told"), [(0, "no holdout split"), (4, "4 rows are too few for a gate")]
)
def test_a_hold_out_that_can_decide_nothing_is_told_before_anything_is_asked(
    flywheel: Run, served: Provider, folder: Path, holdout: int, told: str
) -> None:
    data = find(explicit=folder).datasets
    version(data, recipe="bug-insertion", validation=6, holdout=holdout)
    ran = flywheel(*OPTIMIZE, "--dataset", "bug-insertion")
    assert ran.code != 0
    assert (ran.out, served.asked) == ("", [])
    assert told in ran.err
    assert "--gate-rows 0" in ran.err


def test_run_again_it_asks_nothing_and_gives_the_same_version(
    flywheel: Run, served: Provider
) -> None:
    command = (*OPTIMIZE, "--optimizer", "random-search", "--trials", "6", "--json")
    first = flywheel(*command).json
    assert first["gate"]["compared"][0]["challenger"] == first["version"]
    asked = len(served.asked)
    again = flywheel(*command).json
    assert len(served.asked) == asked
    assert [one["now"] for one in again["gate"]["versions"]] == [0, 0]
    assert again["version"] == first["version"]
    assert again["measured"] == 0
    assert (again["usd"], again["tokens"]) == (first["usd"], first["tokens"])


def test_a_study_begins_with_a_version_and_is_its_child(flywheel: Run, served: Provider) -> None:
    command = (*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--json")
    first = flywheel(*command).json
    digits = first["version"].partition("@")[2]
    child = flywheel(*command, "--from", digits[:8]).json
    assert (first["start"], child["start"]) == (None, first["version"])
    assert child["study"] != first["study"]
    # It is scored as it was made, not as its code has it.
    assert first["baseline"]["value"] == 0.0
    assert child["baseline"]["value"] == 1.0
    assert child["baseline"]["demos"] == first["best"]["demos"] > 0
    assert flywheel(*command, "--from", "base").json["study"] == first["study"]
    plain = flywheel(*command[:-1], "--from", digits)
    assert f"begun with  {first['version']}" in plain.out
    assert f"none: the best is {first['version']} again" in plain.out
    other = flywheel(*command, "--from", digits, "--seed", "1").json
    assert other["version"] not in (None, first["version"])
    shown = flywheel("version", "show", other["version"], "--json").json
    assert shown["parent"] == first["version"]


@NEEDS_OPTUNA
def test_a_version_names_the_examples_that_it_has_of_its_start(
    flywheel: Run, served: Provider
) -> None:
    command = (*OPTIMIZE, "--json", "--gate-rows", "0")
    first = flywheel(*command, "--optimizer", "bootstrap-fewshot").json
    assert first["demos"]
    ran = flywheel(*command, "--optimizer", "gepa", "--trials", "2", "--from", first["version"])
    assert ran.code == 0, ran.err
    shown = [one for one in ran.json["trials"] if one["demos"]]
    assert shown
    if ran.json["best"] is not None:
        assert ran.json["demos"] == first["demos"]


def test_the_next_command_is_held_against_what_is_deployed(flywheel: Run, served: Provider) -> None:
    few = (*OPTIMIZE, "--optimizer", "bootstrap-fewshot")
    first = flywheel(*few, "--json").json["version"]
    assert flywheel("deploy", first).code == 0
    other = flywheel(*few, "--seed", "1", "--gate-rows", "0")
    digits = first.partition("@")[2]
    assert f"Next: flywheel evaluate --module repair --versions {digits},repair@" in other.err
    second = other.err.partition(f"--versions {digits},")[2].split()[0]
    # It beats the base, and was never compared with what is deployed.
    ran = flywheel(
        "evaluate", "--module", "repair", "--metric", "exact_match", "--versions", f"base,{second}"
    )
    assert "8 rows better, 0 worse" in ran.out
    assert "Next: flywheel deploy" not in ran.err
    assert "It was never compared" in flywheel("deploy", second).err


def test_what_hangs_together_with_rows_that_the_start_has_learnt_scores_nothing(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    few = ("--optimizer", "bootstrap-fewshot", "--gate-rows", "0", "--json")
    first = flywheel(*OPTIMIZE, *few).json
    # More bugs have moved what hangs together with row 0, from which the first learns.
    moved = [row(0), row(60, component="c0"), *(row(number) for number in range(40, 45))]
    parts = {
        "train": [row(number) for number in range(20, 28)],
        "validation": moved,
        "holdout": [row(number) for number in range(30, 38)],
    }
    version(find(explicit=folder).datasets, rows=parts)
    assert flywheel(*OPTIMIZE, *few).json["validated_on"] == 7
    assert flywheel(*OPTIMIZE, *few, "--from", first["version"]).json["validated_on"] == 5


def test_a_version_that_has_seen_the_hold_out_begins_nothing(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    first = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--json").json
    # Another dataset, which holds out three rows that the first learns from.
    parts = {
        "train": range(20, 28),
        "validation": range(8, 14),
        "holdout": (0, 1, 2, *range(30, 36)),
    }
    version(
        find(explicit=folder).datasets,
        rows={split: [row(number) for number in numbers] for split, numbers in parts.items()},
    )
    asked = len(served.asked)
    ran = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--from", first["version"])
    assert ran.code == 3
    assert f"{first['version']} has seen 3 rows of the hold-out" in ran.err
    assert len(served.asked) == asked


def test_another_seed_is_another_study(flywheel: Run, served: Provider, folder: Path) -> None:
    for seed in ("0", "1"):
        flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot", "--seed", seed)
    assert len(studies(Store(find(explicit=folder).store_path))) == 2


def test_a_budget_that_is_used_up_ends_with_its_code_and_a_partial_version(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    settings = folder / "flywheel.toml"
    settings.write_text(settings.read_text() + "max_tokens = 20\n")
    ran = flywheel(
        *OPTIMIZE, "--optimizer", "random-search", "--trials", "30", "--max-tokens", "1700"
    )
    assert ran.code == 4, ran.out + ran.err
    assert "budget; run it again to go on" in ran.out
    assert "(partial)" in ran.out


def test_an_outage_is_told_and_leaves_no_version(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    served.script[:] = [Behaviour(status=529, kind="overloaded_error", message="Overloaded")]
    ran = flywheel(*OPTIMIZE, "--optimizer", "bootstrap-fewshot")
    assert (ran.code, ran.out) == (1, "")
    assert "overloaded" in ran.err
    (study,) = studies(Store(find(explicit=folder).store_path))
    assert (study.status, study.version_id) == ("failed", None)


def test_a_metric_that_raises_is_told_with_its_line(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    (folder / "metrics").mkdir()
    (folder / "metrics" / "mine.py").write_text(
        'VERSION = "1"\n\n\ndef mine(case, answer):\n    return 1 / 0\n'
    )
    ran = flywheel("optimize", "--module", "repair", "--metric", "mine", "--optimizer", "simba")
    assert (ran.code, ran.out) == (2, "")
    assert "mine.py:5" in ran.err
    assert "ZeroDivisionError" in ran.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--optimizer", "miprov3"), "did you mean miprov2?"),
        (("--module", "repiar"), "repair"),
        (("--metric", "exact"), "exact_match"),
        (("--dataset", "repair-stf"), "repair-sft"),
        (("--student", "defualt"), "default"),
        (("--metric", "plan_judge"), "--force"),
        (("--auto", "huge"), "optimize.auto"),
        (("--from", "deadbeef"), "repair has no versions, so there is no repair@deadbeef"),
        (("--from", "rewrite@base"), "rewrite@base is no version of repair"),
        (("--gate-rows", "2"), "bugs of 6 definitions are the least that can show anything"),
        (("--module", "mine.py:Über"), "no name for a module"),
        (("--module", "mine.py:Kept"), "cannot be saved"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_asked(
    flywheel: Run, served: Provider, folder: Path, more: tuple[str, str], told: str
) -> None:
    (folder / "mine.py").write_text(UNKEPT)
    ran = flywheel(*OPTIMIZE, *more)
    assert ran.code in (1, 2), ran.out + ran.err
    assert told in ran.err
    assert served.asked == []
    path = find(explicit=folder).store_path
    assert not path.exists() or studies(Store(path)) == ()


def test_a_judge_that_may_drive_nothing_drives_by_force_and_the_version_says_so(
    flywheel: Run, served: Provider
) -> None:
    served.script[:] = [
        lambda body: (
            Behaviour(text='{"score": 10, "reason": "well"}')
            if "score" in json.dumps(body)
            else student(body)
        )
    ]
    ran = flywheel(
        "optimize", "--module", "repair", "--metric", "plan_judge", "--force", "--json",
        "--optimizer", "bootstrap-fewshot",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["forced"] is True
    shown = flywheel("version", "show", ran.json["version"], "--json").json
    assert shown["optimizer"]["options"]["forced"] is True


def test_what_a_study_may_cost_counts_the_judge_too(flywheel: Run, served: Provider) -> None:
    few = ("--optimizer", "bootstrap-fewshot", "--gate-rows", "0")
    assert flywheel(*OPTIMIZE, *few).code == 0
    asked = len(served.asked)
    # What the program says at first is known from there: only the judge is to be paid.
    ran = flywheel(
        "optimize", "--module", "repair", "--metric", "plan_judge", "--force", *few,
        "--max-tokens", "5",
    )  # fmt: skip
    assert (ran.code, len(served.asked)) == (4, asked), ran.out + ran.err


def test_a_dataset_without_a_validation_is_refused(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    version(find(explicit=folder).datasets, recipe="bug-insertion", validation=0, holdout=8)
    ran = flywheel(*OPTIMIZE, "--dataset", "bug-insertion")
    assert ran.code == 2
    assert "validation" in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["optimize", "evaluate"])
def test_an_interrupt_ends_it_though_the_program_hangs(
    served: Provider, folder: Path, command: str
) -> None:
    (folder / "mine.py").write_text(HANGS)
    line = [command, "--module", "mine.py:Hangs", "--metric", "exact_match"]
    line += ["--dataset", "repair-sft"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *line], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        while "it hangs" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_a_champion_that_has_seen_the_hold_out_is_told_before_anything_is_asked(
    flywheel: Run, served: Provider, folder: Path
) -> None:
    few = (*OPTIMIZE, "--optimizer", "bootstrap-fewshot")
    first = flywheel(*few, "--json").json["version"]
    assert flywheel("deploy", first).code == 0
    parts = {"train": range(20, 28), "validation": range(30, 36), "holdout": (0, 1, *range(40, 48))}
    version(
        find(explicit=folder).datasets,
        rows={split: [row(number) for number in numbers] for split, numbers in parts.items()},
    )
    asked = len(served.asked)
    ran = flywheel(*few)
    assert (ran.code, len(served.asked)) == (3, asked)
    assert f"{first}, which is deployed, has seen 2 of the 10 rows of the hold-out" in ran.err
    assert "--gate-rows 0" in ran.err
