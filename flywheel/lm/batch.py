"""Bulk: many questions as batches of the provider, at half the price, each of them paid once.

What is about to be sent is written down first, then sent, then the batch's name is written down,
then each result with its answer and its call. Whatever ends the process, the next one goes on from
what is written: a batch with a name is waited for, and one without is looked for among the
provider's newest, by the names of its items, before anything is sent again. Items that fail in
passing, expire or are called off are sent again in a further batch, twice at the most.

One lock of the workspace lets one process at a time look and send; waiting and reading they may do
at once, for a result is written down once. It knows one profile and belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from flywheel.core.errors import BudgetError, FlywheelError, LMError
from flywheel.core.events import EventBus, PhaseEnded, PhaseProgressed, PhaseStarted, Warned
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked_if_free
from flywheel.lm.backends import Batch, BatchBackend, BatchItem
from flywheel.lm.budget import Budget, Spending
from flywheel.lm.failure import OF_BATCHES, OUTAGES, PASSING, Failure, failed
from flywheel.lm.journal import Journal, put
from flywheel.lm.records import Call, Request, Usage

PHASE = "batch"
"""Name of the phase that its events tell of."""
PRICE = 0.5
"""What a batch costs, as a share of the same questions one by one."""
TRIES = 3
"""How often one question is sent at the most."""
MOST_REQUESTS, MOST_BYTES = 10_000, 100_000_000
"""Requests of one batch, and their size: a tenth and two fifths of what Anthropic takes."""
FIRST_LOOK = 1.0
"""Seconds before a batch is looked at for the first time."""
SETTLING = 10.0
"""Seconds that what was sent just before may take to show at the provider."""
_CLOCKS = timedelta(days=1)
"""How far the provider's clock may be from this machine's, time zones included."""
_KEPT = timedelta(days=29)
"""How long Anthropic keeps results."""
_ENVELOPE = 1_000
"""Bytes of a request that are not of its text."""
_SENT = "sent"
"""State of an item whose result is not known; later it is `ok` or the kind of the failure."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, as it is to be paid for."""

    request: Request
    """The question, complete."""
    role: str
    """What the model is asked to be."""
    purpose: str
    """What the answer is for."""
    run_id: str
    """The run it is made for."""
    most: Spending
    """What it can cost at the most, at a batch's price."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One question in a batch, as it was written down."""

    request_key: str
    role: str
    purpose: str
    run_id: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch that was written down."""

    intent: str
    """Its name here, which the names of its items begin with."""
    made_at: datetime
    """When it was written down."""
    batch_id: str | None
    """Its name at the provider, None while nobody knows whether it came there."""
    items: Mapping[str, _Item]
    """Items whose result is not known yet, by custom id."""
    size: int
    """All its items."""


class Bulk:
    """Questions of one profile that are sent in bulk."""

    def __init__(
        self,
        asked: Mapping[str, Asked],
        *,
        backend: BatchBackend,
        server: str,
        model: str,
        journal: Journal,
        budget: Budget,
        priced: bool,
        call: Callable[[Asked, str, str, Usage], Call],
        redacted: Callable[[LMError], LMError],
        bus: EventBus,
        longest_look: float,
        patience: float,
    ) -> None:
        """`asked` are questions by their key; `call` makes a row of one, its key, status and usage.

        `longest_look` are seconds between two looks at a batch, `patience` those that an outage is
        waited out for.
        """
        loop = asyncio.get_running_loop()
        self.answers: dict[str, asyncio.Future[str]] = {key: loop.create_future() for key in asked}
        """By key the call that bought the answer, when the journal has it, or why there is none."""
        self._asked = asked
        self._left = dict.fromkeys(asked)
        self._tries: Counter[str] = Counter()
        self._read_already: set[str] = set()
        self._backend, self._server, self._model = backend, server, model
        self._journal = journal
        self._budget, self._priced = budget, priced
        self._reserved: dict[str, Spending] = {}
        self._call, self._redacted = call, redacted
        self._bus = bus
        self._longest = longest_look
        self._patience = patience
        self._going: list[_Sent] = []
        self._began = self._took_at = time.monotonic()
        self._out = False

    async def run(self) -> None:
        """See that each question has its answer or its failure; ends when all have.

        What concerns all of them is raised by every answer that is left, not here.
        """
        try:
            while self._left:
                async with self._alone():
                    await self._find_lost()
                    self._take_kept()
                    under_way = self._under_way()
                    self._say(under_way)
                    sent = await self._send_rest(under_way)
                self._going = [*under_way, *([sent] if sent is not None else [])]
                while self._going:
                    await self._finish(self._going[0])
                    del self._going[0]
            self._bus.publish(PhaseEnded(PHASE, time.monotonic() - self._began))
        except asyncio.CancelledError:
            for future in self.answers.values():
                future.cancel()
            raise
        except LMError as error:
            self._fail(self._redacted(error))
        except FlywheelError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  a fault is told to all that wait, and ends nothing else
            said = f"{type(error).__name__}: {error}"
            self._fail(self._redacted(failed(said, failure=Failure.INVALID_REQUEST)))
        finally:
            self._part()

    def _say(self, under_way: list[_Sent]) -> None:
        for sent in under_way:
            said = f"under way as {sent.batch_id}, questions: {len(sent.items)}"
            self._bus.publish(PhaseStarted(PHASE, len(sent.items), said))

    # --- what is written down --------------------------------------------------------------------

    def _batches(self) -> list[_Sent]:
        """Batches of this server with items whose result is not known."""
        found: dict[str, tuple[datetime, str | None, dict[str, _Item], int]] = {}
        with self._journal.transaction() as connection:
            rows = connection.execute(
                """
                SELECT b.intent, b.made_at, b.batch_id,
                       (SELECT count(*) FROM batch_items WHERE intent = b.intent),
                       i.custom_id, i.request_key, i.role, i.purpose, i.run_id
                FROM batches b JOIN batch_items i ON i.intent = b.intent
                WHERE b.server = ? AND i.state = ? ORDER BY b.made_at, b.intent
                """,
                [self._server, _SENT],
            ).fetchall()
        for intent, made_at, batch_id, size, custom_id, *item in rows:
            made = datetime.fromisoformat(made_at)
            _, _, items, _ = found.setdefault(intent, (made, batch_id, {}, size))
            items[custom_id] = _Item(*item)
        return [_Sent(intent, *rest) for intent, rest in found.items()]

    def _under_way(self) -> list[_Sent]:
        """Those that hold questions which are wanted here."""
        return [
            sent
            for sent in self._batches()
            if any(item.request_key in self._left for item in sent.items.values())
        ]

    def _take_kept(self) -> None:
        """Questions whose answer has come meanwhile, by another process."""
        for key in [key for key in self._left if self._journal.answer(key) is not None]:
            self._settle(key, "")

    def _write_down(self, sent: _Sent) -> None:
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT INTO batches VALUES (?, ?, ?, NULL)",
                [sent.intent, self._server, sent.made_at.isoformat()],
            )
            connection.executemany(
                "INSERT INTO batch_items VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    [name, sent.intent, one.request_key, one.role, one.purpose, one.run_id, _SENT]
                    for name, one in sent.items.items()
                ],
            )

    def _name(self, sent: _Sent, batch_id: str) -> _Sent:
        with self._journal.transaction() as connection:
            connection.execute(
                "UPDATE batches SET batch_id = ? WHERE intent = ?", [batch_id, sent.intent]
            )
        return replace(sent, batch_id=batch_id)

    def _strike_out(self, sent: _Sent) -> None:
        """Forget what never came to the provider."""
        for name in sent.items:
            if (reserved := self._reserved.pop(name, None)) is not None:
                self._budget.settle(reserved, Spending())
        with self._journal.transaction() as connection:
            connection.execute("DELETE FROM batch_items WHERE intent = ?", [sent.intent])
            connection.execute("DELETE FROM batches WHERE intent = ?", [sent.intent])

    # --- sending ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """While no other process of this workspace looks for batches or sends any."""
        path = self._journal.path.with_suffix(".batch.lock")
        while True:
            with locked_if_free(path) as held:
                if held:
                    yield
                    return
            await asyncio.sleep(min(self._longest, FIRST_LOOK))

    async def _send_rest(self, under_way: list[_Sent]) -> _Sent | None:
        """Send what is not under way; what may not be bought is told to who waits for it."""
        going = {one.request_key for sent in under_way for one in sent.items.values()}
        fresh = [key for key in self._left if key not in going]
        try:
            return await self._send(fresh) if fresh else None
        except BudgetError as error:
            for key in fresh:
                self._settle(key, error)
            return None

    async def _send(self, keys: list[str]) -> _Sent | None:
        """Send as many of these questions as one batch and the budget hold.

        None where the provider could not take them now, or may have. Raises `BudgetError` where
        not even one may be bought.
        """
        intent, size = uuid.uuid4().hex, 0
        items: dict[str, _Item] = {}
        for key in keys:
            one = self._asked[key]
            size += _ENVELOPE + len(json.dumps(asdict(one.request)).encode())
            if items and (
                len(items) >= MOST_REQUESTS or size > MOST_BYTES or not self._budget.fits(one.most)
            ):
                break
            await self._budget.reserve(one.most, priced=self._priced)
            name = f"{intent}-{key}"
            self._reserved[name] = one.most
            items[name] = _Item(key, one.role, one.purpose, one.run_id)
        sent = _Sent(intent, datetime.now(UTC), None, items, len(items))
        self._write_down(sent)
        requests = {name: self._asked[one.request_key].request for name, one in items.items()}
        try:
            taken = await self._backend.send(requests)
        except LMError as error:
            if Failure(error.failure) not in OUTAGES:
                self._strike_out(sent)  # it says that it did not take them
            if Failure(error.failure) not in PASSING:
                raise
            wait = max(self._first, error.retry_after or 0.0)
            if time.monotonic() - self._took_at + wait > self._patience:
                raise
            self._is_out()
            await asyncio.sleep(wait)
            return None
        sent = self._name(sent, taken.batch_id)
        self._answers_again()
        self._took_at = time.monotonic()
        said = f"sent as {taken.batch_id} at half the price, questions: {sent.size}"
        self._bus.publish(PhaseStarted(PHASE, sent.size, said))
        return sent

    async def _find_lost(self) -> None:
        """Learn of each batch without a name whether it came to the provider."""
        for sent in self._under_way():
            if sent.batch_id is not None:
                continue
            found = await self._search(sent)
            if found is None:
                self._strike_out(sent)
            else:
                self._name(sent, found)

    async def _search(self, sent: _Sent) -> str | None:
        """The name of a batch at the provider, None where it never came there.

        Whose batch it is only its results tell: others of the same size are waited for.
        """
        looked = {one.batch_id for one in self._batches() if one.batch_id is not None}
        pause, began = self._first, time.monotonic()
        while True:
            going = 0
            for batch in await self._patiently(lambda: self._alike(sent)):
                if batch.batch_id in looked:
                    continue
                if not batch.ended:
                    going += 1
                    continue
                looked.add(batch.batch_id)
                first = partial(self._first_of, batch.batch_id)
                if batch.readable and (await self._patiently(first)).startswith(sent.intent):
                    return batch.batch_id
            if not going and time.monotonic() > began + SETTLING:
                return None
            detail = "looking for a batch that may have been sent"
            if going:
                detail += f": {going} of its size are under way"
            self._bus.publish(PhaseProgressed(PHASE, 0, detail))
            await asyncio.sleep(pause)
            pause = self._longer(pause)

    async def _alike(self, sent: _Sent) -> list[Batch]:
        """Batches at the provider that are as large and not older."""
        found = []
        async with aclosing(self._backend.recent()) as recent:
            async for batch in recent:
                if batch.created_at < sent.made_at - _CLOCKS:
                    break
                if batch.size == sent.size:
                    found.append(batch)
        return found

    async def _first_of(self, batch_id: str) -> str:
        """The name of one item of a batch that ended."""
        async with aclosing(self._backend.results(batch_id)) as results:
            async for item in results:
                return item.custom_id
        return ""

    # --- waiting and reading ---------------------------------------------------------------------

    async def _finish(self, sent: _Sent) -> None:
        """Wait for a batch and take what became of its items."""
        batch = await self._ended(sent)
        if batch is not None and batch.readable:
            await self._patiently(lambda: self._read(sent, batch.batch_id))
            return
        for name in sent.items:
            gone = failed("the provider keeps its result no more", failure=Failure.EXPIRED)
            self._take(sent, BatchItem(name, None, gone))

    async def _ended(self, sent: _Sent) -> Batch | None:
        """A batch when all its items have an end; None for one that is too old to be kept."""
        name, pause = sent.batch_id or "", self._first
        while True:
            try:
                batch = await self._patiently(lambda: self._backend.look(name))
            except LMError as error:
                if Failure(error.failure) not in (Failure.UNKNOWN_MODEL, Failure.INVALID_REQUEST):
                    raise
                if datetime.now(UTC) > sent.made_at + _KEPT:
                    return None
                raise LMError(
                    "the language model gave no answer: a batch is not there",
                    failure=Failure.INVALID_REQUEST.value,
                    cause=f"{name}, sent at {sent.made_at:%Y-%m-%d %H:%M}: {error.cause}",
                    hint="use the key that it was sent with, or leave --batch out",
                ) from error
            done = batch.size - batch.waiting
            self._bus.publish(
                PhaseProgressed(PHASE, done, f"{done} of {batch.size} answered, {name}")
            )
            if batch.ended:
                return batch
            await asyncio.sleep(pause)
            pause = self._longer(pause)

    async def _read(self, sent: _Sent, batch_id: str) -> None:
        """Take the results of a batch, again from the first where they broke off."""
        missing = set(sent.items)
        async with aclosing(self._backend.results(batch_id)) as results:
            async for item in results:
                if item.custom_id in missing:
                    missing.discard(item.custom_id)
                    # A stream that breaks off is read again from its first line.
                    if item.custom_id not in self._read_already:
                        self._read_already.add(item.custom_id)
                        self._take(sent, item)
        if missing:
            raise failed(f"{len(missing)} results are missing", failure=Failure.UNAVAILABLE)

    def _take(self, sent: _Sent, result: BatchItem) -> None:
        """Write down what became of an item, once, and tell who waits for it."""
        item, response, error = sent.items[result.custom_id], result.response, result.error
        status = "ok" if response is not None else (error or failed("no answer")).failure
        usage = response.usage if response is not None else Usage()
        key = item.request_key
        # What an earlier run has sent is its call, though this one reads the answer.
        row = Asked(Request(()), item.role, item.purpose, item.run_id, Spending())
        call = replace(
            self._call(row, key, status, usage),
            call_id=content_hash("batch-call", result.custom_id),
            started_at=sent.made_at,
        )
        with self._journal.transaction() as connection, closing(connection.cursor()) as cursor:
            cursor.execute(
                "UPDATE batch_items SET state = ? WHERE custom_id = ? AND state = ?",
                [status, result.custom_id, _SENT],
            )
            if cursor.rowcount:
                put(connection, call, response)
        if (reserved := self._reserved.pop(result.custom_id, None)) is not None:
            spent = Spending()
            if response is not None:
                usd = reserved.usd if call.usd is None else call.usd
                spent = Spending(usd, usage.total or reserved.tokens)
            self._budget.settle(reserved, spent)
        if key not in self._left:
            return
        if response is not None:
            self._settle(key, call.call_id)
            return
        assert error is not None
        self._tries[key] += 1
        kind = Failure(error.failure)
        if kind in PASSING and self._tries[key] >= TRIES:
            error = failed(f"{kind.value}: {error.cause}", failure=Failure.ERRORED)
        elif kind in PASSING | OF_BATCHES and self._tries[key] < TRIES:
            return  # it is sent again
        self._settle(key, self._redacted(error))

    def _settle(self, key: str, outcome: str | FlywheelError) -> None:
        self._left.pop(key, None)
        future = self.answers[key]
        if future.done():
            return
        if isinstance(outcome, str):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
            future.exception()  # nobody may be waiting

    def _fail(self, error: FlywheelError) -> None:
        for key in list(self._left):
            self._settle(key, error)

    def _part(self) -> None:
        """Count what may be charged still as spent, and say what goes on without this process."""
        for reserved in self._reserved.values():
            self._budget.settle(reserved, reserved)
        if names := [sent.batch_id for sent in self._going if sent.batch_id is not None]:
            self._bus.publish(
                Warned(
                    "lm-batch",
                    f"left at the provider, where it goes on: {', '.join(names)}",
                    "the same command takes its answers up; nothing is paid twice",
                )
            )

    # --- an outage -------------------------------------------------------------------------------

    @property
    def _first(self) -> float:
        return min(FIRST_LOOK, self._longest)

    def _longer(self, pause: float) -> float:
        return min(pause * 1.5, self._longest)

    async def _patiently(self, does: Callable[[], Awaitable[T]]) -> T:
        """What it gives, however often it fails in passing, within the profile's patience."""
        since, pause = time.monotonic(), self._first
        while True:
            try:
                given = await does()
            except LMError as error:
                wait = max(pause, error.retry_after or 0.0)
                if (
                    Failure(error.failure) not in PASSING
                    or time.monotonic() - since + wait > self._patience
                ):
                    raise
                self._is_out()
                await asyncio.sleep(wait)
                pause = self._longer(pause)
            else:
                self._answers_again()
                return given

    def _is_out(self) -> None:
        if not self._out:
            self._out = True
            self._bus.publish(
                Warned("lm-outage", f"{self._model}: its batches do not answer, waiting for them")
            )

    def _answers_again(self) -> None:
        if self._out:
            self._out = False
            self._bus.publish(Warned("lm-outage", f"{self._model}: its batches answer again"))
