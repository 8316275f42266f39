"""The backend of a profile. Libraries are imported when the first question is put to them."""

from __future__ import annotations

from pathlib import Path

from flywheel.core.errors import UsageError
from flywheel.lm.backends.backend import Backend
from flywheel.lm.backends.served import Processes
from flywheel.lm.profile import LOCAL, Profile
from flywheel.lm.secret import Secrets


def backend_of(profile: Profile, secrets: Secrets, processes: Processes | None = None) -> Backend:
    """What answers for a profile; `processes` are those that local models share.

    Raises `LMError` where a key is missing, `UsageError` where a local model is.
    """
    if profile.provider == LOCAL:
        from flywheel.lm.backends.local import LocalBackend  # noqa: PLC0415  a library is imported when it is asked

        return LocalBackend(profile, processes)
    key = secrets.key(profile)
    if profile.provider == "anthropic":
        from flywheel.lm.backends.anthropic import AnthropicBackend  # noqa: PLC0415  a library is imported when it is asked

        return AnthropicBackend(profile, key=key)
    from flywheel.lm.backends.routed import RoutedBackend  # noqa: PLC0415  a library is imported when it is asked

    return RoutedBackend(profile, key=key)


def local_file(profile: Profile) -> Path:
    """The file of a local model. Raises `UsageError` where there is none, or it is not local."""
    if profile.provider != LOCAL:
        raise UsageError(
            f"{profile.settings.model} of the profile {profile.name} is not served here"
        )
    from flywheel.lm.backends.local import model_file  # noqa: PLC0415  a library is imported when it is asked

    return model_file(profile)


def check_local(profile: Profile) -> str:
    """The file of a local model, as shown to people; starts nothing.

    Raises `UsageError` where it, or its server, is not installed.
    """
    from flywheel.lm.backends.local import LocalBackend  # noqa: PLC0415  a library is imported when it is asked

    return LocalBackend(profile).server.partition("#")[0].removeprefix("local/")
