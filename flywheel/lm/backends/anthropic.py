"""Anthropic's Messages, through Anthropic's own library.

What requests share (the system text) is marked for the provider's cache. One attempt a call: the
library's own retries are off, the engine has its own. Many requests at once go as Message Batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2

from flywheel.core.errors import LMError
from flywheel.lm.backends.backend import Batch, BatchItem
from flywheel.lm.backends.prices import published_price, with_meant
from flywheel.lm.failure import Failure, failed
from flywheel.lm.profile import Profile
from flywheel.lm.records import Finish, Request, Response, Usage

ADDRESS = "https://api.anthropic.com"
"""Of the provider's own server."""
_FINISH: dict[str, Finish] = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
           "model_context_window_exceeded": "length", "refusal": "refused"}  # fmt: skip


class AnthropicBackend:
    """One of Anthropic's models, or a server that speaks its protocol."""

    def __init__(self, profile: Profile, *, key: str | None, address: str | None = None) -> None:
        """`address` is that of the server, the provider's own when None."""
        self._profile = profile
        self._client = anthropic.AsyncAnthropic(
            api_key=key or "none",
            # Said, so that no variable of the environment says another: it would get the key.
            base_url=address or profile.settings.api_base or ADDRESS,
            max_retries=0,
            timeout=profile.settings.timeout,
        )

    @property
    def server(self) -> str:
        """Provider, model and address."""
        return f"anthropic/{self._profile.model} at {self._client.base_url}"

    @property
    def slots(self) -> asyncio.Semaphore | None:
        """As many as the profile allows."""
        return None

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        """One attempt at one answer. Raises `LMError`."""
        asked = parameters(request, self._profile)
        with _classifying(self._profile):
            if on_text is None:
                return response(await self._client.messages.create(**asked))
            async with self._client.messages.stream(**asked) as stream:
                async for text in stream.text_stream:
                    on_text(text)
                return response(await stream.get_final_message())

    async def send(self, requests: Mapping[str, Request]) -> Batch:
        """Hand in a Message Batch; `requests` by custom id. Raises `LMError`."""
        asked: list[Any] = []
        for name, request in requests.items():
            whole = parameters(request, self._profile)
            asked.append({"custom_id": name, "params": {**whole, **whole.pop("extra_body", {})}})
        with _classifying(self._profile):
            return _batch(await self._client.messages.batches.create(requests=asked))

    async def look(self, batch_id: str) -> Batch:
        """How far a batch is. Raises `LMError`."""
        with _classifying(self._profile):
            return _batch(await self._client.messages.batches.retrieve(batch_id))

    async def results(self, batch_id: str) -> AsyncGenerator[BatchItem, None]:
        """What became of each request of a batch, line by line. Raises `LMError`."""
        with _classifying(self._profile):
            lines = await self._client.messages.batches.results(batch_id)
            try:
                async for line in lines:
                    yield _item(line)
            finally:
                await lines.close()

    async def recent(self) -> AsyncGenerator[Batch, None]:
        """Every batch of the key's workspace, the newest first. Raises `LMError`."""
        with _classifying(self._profile):
            async for found in self._client.messages.batches.list(limit=100):
                yield _batch(found)

    def price(self, usage: Usage) -> float | None:
        """What Anthropic publishes, None for a model that is not in the list."""
        return published_price("anthropic", self._profile.model, usage)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


def parameters(request: Request, profile: Profile) -> dict[str, Any]:
    """A request as parameters of the Messages API."""
    temperature = request.temperature
    if temperature is None:
        temperature = profile.settings.temperature
    asked: dict[str, Any] = {
        "model": profile.model,
        "max_tokens": request.max_tokens or profile.tokens,
        "messages": [{"role": one.role, "content": one.text} for one in request.messages],
    }
    if request.system:
        cached = {"type": "ephemeral"}
        asked["system"] = [{"type": "text", "text": request.system, "cache_control": cached}]
    if temperature is not None:
        # Not a parameter of the library any more, for newer models take none; its scale ends at 1.
        asked["extra_body"] = {"temperature": min(temperature, 1.0)}
    if request.stop:
        asked["stop_sequences"] = list(request.stop)
    if request.schema is not None:
        # Bounds of lengths and numbers are refused; the library moves them into descriptions.
        form = {"type": "json_schema", "schema": anthropic.transform_schema(dict(request.schema))}
        asked["output_config"] = {"format": form}
    return asked


def _batch(found: Any) -> Batch:
    counts = found.request_counts
    ends = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return Batch(
        found.id,
        size=ends + counts.processing,
        waiting=counts.processing,
        ended=found.processing_status == "ended",
        readable=found.results_url is not None,
        created_at=found.created_at,
    )


def _item(line: Any) -> BatchItem:
    """One line of a batch's results; an answer that is none is an error of this line alone."""
    match line.result.type:
        case "succeeded":
            try:
                return BatchItem(line.custom_id, response(line.result.message))
            except LMError as malformed:
                # It was paid for: another would be paid for again.
                error = failed(str(malformed.cause), failure=Failure.INVALID_REQUEST)
        case "errored":
            said = line.result.error.error
            error = failed(said.message, status=_STREAMED.get(said.type))
        case "canceled":
            error = failed("the batch was called off", failure=Failure.CANCELLED)
        case "expired":
            error = failed("the batch ran out of time", failure=Failure.EXPIRED)
        case other:
            error = failed(f"the result is {other!r}", failure=Failure.ERRORED)
    return BatchItem(line.custom_id, None, error)


@contextmanager
def _classifying(profile: Profile) -> Iterator[None]:
    """Whatever the library raises, as an `LMError`."""
    try:
        yield
    except anthropic.AnthropicError as error:
        raise with_meant(classified(error), profile) from error
    except UnicodeEncodeError as error:
        raise failed(f"it cannot be sent: {error}", failure=Failure.INVALID_REQUEST) from error
    except httpx2.HTTPError as error:
        # What breaks off in the midst of a file comes from beneath the library.
        raise failed(str(error) or type(error).__name__, failure=Failure.UNAVAILABLE) from error
    except (AssertionError, ValueError, TypeError, KeyError, AttributeError) as error:
        # What is no answer of the protocol: the library meets it as one of these.
        raise failed(f"malformed answer: {error}", failure=Failure.UNAVAILABLE) from error


def response(message: Any) -> Response:
    """A message as an answer. Raises `LMError` for one that is no answer, or not a whole one."""
    if not isinstance(getattr(message, "content", None), list) or message.usage is None:
        raise failed("malformed answer: no content", failure=Failure.UNAVAILABLE)
    if message.stop_reason is None:
        raise failed("the answer broke off", failure=Failure.UNAVAILABLE)
    read, used = message.usage.input_tokens, message.usage
    cached, written = used.cache_read_input_tokens, used.cache_creation_input_tokens
    return Response(
        text="".join(block.text for block in message.content if block.type == "text"),
        finish=_FINISH.get(message.stop_reason, "other"),
        # Anthropic counts what its cache gave beside what it read.
        usage=Usage(read + (cached or 0) + (written or 0), used.output_tokens, cached, written),
        model=message.model,
    )


def classified(error: anthropic.AnthropicError) -> LMError:
    """An error of the library by its kind."""
    match error:
        case anthropic.APITimeoutError():
            return failed("no answer in time", failure=Failure.TIMEOUT)
        case anthropic.APIStatusError():
            return failed(
                _said(error), status=error.status_code, retry_after=_retry_after(error.response)
            )
        case anthropic.APIConnectionError():
            return failed(str(error.__cause__ or error), failure=Failure.UNAVAILABLE)
        case anthropic.APIError():
            # An error in the midst of a stream carries its kind in the body alone.
            return failed(_said(error), status=_STREAMED.get(_type(error)))
        case _:
            return failed(str(error), failure=Failure.INVALID_REQUEST)


_STREAMED = {"overloaded_error": 529, "rate_limit_error": 429, "authentication_error": 401,
             "permission_error": 403, "billing_error": 402, "invalid_request_error": 400,
             "request_too_large": 413, "timeout_error": 504, "not_found_error": 404}  # fmt: skip


def _detail(error: anthropic.APIError) -> dict[str, Any]:
    body = error.body
    inner = body.get("error") if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def _said(error: anthropic.APIError) -> str:
    return str(_detail(error).get("message") or error.message)


def _type(error: anthropic.APIError) -> str:
    return str(_detail(error).get("type") or "")


def _retry_after(answer: Any) -> float | None:
    try:
        seconds = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
