"""Rows that go through the model at once: end to end, and what they begin with alike only once.

Nothing is padded. The rows of a pack share the tokens that all of them begin with (a program's
instructions stand first in each of its questions); each row attends to those and to its own. The
gradient is that of the rows one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.optimize.finetune.encode import Encoded

ATTENTION = "flywheel-packed"
"""The name of the attention over packs, as transformers know it."""

Tensor = Any
"""A tensor of torch: at a wire of libraries that ship no types."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows laid end to end."""

    tokens: Tensor
    """[1, n]: those that all begin with, then the rest of each row but its last token."""
    places: Tensor
    """[1, n]: of each token in its row."""
    shared: int
    """Tokens that all rows begin with."""
    spans: tuple[tuple[int, int], ...]
    """Where the rest of each row begins, and ends."""
    masks: tuple[Tensor, ...]
    """Of each row, what its tokens may attend to: the shared tokens, and its own so far."""
    where: Tensor
    """[m]: the tokens after which one is learned."""
    wanted: Tensor
    """[m]: those that are to come."""


def packs(rows: Sequence[Encoded], *, tokens: int, device: str) -> Iterator[Pack]:
    """Rows in packs of about so many tokens; those that begin alike stand together."""
    group: list[Encoded] = []
    size = 0
    # In this order whatever the first and the last begin with, those between begin with, too.
    for row in sorted(rows, key=lambda one: one.tokens):
        more = len(row.tokens) - (_alike(group[0], row) if group else 0)
        if group and size + more > tokens:
            yield _packed(group, device)
            group, size, more = [], 0, len(row.tokens)
        size += more
        group.append(row)
    if group:
        yield _packed(group, device)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    pack: Pack,
    scaling: float,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention within each row of a pack; `query` is [1, heads, n, width].

    In the form that transformers ask for; what it does not use is `more`.
    """
    import torch  # noqa: PLC0415  of the extra `train`
    from torch.nn.functional import scaled_dot_product_attention  # noqa: PLC0415  with it

    # Turned by their places, which are float32, these are wider than the values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    groups = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    # Split once: the gradient of a slice is as long as what it was taken of.
    sizes = [pack.shared, *(end - start for start, end in pack.spans)]
    (first, *queries), keys, values = (one.split(sizes, dim=2) for one in (query, key, value))
    found = []
    if pack.shared:
        found.append(
            scaled_dot_product_attention(first, keys[0], values[0], is_causal=True, scale=scaling)
        )
    for asked, own, told, mask in zip(queries, keys[1:], values[1:], pack.masks, strict=True):
        both = torch.cat((keys[0], own), dim=2), torch.cat((values[0], told), dim=2)
        found.append(scaled_dot_product_attention(asked, *both, attn_mask=mask, scale=scaling))
    return torch.cat(found, dim=2).transpose(1, 2).contiguous(), None


def _alike(one: Encoded, other: Encoded) -> int:
    """How many tokens two questions begin with alike; each keeps its last to itself."""
    most = min(one.start, other.start) - 1
    pairs = zip(one.tokens[:most], other.tokens[:most], strict=True)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), most)


def _packed(rows: Sequence[Encoded], device: str) -> Pack:
    import torch  # noqa: PLC0415  of the extra `train`

    shared = _alike(rows[0], rows[-1]) if len(rows) > 1 else 0
    shared = min(shared, *(one.start - 1 for one in rows))
    tokens, places = list(rows[0].tokens[:shared]), list(range(shared))
    where: list[int] = []
    wanted: list[int] = []
    spans, masks = [], []
    for row in rows:
        start, end = len(tokens), len(tokens) + len(row.tokens) - 1 - shared
        spans.append((start, end))
        tokens += row.tokens[shared:-1]
        places += range(shared, len(row.tokens) - 1)
        where += range(start + row.start - 1 - shared, end)
        wanted += row.tokens[row.start :]
        size = end - start
        masks.append(torch.ones(size, shared + size, dtype=torch.bool, device=device).tril(shared))
    return Pack(
        tokens=torch.tensor([tokens], device=device),
        places=torch.tensor([places], device=device),
        shared=shared,
        spans=tuple(spans),
        masks=tuple(masks),
        where=torch.tensor(where, device=device),
        wanted=torch.tensor(wanted, device=device),
    )
