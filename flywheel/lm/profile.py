"""Profiles and roles: which model does which work, where it is reached, and what it may use.

Code asks for a role. A role is played by the profile of its name, by the one that a command line
names in its place, by the profile `default`, or, where nothing is set, by the small local model.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from flywheel.core.errors import UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm.records import Usage

LOCAL = "local"
"""The profile that needs no setting: a small model, served on this machine."""
DEFAULT = "default"
"""The profile of every role that has none of its own."""
SHORT = 512
"""Tokens of an answer of the small model, where nobody says how many.

It seldom ends by itself: what it writes beyond a page repeats, at a minute for 2,000 tokens.
"""


class Role(StrEnum):
    """What a model is asked to do."""

    GENERATOR = "generator"
    """Writes candidates: flawed fixes and bugs."""
    CORRECTOR = "corrector"
    """Mends code, given the error."""
    JUDGE = "judge"
    """Scores an answer."""
    PROPOSER = "proposer"
    """Proposes instructions while a program is optimised."""
    STUDENT = "student"
    """Runs the program that is optimised."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile under its name."""

    name: str
    """As the settings call it."""
    settings: LMProfile
    """What they say of it."""

    @property
    def provider(self) -> str:
        """The first part of the model's name, such as `anthropic`, `openai`, `gemini`, `local`."""
        return self.settings.model.partition("/")[0]

    @property
    def model(self) -> str:
        """The rest of it; of a local model the path of its file, empty for the installed one."""
        return self.settings.model.partition("/")[2]

    @property
    def tokens(self) -> int:
        """Tokens an answer may have where nobody says how many."""
        small = self.provider == LOCAL and not self.model
        said = "max_tokens" in self.settings.model_fields_set
        return SHORT if small and not said else self.settings.max_tokens

    def beside(self, model: str) -> str:
        """Another model of the same provider, as settings name it."""
        return f"{self.provider}/{model.removeprefix(f'{self.provider}/')}"


def own_price(settings: LMProfile, usage: Usage) -> float | None:
    """US dollars by the prices of a profile, None where it names none or the tokens are unknown."""
    if settings.input_price is None or settings.output_price is None:
        return None
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = usage.cache_read_tokens or 0
    cached_price = settings.cached_price
    if cached_price is None:
        cached_price = settings.input_price
    read = max(0, usage.input_tokens - cached) * settings.input_price + cached * cached_price
    return (read + usage.output_tokens * settings.output_price) / 1e6


def profile_named(name: str, profiles: Mapping[str, LMProfile]) -> Profile:
    """The profile of a name. Raises `UsageError` where there is none."""
    if name in profiles:
        return Profile(name, profiles[name])
    if name == LOCAL:
        return Profile(LOCAL, LMProfile(model=LOCAL))
    near = difflib.get_close_matches(name, [*profiles, LOCAL], n=1)
    raise UsageError(
        f"there is no language model profile {name!r}",
        cause=f"there are {', '.join(sorted({*profiles, LOCAL}))}",
        hint=f"did you mean {near[0]}?" if near else f"[lm.{name}] in flywheel.toml makes one",
    )


def profile_of(role: Role, profiles: Mapping[str, LMProfile], chosen: str | None = None) -> Profile:
    """The profile that plays a role; `chosen` is the name that the command line gives.

    Raises `UsageError` for a name that stands for none.
    """
    if chosen:
        return profile_named(chosen, profiles)
    for name in (role.value, DEFAULT):
        if name in profiles:
            return Profile(name, profiles[name])
    return profile_named(LOCAL, profiles)


def fallbacks_of(profile: Profile, profiles: Mapping[str, LMProfile]) -> tuple[Profile, ...]:
    """A profile and those that stand in for it, in order. Raises `UsageError`."""
    chain = [profile]
    for name in profile.settings.fallbacks:
        other = profile_named(name, profiles)
        if other.name not in {one.name for one in chain}:
            chain.append(other)
    return tuple(chain)
