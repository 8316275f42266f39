"""Studies of a small program over rows that need no store, with a model behind a real socket."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import FlywheelError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Purpose, Role, Secrets
from flywheel.lm.bridge import dspy, language_model
from flywheel.optimize.ground import Options
from flywheel.optimize.stop import Stop
from flywheel.optimize.study import Models, Study, Subject
from flywheel.programs import Answer, Case, Score
from flywheel.programs.row import FIELDS, Row
from tests.fakes.provider import Behaviour, Provider, provider

NEEDS_OPTUNA = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="the extra `optimize` is not installed"
)
TOLD = "Count one higher, always."
"""What a proposer says, and what helps a student."""


class Mend(dspy.Module):  # type: ignore[misc]
    """Mends a definition."""

    def __init__(self) -> None:
        super().__init__()
        self.step = dspy.Predict(dspy.Signature("bad, error -> good", "Mend the code."))

    def forward(self, bad: str, error: str) -> Any:
        return self.step(bad=bad, error=error)

    def known(self, row: Row) -> dict[str, dict[str, str]] | str:
        if row.id == "e1":
            return "too long to be said"
        return {"step": {"good": row.fields["good"]}}


def rows(first: int, count: int) -> tuple[Row, ...]:
    """Rows whose fix is to count one higher."""
    return tuple(_row(number) for number in range(first, first + count))


def _row(number: int) -> Row:
    bad, good = f"return {number}", f"return {number + 1}"
    case = Case(f"e{number}", "python", "m.py", "f", bad, good, "it is one less", "", None)
    fields = dict.fromkeys(FIELDS, "")
    return Row(case, fields | {"bad": bad, "good": good, "error": case.error})


def exact(case: Case, answer: Answer) -> Score:
    """Whether the answer is the fix."""
    if answer.code == case.good:
        return Score(1.0, "the fix")
    return Score(0.0, "another number")


def said(good: str) -> Behaviour:
    """An answer in DSPy's own form."""
    return Behaviour(text=f"[[ ## good ## ]]\n{good}\n\n[[ ## completed ## ]]")


def student(body: dict[str, Any]) -> Behaviour:
    """Mends rightly where it is shown an example or told how, and proposes where it is asked to."""
    system = body.get("system") or ""
    text = system if isinstance(system, str) else system[0]["text"]
    asked = body["messages"][-1]["content"]
    asked = asked if isinstance(asked, str) else asked[0]["text"]
    if "new_instruction" in text + asked:
        return Behaviour(text=json.dumps({"new_instruction": TOLD}))
    if "Answer in JSON" in text:
        names = re.findall(r'"(\w+)":', text.partition("Answer in JSON")[2])
        return Behaviour(text=json.dumps(dict.fromkeys(names, TOLD)))
    if "`good`" not in text:
        wanted = re.findall(r"\[\[ ## (\w+) ## \]\]", text)
        names = dict.fromkeys(["proposed_instruction", *wanted])
        return Behaviour(text="\n\n".join(f"[[ ## {name} ## ]]\n{TOLD}" for name in names))
    number = int(re.findall(r"return (\d+)", asked)[-1])
    return said(f"return {number + (len(body['messages']) > 1 or TOLD in text)}")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "lm.sqlite")
    yield one
    one.close()


class Bench:
    """What a study needs, with a model at an address."""

    def __init__(self, folder: Path, journal: Journal, address: str, **more: Any) -> None:
        settings = LMProfile(
            model="anthropic/claude-sonnet-4-6", api_base=address, api_key_env="K",
            retries=0, patience=1, **more.pop("profile", {}),
        )  # fmt: skip
        self.engine = Engine({"default": settings}, journal, secrets=Secrets({"K": "key"}), **more)
        self.folder = folder
        self.asked = 0

    def model(self, role: Role) -> Any:
        return language_model(self.engine, Purpose(role, f"optimize:{role.value}"))

    def study(self, optimizer: str, **more: Any) -> Study:
        options = more.pop("options", Options(trials=4, threads=4, demos=2))
        given: dict[str, Any] = {
            "subject": Subject("mend", "hash", ("bad", "error"), Mend()),
            "optimizer": optimizer,
            "models": Models(self.model(Role.STUDENT), self.model(Role.PROPOSER), None),
            "train": rows(0, 8),
            "validation": rows(20, 6),
            "measure": exact,
            "options": options,
            "folder": self.folder / "study",
            "trainings": self.folder / "trainings",
            "stop": Stop(),
        }
        return Study(**{**given, **more})


@pytest.fixture
def bench(tmp_path: Path, journal: Journal) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(served: Provider, **more: Any) -> Bench:
        made.append(Bench(tmp_path, journal, served.address, **more))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider(student) as one:
        yield one


def failure_of(study: Study) -> FlywheelError:
    with pytest.raises(FlywheelError) as raised:
        study.run()
    return raised.value
