"""An adapted weight, computed as one: what it changes is added to it, not to what comes of it.

PEFT adds the adapter's result to the weight's, for each token, which on a processor is bound by
memory. Here the change is worked into the weight once a pass. Results and gradients are those of
PEFT. The products may be of narrower numbers than the weights: all that is learned stays float32
(mixed precision: Micikevicius et al., ICLR 2018).

Imported late: it needs torch.
"""

from __future__ import annotations

from functools import partial
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear

Tensor = Any
"""A tensor of torch: at a wire of libraries that ship no types."""
_ADAPTER = "default"
"""PEFT's name of the adapter that is trained."""


class _Adapted(torch.autograd.Function):  # type: ignore[misc]  # torch is of an extra
    """x (W + s B A)^T, with gradients of x, A and B."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float, products: Any
    ) -> Tensor:
        """`x` is [..., in], `weight` [out, in], `a` [rank, in], `b` [out, rank]."""
        whole = torch.addmm(weight, b, a, alpha=scale).to(products)
        ctx.of_x = x.dtype
        x = x.to(products)
        ctx.save_for_backward(x, whole, a, b)
        ctx.scale = scale
        return torch.nn.functional.linear(x, whole)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of what `forward` takes, None for what is not trained."""
        x, whole, a, b = ctx.saved_tensors
        of_x = (gradient @ whole).to(ctx.of_x) if ctx.needs_input_grad[0] else None
        x, gradient = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        a, b, learned = a.to(x.dtype), b.to(x.dtype), a.dtype
        of_a = ((gradient @ b).T @ x).to(learned).mul_(ctx.scale)
        of_b = (gradient.T @ (x @ a.T)).to(learned).mul_(ctx.scale)
        return of_x, None, of_a, of_b, None, None


def products_of() -> Any:
    """The type of torch in which this processor computes products of matrices quickest.

    bfloat16 where it has instructions for that, else float32.
    """
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32


def compute_as_one(model: Any, products: Any = torch.float32) -> None:
    """Let each adapted weight of a model of PEFT's be computed as one, in products of a type."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = MethodType(partial(_forward, products=products), module)
        elif isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(_as_wide)


def _as_wide(module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A weight without an adapter is as wide as before: so must be what it is given."""
    x, *rest = given
    return x.to(module.weight.dtype), *rest


def _forward(module: Any, x: Tensor, *, products: Any) -> Tensor:
    base = module.get_base_layer()
    if module.disable_adapters:
        return base(x)
    halves = module.lora_A[_ADAPTER].weight, module.lora_B[_ADAPTER].weight
    out = _Adapted.apply(x, base.weight, *halves, module.scaling[_ADAPTER], products)
    return out if base.bias is None else out + base.bias
