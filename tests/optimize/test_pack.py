"""Rows that share their beginning learn what they would learn one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.optimize.finetune.base import base_of
from flywheel.optimize.finetune.encode import encoded
from flywheel.optimize.finetune.model import Tuned, tuned
from flywheel.optimize.finetune.pack import ATTENTION, packs
from flywheel.optimize.finetune.trace import Message
from tests.optimize.conftest import NEEDS_TRAIN, QUICK, trace, traces

pytestmark = NEEDS_TRAIN
LONG = 1000


@pytest.fixture
def model(tiny: Path, wide: None) -> Tuned:
    """With an adapter that changes something."""
    import torch

    made = tuned(base_of(tiny), QUICK)
    with torch.no_grad():
        for weight in made.weights().values():
            weight.normal_(std=0.1)
    return made


def gradient(model: Tuned) -> Any:
    import torch

    found = torch.cat([one.grad.flatten() for one in model.weights().values()])
    model.model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("tokens", [1, 150, 5000])
def test_the_gradient_of_a_pack_is_that_of_its_rows(model: Tuned, tokens: int) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    others = [trace(7, messages=(Message("user", "Ohé!"),)), trace(8, completion="y")]
    rows = encoded([*traces(0, 5), *others], model.tokenizer, longest=LONG).rows
    got = list(packs(rows, tokens=tokens, device="cpu"))
    assert (len(got) == len(rows)) == (tokens == 1)
    assert any(one.shared for one in got) == (tokens > 1)
    loss = sum(model.learn(one, of=1) for one in got)
    packed = gradient(model)
    # The plain way: each row by itself, by transformers' own attention and loss.
    plain = model.model.get_base_model()
    plain.set_attn_implementation("eager")
    alone = 0.0
    for row in rows:
        scores = plain(input_ids=torch.tensor([row.tokens[:-1]])).logits[0, row.start - 1 :]
        each = cross_entropy(scores, torch.tensor(row.tokens[row.start :]), reduction="sum")
        each.backward()
        alone += float(each.detach())
    plain.set_attn_implementation(ATTENTION)
    assert loss == pytest.approx(alone, rel=1e-5)
    assert torch.allclose(packed, gradient(model), atol=1e-5, rtol=1e-4)


def test_products_of_narrower_numbers_learn_nearly_the_same(model: Tuned) -> None:
    import torch

    from flywheel.optimize.finetune.linear import compute_as_one

    rows = encoded(traces(0, 5), model.tokenizer, longest=LONG).rows
    found = []
    for products in (torch.float32, torch.bfloat16):
        compute_as_one(model.model, products)
        loss = sum(model.learn(one, of=1) for one in packs(rows, tokens=5000, device="cpu"))
        assert all(one.grad.dtype == torch.float32 for one in model.weights().values())
        found.append((loss, gradient(model)))
    (wide, one), (narrow, other) = found
    assert wide != narrow
    assert narrow == pytest.approx(wide, rel=0.01)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.99


def test_what_all_rows_begin_with_goes_through_the_model_once(model: Tuned) -> None:
    rows = encoded(traces(0, 6), model.tokenizer, longest=LONG).rows
    (pack,) = packs(rows, tokens=5000, device="cpu")
    alike = len("<>system\nMend it.<>\n<>user\nx = ".replace("<>", "?"))
    assert pack.shared == alike
    own = sum(len(row.tokens) - 1 - alike for row in rows)
    assert pack.tokens.shape == (1, alike + own)


def test_only_the_answer_and_its_end_are_learned(model: Tuned) -> None:
    (row,) = encoded([trace(3)], model.tokenizer, longest=LONG).rows
    decoded = model.tokenizer.decode(row.tokens)
    assert decoded == (
        "<|im_start|>system\nMend it.<|im_end|>\n<|im_start|>user\nx = 3<|im_end|>\n"
        "<|im_start|>assistant\nx = 4<|im_end|>"
    )
    assert model.tokenizer.decode(row.tokens[row.start :]) == "x = 4<|im_end|>"


def test_a_trace_that_is_too_long_is_left_out_and_counted(model: Tuned) -> None:
    lot = encoded([trace(1), trace(2, completion="y" * 200)], model.tokenizer, longest=100)
    assert (len(lot.rows), lot.left_out) == (1, "1 × longer than 100 tokens")
    none = encoded([trace(1, completion=""), trace(2)], model.tokenizer, longest=10)
    assert (none.rows, none.left_out) == ((), "1 × an empty answer, 1 × longer than 10 tokens")


@pytest.mark.parametrize(
    "targets",
    [
        ("self_attn.q_proj", "self_attn.v_proj"),
        ("self_attn.k_proj", "mlp.gate_proj", "mlp.up_proj"),
        ("self_attn.o_proj", "mlp.down_proj"),
    ],
)
def test_some_weights_can_be_adapted_alone(
    targets: tuple[str, ...], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from flywheel.optimize.finetune import linear

    monkeypatch.setattr(linear, "products_of", lambda: torch.bfloat16)
    made = tuned(base_of(tiny), replace(QUICK, targets=targets))
    (pack,) = packs(
        encoded(traces(0, 3), made.tokenizer, longest=LONG).rows, tokens=5000, device="cpu"
    )
    assert math.isfinite(made.learn(pack, of=1))
    assert all(bool(one.grad.isfinite().all()) for one in made.weights().values())
