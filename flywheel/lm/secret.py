"""Keys of providers: read from the environment or the keyring when a call needs them, kept nowhere.

Whatever a provider or a library says passes `Secrets.redact` before anybody sees it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping

from flywheel.core.errors import LMError
from flywheel.lm.failure import Failure, failed
from flywheel.lm.profile import LOCAL, Profile

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "mistral": ("MISTRAL_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "together_ai": ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    "xai": ("XAI_API_KEY",),
}
"""Provider -> the variables that its own tools read."""
HIDDEN = "[secret]"
"""What stands in place of a key."""
_LOOKS_LIKE_ONE = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|key)[-_][A-Za-z0-9_-]{12,}|\bAIza[A-Za-z0-9_-]{20,}"
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/=-]{12,}"
)


class Secrets:
    """The keys that were read, to hide them."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is the environment, `os.environ` when None."""
        self._environ = os.environ if environ is None else environ
        self._seen: set[str] = set()

    def key(self, profile: Profile) -> str | None:
        """The key of a profile; None where the provider wants none.

        Raises `LMError` where one is wanted and there is none.
        """
        found = self._find(profile)
        if found is not None:
            # A key that a shell ended with a newline is no key that a header takes.
            found = found.strip()
            self._seen.add(found)
            return found
        settings = profile.settings
        names = self._names(profile)
        # A server of one's own may want no key, unless the profile says where it is.
        if profile.provider == LOCAL or (
            settings.api_base and not names and not settings.api_key_keyring
        ):
            return None
        raise failed(
            f"there is no key for {profile.settings.model}: "
            + (f"{' or '.join(names)} is not set" if names else "no variable is named for it"),
            failure=Failure.AUTHENTICATION,
            hint=_hint(profile, names),
        )

    def redact(self, text: str) -> str:
        """A text without any key."""
        for one in sorted(self._seen, key=len, reverse=True):
            if one:
                text = text.replace(one, HIDDEN)
        return _LOOKS_LIKE_ONE.sub(HIDDEN, text)

    def hidden(self, text: str) -> str:
        """A text without the keys that were read; what only looks like one is left."""
        for one in sorted(filter(None, self._seen), key=len, reverse=True):
            text = text.replace(one, HIDDEN)
        return text

    def redacted(self, error: LMError) -> LMError:
        """An error without any key, in its message, its cause and its hint."""
        return LMError(
            self.redact(error.message),
            failure=error.failure,
            retry_after=error.retry_after,
            cause=None if error.cause is None else self.redact(error.cause),
            hint=None if error.hint is None else self.redact(error.hint),
        )

    def _names(self, profile: Profile) -> tuple[str, ...]:
        if named := profile.settings.api_key_env:
            return (named,)
        # A provider's key goes to the provider, and to no other address unless that is said.
        return () if profile.settings.api_base else VARIABLES.get(profile.provider, ())

    def _find(self, profile: Profile) -> str | None:
        for name in self._names(profile):
            if value := self._environ.get(name, "").strip():
                return value
        entry = profile.settings.api_key_keyring
        return _from_keyring(entry) if entry else None


def _hint(profile: Profile, names: tuple[str, ...]) -> str | None:
    """What to do about a key that is not there."""
    if names:
        return f"export {names[0]}=…, or api_key_env of the profile names another variable"
    if not profile.model:
        return 'write the provider first, such as model = "anthropic/claude-sonnet-4-6"'
    if near := difflib.get_close_matches(profile.provider, VARIABLES, n=1):
        return f"did you mean {near[0]}/{profile.model}?"
    return None


def _from_keyring(entry: str) -> str | None:
    service, _, user = entry.partition("/")
    try:
        import keyring  # noqa: PLC0415  an extra, for those who keep keys there
    except ImportError as error:
        raise failed(
            "the profile names a key in the keyring, and the package keyring is not installed",
            failure=Failure.AUTHENTICATION,
        ) from error
    found = keyring.get_password(service, user)
    return str(found) if found else None
