"""A base with an adapter to be trained, in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flywheel.optimize.finetune.base import Base
from flywheel.optimize.finetune.load import model_of, quiet, tokenizer_of
from flywheel.optimize.finetune.options import TrainOptions
from flywheel.optimize.finetune.pack import ATTENTION, Pack, attend

_HEAD_ROWS = 1024
"""Places at which the vocabulary is scored at once: each takes a number for each of its words."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model whose adapter alone is trained."""

    model: Any
    """PEFT's model around the base."""
    tokenizer: Any
    """The base's."""
    device: str
    """Where it is: `cuda` or `cpu`."""
    products: str
    """Numbers that products of matrices are computed in: `bfloat16` or `float32`."""

    def weights(self) -> dict[str, Any]:
        """The adapter's weights by PEFT's names, as they are trained."""
        return {
            name.replace(".default.", "."): one
            for name, one in self.model.named_parameters()
            if one.requires_grad
        }

    def loss(self, pack: Pack) -> float:
        """Summed cross-entropy of a pack's wanted tokens, in nats; leaves no gradient."""
        import torch  # noqa: PLC0415  of the extra `train`

        with torch.no_grad():
            return self._scored(self._hidden(pack), pack, None)

    def learn(self, pack: Pack, *, of: int) -> float:
        """The same, and its gradient is added, divided by `of`."""
        hidden = self._hidden(pack)
        # The vocabulary is scored piece by piece, where something is learned alone: what it takes
        # is let go of before the next piece.
        leaf = hidden.detach().requires_grad_()
        loss = self._scored(leaf, pack, of)
        hidden.backward(leaf.grad)
        return loss

    def _hidden(self, pack: Pack) -> Any:
        """[m, width]: what the model makes of the tokens after which one is learned."""
        inner = self.model.get_base_model()
        out = inner.model(
            input_ids=pack.tokens, position_ids=pack.places, use_cache=False, pack=pack
        )
        return out.last_hidden_state[0].index_select(0, pack.where)

    def _scored(self, hidden: Any, pack: Pack, of: int | None) -> float:
        from torch.nn.functional import cross_entropy  # noqa: PLC0415  of the extra `train`

        head, total = self.model.get_base_model().lm_head, 0.0
        pieces = zip(hidden.split(_HEAD_ROWS), pack.wanted.split(_HEAD_ROWS), strict=True)
        for piece, wanted in pieces:
            loss = cross_entropy(head(piece).float(), wanted, reduction="sum")
            total += float(loss.detach())
            if of is not None:
                (loss / of).backward()
        return total


def tuned(base: Base, options: TrainOptions) -> Tuned:
    """A base with an adapter that changes nothing yet; on a GPU where there is one.

    Raises `TrainingError` where it cannot be loaded.
    """
    import torch  # noqa: PLC0415  of the extra `train`
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415  with it
    from transformers import AttentionInterface, AttentionMaskInterface  # noqa: PLC0415  with it

    from flywheel.optimize.finetune.linear import (  # noqa: PLC0415  with it
        compute_as_one,
        products_of,
    )

    device = "cuda" if torch.cuda.is_available() else "cpu"
    products = torch.bfloat16 if device == "cuda" else products_of()
    model, tokenizer = model_of(base, device), tokenizer_of(base)
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    model.set_attn_implementation(ATTENTION)
    torch.manual_seed(options.seed)
    with quiet():
        adapted = get_peft_model(model, LoraConfig(**options.lora))
    if device == "cpu":
        compute_as_one(adapted, products)
    adapted.train()
    return Tuned(adapted, tokenizer, device, str(products).removeprefix("torch."))


def _no_mask(*args: object, **more: object) -> None:
    """A pack brings its own."""
