"""What is asked of a language model, and what it answers. Text only, of whatever provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from flywheel.core.identity import content_hash

BYTES_A_TOKEN = 3.0
"""Of text in UTF-8, at the least: estimates made with it are rather too high than too low, also of
Chinese, where a character is a token and three bytes."""

IN_BATCHES = "@batch"
"""What the purpose of a call ends with that was sent in a batch, at half the price."""

Finish = Literal["stop", "length", "refused", "other"]
"""Why an answer ends: done, cut at the limit, turned down by the model or a filter."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    """Who speaks."""
    text: str
    """What is said."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model."""

    messages: tuple[Message, ...]
    """The conversation so far, a user's turn last."""
    system: str = ""
    """What holds for all of it; what many requests share stands here, for providers that cache."""
    max_tokens: int | None = None
    """Tokens the answer may have; None: as the profile says."""
    temperature: float | None = None
    """Of sampling; None: as the profile says."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer."""
    schema: Mapping[str, Any] | None = None
    """JSON schema that the answer must obey; None for plain text."""
    grammar: str | None = None
    """What a plain answer must obey, as llama.cpp writes grammars (GBNF).

    Only a server of this machine's takes one: another one is asked without.
    """
    seed: int | None = None
    """Seed of sampling, where a provider takes one."""
    sample: int = 0
    """Number of the answer, where several are wanted to one question."""

    def key(self, server: str) -> str:
        """Identity of the answer that a server gives."""
        said = asdict(self)
        if self.grammar is None:
            del said["grammar"]  # what was asked before there were grammars is the same question
        return content_hash("lm-request", server, said)

    @property
    def estimated_tokens(self) -> int:
        """Tokens it has about, rather too many than too few."""
        schema = json.dumps(self.schema) if self.schema is not None else ""
        texts = (self.system, schema, *(message.text for message in self.messages))
        length = sum(len(text.encode(errors="surrogatepass")) for text in texts)
        return int(length / BYTES_A_TOKEN) + 16 * (1 + len(self.messages))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; None where the provider does not say."""

    input_tokens: int | None = None
    """Tokens read, those from the provider's cache included."""
    output_tokens: int | None = None
    """Tokens written."""
    cache_read_tokens: int | None = None
    """Tokens read that the provider had cached."""
    cache_write_tokens: int | None = None
    """Tokens read that the provider cached for later."""

    @property
    def total(self) -> int:
        """Tokens read and written, as far as they are known."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    text: str
    """The answer."""
    finish: Finish
    """Why it ends."""
    usage: Usage
    """What it took."""
    model: str
    """The model that answered, as the provider calls it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call in the ledger, made or spared."""

    call_id: str
    """Identity of this call; an attempt that is made again has its own."""
    run_id: str
    """The run it was made for."""
    role: str
    """What the model was asked to be."""
    purpose: str
    """What the answer is for, such as `written:insert`; sent in a batch, `written:insert@batch`."""
    profile: str
    """Name of the profile."""
    model: str
    """The model, with its provider."""
    request_key: str
    """Identity of the question."""
    status: str
    """`ok`, `cached`, `shared` (another call under way gave the answer), `cancelled`, `lost` (its
    process was killed while it was under way), or the kind of the failure."""
    input_tokens: int | None
    """Tokens read; None where not known."""
    output_tokens: int | None
    """Tokens written; None where not known."""
    cache_read_tokens: int | None
    """Tokens read that the provider had cached."""
    cache_write_tokens: int | None
    """Tokens read that the provider cached for later."""
    usd: float | None
    """What it cost, in US dollars; None where the price is not known."""
    seconds: float
    """Wall time from sending to the end of the answer."""
    streamed: bool
    """Whether the answer came piece by piece."""
    started_at: datetime
    """With time zone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, with where it came from."""

    response: Response
    """The answer."""
    call_id: str
    """Its row in the ledger."""
    profile: str
    """The profile that answered: a fallback's where one stood in."""
    model: str
    """The model, with its provider."""
