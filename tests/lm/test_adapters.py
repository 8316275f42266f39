"""The real small model and adapters of it, in one process: each answers as if it were alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.core.settings import LMProfile, load
from flywheel.lm import Engine, Journal, Message, Profile, Purpose, Request, Role, read_head
from flywheel.lm.backends import local
from flywheel.lm.backends.local import LocalBackend, model_file
from tests.lm.test_local import servers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not local.installed(), reason="the local model is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("gguf") is None, reason="the extra `train` is not installed"
    ),
]
MODEL = Profile("local", LMProfile(model="local", concurrency=1, context=1024))
TEXTS = ("What is the capital of France?", "Write a function that adds two numbers.")


def adapter(path: Path, *, strength: float = 0.02, width: int = 576, more: str = "") -> Path:
    """An adapter of random weights."""
    import gguf
    import numpy as np

    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 16.0)
    if more:
        writer.add_string("flywheel.base", more)
    for layer in range(30):
        name = f"blk.{layer}.attn_output.weight"
        writer.add_tensor(f"{name}.lora_a", random.normal(size=(8, width)).astype("f4") * 0.1)
        half = random.normal(size=(576, 8)).astype("f4") * strength
        writer.add_tensor(f"{name}.lora_b", half)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "journal.sqlite")
    yield one
    one.close()


def tuned(path: Path) -> LMProfile:
    return MODEL.settings.model_copy(update={"adapter": path})


def question(text: str, sample: int = 0) -> Request:
    return Request((Message("user", text),), max_tokens=12, temperature=0.0, sample=sample)


def ask(engine: Engine, text: str, profile: str, sample: int = 0) -> str:
    purpose = Purpose(Role.STUDENT, "test", profile=profile)
    return engine.ask(question(text, sample), purpose).response.text


def test_base_and_adapters_answer_side_by_side_from_one_process(
    tmp_path: Path, journal: Journal
) -> None:
    one = adapter(tmp_path / "one.gguf")
    two = adapter(tmp_path / "two.gguf", strength=0.05)
    alone = Journal(tmp_path / "alone.sqlite")
    # Each question first to a process of its own, so that nothing before it can matter.
    expected = {}
    for text in TEXTS:
        with Engine({"base": MODEL.settings}, alone) as engine:
            expected[text] = ask(engine, text, "base")
    alone.close()
    profiles = {"base": MODEL.settings, "one": tuned(one)}
    with Engine(profiles, journal) as engine:
        said = {(text, name): ask(engine, text, name) for text in TEXTS for name in ("one", "base")}
        assert all(said[text, "base"] == expected[text] for text in TEXTS)
        assert any(said[text, "one"] != expected[text] for text in TEXTS)
        before = servers()
        assert len(before) == 1
        # An adapter that the process does not have: it starts anew, and has all of them.
        engine.add("two", tuned(two))
        third = ask(engine, TEXTS[0], "two")
        after = servers()
        assert len(after) == 1
        assert after != before
        assert third not in (said[TEXTS[0], "one"], expected[TEXTS[0]])
        for text in TEXTS:
            for name in ("one", "base"):
                assert ask(engine, text, name, sample=1) == said[text, name]
        assert servers() == after
    # Kept answers are those of one adapter each.
    with Engine({**profiles, "two": tuned(two)}, journal) as engine:
        assert ask(engine, TEXTS[0], "two") == third
        assert ask(engine, TEXTS[0], "base") == expected[TEXTS[0]]
        assert servers() == []


def test_a_profile_is_named_once(tmp_path: Path, journal: Journal) -> None:
    with Engine({"base": MODEL.settings}, journal) as engine:
        engine.add("base", MODEL.settings)
        with pytest.raises(UsageError, match="another language model profile 'base'"):
            engine.add("base", LMProfile(model="local", context=512))
        with pytest.raises(UsageError, match="no language model profile 'nobody'"):
            ask(engine, TEXTS[0], "nobody")


@pytest.mark.parametrize(
    ("more", "said", "cause"),
    [
        ({"width": 64}, "for another model", "lora_a has 64 columns where the model's weight has"),
        ({"more": "abc"}, "for another model", "it was trained for the model abc"),
    ],
)
def test_an_adapter_for_another_model_is_refused(
    tmp_path: Path, more: dict[str, object], said: str, cause: str
) -> None:
    path = adapter(tmp_path / "adapter.gguf", **more)  # type: ignore[arg-type]  # passed on
    with pytest.raises(UsageError, match=said) as caught:
        LocalBackend(Profile("tuned", tuned(path)))
    assert cause in str(caught.value.cause)


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.gguf is no file"):
        LocalBackend(Profile("tuned", tuned(tmp_path / "nowhere.gguf")))
    with pytest.raises(UsageError, match="is no LoRA adapter"):
        LocalBackend(Profile("tuned", tuned(model_file(MODEL))))
    text = tmp_path / "text.gguf"
    text.write_text("text")
    with pytest.raises(UsageError, match="is no GGUF file"):
        LocalBackend(Profile("tuned", tuned(text)))


def test_another_adapter_under_the_same_name_is_another_server(tmp_path: Path) -> None:
    path = adapter(tmp_path / "adapter.gguf")
    base, first = LocalBackend(MODEL).server, LocalBackend(Profile("a", tuned(path))).server
    adapter(path, strength=0.03)
    assert first.startswith(base + "+")
    assert LocalBackend(Profile("a", tuned(path))).server not in (base, first)


def test_a_models_head_is_read(tmp_path: Path) -> None:
    head = read_head(model_file(MODEL))
    assert (head.architecture, head.adapter) == ("llama", False)
    assert head.shapes["blk.0.attn_k.weight"] == (576, 192)
    assert read_head(adapter(tmp_path / "adapter.gguf")).adapter


def test_an_adapter_lies_beside_the_settings_that_name_it(tmp_path: Path) -> None:
    file = tmp_path / "flywheel.toml"
    file.write_text('[lm.tuned]\nmodel = "local"\nadapter = "a.gguf"\n')
    settings = load(tmp_path, environ={}, user=tmp_path / "none").settings
    assert settings.lm["tuned"].adapter == tmp_path / "a.gguf"
    file.write_text('[lm.tuned]\nmodel = "openai/x"\nadapter = "a.gguf"\n')
    with pytest.raises(UsageError) as caught:
        load(tmp_path, environ={}, user=tmp_path / "none")
    assert "an adapter is for a model that is served here" in str(caught.value.cause)
