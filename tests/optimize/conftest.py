"""A Llama of a few thousand random weights, and what trains it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from flywheel.optimize.finetune import KNOWN, Message, Trace, TrainOptions
from flywheel.optimize.finetune.base import LIBRARIES

TRAINS = all(importlib.util.find_spec(one) is not None for one in LIBRARIES)
NEEDS_TRAIN = pytest.mark.skipif(not TRAINS, reason="the extra `train` is not installed")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUICK = TrainOptions(
    rank=2, alpha=4, learning_rate=0.02, epochs=2, batch_rows=4, batch_tokens=300,
    validations=2, patience=100, checkpoint_steps=3, seed=1,
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of safetensors with a tokenizer of single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    # Of so little work, two threads do nothing but wait for each other.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    letters = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    words = {word: number for number, word in enumerate([*special, *sorted(letters)])}
    inner = Tokenizer(models.BPE(vocab=words, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=special[0], eos_token=special[2],
        additional_special_tokens=special[1:2], chat_template=TEMPLATE,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are float32 on every processor: for what is compared to the last digits."""
    import torch

    from flywheel.optimize.finetune import linear

    monkeypatch.setattr(linear, "products_of", lambda: torch.float32)


def trace(number: int, **more: object) -> Trace:
    said = {
        "example_id": f"e{number}",
        "predictor": "mend",
        "messages": (Message("system", "Mend it."), Message("user", f"x = {number}")),
        "completion": f"x = {number + 1}",
        "score": 1.0,
        "origin": KNOWN,
        "kept": True,
        "reason": "it passes",
        **more,
    }
    return Trace(**said)  # type: ignore[arg-type]  # passed on


def traces(first: int, count: int) -> list[Trace]:
    return [trace(number) for number in range(first, first + count)]
