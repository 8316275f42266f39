"""A job at a provider: begun once, waited for through outages, left alone and found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import BudgetError, Interrupted, TrainingError, UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm import Profile, Secrets
from flywheel.lm.bridge import dspy
from flywheel.optimize.finetune.hosted import HostedTraining, Job, Look, chats, tunes
from flywheel.optimize.run import Stopped
from flywheel.optimize.stop import TIME_LIMIT, Stop
from tests.fakes.provider import provider
from tests.fakes.tuning import BASE, TOKENS, TUNED, Tuning
from tests.optimize.conftest import traces

KEY = "a-key-of-no-worth"


@dataclass
class Desk:
    """A provider that tunes, and who asks it."""

    tuning: Tuning
    profile: Profile
    folder: Path
    heard: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    paid: list[Job] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    on_look: Callable[[Look], None] | None = None

    def training(self) -> HostedTraining:
        return HostedTraining(
            self.profile, Secrets({"K": KEY}), self.stop,
            on_look=self.on_look or self.looks.append, on_said=self.heard.append,
        )  # fmt: skip

    def run(self, seed: int = 0, before: Callable[[], None] = lambda: None) -> Job:
        return self.training().run(
            chats(traces(0, 3)), self.folder, seed=seed, before=before, paid=self.paid.append
        )

    @property
    def kept(self) -> dict[str, Any]:
        (path,) = self.folder.glob("*.json")
        return json.loads(path.read_text())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with provider() as served:
        served.beside = tuning = Tuning()
        profile = LMProfile(
            model=f"openai/{BASE}", api_base=served.address, api_key_env="K", batch_poll=0.01,
            patience=0.2,
        )  # fmt: skip
        yield Desk(tuning, Profile("student", profile), tmp_path / "hosted")


def test_a_job_is_asked_for_once_and_its_end_is_kept(desk: Desk) -> None:
    done = desk.run()
    assert (done.job_id, done.tuned, done.tokens, done.seconds) == ("ftjob-0", TUNED, TOKENS, 60.0)
    assert [one.status for one in desk.looks] == ["validating_files", "running", "succeeded"]
    assert desk.tuning.files["file-0"] == chats(traces(0, 3))
    assert desk.paid == [done]
    # It ended: nobody is asked again.
    desk.looks.clear()
    assert desk.run() == done
    assert (desk.looks, desk.paid) == ([], [done])
    # Another seed is another training.
    assert desk.run(seed=1).job_id == "ftjob-1"


def test_a_library_that_is_told_where_to_ask_forgets_it_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No variable leads the key elsewhere.
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "another")
    sdk = dspy.clients.openai.openai
    before = (sdk.api_key, sdk.base_url, sdk.max_retries)
    desk.run()
    assert (sdk.api_key, sdk.base_url, sdk.max_retries) == before


def test_a_job_whose_beginning_was_not_heard_is_found_by_its_file(desk: Desk) -> None:
    desk.tuning.cut = True
    assert desk.run().job_id == "ftjob-0"
    assert len(desk.tuning.jobs) == 1


def test_a_process_that_died_before_it_knew_the_job_finds_it_and_pays_nothing(desk: Desk) -> None:
    desk.run()
    (path,) = desk.folder.glob("*.json")
    told = desk.kept
    path.write_text(json.dumps(told | {"job_id": "", "tuned": "", "tokens": None}))

    def refuse() -> None:
        raise BudgetError("nothing is left")

    assert desk.run(before=refuse).job_id == "ftjob-0"
    assert len(desk.tuning.jobs) == 1
    assert any("found the training ftjob-0" in one for one in desk.heard)


def test_what_may_not_be_bought_is_not_even_sent(desk: Desk) -> None:
    def refuse() -> None:
        raise BudgetError("nothing is left")

    with pytest.raises(BudgetError):
        desk.run(before=refuse)
    assert (desk.tuning.files, desk.tuning.jobs) == ({}, [])


def test_an_outage_is_waited_out_and_one_that_lasts_leaves_the_job(desk: Desk) -> None:
    desk.tuning.outages = 2
    assert desk.run().tuned == TUNED
    assert [one.rpartition(" ")[2] for one in desk.heard[-2:]] == ["it", "on"]
    desk.tuning.outages = 1000
    with pytest.raises(TrainingError, match="does not say how the training ftjob-1 is") as raised:
        desk.run(seed=1)
    assert raised.value.cause == "503: later"
    desk.tuning.outages = 0
    assert desk.run(seed=1).job_id == "ftjob-1"


def test_an_interrupt_leaves_the_job_and_says_so(desk: Desk) -> None:
    def interrupt(look: Look) -> None:
        raise KeyboardInterrupt

    desk.on_look = interrupt
    with pytest.raises(Interrupted, match=r"the training ftjob-0 .* goes on at") as raised:
        desk.run()
    assert raised.value.hint is not None
    assert raised.value.message == desk.heard[-1]
    desk.on_look = None
    assert desk.run().job_id == "ftjob-0"


def test_a_time_limit_leaves_the_job_and_says_so(desk: Desk) -> None:
    desk.tuning.script = ["running"]
    desk.stop = Stop(seconds=0.2)
    with pytest.raises(Stopped):
        desk.run()
    assert desk.stop.ended == TIME_LIMIT
    assert "goes on at" in desk.heard[-1]
    assert desk.kept["job_id"] == "ftjob-0"


def test_a_refusal_is_told_without_the_key_and_the_next_run_begins_anew(desk: Desk) -> None:
    desk.tuning.refusal = f"no training of this model for {KEY}"
    with pytest.raises(TrainingError, match="gave no training of") as raised:
        desk.run()
    assert raised.value.cause == "400: no training of this model for [secret]"
    assert not list(desk.folder.glob("*.json"))
    desk.tuning.refusal = ""
    assert desk.run().tuned == TUNED


def test_a_job_that_the_key_does_not_reach_is_not_begun_again(desk: Desk) -> None:
    desk.run()
    (path,) = desk.folder.glob("*.json")
    path.write_text(json.dumps(desk.kept | {"job_id": "ftjob-9", "tuned": ""}))
    with pytest.raises(TrainingError, match="does not tell of the training ftjob-9") as raised:
        desk.run()
    assert "the key that it was begun with" in (raised.value.hint or "")
    path.write_text("{")
    with pytest.raises(TrainingError, match="whether a training has begun is not known"):
        desk.run()
    assert len(desk.tuning.jobs) == 1


def test_an_end_without_a_model_is_a_failure(desk: Desk) -> None:
    desk.tuning.script, desk.tuning.tuned = ["succeeded"], None
    with pytest.raises(TrainingError, match="has ended without a model"):
        desk.run()


def test_a_key_that_may_not_train_is_told_before_anything_is_sent(desk: Desk) -> None:
    desk.training().check()
    desk.tuning.key = "another"
    with pytest.raises(UsageError, match="cannot be trained at") as raised:
        desk.training().check()
    assert "api_key_env" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("model", "known"),
    [("openai/gpt-4o-mini", True), ("anthropic/claude-sonnet-4-6", False), ("gemini/x", False),
     ("databricks/x", False)],
)  # fmt: skip
def test_those_are_tuned_that_dspy_knows_a_provider_of(model: str, known: bool) -> None:
    assert tunes(Profile("one", LMProfile(model=model))) is known
