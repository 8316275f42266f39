"""A base with an adapter to be trained, in torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flywheel.core.errors import TrainingError
from flywheel.lm import read_head
from flywheel.optimize.finetune.base import Base
from flywheel.optimize.finetune.options import TrainOptions
from flywheel.optimize.finetune.pack import ATTENTION, Pack, attend

_SPLITTING = "tokenizer.ggml.pre"
"""Where a GGUF file says how texts are parted before they become tokens."""
_EACH_DIGIT = "smollm"
"""What it says there where each digit stands alone."""
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

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = loaded(base, device)
    model.set_attn_implementation(ATTENTION)
    torch.manual_seed(options.seed)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=0.0,
        target_modules=[one.rpartition(".")[2] for one in options.targets],
        bias="none",
        task_type="CAUSAL_LM",
    )
    with _quiet():
        adapted = get_peft_model(model, config)
    adapted.train()
    return Tuned(adapted, tokenizer, device)


def loaded(base: Base, device: str) -> tuple[Any, Any]:
    """The model and its tokenizer, as transformers have them. Raises `TrainingError`."""
    import torch  # noqa: PLC0415  of the extra `train`
    from transformers import (  # noqa: PLC0415  with it
        AttentionInterface,
        AttentionMaskInterface,
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
    )

    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    # On a processor nothing narrower than float32 is quicker; a GPU's own is bfloat16.
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    where: dict[str, Any] = {"local_files_only": True}
    folder = base.path
    if base.gguf:
        folder, where["gguf_file"] = base.path.parent, base.path.name
    how = {"quantization_config": GgufConfig(dequantize=True)} if base.gguf else {}
    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **how, **where)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise TrainingError(
                f"{base.path} cannot be loaded to be tuned",
                cause=f"{type(error).__name__}: {error}",
            ) from error
    if base.gguf:
        _split_as_served(tokenizer, read_head(base.path).said.get(_SPLITTING))
    return model.to(device), tokenizer


def _split_as_served(tokenizer: Any, splitting: object) -> None:
    """Let a tokenizer part texts as the server does.

    Transformers read the words of a GGUF file, but not how texts are parted before: theirs joins
    spaces otherwise where a number follows, which stood in a third of the questions about code.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence  # noqa: PLC0415  of the extra

    if splitting == _EACH_DIGIT:
        parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(parts)


def _no_mask(*args: object, **more: object) -> None:
    """A pack brings its own."""


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and no advice to authors of libraries: what goes wrong is raised."""
    from transformers.utils import logging as theirs  # noqa: PLC0415  of the extra `train`

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
