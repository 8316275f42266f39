"""The README's own program and metric, with their files taken from it word for word."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.workspace import find
from tests.cli.conftest import Ran
from tests.fakes.provider import Behaviour, Provider, provider
from tests.fakes.versions import version
from tests.optimize.studies.conftest import NEEDS_OPTUNA

Run = Callable[..., Ran]
README = Path(__file__).parents[2] / "README.md"
FILE = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^\$ flywheel (optimize .*careful.*?)(?:\s{2,}#.*)?$", re.MULTILINE)


def answers(body: dict[str, Any]) -> Behaviour:
    """Says each field that is asked for, and likes what it reads."""
    text = json.dumps(body)
    if "how well does this read" in text:
        return Behaviour(text='{"mark": 9}')
    if "Answer in JSON" in text:
        names = re.findall(r'\\"(\w+)\\":', text.partition("Answer in JSON")[2])
        return Behaviour(text=json.dumps(dict.fromkeys(names, "Say it shortly.")))
    wanted = re.findall(r"\[\[ ## (\w+) ## \]\]", text.rpartition("user")[2])
    wanted = [*dict.fromkeys([*wanted, "cause", "change", "good"])]
    said = [f"[[ ## {name} ## ]]\ndef add(a, b):\n    return a + b" for name in wanted]
    return Behaviour(text="\n\n".join(said))


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A workspace with the README's files, a dataset, and a model behind a socket."""
    with provider(answers) as one:
        monkeypatch.setenv("KEY", "a-key-of-no-worth")
        monkeypatch.chdir(folder)
        (folder / "flywheel.toml").write_text(
            '[lm.default]\nmodel = "anthropic/claude-sonnet-4-6"\nretries = 0\n'
            f'api_base = "{one.address}"\napi_key_env = "KEY"\n'
            '[evaluate]\nmetric = "exact_match"\n'
        )
        version(find(explicit=folder).datasets, train=8, validation=6, holdout=8)
        for name, text in FILE.findall(README.read_text()):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        yield one


def test_the_readme_has_a_program_and_a_metric_of_a_users_own() -> None:
    text = README.read_text()
    assert [name for name, _ in FILE.findall(text)] == ["careful.py", "metrics/readable.py"]
    assert len(COMMAND.findall(text)) == 2


@NEEDS_OPTUNA
def test_its_chain_is_optimised_whole(flywheel: Run, served: Provider) -> None:
    command, _ = COMMAND.findall(README.read_text())
    ran = flywheel(*shlex.split(command), "--metric", "exact_match", "--trials", "3", "--json")
    assert ran.code == 0, ran.err
    best = ran.json["best"]
    assert set(best["instructions"]) == {"explain", "plan", "write"}
    # One score a row, and not one a step.
    assert best["n"] == 6
    diff = flywheel("version", "diff", "careful.py:Careful@base", ran.json["version"])
    assert diff.code == 0, diff.err
    assert "Say it shortly." in diff.out


def test_its_judge_drives_by_force_alone(flywheel: Run, served: Provider) -> None:
    _, command = COMMAND.findall(README.read_text())
    arguments = [*shlex.split(command), "--trials", "2", "--json"]
    refused = flywheel(*[one for one in arguments if one != "--force"])
    assert refused.code == 2
    assert "readable" in refused.err
    ran = flywheel(*arguments)
    assert ran.code == 0, ran.err
    assert ran.json["forced"] is True
    (compared,) = ran.json["gate"]["compared"]
    assert "readable was never compared with the tests" in compared["refused"]
