"""An adapted weight that is computed as one gives what PEFT's own layer gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.optimize.conftest import NEEDS_TRAIN

pytestmark = NEEDS_TRAIN


@pytest.fixture(params=[False, True], ids=["", "bias"])
def adapted(request: pytest.FixtureRequest) -> Any:
    """A layer with an adapter that changes something."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    layers = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(6, 5, bias=request.param)})
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=3.0, target_modules=["q_proj"]), layers)
    layer = layers["q_proj"]
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    return layer


def results(layer: Any) -> list[Any]:
    """What a layer gives, and the gradients of its input and of both halves."""
    import torch

    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = layer(x)
    halves = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    return [out, *torch.autograd.grad((out**3).sum(), [x, *halves])]


def test_results_and_gradients_are_those_of_peft(adapted: Any) -> None:
    import torch

    from flywheel.optimize.finetune.linear import compute_as_one

    wanted = results(adapted)
    compute_as_one(torch.nn.ModuleList([adapted]))
    for one, other in zip(wanted, results(adapted), strict=True):
        torch.testing.assert_close(other, one)


@pytest.mark.parametrize("quick", ["amx_bf16", "avx512_bf16", None])
def test_products_are_narrow_where_the_processor_has_instructions_for_it(
    quick: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from flywheel.optimize.finetune.linear import products_of

    able = {"amx_bf16": False, "avx512_bf16": False, "avx2": True} | (
        {quick: True} if quick else {}
    )
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert products_of() is (torch.bfloat16 if quick else torch.float32)


def test_without_its_adapter_it_is_the_weight_as_it_was(adapted: Any) -> None:
    import torch

    from flywheel.optimize.finetune.linear import compute_as_one

    compute_as_one(torch.nn.ModuleList([adapted]))
    adapted.enable_adapters(enabled=False)
    x = torch.randn(3, 6)
    torch.testing.assert_close(adapted(x), adapted.get_base_layer()(x))
