"""Every other provider, through `dspy.LM`: Gemini, OpenAI and what speaks its protocol, and more.

One attempt a call: neither DSPy's retries nor its cache are used, the engine has its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from flywheel.core.errors import LMError
from flywheel.lm.backends.prices import published_price, with_meant
from flywheel.lm.failure import Failure, failed
from flywheel.lm.profile import Profile
from flywheel.lm.records import Finish, Request, Response, Usage

os.environ.setdefault(
    "LITELLM_LOCAL_MODEL_COST_MAP", "true"
)  # else the first call asks the network

import dspy
from dspy import lm15
from dspy.utils import exceptions as said

_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "refused"}
_CACHED_APART = frozenset({"anthropic"})
"""Providers that count what their cache gave beside the tokens read."""


class RoutedBackend:
    """One model, wherever DSPy routes its name."""

    def __init__(
        self,
        profile: Profile,
        *,
        key: str | None,
        model: str | None = None,
        server: str | None = None,
        fields: Mapping[str, Any] | None = None,
        grammars: bool = False,
    ) -> None:
        """`model` is another name for DSPy to route by, `server` another identity.

        `fields` are those of a request that only this server knows, `grammars` says whether it
        takes one.
        """
        # It warns of each answer that is cut; here that is said by `finish`.
        logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)
        self._profile = profile
        self._fields, self._grammars = dict(fields or {}), grammars
        self._model = model or profile.settings.model
        settings = profile.settings
        self._server = server or f"{self._model} at {settings.api_base or 'its provider'}"
        # A server of one's own may want no key; the library insists on one.
        key = key or ("none" if settings.api_base else None)
        reach = {"api_key": key, "api_base": settings.api_base}
        self._lm = dspy.LM(
            self._model,
            num_retries=0,
            cache=False,
            timeout=settings.timeout,
            engine=_engine(profile),
            **{name: value for name, value in reach.items() if value is not None},
        )

    @property
    def server(self) -> str:
        """Provider, model and address."""
        return self._server

    @property
    def slots(self) -> asyncio.Semaphore | None:
        """As many as the profile allows."""
        return None

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        """One attempt at one answer, whole; `on_text` gets it at once. Raises `LMError`."""
        try:
            answer = await self._lm.acall(request=self._asked(request))
        except said.DSPyError as error:
            raise with_meant(classified(error), self._profile) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
            # What is no answer of a protocol, and models that no library here reaches.
            raise failed(
                f"{type(error).__name__}: {error}", failure=Failure.INVALID_REQUEST
            ) from error
        usage = answer.usage
        cached, written = usage.cache_read_tokens, usage.cache_write_tokens
        read = usage.input_tokens
        if read is not None and self._profile.provider in _CACHED_APART:
            read += (cached or 0) + (written or 0)
        text = "".join(map(_text, answer.message.parts))
        if on_text is not None and text:
            on_text(text)
        return Response(
            text=text,
            finish=_FINISH.get(answer.finish_reason, "other"),
            usage=Usage(read, usage.output_tokens, cached, written),
            model=answer.model,
        )

    def price(self, usage: Usage) -> float | None:
        """What is published of the model, None where nothing is."""
        return published_price(self._profile.provider, self._profile.model, usage)

    async def close(self) -> None:
        """Close its connections."""
        await self._lm.aclose()

    def _asked(self, request: Request) -> Any:
        settings = self._profile.settings
        temperature = settings.temperature if request.temperature is None else request.temperature
        form = None
        if request.schema is not None:
            form = {"type": "json_schema", "name": "answer", "schema": dict(request.schema)}
        fields = dict(self._fields)
        if self._grammars and request.grammar is not None:
            fields["grammar"] = request.grammar
        speakers = {"user": lm15.Message.user, "assistant": lm15.Message.assistant}
        return lm15.Request(
            model=self._model,
            messages=tuple(speakers[one.role](one.text) for one in request.messages),
            system=request.system or None,
            config=lm15.Config(
                max_tokens=request.max_tokens or self._profile.tokens,
                temperature=temperature,
                stop=request.stop,
                seed=request.seed,
                response_format=form,
                extensions=fields or None,
            ),
        )


def _engine(profile: Profile) -> str:
    """Which of DSPy's ways to a provider is taken: by itself, unless the environment redirects.

    Where a variable names another address, DSPy asks a library that goes there, with the key. The
    way of its own goes to the provider's.
    """
    prefix = profile.provider.upper()
    redirected = any(os.environ.get(f"{prefix}_{end}") for end in ("API_BASE", "BASE_URL"))
    return "lm15" if redirected and profile.settings.api_base is None else "auto"


def _text(part: Any) -> str:
    """What a part of an answer says; an answer that obeys a schema may come parsed already."""
    match part.type:
        case "text" | "refusal":
            return str(part.text)
        case "data":
            return json.dumps(part.value, ensure_ascii=False)
        case _:
            return ""


def classified(error: said.DSPyError) -> LMError:
    """An error of DSPy by its kind."""
    message, status, later = error.message or str(error), error.status, error.retry_after
    kind = next((kind for type_, kind in _KINDS if isinstance(error, type_)), None)
    if isinstance(error, said.LMServerError) and status in (503, 529):
        kind = Failure.OVERLOADED
    return failed(message, failure=kind, status=status, retry_after=later)


_KINDS = (
    (said.LMAuthError, Failure.AUTHENTICATION),
    (said.LMNotConfiguredError, Failure.AUTHENTICATION),
    (said.LMBillingError, Failure.BILLING),
    (said.LMRateLimitError, Failure.RATE),
    (said.ContextWindowExceededError, Failure.CONTEXT_LENGTH),
    (said.LMUnsupportedModelError, Failure.UNKNOWN_MODEL),
    (said.LMInvalidRequestError, Failure.INVALID_REQUEST),
    (said.LMConfigurationError, Failure.INVALID_REQUEST),
    (said.LMUnsupportedFeatureError, Failure.INVALID_REQUEST),
    (said.LMTimeoutError, Failure.TIMEOUT),
    (said.LMServerError, Failure.UNAVAILABLE),
    (said.LMTransportError, Failure.UNAVAILABLE),
)
