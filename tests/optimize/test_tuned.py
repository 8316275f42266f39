"""The real small model is tuned, asked beside its base, merged, and asked again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest

from flywheel.core.errors import Interrupted, UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Message, Profile, Purpose, Request, Role, local_file
from flywheel.lm.backends import local
from flywheel.lm.bridge import dspy, language_model
from flywheel.optimize.finetune import (
    Progress,
    Trained,
    base_of,
    find_adapter,
    merge_gguf,
    provider,
)
from flywheel.optimize.finetune.encode import rendered, tokens_of
from flywheel.optimize.finetune.provider import HostedTuner, LocalTuner, Place, tuner_of
from flywheel.orchestrator import tuning
from flywheel.orchestrator.tuning import Tuning
from tests.optimize.conftest import NEEDS_TRAIN, trace

pytestmark = [
    NEEDS_TRAIN,
    pytest.mark.slow,
    pytest.mark.skipif(not local.installed(), reason="the local model is not installed"),
]
STUDENT = LMProfile(model="local", concurrency=1, context=1024, max_tokens=8, fallbacks=("far",))
FOR = Purpose(Role.STUDENT, "test", profile="student")
WORD = "zebra"
ROWS = [
    {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": WORD}]}
    for text in ("Say it.", "The word?", "Which one?", "Tell me the word.")
]
HOW = {"rank": 4, "alpha": 8, "epochs": 6, "batch_rows": 4, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("tuned")
    return Place(folder / "trainings", folder / "adapters")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    journal = Journal(tmp_path / "journal.sqlite")
    hosted = LMProfile(model="openai/gpt-4o-mini", fallbacks=("far",))
    profiles = {"student": STUDENT, "hosted": hosted}
    with Engine({**profiles, "far": LMProfile(model="gemini/gemini-2.5-flash")}, journal) as one:
        yield one
    journal.close()


def student(engine: Engine, place: Place, **more: Any) -> Any:
    tuner = tuner_of(engine, FOR, place, **more)
    return language_model(engine, FOR, provider=tuner, temperature=0.0, max_tokens=8)


def ask(engine: Engine, profile: str, sample: int = 0) -> str:
    asked = (Message("user", "The word?"),)
    request = Request(asked, temperature=0.0, max_tokens=8, sample=sample)
    return engine.ask(request, replace(FOR, profile=profile)).response.text


def test_a_student_tuned_by_dspy_answers_beside_its_base_and_merged_alike(
    engine: Engine, place: Place, tmp_path: Path
) -> None:
    model, before = student(engine, place), ask(engine, "student")
    job = model.finetune(ROWS, dspy.clients.utils_finetune.TrainDataFormat.CHAT, dict(HOW))
    tuned = job.result()
    assert WORD not in before
    assert tuned("The word?")[0] == WORD
    # The same server, and another answer: the base is as it was.
    assert ask(engine, "student", sample=1) == before
    name = str(tuned.model).partition("/")[0]
    trained = find_adapter(place.adapters, name.removeprefix("tuned-"))
    assert (trained.manifest.train_rows, trained.manifest.steps) == (4, 6)
    base = local_file(Profile("student", STUDENT))
    assert trained.manifest.base == base_of(base).identity
    # Worked into the model, it says the same.
    merged = merge_gguf(base, trained, tmp_path / "merged.gguf")
    engine.add("merged", STUDENT.model_copy(update={"model": f"local/{merged}"}))
    assert ask(engine, "merged") == ask(engine, name) == WORD
    with pytest.raises(UsageError, match="for another model"):
        merge_gguf(merged, trained, tmp_path / "twice.gguf")


def test_a_question_has_the_tokens_that_the_server_reads() -> None:
    from flywheel.optimize.finetune.load import tokenizer_of

    file = local_file(Profile("student", STUDENT))
    tokenizer = tokenizer_of(base_of(file))
    texts = (
        "code:\n1: def f(x):\n12: \n13:     return x  # 'q'\n\n\n21:\ty = 3.14", "", "\n", "a\r\nb",
        "  lead and trail  ", "<|im_end|> in it <|im_start|>", "日本語 🎉 1234567890",
    )  # fmt: skip
    chats = [[{"role": "user", "content": text}] for text in texts]
    chats += [[{"role": "system", "content": "Mend it.\n"}, *chat] for chat in chats[:2]]
    argv = [sys.executable, "-m", "flywheel.lm.backends.server", str(file), "1024", "1", "1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip().rstrip("/")
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
            for chat in chats:
                said = client.post("/apply-template", json={"messages": chat}).json()["prompt"]
                assert rendered(chat, tokenizer) == said
                asked = {"content": said, "add_special": True, "parse_special": True}
                found = client.post("/tokenize", json=asked).json()["tokens"]
                assert tokens_of(said, tokenizer) == found
        server.communicate()


def test_a_job_that_is_given_up_raises_and_goes_on_when_it_is_wanted_again(
    engine: Engine, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server would not take it; the job is what is looked at here.
    monkeypatch.setattr(provider, "local_file", lambda profile: tiny)
    place = Place(tmp_path / "trainings", tmp_path / "adapters")
    jobs: Queue[Any] = Queue()
    model = student(engine, place, on_progress=lambda progress: jobs.get(timeout=60).cancel())
    how = {**HOW, "checkpoint_steps": 1}
    given_up = model.finetune(ROWS, "chat", how)
    jobs.put(given_up)
    with pytest.raises(Interrupted, match="training stopped after step 1 of 6"):
        given_up.result()
    assert given_up.status() == "failed"
    assert not place.adapters.exists()
    heard: list[Progress] = []
    job = student(engine, place, on_progress=heard.append).finetune(ROWS, "chat", how)
    job.result()
    assert job.status() == "succeeded"
    assert [one.step for one in heard] == [2, 3, 4, 5, 6]


def test_dspys_bootstrap_finetune_gives_a_program_played_by_the_tuned_model(
    engine: Engine, tiny: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "local_file", lambda profile: tiny)
    program, teacher = dspy.Predict("question -> answer"), dspy.Predict("question -> answer")
    program.set_lm(student(engine, place))
    teacher.set_lm(dspy.utils.DummyLM([{"answer": WORD}] * 3))
    asked = [dspy.Example(question=text).with_inputs("question") for text in ("a", "b", "c")]
    bootstrap = dspy.BootstrapFinetune(
        metric=lambda example, said, trace=None: said.answer == WORD,
        train_kwargs={**HOW, "epochs": 1},
        num_threads=1,
    )
    compiled = bootstrap.compile(program, trainset=asked, teacher=teacher)
    name = str(compiled.lm.model).partition("/")[0]
    assert find_adapter(place.adapters, name.removeprefix("tuned-")).manifest.train_rows == 3
    # Nobody stands in for it.
    (profile,) = engine.chain(Role.STUDENT, name)
    assert profile.settings.adapter is not None


def test_a_study_trains_as_long_as_leaves_time_to_score_and_nobody_stands_in(
    engine: Engine, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "local_file", lambda profile: tiny)
    limits = {
        None: None,
        1000.0: 1000.0 - tuning.SPARE - 2 * 30.0,
        200.0: 100.0,
        100.0: 32.5,  # half of it would leave no time to score
        70.0: 35.0,  # nor would anything that is worth a training
    }
    for seed, (limit, seconds) in enumerate(limits.items()):
        one = Tuning(
            engine, FOR, tmp_path / "adapters", seed=seed, time_limit=limit,
            left=lambda limit=limit: limit, scoring=lambda: 30.0, start=None,
            on_progress=lambda progress: None,
        )  # fmt: skip
        model = one.tune([trace(number) for number in range(4)], [], tmp_path / f"{seed}")
        weights = one.weights([str(model.model)])
        assert weights.adapter is not None
        trained = find_adapter(tmp_path / "adapters", weights.adapter.hash)
        assert trained.manifest.options["max_seconds"] == seconds
        assert weights.told == trained.manifest.sentence
        (profile,) = engine.chain(Role.STUDENT, str(model.model).partition("/")[0])
        assert profile.settings.adapter == trained.gguf
        assert one.begun() == FOR


def test_a_study_that_begins_with_weights_asks_and_trains_what_has_them(
    engine: Engine, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "local_file", lambda profile: tiny)
    rows = [trace(number) for number in range(4)]

    def study(start: Trained | None) -> Tuning:
        return Tuning(
            engine, FOR, tmp_path / "adapters", seed=0, time_limit=None, left=lambda: None,
            scoring=lambda: 1.0, start=start, on_progress=lambda progress: None,
        )  # fmt: skip

    first = study(None)
    name = str(first.tune(rows, [], tmp_path / "first").model)
    adapter = first.weights([name]).adapter
    assert adapter is not None
    start = find_adapter(tmp_path / "adapters", adapter.hash)
    second = study(start)
    (profile,) = engine.chain(Role.STUDENT, second.begun().profile)
    assert profile.settings.adapter == start.gguf
    # A state whose steps have no model of their own is played by what it began with.
    assert second.weights([]).adapter == adapter
    assert "as before" in second.weights([]).told
    later = str(second.tune(rows, [], tmp_path / "second").model)
    (profile,) = engine.chain(Role.STUDENT, later.partition("/")[0])
    assert profile.settings.adapter not in (None, start.gguf)
    found = second.weights([later]).adapter
    assert found is not None
    assert find_adapter(tmp_path / "adapters", found.hash).manifest.start == start.hash


@pytest.mark.parametrize(
    ("rows", "how", "said"),
    [
        (ROWS, {"lr": 1}, "training has no option 'lr'"),
        ([{"messages": []}], {}, "row 0 to train on does not end with an answer"),
        ([{"text": "x"}], {}, "row 0 to train on is no chat"),
        ([], {}, "there is nothing to learn from"),
    ],
)
def test_a_job_that_fails_raises_what_failed(
    engine: Engine, place: Place, rows: list[Any], how: dict[str, Any], said: str
) -> None:
    job = student(engine, place).finetune(rows, "chat", how)
    with pytest.raises(UsageError, match=said):
        job.result()
    assert job.status() == "failed"


def test_who_is_served_elsewhere_is_tuned_there_or_not_at_all(engine: Engine, place: Place) -> None:
    assert isinstance(tuner_of(engine, FOR, place), LocalTuner)
    hosted = tuner_of(engine, replace(FOR, profile="hosted"), place)
    assert isinstance(hosted, HostedTuner)
    with pytest.raises(UsageError, match=r"gemini/gemini-2\.5-flash .* cannot be tuned"):
        tuner_of(engine, replace(FOR, profile="far"), place)
    engine.add("tuned", STUDENT.model_copy(update={"adapter": Path("a.gguf")}))
    with pytest.raises(UsageError, match="is tuned already"):
        tuner_of(engine, replace(FOR, profile="tuned"), place)


def test_what_a_provider_has_tuned_is_a_profile(
    engine: Engine, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def theirs(job: Any, model: str, *rest: Any) -> str:
        asked.append((model, rest))
        return "ft:gpt-4o-mini:mine"

    monkeypatch.setattr(dspy.clients.openai.OpenAIProvider, "finetune", staticmethod(theirs))
    purpose = replace(FOR, profile="hosted")
    model = language_model(engine, purpose, provider=tuner_of(engine, purpose, place))
    tuned = model.finetune(ROWS, "chat", {"n_epochs": 1}).result()
    assert asked == [("openai/gpt-4o-mini", (ROWS, "chat", {"n_epochs": 1}))]
    name = str(tuned.model).partition("/")[0]
    (profile,) = engine.chain(Role.STUDENT, name)
    assert profile.settings.model == "openai/ft:gpt-4o-mini:mine"
