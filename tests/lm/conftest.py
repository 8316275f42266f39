"""An engine of one workspace for each test, with pauses that a test can wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.events import Event, EventBus, Warned
from flywheel.core.settings import LMProfile
from flywheel.lm import (
    Call,
    Engine,
    Journal,
    Message,
    Purpose,
    Request,
    Role,
    Secrets,
    engine,
    line,
)
from flywheel.lm.breaker import Breaker
from tests.fakes.provider import Behaviour, Provider

KEY = "sk-ant-planted-0123456789abcdef"
FOR = Purpose(Role.CORRECTOR, "test", "run-1")
FAST = {"retries": 3, "timeout": 5}
OVERLOADED = Behaviour(status=529, kind="overloaded_error", message="Overloaded")


class Asking:
    """An engine of one workspace, and what it said and wrote."""

    def __init__(self, folder: Path, profiles: Mapping[str, Any], **more: Any) -> None:
        self.events: list[Event] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.journal = Journal(folder / "journal.sqlite")
        self.engine = Engine(
            {name: LMProfile(**values) for name, values in profiles.items()},
            self.journal,
            bus=bus,
            secrets=Secrets({"ANTHROPIC_API_KEY": KEY}),
            **more,
        )

    def ask(self, text: str = "hello", **more: Any) -> str:
        return self.engine.ask(question(text), FOR, **more).response.text

    @property
    def calls(self) -> list[Call]:
        return list(self.journal.calls())

    @property
    def statuses(self) -> list[str]:
        return [call.status for call in self.calls]

    @property
    def warned(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Warned)]


def question(text: str, sample: int = 0) -> Request:
    return Request(messages=(Message("user", text),), max_tokens=50, sample=sample)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[..., Asking]]:
    made: list[Asking] = []

    def make(profiles: Mapping[str, Any], **more: Any) -> Asking:
        one = Asking(tmp_path, profiles, **more)
        made.append(one)
        return one

    yield make
    for one in made:
        one.engine.close()
        one.journal.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(engine, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(engine, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(
        line, "Breaker", lambda **more: Breaker(pause=0.05, longest_pause=0.2, **more)
    )


def claude(served: Provider, **more: Any) -> dict[str, Any]:
    return {
        "model": "anthropic/claude-sonnet-4-6",
        "api_base": served.address,
        "api_key_env": "ANTHROPIC_API_KEY",
        **FAST,
        **more,
    }
