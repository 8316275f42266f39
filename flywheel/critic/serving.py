"""What the critics share: answers are awaited, servers that die replaced, verdicts handed out.

A critic keeps servers, each of which runs some of its candidates. What is asked of a server and
what an answer means is the critic's own business.
"""

from __future__ import annotations

import select
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from flywheel.core.errors import CriticError
from flywheel.core.records import Candidate, Judged, Trial
from flywheel.critic.lane import LaneServer

MAX_DEATHS = 5
"""Servers that may die in one harvest before the critic is no longer to be trusted."""

Running = TypeVar("Running")
"""What a critic knows of all that one of its servers runs; empty or absent for nothing."""


class ServingCritic(ABC, Generic[Running]):
    """Judges candidates through servers; holds no thread."""

    def __init__(self) -> None:
        self._flying: dict[LaneServer, Running] = {}
        self._ready: list[Judged] = []
        self._deaths = 0

    def collect(self, *, timeout: float | None = None) -> list[Judged]:
        """Judged candidates that are ready; waits up to `timeout` seconds for something.

        Raises `CriticError` when a server dies and cannot be trusted any more.
        """
        self._dispatch()
        waiting = [server for server, running in self._flying.items() if running]
        if not self._ready and waiting:
            readable, _, _ = select.select(waiting, [], [], timeout)
            for server in readable:
                try:
                    self._receive(server)
                except CriticError as error:
                    self._revive(server, error)
            self._dispatch()
        ready, self._ready = self._ready, []
        return ready

    @abstractmethod
    def _dispatch(self) -> None:
        """Give what waits to the servers that can take it."""

    @abstractmethod
    def _receive(self, server: LaneServer) -> None:
        """Take the answers of a server; raises `CriticError` when it died."""

    @abstractmethod
    def _replace(self, server: LaneServer, running: Running, error: CriticError) -> None:
        """Start another server; what this one ran is run again, once."""

    def _revive(self, server: LaneServer, error: CriticError) -> None:
        """Replace a server that died; raises the error when too many have."""
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise error
        running = self._flying.pop(server)
        server.close()
        self._replace(server, running, error)

    def _emit(
        self,
        candidate: Candidate,
        trial: Trial,
        verdict: str,
        reason: str,
        confirmation: Trial | None = None,
        good: Trial | None = None,
    ) -> None:
        self._ready.append(Judged(candidate, trial, confirmation, good, verdict, reason))
