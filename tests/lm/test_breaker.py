"""A circuit opens after failures in a row, lets one probe out at a time, and loses no caller."""

from __future__ import annotations

import asyncio

from flywheel.lm.breaker import Breaker, Circuit

FAST = {"threshold": 3, "pause": 0.02, "longest_pause": 0.08}


def test_it_opens_after_failures_in_a_row_and_only_then() -> None:
    async def run() -> list[Circuit]:
        told: list[Circuit] = []
        one = Breaker(**FAST, on_change=told.append)
        for outcome in (one.failed, one.failed, one.succeeded, one.failed, one.failed):
            outcome(await one.admit())
        assert one.circuit is Circuit.CLOSED
        one.failed(await one.admit())
        return told

    assert asyncio.run(run()) == [Circuit.OPEN]


def test_of_many_that_wait_one_probes_and_all_go_when_it_comes_back() -> None:
    async def run() -> tuple[int, int, list[Circuit]]:
        told: list[Circuit] = []
        one = Breaker(**FAST, on_change=told.append)
        for _ in range(3):
            one.failed(await one.admit())
        probing = most = done = 0

        async def call(up_at: float) -> None:
            nonlocal probing, most, done
            while True:
                permit = await one.admit()
                probing += permit.probe
                most = max(most, probing)
                await asyncio.sleep(0.005)
                probing -= permit.probe
                if asyncio.get_running_loop().time() > up_at:
                    one.succeeded(permit)
                    done += 1
                    return
                one.failed(permit)

        up_at = asyncio.get_running_loop().time() + 0.15
        await asyncio.wait_for(asyncio.gather(*(call(up_at) for _ in range(20))), 10)
        return most, done, told

    most, done, told = asyncio.run(run())
    assert (most, done) == (1, 20)
    assert told == [Circuit.OPEN, Circuit.CLOSED]


def test_a_probe_that_is_given_up_lets_another_one_out() -> None:
    async def run() -> bool:
        one = Breaker(**FAST)
        for _ in range(3):
            one.failed(await one.admit())
        first = await one.admit()
        assert first.probe
        waiting = asyncio.create_task(one.admit())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        one.abandoned(first)
        second = await asyncio.wait_for(waiting, 5)
        return second.probe

    assert asyncio.run(run())


def test_what_was_under_way_when_it_opened_says_nothing_new_unless_it_is_answered() -> None:
    async def run() -> tuple[Circuit, Circuit]:
        one = Breaker(**FAST)
        permits = [await one.admit() for _ in range(6)]
        for permit in permits[:5]:
            one.failed(permit)
        before = one.circuit
        one.succeeded(permits[5])
        return before, one.circuit

    assert asyncio.run(run()) == (Circuit.OPEN, Circuit.CLOSED)


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    now = [0.0]

    async def run() -> list[float]:
        one = Breaker(threshold=1, pause=1, longest_pause=6, clock=lambda: now[0])
        one.failed(await one.admit())
        pauses = []
        for _ in range(4):
            opened = now[0]
            while True:
                waiting = asyncio.create_task(one.admit())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if waiting.done():
                    break
                waiting.cancel()
                now[0] += 0.5
            pauses.append(now[0] - opened)
            one.failed(waiting.result())
        return pauses

    assert asyncio.run(run()) == [1, 2, 4, 6]


def test_a_probe_that_was_overtaken_says_nothing_of_a_newer_one() -> None:
    async def run() -> list[Circuit]:
        one = Breaker(**FAST)
        early = [await one.admit() for _ in range(4)]
        for permit in early[:3]:
            one.failed(permit)
        old = await one.admit()
        # An answer that was still under way closes it, and it opens once more.
        one.succeeded(early[3])
        for _ in range(3):
            one.failed(await one.admit())
        new = await one.admit()
        assert old.probe
        assert new.probe
        seen = []
        for outcome, permit in ((one.failed, old), (one.abandoned, old), (one.failed, new)):
            outcome(permit)
            seen.append(one.circuit)
        return seen

    assert asyncio.run(run()) == [Circuit.PROBING, Circuit.PROBING, Circuit.OPEN]


def test_a_failure_of_before_the_outage_does_not_count_after_it() -> None:
    async def run() -> Circuit:
        one = Breaker(**FAST)
        early = [await one.admit() for _ in range(6)]
        for permit in early[:3]:
            one.failed(permit)
        one.succeeded(await one.admit())
        for permit in early[3:]:
            one.failed(permit)
        return one.circuit

    assert asyncio.run(run()) is Circuit.CLOSED
