"""Published prices and names of models, as DSPy carries them: no network, unknown is unknown.

DSPy's table and the module that reads it need nothing of the rest of DSPy, which takes a second
to import: it is loaded by itself, where DSPy is not there already.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from flywheel.core.errors import LMError
from flywheel.core.settings import LMProfile
from flywheel.lm.failure import Failure
from flywheel.lm.profile import LOCAL, Profile, own_price
from flywheel.lm.records import Usage

_TABLE = "dspy.clients.model_metadata"
_TUNED = "ft:"
"""What the name of a model begins with that OpenAI tuned."""
_FIELDS = ("input_cost_per_token", "output_cost_per_token")


def price_of(profile: Profile, usage: Usage) -> float | None:
    """US dollars for an answer by a profile's own prices, else as published; None for neither."""
    own = own_price(profile.settings, usage)
    return published_price(profile.provider, profile.model, usage) if own is None else own


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
    # Nothing public lists the names.
    found: Mapping[str, Any] = _table()._load()
    return found


@cache
def _table() -> Any:  # a module that ships no types
    """DSPy's module of published prices, without DSPy."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # else the network is asked
    dspy = importlib.util.find_spec("dspy")
    if _TABLE in sys.modules or dspy is None or dspy.origin is None:
        return importlib.import_module(_TABLE)
    file = Path(dspy.origin).parent.joinpath(*_TABLE.split(".")[1:], "__init__.py")
    alone = importlib.util.spec_from_file_location("dspy_model_metadata", file)
    if alone is None or alone.loader is None or not file.is_file():
        return importlib.import_module(_TABLE)
    module = importlib.util.module_from_spec(alone)
    sys.modules[alone.name] = module  # it finds its data by its own name
    alone.loader.exec_module(module)
    return module


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
    if model.startswith(_TUNED):
        # Published of a base, whoever had it tuned: of ft:BASE:WHOSE:AS:ID it is ft:BASE.
        model = ":".join(model.split(":")[:2])
    info = _table().model_info(provider, model) or {}
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
