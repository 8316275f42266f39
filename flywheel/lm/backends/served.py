"""A model's process on this machine: one GGUF file and its adapters, served on loopback.

All profiles of one engine that name the file share it: each question says which adapter it is for.
The process starts with the first question, is stopped when nothing was asked for a while, and
starts again with the next one. An adapter that it does not have yet makes it start anew, as soon as
nobody asks: those who come meanwhile wait. It dies with the process that asked.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from flywheel.lm.failure import Failure, failed

IDLE_SECONDS = 120.0
"""How long the process is kept when nothing is asked."""
START_SECONDS = 120.0
"""How long it may take to load the model."""

_LOOPBACK = "127.0.0.1"
_KEPT = 8000
"""Bytes that are kept of the beginning, and of the end, of what a process says."""
_ERROR_LINE = re.compile(r"^[\d.]+ E (.+)$", re.MULTILINE)
"""How llama.cpp says what went wrong, behind the time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a question goes."""

    address: str
    """Of the process, another one each time that it starts."""
    adapter: int | None
    """Number of the adapter in it, None for the model as it is."""
    adapters: int
    """How many the process has."""


class Served:
    """A file, and the process that serves it while there are questions."""

    def __init__(
        self,
        file: Path,
        *,
        context: int,
        slots: int,
        threads: int,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`context` is the tokens of a question with its answer, `slots` how many go at once."""
        self.slots = asyncio.Semaphore(slots)
        """What questions wait for: more would wait in the server, and their time would run."""
        self.users = 0
        """Backends that ask it."""
        self._file, self._context, self._places, self._threads = file, context, slots, threads
        self._idle = idle_seconds
        self._adapters: list[Path] = []
        self._loaded: tuple[Path, ...] = ()
        self._address = ""
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()
        self._asking = 0
        self._asked_at = 0.0
        self._watch: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    def add(self, adapter: Path) -> None:
        """Let the next process have this adapter, too."""
        if adapter not in self._adapters:
            self._adapters.append(adapter)

    @asynccontextmanager
    async def asked(self, adapter: Path | None) -> AsyncGenerator[Place, None]:
        """Where to ask now, with this adapter; the process stays as it is within the block.

        Raises `LMError` where it cannot be started.
        """
        async with self._turn:
            if not self.running or (adapter is not None and adapter not in self._loaded):
                await self._free.wait()
                await self._start()
            self._asking += 1
            self._free.clear()
        try:
            number = None if adapter is None else self._loaded.index(adapter)
            yield Place(self._address, number, len(self._loaded))
        finally:
            self._asking -= 1
            self._asked_at = time.monotonic()
            if not self._asking:
                self._free.set()

    async def close(self) -> None:
        """End the process."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        await self._stop()

    async def _start(self) -> None:
        await self._stop()
        adapters = tuple(self._adapters)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flywheel.lm.backends.server"),
            *(str(self._file), str(self._context), str(self._places), str(self._threads)),
            *map(str, adapters),
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
                f"{self._file} cannot be served: {await said}", failure=Failure.INVALID_REQUEST
            )
        _without_proxy()
        self._address, self._loaded = address.rstrip("/"), adapters
        if self._watch is None:
            self._watch = asyncio.create_task(self._stop_when_idle())

    async def _stop(self) -> None:
        process, self._process = self._process, None
        self._address, self._loaded = "", ()
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _stop_when_idle(self) -> None:
        while True:
            await asyncio.sleep(self._idle / 4)
            async with self._turn:
                if not self._asking and time.monotonic() - self._asked_at > self._idle:
                    await self._stop()


class Processes:
    """The processes of one engine, one for each file that is served in one way."""

    def __init__(self) -> None:
        self._served: dict[tuple[Path, int, int, int], Served] = {}

    def take(
        self, file: Path, *, context: int, slots: int, threads: int, idle_seconds: float
    ) -> Served:
        """The process of a file, which is started by the first question."""
        key = (file.resolve(), context, slots, threads)
        if key not in self._served:
            self._served[key] = Served(
                file, context=context, slots=slots, threads=threads, idle_seconds=idle_seconds
            )
        served = self._served[key]
        served.users += 1
        return served

    async def leave(self, served: Served) -> None:
        """Give a process back; the last one who does ends it."""
        served.users -= 1
        if served.users <= 0:
            self._served = {key: one for key, one in self._served.items() if one is not served}
            await served.close()


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


def _without_proxy() -> None:
    """Let no proxy of the environment come between: the server is on this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        listed = os.environ.get(name, "")
        if _LOOPBACK not in listed:
            os.environ[name] = f"{listed},{_LOOPBACK}".strip(",")
