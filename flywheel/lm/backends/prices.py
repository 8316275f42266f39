"""Published prices and names of models, as DSPy carries them: no network, unknown is unknown."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from flywheel.core.errors import LMError
from flywheel.core.settings import LMProfile
from flywheel.lm.failure import Failure
from flywheel.lm.profile import LOCAL, Profile, own_price
from flywheel.lm.records import Usage

_FIELDS = ("input_cost_per_token", "output_cost_per_token")


def published_price(provider: str, model: str, usage: Usage) -> float | None:
    """US dollars for an answer, None for a model whose price is not known."""
    rates = _rates(provider, model)
    if rates is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    read, write, cache_read, cache_write = rates
    cached, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    fresh = max(0, usage.input_tokens - cached - written)
    return fresh * read + cached * cache_read + written * cache_write + usage.output_tokens * write


def meant(profile: Profile) -> str | None:
    """The known model that an unknown one may be a misspelling of.

    None where none is near, and for a known one.
    """
    if profile.provider == LOCAL:
        return None
    known = _names(profile.provider)
    if profile.model in known:
        return None
    near = difflib.get_close_matches(profile.model, known, n=1)
    return f"{profile.provider}/{near[0]}" if near else None


def with_meant(error: LMError, profile: Profile) -> LMError:
    """An error, with the model that may have been meant where there is no such model."""
    if error.failure == Failure.UNKNOWN_MODEL and (near := meant(profile)) is not None:
        error.hint = f"did you mean {near}?"
    return error


_TEXT = frozenset({"chat", "completion", "responses"})
"""Kinds of models that answer text with text."""


@cache
def _names(provider: str) -> tuple[str, ...]:
    return tuple(
        name.removeprefix(f"{provider}/")
        for name, info in _metadata().items()
        if isinstance(info, dict)
        and info.get("litellm_provider") == provider
        and info.get("mode") in _TEXT
    )


def _metadata() -> Mapping[str, Any]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # else the network is asked
    from dspy.clients import model_metadata  # noqa: PLC0415  a second, when names are asked

    # Nothing public lists the names.
    found: Mapping[str, Any] = model_metadata._load()
    return found


def cache_saving(settings: LMProfile | None, model: str, usage: Usage) -> float | None:
    """US dollars that a provider's cache has spared, less what it cost to fill it.

    By the prices of the profile, where it has any, else by those published of `PROVIDER/MODEL`;
    None where there are neither.
    """
    provider, _, name = model.partition("/")
    if provider == LOCAL:
        return 0.0
    prices = []
    for one in (replace(usage, cache_read_tokens=0, cache_write_tokens=0), usage):
        own = own_price(settings, one) if settings is not None else None
        prices.append(published_price(provider, name, one) if own is None else own)
    without, cached = prices
    return None if without is None or cached is None else without - cached


@cache
def _rates(provider: str, model: str) -> tuple[float, float, float, float] | None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # else the network is asked
    from dspy.clients.model_metadata import model_info  # noqa: PLC0415  a second, when prices are asked

    info = model_info(provider, model) or {}
    if not all(isinstance(info.get(name), (int, float)) for name in _FIELDS):
        return None
    read, write = (float(info[name]) for name in _FIELDS)
    cached = info.get("cache_read_input_token_cost")
    written = info.get("cache_creation_input_token_cost")
    return (
        read,
        write,
        read if cached is None else float(cached),
        read if written is None else float(written),
    )
