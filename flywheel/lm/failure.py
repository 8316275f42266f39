"""Why a model gave no answer. Each library's errors are told apart here, once, and nowhere else."""

from __future__ import annotations

import re
from enum import StrEnum

from flywheel.core.errors import FlywheelError, LMError


class Failure(StrEnum):
    """Kinds of failures."""

    INVALID_REQUEST = "invalid-request"
    """The provider does not take this request, for a parameter of it."""
    UNKNOWN_MODEL = "unknown-model"
    """There is no such model at that address."""
    AUTHENTICATION = "authentication"
    """No key, a wrong one, or one that may not do this."""
    BILLING = "billing"
    """A key without credit."""
    RATE = "rate"
    """Too much at once."""
    OVERLOADED = "overloaded"
    """The provider has too much to do."""
    TIMEOUT = "timeout"
    """No answer in time."""
    CONTEXT_LENGTH = "context-length"
    """The question is too long for the model."""
    CONTENT_FILTER = "content-filter"
    """The provider does not let it through."""
    UNAVAILABLE = "unavailable"
    """The provider cannot be reached, or broke off."""
    ERRORED = "errored"
    """A batch's item that the provider failed at, each time it was sent."""
    EXPIRED = "expired"
    """A batch's item that the provider did not come to within its day."""
    CANCELLED = "cancelled"
    """A batch's item that somebody called off at the provider."""


OUTAGES = frozenset({Failure.OVERLOADED, Failure.TIMEOUT, Failure.UNAVAILABLE})
"""Failures of the other side as a whole; in a row they open the circuit."""
PASSING = OUTAGES | {Failure.RATE}
"""Failures after which the same call may succeed."""
OF_REQUESTS = frozenset({Failure.INVALID_REQUEST, Failure.CONTEXT_LENGTH, Failure.CONTENT_FILTER})
"""Failures that say something of one request, and nothing of the next."""
OF_BATCHES = frozenset({Failure.ERRORED, Failure.EXPIRED, Failure.CANCELLED})
"""Failures of single items of a batch; they say nothing of the others."""
HANDED_ON = PASSING | {Failure.BILLING, Failure.CONTEXT_LENGTH}
"""Failures after which another profile may succeed."""

_TOO_LONG = re.compile(
    r"context (?:length|window|size)|too long|maximum context|exceed_context|too many tokens",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content[ _-]?(?:filter|policy|management)", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"\bmodels?\b.{0,100}\b(?:not found|not exist|not available)"
    r"|(?:invalid|unknown|no such|unsupported) model",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(r"credit balance|insufficient[ _]quota|out of credit", re.IGNORECASE)
_HINTS = {
    Failure.AUTHENTICATION: "set the key's environment variable, or api_key_env of the profile",
    Failure.UNKNOWN_MODEL: "see the model of the profile, and its address where it has one",
    Failure.BILLING: "add credit at the provider, or choose another profile",
    Failure.CONTEXT_LENGTH: "a model that holds more, or context of a local profile",
}


def kind_of(error: FlywheelError) -> Failure | None:
    """The kind of a model's failure, None of any other error."""
    return Failure(error.failure) if isinstance(error, LMError) else None


def failed(
    message: str,
    *,
    failure: Failure | None = None,
    status: int | None = None,
    retry_after: float | None = None,
    hint: str | None = None,
) -> LMError:
    """The error for what a provider said, by kind where it is known, else by HTTP status.

    `hint` is what to do next, where more is known than the kind.
    """
    kind = failure or _of_status(status)
    if kind in (Failure.INVALID_REQUEST, Failure.RATE, Failure.AUTHENTICATION):
        # Providers say these with one status for several things.
        if retry_after is None and _NO_CREDIT.search(message):
            kind = Failure.BILLING
        elif kind is Failure.INVALID_REQUEST and _TOO_LONG.search(message):
            kind = Failure.CONTEXT_LENGTH
        elif kind is Failure.INVALID_REQUEST and (status == 404 or _NO_MODEL.search(message)):
            kind = Failure.UNKNOWN_MODEL
        elif kind is Failure.INVALID_REQUEST and _FILTERED.search(message):
            kind = Failure.CONTENT_FILTER
    first = message.strip().partition("\n")[0][:500] or "it gave no reason"
    return LMError(
        f"the language model gave no answer: {kind.value}",
        failure=kind.value,
        retry_after=retry_after,
        cause=first,
        hint=hint or _HINTS.get(kind),
    )


def _of_status(status: int | None) -> Failure:
    match status:
        case 401 | 403:
            return Failure.AUTHENTICATION
        case 402:
            return Failure.BILLING
        case 408 | 504:
            return Failure.TIMEOUT
        case 413:
            return Failure.CONTEXT_LENGTH
        case 429:
            return Failure.RATE
        case 503 | 529:
            return Failure.OVERLOADED
        case int() if 400 <= status < 500:
            return Failure.INVALID_REQUEST
        case _:
            return Failure.UNAVAILABLE
