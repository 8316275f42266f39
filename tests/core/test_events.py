"""The bus and the event log."""

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from flywheel.core import events
from flywheel.core.events import (
    CandidateJudged,
    Event,
    EventBus,
    EventLog,
    ExampleKept,
    HarvestStarted,
    PhaseStarted,
    Warned,
)


def test_every_subscriber_hears_every_event_in_order() -> None:
    bus, first, second = EventBus(), list[Event](), list[Event]()
    bus.subscribe(first.append)
    bus.subscribe(second.append)
    published = [PhaseStarted("baseline", total=3), Warned("flaky-tests", "Two are flaky.")]
    for event in published:
        bus.publish(event)
    assert first == second == published


def test_who_unsubscribes_hears_no_more() -> None:
    bus, heard = EventBus(), list[Event]()
    unsubscribe = bus.subscribe(heard.append)
    unsubscribe()
    bus.publish(PhaseStarted("baseline"))
    assert heard == []


def test_a_subscriber_that_raises_is_logged_and_the_others_still_hear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("no screen")

    bus, heard = EventBus(), list[Event]()
    bus.subscribe(broken)
    bus.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(PhaseStarted("baseline"))
    assert len(heard) == 1
    assert "phase-started" in caplog.text
    assert "no screen" in caplog.text


def test_a_subscriber_may_stop_the_work_by_interrupting() -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    bus = EventBus()
    bus.subscribe(interrupt)
    with pytest.raises(KeyboardInterrupt):
        bus.publish(PhaseStarted("baseline"))


def test_events_are_frozen() -> None:
    event = HarvestStarted("r1", "repo", "c0ffee")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.repo = "other"  # type: ignore[misc]  # just this is to fail


def test_each_kind_of_event_has_a_name_of_its_own() -> None:
    kinds = {
        name: thing.kind
        for name, thing in vars(events).items()
        if isinstance(thing, type) and issubclass(thing, Event)
    }
    assert len(kinds) > 5
    assert len(set(kinds.values())) == len(kinds)


def test_the_log_is_one_json_object_a_line_and_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    judged = CandidateJudged("c1", "a.py", "comparison-swap", "valid", "", "warm", 0.25)
    with EventLog(path) as log:
        log(judged)
    with EventLog(path) as log:
        log(ExampleKept("e1", "c1", "a.py", "test_a.py::test_é"))
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["event"] == "candidate-judged"
    assert first["seconds"] == 0.25
    assert first["at"].endswith("+00:00")
    assert second["test_id"] == "test_a.py::test_é"


def test_a_logged_line_is_on_disk_before_the_log_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log(PhaseStarted("baseline"))
        assert path.read_text().endswith("\n")
