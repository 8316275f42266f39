"""DSPy's programs on our engine: one set of profiles, limits, budget and ledger for both.

`language_model` gives a `dspy.LM` whose every request goes through an `Engine`. DSPy's own retries
and cache are off, for the engine has its own; what fails is raised as DSPy's own errors, so that
its programs meet what they expect.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from flywheel.core.errors import BudgetError, FlywheelError, LMError
from flywheel.lm.engine import Engine
from flywheel.lm.failure import Failure
from flywheel.lm.line import Purpose
from flywheel.lm.profile import LOCAL, Profile, Role
from flywheel.lm.records import Message, Reply, Request

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # else importing asks the network

import dspy as dspy
from dspy import lm15

_ROLLOUT: ContextVar[int] = ContextVar("rollout", default=0)
"""Which answer to one question is wanted: DSPy keeps that from engines."""
_HEARD = "flywheel_heard"
"""The setting of DSPy's that holds who is told of each call."""

_GRAMMAR = "flywheel_grammar"
"""The setting of DSPy's that holds what answers must obey."""

Heard = Callable[[Reply | FlywheelError], None]
"""Is told of a call: what was answered, or why nothing was; in the thread that asked."""


@contextmanager
def listening(heard: Heard) -> Iterator[None]:
    """Tell of every call that programs make in the block.

    It reaches what DSPy's settings reach: the threads of `dspy.Parallel` and coroutines, too. What
    fails is told whatever the program does with the error.
    """
    with dspy.context(**{_HEARD: heard}):
        yield


@contextmanager
def held_to(grammar: str) -> Iterator[None]:
    """Hold answers in the block to a grammar, where a model is served on this machine."""
    with dspy.context(**{_GRAMMAR: grammar}):
        yield


def language_model(engine: Engine, purpose: Purpose, **defaults: Any) -> dspy.LM:
    """A model for DSPy, played by the purpose's profile, or by that of its role.

    `defaults` are `dspy.LM`'s, such as `temperature` and `max_tokens`. The engine is borrowed:
    it stays open as long as programs run. A copy with another `model` is played by the profile that
    this names as `model_name` does. Raises `UsageError` for a profile that is not there.

    Where the profile of a student that is served here does not say how it is sampled, it answers
    with what it finds likeliest: its score can be had again.
    """
    profile = engine.chain(purpose.role, purpose.profile)[0]
    sampled = profile.settings.temperature is not None or purpose.role is not Role.STUDENT
    if profile.provider == LOCAL and not sampled:
        defaults.setdefault("temperature", 0.0)
    return _Model(
        model_name(profile),
        engine=_Sync(engine, purpose),
        async_engine=_Async(engine, purpose),
        cache=False,
        num_retries=0,
        **defaults,
    )


def model_name(profile: Profile) -> str:
    """What DSPy calls the model of a profile.

    It is part of what DSPy calls the same, so it holds the profile as well as the model.
    """
    return f"{profile.name}/{profile.settings.model}"


class _Model(dspy.LM):  # type: ignore[misc]  # DSPy is not typed
    """A model that tells its engine which of several answers is wanted."""

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """As `dspy.LM`."""
        with self._rollout(kwargs):
            return super().__call__(prompt, messages=messages, **kwargs)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """As `dspy.LM`."""
        with self._rollout(kwargs):
            return await super().acall(prompt, messages=messages, **kwargs)

    def copy(self, **kwargs: Any) -> _Model:
        """As `dspy.LM`; another `model` is played by the profile it names.

        Raises `UsageError` for a profile that is not there.
        """
        if (model := kwargs.get("model")) is not None:
            side: _Side = self.engine
            purpose = replace(side.purpose, profile=str(model).partition("/")[0])
            side.engine.chain(purpose.role, purpose.profile)
            sides = {"engine": _Sync(side.engine, purpose)}
            kwargs = {**kwargs, **sides, "async_engine": _Async(side.engine, purpose)}
        copied: _Model = super().copy(**kwargs)
        return copied

    @contextmanager
    def _rollout(self, kwargs: dict[str, Any]) -> Iterator[None]:
        wanted = {**self.kwargs, **kwargs}.get("rollout_id")
        token = _ROLLOUT.set(wanted if isinstance(wanted, int) else 0)
        try:
            yield
        finally:
            _ROLLOUT.reset(token)


class _Side:
    """What both of DSPy's ways to ask have in common."""

    def __init__(self, engine: Engine | None, purpose: Purpose) -> None:
        self._engine, self.purpose = engine, purpose

    def __deepcopy__(self, memo: object) -> _Side:
        """Itself: copies of a program share one engine."""
        return self

    def dump_state(self) -> dict[str, str]:
        """What a saved program says of it: who plays it is set again where it is loaded."""
        purpose = self.purpose
        return {"role": purpose.role.value, "purpose": purpose.name, "profile": purpose.profile}

    @classmethod
    def load_state(cls, state: dict[str, str]) -> _Side:
        """A side without an engine, which answers nothing."""
        profile = state.get("profile", "")  # not there, where an older program was saved
        return cls(None, Purpose(Role(state["role"]), state["purpose"], profile=profile))

    @property
    def engine(self) -> Engine:
        """What answers. Raises `lm15.NotConfiguredError` for a program that was loaded."""
        if self._engine is None:
            raise lm15.NotConfiguredError("set the language model anew: program.set_lm(…)")
        return self._engine


class _Sync(_Side):
    """DSPy's side of a question, for its threads."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        """One answer. Raises `lm15.LM15Error`."""
        try:
            reply = self.engine.ask(_request(request), self.purpose)
        except FlywheelError as error:
            raise _raised(error) from error
        _tell(reply)
        return _response(reply)


class _Async(_Side):
    """The same for DSPy's coroutines."""

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """One answer. Raises `lm15.LM15Error`."""
        asked = self.engine.submit(_request(request), self.purpose)
        try:
            reply = await asyncio.wrap_future(asked)
        except FlywheelError as error:
            raise _raised(error) from error
        _tell(reply)
        return _response(reply)


def _request(asked: lm15.Request) -> Request:
    """A request of DSPy's as one of ours. Raises `lm15.LM15Error` for what is no text."""
    if asked.tools:
        raise lm15.UnsupportedFeatureError("flywheel asks for text, not for calls of tools")
    speakers = {"user": "user", "assistant": "assistant", "developer": "user"}
    messages = tuple(
        Message(speakers[one.role], _text(one.parts))  # type: ignore[arg-type]  # one of two
        for one in asked.messages
    )
    system = asked.system
    if system is not None and not isinstance(system, str):
        system = _text(system)
    config = asked.config
    form = config.response_format or {}
    return Request(
        messages=messages,
        system=system or "",
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        stop=tuple(config.stop),
        schema=form.get("schema"),
        grammar=dspy.settings.get(_GRAMMAR),
        seed=config.seed,
        sample=_ROLLOUT.get(),
    )


def _text(parts: Any) -> str:
    texts = []
    for part in parts:
        if getattr(part, "type", "") != "text":
            raise lm15.UnsupportedFeatureError(f"flywheel asks with text, not with {part.type}")
        texts.append(part.text)
    return "\n".join(texts)


def _response(reply: Reply) -> lm15.Response:
    said, usage = reply.response, reply.response.usage
    finish = {"stop": "stop", "length": "length", "refused": "content_filter"}
    return lm15.Response(
        id=reply.call_id,
        model=said.model or reply.model,
        message=lm15.Message.assistant(said.text),
        finish_reason=finish.get(said.finish, "stop"),
        usage=lm15.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        ),
    )


def _raised(error: FlywheelError) -> Exception:
    """An error of ours as DSPy's, told before it is raised."""
    _tell(error)
    kind: type[Exception] = lm15.ConfigurationError
    if isinstance(error, LMError):
        kind = _KINDS.get(Failure(error.failure), lm15.ProviderError)
    elif isinstance(error, BudgetError):
        kind = lm15.BillingError
    return kind(error.message)


def _tell(said: Reply | FlywheelError) -> None:
    if (heard := dspy.settings.get(_HEARD)) is not None:
        heard(said)


_KINDS: dict[Failure, type[Exception]] = {
    Failure.INVALID_REQUEST: lm15.InvalidRequestError,
    Failure.UNKNOWN_MODEL: lm15.UnsupportedModelError,
    Failure.AUTHENTICATION: lm15.AuthError,
    Failure.BILLING: lm15.BillingError,
    Failure.RATE: lm15.RateLimitError,
    Failure.OVERLOADED: lm15.ServerError,
    Failure.TIMEOUT: lm15.TimeoutError,
    Failure.CONTEXT_LENGTH: lm15.ContextLengthError,
    Failure.UNAVAILABLE: lm15.ServerError,
}
