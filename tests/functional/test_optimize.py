"""A study that is killed goes on where it was, and nothing is asked or measured twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flywheel.store import Store, call_sums, studies, trials_of
from flywheel.workspace import find
from tests.cli.test_optimize import student
from tests.fakes.provider import Behaviour, Provider, provider
from tests.fakes.versions import version

pytestmark = pytest.mark.slow
COMMAND = "from flywheel.cli.entry import main; main()"
ARGUMENTS = (
    *("optimize", "--module", "repair", "--metric", "exact_match", "--optimizer", "random-search"),
    *("--trials", "8", "--gate-rows", "0"),
)


def slowly(body: dict[str, Any]) -> Behaviour:
    time.sleep(0.15)
    return student(body)


def started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *ARGUMENTS, "--json"],
        cwd=folder,
        env={**os.environ, "KEY": "a-key-of-no-worth", "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workspace(folder: Path, served: Provider) -> None:
    (folder / "flywheel.toml").write_text(
        '[lm.default]\nmodel = "anthropic/claude-sonnet-4-6"\nretries = 0\nconcurrency = 2\n'
        f'api_base = "{served.address}"\napi_key_env = "KEY"\n'
    )
    version(find(explicit=folder).datasets, train=12, validation=6)


def wait_for(served: Provider, asked: int) -> None:
    until = time.monotonic() + 120
    while len(served.asked) < asked:
        assert time.monotonic() < until, f"only {len(served.asked)} questions came"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_is_ended_goes_on_and_pays_nothing_twice(
    tmp_path: Path, how: signal.Signals
) -> None:
    with provider(slowly) as served:
        workspace(tmp_path, served)
        first = started(tmp_path)
        # In the midst of the second trial that asks anything.
        wait_for(served, 10)
        first.send_signal(how)
        out, err = first.communicate(timeout=60)
        store = Store(find(explicit=tmp_path).store_path)
        (study,) = studies(store)
        if how is signal.SIGKILL:
            assert study.status == "running"
        else:
            assert first.returncode == 130, err
            assert (study.status, json.loads(out)["partial"]) == ("interrupted", True)
        before = len(served.asked)
        again = started(tmp_path)
        out, err = again.communicate(timeout=120)
        assert again.returncode == 0, err
        done = json.loads(out)
    assert done["study"] == study.study_id
    assert done["best"]["value"] == 1.0
    assert (done["ended"], done["partial"]) == ("done", False)
    questions = Counter(json.dumps(body, sort_keys=True) for body in served.asked)
    # What was on its way when the process died was asked and never heard: two at the most.
    asked_again = sum(count - 1 for count in questions.values())
    assert asked_again <= 2
    assert len(served.asked) > before
    sums = {one.key: one for one in call_sums(store, "status", run_id=study.study_id)}
    assert sums["ok"].calls == len(questions)
    assert sums["cached"].spared >= before - asked_again - 2
    numbers = [one.number for one in trials_of(store, study.study_id)]
    assert numbers == list(range(len(done["trials"])))
