"""A bucket lets through its rate and one bucket more, in order, and closes when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from flywheel.lm import limiter
from flywheel.lm.limiter import Bucket


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0

        async def wait_for(waiting: Coroutine[Any, Any, Any], seconds: float) -> None:
            waiting.close()
            self.now += seconds
            await asyncio.sleep(0)
            raise TimeoutError

        monkeypatch.setattr(limiter.asyncio, "wait_for", wait_for)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_over_any_time_no_more_than_the_rate_and_one_bucket_goes_through(clock: Clock) -> None:
    async def run() -> list[float]:
        bucket = Bucket(600, clock=clock)
        times = []
        for _ in range(500):
            await bucket.take()
            times.append(clock())
        return times

    times = asyncio.run(run())
    bucket = 600 / 60 * limiter.BURST_SECONDS
    for first in range(0, 500, 7):
        for last in range(first, 500, 11):
            assert last - first + 1 <= 10 * (times[last] - times[first]) + bucket + 1e-6
    # And it is no slower than its rate.
    assert times[-1] == pytest.approx((500 - bucket) / 10)


def test_what_is_larger_than_the_bucket_goes_and_leaves_a_debt(clock: Clock) -> None:
    async def run() -> float:
        bucket = Bucket(60, clock=clock)
        await bucket.take(16)
        assert clock() == 0
        await bucket.take(1)
        return clock()

    assert asyncio.run(run()) == pytest.approx(11)


def test_a_wrong_estimate_is_put_right(clock: Clock) -> None:
    async def run() -> float:
        bucket = Bucket(60, clock=clock)
        await bucket.take(6)
        bucket.correct(-5)
        await bucket.take(5)
        assert clock() == 0
        bucket.correct(3)
        await bucket.take(1)
        return clock()

    assert asyncio.run(run()) == pytest.approx(4)


def test_a_closed_bucket_lets_nothing_through(clock: Clock) -> None:
    async def run() -> float:
        bucket = Bucket(6000, clock=clock)
        bucket.hold(30)
        await bucket.take()
        return clock()

    assert asyncio.run(run()) == pytest.approx(30)


def test_who_came_first_goes_first(clock: Clock) -> None:
    async def run() -> list[int]:
        bucket, gone = Bucket(60, clock=clock), []

        async def one(number: int, amount: float) -> None:
            await bucket.take(amount)
            gone.append(number)

        await bucket.take(6)
        await asyncio.gather(one(1, 5), one(2, 1), one(3, 1))
        return gone

    assert asyncio.run(run()) == [1, 2, 3]


def test_what_is_given_back_wakes_who_waits() -> None:
    async def run() -> float:
        bucket = Bucket(60)
        await bucket.take(6)
        waiting = asyncio.create_task(bucket.take(6))
        await asyncio.sleep(0.05)
        bucket.correct(-6)
        began = asyncio.get_running_loop().time()
        await waiting
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 3
