"""An adapted weight, computed as one: what it changes is added to it, not to what comes of it.

PEFT adds the adapter's result to the weight's, for each token. On a processor that is bound by
memory and took a quarter of a training, though it is a thirtieth of the arithmetic. Here the change
is worked into the weight once a pass. Results and gradients are those of PEFT.

Imported late: it needs torch.
"""

from __future__ import annotations

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
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        """`x` is [..., in], `weight` [out, in], `a` [rank, in], `b` [out, rank]."""
        whole = torch.addmm(weight, b, a, alpha=scale)
        ctx.save_for_backward(x, whole, a, b)
        ctx.scale = scale
        return torch.nn.functional.linear(x, whole)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of what `forward` takes, None for what is not trained."""
        x, whole, a, b = ctx.saved_tensors
        of_x = gradient @ whole if ctx.needs_input_grad[0] else None
        x, gradient = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_a = ((gradient @ b).T @ x).mul_(ctx.scale)
        of_b = (gradient.T @ (x @ a.T)).mul_(ctx.scale)
        return of_x, None, of_a, of_b, None


def compute_as_one(model: Any) -> None:
    """Let each adapted weight of a model of PEFT's be computed as one."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = MethodType(_forward, module)


def _forward(module: Any, x: Tensor) -> Tensor:
    base = module.get_base_layer()
    if module.disable_adapters:
        return base(x)
    halves = module.lora_A[_ADAPTER].weight, module.lora_B[_ADAPTER].weight
    out = _Adapted.apply(x, base.weight, *halves, module.scaling[_ADAPTER])
    return out if base.bias is None else out + base.bias
