"""What a model learns from is written down, read again, and counted where it is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.errors import TrainingError, UsageError
from flywheel.optimize.finetune import (
    TrainOptions,
    base_of,
    check_libraries,
    read_traces,
    write_traces,
)
from flywheel.optimize.finetune import base as module
from flywheel.optimize.finetune.base import Base
from flywheel.optimize.finetune.gguf import name_of
from flywheel.optimize.finetune.trace import learned
from flywheel.optimize.finetune.train import _ended
from tests.optimize.conftest import trace


def test_traces_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "some" / "traces.jsonl"
    given = [trace(1), trace(2, completion="é\n", score=None, kept=False, reason="unknown")]
    write_traces(path, given)
    assert list(read_traces(path)) == given


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"messages": []}', '{"messages": [{"role": "god", "text": ""}]}', "{}"]
)
def test_a_line_that_is_no_trace_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "traces.jsonl"
    write_traces(path, [trace(1)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UsageError, match=r"line 2 of .*traces\.jsonl is no trace"):
        list(read_traces(path))


def test_where_nothing_is_kept_the_reasons_are_counted() -> None:
    given = [trace(n, kept=False, reason="fails" if n else "unreadable") for n in range(3)]
    with pytest.raises(UsageError, match="none of 3 traces is kept") as caught:
        learned(given)
    assert caught.value.cause == "2 × fails, 1 × unreadable"


@pytest.mark.parametrize(
    ("option", "value"),
    [("rank", 0), ("learning_rate", 0.0), ("warmup", 1.0), ("max_seconds", -1.0),
     ("targets", ("lm_head",)), ("targets", ()), ("clip", float("nan"))],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(option: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"the option {option} of training cannot be"):
        TrainOptions(**{option: value})  # type: ignore[arg-type]  # that is the point


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no option 'lr'") as caught:
        TrainOptions.of({"lr": 1})
    assert "learning_rate" in str(caught.value.cause)
    assert TrainOptions.of({"rank": 4}).rank == 4


def test_without_the_extra_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIBRARIES", ("torch_of_nobody",))
    with pytest.raises(UsageError, match="training needs the extra `train`") as caught:
        check_libraries()
    assert caught.value.cause == "missing: torch_of_nobody"
    assert "make train" in str(caught.value.hint)


@pytest.mark.parametrize("said", ["", "[]", '{"hash": "0"}'])
def test_an_end_that_was_damaged_is_an_error(tmp_path: Path, said: str) -> None:
    (tmp_path / "trained.json").write_text(said)
    with pytest.raises(TrainingError, match=r"trained\.json cannot be read"):
        _ended(tmp_path, tmp_path, Base(tmp_path, "base", 1, 1), "fingerprint", TrainOptions())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no model"),
        ({"config.json": "{}", "model.safetensors": ""}, "cannot be tuned here"),
        ({"config.json": "[]", "model.safetensors": ""}, "cannot be read"),
        ({"config.json": '{"model_type": "llama"}', "model.safetensors": ""}, "does not say"),
    ],
)
def test_a_folder_that_is_no_model_to_tune_is_refused(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        base_of(tmp_path)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    with pytest.raises(UsageError, match="there is no model"):
        base_of(file)
    for content in (b"", b"PK\3\4", b"GGUF" + bytes(200), b"GGUF\3\0\0\0" + b"\xff" * 200):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="is no GGUF file"):
            base_of(file)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("layers.0.mlp.up_proj.lora_A.weight", "blk.0.ffn_up.weight.lora_a"),
        ("layers.29.self_attn.k_proj.lora_B.weight", "blk.29.attn_k.weight.lora_b"),
    ],
)
def test_adapted_weights_have_ggufs_names(theirs: str, ours: str) -> None:
    assert name_of(f"base_model.model.model.{theirs}") == ours
