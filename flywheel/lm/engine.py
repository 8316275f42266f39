"""The engine: a question in, an answer out, whatever happens in between.

A call passes, in order: the answers that were paid for already; another call under way with the
same question (single-flight); the budget; a slot; the circuit breaker; the rate limits; one attempt
of the backend. What fails in passing is tried again after a pause with jitter, or after what the
provider asked for; an outage is waited out, and said; what no waiting mends is raised, classified.
Every attempt is a row of the journal the moment it ends.

It runs one event loop in a thread of its own, so that DSPy's threads, a loop of judging and an
asynchronous server can share one set of limits. Nothing here knows what an answer is for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flywheel.core.errors import LMError, StoreError, UsageError
from flywheel.core.events import EventBus, Warned
from flywheel.core.identity import content_hash
from flywheel.core.settings import LMProfile
from flywheel.core.wording import number
from flywheel.lm.backends import Backend, Processes, backend_of, meant
from flywheel.lm.batch import PRICE, Asked, Bulk
from flywheel.lm.breaker import Breaker, Circuit, Permit
from flywheel.lm.budget import Budget, Spending, unpriced
from flywheel.lm.failure import HANDED_ON, OUTAGES, PASSING, Failure, failed
from flywheel.lm.journal import Journal
from flywheel.lm.line import LOST, Line, Purpose
from flywheel.lm.profile import LOCAL, Profile, Role, fallbacks_of, profile_of
from flywheel.lm.records import Call, Reply, Request, Response, Usage
from flywheel.lm.secret import Secrets

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
"""Seconds before a call is made again: the first time, doubled each time, and at the most."""

_CLOSING = 10.0
"""Seconds that a backend may take to close."""

OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What some questions will take at the most."""

    questions: int
    """Those that are to be paid for; the others' answers are kept."""
    kept: int
    """Those whose answer is there."""
    tokens: int
    """Tokens read and written."""
    usd: float | None
    """US dollars, None where the price is not known."""

    def __add__(self, other: Estimate) -> Estimate:
        """Both together."""
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Estimate(
            self.questions + other.questions,
            self.kept + other.kept,
            self.tokens + other.tokens,
            usd,
        )


class Engine:
    """Answers questions by the profiles of the settings."""

    def __init__(
        self,
        profiles: Mapping[str, LMProfile],
        journal: Journal,
        *,
        chosen: Mapping[Role, str] | None = None,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        bus: EventBus | None = None,
        secrets: Secrets | None = None,
        backends: Callable[[Profile, Secrets], Backend] | None = None,
    ) -> None:
        """`chosen` are the profiles that the command line names for roles.

        Nothing is started or imported before the first question. Raises `UsageError` for a profile
        that is not there.
        """
        self._profiles = dict(profiles)
        self._chosen = dict(chosen or {})
        for role in self._chosen:
            self.chain(role)
        self._journal = journal
        self._bus = bus or EventBus()
        self._secrets = secrets or Secrets()
        self._backends = backends or partial(backend_of, processes=Processes())
        self._limits = (max_usd, max_tokens)
        self._lines: dict[str, Line] = {}
        self._flying: dict[tuple[str, bool], asyncio.Future[Reply]] = {}
        self._bulk: dict[str, asyncio.Future[str]] = {}
        self._asks: set[asyncio.Task[Any] | None] = set()
        self._sent: set[asyncio.Task[Any] | None] = set()
        self._ending = False
        self._budget: Budget | None = None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def add(self, name: str, settings: LMProfile) -> None:
        """Let questions name one more profile: a model that was trained just now.

        Raises `UsageError` where the name stands for another one.
        """
        if self._profiles.setdefault(name, settings) != settings:
            raise UsageError(f"there is another language model profile {name!r} already")

    def chain(self, role: Role, profile: str = "") -> tuple[Profile, ...]:
        """The profile that plays a role, and those that stand in for it; `profile` names another.

        Raises `UsageError`.
        """
        plays = profile_of(role, self._profiles, profile or self._chosen.get(role))
        return fallbacks_of(plays, self._profiles)

    def check(self, role: Role, profile: str = "", *, batch: bool = False) -> None:
        """See that a role can be played before anything is asked; reaches no provider.

        `profile` names another than the settings say.

        Raises `LMError` where a key is missing, `UsageError` where a model, or its price, is, and
        where it is to be asked in batches and takes none.
        """

        async def look() -> None:
            chain = self.chain(role, profile)
            for one in chain:
                # At an address of its own names may be any.
                if not one.settings.api_base and (near := meant(one)) is not None:
                    told = f"no model {one.settings.model} is known; did you mean {near}?"
                    self._bus.publish(Warned("lm-model", told))
                line = self._line(one)
                if self._limits[0] is not None and not line.priced:
                    raise unpriced()
            if batch:
                self._line(chain[0]).batches()

        asyncio.run_coroutine_threadsafe(look(), self._running()).result()

    def charge(self, call: Call, spent: Spending) -> None:
        """Count what was bought in another way than by a question: a row, and what it cost."""

        async def count() -> None:
            self._journal.record(call)
            self._the_budget().charge(spent)

        asyncio.run_coroutine_threadsafe(count(), self._running()).result()

    @property
    def spent(self) -> Spending:
        """What this engine's calls have cost so far."""
        return self._budget.spent if self._budget is not None else Spending()

    def server(self, purpose: Purpose) -> str:
        """Identity of what answers for a purpose, as that of kept answers holds it.

        Raises as `check` does.
        """

        async def look() -> str:
            return self._line(self.chain(purpose.role, purpose.profile)[0]).backend.server

        return asyncio.run_coroutine_threadsafe(look(), self._running()).result()

    def player(self, purpose: Purpose) -> str:
        """Identity of what answers and how: a score is that of a server and of its settings.

        Raises as `check` does.
        """
        plays = self.chain(purpose.role, purpose.profile)[0]
        said = plays.settings
        room = said.context if plays.provider == LOCAL else None
        return content_hash("player", self.server(purpose), said.temperature, plays.tokens, room)

    def submit(
        self, request: Request, purpose: Purpose, *, on_text: OnText | None = None
    ) -> concurrent.futures.Future[Reply]:
        """Put a question; cancelling the future gives the call up.

        The future's exceptions are those of `ask`. `on_text` gets the answer piece by piece, in the
        engine's thread.
        """
        asking = self._ask(request, purpose, on_text)
        return asyncio.run_coroutine_threadsafe(asking, self._running())

    def ask(self, request: Request, purpose: Purpose, *, on_text: OnText | None = None) -> Reply:
        """Put a question and wait for the answer.

        Raises `LMError` where there is none, `BudgetError` where none may be bought, `UsageError`
        for a profile that cannot be used.
        """
        future = self.submit(request, purpose, on_text=on_text)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def estimate(
        self, role: Role, asked: Sequence[Request], profile: str = "", *, batch: bool = False
    ) -> Estimate:
        """What questions to a role will take at the most; asks nothing."""

        async def look() -> Estimate:
            line = self._line(self.chain(role, profile)[0])
            keys = {line.key(one): line.completed(one) for one in asked}
            left = [one for key, one in keys.items() if self._journal.answer(key) is None]
            most = [line.most(one) for one in left]
            prices = [line.usd(one) for one in most]
            usd = None if None in prices else sum(one or 0.0 for one in prices)
            if batch and usd is not None:
                usd *= PRICE
            return Estimate(len(left), len(keys) - len(left), sum(one.total for one in most), usd)

        return asyncio.run_coroutine_threadsafe(look(), self._running()).result()

    def batch(self, asked: Sequence[tuple[Request, Purpose]]) -> concurrent.futures.Future[None]:
        """Send questions of one role in batches, at half the price; `submit` of each waits for it.

        A question that the batches give no answer to is not asked in another way: who submits it
        gets the reason. The future ends when all have an end, and raises nothing of theirs; given
        up, it leaves the batches at the provider for the next call with these questions.
        """
        return asyncio.run_coroutine_threadsafe(self._in_bulk(asked), self._running())

    def close(self, *, patience: float = 0.0) -> None:
        """End every process and connection.

        Calls that were sent may end for `patience` seconds, so that what is paid for is kept; those
        that were not are dropped. An interrupt ends the waiting.
        """
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        try:
            if patience > 0:
                asyncio.run_coroutine_threadsafe(self._settled(patience), loop).result()
        finally:
            try:
                asyncio.run_coroutine_threadsafe(self._end(), loop).result()
            finally:
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
                loop.close()
                self._lines = {}
                self._ending = False

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- the loop --------------------------------------------------------------------------------

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="flywheel-lm", daemon=True
                )
                self._thread.start()
            return self._loop

    async def _settled(self, patience: float) -> None:
        """Drop what was not sent, and let end what was."""
        self._ending = True
        for task in self._asks - self._sent:
            if task is not None:
                task.cancel()
        if sent := {task for task in self._sent if task is not None}:
            told = f"waiting up to {patience:.0f} s for {number(len(sent), 'paid answer')}"
            self._bus.publish(Warned("lm-ending", told))
            await asyncio.wait(sent, timeout=patience)

    async def _end(self) -> None:
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for line in self._lines.values():
            # What fails to close, or does not end, must not keep the others open.
            with suppress(Exception):
                async with asyncio.timeout(_CLOSING):
                    await line.backend.close()

    # --- one question ----------------------------------------------------------------------------

    async def _ask(self, request: Request, purpose: Purpose, on_text: OnText | None) -> Reply:
        """The answer of the first profile of the chain that gives one."""
        task = asyncio.current_task()
        self._asks.add(task)
        try:
            return await self._of_chain(request, purpose, on_text)
        finally:
            self._asks.discard(task)

    async def _of_chain(self, request: Request, purpose: Purpose, on_text: OnText | None) -> Reply:
        chain = self.chain(purpose.role, purpose.profile)
        if self._bulk:
            line = self._line(chain[0])
            if (bought := self._bulk.get(line.key(request))) is not None:
                return await self._of_bulk(line, request, purpose, on_text, bought)
        for profile in chain[:-1]:
            try:
                return await self._of_line(self._line(profile), request, purpose, on_text, True)
            except LMError as error:
                if self._ending or Failure(error.failure) not in HANDED_ON:
                    raise
                self._bus.publish(
                    Warned("lm-fallback", f"{profile.name} cannot answer: {error.failure}")
                )
        return await self._of_line(self._line(chain[-1]), request, purpose, on_text, False)

    async def _in_bulk(self, asked: Sequence[tuple[Request, Purpose]]) -> None:
        first = asked[0][1]
        line = self._line(self.chain(first.role, first.profile)[0])
        backend, settings = line.batches(), line.profile.settings
        wanted: dict[str, Asked] = {}
        for request, purpose in asked:
            key, whole = line.key(request), line.completed(request)
            if key not in self._bulk and self._journal.answer(key) is None:
                most, role = line.most(whole), purpose.role.value
                at_most = Spending((line.usd(most) or 0.0) * PRICE, most.total)
                wanted[key] = Asked(whole, role, purpose.name, purpose.run_id, at_most)
        bulk = Bulk(
            wanted,
            backend=backend,
            server=line.backend.server,
            model=line.model,
            journal=self._journal,
            budget=self._the_budget(),
            priced=self._limits[0] is None or line.priced,
            call=line.batched,
            redacted=self._secrets.redacted,
            bus=self._bus,
            longest_look=settings.batch_poll,
            patience=settings.patience,
        )
        self._bulk |= bulk.answers
        await bulk.run()

    async def _of_bulk(
        self,
        line: Line,
        request: Request,
        purpose: Purpose,
        on_text: OnText | None,
        bought: asyncio.Future[str],
    ) -> Reply:
        """The answer to a question that was sent in bulk, when it is there."""
        # Shielded: who waits here may give up without an end to the question itself.
        call_id = await asyncio.shield(bought)
        kept = self._journal.answer(line.key(request))
        if not call_id or kept is None:
            return await self._of_line(line, request, purpose, on_text, False)
        _hand_over(kept, on_text)
        return Reply(kept, call_id, line.profile.name, line.model)

    def _line(self, profile: Profile) -> Line:
        line = self._lines.get(profile.name)
        if line is None:
            line = Line(
                profile,
                self._backends(profile, self._secrets),
                lambda circuit: self._said(profile, circuit),
            )
            self._lines[profile.name] = line
        return line

    def _said(self, profile: Profile, circuit: Circuit) -> None:
        if circuit is Circuit.OPEN:
            message = f"{profile.settings.model} does not answer: waiting for it"
        else:
            message = f"{profile.settings.model} answers again: going on"
        self._bus.publish(Warned("lm-outage", message))

    async def _of_line(
        self, line: Line, request: Request, purpose: Purpose, on_text: OnText | None, spare: bool
    ) -> Reply:
        """The answer of one profile: a kept one, one that is on its way, or a new one.

        `spare` says that another profile stands by, so that an outage is not waited out.
        """
        request = line.completed(request)
        key = line.key(request)
        # Of two with the same question, one that leaves an outage to another profile and one that
        # waits it out share no fate, and so no call.
        flight = key, spare
        while (flying := self._flying.get(flight)) is not None:
            try:
                # Shielded: who waits beside may give up without ending the call of the other.
                reply = await asyncio.shield(flying)
            except asyncio.CancelledError:
                if flying.cancelled() and not _given_up():
                    continue  # the other gave up, and this one did not
                raise
            call = line.call(purpose, key, "shared", reply.response.usage, 0.0)
            self._journal.record(call)
            _hand_over(reply.response, on_text)
            return replace(reply, call_id=call.call_id)
        kept = self._journal.answer(key)
        if kept is not None:
            call = line.call(purpose, key, "cached", kept.usage, 0.0)
            self._journal.record(call)
            _hand_over(kept, on_text)
            return Reply(kept, call.call_id, line.profile.name, line.model)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._flying[flight] = future
        try:
            asking = _Asking(line, request, purpose, key, on_text, spare)
            reply = await self._bought(asking)
        except BaseException as error:
            del self._flying[flight]
            if isinstance(error, LMError):
                future.set_exception(error)
                future.exception()  # nobody may be waiting
            else:
                future.cancel()
            raise
        del self._flying[flight]
        future.set_result(reply)
        return reply

    async def _bought(self, asking: _Asking) -> Reply:
        """An answer that is paid for: attempts, until one gives it or none can."""
        line, settings = asking.line, asking.line.profile.settings
        began, tries, delays = time.monotonic(), 0, 0
        async with line.slots:
            while True:
                if asking.spare and not line.breaker.ready:
                    raise failed("another profile stands in", failure=Failure.UNAVAILABLE)
                permit = await line.breaker.admit()
                outcome = await self._attempt(asking, permit)
                if outcome.response is not None:
                    call_id = outcome.call.call_id
                    return Reply(outcome.response, call_id, line.profile.name, line.model)
                error = outcome.error or failed("no answer")
                kind = Failure(error.failure)
                # A provider that says "later" is taken at its word, and what a probe meets is the
                # outage's doing: neither is the fault of this question.
                delays += kind is Failure.RATE
                tries += kind is not Failure.RATE and not permit.probe
                pause = max(error.retry_after or 0.0, _pause(delays or tries))
                out_of_patience = time.monotonic() - began + pause > settings.patience
                stands_in = asking.spare and (kind is Failure.RATE or permit.probe)
                if (
                    self._ending
                    or kind not in PASSING
                    or outcome.begun
                    or tries > settings.retries
                    or out_of_patience
                    or stands_in
                ):
                    raise error
                if kind is Failure.RATE:
                    # It holds for everything that is asked there, not for this question alone.
                    line.requests.hold(pause)
                elif line.breaker.circuit is Circuit.CLOSED:
                    await asyncio.sleep(pause)

    async def _attempt(self, asking: _Asking, permit: Permit) -> _Outcome:
        """One attempt, reserved before, settled and journalled after, whatever becomes of it."""
        line, request = asking.line, asking.request
        most = line.most(request)
        reserved = Spending(line.usd(most) or 0.0, most.total)
        budget = self._the_budget()
        try:
            await budget.reserve(reserved, priced=self._limits[0] is None or line.priced)
        except BaseException:
            line.breaker.abandoned(permit)
            raise
        heard = _Heard(asking.on_text)
        response: Response | None = None
        error: LMError | None = None
        started, clock, sent, status = datetime.now(UTC), time.monotonic(), False, "cancelled"
        call_id, streamed = "", asking.on_text is not None
        task = asyncio.current_task()
        try:
            await line.requests.take()
            await line.tokens.take(most.total)
            started, clock = datetime.now(UTC), time.monotonic()
            lost = line.call(
                asking.purpose,
                asking.key,
                LOST,
                Usage(),
                0.0,
                started_at=started,
                streamed=streamed,
            )
            if self._ending:
                # Put by what goes on while the engine ends: nobody would wait for its answer.
                raise asyncio.CancelledError
            self._journal.sent(lost)
            call_id, sent = lost.call_id, True
            self._sent.add(task)
            async with asyncio.timeout(line.profile.settings.timeout):
                response = await line.backend.complete(request, on_text=heard if streamed else None)
            # A model may say what a proxy put before it; no key is ever kept.
            response = replace(response, text=self._secrets.hidden(response.text))
            status = "ok"
        except TimeoutError:
            error = failed("no answer in time", failure=Failure.TIMEOUT)
        except LMError as raised:
            error = self._secrets.redacted(raised)
        except StoreError:
            raise  # it was not noted, so it was not sent
        except Exception as raised:  # noqa: BLE001  a fault of a backend is told, and ends nothing else
            said = f"{type(raised).__name__}: {raised}"
            error = self._secrets.redacted(failed(said, failure=Failure.INVALID_REQUEST))
        finally:
            self._sent.discard(task)
            status = error.failure if error is not None else status
            _tell(line.breaker, permit, status)
            usage = response.usage if response is not None else Usage()
            spent = line.spent(usage, reserved, status) if sent else Spending()
            budget.settle(reserved, spent)
            line.tokens.correct(spent.tokens - most.total)
            call = line.call(
                asking.purpose,
                asking.key,
                status,
                usage,
                time.monotonic() - clock,
                started_at=started,
                streamed=streamed,
            )
            if sent:
                call = replace(call, call_id=call_id)
                keep = response is not None and response.finish in ("stop", "length")
                self._journal.record(call, response if keep else None)
        return _Outcome(response, error, call, heard.anything)

    def _the_budget(self) -> Budget:
        if self._budget is None:
            usd, tokens = self._limits
            self._budget = Budget(max_usd=usd, max_tokens=tokens, on_warning=self._warn)
        return self._budget

    def _warn(self, share: float, spent: Spending) -> None:
        self._bus.publish(
            Warned(
                "lm-budget",
                f"{share:.0%} of the budget is spent: ${spent.usd:.4f}, {spent.tokens:,} tokens",
            )
        )


def _given_up() -> bool:
    """Whether the task that runs is itself to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question to one profile."""

    line: Line
    """The profile at work."""
    request: Request
    """The question, complete."""
    purpose: Purpose
    """Who asks, and what for."""
    key: str
    """Identity of the answer."""
    on_text: OnText | None
    """Gets the answer piece by piece, None where it is wanted whole."""
    spare: bool
    """Whether another profile stands by, so that an outage is not waited out."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one attempt: an answer, or why there is none."""

    response: Response | None
    """The answer."""
    error: LMError | None
    """Why there is none, without any key."""
    call: Call
    """Its row."""
    begun: bool
    """Whether some of the answer was passed on: another would begin in its midst."""


def _tell(breaker: Breaker, permit: Permit, status: str) -> None:
    """Give a permit back with what its attempt says of the other side."""
    if status == "cancelled":
        breaker.abandoned(permit)
    elif status in OUTAGES:
        breaker.failed(permit)
    else:
        breaker.succeeded(permit)


class _Heard:
    """Passes an answer on, piece by piece, and knows whether anything was passed on."""

    def __init__(self, on_text: OnText | None) -> None:
        self.anything = False
        self._on_text = on_text

    def __call__(self, text: str) -> None:
        if self._on_text is not None and text:
            self.anything = True
            self._on_text(text)


def _hand_over(response: Response, on_text: OnText | None) -> None:
    if on_text is not None and response.text:
        on_text(response.text)


def _pause(tries: int) -> float:
    """Seconds before the next attempt, with full jitter so that many do not come at once."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** max(0, tries - 1))
    return random.uniform(0.1, 1.0) * longest
