from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from deployments.engines.microbatch import MicroBatcher
from pipelines.errors import Component, EngineError

pytestmark = pytest.mark.unit


class Doubler:
    """Doubles numbers; holds its first batch until released. Negative numbers fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.released = threading.Event()

    def compute(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.released.wait(10)
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


async def test_items_that_arrive_while_a_batch_runs_share_the_next() -> None:
    doubler = Doubler()
    batcher = MicroBatcher[int, int](Component.TURN_DETECTOR, doubler.compute, max_batch=2)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in (1,)]
    while not doubler.batches:
        await asyncio.to_thread(lambda: None)
    tasks += [asyncio.create_task(batcher.submit(number)) for number in (2, 3, 4)]
    await asyncio.to_thread(doubler.released.set)
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert doubler.batches == [[1], [2, 3], [4]]
    batcher.close()


async def test_cancelled_item_is_left_out() -> None:
    doubler = Doubler()
    batcher = MicroBatcher[int, int](Component.TURN_DETECTOR, doubler.compute, max_batch=4)
    first = asyncio.create_task(batcher.submit(1))
    while not doubler.batches:
        await asyncio.to_thread(lambda: None)
    dropped, kept = asyncio.create_task(batcher.submit(2)), asyncio.create_task(batcher.submit(3))
    await asyncio.to_thread(lambda: None)
    dropped.cancel()
    doubler.released.set()
    assert await asyncio.gather(first, kept) == [2, 6]
    assert doubler.batches == [[1], [3]]
    batcher.close()


async def test_failed_batch_fails_its_items_and_the_next_runs() -> None:
    doubler = Doubler()
    doubler.released.set()
    batcher = MicroBatcher[int, int](Component.TURN_DETECTOR, doubler.compute, max_batch=4)
    with pytest.raises(EngineError, match="ValueError") as failure:
        await batcher.submit(-1)
    assert isinstance(failure.value.__cause__, ValueError)
    assert await batcher.submit(5) == 10
    batcher.close()


async def test_closed_batcher_refuses_and_has_no_thread() -> None:
    before = set(threading.enumerate())
    doubler = Doubler()
    doubler.released.set()
    batcher = MicroBatcher[int, int](Component.TURN_DETECTOR, doubler.compute, max_batch=1)
    await batcher.submit(1)
    batcher.close()
    batcher.close()
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"asyncio_0", "asyncio_1"}
    with pytest.raises(EngineError):
        await batcher.submit(1)
